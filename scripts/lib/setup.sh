# Shared by scripts/run and scripts/test: says what it does, and installs what is missing. Sourced, not run.
# shellcheck shell=bash

say() { printf '\n==> %s\n' "$*"; }

die() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}

# need_packages PACKAGE…: installs those Debian packages that are missing; does nothing, and needs neither rights nor
# network, when none is.
need_packages() {
    local package missing=() as_root=()
    command -v dpkg-query >/dev/null || {
        say "Not a Debian system: taking it that the likes of these are installed: $*"
        return 0
    }
    for package in "$@"; do
        [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    say "Installing Debian packages: ${missing[*]}"
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "these packages are missing and there is neither root nor sudo; have them installed: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    # The lists of a machine that was just set up are often absent or old, so a failure is worth one refresh.
    local log install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}")
    log=$(mktemp)
    if ! "${as_root[@]}" "${install[@]}" </dev/null >"$log" 2>&1; then
        if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" "${install[@]}"; } </dev/null >"$log" 2>&1; then
            grep '^E: ' "$log" | tail -n 3 >&2
            rm -f "$log"
            die "apt-get could not install: ${missing[*]}. Is there a network? Otherwise install them by other means"
        fi
    fi
    rm -f "$log"
}

# need_rust: a cargo that is new enough for this workspace.
need_rust() {
    local wanted got
    # shellcheck disable=SC1091
    [[ -r ${CARGO_HOME:-$HOME/.cargo}/env ]] && . "${CARGO_HOME:-$HOME/.cargo}/env"
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)".*/\1/p' Cargo.toml)
    if ! command -v cargo >/dev/null; then
        need_packages ca-certificates curl
        say "Installing Rust through rustup into ${CARGO_HOME:-$HOME/.cargo}"
        curl --proto '=https' --tlsv1.2 --silent --show-error --fail https://sh.rustup.rs |
            sh -s -- -y --profile minimal --no-modify-path ||
            die "Rust could not be installed. Without a network, install Rust $wanted or newer by other means"
        # shellcheck disable=SC1091
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    got=$(rustc --version | cut -d' ' -f2)
    [[ $(printf '%s\n' "$wanted" "${got%%-*}" | sort --version-sort | head -n1) == "$wanted" ]] ||
        die "Rust $got is installed, $wanted or newer is needed: rustup update stable"
}

# need_components COMPONENT…: rustfmt, clippy.
need_components() {
    local component
    for component in "$@"; do
        cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 && continue
        say "Adding the Rust component $component"
        rustup component add "$component" ||
            die "the Rust component $component is missing: rustup component add $component"
    done
}

# need_crates: every crate of Cargo.lock is on this machine, or the reason is printed.
need_crates() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    cargo fetch --locked --target "$host" --quiet --offline 2>/dev/null && return 0
    say "Fetching the crates of Cargo.lock"
    cargo fetch --locked --target "$host" ||
        die "the crates could not be fetched: the first build needs a network, or a cargo home that holds them"
}

# need_tool COMMAND: a linter that is on this machine, or the wheel in scripts/tools/COMMAND.txt, which holds the program
# itself and goes into target/tools. Fails if there is neither.
need_tool() {
    local folder=$PWD/target/tools/$1
    PATH=$folder/bin:$PATH
    command -v "$1" >/dev/null && return 0
    say "Installing $1 into target/tools"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --require-hashes --target "$folder" --requirement "scripts/tools/$1.txt" </dev/null
}

# What compiling needs: C and C++ for the voice activity detector and Opus, CMake for Opus, ALSA for the microphone.
# shellcheck disable=SC2034 # Used by the scripts that source this file.
BUILD_PACKAGES=(build-essential ca-certificates cmake libasound2-dev pkg-config)

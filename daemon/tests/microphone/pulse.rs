//! A private PulseAudio server with a null sink, and ALSA pointed at its monitor: a microphone for a machine without.
//!
//! Nothing of the system's sound is touched: sockets, state and configuration lie in a temporary folder, and only the
//! child processes that get [`Pulse::quiet_env`] know of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SINK: &str = "diarized_test";

/// The server; killed when dropped.
pub(crate) struct Pulse {
    folder: TempDir,
    server: Option<Child>,
}

/// What is missing to run the server here, if anything.
fn missing() -> Option<String> {
    let has = |program: &str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|p| p.join(program).is_file()))
    };
    if let Some(program) = ["pulseaudio", "pactl", "paplay"].into_iter().find(|program| !has(program)) {
        return Some(format!("{program} is not installed (apt-get install pulseaudio pulseaudio-utils)"));
    }
    let has_plugin =
        fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path()).any(|lib| {
            [lib.join("alsa-lib"), lib].iter().any(|lib| lib.join("libasound_module_pcm_pulse.so").is_file())
        });
    (!has_plugin)
        .then(|| "ALSA's pulse plugin is not installed (apt-get install libasound2-plugins)".to_owned())
}

impl Pulse {
    /// Starts a server, or says why this machine cannot.
    pub(crate) fn start() -> Option<Self> {
        if let Some(what) = missing() {
            println!("not run: the microphone tests, because {what}");
            return None;
        }
        let folder =
            tempfile::Builder::new().prefix("diarized-pulse-").tempdir().expect("a temporary folder");
        let mut pulse = Self { folder, server: None };
        let alsa = format!(
            "</usr/share/alsa/alsa.conf>\n\
             pcm.!default {{ type pulse server \"{server}\" device \"{SINK}.monitor\" hint {{ show on description \
             \"Test microphone\" }} }}\n\
             ctl.!default {{ type pulse server \"{server}\" }}\n",
            server = pulse.address(),
        );
        fs::write(pulse.alsa_config(), alsa).expect("a writable temporary folder");
        pulse.plug_in();
        Some(pulse)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn address(&self) -> String {
        format!("unix:{}", self.path().join("native").display())
    }

    fn alsa_config(&self) -> PathBuf {
        self.path().join("asound.conf")
    }

    /// Points a child process at this server, for PulseAudio's and for ALSA's clients.
    pub(crate) fn quiet_env(&self, command: &mut Command) {
        command
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path())
            .env("XDG_CONFIG_HOME", self.path())
            .env("PULSE_RUNTIME_PATH", self.path())
            .env("PULSE_STATE_PATH", self.path())
            .env("PULSE_SERVER", self.address())
            .env("ALSA_CONFIG_PATH", self.alsa_config())
            .env_remove("DISPLAY")
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn plug_in(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let mut command = Command::new("pulseaudio");
        self.quiet_env(&mut command);
        let log = fs::File::create(self.path().join("pulseaudio.log")).expect("a writable temporary folder");
        let server = command
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"])
            .args(["--realtime=no", "--high-priority=no", "--log-target=stderr", "--fail=yes"])
            .arg("-L")
            .arg(format!(
                "module-native-protocol-unix socket={} auth-anonymous=1",
                self.path().join("native").display()
            ))
            .args(["-L", &format!("module-null-sink sink_name={SINK} rate=48000 channels=2")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("pulseaudio starts");
        self.server = Some(server);
        let since = Instant::now();
        while !self.answers() {
            let log = || fs::read_to_string(self.path().join("pulseaudio.log")).unwrap_or_default();
            assert!(since.elapsed() < Duration::from_secs(20), "pulseaudio does not answer: {}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        let mut command = Command::new("pactl");
        self.quiet_env(&mut command);
        let sources = command.args(["list", "short", "sources"]).stderr(Stdio::null()).output();
        sources.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains(SINK))
    }

    /// Kills the server at once, as a microphone is pulled out.
    pub(crate) fn pull_out(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Plays a file into the null sink; the player is killed with what is returned.
    pub(crate) fn play(&self, file: &Path) -> Player {
        let mut command = Command::new("paplay");
        self.quiet_env(&mut command);
        // Without a latency of its own paplay asks for 2 s, and the sink renders ahead in blocks as long.
        command.args(["--device", SINK, "--latency-msec=50"]).arg(file);
        Player(command.stdin(Stdio::null()).spawn().expect("paplay starts"))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.pull_out();
    }
}

/// A running `paplay`; killed when dropped.
pub(crate) struct Player(Child);

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#!/bin/sh
# Trains on a machine with a GPU and no network, from parts that `diarized_train pack` made:
#   ./train_offline.sh add PART_DIR DATA_DIR           once for each part, at most 64 MiB each
#   ./train_offline.sh run DATA_DIR OUT_DIR MINUTES    all parts are there: prepare, then MINUTES of training
#   ./train_offline.sh run DATA_DIR OUT_DIR MINUTES --fold 1/3
# Options after MINUTES go to `train`. On one H200: about two minutes of preparation, five of training.
# OUT_DIR then holds last.pt (averaged weights alone, 5 MB) and log.jsonl; `export --checkpoint` takes last.pt.
set -eu
usage() {
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
[ "$#" -ge 3 ] || usage
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here:${SITE:=/tmp/diarized-site}" PYTHONUNBUFFERED=1
python=${PYTHON:-python3}
if [ "$1" = add ]; then
    mkdir -p "$3"
    cp -R "$2/." "$3/"
    du -sm "$3"
    exit 0
fi
if [ "$1" != run ] || [ "$#" -lt 4 ]; then usage; fi
data=$2 out=$3 minutes=$4
shift 4
work=$data/work
device=${DEVICE:-cuda}
for needed in train/wav.scp val/wav.scp campplus.pt work/weights.json; do
    [ -f "$data/$needed" ] || {
        echo "error: $data/$needed: no such file; add the part that holds it" >&2
        exit 1
    }
done
if [ -d "$data/wheels" ]; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$SITE" --upgrade "$data"/wheels/*.whl
fi
unlabelled=
[ ! -d "$data/unlabelled" ] || unlabelled="--unlabelled $data/unlabelled"
# shellcheck disable=SC2086
"$python" -m diarized_train prepare --train "$data/train" --validation "$data/val" $unlabelled --work "$work" \
    --workers "$(nproc)" --speeds 90 110 --teacher-share 1 --teacher "campplus=$data/campplus.pt" --device "$device"
# Other processors may cut a piece otherwise than the machine that asked Resemblyzer; then CAM++ teaches alone.
teachers=$("$python" -m diarized_train check-answers --work "$work" --teachers resemblyzer campplus)
share=0
[ -z "$unlabelled" ] || share=0.05
# shellcheck disable=SC2086
"$python" -m diarized_train train --work "$work" --run "$work/run" --noise "$data/noise" --rooms "$data/rooms" \
    --depth 1 2 2 --init-from "$here/../zoo/nexttdnn-c128-b122/weights.pt" --device "$device" --processes 1 --batch 512 \
    --speeds 90 110 --teachers $teachers --teacher-weights "$work/weights.json" --unlabelled-share "$share" \
    --learning-rate 1e-3 --minutes "$minutes" --evaluate-every 2 --shares 0.3 0.45 0.15 0.1 \
    --late-shares 0.25 0.45 0.18 0.12 "$@"
mkdir -p "$out"
"$python" -m diarized_train slim --checkpoint "$work/run/last.pt" --out "$out/last.pt"
cp "$work/run/log.jsonl" "$out/"

#!/bin/sh
# From Kaldi data directories to a model folder in one command:
#   ./train.sh TRAIN_DIR VALIDATION_DIR NOISE_DIR WORK_DIR MODEL_NAME MINUTES [train options]
# Every step resumes where it was interrupted. Options after MINUTES go to `train`,
# for example `--depth 3` or `--init-from ../zoo/nexttdnn-c128-b122/weights.pt`.
set -eu
if [ "$#" -lt 6 ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
train=$1 validation=$2 noise=$3 work=$4 name=$5 minutes=$6
shift 6
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here"
python=${PYTHON:-python3}
"$python" -m diarized_train prepare --train "$train" --validation "$validation" --work "$work"
"$python" -m diarized_train train --work "$work" --run "$work/$name" --noise "$noise" \
    --minutes "$minutes" "$@"
"$python" -m diarized_train export --checkpoint "$work/$name/last.pt" \
    --out "$here/../zoo/$name" --version "$(date +%Y.%m)" \
    --hardware "$(nproc) processor cores" --sources "$here/sources.json"

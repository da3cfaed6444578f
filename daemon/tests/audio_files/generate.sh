#!/bin/sh
# Makes the files beside it with ffmpeg: 0.3 s of silence, then a tone of 440 Hz up to 1.2 s.
set -eu
cd "$(dirname "$0")"
make() {
    rate=$1 channels=$2 name=$3
    shift 3
    ffmpeg -v error -y -bitexact -f lavfi \
        -i "aevalsrc=0.5*sin(2*PI*440*t)*gte(t\,0.3):sample_rate=$rate:duration=1.2" -ac "$channels" \
        -map_metadata -1 "$@" "$name"
}
make 16000 1 pcm_s16.wav
make 11025 2 pcm_s24_stereo.wav -c:a pcm_s24le
make 16000 1 pcm_f32.wav -c:a pcm_f32le
make 8000 1 mulaw.wav -c:a pcm_mulaw
make 8000 1 pcm_u8.wav -c:a pcm_u8
make 16000 1 pcm_s16.aiff
make 16000 1 pcm_s16.caf
make 32000 2 stereo.flac
make 44100 2 vbr_stereo.mp3 -c:a libmp3lame -q:a 6
make 22050 1 cbr.mp3 -c:a libmp3lame -b:a 32k
make 16000 1 vorbis.ogg -c:a libvorbis -q:a 1 -page_duration 200000
make 48000 1 opus.opus -c:a libopus -b:a 16k -page_duration 200000
make 48000 2 opus_stereo.webm -c:a libopus -b:a 24k
make 48000 1 opus_5ms.opus -c:a libopus -b:a 24k -frame_duration 5 -page_duration 200000
make 44100 1 aac.m4a -c:a aac -b:a 32k
make 44100 1 aac_adts.aac -c:a aac -b:a 32k -f adts
make 16000 1 alac.m4a -c:a alac
make 44100 1 vorbis.mka -c:a libvorbis -q:a 1

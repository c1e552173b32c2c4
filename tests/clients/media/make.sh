#!/bin/sh
# Makes the clips again: make.sh FFMPEG. Two seconds that begin with a keyframe, so that they loop; H.264
# in Annex B form with one slice a picture, one Opus packet an Ogg page.
set -eu
cd "$(dirname "$0")"
picture() { # FFMPEG SIZE KBIT/S
  "$1" -loglevel error -y -f lavfi -i "testsrc2=s=$2:r=30" -t 2 -pix_fmt yuv420p -c:v libx264 -profile:v baseline \
    -preset veryslow -tune zerolatency -b:v "$3k" -maxrate "$(($3 * 5 / 4))k" -bufsize "$(($3 * 5 / 4))k" \
    -x264-params keyint=30:min-keyint=30:scenecut=0:repeat-headers=1:slices=1:threads=1 \
    -bsf:v filter_units=remove_types=6 -f h264 - | node ivf.mjs
}
picture "$1" 320x180 160 > picture.ivf
picture "$1" 160x90 40 > small.ivf
"$1" -loglevel error -y -f lavfi -i 'sine=frequency=440:sample_rate=48000' -t 1 -ac 2 -c:a libopus -b:a 32k \
  -page_duration 20000 -fflags +bitexact -f ogg tone.ogg

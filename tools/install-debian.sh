#!/bin/sh
# Install Debian packages that the tests need: tools/install-debian.sh ffmpeg
set -eu
root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "as root, run: apt-get install $*" >&2; exit 1; }
    root=sudo
fi
$root apt-get update -qq
$root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >/dev/null

#!/bin/sh
# The system packages that the tests in a real napari window need: installed on Debian and Ubuntu as root,
# elsewhere the one command to run is printed.
set -eu
if command -v xvfb-run >/dev/null && { ! command -v dpkg >/dev/null || dpkg --status "$@" >/dev/null 2>&1; }; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "The window tests need Xvfb (xvfb-run), EGL, OpenGL and the xcb libraries: install them with your system's packages." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "The window tests need system packages; run: sudo apt-get install --yes $*" >&2
    exit 1
fi
apt-get update --quiet --quiet
DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends "$@" >/dev/null

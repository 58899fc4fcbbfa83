#!/bin/sh
# packages.sh [--list]: install the Debian 12 packages that building and testing Roost takes; only what is missing, so a
# second run does nothing and asks the network nothing. As root, else by sudo, else it says what to install.
set -eu

# the tools, then what is linked, then what only tests need. (Compiling with clang, and clang-format, are extras.)
packages='
    gcc g++ cmake ninja-build pkg-config
    libnng-dev libprotobuf-c-dev protobuf-c-compiler libuv1-dev libjemalloc-dev libjansson-dev libxxhash-dev
    libcriterion-dev
'
if [ "${1-}" = --list ]; then
    echo $packages
    exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "packages.sh: this is no Debian. Roost builds with what these packages of Debian 12 hold:" $packages >&2
    exit 1
fi
missing=
for package in $packages; do
    case $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true) in
    installed) ;;
    *) missing="$missing $package" ;;
    esac
done
if [ -z "$missing" ]; then
    echo "packages: all there"
    exit 0
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "packages.sh: neither root nor sudo; as root: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "packages: installing$missing"
# shellcheck disable=SC2086 # lists of words
{
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing
}

#!/bin/sh
# install.sh FOLDER: a Python environment in FOLDER with what PyPI has of the peers, and what Debian has with apt when this
# is root. Nothing is installed in the source tree. What cannot be had is told, the rest goes on.
set -u
folder=${1:?usage: install.sh FOLDER (of the environment, outside of the source tree)}
tree=$(cd "$(dirname "$0")/../../.." && pwd) || exit 1
mkdir -p "$folder" && folder=$(cd "$folder" && pwd) || exit 1
case $folder/ in
"$tree"/*)
    echo "install.sh: $folder is inside the source tree" >&2
    exit 2
    ;;
esac
missing=
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    for package in python3-venv libstarpu-dev pkg-config gcc coreutils; do
        apt-get install -y --no-install-recommends "$package" >/dev/null 2>&1 || missing="$missing $package"
    done
fi
[ -x "$folder/bin/python" ] || python3 -m venv "$folder" || exit 1
for package in ray 'dask distributed' polars duckdb vineyard; do
    # shellcheck disable=SC2086 # several packages in one line
    "$folder/bin/pip" install --quiet $package >/dev/null 2>&1 || missing="$missing $package"
done
[ -z "$missing" ] || echo "install.sh: not to be had here:$missing"
echo "run: $folder/bin/python $tree/tests/bench/peers/peers.py --roost BUILD/bin/roost"

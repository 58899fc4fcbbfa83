#!/bin/sh
# tidy.sh [BUILD]: clang-tidy over every .c of ours that BUILD (default build/release) compiles, tests left out. It takes
# a second a file, so it is no part of ctest. Exits 77, with the reason, without clang-tidy.
set -eu
cd "$(dirname -- "$0")/../.."
build=${1:-build/release}
if ! command -v clang-tidy >/dev/null; then
    echo "skipped: there is no clang-tidy here (Debian: apt-get install clang-tidy)"
    exit 77
fi
[ -r "$build/compile_commands.json" ] || { echo "tidy.sh: configure first: cmake --preset release" >&2; exit 2; }
files=$(sed -n 's/^ *"file": "\(.*\.c\)".*/\1/p' "$build/compile_commands.json" | grep -v -e '/tests/' -e '/build/' | sort -u)
[ -n "$files" ] || { echo "tidy.sh: $build compiles nothing" >&2; exit 2; }
printf '%s\n' "$files" | xargs -P "$(nproc)" -n 1 clang-tidy -p "$build" --quiet 2>/dev/null
echo "$(printf '%s\n' "$files" | wc -l) files are tidy"

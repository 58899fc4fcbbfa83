#!/bin/sh
# programs.sh INCLUDE_DIR FOLDER CC CXX: the programs of FOLDER, which are what users write first, compile against
# roost.h without a warning, with clang too when there is one.
set -u
include=${1:?usage: programs.sh INCLUDE_DIR FOLDER CC CXX}
folder=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
count=0
compile() {
    command -v "$1" >/dev/null || { echo "not compiled with $1: there is none"; return; }
    count=$((count + 1))
    "$@" -pedantic -Wall -Wextra -Werror -O2 -I"$include" -c -o "$work/program.o" || { echo "$*: failed"; failed=1; }
}
for program in "$folder"/*.c; do
    for compiler in "$3" clang; do
        compile "$compiler" -std=c11 "$program"
    done
done
for program in "$folder"/*.cc; do
    for compiler in "$4" clang++; do
        compile "$compiler" -std=c++17 "$program"
    done
done
echo "$count compilations"
[ "$count" -ge 5 ] && exit $failed

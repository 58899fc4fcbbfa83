#!/bin/sh
# programs.sh ROOST FOLDER: the programs that users write first, run; their output is what their sources promise.
set -u
roost=$1
folder=$2
here=$(cd "$(dirname -- "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/rp-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
IN_CLUSTER_KEEP=$work
export IN_CLUSTER_KEEP
failed=0

run() { # PROGRAM ARGUMENT...
    program=$1
    shift
    "$here/in_cluster.sh" "$roost" "$folder/program_$program" "$@" >"$work/all" 2>&1 || {
        echo "$program failed:"
        cat "$work/all"
        failed=1
    }
}
wrong() {
    echo "$program: $1; its output:"
    cat "$work/out" "$work/err"
    failed=1
}

run hello
[ "$(cat "$work/out")" = "8 words" ] || wrong "wanted \"8 words\""

run hello_cc
[ "$(cat "$work/out")" = "50.000000" ] || wrong "wanted \"50.000000\""

run errors
for shard in 0 1 2 4; do
    grep -qx "$shard: 0.500000" "$work/out" || wrong "shard $shard should succeed at the third attempt"
done
grep -Eqx "3: flaky on [^ ]+ \(pid [0-9]+, signal 6, app code 0, 6 attempts\): .*" "$work/out" ||
    wrong "shard 3 should die of its signal, six times"

run shuffle
[ "$(awk '{ sum += $3 } END { print NR, sum }' "$work/out")" = "8 1600000" ] || wrong "wanted all 1600000 records in 8 parts"

printf 'The roost, the ROOST and\nthe hen.' >"$work/a.txt"
printf 'hen hen and the cock' >"$work/b.txt"
: >"$work/empty.txt"
run wordcount "$work/a.txt" "$work/b.txt" "$work/empty.txt"
printf '%8d %s\n' 1 cock 2 and 2 roost 3 hen 4 the | sort >"$work/wanted"
sort "$work/out" | cmp -s - "$work/wanted" || wrong "other counts than $(cat "$work/wanted")"

exit $failed

#!/bin/sh
# output.sh ROOST SPEAK: what workers print reaches the driver's stderr with function, node and pid; a program whose
# workers end before roost_open() is told so, with their last words.
set -u
here=$(cd "$(dirname -- "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/ro-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
IN_CLUSTER_KEEP=$work
export IN_CLUSTER_KEEP
failed=0

run() {
    "$here/in_cluster.sh" "$@" >"$work/all" 2>&1 || {
        cat "$work/all"
        exit 1
    }
}
has() { # FILE LINE
    grep -Fqx -- "$2" "$work/$1" || {
        echo "no line \"$2\" in its std$1:"
        cat "$work/$1"
        failed=1
    }
}

run "$1" "$2"
pid=$(sed -n 's/^worker //p' "$work/out")
node=$(uname -n)
for line in "to stdout, with a number" "to stderr, with a number" "in two lines"; do
    has err "speak $node $pid | $line"
done
[ "$(wc -l <"$work/out")" = 1 ] || { cat "$work/out"; failed=1; }

run "$1" "$2" early
grep -Eq "^-33 .*ended with status 3 before roost_open\(\); is it the first call in main\(\)\?.*settings\.conf: No such file" \
    "$work/out" || { cat "$work/out"; failed=1; }
grep -q "$(basename -- "$2") ended with status 3" "$work/out" || { echo "it does not name the program:"; cat "$work/out"; failed=1; }
exit $failed

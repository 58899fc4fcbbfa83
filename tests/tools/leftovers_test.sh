#!/bin/sh
# leftovers_test.sh: leftovers.sh sees a process, a file in shared memory and a file in a folder, and nothing else.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
mark=selftest-$$-${work##*.}
shared=/dev/shm/roost-$mark
stray=
trap 'rm -rf "$work" "$shared"; [ -z "$stray" ] || kill "$stray" 2>/dev/null || true' EXIT
failed=0
mkdir "$work/dir"
"$here/leftovers.sh" places >"$work/places"

check() {
    status=0
    output=$("$here/leftovers.sh" check "$mark" "$work/places" "$1" "$work/dir" 2>&1) || status=$?
}
# Other runs on this machine may leave things of their own meanwhile: only what is ours is looked for.
sees() {
    check 0
    case "$status:$output" in
    1:*"$1"*) ;;
    *) echo "does not see $1 (exit $status): $output"; failed=1 ;;
    esac
}

check 0
case $output in
*"$mark"* | *process*) echo "sees something where nothing is: $output"; failed=1 ;;
esac

env ROOST_TEST_RUN="$mark" sleep 300 &
stray=$!
# until the child has become what it is to be
while ! grep -qsz "^ROOST_TEST_RUN=$mark\$" "/proc/$stray/environ"; do :; done
sees "process $stray: sleep 300"
code=0
wait "$stray" || code=$?
[ "$code" = 137 ] || { echo "the stray was not killed: $code"; failed=1; }
stray=

env ROOST_TEST_RUN="$mark" sleep 1 &
check 30
case $output in
*process*) echo "a process that ends in time counts: $output"; failed=1 ;;
esac

: >"$shared"
sees "$shared"
rm "$shared"
: >"$work/dir/file"
sees "$work/dir/file"

[ "$failed" = 0 ] && echo "all of it is seen"
exit $failed

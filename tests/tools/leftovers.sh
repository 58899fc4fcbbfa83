#!/bin/sh
# leftovers.sh: what a test run must not leave behind
#
#   leftovers.sh places                              print where Roost's shared memory and folders are now
#   leftovers.sh check MARK PLACES SECONDS DIR...    exit 1, and say what, when since PLACES was printed something was left:
#       a process with ROOST_TEST_RUN=MARK in its environment that does not end within SECONDS (it is killed), a place that
#       is not in the file PLACES, or anything in a DIR
#
# Call `check` without that mark in the environment, or it finds itself.
set -eu
LC_ALL=C
export LC_ALL

# Folders of test runs themselves (roost-run-*) are theirs to remove.
places() {
    find /dev/shm /tmp -maxdepth 1 \( -path '/dev/shm/*roost*' -o -path '/tmp/roost-*' \) ! -path '/tmp/roost-run-*' | sort
}

strays() { # one pid a line
    for environment in /proc/[0-9]*/environ; do
        if grep -qsz "^ROOST_TEST_RUN=$mark\$" "$environment" 2>/dev/null; then
            pid=${environment#/proc/}
            echo "${pid%/environ}"
        fi
    done
}

case ${1-} in
places)
    places
    exit 0
    ;;
check) ;;
*)
    echo "usage: leftovers.sh places | check MARK PLACES SECONDS DIR..." >&2
    exit 2
    ;;
esac
mark=$2
before=$3
deadline=$(($(date +%s) + $4))
shift 4

pids=$(strays)
while [ -n "$pids" ] && [ "$(date +%s)" -lt "$deadline" ]; do
    sleep 0.2
    pids=$(strays)
done
failed=0
for pid in $pids; do
    echo "left behind: process $pid: $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" || true)"
    kill -KILL "$pid" 2>/dev/null || true
    failed=1
done
left=$(places | comm -13 "$before" - && find "$@" -mindepth 1 -maxdepth 2)
if [ -n "$left" ]; then
    echo "$left" | sed 's/^/left behind: /'
    failed=1
fi
exit $failed

#!/bin/sh
# forked.sh ROOST FORKED HANDLER: of a job that wants many workers most are forked, and are as workers that were started;
# what a program does before roost_open() that a fork does not carry over has them started, and the reason is logged once;
# forkers that die lose nothing. HANDLER is FORKED linked with a library that calls pthread_atfork().
set -u
here=$(cd "$(dirname -- "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/rf-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
roost=$1
forked=$2
handler=$3
IN_CLUSTER_KEEP=$work
ROOST_LOG=forker:info
export IN_CLUSTER_KEEP ROOST_LOG
failed=0

run() { # PROGRAM ARGUMENT...
    "$here/in_cluster.sh" "$roost" "$@" >"$work/all" 2>&1 || {
        echo "$* failed:"
        cat "$work/all"
        exit 1
    }
}
wrong() {
    echo "$1; its output:"
    cat "$work/out" "$work/err"
    failed=1
}
count() { sed -n 's/ forked$//p' "$work/out"; }
reasons() { grep -c event=not_forked "$work/err"; }

run "$forked" safe
[ "$(count)" -ge 8 ] || wrong "too few workers were forked"
[ "$(reasons)" = 0 ] || wrong "a reason against it was logged"
for pid in $(sed -n 's/^forked //p' "$work/out"); do
    grep -Fqx "look $(uname -n) $pid | here is $pid" "$work/err" || wrong "nothing came of what worker $pid printed"
done

run env ROOST_FORK=0 "$forked" safe_but_switched_off
[ "$(count)" = 0 ] || wrong "workers were forked although that was switched off"
run env ROOST_WORKER_PREFIX="env A=1" "$forked" safe_but_with_prefix
[ "$(count)" = 0 ] || wrong "workers were forked although they have a prefix"

unsafe() { # WORDS PROGRAM ARGUMENT...
    words=$1
    shift
    run "$@"
    [ "$(count)" = 0 ] || wrong "$*: workers were forked"
    [ "$(reasons)" = 1 ] && grep event=not_forked "$work/err" | grep -q "$words" || wrong "$*: no reason with \"$words\""
}
unsafe "a thread runs" "$forked" thread
unsafe "a descriptor is open.*/etc/passwd" "$forked" descriptor
unsafe "memory is shared" "$forked" shared
unsafe "memory is locked, or not for children" "$forked" dontfork
unsafe "a process was started" "$forked" child
unsafe "a timer was set" "$forked" timer
unsafe "a timer was set" "$forked" clock
unsafe "memory is locked, or not for children" "$forked" locked
unsafe "the working directory was changed" "$forked" chdir
unsafe "files were made" "$forked" folder
unsafe "standard input or output leads elsewhere" "$forked" output
unsafe "calls pthread_atfork()" "$handler" safe_but_for_its_library

killed=0
for seed in 1 2 3 4 5; do
    rm -f "$work/pid"
    run "$forked" kill "$work/pid" $seed
    killed=$((killed + $(grep -c '^killed: 1' "$work/out")))
done
[ "$killed" -gt 0 ] || wrong "no forker was killed"
exit $failed

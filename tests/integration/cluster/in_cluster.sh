#!/bin/sh
# in_cluster.sh [--agent | --nodes N] ROOST PROGRAM [ARGUMENT]...: runs PROGRAM in a world of its own
#
# ROOST_DIR is a folder of this run. With --agent an agent that outlives the program is started first and named by
# ROOST_AGENT, its pid by ROOST_TEST_AGENT_PID. With --nodes a head and N agents are: ROOST_ADDRESS names the head,
# ROOST_AGENT the first agent's socket, ROOST_TEST_PIDS the pids of the head and of the agents, in order; their folders
# are head, node-1, ... in ROOST_DIR. Without, the program starts what it needs itself. Options of the daemons come from
# ROOST_TEST_AGENT_OPTIONS and ROOST_TEST_HEAD_OPTIONS, those of node-2 from ROOST_TEST_NODE_2_OPTIONS if that is set, ...
#
# Fails when PROGRAM fails, or has not ended after IN_CLUSTER_SECONDS, when a daemon ended before it was told to, when a
# process of the run is alive 5 s after it, when a file is left in ROOST_DIR or shared memory in /dev/shm, when anything
# that ran reported a broken contract or a sanitizer's finding, and with --nodes when a daemon warned of something that
# the pattern ROOST_TEST_WARNINGS does not name. The program's stdout and stderr are printed, and left to its caller in
# $IN_CLUSTER_KEEP/out and err.
set -u
ulimit -c 0
agent=no
nodes=0
case ${1-} in
--agent)
    agent=yes
    shift
    ;;
--nodes)
    nodes=$2
    shift 2
    ;;
esac
roost=${1:?usage: in_cluster.sh [--agent | --nodes N] ROOST PROGRAM [ARGUMENT]...}
shift
seconds=${IN_CLUSTER_SECONDS:-300}

work=$(mktemp -d "${TMPDIR:-/tmp}/rc-XXXXXX") # short: the paths of sockets are limited to 107 bytes
mark=${work##*/}
keep=${IN_CLUSTER_KEEP:-$work/keep}
mkdir "$work/nodes" "$work/keep" "$work/logs"
shared() { find /dev/shm -maxdepth 1 -path '*roost*' | sort; }
shared >"$work/shared"
unset ROOST_ADDRESS ROOST_AGENT ROOST_WORKER ROOST_WORKER_PREFIX ROOST_INLINE
ROOST_DIR=$work/nodes
ROOST_COMMAND=$roost
export ROOST_DIR ROOST_COMMAND
daemons= # NAME:PID of each, in the order of their start
trap 'for daemon in $daemons; do kill -KILL "${daemon#*:}" 2>/dev/null; done; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Every process whose environment carries the mark: the program, the agents, the workers.
strays() {
    grep -lszx "ROOST_CLUSTER_TEST=$mark" /proc/[0-9]*/environ 2>/dev/null | tr -dc '0-9\n'
}

failed=0
start() { # NAME ROLE OPTION...: a daemon in the folder NAME; what it says when it is ready is in $ready
    name=$1
    shift
    mkdir -m 700 "$ROOST_DIR/$name"
    mkfifo "$work/ready-$name" # of its own: the one before may still have its end open
    env "ROOST_CLUSTER_TEST=$mark" "$roost" "$@" --folder "$ROOST_DIR/$name" --ready-fd 3 \
        3>"$work/ready-$name" 2>"$work/logs/$name" &
    daemons="$daemons $name:$!"
    if ! read -r ready <"$work/ready-$name"; then
        echo "$name did not start:"
        cat "$work/logs/$name"
        exit 1
    fi
}
# shellcheck disable=SC2086 # options, split on purpose
if [ "$agent" = yes ]; then
    start node agent ${ROOST_TEST_AGENT_OPTIONS-}
    ROOST_AGENT=$ready
    ROOST_TEST_AGENT_PID=${daemons##*:}
    export ROOST_AGENT ROOST_TEST_AGENT_PID
elif [ "$nodes" -gt 0 ]; then
    start head head ${ROOST_TEST_HEAD_OPTIONS-}
    ROOST_ADDRESS=$ready
    for i in $(seq "$nodes"); do
        eval "options=\${ROOST_TEST_NODE_${i}_OPTIONS-\${ROOST_TEST_AGENT_OPTIONS-}}"
        start "node-$i" agent --address "$ROOST_ADDRESS" --name "node-$i" $options
    done
    ROOST_AGENT=$ROOST_DIR/node-1/agent.sock
    ROOST_TEST_PIDS=$(echo "$daemons" | sed 's/[^ ]*://g')
    export ROOST_ADDRESS ROOST_AGENT ROOST_TEST_PIDS
fi

env "ROOST_CLUSTER_TEST=$mark" timeout -k 5 "$seconds" "$@" >"$keep/out" 2>"$keep/err"
status=$?
cat "$keep/out"
cat "$keep/err" >&2
if [ "$status" != 0 ]; then
    echo "the program ended with status $status"
    failed=1
fi
end() { # NAME PID
    kill -TERM "$2" || { echo "$1 was gone before its time"; failed=1; }
    wait "$2"
    status=$?
    [ "$status" = 0 ] || { echo "$1 ended with status $status"; failed=1; }
    rmdir "$ROOST_DIR/$1" || { find "$ROOST_DIR/$1"; failed=1; }
}
for daemon in $daemons; do # the agents, then the head: it would end them itself
    [ "${daemon%%:*}" = head ] || end "${daemon%%:*}" "${daemon#*:}"
done
for daemon in $daemons; do
    [ "${daemon%%:*}" != head ] || end head "${daemon#*:}"
done
daemons=

deadline=$(($(date +%s) + 5))
pids=$(strays)
while [ -n "$pids" ] && [ "$(date +%s)" -le "$deadline" ]; do
    # a pause that ends early when the first of them does
    tail --pid="$(echo "$pids" | head -n 1)" -s 0.05 -f /dev/null &
    tail_pid=$!
    timeout 1 tail --pid="$tail_pid" -s 0.05 -f /dev/null || kill "$tail_pid"
    pids=$(strays)
done
for pid in $pids; do
    echo "left behind: process $pid: $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")"
    kill -KILL "$pid" 2>/dev/null
    failed=1
done
left=$(find "$ROOST_DIR" -mindepth 1; shared | comm -13 "$work/shared" -)
if [ -n "$left" ]; then
    echo "$left" | sed 's/^/left behind: /'
    failed=1
fi
if cat "$keep/err" "$work/logs"/* 2>/dev/null | grep -E -A 20 'Sanitizer|runtime error:|contract|level=error'; then
    echo "something of it reported that it is broken"
    failed=1
fi
if [ "$nodes" -gt 0 ] && grep -H level=warn "$work/logs"/* | grep -vE "${ROOST_TEST_WARNINGS:-^$}"; then
    echo "a daemon has warned of what was not expected"
    failed=1
fi
if [ "$failed" != 0 ]; then
    for log in "$work/logs"/*; do
        [ ! -s "$log" ] || { echo "the log of ${log##*/}:"; tail -n 100 "$log"; }
    done
fi
exit $failed

#!/bin/sh
# in_cluster.sh [--agent] ROOST PROGRAM [ARGUMENT]...: runs PROGRAM in a world of its own
#
# ROOST_DIR is a folder of this run. With --agent an agent that outlives the program is started first and named by
# ROOST_AGENT, its pid by ROOST_TEST_AGENT_PID; without, the program starts what it needs itself.
#
# Fails when PROGRAM fails, or has not ended after IN_CLUSTER_SECONDS, when a process of the run is alive 5 s after it,
# when a file is left in ROOST_DIR or shared memory in /dev/shm, and when anything that ran reported a broken contract
# or a sanitizer's finding. The program's stdout and stderr are printed, and left to its caller in $IN_CLUSTER_KEEP/out and err.
set -u
ulimit -c 0
agent=no
if [ "${1-}" = --agent ]; then
    agent=yes
    shift
fi
roost=${1:?usage: in_cluster.sh [--agent] ROOST PROGRAM [ARGUMENT]...}
shift
seconds=${IN_CLUSTER_SECONDS:-300}

work=$(mktemp -d "${TMPDIR:-/tmp}/rc-XXXXXX") # short: the paths of sockets are limited to 107 bytes
mark=${work##*/}
keep=${IN_CLUSTER_KEEP:-$work/keep}
mkdir "$work/nodes" "$work/keep"
shared() { find /dev/shm -maxdepth 1 -path '*roost*' | sort; }
shared >"$work/shared"
unset ROOST_ADDRESS ROOST_AGENT ROOST_WORKER ROOST_WORKER_PREFIX ROOST_INLINE
ROOST_DIR=$work/nodes
ROOST_COMMAND=$roost
export ROOST_DIR ROOST_COMMAND
agent_pid=
trap '[ -z "$agent_pid" ] || kill -KILL "$agent_pid" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Every process whose environment carries the mark: the program, the agents, the workers.
strays() {
    for environment in /proc/[0-9]*/environ; do
        if grep -qsz "^ROOST_CLUSTER_TEST=$mark\$" "$environment" 2>/dev/null; then
            pid=${environment#/proc/}
            echo "${pid%/environ}"
        fi
    done
}

failed=0
if [ "$agent" = yes ]; then
    mkfifo "$work/ready"
    mkdir -m 700 "$work/node"
    # shellcheck disable=SC2086 # options, split on purpose
    env "ROOST_CLUSTER_TEST=$mark" "$roost" agent --folder "$work/node" --ready-fd 3 ${ROOST_TEST_AGENT_OPTIONS-} \
        3>"$work/ready" 2>"$work/agent.err" &
    agent_pid=$!
    if ! read -r ROOST_AGENT <"$work/ready"; then
        echo "the agent did not start:"
        cat "$work/agent.err"
        exit 1
    fi
    ROOST_TEST_AGENT_PID=$agent_pid
    export ROOST_AGENT ROOST_TEST_AGENT_PID
fi

env "ROOST_CLUSTER_TEST=$mark" timeout -k 5 "$seconds" "$@" >"$keep/out" 2>"$keep/err"
status=$?
cat "$keep/out"
cat "$keep/err" >&2
if [ "$status" != 0 ]; then
    echo "the program ended with status $status"
    failed=1
fi
if [ -n "$agent_pid" ]; then
    kill -TERM "$agent_pid" || { echo "the agent was gone before its time"; failed=1; }
    wait "$agent_pid"
    status=$?
    agent_pid=
    [ "$status" = 0 ] || { echo "the agent ended with status $status"; failed=1; }
    [ "$failed" = 0 ] || cat "$work/agent.err"
    rmdir "$work/node" || { find "$work/node"; failed=1; }
else
    : >"$work/agent.err"
fi

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
if cat "$keep/err" "$work/agent.err" | grep -E -A 20 'Sanitizer|runtime error:|contract|level=error'; then
    echo "something of it reported that it is broken"
    failed=1
fi
exit $failed

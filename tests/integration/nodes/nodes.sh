#!/bin/bash
# nodes.sh ROOST [PART...]: what becomes of a cluster of several nodes when something of it dies, stops, or lies
#
# $JOBS is the program jobs (jobs.c), $EXAMPLES the folder with sort, sortgen and sortcheck. Each part is a function
# below; without PART all run (../parts.sh). $SEED, else 1, decides at which moments workers are killed.
. "${BASH_SOURCE[0]%/*}/../parts.sh"
: "${JOBS:?}" "${EXAMPLES:?}"
programs+=("$(readlink -f "$JOBS")" "$(readlink -f "$EXAMPLES/sort")")
RANDOM=${SEED:-1}

# ------------------------------------------------------------------ clusters

# cluster N [SUSPECT DEAD]: a head that is quick to give up a node, and so many nodes; ROOST_ADDRESS is set
cluster() {
    local i count=$1
    run 0 "$roost" start --head --no-agent --suspect "${2-1}" --dead "${3-1.5}"
    export ROOST_ADDRESS=${out#export ROOST_ADDRESS=}
    [ -n "$ROOST_ADDRESS" ] || exit 1
    for i in $(seq "$count"); do
        join "$i"
    done
    events=$work/events-$part
    mkdir "$events"
}
join() { run 0 "$roost" start --address "$ROOST_ADDRESS" --name "node-$1" --cpus 2 --store-bytes 64M; }
agent() { agent_pid_of "$ROOST_DIR/node-$1"; } # its pid
head_pid() { sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$ROOST_DIR"/*head/head.json; }

no_cluster() { # ends it and looks whether anything is left
    run 0 "$roost" stop
    unset ROOST_ADDRESS
    nothing_left
    rm -rf "$work"/events-*
}

# A daemon that reports a broken contract, an error or a sanitizer's finding fails the part. Before no_cluster.
no_alarms() {
    local found
    found=$(grep -hE 'Sanitizer|runtime error:|topic=contract|level=error|level=fatal' "$ROOST_DIR"/*/*.log)
    [ -z "$found" ] || fail "a daemon reports: $(echo "$found" | head -n 3)"
}

# job NAME [AGENT]: runs it in the background, $job is its pid; on node-1 unless said otherwise
job() {
    ROOST_AGENT=$ROOST_DIR/node-${2-1}/agent.sock "$JOBS" "$1" "$events" >"$work/job.out" 2>"$work/job.err" &
    job=$!
}
event() { wait_for "the event $1" test -e "$events/$1"; } # the job, or a task of it, has come as far
tell_job() { : >"$events/$1"; }
job_ends() { # STATUS: within 20 s
    local status=0
    wait_for "the end of the job" is_gone "$job" || kill -KILL "$job"
    wait "$job" 2>/dev/null || status=$?
    out=$(cat "$work/job.out") err=$(cat "$work/job.err")
    [ "$status" = "$1" ] || fail "the job ended with $status, wanted $1; out: $out; err: $err"
}
said() { # PATTERN: a line of the job's output
    grep -Eq -- "$1" "$work/job.out" || fail "no line like '$1' in: $out$err"
}

is_state() { # NODE STATE
    "$roost" ls nodes --json --filter "host=node-$1" | grep -q "\"state\": \"$2\""
}

# The stores of nodes $* are empty, and nothing of the job runs, within 5 s each.
all_is_empty() {
    local node
    for node in "$@"; do
        ROOST_AGENT=$ROOST_DIR/node-$node/agent.sock "$JOBS" empty || fail "the store of node-$node is not empty"
    done
    wait_for "the end of every worker" no_workers
}
no_workers() {
    local agents victims node
    for node in "$ROOST_DIR"/node-*/; do
        agents=("$(agent_pid_of "$node")")
        workers 0
        [ "${#victims[@]}" = 0 ] || return 1
    done
}

# ------------------------------------------------------------------ workers and agents die

workers() { # into $victims: the processes of nodes $*, without asking any other process
    local node list
    victims=()
    for node in "$@"; do
        list=()
        read -ra list 2>/dev/null <"/proc/${agents[node]}/task/${agents[node]}/children" # one line, without its end
        victims+=("${list[@]}")
    done
}

part_workers_die_in_a_sort() {
    local sum round=0 killed=0 sort victims agents
    cluster 3
    agents=(0 "$(agent 1)" "$(agent 2)" "$(agent 3)")
    sum=$("$EXAMPLES/sortgen" --checksum 250000 "$work/input")
    while [ "$killed" -lt 10 ] && [ "$round" -lt 30 ]; do
        round=$((round + 1))
        "$EXAMPLES/sort" --input "$work/input" --output "$work/sorted" --maps 18 --partitions 18 >"$work/sort.err" 2>&1 &
        sort=$!
        while ! is_gone "$sort"; do
            read -r -t "0.$(printf %03d $((RANDOM % 200)))" -u "$quiet"
            workers 1 2 3
            if [ "${#victims[@]}" -gt 0 ] && kill -KILL "${victims[RANDOM % ${#victims[@]}]}" 2>/dev/null; then
                killed=$((killed + 1))
            fi
        done
        wait "$sort" || fail "round $round of seed ${SEED:-1}: the sort ended with $?: $(cat "$work/sort.err")"
        "$EXAMPLES/sortcheck" --input-sum "$sum" "$work"/sorted/part-* >"$work/checked" ||
            fail "round $round of seed ${SEED:-1}: $(cat "$work/checked")"
        rm -rf "$work/sorted"
    done
    [ "$killed" -ge 10 ] || fail "only $killed workers were killed"
    echo "$killed workers killed in $round exact sorts"
    all_is_empty 1 2 3
    no_alarms
    no_cluster
}

part_agent_dies_and_its_tasks_are_tried_elsewhere() {
    cluster 3
    job retry
    event started
    kill -KILL "$(agent 3)"
    job_ends 0
    [ "$(grep -c '^ran on node-[12]$' "$work/job.out")" = 6 ] || fail "they ran: $out"
    is_state 3 dead || fail "node-3 is not dead"
    all_is_empty 1 2
    no_alarms
    no_cluster
}

part_agent_dies_with_what_only_it_had() {
    local what before
    cluster 3
    job lost
    event started
    before=$(now_ms)
    kill -KILL "$(agent 3)"
    wait_for "the head's verdict" is_state 3 dead
    [ $(($(now_ms) - before)) -lt 4000 ] || fail "it took $(($(now_ms) - before)) ms to find a dead node"
    tell_job killed
    job_ends 0
    for what in waiter bytes sum gather; do
        said "^$what: .*node-3"
        said "^$what took [0-9]{1,4} ms"
    done
    said "^bound: .*node"
    said "^wait: ready"
    all_is_empty 1 2
    no_alarms
    no_cluster
}

part_fourth_agent_dies_with_reducers() {
    cluster 3
    job fourth
    event mapped
    join 4
    event started
    kill -KILL "$(agent 4)"
    job_ends 0
    said "^24 parts, 2700000 bytes of 2700000$"
    all_is_empty 1 2 3
    no_alarms
    no_cluster
}

part_agent_is_stopped_while_tasks_run_there() {
    local pid
    cluster 3
    job retry
    event started
    pid=$(agent 3)
    kill -TERM "$pid"
    wait_for "the end of the agent" is_gone "$pid"
    job_ends 0
    [ "$(grep -c '^ran on node-[12]$' "$work/job.out")" = 6 ] || fail "they ran: $out"
    all_is_empty 1 2
    no_alarms
    no_cluster
}

part_agent_sleeps_for_too_long() {
    local pid
    cluster 3
    job sleeper
    event started
    pid=$(agent 3)
    kill -STOP "$pid"
    event ran # elsewhere
    is_state 3 dead || fail "node-3 is not dead"
    kill -CONT "$pid"
    wait_for "node-3's second life" is_state 3 alive
    tell_job awake
    job_ends 0
    said "^ran on node-[12]$"
    [ "$(grep -c '^sum: value 500000$' "$work/job.out")" = 6 ] || fail "after the second life: $out"
    [ "$(grep -c '^got 500000 bytes: fine$' "$work/job.out")" = 3 ] || fail "after the second life: $out"
    "$roost" ls nodes --json --filter host=node-3 | grep -q '"incarnation": 2' || fail "its incarnation is not 2"
    all_is_empty 1 2 3
    no_alarms
    no_cluster
}

# ------------------------------------------------------------------ drivers and heads die

part_driver_dies() {
    local node
    cluster 3
    job busy
    event submitted
    for node in 1 2 3; do
        event "started-$node"
    done
    kill -KILL "$job"
    wait "$job" 2>/dev/null
    wait_for "the end of every worker" no_workers
    all_is_empty 1 2 3
    run 0 "$roost" ls tasks --json
    [ "$out" = "[]" ] || fail "tasks are left: $out"
    run 0 "$roost" ls objects --json
    [ "$out" = "[]" ] || fail "objects are left: $out"
    no_alarms
    no_cluster
}

part_head_dies() {
    local pid address=
    cluster 2
    job busy # waits for a third node: it goes on when the head is gone
    event started-2
    pid=$(head_pid)
    kill -KILL "$pid"
    wait_for "the end of the head" is_gone "$pid"
    run 3 "$roost" status
    wait_for "word of it" grep -q "event=head_not_reached" "$ROOST_DIR/node-2/agent.log"
    is_gone "$(agent 1)" && fail "node-1 has ended with its head"
    # another head at the same address is another cluster: its old agents are told what to do
    address=$ROOST_ADDRESS
    run 0 "$roost" start --head --no-agent --listen "$address" --name again
    wait_for "the refusal" grep -q "node-2 belongs to another cluster" "$ROOST_DIR/node-2/agent.log"
    grep -q "end this agent with roost stop, then roost start --address $address" "$ROOST_DIR/node-2/agent.log" ||
        fail "$(tail -n 2 "$ROOST_DIR/node-2/agent.log")"
    kill -KILL "$job"
    wait "$job" 2>/dev/null
    no_cluster
}

part_head_of_local_dies() {
    run 4 "$roost" local --nodes 2 --cpus 1 --store-bytes 16M -- bash -c '
        kill -KILL "$(sed -n "s/.*\"pid\":\([0-9]*\).*/\1/p" "$ROOST_DIR"/*-head/head.json)"
        until ! "$0" status >/dev/null 2>&1; do :; done
        exit 4' "$roost"
    says "was killed by signal 9"
}

# ------------------------------------------------------------------ bad input

listeners_of() { # PID: "ADDRESS:PORT" on which it listens, in hexadecimal digits as /proc has them
    local inode
    for inode in $(find "/proc/$1/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null | tr -dc '0-9\n'); do
        awk -v inode="$inode" '$4 == "0A" && $10 == inode { print $2 }' /proc/net/tcp /proc/net/tcp6
    done
}
tcp_ports_of() { # PID: the ports on which it listens
    local listener
    for listener in $(listeners_of "$1"); do echo $((16#${listener##*:})); done
}

# Whatever runs here, only the head and the agents of nodes $* listen, each at one port of 127.0.0.1.
one_port_each() {
    local pid node listen wanted
    listen=$(for pid in $(strays); do listeners_of "$pid" | sed "s/^0100007F:.*/$pid/"; done | sort -n | xargs)
    wanted=$({ head_pid && for node in "$@"; do agent "$node"; done; } | sort -n | xargs)
    [ "$listen" = "$wanted" ] || fail "these listen: $listen; wanted: $wanted"
}

exchange() { # between node-1 and node-2, both ways
    job exchange
    event working
    one_port_each 1 2
    tell_job seen
    job_ends 0
    said "^from node-1: value 3000000$"
    said "^from node-2: value 3000000$"
    rm "$events"/*
}

part_one_port_each() {
    local pid
    cluster 1
    run 0 "$JOBS" roll_call "$events"
    one_port_each 1
    join 2
    exchange
    pid=$(agent 2)
    kill -KILL "$pid"
    wait_for "the end of node-2" is_state 2 dead
    join 2 # at another port
    exchange
    all_is_empty 1 2
    no_alarms
    no_cluster
}

tell_port() { # PORT COMMAND...: what the command prints, by a shell that may die of a connection that was cut
    local port=$1
    shift
    ("$@" >"/dev/tcp/127.0.0.1/$port") 2>/dev/null
}

part_strangers() {
    local port node held=()
    cluster 2
    head -c 100000 /dev/urandom >"$work/garbage"
    for port in "${ROOST_ADDRESS#*:}" $(tcp_ports_of "$(agent 1)") $(tcp_ports_of "$(agent 2)"); do
        tell_port "$port" cat "$work/garbage"
        tell_port "$port" printf 'GET / HTTP/1.0\r\n\r\n'
        tell_port "$port" printf '\0\0\0\0\0\0\0\0\377\377\377\377\377\377\377\377'
        tell_port "$port" cat <(printf RBLK) "$work/garbage"
        exec {node}<>"/dev/tcp/127.0.0.1/$port" # opened, and nothing said
        held+=("$node")
        exec {node}<>"/dev/tcp/127.0.0.1/$port"
        printf '\0\0\0' >&"$node" # a part of a frame
        held+=("$node")
        exec {node}<>"/dev/tcp/127.0.0.1/$port"
        printf RBLK >&"$node" # as who brings bytes, and none come
        held+=("$node")
    done
    [ "${#held[@]}" = 9 ] || fail "${#held[@]} connections: the head and each agent have one port"
    job roll_call
    job_ends 0
    said '^node-1$'
    said '^node-2$'
    for node in "${held[@]}"; do # each is cut in the end
        wait_for "the end of a silent connection" is_cut "$node"
        exec {node}>&-
    done
    all_is_empty 1 2
    no_alarms
    no_cluster
}
is_cut() { # FD: reads to its end
    local byte status=0
    read -r -t 0.01 -N 1 -u "$1" byte || status=$?
    [ "$status" -gt 0 ] && [ "$status" -le 128 ]
}

part_open_addresses_are_refused() {
    local address
    for address in 0.0.0.0:0 "[::]:0" 192.0.2.1:7000; do
        run 1 "$roost" start --head --no-agent --listen "$address"
        says "key"
    done
}

# ------------------------------------------------------------------ looking at it

part_each_driver_finds_its_agent() {
    local first
    cluster 2
    first=$ROOST_ADDRESS
    run 0 "$roost" start --head --no-agent --name other
    export ROOST_ADDRESS=${out#export ROOST_ADDRESS=}
    run 0 "$roost" start --address "$ROOST_ADDRESS" --name theirs --cpus 1 --store-bytes 16M
    run 0 "$JOBS" roll_call "$events"
    [ "$out" = theirs ] || fail "the driver of the second cluster called: $out"
    run 0 "$roost" stop
    export ROOST_ADDRESS=$first
    run 0 "$JOBS" roll_call "$events"
    [ "$(echo "$out" | sort | paste -sd,)" = "node-1,node-2" ] || fail "the driver of the first cluster called: $out"
    run 1 env ROOST_ADDRESS=127.0.0.1:1 "$JOBS" roll_call "$events"
    says "no agent of this machine belongs to the head at 127.0.0.1:1"
    no_cluster
}

why_of() { # NAME PATTERN: what `ls tasks` and `why` say about the task
    local id
    run 0 "$roost" ls tasks --filter "name=$1"
    [[ $out =~ $2 ]] || fail "ls tasks says about $1: $out"
    id=$(echo "$out" | grep -Eo '[0-9a-f]{32}' | head -n 1)
    run 0 "$roost" why "${id:-00000000000000000000000000000000}"
    [[ $out =~ $2 ]] || fail "why says about $1: $out"
}

why_is() { "$roost" ls tasks --filter "name=$1" 2>/dev/null | grep -Eq "$2"; }

part_reasons() {
    local pid
    cluster 2 50 60 # it only sleeps
    job reasons
    event made
    pid=$(agent 2)
    kill -STOP "$pid"
    tell_job asleep
    event submitted
    wait_for "a pull" why_is reader "on node 1, waits for object [0-9a-f]+, being pulled from node 2; 20000000 bytes"
    kill -CONT "$pid"
    event started
    wait_for "a start" why_is at_the_gate "runs on node 2"
    why_of at_the_gate "runs on node 2"
    why_of behind_the_gate "waits for object [0-9a-f]+, made by at_the_gate"
    why_of next_in_line "on node 2, waits for a worker"
    why_of last_in_line "waits for room: every node that would do has its share of tasks"
    why_of too_large "64"
    run 0 "$roost" status
    says "too_large: 64.00 CPUs"
    run 0 "$roost" logs node-2
    says "event=started"
    tell_job seen
    job_ends 0
    all_is_empty 1 2
    no_alarms
    no_cluster
}

run_parts

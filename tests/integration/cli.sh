#!/bin/bash
# cli.sh ROOST [PART...]: the command as people and scripts use it, with daemons of its own in a folder of its own
#
# Each part is a function below; without PART all run (parts.sh).
. "${BASH_SOURCE[0]%/*}/parts.sh"

# ------------------------------------------------------------------ parts

part_help() {
    local command
    run 2 "$roost"
    says "usage: roost COMMAND"
    run 0 "$roost" --help
    says "Begin and end a cluster:"
    run 0 "$roost" --version
    for command in start stop local status ls why logs agent; do
        run 0 "$roost" "$command" --help
        says "usage: roost $command"
        says "Examples:"
        [ -z "$err" ] || fail "help goes to standard error"
        run 0 "$roost" help "$command"
        says "usage: roost $command"
        run 2 "$roost" "$command" --no-such-option
        says "there is no option --no-such-option"
    done
    run 2 "$roost" stauts
    says 'did you mean "status"?'
}

part_usage() {
    run 2 "$roost" start
    says "say --head for a new cluster, or --address HOST:PORT to join one"
    run 2 "$roost" start --head --address 127.0.0.1:1
    run 2 "$roost" start --head --lisen 127.0.0.1:0
    says "did you mean --listen?"
    run 2 "$roost" start --head --store-bytes 500Q
    says '--store-bytes is "500Q", wanted a size such as 500M or 2G'
    run 2 "$roost" start --head --cpus 0
    says "--cpus is 0, wanted 0.01 to 65536"
    run 2 "$roost" start --head --name ../escape
    run 2 "$roost" start --address nowhere
    says "write HOST:PORT"
    run 2 "$roost" start --address 127.0.0.1:1 --no-agent
    run 2 "$roost" start --address 127.0.0.1:1 --dead 9
    says "--dead is for --head only"
    run 2 "$roost" head --suspect 6 --dead 6
    says "--dead is 6000 ms, wanted more than --suspect, which is 6000 ms"
    run 2 "$roost" head --dead 0.9
    says "--dead is 0.9, wanted 1 s to 86400 s"
    run 2 "$roost" start --head --no-agent --suspect 6
    says "wanted more than --suspect"
    run 2 "$roost" local
    run 2 "$roost" local --nodes 0 -- true
    run 2 "$roost" local --nodes 65 -- true
    says "--nodes is 65, wanted 1 to 64"
    run 2 "$roost" ls
    run 2 "$roost" ls taks
    says 'did you mean "tasks"?'
    run 2 "$roost" ls tasks --filter state
    run 2 "$roost" why 12
    run 2 "$roost" stop --all --address 127.0.0.1:1
    run 2 env ROOST_ADDRESS=nonsense "$roost" status
    says '$ROOST_ADDRESS'
    run 2 "$roost" agent
    run 2 "$roost" cluster-of-one
    no_folders || fail "a refused command has left $(ls "$ROOST_DIR")"
}

part_no_cluster() {
    run 3 "$roost" status
    says "no cluster"
    run 3 "$roost" ls nodes
    run 3 "$roost" stop
    says "nothing to stop"
    run 3 "$roost" stop --all
    run 3 "$roost" logs
    # nobody listens on port 1 of this machine
    run 3 "$roost" status --address 127.0.0.1:1
    run 3 "$roost" ls nodes --address 127.0.0.1:1
    run 3 "$roost" stop --address 127.0.0.1:1
}

part_root() {
    mkdir -m 700 "$work/other"
    ln -s "$work/other" "$work/link"
    run 1 env ROOST_DIR="$work/link" "$roost" local -- true
    says "is a link or no folder"
    chmod 777 "$work/other"
    run 1 env ROOST_DIR="$work/other" "$roost" local -- true
    says "is open to others"
    run 1 env ROOST_DIR="$work/$(printf '%0100d' 0)" "$roost" local -- true
    says "bytes; set \$ROOST_DIR"
    rm -r "$work/other" "$work/link"
}

# A shell without job control starts what is in the background with SIGINT ignored.
interruptible=(env --default-signal=INT,QUIT)
small=(--cpus 1 --store-bytes 16M)

part_local() {
    run 0 "$roost" local "${small[@]}" -- sh -c '[ -S "$ROOST_AGENT" ] && echo has a socket'
    says "has a socket"
    nothing_left
    run 7 "$roost" local "${small[@]}" sh -c 'exit 7'
    run 143 "$roost" local "${small[@]}" -- sh -c 'kill -TERM $$'
    run 137 "$roost" local "${small[@]}" -- sh -c 'kill -KILL $$'
    run 127 "$roost" local "${small[@]}" -- "$work/no/such/program"
    says "No such file or directory"
    run 126 "$roost" local "${small[@]}" -- "$work"
    run 0 "$roost" local "${small[@]}" -- "$roost" stop --help --all
}

part_local_leaves_nothing_of_the_command() {
    run 0 "$roost" local "${small[@]}" -- sh -c 'sleep 1000 & (setsid sleep 1000 & ) ; trap "" TERM; sleep 1000 & exit 0'
    says "that the command has left"
}

# local_in_background COMMAND...: $local_pid, once COMMAND has written a line into $work/up
local_in_background() {
    rm -f "$work/up"
    "${interruptible[@]}" "$roost" local "${small[@]}" -- sh -c "$1" "$work/up" >"$work/local.out" 2>"$work/local.err" &
    local_pid=$!
    wait_for "the command inside roost local" has_line "$work/up"
}

part_local_signals() {
    local signal status
    for signal in TERM INT HUP; do
        local_in_background 'echo up >"$0"; exec sleep 1000'
        kill "-$signal" "$local_pid"
        status=0
        wait "$local_pid" || status=$?
        [ "$status" = $((128 + $(kill -l "$signal"))) ] || fail "SIG$signal: exit status $status"
        nothing_left
    done
}

part_local_ctrl_c() {
    # a terminal of its own, whose driver makes a Ctrl-C of the byte 3; the command and roost local both get it
    mkfifo "$work/keys"
    exec {keys}<>"$work/keys"
    rm -f "$work/up" "$work/status"
    # the shell that script starts waits for the end of roost local instead of ending with it
    "${interruptible[@]}" script -qec "trap : INT; '$roost' local --cpus 1 --store-bytes 16M -- sh -c 'echo up >$work/up; exec sleep 1000'; echo \$? >$work/status" \
        /dev/null <"$work/keys" >"$work/typed" 2>&1 &
    wait_for "the command at the terminal" has_line "$work/up"
    printf '\003' >&"$keys"
    wait_for "its exit status" has_line "$work/status" || kill $!
    [ "$(cat "$work/status")" = 130 ] || fail "Ctrl-C: exit status $(cat "$work/status"): $(cat "$work/typed")"
    exec {keys}>&-
    wait $!
}

part_local_killed() {
    local_in_background 'echo up >"$0"; exec sleep 1000'
    kill -KILL "$local_pid"
    wait "$local_pid" 2>/dev/null
    nothing_left # also no folders: the daemons see the end of their lifelines and clear up
}

part_local_daemon_dies() {
    local folder pid
    local_in_background 'echo up >"$0"; exec sleep 1000'
    folder=$(find "$ROOST_DIR" -mindepth 1 -maxdepth 1 -name 'local-*-1')
    pid=$(agent_pid_of "$folder")
    kill -KILL "$pid"
    wait_for "word of the agent's end" grep -q "was killed by signal 9" "$work/local.err"
    is_gone "$local_pid" && fail "roost local has ended with its agent"
    kill -TERM "$local_pid"
    wait "$local_pid"
}

part_local_cannot_start() {
    # a limit on the sizes of files holds for shared memory, too
    run 1 bash -c 'ulimit -f 1000; exec "$0" local --cpus 1 --store-bytes 16M -- true' "$roost"
    says "roost local: the agent of local-"
}

part_local_nested_stop() { # `roost stop --all` ends a `roost local`, which ends the rest
    local_in_background 'echo up >"$0"; exec sleep 1000'
    run 0 "$roost" stop --all --timeout 10
    says "the local of local-"
    wait "$local_pid"
}

part_stop_and_stale() {
    local folder pid
    # an agent in the background as `roost start` leaves it, without a head
    mkdir -p -m 700 "$ROOST_DIR/alpha"
    mkfifo "$work/ready"
    "$roost" agent --folder "$ROOST_DIR/alpha" "${small[@]}" --ready-fd 3 3>"$work/ready" 2>"$ROOST_DIR/alpha/agent.log" &
    pid=$!
    read -r folder <"$work/ready"
    [ "$folder" = "$ROOST_DIR/alpha/agent.sock" ] || fail "ready with $folder"
    run 3 "$roost" status
    run 0 "$roost" logs alpha
    says "event=started"
    run 0 "$roost" stop
    says "the agent of alpha (pid $pid) has ended"
    wait "$pid" || fail "a stopped agent ends with $?"
    # it left its pids, or not: either way its folder is gone or is nobody's
    rm -rf "$ROOST_DIR/alpha"

    # killed: what it left is stale, and removed
    mkdir -p -m 700 "$ROOST_DIR/beta"
    "$roost" agent --folder "$ROOST_DIR/beta" "${small[@]}" --ready-fd 3 3>"$work/ready" 2>"$ROOST_DIR/beta/agent.log" &
    pid=$!
    read -r folder <"$work/ready"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    [ -S "$ROOST_DIR/beta/agent.sock" ] || fail "a killed agent leaves no socket behind: the test tests nothing"
    run 0 "$roost" stop
    says "removed what 1 dead daemon left"
    run 3 "$roost" stop
    nothing_left
    rm -f "$work/ready"
}

part_recycled_pid() { # a folder that names a living process which is not the daemon: it is not touched
    local pid start
    sleep 1000 &
    pid=$!
    mkdir -p -m 700 "$ROOST_DIR/gamma"
    start=$(awk '{ print $22 }' "/proc/$pid/stat")
    printf 'agent %s %s %s %s\n' "$pid" $((start - 1)) "$(stat -Lc %i /proc/self/ns/pid)" \
        "$(cat /proc/sys/kernel/random/boot_id)" >"$ROOST_DIR/gamma/pids"
    run 0 "$roost" stop --all
    says "removed what 1 dead daemon left"
    kill -0 "$pid" || fail "a process with a dead daemon's number was ended"
    kill "$pid"
    wait "$pid" 2>/dev/null
}

part_logs_follow() {
    local log=$ROOST_DIR/delta/agent.log lines=0 line
    mkdir -p -m 700 "$ROOST_DIR/delta"
    printf 'start 1 1 1 none\n' >"$ROOST_DIR/delta/pids"
    printf 'one\ntwo\nthree\n' >"$log"
    run 0 "$roost" logs delta --lines 2
    [ "$out" = "two
three" ] || fail "--lines 2 prints: $out"
    run 3 "$roost" logs nobody
    mkfifo "$work/follow"
    "$roost" logs --follow >"$work/follow" &
    exec {followed}<"$work/follow"
    for line in one two three; do
        read -r -t 20 -u "$followed" lines && [ "$lines" = "$line" ] || fail "followed: $lines, wanted $line"
    done
    echo four >>"$log"
    read -r -t 20 -u "$followed" lines && [ "$lines" = four ] || fail "followed: $lines, wanted four"
    rm -r "$ROOST_DIR/delta" # with the last log it ends
    wait $! || fail "logs --follow ends with $?"
    exec {followed}<&-
    rm "$work/follow"
}

part_head() {
    local address
    run 0 "$roost" start --head "${small[@]}" --name first
    address=${out#export ROOST_ADDRESS=}
    says "roost stop --address $address"
    run 0 env "ROOST_ADDRESS=$address" "$roost" status
    says "head     $address"
    run 0 "$roost" status --json # found without being told
    says "\"address\": \"$address\""
    run 0 "$roost" start --address "$address" "${small[@]}" --name second
    run 1 "$roost" start --address "$address" "${small[@]}" --name second
    says '"second" runs already'
    run 0 "$roost" ls nodes --json --filter state=alive --address "$address"
    says '"host": "first"'
    says '"host": "second"'
    for list in nodes workers tasks objects jobs pulls; do
        run 0 "$roost" ls "$list" --address "$address"
        run 0 "$roost" ls "$list" --json --limit 1
        [[ $out == "["*"]" ]] || fail "ls $list --json: $out"
    done
    run 1 "$roost" ls tasks --filter nonsense=1
    run 1 "$roost" why 00000000000000000000000000000001
    run 0 "$roost" stop --address "$address"
    nothing_left
    run 3 "$roost" status --address "$address"
}

part_record_of_an_agent() { # what it did plays to the same state, twice; what is damaged, or another's, is refused
    local folder=$ROOST_DIR/recorded record=$work/record first
    mkdir -m 700 "$folder"
    "$roost" agent --folder "$folder" --store-bytes 64M --cpus 1 --record "$record" 2>/dev/null &
    local pid=$!
    wait_for "the agent's file" test -s "$folder/node.json" || return
    ROOST_AGENT=$folder/agent.sock run 0 "${roost%bin/roost}examples/hello"
    kill "$pid"
    wait_for "the agent's end" is_gone "$pid"
    rmdir "$folder"
    run 0 "$roost" agent --play "$record"
    first=$out
    [ ${#first} = 16 ] || fail "no hash: $first"
    run 0 "$roost" agent --play "$record"
    [ "$out" = "$first" ] || fail "$out after $first"
    run 1 "$roost" head --play "$record"
    says "$record is not a record of this build's head"
    printf 'X' | dd of="$record" bs=1 seek=$(($(stat -c %s "$record") / 2)) conv=notrunc status=none
    run 1 "$roost" agent --play "$record"
    says "the line is damaged"
    run 1 "$roost" agent --play "$work/none"
    says "$work/none does not exist"
}

part_start_without_a_head() { # the agent that could not join is ended, and nothing of it stays
    run 3 "$roost" start --address 127.0.0.1:1 "${small[@]}"
}

part_two_clusters() {
    local first second
    run 0 "$roost" start --head --no-agent
    first=${out#export ROOST_ADDRESS=}
    run 0 "$roost" start --head --no-agent
    second=${out#export ROOST_ADDRESS=}
    run 2 "$roost" status
    says "which cluster?"
    run 2 "$roost" stop
    says "there are several clusters"
    run 0 "$roost" stop --address "$first"
    run 0 "$roost" status # the other one is the only one now
    says "head     $second"
    run 0 env "ROOST_ADDRESS=$second" "$roost" stop
}

part_stop_of_one_node() { # the rest of the cluster goes on
    local address
    run 0 "$roost" start --head --no-agent
    address=${out#export ROOST_ADDRESS=}
    run 0 "$roost" start --address "$address" --name first "${small[@]}"
    run 0 "$roost" start --address "$address" --name second "${small[@]}"
    run 3 "$roost" stop --node third
    says "no node third runs on this machine"
    run 2 "$roost" stop --node ../first
    run 2 "$roost" stop --all --node first
    run 0 "$roost" stop --node second
    says "the agent of second"
    [[ $err != *"agent of first"* && $err != *"head of"* ]] || fail "more than one node was stopped: $err"
    [ ! -e "$ROOST_DIR/second" ] || fail "the folder of a stopped node stays"
    wait_for "the head to see the end" sees_dead second || return
    run 0 "$roost" ls nodes --json --filter state=alive
    [[ $out == *'"first"'* && $out != *'"second"'* ]] || fail "alive: $out"
    run 0 "$roost" stop
    says "the agent of first"
}

sees_dead() { "$roost" ls nodes --json --filter state=dead 2>/dev/null | grep -q "\"$1\""; } # NODE

part_head_dies() { # SIGKILL: status says that there is nobody, stop clears up
    local address pid
    run 0 "$roost" start --head --no-agent
    address=${out#export ROOST_ADDRESS=}
    pid=$(agent_pid_of_head)
    kill -KILL "$pid"
    wait_for "the end of the head" is_gone "$pid"
    run 3 "$roost" status --address "$address"
    run 3 "$roost" status
    run 0 "$roost" logs
    says "event=started"
    run 0 "$roost" stop
    says "removed what 1 dead daemon left"
}
agent_pid_of_head() { sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$ROOST_DIR"/head/head.json; }

part_head_hangs() { # a stopped process: it accepts connections and says nothing
    local address head pid status=0
    run 0 "$roost" start --head --no-agent
    address=${out#export ROOST_ADDRESS=}
    head=$(agent_pid_of_head)
    kill -STOP "$head"
    run 1 "$roost" status --timeout 0.2
    says "in time"
    run 1 "$roost" start --address "$address" "${small[@]}" --name one --timeout 0.5
    says "to know the node"
    "${interruptible[@]}" "$roost" start --address "$address" "${small[@]}" --name two >"$work/start.out" 2>&1 &
    pid=$!
    wait_for "its agent" test -e "$ROOST_DIR/two/node.json"
    kill -INT "$pid"
    wait "$pid" || status=$?
    [ "$status" = 1 ] || fail "an interrupted start ends with $status"
    [ ! -e "$ROOST_DIR/two" ] || fail "an interrupted start leaves its folder"
    run 0 "$roost" stop --timeout 0.2
    says "(pid $head) had to be killed"
}

part_head_address_taken() {
    local address
    run 0 "$roost" start --head --no-agent
    address=${out#export ROOST_ADDRESS=}
    run 1 "$roost" start --head --no-agent --listen "$address"
    says "ended at once"
    run 0 "$roost" stop --all
}

part_head_local() {
    run 5 "$roost" local --nodes 3 "${small[@]}" -- sh -c '
        [ "$("$0" ls nodes --json --filter state=alive | grep -c store_bytes)" = 3 ] && [ -S "$ROOST_AGENT" ] && exit 5' "$roost"
    says "3 nodes, head at"
}

run_parts

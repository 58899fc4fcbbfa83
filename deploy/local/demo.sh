#!/bin/bash
# demo.sh: sorts 1 GB over three nodes of this machine, beside GNU sort, and tells what it took
#
# Happy path: packages -> build -> head, then an agent for each node, each with a store of its own -> the stores are filled
#             with memory -> records are made -> (GNU sort, the cluster's sort, both checked) x runs -> what the agents
#             counted is compared with what the tasks say -> all is ended -> the report.
# Failures:   the first step that fails is named, with its last words. Then, as after a signal, all that was started is
#             ended and all that was written is removed, before the script ends.
# Invariants: everything of a run lies in one folder, and every process of it carries ROOST_DEMO=<that folder's name>.
#
# CPU seconds are the kernel's: of programs that the script waits for by `time` (their children that they waited for
# included), of daemons by /proc/PID/stat, user and system, theirs and their dead workers', after less before.
set -u
LC_ALL=C
export LC_ALL
umask 077
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
top=$(cd -- "$here/../.." && pwd)

RECORD_BYTES=100
GNU_SORT=(sort --parallel=2 -S 128M)
FILL_SECONDS=600     # that the stores may take to get their memory
TELL_SECONDS=20      # that agents may take to end their workers and to tell what they did
SAMPLE_SECONDS=0.05  # between two looks at the processes' memory
RATIO_PULLED_MAX=1.05

usage() {
    cat <<END
usage: deploy/local/demo.sh [OPTION]...
Sort records over several nodes of this machine, beside GNU sort, and print what it took.

Installs what is missing (deploy/local/packages.sh), builds, starts a head and agents, each with a store of its own,
generates records, sorts them with both, checks both results with a program that has no code in common with the sort,
and ends and removes everything that it has started and written. What was built stays, in build/.

      --records N   how many records of $RECORD_BYTES bytes (default: 10000000, which is 1 GB)
      --bytes SIZE  the same in bytes: 10M, 1G (powers of 10)
      --nodes N     how many agents, 2 to 16 (default: 3)
      --runs N      how often both sort, in turns; medians are told (default: 1)
      --keep DIR    leave the sorted parts, the job's report and this report in DIR, which must not exist
      --folder DIR  where the work is done and removed again (default: \$TMPDIR or /tmp)
      --build DIR   use the programs of this build folder; nothing is installed or built
  -h, --help

Exit status: 0 all checks of the report hold, 1 a step failed or a check does not hold, 2 wrong usage, 130 interrupted.
END
}

# ---------------------------------------------------------------- options

refuse() {
    echo "demo.sh: $*; see demo.sh --help" >&2
    exit 2
}

records=10000000
nodes=3
runs=1
keep=
folder=${TMPDIR:-/tmp}
build=

number() { # OPTION TEXT MIN MAX
    [[ $2 =~ ^[0-9]{1,15}$ ]] && [ "$((10#$2))" -ge "$3" ] && [ "$((10#$2))" -le "$4" ] ||
        refuse "$1 is \"$2\", wanted $3 to $4"
}

RECORDS_MIN=30000       # below, there is not a megabyte for each node and nothing to see
RECORDS_MAX=10000000000 # 1 TB
BYTES_RANGE=($((RECORDS_MIN * RECORD_BYTES / 1000000))M to $((RECORDS_MAX * RECORD_BYTES / 1000000000000))T)
while [ $# -gt 0 ]; do
    option=$1
    case $option in
    -h | --help)
        usage
        exit 0
        ;;
    --records | --bytes | --nodes | --runs | --keep | --folder | --build)
        [ $# -ge 2 ] && [ -n "$2" ] || refuse "$option wants a value"
        value=$2
        shift 2
        ;;
    *) refuse "there is no option \"$option\"" ;;
    esac
    case $option in
    --records)
        number --records "$value" $RECORDS_MIN $RECORDS_MAX
        records=$((10#$value))
        ;;
    --bytes)
        [[ $value =~ ^([0-9]{1,15})([kMGT]?)B?$ ]] || refuse "--bytes is \"$value\", wanted a size such as 100M or 1G"
        case ${BASH_REMATCH[2]} in
        k) scale=1000 ;;
        M) scale=1000000 ;;
        G) scale=1000000000 ;;
        T) scale=1000000000000 ;;
        *) scale=1 ;;
        esac
        [ "$((10#${BASH_REMATCH[1]}))" -le $((RECORDS_MAX * RECORD_BYTES / scale)) ] &&
            [ $((10#${BASH_REMATCH[1]} * scale)) -ge $((RECORDS_MIN * RECORD_BYTES)) ] ||
            refuse "--bytes is \"$value\", wanted ${BYTES_RANGE[*]}"
        records=$((10#${BASH_REMATCH[1]} * scale / RECORD_BYTES))
        ;;
    --nodes)
        number --nodes "$value" 2 16
        nodes=$((10#$value))
        ;;
    --runs)
        number --runs "$value" 1 99
        runs=$((10#$value))
        ;;
    --keep) keep=$value ;;
    --folder) folder=$value ;;
    --build) build=$value ;;
    esac
done
bytes=$((records * RECORD_BYTES))

if [ -n "$keep" ]; then
    [ ! -e "$keep" ] && [ ! -L "$keep" ] || refuse "--keep $keep: it exists"
    keep=$(realpath -m -- "$keep")
    folder=$(dirname -- "$keep") # so that keeping is renaming
fi
[ -d "$folder" ] && [ -w "$folder" ] || refuse "$folder: no folder that I may write into"
folder=$(cd -- "$folder" && pwd -P)
if [ -n "$build" ]; then
    [ -d "$build" ] || refuse "--build $build: no such folder"
    build=$(cd -- "$build" && pwd -P)
fi

# ---------------------------------------------------------------- the end, however it comes

work=      # everything that is written
nodes_dir= # the daemons' folders: short, as paths of sockets must be
child=     # the process group of the step that runs
sampler=   # the process that looks at memory
terminal=no
[ -t 2 ] && terminal=yes

say() { # a line of progress; on a terminal it replaces the one that counts
    [ $terminal = no ] || printf '\r\033[K' >&2
    printf '%s\n' "$*" >&2
}

# Pipes: nobody writes into the first, which is for pauses in loops that look at something; a line in the second says that
# the demo is to end.
exec {quiet}<> <(:) {stop}<> <(:)
pause() { read -r -t "$1" -u "$quiet" || true; }
heed() { ! read -t 0 -u "$stop" || exit 1; }

strays() { # what this run has started and is not this shell
    local environment pid
    for environment in /proc/[0-9]*/environ; do
        pid=${environment#/proc/}
        pid=${pid%/environ}
        if grep -qsz "^ROOST_DEMO=${mark}\$" "$environment" 2>/dev/null; then
            echo "$pid"
        fi
    done
}

group_lives() { # PROCESS_GROUP: has members that are not only waiting to be reaped
    cat /proc/[0-9]*/stat 2>/dev/null |
        awk -v group="$1" '{ sub(/^.*\) /, "") } $3 == group && $1 != "Z" { lives = 1 } END { exit !lives }'
}

child_end() { # the step that runs, with its children
    [ -n "$child" ] || return 0
    local deadline=$((SECONDS + 15))
    kill -TERM -- "-$child" 2>/dev/null
    while group_lives "$child" && [ $SECONDS -lt $deadline ]; do
        pause 0.02
    done
    kill -KILL -- "-$child" 2>/dev/null
    wait "$child" 2>/dev/null
    child=
}

sampler_end() {
    [ -n "$sampler" ] || return 0
    : >"$work/sampled"
    wait "$sampler"
    sampler=
}

# Ends and removes everything of this run. What did not go by itself is in $left, one thing a line.
left=
clear_up() {
    local pid deadline
    sampler_end
    child_end
    [ -n "$work" ] || return 0
    if [ -n "$(ls -A "$nodes_dir" 2>/dev/null)" ]; then
        "$roost" stop --all --timeout 20 >"$work/stop.log" 2>&1 ||
            left+="daemons that roost stop could not end: $(tail -n 3 "$work/stop.log")"$'\n'
    fi
    deadline=$((SECONDS + 10))
    while [ -n "$(strays)" ] && [ $SECONDS -lt $deadline ]; do
        pause 0.05
    done
    for pid in $(strays); do
        left+="process $pid: $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")"$'\n'
        kill -KILL "$pid" 2>/dev/null
    done
    left+=$(
        find "$nodes_dir" -mindepth 1 -maxdepth 2 -printf 'file %p\n' 2>/dev/null
        awk -v work="$work" -v nodes="$nodes_dir" \
            'index($2, work) == 1 || index($2, nodes) == 1 { print "mount " $2 }' /proc/self/mounts
    )
    rm -rf -- "$work" "$nodes_dir"
    [ ! -e "$work" ] && [ ! -e "$nodes_dir" ] || left+=$'\n'"files that cannot be removed in $work"
    work=
}

finish() {
    local status=$?
    trap - EXIT
    [ $terminal = no ] || [ $status = 0 ] || printf '\r\033[K' >&2
    clear_up
    [ -z "$left" ] || printf 'demo.sh: was left behind, and removed:\n%s\n' "$left" >&2
    exit "$status"
}

fail() {
    say "demo.sh: $*"
    exit 1
}

# ---------------------------------------------------------------- steps

step_begun_ms=0
now_ms() {
    local microseconds=${EPOCHREALTIME/./}
    echo $((microseconds / 1000))
}
seconds_since() { awk -v from="$1" -v to="$(now_ms)" 'BEGIN { printf "%.2f", (to - from) / 1000 }'; }

# step WHAT LOG COMMAND...: a part of the work, in a process group of its own; how long it takes is counted on a terminal.
# `time` writes what it used into LOG.time.
step() {
    local what=$1 log=$2 status=0
    shift 2
    step_begun_ms=$(now_ms)
    [ $terminal = no ] || printf '%s ...' "$what" >&2
    TIMEFORMAT='%3R %3U %3S'
    set -m
    {
        trap - INT TERM HUP
        time "$@" >"$log" 2>&1 </dev/null
    } 2>"$log.time" &
    child=$!
    set +m
    while kill -0 "$child" 2>/dev/null; do
        [ $terminal = no ] || printf '\r\033[K%s ... %d s' "$what" $((($(now_ms) - step_begun_ms) / 1000)) >&2
        pause 0.05
        heed
    done
    wait "$child" || status=$?
    child=
    [ "$status" = 0 ] || {
        say "$what: FAILED (status $status); its last words:"
        tail -n 20 "$log" | sed 's/^/    /' >&2
        fail "$what failed"
    }
    say "$what: $(seconds_since "$step_begun_ms") s"
}

wait_for() { # WHAT CONDITION...
    local what=$1 deadline=$((SECONDS + TELL_SECONDS))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || fail "$what: not within $TELL_SECONDS s; $(tail -qn 3 "$nodes_dir"/*/*.log 2>/dev/null)"
        pause 0.05
        heed
    done
}

fact() { printf '%s\n' "$*" >>"$work/facts"; } # KEY VALUE..., for the report

# ---------------------------------------------------------------- what is needed

giga() { awk -v bytes="$1" 'BEGIN { printf "%.1f GB", bytes / 1e9 }'; }
available() { df -B1 --output=avail -- "$1" | tail -n 1 | tr -d ' '; }

STORE_BYTES=$((bytes * 22 / nodes / 10 + 64000000)) # a node's share of the records, twice: as maps leave and reducers get them
STORE_BYTES=$((STORE_BYTES / 2097152 * 2097152))
need_resources() {
    # the input; then GNU sort's temporary files and its output, or the cluster's; a little for logs
    local disk=$((bytes * 3 + bytes / 10 + 50000000)) memory=$((STORE_BYTES * nodes + 500000000)) there
    there=$(available "$folder")
    [ "$there" -ge "$disk" ] ||
        fail "$(giga $bytes) of records need $(giga $disk) of disk in $folder, where there are $(giga "$there");" \
            "--folder DIR for another place, --records N for fewer"
    there=$(($(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo) * 1024))
    [ "$there" -ge $memory ] ||
        fail "$(giga $bytes) of records on $nodes nodes need $(giga $memory) of memory, there are $(giga "$there");" \
            "--records N for fewer"
}

build_programs() {
    (cd "$top" && cmake --preset release && cmake --build --preset release -j "$(nproc)" --target roost sort sortgen sortcheck)
}

# ---------------------------------------------------------------- the cluster

node_pids() { sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$nodes_dir"/*/head.json "$nodes_dir"/*/node.json; }

start_cluster() {
    local i
    "$roost" start --head --no-agent >"$work/address" || return 1
    for ((i = 1; i <= nodes; i++)); do
        "$roost" start --address "$(sed 's/.*=//' "$work/address")" --name "node-$i" --cpus 1 \
            --store-bytes "$STORE_BYTES" || return 1
    done
}

all_filled() { [ "$(cat "$nodes_dir"/*/agent.log | grep -c 'event=populated')" = "$nodes" ]; }
no_store_is_short() { ! grep -h 'event=not_populated' "$nodes_dir"/*/agent.log; }
fill_stores() {
    local deadline=$((SECONDS + FILL_SECONDS))
    until all_filled; do
        no_store_is_short && [ $SECONDS -lt $deadline ] || return 1
        pause 0.02
    done
}

workers_of() { cat "/proc/$1/task/$1/children" 2>/dev/null; }
no_workers() {
    local pid
    for pid in $daemons; do
        [ -z "$(workers_of "$pid")" ] || return 1
    done
}
# Attempts that all agents have counted: the pulls of a task are told with it or before.
attempts_done() {
    "$roost" ls workers |
        awk 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "DONE") at = i; next } { sum += $at } END { print sum + 0 }'
}
all_is_told() { [ "$(attempts_done)" -ge "$1" ]; }

cpu_read() { # one line: ticks of the head, of the agents, of their dead workers
    local pid head_ticks=0 agent_ticks=0 worker_ticks=0 stat fields
    for pid in $daemons; do
        stat=$(<"/proc/$pid/stat") || return 1
        read -r -a fields <<<"${stat##*) }"
        if [ "$pid" = "$head_pid" ]; then
            head_ticks=$((fields[11] + fields[12]))
        else
            agent_ticks=$((agent_ticks + fields[11] + fields[12]))
            worker_ticks=$((worker_ticks + fields[13] + fields[14]))
        fi
    done
    echo "$head_ticks $agent_ticks $worker_ticks"
}

# The most memory of their own, stores and files apart, that all processes had together, in pages; until $work/sampled is
# there.
sample_memory() {
    local most=0 sum pid resident shared all workers driver
    while [ ! -e "$work/sampled" ]; do
        all=$daemons
        for pid in $daemons; do
            workers=
            read -r workers 2>/dev/null <"/proc/$pid/task/$pid/children"
            all+=" $workers"
        done
        driver=
        [ ! -e "$work/driver" ] || read -r driver <"$work/driver"
        sum=0
        for pid in $all $driver; do
            read -r _ resident shared _ 2>/dev/null <"/proc/$pid/statm" && sum=$((sum + resident - shared))
        done
        [ $sum -le $most ] || most=$sum
        pause $SAMPLE_SECONDS
    done
    echo "$most" >"$work/own_pages"
}

# ---------------------------------------------------------------- sorting

gnu_sort() { "${GNU_SORT[@]}" -T "$work/gnu" -o "$work/gnu/sorted" "$work/input"; }
cluster_sort() { # in a shell of its own, which becomes the driver; the one that counts its seconds waits for it
    (
        echo "$BASHPID" >"$work/driver"
        exec "$programs/sort" --input "$work/input" --output "$work/sorted" --report "$work/report.json"
    )
}

# check WHAT FILE...: sortcheck's word, and the checksum that it found, in $sum_out
check() {
    local what=$1
    shift
    step "$what" "$work/check.log" "$programs/sortcheck" --input-sum "$sum_in" "$@"
    sum_out=$(awk '$1 == "Checksum:" { print $2 }' "$work/check.log")
    records_out=$(awk '$1 == "Records:" { print $2 }' "$work/check.log")
    duplicates=$(awk '$1 == "Duplicate" { print $3 }' "$work/check.log")
}

run_gnu() { # RUN
    mkdir "$work/gnu"
    step "run $1 of $runs: GNU sort" "$work/gnu.log" gnu_sort
    fact gnu "$1" "$(cat "$work/gnu.log.time")"
    check "run $1 of $runs: its result is checked" "$work/gnu/sorted"
    rm -rf "$work/gnu"
}

roost_lists() { # NAME: what the agents have counted so far
    "$roost" ls pulls >"$work/pulls.$1" && "$roost" ls workers >"$work/workers.$1" || fail "the head does not answer"
}

run_cluster() { # RUN
    local before after done_before tasks
    before=$(cpu_read) || fail "a daemon has died"
    done_before=$(attempts_done)
    roost_lists "$1.before"
    rm -f "$work/driver" "$work/sampled"
    sample_memory &
    sampler=$!
    step "run $1 of $runs: Roost" "$work/sort.log" cluster_sort
    wait_for "the end of the workers" no_workers
    sampler_end
    after=$(cpu_read) || fail "a daemon has died"
    tasks=$(sed -n 's/^  "\(maps\|partitions\)": \([0-9]*\),$/\2/p' "$work/report.json" | awk '{ sum += $1 } END { print sum }')
    wait_for "the agents' counts" all_is_told $((done_before + tasks))
    roost_lists "$1.after"
    check "run $1 of $runs: its result is checked" "$work"/sorted/part-*
    fact roost "$1" "$(cat "$work/sort.log.time")" "$before" "$after" "$(cat "$work/own_pages")"
    mv "$work/report.json" "$work/report.$1.json"
    [ "$1" = "$runs" ] || rm -rf "$work/sorted"
}

describe_machine() {
    local model memory
    model=$(sed -n 's/^model name[^:]*: */, /p' /proc/cpuinfo | head -n 1)
    memory=$(awk '$1 == "MemTotal:" { printf "%.0f GB", $2 * 1024 / 1e9 }' /proc/meminfo)
    fact machine "$(nproc) CPUs$model, $memory, Linux $(uname -r), files on $(stat -f -c %T -- "$work")"
}

# ---------------------------------------------------------------- the whole

demo() {
    trap '' INT TERM HUP
    trap finish EXIT
    need_resources
    if [ -z "$build" ]; then
        "$here/packages.sh" >&2 || { heed && fail "the packages could not be installed"; }
        heed
    fi
    unset "${!ROOST_@}" # the caller's own cluster and settings play no part in it
    short=${TMPDIR:-/tmp} # a socket's path in it has at most 107 bytes
    [ ${#short} -le 60 ] || short=/tmp
    nodes_dir=$(mktemp -d "$short/roost-demo-XXXXXX") || fail "cannot write into $short"
    mark=${nodes_dir##*/}
    work=$(mktemp -d "$folder/roost-demo-work-XXXXXX") || fail "cannot write into $folder"
    export ROOST_DEMO=$mark ROOST_DIR=$nodes_dir
    if [ -z "$build" ]; then
        build=$top/build/release
        step "build" "$work/build.log" build_programs
    fi
    roost=$build/bin/roost
    programs=$build/examples
    for program in "$roost" "$programs/sort" "$programs/sortgen" "$programs/sortcheck"; do
        [ -x "$program" ] || fail "$program is not there"
    done

    fact records "$records"
    fact nodes "$nodes"
    fact runs "$runs"
    fact store_bytes "$STORE_BYTES"
    fact ticks "$(getconf CLK_TCK)"
    fact page "$(getconf PAGE_SIZE)"
    fact gnu_command "LC_ALL=C ${GNU_SORT[*]}"
    describe_machine

    step "a head and $nodes agents start" "$work/start.log" start_cluster
    fact start "$(cut -d' ' -f1 "$work/start.log.time")"
    ROOST_ADDRESS=$(sed 's/.*=//' "$work/address")
    export ROOST_ADDRESS
    daemons=$(node_pids | tr '\n' ' ')
    head_pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$nodes_dir"/*/head.json)
    step "their stores are filled with memory" "$work/fill.log" fill_stores
    fact fill "$(cut -d' ' -f1 "$work/fill.log.time")"

    step "$records records are made" "$work/sortgen.log" "$programs/sortgen" --checksum "$records" "$work/input"
    sum_in=$(cat "$work/sortgen.log")
    fact sum_in "$sum_in"

    for ((run = 1; run <= runs; run++)); do
        run_gnu "$run"
        run_cluster "$run"
    done
    fact sum_out "$sum_out"
    fact records_out "$records_out"
    fact duplicates "$duplicates"
    for pid in $daemons; do
        [ "$pid" = "$head_pid" ] || fact store_resident_kb "$(awk '$1 == "RssShmem:" { print $2 }' "/proc/$pid/status")"
    done
    "$roost" ls nodes >"$work/nodes" || fail "roost ls nodes"
    step "the cluster ends" "$work/stop.log" "$roost" stop --all --timeout 20

    # the run that is shown: the one in the middle by CPU seconds
    middle=$(awk -v ticks="$(getconf CLK_TCK)" \
        '$1 == "roost" { print $2, $4 + $5 + ($9 - $6 + $10 - $7 + $11 - $8) / ticks }' "$work/facts" |
        sort -k 2,2n | awk '{ run[NR] = $1 } END { print run[int((NR + 1) / 2)] }')
    report=$(awk -v shown="$middle" -v ratio_max=$RATIO_PULLED_MAX -f "$here/demo_report.awk" "$work/facts" "$work/nodes" \
        "$work/pulls.$middle.before" "$work/pulls.$middle.after" \
        "$work/workers.$middle.before" "$work/workers.$middle.after" "$work/report.$middle.json")
    holds=$?
    [ $holds -le 1 ] || fail "the report could not be made"

    if [ -n "$keep" ]; then
        mkdir -- "$keep" && mv "$work/sorted" "$keep/" && mv "$work/report.$middle.json" "$keep/report.json" &&
            printf '%s\n' "$report" >"$keep/report.txt" ||
            fail "cannot keep the result in $keep"
        umask 022
        chmod -R u=rwX,go=rX "$keep"
    fi
    clear_up
    printf '%s\n' "$report"
    if [ -n "$left" ]; then
        printf '  NO   nothing was left behind; ended or removed now:\n%s\n' "$left"
        exit 1
    fi
    printf '  yes  nothing was left behind: processes, shared memory, mounts, sockets, files\n'
    exit $holds
}

# The demo runs in a shell beside this one, which does nothing but wait, for bash loses signals: a SIGINT when a command in
# the foreground ends well nevertheless, any when a trap comes while a $(...) is read. The demo's shell ignores them, so that
# Ctrl-C breaks no installation of packages in the middle either; it heeds a line in the pipe.
{
    heard=
    trap 'heard=130; echo >&"$stop"' INT
    trap 'heard=143; echo >&"$stop"' TERM
    trap 'heard=129; echo >&"$stop"' HUP
    demo &
    worker=$!
    while wait "$worker"; kill -0 "$worker" 2>/dev/null; do :; done
    wait "$worker"
    status=$?
    [ $status = 0 ] || [ -z "$heard" ] || status=$heard
    exit $status
}

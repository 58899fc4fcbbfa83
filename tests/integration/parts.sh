# parts.sh: what scripts of parts share. A script reads it with `.`, its own arguments being ROOST [PART...], defines its
# parts as functions part_NAME, and ends with `run_parts`: those that were asked for, else all in the order of their names.
#
# $work is a folder of this run, ROOST_DIR one in it. Every wait has a deadline and watches for what it waits for. After
# each part nothing may be left: no process that carries this run's mark, no file in $ROOST_DIR, no shared memory.
# shellcheck shell=bash
set -u
ulimit -c 0
roost=${1:?usage: $0 ROOST [PART...]}
shift
parts=("$@")
programs=("$(readlink -f "$roost")") # beside them sleep and cat are looked for at the end
unset "${!ROOST_@}"
work=$(mktemp -d "${TMPDIR:-/tmp}/rp-XXXXXX") # short: the paths of sockets are limited to 107 bytes
export ROOST_DIR=$work/nodes ROOST_PARTS_TEST=${work##*/}
shared() { find /dev/shm -maxdepth 1 -path '*roost*' | sort; }
shared >"$work/shared"
failed=0
part=
patience=20

fail() {
    echo "${0##*/}: $part: $*"
    failed=1
}

# ------------------------------------------------------------------ waiting

strays() { # pids of everything that this run has started and that is no shell of this script
    local environment pid exe
    for environment in $(grep -lszx "ROOST_PARTS_TEST=$ROOST_PARTS_TEST" /proc/[0-9]*/environ 2>/dev/null); do
        pid=${environment#/proc/}
        pid=${pid%/environ}
        exe=$(readlink "/proc/$pid/exe" 2>/dev/null)
        case "${programs[*]} /bin/sleep /usr/bin/sleep /bin/cat /usr/bin/cat" in
        *"${exe:-nothing}"*) echo "$pid" ;;
        esac
    done
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# A pause for the looks of wait_for, and for nothing else: read from a pipe that nobody writes into.
exec {quiet}<> <(:)
pause() { read -r -t 0.02 -u "$quiet" || true; }

wait_for() { # WHAT CONDITION...: until the condition holds, $patience seconds at most
    local what=$1 deadline=$(($(now_ms) + patience * 1000))
    shift
    until "$@"; do
        if [ "$(now_ms)" -gt "$deadline" ]; then
            fail "$what did not come within $patience s"
            return 1
        fi
        pause
    done
}

no_strays() { [ -z "$(strays)" ]; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }
no_folders() { [ -z "$(ls -A "$ROOST_DIR" 2>/dev/null)" ]; }
has_line() { grep -qs . "$1"; }

nothing_left() {
    wait_for "the end of every process" no_strays || ps -o pid,args -p "$(strays | paste -sd,)"
    wait_for "the end of every folder" no_folders || find "$ROOST_DIR"
}

# ------------------------------------------------------------------ expectations

# run STATUS COMMAND...: its exit status must be STATUS; what it says is in $out and $err
run() {
    local wanted=$1 status=0
    shift
    out=$("$@" 2>"$work/err") || status=$?
    err=$(cat "$work/err")
    [ "$status" = "$wanted" ] || fail "'$*' ended with $status, wanted $wanted; out: $out; err: $err"
}
says() { # TEXT: it is in $out or $err
    case $out$err in
    *"$1"*) ;;
    *) fail "'$1' is not in: $out$err" ;;
    esac
}

agent_pid_of() { # FOLDER: the pid that its node.json names
    sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$1/node.json" 2>/dev/null
}

# ------------------------------------------------------------------ all of them

finish() {
    local pid
    for pid in $(strays); do
        kill -KILL "$pid" 2>/dev/null
    done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
mkdir -m 700 "$ROOST_DIR"

run_parts() {
    local left
    if [ "${#parts[@]}" = 0 ]; then
        mapfile -t parts < <(declare -F | sed -n 's/^declare -f part_//p')
    fi
    for part in "${parts[@]}"; do
        "part_$part"
        nothing_left
    done
    part=end
    left=$(shared | comm -13 "$work/shared" -)
    [ -z "$left" ] || fail "shared memory is left: $left"
    [ "$failed" = 0 ] && echo "as told"
    exit "$failed"
}

#!/bin/bash
# demo.sh DEMO BUILD [PART...]: deploy/local/demo.sh with the programs of the build folder BUILD and few records
#
# Each part is a function below; without PART all run. What the demo's report says is looked at with other eyes: the sum is
# sortgen's, the order sortcheck's, the numbers are added up here. After each part nothing may be left: no process that
# carries this run's mark, no file in $TMPDIR.
LC_ALL=C
export LC_ALL
demo=$(realpath "${1:?usage: demo.sh DEMO BUILD [PART...]}")
build=$(realpath "${2:?usage: demo.sh DEMO BUILD [PART...]}")
shift 2
set -- "$build/bin/roost" "$@"
. "${BASH_SOURCE[0]%/*}/parts.sh"
patience=60
export TMPDIR=$work/t
mkdir "$TMPDIR"

strays() { # pids of what this run has started, shells of this script apart
    local environment pid
    for environment in $(grep -lszx "ROOST_PARTS_TEST=$ROOST_PARTS_TEST" /proc/[0-9]*/environ 2>/dev/null); do
        pid=${environment#/proc/}
        pid=${pid%/environ}
        if [ "$pid" != $$ ] && [ "$pid" != "$BASHPID" ] && [ -d "/proc/$pid" ]; then
            echo "$pid"
        fi
    done
}

nothing_left() { # the demo itself has waited: what lives now was left behind
    local pid
    for pid in $(strays); do
        fail "left behind: process $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
        kill -KILL "$pid"
    done
    [ -z "$(ls -A "$TMPDIR")" ] || fail "left behind: $(find "$TMPDIR" -mindepth 1 -maxdepth 3)"
    ! grep -q "$work" /proc/self/mounts || fail "left behind: $(grep "$work" /proc/self/mounts)"
}

# ------------------------------------------------------------------ expectations

row() { awk -v name="$1" '$1 == name { print; exit }' "$work/report"; } # NAME: the first line of the report that begins so
column() { awk -v at="$1" '{ print $at }'; }

# table TITLE: the lines below a line that begins with TITLE, as far as the next empty one
table() { awk -v title="$1" 'inside && NF == 0 { exit } inside { print } index($0, title) == 1 { inside = 1 }' "$work/report"; }

# ------------------------------------------------------------------ parts

part_report_says_what_was_done() {
    local records=100000 sum in_place pulled least
    sum=$("$build/examples/sortgen" --checksum $records "$work/records")
    rm "$work/records"
    run 0 "$demo" --bytes 10M --build "$build" --keep "$work/kept"
    printf '%s\n' "$out" >"$work/report"
    [ "$(row records | column 2) $(row records | column 3)" = "$records $records" ] || fail "records: $(row records)"
    [ "$(row checksum | column 2) $(row checksum | column 3)" = "$sum $sum" ] || fail "checksum: $(row checksum), is $sum"
    "$build/examples/sortcheck" --input-sum "$sum" "$work"/kept/sorted/part-* >"$work/checked" ||
        fail "not sorted: $(cat "$work/checked")"
    head -n -1 "$work/report" | cmp -s "$work/kept/report.txt" ||
        fail "the kept report is another one"
    [ "$(table checks | grep -c '^  yes  ')" = 7 ] && ! table checks | grep -q '^  NO' || fail "checks: $(table checks)"

    # bytes: all are either in place or the least; both matrices add up to what is told above them
    in_place=$(awk '$1 == "in" && $2 == "place" { print $3; exit }' "$work/report")
    pulled=$(row pulled | column 2)
    least=$(awk '$1 == "the" && $2 == "least" { print $3; exit }' "$work/report")
    awk -v a="$in_place" -v b="$least" -v c="$pulled" \
        'BEGIN { exit !(a + b > 9.85 && a + b < 10.15 && b > 0 && c >= b && c <= 1.05 * b) }' ||
        fail "in place $in_place, pulled $pulled, least $least"
    for title in 'pulled, as the agents' 'the least, by the task'; do
        table "$title" | awk -v all="$pulled" '
            /^  node-/ { rows++; for (i = 2; i <= NF; i++) { sum += $i; none += $i == "-" } }
            END { exit !(rows == 3 && none == 3 && sum > all - 0.4 && sum < all + 0.4) }' ||
            fail "$title: $(table "$title"), wanted $pulled in all"
    done
    table 'tasks of run' | awk '
        /^  node-/ { rows++; bad += $2 < 1 || $3 < 1 || $4 != $2 + $3; mapped += $5; reduced += $6 }
        END { exit !(rows == 3 && bad == 0 && mapped == 100000 && reduced == 100000) }' ||
        fail "tasks: $(table 'tasks of run')"
    # both took time, of the clock and of a CPU
    table seconds | awk '
        $1 == "GNU" { rows++; bad += $3 <= 0 || $4 <= 0 }
        $1 == "Roost" && $2 != "/" && /head/ { rows++; bad += $2 <= 0 || $3 <= 0 }
        END { exit !(rows == 2 && bad == 0) }' ||
        fail "seconds: $(table seconds)"
    awk '$1 == "stores" { exit !($2 >= 3 * 64 && $2 < 3 * 90) }' <(table memory) || fail "memory: $(table memory)"
    awk '$1 == "processes" { exit !($2 > 1 && $2 < 5000) }' <(table memory) || fail "memory: $(table memory)"
    rm -r "$work/kept"
}

part_runs_and_nodes() {
    run 0 "$demo" --records 60000 --nodes 2 --runs 2 --build "$build"
    printf '%s\n' "$out" >"$work/report"
    says "medians of 2 runs of each, in turns"
    says "run 2 of 2: Roost"
    [ "$(table 'tasks of run' | grep -c '^  node-')" = 2 ] || fail "tasks: $(table 'tasks of run')"
    [ "$(table seconds | awk '/by run:/ { sub(/.*by run:/, ""); print NF }')" = 2 ] || fail "ratios: $(table seconds)"
}

part_usage() {
    local line
    run 0 "$demo" --help
    says "usage: deploy/local/demo.sh"
    while IFS='|' read -r options text; do
        # shellcheck disable=SC2086 # words
        run 2 "$demo" $options
        says "$text"
        says "see demo.sh --help"
    done <<END
--no-such|there is no option "--no-such"
more|there is no option "more"
--records|--records wants a value
--records 10x|--records is "10x", wanted 30000 to
--records 29999|--records is "29999", wanted 30000 to
--bytes 1Q|--bytes is "1Q", wanted a size such as 100M or 1G
--bytes 1k|--bytes is "1k", wanted 3M to 1T
--bytes 2T|--bytes is "2T", wanted 3M to 1T
--nodes 1|--nodes is "1", wanted 2 to 16
--runs 0|--runs is "0", wanted 1 to 99
--keep $work|it exists
--keep $work/no/such|no folder that I may write into
--folder $work/no|no folder that I may write into
--build $work/no|no such folder
END
    run 1 "$demo" --build "$work" --records 30000
    says "bin/roost is not there"
}

part_too_much() { # says what it needs, before it makes anything
    run 1 "$demo" --bytes 1T --build "$build"
    says "1000.0 GB of records"
    says "need"
    says "--records N for fewer"
    [ -z "$out" ] || fail "a report of nothing: $out"
}

# A build folder like $build, but with another PROGRAM: what stands in it as a script.
with_program() { # PROGRAM SCRIPT
    rm -rf "$work/build"
    mkdir -p "$work/build/bin" "$work/build/examples"
    ln -s "$build"/bin/roost "$work/build/bin/"
    ln -s "$build"/examples/sort "$build"/examples/sortgen "$build"/examples/sortcheck "$work/build/examples/"
    rm "$work/build/$1"
    printf '#!/bin/bash\n%s\n' "$2" >"$work/build/$1"
    chmod +x "$work/build/$1"
}

part_a_step_that_fails_is_named_and_cleared_up() {
    local program
    for program in examples/sortgen examples/sort examples/sortcheck bin/roost; do
        with_program $program 'echo my last words >&2; exit 7'
        run 1 "$demo" --records 30000 --build "$work/build"
        says "FAILED (status"
        says "my last words"
        [ -z "$out" ] || fail "a report although $program failed: $out"
        nothing_left
    done
    # the second agent does not start; the first runs by then
    with_program bin/roost "[ \"\$5\" != node-2 ] || exit 9; exec '$build/bin/roost' \"\$@\""
    run 1 "$demo" --records 30000 --build "$work/build"
    says "agents start: FAILED"
    rm -r "$work/build"
}

part_a_sort_that_cheats_is_found() {
    # says that it has sorted, and has taken a record for another
    with_program examples/sort "'$build/examples/sort' \"\$@\" && cd \"\$4\" && last=\$(ls | tail -n 1) &&
        dd if=\$last of=\$last bs=100 count=1 skip=1 conv=notrunc"
    run 1 "$demo" --records 30000 --build "$work/build"
    says "its result is checked: FAILED"
    nothing_left
    # the right result, from a driver alone
    with_program examples/sort "exec env -u ROOST_ADDRESS ROOST_INLINE=1 '$build/examples/sort' \"\$@\""
    run 1 "$demo" --records 30000 --build "$work/build"
    says "the agents' counts: not within"
    rm -r "$work/build"
}

# demo_in_background STEP OPTION...: $demo_pid, at the beginning of the step after STEP
demo_in_background() {
    local step=$1
    shift
    rm -f "$work/err"
    env --default-signal=INT,QUIT "$demo" "$@" >"$work/out" 2>"$work/err" &
    demo_pid=$!
    wait_for "'$step'" grep -qs "$step" "$work/err"
}

part_interrupted() {
    local step signal status
    for step in 'agents start' 'records are made' 'run 1 of 1: its result'; do
        for signal in INT TERM HUP; do
            demo_in_background "$step" --records 300000 --build "$build"
            kill "-$signal" "$demo_pid"
            status=0
            wait "$demo_pid" || status=$?
            [ "$status" = $((128 + $(kill -l "$signal"))) ] ||
                fail "SIG$signal after '$step': exit status $status: $(cat "$work/err")"
            [ ! -s "$work/out" ] || fail "a report of what was interrupted: $(cat "$work/out")"
            nothing_left
        done
    done
}

part_ctrl_c() { # at a terminal, whose driver makes it of the byte 3; progress is counted there
    local keys
    mkfifo "$work/keys"
    exec {keys}<>"$work/keys"
    rm -f "$work/typed" "$work/status"
    env --default-signal=INT,QUIT script -qfec "trap : INT; '$demo' --records 1000000 --build '$build'; echo \$? >$work/status" \
        /dev/null <"$work/keys" >"$work/typed" 2>&1 &
    wait_for "GNU sort at the terminal" grep -qs "GNU sort ... 0 s" "$work/typed"
    printf '\003' >&"$keys"
    wait_for "its exit status" test -s "$work/status"
    [ "$(cat "$work/status")" = 130 ] || fail "Ctrl-C: exit status $(cat "$work/status"): $(cat "$work/typed")"
    exec {keys}>&-
    wait $!
}

part_a_daemon_that_dies_is_told() {
    local pid
    demo_in_background 'records are made' --records 1000000 --build "$build"
    pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$TMPDIR"/roost-demo-*/node-2/node.json)
    kill -KILL "$pid"
    status=0
    wait "$demo_pid" || status=$?
    [ "$status" = 1 ] || fail "exit status $status"
    grep -q "a daemon has died" "$work/err" || fail "said: $(cat "$work/err")"
}

run_parts

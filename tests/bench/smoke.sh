#!/bin/sh
# smoke.sh ROOST: every case of `roost bench` runs at its smallest, and its JSON has the form that readers rely on. No
# figure is judged: that takes a quiet machine.
set -u
roost=${1:?usage: smoke.sh ROOST}
work=$(mktemp -d /tmp/roost-bench-XXXXXX) # short: paths of sockets in it are limited to 107 bytes
trap 'rm -rf "$work"' EXIT
export ROOST_DIR="$work/nodes"
failed=0
fail() {
    echo "bench_smoke: $*"
    failed=1
}

export TMPDIR="$work"
"$roost" bench --json --bytes 1M --runs 1 --chart "$work/chart" >"$work/lines" 2>"$work/errors" ||
    fail "exit status $?"
[ -s "$work/errors" ] && fail "it says: $(cat "$work/errors")"

number='[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?'
form="^\{\"case\":\"[a-z0-9_]+(/[A-Za-z0-9_]+)?\",\"unit\":\"(ns|us|ms|s|x|B|MiB)\",\"median\":$number,\"p99\":$number"
form="$form,\"runs\":[1-9][0-9]*,\"limit\":$number,\"ratio\":$number,\"placement\":\"(not pinned|one core|two cores)\""
points='"steps":[0-9]+,"peak_gflops":[0-9.e+]+,"above":(true|false),"points":\[(\[[^]]*\],?)+\]'
size='"nodes":[0-9]+,"tasks":[0-9]+,"objects":[0-9]+'
form="$form(,\"table\":\{.*\} *|,$points|,$size)?\}\$"
if grep -Evq "$form" "$work/lines"; then
    fail "not of the form: $(grep -Ev "$form" "$work/lines" | head -n 1)"
fi
for name in get_local/1KB get_local/1KB_again get_local/1KB_other get_local/large get_many_10000 get_refs_10000 \
    put_small put_small/freed put_large/first put_large/later put_multi task_sync task_sync/woken task_sync/busy \
    task_async task_async/ref task_multi tasks_and_get wait_1000/each wait_1000/all args_10000 \
    returns_3000 chain_1000 fan_in_1000 queued/10000 queued/100000 queued/1000000 pull_1gb pull_1000 startup/open \
    startup/cold_worker startup/forked_worker footprint/memory footprint/store footprint/processes footprint/threads \
    footprint/listeners sort/wall sort/cpu sched_scale/object_10 sched_scale/task_10 sched_scale/decision_10 sched_scale/census_10 \
    placement; do
    grep -q "^{\"case\":\"$name\"," "$work/lines" || fail "no line of $name"
done
if grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo; then
    for pattern in trivial no_comm stencil_1d fft nearest tree all_to_all random_nearest; do
        for width in 2 32; do
            grep -q "^{\"case\":\"metg/${pattern}_$width\"," "$work/lines" || fail "no line of metg/${pattern}_$width"
        done
    done
fi
head -c 4 "$work/chart" | grep -q '<svg' || fail "the chart is no SVG"
tail -n 1 "$work/chart" | grep -q '</svg>' || fail "the chart has no end"
grep -q '"case":"task_sync".*"placement":"one core"' "$work/lines" || fail "task_sync was not measured on one core"
grep -Eq '"p99":0,|"median":0,|"limit":0,' "$work/lines" && fail "a time of zero"

"$roost" bench --json tsk_sync >"$work/lines" 2>"$work/errors"
[ $? -eq 2 ] || fail "an unknown case is not exit status 2"
grep -q '"task_sync"' "$work/errors" || fail "the nearest case is not named: $(cat "$work/errors")"
[ -s "$work/lines" ] && fail "an unknown case prints lines"
"$roost" bench --bytes 1k >"$work/lines" 2>&1
[ $? -eq 2 ] || fail "a bad number is not exit status 2"

# within SECONDS COMMAND...: it comes true
within() {
    tries=$(($1 * 20))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}
has_input() { [ -n "$(find "$work/ended" -name sum -size +0)" ]; }
is_empty() { [ -z "$(ls -A "$work/ended")" ]; }
mkdir "$work/ended"
TMPDIR="$work/ended" "$roost" bench --bytes 64M sort >"$work/lines" 2>&1 &
bench=$!
within 60 has_input || fail "no input of a sort: $(cat "$work/lines")"
kill -TERM $bench
wait $bench
[ $? -eq 143 ] || fail "a bench that a signal ended does not say so"
within 60 is_empty || fail "a bench that a signal ended left: $(ls -A "$work/ended")"

[ $failed -eq 0 ] && echo "bench_smoke: every case has its lines"
exit $failed

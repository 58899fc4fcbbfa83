#!/bin/bash
# run.sh [--quick] [--no-install]: the whole test run, from a bare Debian 12 to a verdict.
#
#   1. install what is missing (deploy/local/packages.sh; --no-install leaves that out)
#   2. build preset release and run every test
#   3. build presets asan and tsan and run the tests of code under them (--quick leaves these out)
#   4. fail when anything of this run is left behind: processes, shared memory, folders
#
# Says what it is at, prints ctest's closing lines once more at the end, and exits 0 only when all of it passed.
set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."

LEFTOVER_GRACE_SECONDS=10 # for processes that are on their way out when the last test has ended

quick=no
install=yes
for option in "$@"; do
    case $option in
    --quick) quick=yes ;;
    --no-install) install=no ;;
    *)
        echo "usage: tests/run.sh [--quick] [--no-install]" >&2
        exit 2
        ;;
    esac
done

jobs=$(nproc)
run_dir=$(mktemp -d /tmp/roost-run-XXXXXXXX) # short: paths of sockets in it are limited to 107 bytes
closing=$run_dir/closing
failed=0
checked=no

# Everything that the run starts carries ROOST_TEST_RUN, so what it leaves behind can be told from the rest; and the
# caller's own cluster and settings play no part in it.
unset "${!ROOST_@}"
export ROOST_TEST_RUN=${run_dir##*/}
export ROOST_DIR=$run_dir/nodes
export TMPDIR=$run_dir/tmp
mkdir "$ROOST_DIR" "$TMPDIR"
tests/tools/leftovers.sh places >"$run_dir/places"

say() { printf '== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

check_leftovers() { # SECONDS
    env -u ROOST_TEST_RUN tests/tools/leftovers.sh check "$ROOST_TEST_RUN" "$run_dir/places" "$1" "$ROOST_DIR" "$TMPDIR"
}

finish() {
    local status=$?
    trap - EXIT
    [ "$checked" = yes ] || check_leftovers 0 || true # interrupted: nothing of the run goes on
    rm -rf "$run_dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# run_preset PRESET WHAT CTEST_ARGUMENT...
run_preset() {
    local preset=$1 what=$2
    shift 2
    say "$preset: building"
    if ! cmake --preset "$preset" >"$run_dir/configure" 2>&1; then
        cat "$run_dir/configure"
        echo "$preset: not configured" >>"$closing"
        failed=1
        return 0
    fi
    if ! cmake --build --preset "$preset" -j "$jobs"; then
        echo "$preset: not built" >>"$closing"
        failed=1
        return 0
    fi
    say "$preset: $what"
    "${wrapper[@]}" ctest --preset "$preset" -j "$jobs" --no-tests=error "$@" 2>&1 |
        tee "$run_dir/$preset.log" || failed=1
    {
        echo "$preset:"
        sed -n '/tests passed,/,$p' "$run_dir/$preset.log" | grep -v '^$' || echo "  ctest ended early"
    } >>"$closing"
}

if [ "$install" = yes ]; then
    say "packages"
    deploy/local/packages.sh
fi

wrapper=(env)
run_preset release "every test"
if [ "$quick" = no ]; then
    run_preset asan "unit and integration tests" -L '^(unit|integration)$'
    # The thread sanitizer of gcc 12 does not start where the kernel randomises addresses widely.
    if setarch "$(uname -m)" -R true 2>/dev/null; then
        wrapper=(setarch "$(uname -m)" -R)
    fi
    run_preset tsan "what has threads"
fi

say "leftovers"
check_leftovers "$LEFTOVER_GRACE_SECONDS" || failed=1
checked=yes

echo
cat "$closing"
if [ "$failed" = 0 ]; then
    printf 'passed in %d:%02d minutes\n' $((SECONDS / 60)) $((SECONDS % 60))
else
    printf 'FAILED after %d:%02d minutes\n' $((SECONDS / 60)) $((SECONDS % 60))
fi
exit "$failed"

#!/bin/sh
# format.sh TREE [--fix]: C and C++ files look as .clang-format says. Exits 77, with the reason, without a clang-format.
# Files whose tables and long macros are laid out by hand are named here; so is nothing else.
set -eu
tree=${1:?usage: format.sh TREE [--fix]}
by_hand='api/include/roost.h common/core.h common/limits.h tests/lib/test.h'
if ! command -v clang-format >/dev/null; then
    echo "skipped: there is no clang-format here (Debian: apt-get install clang-format)"
    exit 77
fi
cd "$tree"
[ -r .clang-format ] || { echo "format.sh: no .clang-format in $tree" >&2; exit 2; }
failed=0
count=0
for file in $(find api common examples objectstore proto scheduler tests worker -name '*.[ch]' -o -name '*.cc' | sort); do
    case " $by_hand " in
    *" $file "*) continue ;;
    esac
    count=$((count + 1))
    if [ "${2-}" = --fix ]; then
        clang-format -i "$file"
    elif ! clang-format "$file" | diff -u --label "$file" --label "$file, formatted" "$file" -; then
        failed=1
    fi
done
echo "$count files"
[ "$failed" = 0 ] || echo "tests/tools/format.sh . --fix does it"
[ "$count" -gt 0 ] && exit $failed

#!/bin/sh
# headers.sh TREE CC CXX FLAG...: every header of TREE compiles alone, and twice, as our C with our flags; roost.h also as
# strict C11 and C++17, as a user compiles it, with clang too when there is one.
set -u
tree=${1:?usage: headers.sh TREE CC CXX FLAG...}
cc=$2
cxx=$3
shift 3
cd "$tree" || exit 2
failed=0
count=0

# compiles NAME TEXT COMPILER FLAG...: without an error and without a word
compiles() {
    name=$1
    text=$2
    shift 2
    count=$((count + 1))
    status=0
    output=$(printf '%b' "$text" | "$@" -fsyntax-only - 2>&1) || status=$?
    if [ "$status" != 0 ] || [ -n "$output" ]; then
        printf '%s (%s):\n%s\n' "$name" "$1" "$output"
        failed=1
    fi
}

folders=
for folder in common proto objectstore scheduler worker api tests examples; do
    [ ! -d "$folder" ] || folders="$folders $folder"
done
[ -n "$folders" ] || { echo "headers.sh: no folder of Roost in $tree" >&2; exit 2; }
# shellcheck disable=SC2086 # a list of folders
for header in $(find $folders -name '*.h' | sort); do
    include="#include \"$header\"\n"
    compiles "$header" "$include${include}int nothing_else;\n" "$cc" -std=gnu11 -Werror -I. -Iapi/include "$@" -x c
done
[ "$count" -gt 0 ] || { echo "headers.sh: no headers in $tree" >&2; exit 2; }

clang=$(command -v clang || true)
clangxx=$(command -v clang++ || true)
[ -n "$clang" ] || echo "not compiled with clang: there is none"
for compiler in "$cc" $clang; do
    compiles roost.h '#include <roost.h>\n' "$compiler" -std=c11 -pedantic -Wall -Wextra -Werror -Iapi/include -x c
done
for compiler in "$cxx" $clangxx; do
    compiles roost.h '#include <roost.h>\n' "$compiler" -std=c++17 -pedantic -Wall -Wextra -Werror -Iapi/include -x c++
done
echo "$count compilations"
exit $failed

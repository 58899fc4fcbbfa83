#!/bin/sh
# tools_test.sh CC CXX: each check of this folder fails on what it is there to see (layers has its own: layers_test.sh).
set -eu
cc=${1:?usage: tools_test.sh CC CXX}
cxx=$2
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$here/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# fails WORDS COMMAND...: COMMAND exits 1 and says WORDS
fails() {
    words=$1
    shift
    status=0
    output=$("$@" 2>&1) || status=$?
    case "$status:$output" in
    1:*"$words"*) ;;
    *) echo "does not fail with \"$words\" (exit $status): $*"; echo "$output"; failed=1 ;;
    esac
}

# headers: one that leans on what its includer included; one without a guard; a roost.h that is not C++
mkdir -p "$work/tree/common" "$work/tree/api/include"
echo '/* empty */' >"$work/tree/api/include/roost.h"
echo 'static inline size_t length(void) { return 1; }' >"$work/tree/common/leans.h"
fails 'common/leans.h' "$here/headers.sh" "$work/tree" "$cc" "$cxx"
echo 'struct twice { int a; };' >"$work/tree/common/leans.h"
fails 'redefinition' "$here/headers.sh" "$work/tree" "$cc" "$cxx"
rm "$work/tree/common/leans.h"
echo 'int class;' >"$work/tree/api/include/roost.h"
fails 'roost.h (' "$here/headers.sh" "$work/tree" "$cc" "$cxx"

# misuse: a mistake that compiles; one that fails elsewhere
sed 's/roost_call(rt, f, &out, many)/roost_call(rt, f, \&out, a)/' "$top/tests/unit/api/misuse.c" >"$work/misuse.c"
fails 'M3 compiles' "$here/misuse.sh" "$top/api/include" "$work/misuse.c" "$cc"
{ printf '#ifdef M3\n#error elsewhere\n#endif\n'; cat "$work/misuse.c"; } >"$work/elsewhere.c"
fails 'M3 fails for another reason' "$here/misuse.sh" "$top/api/include" "$work/elsewhere.c" "$cc"

# programs: one that does not compile
mkdir "$work/programs"
cp "$top"/tests/unit/api/programs/* "$work/programs"
echo 'int unfinished(' >>"$work/programs/hello.c"
fails 'hello.c: failed' "$here/programs.sh" "$top/api/include" "$work/programs" "$cc" "$cxx"

# libc_only: another library, another symbol, another name
echo 'int roost_x(void); int roost_x(void) { return 1; }' >"$work/good.c"
echo 'int strange(void); int strange(void) { return 1; }' >"$work/strange.c"
"$cc" -shared -fPIC -Wl,-soname,libroost.so.0 -o "$work/good.so" "$work/good.c" -Wl,--no-as-needed -lc
"$here/libc_only.sh" "$work/good.so" >/dev/null || { echo "libc_only.sh refuses a good library"; failed=1; }
"$cc" -shared -fPIC -Wl,-soname,libroost.so.0 -o "$work/more.so" "$work/good.c" -Wl,--no-as-needed -lm
fails 'needs libm.so.6' "$here/libc_only.sh" "$work/more.so"
"$cc" -shared -fPIC -Wl,-soname,libroost.so.0 -o "$work/strange.so" "$work/strange.c" "$work/good.c"
fails 'shows strange' "$here/libc_only.sh" "$work/strange.so"
"$cc" -shared -fPIC -o "$work/unnamed.so" "$work/good.c"
fails 'soname is missing' "$here/libc_only.sh" "$work/unnamed.so"

# format: a file that is not; a machine without clang-format says so
mkdir -p "$work/format/common"
cp "$top/.clang-format" "$work/format"
printf 'int   x ;\n' >"$work/format/common/x.c"
if command -v clang-format >/dev/null; then
    mkdir -p "$work/format/api" "$work/format/examples" "$work/format/objectstore" "$work/format/proto" \
        "$work/format/scheduler" "$work/format/tests" "$work/format/worker"
    fails 'int x;' "$here/format.sh" "$work/format"
fi

[ "$failed" = 0 ] && echo "every check can fail"
exit $failed

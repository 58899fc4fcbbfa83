#!/bin/sh
# hello.sh EXAMPLES_DIR: the smallest program says what it should, and nothing else
set -eu
. "${0%/*}/lib.sh"
"$bin/hello" >out 2>err || fail "hello ended with $?: $(cat err)"
[ "$(cat out)" = "8 words" ] || fail "hello printed '$(cat out)'"
[ ! -s err ] || fail "hello complained: $(cat err)"
echo "hello: 8 words"

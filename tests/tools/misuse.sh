#!/bin/sh
# misuse.sh INCLUDE_DIR FILE COMPILER...: FILE as it is compiles with each compiler; with any of its mistakes (-DM1, -DM2,
# ...) it does not, and what the compiler says points at the lines of the mistake.
set -u
include=${1:?usage: misuse.sh INCLUDE_DIR FILE COMPILER...}
file=$2
shift 2
mistakes=$(sed -n 's/^#\(if\|elif\)\(def\)* *\(M[0-9][0-9]*\)$/\3/p' "$file")
[ "$(echo "$mistakes" | wc -w)" -ge 11 ] || { echo "misuse.sh: $file holds too few mistakes: $mistakes" >&2; exit 2; }
failed=0

for compiler in "$@"; do
    command -v "$compiler" >/dev/null || { echo "not tried with $compiler: there is none"; continue; }
    try() { "$compiler" -std=c11 -pedantic -Wall -Wextra -Werror -I"$include" -c -o /dev/null "$@" "$file" 2>&1; }
    try || { echo "$compiler: $file does not compile without a mistake"; failed=1; }
    for mistake in $mistakes; do
        # the lines between this mistake's #ifdef or #elif and the next #
        lines=$(awk -v m="$mistake" 'found && /^#/ { exit } found { printf "%s%d", sep, NR; sep = "|" }
            $0 ~ "^#(if|elif)(def)? *" m "$" { found = 1 }' "$file")
        if output=$(try "-D$mistake"); then
            echo "$compiler: $mistake compiles"
            failed=1
        elif ! echo "$output" | grep -Eq "${file##*/}:($lines):"; then
            echo "$compiler: $mistake fails for another reason than line $lines:"
            echo "$output"
            failed=1
        fi
    done
    echo "$compiler: $(echo "$mistakes" | wc -w) mistakes"
done
exit $failed

#!/bin/sh
# wordcount.sh EXAMPLES_DIR: the counts are those of tr, sort and uniq; what is wrong is said
set -eu
. "${0%/*}/lib.sh"
here=$(cd -- "$OLDPWD" && cd -- "$(dirname -- "$0")" && pwd)

# The same in another way. Words are cut to 31 letters, as wordcount does.
reference() {
    for file; do
        cat -- "$file"
        echo # a word ends with its file
    done | tr -cs 'A-Za-z' '\n' | tr 'A-Z' 'a-z' | cut -c1-31 | sed '/^$/d' | sort | uniq -c | sort -k1,1nr -k2,2 |
        awk '{ printf "%8d %s\n", $1, $2 }'
}

compare() {
    "$bin/wordcount" "$@" >counts || fail "wordcount of $# files ended with $?"
    reference "$@" >wanted
    cmp wanted counts || fail "wordcount of $# files: $(diff wanted counts | head -5)"
    echo "$# files: $(wc -l <counts) words"
}

# no words, no bytes, one word without an end, capitals, and one that is too long
: >empty
printf ' \n\t12 34\n' >none
printf 'word' >unended
printf "The THE the tHe it's\n" >capitals
printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n' >long
compare empty
compare none
compare empty none unended capitals long
grep -qx '       3 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' counts || fail "long words are not cut to 31 letters"
grep -qx '       4 the' counts || fail "capitals do not count as small letters"

# generated: more words than a table begins with, so that it has to grow, in several files
awk 'BEGIN { s = 42; for (i = 0; i < 60000; i++) { s = (s * 69069 + 1) % 4294967296; n = int(s / 65536); w = "";
    do { w = w sprintf("%c", 97 + n % 26); n = int(n / 26) } while (n > 0)
    printf "%s%s", w, (i % 11 == 0 ? "\n" : " ") } }' >generated
split -l 1000 generated part-
compare part-*
[ "$(wc -l <counts)" -gt 5000 ] || fail "the generated text has too few different words to test with"

# any bytes: a program
compare "$bin/wordcount"

# real text, wherever there is some; without it, that of this folder
find /usr/share/doc /usr/share/common-licenses -type f -size -200k ! -name '*.gz' 2>/dev/null | sort | head -n 150 >files
[ -s files ] || find "$here" -type f >files
xargs "$bin/wordcount" <files >counts
# names in these folders have no blanks
reference $(cat files) >wanted
cmp wanted counts || fail "real text: $(diff wanted counts | head -5)"
echo "$(wc -l <files) files of real text: $(wc -l <counts) words"

# one more different word than a table may hold
awk 'BEGIN { for (i = 0; i <= 1048576; i++) { n = i; w = "";
    do { w = w sprintf("%c", 97 + n % 26); n = int(n / 26) } while (n > 0); print w "z" } }' >many
expect 1 "more than 1048576 different words" "$bin/wordcount" many
sed '$d' many >as_many
"$bin/wordcount" as_many >counts || fail "1048576 different words are not too many"
[ "$(wc -l <counts)" = 1048576 ] || fail "of 1048576 words $(wc -l <counts) came out"

expect 1 "missing" "$bin/wordcount" empty missing
expect 1 "$work" "$bin/wordcount" "$work"
expect 2 "no FILE" "$bin/wordcount"
expect 2 "--frequent" "$bin/wordcount" --frequent empty
expect 0 "usage: wordcount FILE..." "$bin/wordcount" --help
if [ -c /dev/full ]; then
    status=0
    "$bin/wordcount" part-* >/dev/full 2>err || status=$?
    [ "$status" = 1 ] && grep -q 'No space left' err || fail "a full disk: status $status, '$(cat err)'"
fi

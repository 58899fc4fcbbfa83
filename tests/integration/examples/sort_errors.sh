#!/bin/sh
# sort_errors.sh EXAMPLES_DIR: what goes wrong is said, with the path, and leaves nothing behind
set -eu
. "${0%/*}/lib.sh"

"$bin/sortgen" 5000 input
"$bin/sortgen" 10 few
head -c 150 input >cut
mkdir folder old
echo mine >old/part-00001
echo mine >old/notes
before=$(names .)

# failing TEXT OPTION...: exit status 1, TEXT said, and the same names there as before
failing() {
    text=$1
    shift
    expect 1 "$text" "$bin/sort" "$@"
    rm .said
    [ "$(names .)" = "$before" ] || fail "sort $* left: $(names .)"
}

failing "cannot sort cut: its 150 bytes are no whole number of 100-byte records: 50 are left over" -i input cut -o out
failing "cannot sort missing: No such file or directory" -i input missing -o out
failing "cannot sort folder: it is not a regular file" -i folder -o out
failing "old/part-00001 exists" -i input -o old
[ "$(cat old/part-00001)" = mine ] || fail "somebody else's part was touched"
failing "cannot write to few: Not a directory" -i input -o few
failing "cannot write to no/where: No such file or directory" -i input -o no/where
failing "cannot write the report no/report" -i input -o out -r no/report
if [ "$(id -u)" = 0 ]; then
    failing "cannot write to /proc: " -i input -o /proc # root may write anywhere else
else
    chmod 500 folder
    failing "cannot write to folder: Permission denied" -i input -o folder
    chmod 000 few
    failing "cannot sort few: Permission denied" -i few -o out
    chmod 700 folder
    chmod 600 few
fi
if command -v flock >/dev/null; then
    expect 1 "cannot write to folder: another sort is writing there" flock folder "$bin/sort" -i input -o folder
    [ -z "$(names folder)" ] || fail "the second of two sorts left $(names folder)"
fi

# What earlier jobs have left unfinished goes, everything else stays.
for name in part-00000.0.tmp part-00047.3.tmp part-1.tmp part-00000.txt notes; do
    echo "$name" >"folder/$name"
done
"$bin/sort" -i few -o folder -p 2 >said || fail "leftovers of earlier jobs are in the way"
[ "$(names folder)" = "./notes ./part-00000 ./part-00000.txt ./part-00001 ./part-1.tmp " ] || fail "left: $(names folder)"
rm said folder/*

expect 2 "--input FILE is missing" "$bin/sort" -o out
expect 2 "--output DIR is missing" "$bin/sort" -i few
expect 2 "--partitions is a number from 1 to 65536, not '0'" "$bin/sort" -i few -o out -p 0
expect 2 "--partitions is a number from 1 to 65536, not '65537'" "$bin/sort" -i few -o out --partitions=65537
expect 2 "--maps is a number from 1 to 1048576, not '7x'" "$bin/sort" -i few -o out -m 7x
expect 2 "what is this: few" "$bin/sort" few -o out
expect 2 "what is this: few" "$bin/sort" -i few -o out few
expect 2 "--fast" "$bin/sort" -i few -o out --fast
expect 0 "usage: sort --input FILE... --output DIR" "$bin/sort" --help
[ ! -e out ] || fail "wrong usage made a folder"

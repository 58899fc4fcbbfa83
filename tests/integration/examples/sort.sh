#!/bin/sh
# sort.sh EXAMPLES_DIR: sorted means sorted, for every kind of input and number of parts
set -eu
. "${0%/*}/lib.sh"

# sorted SUM PARTITIONS OPTION...: sorts, and has another program look at the result
sorted() {
    sum=$1 partitions=$2
    shift 2
    rm -rf out
    "$bin/sort" --output out --partitions "$partitions" --report report.json "$@" >said || fail "sort $*: ended with $?"
    "$bin/sortcheck" --input-sum "$sum" out/part-* >checked || fail "sort $*: $(cat checked)"
    [ "$(ls out | wc -l)" = "$partitions" ] || fail "sort $*: $partitions partitions, but $(names out)"
    grep -q "\"partitions\": $partitions," report.json || fail "sort $*: the report says $(grep partitions report.json)"
}

# 1,000,000 records of a kind for one number of partitions each, fewer for all
for kind in --ascii --binary '--ascii --skew' '--binary --skew'; do
    for records in 1000 100000 1000000; do
        rm -f input
        sum=$("$bin/sortgen" $kind --checksum $records input)
        case $records$kind in
        1000000--ascii) counts=48 ;;
        1000000--binary) counts=1 ;;
        1000000*) counts=7 ;;
        *) counts='1 7 48' ;;
        esac
        for partitions in $counts; do
            sorted "$sum" "$partitions" --input input
        done
        echo "$records records, sortgen $kind: $counts partitions"
    done
done

# defaults, from another folder, with the sums compared: 100 MB are 8 pieces and 16 partitions on one node
rm -rf input out
sum=$("$bin/sortgen" --checksum 1000000 input)
mkdir elsewhere
(cd elsewhere && "$bin/sort" -i ../input -o ../out -c -r ../report.json >../said) || fail "sort from elsewhere"
"$bin/sortcheck" --input-sum "$sum" out/part-* >checked || fail "defaults: $(cat checked)"
grep -q "checksum $sum\$" said || fail "the sum is $sum, said was: $(cat said)"
for line in '"records": 1000000,' '"bytes": 100000000,' '"maps": 8,' '"partitions": 16,' "\"checksum\": \"$sum\"," \
    '"bytes_in_place": 100000000,' '"bytes_moved": 0,' '[100000000]' '"maps": 8, "reducers": 16,' \
    '"records_mapped": 1000000, "records_reduced": 1000000 }'; do
    grep -qF -- "$line" report.json || fail "the report lacks $line: $(cat report.json)"
done
[ "$(grep -c '{ "part": ' report.json)" = 16 ] || fail "the report has not 16 parts"
if command -v python3 >/dev/null; then
    python3 -m json.tool report.json >json || fail "the report is no JSON"
fi

# the same bytes as sort(1): keys of printable characters, records that are lines
sort -s -t "$(printf '\001')" -k1.1,1.10 input >wanted
cat out/part-* | cmp - wanted || fail "not what sort(1) makes of it"

# few records for many partitions: most are empty
rm -f input
sum=$("$bin/sortgen" --checksum 20 input)
sorted "$sum" 48 --input input

# several files, cut into pieces in different ways; an empty one among them
: >none
sum=$("$bin/sortgen" --checksum 30000 whole)
"$bin/sortgen" --first 0 10000 a
"$bin/sortgen" --first 10000 1 b
"$bin/sortgen" --first 10001 19999 c
sorted "$sum" 7 --input a none b --maps 5 --input c
cat out/part-* >first
sorted "$sum" 3 --maps 1 --input whole
cat out/part-* | cmp - first || fail "other pieces, other bytes"

# equal keys keep the order of the input, whatever the pieces: the second time around each key's record is another one
cut -c1-10 whole >keys
for letter in X Y; do
    awk -v mark=$letter '{ printf "%s%s%87s\r\n", $0, mark, NR }' keys >"equal-$letter"
done
size=$(wc -c <equal-X)
[ "$size" = 3000000 ] || fail "the test's own records are wrong: $size bytes"
for maps in 1 7; do
    rm -rf out
    "$bin/sort" --input equal-X equal-Y --output out --partitions 5 --maps $maps --checksum >said
    cat out/part-* | sed 's/^\(.\{11\}\).*/\1/' >order
    awk '{ mark = substr($0, 11, 1); wanted = NR % 2 ? "X" : "Y"; if (mark != wanted) bad++ } END { exit bad > 0 }' order ||
        fail "equal keys have changed places ($maps maps)"
done

# nothing at all to sort: parts of nothing
rm -rf out
"$bin/sort" --input none --output out --partitions 3 --checksum >said
[ "$(cat out/part-0000[012] | wc -c)" = 0 ] || fail "records from nowhere"
[ "$(names out)" = "./part-00000 ./part-00001 ./part-00002 " ] || fail "nothing sorted: $(names out)"

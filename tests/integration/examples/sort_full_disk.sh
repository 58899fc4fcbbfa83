#!/bin/sh
# sort_full_disk.sh EXAMPLES_DIR: a disk that fills up in the middle is said, with the path, and is empty afterwards
#
# A small file system takes a mount namespace of one's own, which goes with its last process. Where there is none, a
# limit on the size of files stands in for it; that is of use only when all runs in one process (ROOST_INLINE), as shared
# memory is files too.
set -eu
if [ "${2-}" != alone ] && unshare -rm true 2>/dev/null; then
    exec unshare -rm "$0" "$1" alone
fi
. "${0%/*}/lib.sh"
trap 'umount disk 2>/dev/null || true; rm -rf "$work"' EXIT
"$bin/sortgen" 5000 input

# Four parts of about 125 KB. The folder is there, or made for the job.
fill() { # WORDS
    for folder in disk disk/new; do
        expect 1 "$1" "$bin/sort" -i input -o $folder -p 4 -r report
        grep -q "cannot [a-z ]* $work/$folder/part-0000[0-3].0.tmp: $1" .said || fail "no path is named: $(cat .said)"
        [ -z "$(names disk)" ] || fail "left on a full disk: $(names disk)"
    done
    [ ! -e report ] && [ -z "$(find . -name 'report*')" ] || fail "a report of a job that failed"
}

mkdir disk
if [ "${2-}" = alone ]; then
    for size in 300k 64k; do
        mount -t tmpfs -o "size=$size" none disk
        fill "No space left on device"
        umount disk
        echo "a disk of $size"
    done
elif [ "${ROOST_INLINE-0}" != 0 ]; then
    trap '' XFSZ
    ulimit -f 128 # blocks of 512 bytes
    fill "File too large"
    echo "files of 64 KiB at most"
else
    echo "skipped: there is neither a namespace to mount a small file system in nor a single process to limit"
    exit 77
fi

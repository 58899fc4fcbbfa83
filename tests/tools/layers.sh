#!/bin/sh
# layers.sh TREE [TABLE]: check the includes of TREE, and what its cores touch, against layers.table (beside this script).
# Prints FILE:LINE and what is wrong for each breach; exits 1 when there is one, 2 when the check cannot be made.
set -eu
LC_ALL=C
export LC_ALL
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
tree=${1:?usage: layers.sh TREE [TABLE]}
table=${2:-$here/layers.table}
cd "$tree"

folders=
for folder in common proto objectstore scheduler worker api examples; do
    [ ! -d "$folder" ] || folders="$folders $folder"
done
if [ -z "$folders" ] || [ ! -r "$table" ]; then
    echo "layers.sh: no folder of Roost in $tree, or no table at $table" >&2
    exit 2
fi

# shellcheck disable=SC2086 # a list of folders
find $folders -type f \( -name '*.[ch]' -o -name '*.cc' -o -name '*.cpp' -o -name '*.hpp' \) | sort |
    awk -v table="$table" -f "$here/layers.awk"

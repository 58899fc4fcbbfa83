# lib.sh: what the scripts of this folder share; to be read with `.` after `set -eu`
#
# Each script is called as SCRIPT EXAMPLES_DIR and works in a folder of its own, which is gone when it ends. Which world
# Roost runs in is in the environment (ROOST_INLINE), so the same script tests each.
LC_ALL=C
export LC_ALL
bin=$(cd -- "${1:?usage: $0 EXAMPLES_DIR}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/examples-XXXXXXXX")
trap 'chmod -R u+w "$work" || true; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# expect STATUS TEXT COMMAND...: the command ends with STATUS, and TEXT is in what it printed (kept in $work/.said).
expect() {
    wanted=$1 text=$2
    shift 2
    status=0
    "$@" >"$work/.said" 2>&1 || status=$?
    if [ "$status" != "$wanted" ] || ! grep -qF -- "$text" "$work/.said"; then
        sed 's/^/    /' "$work/.said" >&2
        fail "$*: status $status, wanted $wanted and '$text'"
    fi
}

# names DIR: what is in DIR, in one line
names() { (cd "$1" && find . -mindepth 1 | sort | tr '\n' ' '); }

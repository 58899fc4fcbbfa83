#!/bin/sh
# packages_test.sh: deploy/local/packages.sh in front of a dpkg, an apt-get, an id and a sudo of this test's own.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
packages=$here/../../deploy/local/packages.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
for tool in sh env; do
    ln -s "$(command -v "$tool")" "$work/$tool"
done
tool() { # NAME BODY
    printf '#!/bin/sh\n%s\n' "$2" >"$work/$1"
    chmod +x "$work/$1"
}
# run: with these tools alone; what it printed is in $output, what apt-get and sudo were asked in $asked
run() {
    : >"$work/asked"
    status=0
    output=$(env -i PATH="$work" ASKED="$work/asked" sh "$packages" 2>&1) || status=$?
    asked=$(cat "$work/asked")
}
expect() { # WHAT CONDITION...
    what=$1
    shift
    "$@" || { echo "$what: exit $status, said: $output, asked: $asked"; failed=1; }
}
contains() { case $1 in *"$2"*) ;; *) return 1 ;; esac; }
lacks() { ! contains "$1" "$2"; }

run
expect 'no Debian: says so' [ "$status" = 1 ]
expect 'no Debian: names the packages' contains "$output" libnng-dev

tool apt-get 'echo "apt-get $* $DEBIAN_FRONTEND" >>"$ASKED"'
tool sudo 'echo sudo >>"$ASKED"; "$@"'
tool id 'echo 0'
tool dpkg-query 'echo installed'
run
expect 'all there: fine' [ "$status" = 0 ]
expect 'all there: nothing is asked' [ -z "$asked" ]

tool dpkg-query 'case $* in *libuv1-dev*) exit 1 ;; *ninja-build*) echo config-files ;; *) echo installed ;; esac'
run
expect 'two missing, root: fine' [ "$status" = 0 ]
expect 'two missing, root: one update, one install of these two' [ "$asked" = "apt-get -q update noninteractive
apt-get -q install -y --no-install-recommends ninja-build libuv1-dev noninteractive" ]

tool id 'echo 1000'
run
expect 'missing, a user: by sudo' [ "$status" = 0 ]
expect 'missing, a user: by sudo' contains "$asked" 'sudo
apt-get -q install'

rm "$work/sudo"
run
expect 'missing, a user without sudo: fails' [ "$status" = 1 ]
expect 'missing, a user without sudo: says what to do' contains "$output" 'apt-get install ninja-build libuv1-dev'
expect 'missing, a user without sudo: tries nothing' lacks "$asked" apt-get

tool id 'echo 0'
tool apt-get 'exit 100'
run
expect 'apt-get fails: so does the script' [ "$status" = 100 ]

[ "$failed" = 0 ] && echo "as told"
exit $failed

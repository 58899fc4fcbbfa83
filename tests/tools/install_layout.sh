#!/bin/sh
# install_layout.sh BUILD CC CXX FILE...: install BUILD into an empty prefix, move the prefix, and use it as others will:
# every FILE is there, nothing else is, no absolute path is left in it, and programs in C and C++ build against it with
# pkg-config and with find_package(Roost), and run.
set -eu
build=${1:?usage: install_layout.sh BUILD CC CXX FILE...}
cc=$2
cxx=$3
shift 3
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "install_layout: $*"
    exit 1
}

cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
prefix=$work/moved
for file in "$@"; do
    [ -e "$prefix/$file" ] || fail "$file is not installed"
done
# lib/cmake holds a file per build type beside the three that are promised
extra=$(cd "$prefix" && find . ! -type d ! -path './lib/cmake/Roost/RoostTargets-*.cmake' | sed 's,^\./,,' | while read -r file; do
    case " $* " in
    *" $file "*) ;;
    *) echo "$file" ;;
    esac
done)
[ -z "$extra" ] || fail "installed and not in the list of the layout: $extra"
! grep -rIl -e "$work/first" -e "$build" "$prefix/lib/pkgconfig" "$prefix/lib/cmake" || fail "names an absolute path"

# expect PROGRAM: runs with the installed library and says its version
expect() {
    said=$(LD_LIBRARY_PATH="$prefix/lib" "$1") || fail "$1 ended with $?"
    [ "$said" = "$version no room in the object store" ] || fail "$1 says: $said"
}
version=$(PKG_CONFIG_PATH="$prefix/lib/pkgconfig" pkg-config --modversion roost)

flags=$(PKG_CONFIG_PATH="$prefix/lib/pkgconfig" pkg-config --cflags --libs roost)
# shellcheck disable=SC2086 # a list of flags
{
    "$cc" -std=c11 -o "$work/pc_c" "$here/consumer/consumer.c" $flags
    "$cxx" -std=c++17 -o "$work/pc_cc" "$here/consumer/consumer.cc" $flags
}
expect "$work/pc_c"
expect "$work/pc_cc"

for cxx_wanted in OFF ON; do
    cmake -S "$here/consumer" -B "$work/cmake_$cxx_wanted" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" \
        -DCMAKE_CXX_COMPILER="$cxx" -DCONSUMER_CXX="$cxx_wanted" --no-warn-unused-cli >"$work/log" 2>&1 &&
        cmake --build "$work/cmake_$cxx_wanted" >>"$work/log" 2>&1 || {
        cat "$work/log"
        fail "find_package(Roost) with C++ $cxx_wanted"
    }
    expect "$work/cmake_$cxx_wanted/consumer_c"
done
expect "$work/cmake_ON/consumer_cc"
echo "version $version, installed, moved and used"

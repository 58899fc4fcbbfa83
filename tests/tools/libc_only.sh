#!/bin/sh
# libc_only.sh LIBRARY: LIBRARY needs libc and the loader alone, is named libroost.so.0, and shows roost_... only.
set -eu
library=${1:?usage: libc_only.sh LIBRARY}
failed=0
dynamic=$(readelf -dW "$library")

needed=$(printf '%s\n' "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
for name in $needed; do
    case $name in
    libc.so.6 | ld-linux*.so.*) ;;
    *) echo "needs $name"; failed=1 ;;
    esac
done
case $needed in
*libc.so.6*) ;;
*) echo "does not even need libc.so.6: is this the library?"; failed=1 ;;
esac

soname=$(printf '%s\n' "$dynamic" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
[ "$soname" = libroost.so.0 ] || { echo "its soname is ${soname:-missing}"; failed=1; }

symbols=$(nm -D --defined-only "$library" | awk '{ print $NF }' | sed 's/@.*//')
[ -n "$symbols" ] || { echo "shows nothing"; failed=1; }
for symbol in $symbols; do
    case $symbol in
    roost_* | ROOST_[0-9]*) ;;
    *) echo "shows $symbol"; failed=1 ;;
    esac
done
echo "needs $needed; shows $(echo "$symbols" | wc -l) symbols"
exit $failed

#!/bin/sh
# layers_test.sh: does layers.sh see what it is for? Each case is a tree of one file.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
cases=0

# run FILE TEXT: layers.sh on a tree that holds FILE alone; its output is in $output, its exit in $status
run() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/$(dirname "$1")"
    printf '%b\n' "$2" >"$work/tree/$1"
    cases=$((cases + 1))
    status=0
    output=$("$here/layers.sh" "$work/tree" 2>&1) || status=$?
}
rejects() { # FILE TEXT MESSAGE
    run "$1" "$2"
    case "$status:$output" in
    1:*"$1:"*"$3"*) ;;
    *) echo "not rejected with \"$3\" (exit $status): $1: $2"; echo "$output"; failed=1 ;;
    esac
}
accepts() { # FILE TEXT
    run "$1" "$2"
    [ "$status" = 0 ] || { echo "not accepted (exit $status): $1: $2"; echo "$output"; failed=1; }
}

# edges that point up or sideways
rejects common/x.c '#include "proto/x.h"' 'common may not include proto'
rejects common/x.c '#include "common/io/loop.h"' 'common may not include common/io'
rejects proto/x.c '#include "objectstore/wire.h"' 'proto may not include objectstore/shared'
rejects scheduler/head.c '#include "worker/agent/agent.h"' 'scheduler may not include worker/agent'
rejects worker/agent/agent.c '#include "scheduler/head.h"' 'worker/agent may not include scheduler'
rejects scheduler/core/x.c '#include "scheduler/head.h"' 'scheduler/core may not include scheduler'
rejects scheduler/core/x.c '#include "common/io/loop.h"' 'scheduler/core may not include common/io'
rejects worker/agent/core/x.c '#include "objectstore/store.h"' 'may not include objectstore/agent'
rejects worker/runtime/x.c '#include "common/io/loop.h"' 'libroost may not include common/io'
rejects api/x.c '#include "proto/x.h"' 'libroost may not include proto'
rejects examples/x.c '#include "common/id.h"' 'examples may not include common'
rejects api/include/roost.h '#include "common/id.h"' 'roost.h may not include common'
rejects api/x.c 'int a; /* a comment\nends */ #include "proto/x.h"' 'libroost may not include proto'
accepts api/x.c '/*\n#include "proto/x.h"\n*/\n// #include "proto/x.h"\n'
accepts api/x.c '#include "api/register.h"\n#include "worker/runtime/serve.h"\n#include "objectstore/wire.h"'
accepts proto/x.c '#include "roost.pb-c.h"'
rejects api/x.c '#include "roost.pb-c.h"' 'libroost may not include proto'
accepts scheduler/core/x.c '#include <roost.h>\n#include "common/core.h"\n#include "objectstore/wire.h"'
accepts api/cli/x.c '#include "scheduler/head.h"\n#include "worker/agent/agent.h"'

# includes that hide where they lead
rejects common/x.c '#include "id.h"' 'not rooted at the top'
rejects common/x.c '#include "common/../proto/x.h"' 'not rooted at the top'
rejects common/x.c '#include HEADER' 'cannot be read'
accepts common/thread_hooks.h '#include ROOST_THREAD_HOOKS'

# libuv and nng
rejects scheduler/head.c '#include <uv.h>' 'only common/io may include <uv.h>'
rejects common/x.c '#include <nng/nng.h>' 'only common/io may include <nng/nng.h>'
accepts common/io/loop.c '#include <uv.h>\n#include <nng/nng.h>'

# cores
rejects scheduler/core/x.c '#include <time.h>' 'may not include <time.h>'
rejects scheduler/core/x.c 'a = clock_gettime(CLOCK_MONOTONIC, &t);' 'may not use clock_gettime'
rejects scheduler/core/x.c 'a = time (NULL);' 'may not call time()'
rejects worker/agent/core/x.c 'a = uv_now(loop);' 'may not use uv_now'
rejects worker/agent/core/x.c 'kill(pid, SIGKILL);' 'may not call kill()'
rejects api/core/x.c 'if (atomic_load_explicit(&a, memory_order_acquire)) {' 'may not use atomic_load_explicit'
accepts api/core/x.c '#include <stdatomic.h>\n_Atomic bool done; atomic_store_explicit(&done, true, memory_order_release);'
rejects worker/agent/core/x.c 'fprintf(f, "x");' 'may not call fprintf()'
rejects worker/agent/core/x.c 'n = read(fd, b, 1);' 'may not call read()'
rejects api/core/x.c 'fd = socket(1, 2, 3);' 'may not call socket()'
rejects api/core/x.c 'double x;' 'may not use double'
rejects api/core/x.c 'int a = b * 1.5;' 'floating-point'
rejects api/core/x.c 'int a = b * 1e9;' 'floating-point'
rejects api/core/x.c 'int a = b * 3.f;' 'floating-point'
rejects api/core/x.c 'int a = b * 2e-3;' 'floating-point'
rejects api/core/x.c 'snprintf(s, n, "%p", p);' 'may not print an address'
accepts api/core/x.c '/* a double is read at some time() */ const char *a = "double time(read)"; // float'
accepts api/core/x.c 'uint64_t a = 0x1e5 + 10ull + UINT64_C(0xE5) + x2e3 + v[0].time; b = ops->read(1) + ops.write(2);'
accepts api/core/x.c "char c = '\"'; char d = '\\\\'';\nsnprintf(s, n, \"%d.%d 1.5\", 1, 2); case 0 ... 9: f(a.b, ...);"
accepts common/x.c 'double a = 1.5; time(NULL);'

# a check that checks nothing is no check
rm -rf "$work/tree" && mkdir -p "$work/tree"
! "$here/layers.sh" "$work/tree" >/dev/null 2>&1 || { echo "a tree without folders is accepted"; failed=1; }
mkdir "$work/tree/common"
! "$here/layers.sh" "$work/tree" >/dev/null 2>&1 || { echo "a tree without files is accepted"; failed=1; }
echo 'nonsense here' >"$work/table"
! "$here/layers.sh" "$here/../.." "$work/table" >/dev/null 2>&1 || { echo "a broken table is accepted"; failed=1; }

echo "$cases cases"
exit $failed

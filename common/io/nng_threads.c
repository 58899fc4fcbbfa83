/* nng_threads.c - nng's thread pools, kept small
 *
 * nng asks sysconf() for the number of processors when it is first used, from the thread that uses it. A symbol of the
 * executable goes before one of libc, for shared libraries too, so the sysconf() below is the one that nng gets. It
 * answers like libc's, which glibc also exports as __sysconf, except to that thread at that moment. stream.c refers to
 * this file, so it is linked wherever nng is. */
#include "common/io/nng_threads.h"
#include "common/limits.h"

#include <unistd.h>

static _Thread_local bool starting;

extern long __sysconf(int name);

void nng_threads_starting(bool is_starting) { starting = is_starting; }

/* The sanitizers' runtimes call it too, before they are ready for code that they have instrumented. */
__attribute__((__visibility__("default"), __no_sanitize__("thread", "address", "undefined"))) long sysconf(int name)
{
    long value = __sysconf(name);
    return starting && name == _SC_NPROCESSORS_ONLN && value > NNG_CPUS_MAX ? NNG_CPUS_MAX : value;
}

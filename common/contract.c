#include "common/contract.h"
#include "common/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void contract_broken(const char *kind, const char *condition, const char *file, int line)
{
    fprintf(stderr, "level=fatal topic=contract kind=\"%s\" condition=\"%s\" at=%s:%d pid=%d\n", kind, condition, file,
            line, (int)getpid());
    trace_print(stderr);
    abort();
}

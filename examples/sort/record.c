#include "examples/sort/record.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int sort_fail(struct sort_fault *fault, int status, const char *format, ...)
{
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault->text, sizeof fault->text, format, arguments);
    va_end(arguments);
    errno = saved;
    return status;
}

int records_count(size_t size, size_t *count_out, struct sort_fault *fault)
{
    if (size % RECORD_BYTES != 0) {
        return sort_fail(fault, -EINVAL, "%zu bytes are no whole number of %d-byte records: %zu are left over", size,
                         RECORD_BYTES, size % RECORD_BYTES);
    }
    *count_out = size / RECORD_BYTES;
    return 0;
}

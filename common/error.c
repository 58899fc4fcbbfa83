#include "common/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char line[ERROR_TEXT_BYTES];

int error_set(int status, const char *format, ...)
{
    int saved_errno = errno;
    char text[ERROR_TEXT_BYTES]; /* the arguments may point into `line` */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(line, text, strlen(text) + 1);
    errno = saved_errno;
    return status;
}

int error_prefix(int status, const char *format, ...)
{
    char prefix[ERROR_TEXT_BYTES / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    return error_set(status, "%s: %s", prefix, line[0] != '\0' ? line : error_name(status));
}

int error_from_errno(const char *format, ...)
{
    int saved_errno = errno;
    char what[ERROR_TEXT_BYTES / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return error_set(saved_errno == ENOMEM ? ROOST_ENOMEM : ROOST_EIO, "%s: %s", what, strerror(saved_errno));
}

void error_clear(void) { line[0] = '\0'; }

const char *error_text(void) { return line; }

const char *error_name(int status)
{
    switch (status) {
    case 0:
        return "ok";
#define ERROR_CASE_(name, number, text) \
    case number:                        \
        return text;
        ROOST_STATUS_MAP(ERROR_CASE_)
#undef ERROR_CASE_
    }
    return "unknown status";
}

const char *error_code_name(int status)
{
    switch (status) {
    case 0:
        return "OK";
#define ERROR_CASE_(name, number, text) \
    case number:                        \
        return #name;
        ROOST_STATUS_MAP(ERROR_CASE_)
#undef ERROR_CASE_
    }
    return "UNKNOWN";
}

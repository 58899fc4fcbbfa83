/* log_tail.c - the ends of log files */
#include "api/cli/log_tail.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void log_last_line(const char *path, char *line_out, size_t bytes)
{
    char text[LOG_TAIL_BYTES + 1];
    struct stat about;
    line_out[0] = '\0';
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0) {
        return;
    }
    off_t from = about.st_size > LOG_TAIL_BYTES ? about.st_size - LOG_TAIL_BYTES : 0;
    ssize_t got = pread(fd, text, LOG_TAIL_BYTES, from);
    close(fd);
    while (got > 0 && (text[got - 1] == '\n' || text[got - 1] == '\0')) {
        got--;
    }
    if (got <= 0) {
        return;
    }
    text[got] = '\0';
    const char *newline = memrchr(text, '\n', (size_t)got);
    snprintf(line_out, bytes, "%s", newline != NULL ? newline + 1 : text);
}

off_t log_tail_start(int fd, uint64_t lines)
{
    char text[LOG_TAIL_BYTES];
    struct stat about;
    if (fstat(fd, &about) != 0) {
        return 0;
    }
    bool is_last = true; /* the newline that ends the last line begins no other */
    for (off_t end = about.st_size; end > 0;) {
        off_t from = end > LOG_TAIL_BYTES ? end - LOG_TAIL_BYTES : 0;
        ssize_t got = pread(fd, text, (size_t)(end - from), from);
        for (ssize_t i = got; i-- > 0;) {
            bool is_newline = text[i] == '\n' && !(is_last && from + i + 1 == about.st_size);
            is_last = false;
            if (is_newline && lines-- <= 1) {
                return from + i + 1;
            }
        }
        end = got > 0 ? from : 0;
    }
    return 0;
}

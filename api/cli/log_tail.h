/* log_tail.h - the ends of log files */
#ifndef ROOST_API_CLI_LOG_TAIL_H
#define ROOST_API_CLI_LOG_TAIL_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { LOG_LINE_BYTES_MAX = 512, LOG_TAIL_BYTES = 4096 };

/* The last line that is not empty, cut to fit, without its newline; "" when there is none. */
void log_last_line(const char *path, char *line_out, size_t bytes);

/* Where the last `lines` lines of the file begin. */
off_t log_tail_start(int fd, uint64_t lines);

#endif

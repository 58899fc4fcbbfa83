/* trace.h - the last few thousand things that happened in this process
 *
 * A fixed ring of small records, always on, printed when a contract breaks. State changes of long-lived things (task,
 * worker, node, object, lease) each leave one record. Any thread; a record may be lost under contention, never torn
 * enough to mislead: each carries its own number. */
#ifndef ROOST_COMMON_TRACE_H
#define ROOST_COMMON_TRACE_H

#include <stdint.h>
#include <stdio.h>

enum { TRACE_RECORDS = 4096 };

/* `what` must be a string literal: it is kept by pointer. a, b and c mean what `what` says. */
void trace_add(const char *what, uint64_t a, uint64_t b, uint64_t c);

/* Oldest first. */
void trace_print(FILE *to);

#endif

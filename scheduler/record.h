/* record.h - what a record of the head begins with (proto/io/record.h) */
#ifndef ROOST_SCHEDULER_RECORD_H
#define ROOST_SCHEDULER_RECORD_H

#include "proto/io/record.h"

struct head_config;

extern const struct record_core head_record;

/* record_open() for a head that has no facts of earlier lives. */
int head_record_open(struct record **record_out, const char *path, const struct head_config *config);

#endif

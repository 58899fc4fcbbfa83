/* record.h - every event that a head's core has met, in a file, and the way back
 *
 * A file is of one build on one kind of machine: it is for the one who looks for what a head did, not for keeping. Each
 * event is written before its step, so the one that ended the process is there, with the hash of the state it met. */
#ifndef ROOST_SCHEDULER_RECORD_H
#define ROOST_SCHEDULER_RECORD_H

#include "common/core.h"

struct head_config;
struct record;

/* A new file, or the old one overwritten. The config must have no facts of earlier lives.
 * ROOST_EIO, ROOST_ENOMEM. */
int record_open(struct record **record_out, const char *path, const struct head_config *config);

/* Blocks for a write(2) to a file. When that fails it is logged once, and the record ends
 * there. */
void record_event(struct record *record, const struct core_event *event, uint64_t hash);

/* The last line: the state at the end. Accepts NULL. */
void record_close(struct record *record, uint64_t hash);

/* Gives the recorded events to a fresh core. `hash_out`: of its state at the end. A file that ends early (the head did)
 * is played as far as it goes.
 * Errors: ROOST_ECHANGED  the state before some event is another than it was; the text says which
 *         ROOST_EINVAL    not a record, or a damaged one
 *         ROOST_ENOENT, ROOST_EIO, ROOST_ENOMEM */
int head_play(const char *path, uint64_t *hash_out);

#endif

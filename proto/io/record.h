/* record.h - every event that a core has met, in a file, and the way back
 *
 * A file is of one build on one kind of machine: it is for the one who looks for what a daemon did, not for keeping. It
 * holds what the daemon saw, arguments of calls included, so it is its user's alone (0600). Each event is written
 * before its step, so the one that ended the process is there, with the hash of the state it met. */
#ifndef ROOST_PROTO_IO_RECORD_H
#define ROOST_PROTO_IO_RECORD_H

#include "common/core.h"

enum { RECORD_CONFIG_BYTES_MAX = 4096 };

/* What differs between cores. */
struct record_core {
    const char *name; /* "head", "agent": at most 7 bytes */
    const struct core_vtable *vtable;
    size_t config_bytes; /* of what create() takes; without pointers */
    int (*create)(const void *config, void **core_out);
    void (*destroy)(void *core);
    /* Ring entries are the core's own affair. `entry_parts`: how many bytes one has, and what it leads to (NULL:
     * nothing). `entry_fix`: checks one that was read, in memory as malloc() aligns it, and leads it to `more` again; 0
     * or ROOST_EINVAL. Both NULL: this core reads no rings. */
    size_t (*entry_parts)(const struct wire_entry *entry, const void **more_out, size_t *more_bytes_out);
    int (*entry_fix)(struct wire_entry *entry, size_t bytes, const void *more, size_t more_bytes);
};

struct record;

/* A new file, or the old one overwritten. `config` is what a fresh core is made from. ROOST_EIO, ROOST_ENOMEM. */
int record_open(struct record **record_out, const char *path, const struct record_core *core, const void *config);

/* Blocks for a write(2) to a file. When that fails it is logged once, and the record ends there. */
void record_event(struct record *record, const struct core_event *event, uint64_t hash);

/* The last line: the state at the end. Accepts NULL. */
void record_close(struct record *record, uint64_t hash);

/* Gives the recorded events to a fresh core. `hash_out`: of its state at the end. A file that ends early (its daemon
 * did) is played as far as it goes.
 * Errors: ROOST_ECHANGED  the state before some event is another than it was; the text says which
 *         ROOST_EINVAL    not a record of this core, or a damaged one
 *         ROOST_ENOENT, ROOST_EIO, ROOST_ENOMEM */
int record_play(const char *path, const struct record_core *core, uint64_t *hash_out);

#endif

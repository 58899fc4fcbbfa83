/* marks.h - which of the core's marks went out with which batch of a session
 *
 * A core numbers what later answers are compared with (scheduler/core/head.h, marks; an agent's all that it says to the
 * head); the peer answers with numbers of batches. Only batches that raised the mark are kept, and only as long as
 * somebody may still ask for them. */
#ifndef ROOST_PROTO_MARKS_H
#define ROOST_PROTO_MARKS_H

#include <stddef.h>
#include <stdint.h>

struct marks_item {
    uint32_t batch, mark;
};

/* All zero is none. Ascending in both. */
struct marks {
    struct marks_item *items; /* owned */
    size_t first, end, capacity;
};

/* Frees the memory; a new session begins with none. */
void marks_fini(struct marks *marks);

/* A message of `batch`, the newest so far, carries `mark`. A lower mark than before says nothing.
 * Errors: ROOST_ELIMIT  SESSION_MARKS_MAX are kept already
 *         ROOST_ENOMEM
 * and then it is not known. */
int marks_note(struct marks *marks, uint32_t batch, uint32_t mark);

/* The mark of the last message in all batches up to this one; 0 when there was none. */
uint32_t marks_at(const struct marks *marks, uint32_t batch);

/* Nobody will ask for an older batch than this one any more. */
void marks_forget_before(struct marks *marks, uint32_t batch);

#endif

/* slab.h - the client's book of the slabs that are leased to it
 *
 * Small objects are laid one behind the other into a slab; nobody is asked and nobody is told. Pure: knows places,
 * never memory. The owner (the client library) serialises the calls. */
#ifndef ROOST_OBJECTSTORE_SLAB_H
#define ROOST_OBJECTSTORE_SLAB_H

#include "common/limits.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes [offset, offset + size) of a segment. */
struct store_place {
    uint64_t offset, size;
    uint32_t segment;
};

enum { SLAB_FAST_NS = 20000000, SLAB_SLOW_NS = 1000000000 };

struct slab; /* slab.c */

struct slab_book {
    struct slab **slabs; /* by segment and offset; owned */
    uint32_t count, capacity;
    struct slab *current; /* what slab_take takes from, or NULL */
    uint64_t bytes_next;  /* of the slab to ask for next */
    uint64_t opened_ns;   /* when `current` was added */
    uint32_t empty_count; /* closed and empty: slab_next_empty gives them */
};

void slab_book_init(struct slab_book *book);
void slab_book_fini(struct slab_book *book);

enum { SLAB_WANTED = 1 };

/* Room for an object of `size` bytes, trailer included, 0 < size <= STORE_LARGE_BYTES. The place's size is `size`.
 * SLAB_WANTED: the current slab has no room; it is closed; lease another of *slab_bytes_out bytes, add it, ask again.
 * The sizes go from STORE_SLAB_BYTES_MIN to STORE_SLAB_BYTES_MAX: doubled when a slab was full within SLAB_FAST_NS,
 * halved when it took SLAB_SLOW_NS, and never too small for the object at hand. */
int slab_take(struct slab_book *book, uint64_t size, uint64_t now_ns, struct store_place *place_out,
              uint64_t *slab_bytes_out);

/* A slab was leased to this process. `place` must not overlap another. ROOST_ENOMEM: not taken, give the lease back. */
int slab_add(struct slab_book *book, struct store_place place, uint64_t now_ns);

/* The object keeps its first `size` bytes, > 0; the rest can be taken again when nothing was taken since. */
void slab_trim(struct slab_book *book, struct store_place *place, uint64_t size);

/* The private object at `place` is gone, and nothing here reads it any more. */
void slab_drop(struct slab_book *book, struct store_place place);

/* The object at `place` is the agent's now, as its name left the process: its bytes stay, so this slab never begins
 * anew. */
void slab_hand_over(struct slab_book *book, struct store_place place);

/* Close the current slab, for example because the agent wants it back. */
void slab_close_current(struct slab_book *book);

/* A slab that is closed and in which nothing private lies: it leaves the book and goes back to the agent. False when
 * there is none. */
bool slab_next_empty(struct slab_book *book, struct store_place *place_out);

#endif

/* pins.h - who is reading what: hazard pointers over the shared table
 *
 * A pin names (entry, generation) in a word of memory that the client writes and the agent reads. While a word names
 * it, the agent uses neither the entry nor the bytes again. The agent makes the pages and keeps them mapped, so that a
 * client's pins count until the client is dead, however it dies, and not an instant longer.
 *
 * Client half: any thread with a record of its own. Agent half: one thread. No function here makes a system call,
 * except that pins_pin, once in a while, takes a lock and asks for a page. */
#ifndef ROOST_OBJECTSTORE_PINS_H
#define ROOST_OBJECTSTORE_PINS_H

#include "objectstore/table.h"

#include <pthread.h>

enum {
    PINS_LAYOUT = 1,
    PINS_PAGES_MAX = 11, /* page p has PINS_PAGE_BYTES << p bytes; the last one is used in part */
    PINS_PAGE_BYTES = 8192,
    PINS_BATCH = 32, /* slots that a thread takes at once */
    PINS_KEEP = 1024 /* free slots of a thread beyond twice this go back to all threads */
};

/* Shared memory: made zeroed by the agent, written by the client, never trusted by the agent. */
struct pins_page {
    uint32_t layout;
    _Atomic uint32_t high_water; /* slots that were ever handed out: no pin lies behind */
    uint8_t unused[56];
    _Atomic uint32_t touched[CLIENT_TOUCHED]; /* entry + 1, or 0; lossy. Of page 0 only */
    _Atomic uint64_t slots[];                 /* pins_name(), or 0 */
};
_Static_assert(sizeof(struct pins_page) == 64 + 4 * CLIENT_TOUCHED, "part of the layout");

static inline size_t pins_page_bytes(uint32_t page) { return (size_t)PINS_PAGE_BYTES << page; }
static inline uint32_t pins_page_slots(uint32_t page)
{
    return (uint32_t)((pins_page_bytes(page) - sizeof(struct pins_page)) / sizeof(uint64_t));
}

/* What a slot holds. Forty bits of the generation: two of an entry that agree in them would only delay a reuse. Bit 0,
 * which is zero in every generation that can be pinned, is set, so that no name is 0. */
static inline uint64_t pins_name(uint32_t index, uint64_t generation)
{
    return (uint64_t)index << 40 | (generation & ((UINT64_C(1) << 40) - 1)) | 1;
}
_Static_assert(STORE_ENTRIES_MAX <= 1 << 24, "an index has 24 bits in a pin");

/* ---- the client ---- */

/* Page number `page`, mapped writable for good. A status of the asker's otherwise. Called under a lock; may block. */
typedef int pins_grow_fn(void *context, uint32_t page, struct pins_page **page_out);

struct pins_slot; /* pins.c */

/* One thread's slots. Of a cache line of its own. */
struct pins_thread {
    struct pins *pins;
    uint32_t free_head, free_count;
    uint32_t touched_at;
    struct pins_thread *next; /* of pins->threads */
    bool is_parked;
    _Atomic uint32_t returned __attribute__((__aligned__(64))); /* slots that other threads released: a stack */
};

struct pins {
    pthread_mutex_t lock;
    pins_grow_fn *grow;
    void *grow_context;
    struct pins_page *pages[PINS_PAGES_MAX]; /* borrowed from the asker; entries are written once */
    struct pins_slot *slots[PINS_PAGES_MAX]; /* owned, beside the shared slots */
    uint32_t pages_count;
    uint32_t slots_count;           /* in all pages, at most CLIENT_PINS_MAX */
    uint32_t fresh_next, fresh_end; /* of the newest page: slots never handed out */
    uint32_t free_head, free_count; /* slots that no thread owns */
    struct pins_thread *threads;    /* owned; parked ones wait for a new thread */
    uint32_t threads_count;
};

/* `grow` is called for page 0 with the first pin. */
int pins_init(struct pins *pins, pins_grow_fn *grow, void *context);

/* No thread may use it any more. The pages are the caller's. */
void pins_fini(struct pins *pins);

/* A record for the calling thread, perhaps one that an ended thread left. ROOST_ENOMEM. */
int pins_thread_start(struct pins *pins, struct pins_thread **thread_out);

/* The thread ends; its pins go on, and others release them. NULL is fine. */
void pins_thread_close(struct pins_thread *thread);

enum { PINS_STALE = 16 }; /* apart from the answers of map.h */

/* Publish a pin on (index, generation), then look whether the entry still has that generation. 0: its bytes stay until
 * pins_unpin(*pin_out), which is never 0 and leaves bits 62 and 63 alone. PINS_STALE: it changed, nothing is pinned.
 * Errors: ROOST_ELIMIT  as many views as the pages hold
 *         ROOST_ENOMEM, and what `grow` says. */
int pins_pin(struct pins_thread *thread, const struct table *table, uint32_t index, uint64_t generation,
             uint64_t *pin_out);

/* `thread` is the caller's record, or NULL when it has none; the pin may be another thread's. Never blocks, but for a
 * lock when it gives slots back to all. False: the pin is not held, say because it was released through a copy of the
 * view; nothing has happened. (Its slot would have to be used 2^30 times meanwhile to be taken for another's.) */
bool pins_unpin(struct pins *pins, struct pins_thread *thread, uint64_t pin);

/* Leave a note that the entry was used. Lossy. */
void pins_touch(struct pins_thread *thread, uint32_t index);

/* ---- the agent ---- */

/* Names that were retired, to be looked for. */
struct pins_set {
    uint64_t *names; /* owned; open addressing; 0: free */
    bool *is_pinned;
    uint32_t capacity, count;
};

/* Room for `count_max` names. ROOST_ENOMEM. */
int pins_set_init(struct pins_set *set, uint32_t count_max);
void pins_set_fini(struct pins_set *set);
void pins_set_add(struct pins_set *set, uint64_t name);

/* Look through one page of a client; `page_number` tells its size. Returns how many pins it holds. Only after the
 * entries of the set were retired (table_retire, table_update). */
uint32_t pins_set_scan(struct pins_set *set, const struct pins_page *page, uint32_t page_number);

/* Would a scan find nothing? Under the same condition. */
bool pins_page_is_empty(const struct pins_page *page, uint32_t page_number);

/* Was it pinned in one of the pages? It must have been added. */
bool pins_set_is_pinned(const struct pins_set *set, uint64_t name);

/* Take the notes out of a client's page 0: up to CLIENT_TOUCHED indices, checked against `capacity`. */
uint32_t pins_touched_take(struct pins_page *page, uint32_t capacity, uint32_t indices_out[CLIENT_TOUCHED]);

#endif

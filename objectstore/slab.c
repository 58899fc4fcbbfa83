/* slab.c - the client's book of the slabs that are leased to it
 *
 * Owns the counts of what lies in each slab. One slab is current; the others are closed.
 *
 * Happy path: take* -> (drop | hand_over)*; the current slab is full -> closed; closed and nothing private in it ->
 *             slab_next_empty gives it back. The agent leases it again when what was handed over is gone as well.
 * Failures:   no memory for the book: the lease goes back. A place that is in no slab is a broken contract.
 * Invariants: live = places taken - dropped - handed over; used <= size; only the current slab has live == 0 without
 *             being counted in empty_count.
 * Thread:     whoever holds the client's lock.
 *
 * The current slab begins anew when all of it was dropped and nothing handed over: a loop of put, use, free stays in
 * the same few cache lines. The rate rule: a slab that lasts 20 ms to 1 s makes one message in that time, which is
 * nothing, and no idle client holds 16 MiB. */
#include "objectstore/slab.h"
#include "common/contract.h"

#include <roost.h>
#include <stdlib.h>
#include <string.h>

struct slab {
    struct store_place place;
    uint64_t used; /* bytes from the front */
    uint32_t live; /* private objects */
    bool has_handed_over;
};

void slab_book_init(struct slab_book *book) { *book = (struct slab_book){ .bytes_next = STORE_SLAB_BYTES_MIN }; }

void slab_book_fini(struct slab_book *book)
{
    for (uint32_t i = 0; i < book->count; i++) {
        free(book->slabs[i]);
    }
    free(book->slabs);
    *book = (struct slab_book){ 0 };
}

/* How many slabs begin at or before (segment, offset). */
static uint32_t rank_of(const struct slab_book *book, uint32_t segment, uint64_t offset)
{
    uint32_t low = 0, high = book->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct store_place *place = &book->slabs[middle]->place;
        if (place->segment < segment || (place->segment == segment && place->offset <= offset)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct slab *slab_of(const struct slab_book *book, struct store_place place)
{
    uint32_t rank = rank_of(book, place.segment, place.offset);
    struct slab *slab = rank > 0 ? book->slabs[rank - 1] : NULL;
    bool is_inside = slab != NULL && slab->place.segment == place.segment && place.offset >= slab->place.offset &&
                     range_is_inside(place.offset - slab->place.offset, place.size, slab->place.size);
    return is_inside ? slab : NULL;
}

void slab_close_current(struct slab_book *book)
{
    if (book->current != NULL) {
        book->empty_count += book->current->live == 0;
        book->current = NULL;
    }
}

/* Adjust the size of the next slab to how long the current one lasted. */
static void note_rate(struct slab_book *book, uint64_t now_ns)
{
    uint64_t lasted_ns = now_ns - book->opened_ns;
    if (lasted_ns < SLAB_FAST_NS && book->bytes_next < STORE_SLAB_BYTES_MAX) {
        book->bytes_next *= 2;
    } else if (lasted_ns > SLAB_SLOW_NS && book->bytes_next > STORE_SLAB_BYTES_MIN) {
        book->bytes_next /= 2;
    }
}

/* A power of two, so that slabs fit where slabs were. */
static uint64_t slab_bytes_for(const struct slab_book *book, uint64_t size)
{
    uint64_t bytes = book->bytes_next;
    while (bytes < size) {
        bytes *= 2;
    }
    return bytes;
}

int slab_take(struct slab_book *book, uint64_t size, uint64_t now_ns, struct store_place *place_out,
              uint64_t *slab_bytes_out)
{
    ROOST_PRE(size > 0 && size <= STORE_LARGE_BYTES);
    struct slab *slab = book->current;
    if (slab != NULL && size <= slab->place.size - slab->used) {
        *place_out = (struct store_place){ slab->place.offset + slab->used, size, slab->place.segment };
        uint64_t used = align_up(slab->used + size, STORE_ALIGNMENT);
        slab->used = used < slab->place.size ? used : slab->place.size;
        slab->live++;
        return 0;
    }
    if (slab != NULL) {
        note_rate(book, now_ns);
        slab_close_current(book);
    }
    *slab_bytes_out = slab_bytes_for(book, size);
    return SLAB_WANTED;
}

static int make_room(struct slab_book *book)
{
    if (book->count < book->capacity) {
        return 0;
    }
    uint32_t capacity = book->capacity == 0 ? 8 : book->capacity * 2;
    struct slab **slabs = realloc(book->slabs, capacity * sizeof(struct slab *));
    if (slabs == NULL) {
        return ROOST_ENOMEM;
    }
    book->slabs = slabs;
    book->capacity = capacity;
    return 0;
}

int slab_add(struct slab_book *book, struct store_place place, uint64_t now_ns)
{
    ROOST_PRE(place.offset % STORE_ALIGNMENT == 0 && place.size > 0);
    struct slab *slab = malloc(sizeof *slab);
    if (slab == NULL || make_room(book) != 0) {
        free(slab);
        return ROOST_ENOMEM;
    }
    uint32_t rank = rank_of(book, place.segment, place.offset);
    memmove(book->slabs + rank + 1, book->slabs + rank, (book->count - rank) * sizeof(struct slab *));
    *slab = (struct slab){ .place = place };
    book->slabs[rank] = slab;
    book->count++;
    slab_close_current(book);
    book->current = slab;
    book->opened_ns = now_ns;
    return 0;
}

void slab_trim(struct slab_book *book, struct store_place *place, uint64_t size)
{
    struct slab *slab = slab_of(book, *place);
    ROOST_PRE(slab != NULL);
    ROOST_PRE(size > 0 && size <= place->size);
    uint64_t begin = place->offset - slab->place.offset;
    uint64_t end = align_up(begin + place->size, STORE_ALIGNMENT);
    if (slab->used == (end < slab->place.size ? end : slab->place.size)) { /* it is the last one */
        end = align_up(begin + size, STORE_ALIGNMENT);
        slab->used = end < slab->place.size ? end : slab->place.size;
    }
    place->size = size;
}

static void leave(struct slab_book *book, struct slab *slab)
{
    ROOST_PRE(slab->live > 0);
    slab->live--;
    if (slab->live > 0) {
        return;
    }
    if (slab != book->current) {
        book->empty_count++;
    } else if (!slab->has_handed_over) {
        slab->used = 0;
    }
}

void slab_drop(struct slab_book *book, struct store_place place)
{
    struct slab *slab = slab_of(book, place);
    ROOST_PRE(slab != NULL);
    leave(book, slab);
}

void slab_hand_over(struct slab_book *book, struct store_place place)
{
    struct slab *slab = slab_of(book, place);
    ROOST_PRE(slab != NULL);
    slab->has_handed_over = true;
    leave(book, slab);
}

bool slab_next_empty(struct slab_book *book, struct store_place *place_out)
{
    if (book->empty_count == 0) {
        return false;
    }
    uint32_t i = 0;
    while (book->slabs[i]->live > 0 || book->slabs[i] == book->current) {
        i++;
    }
    *place_out = book->slabs[i]->place;
    free(book->slabs[i]);
    book->count--;
    memmove(book->slabs + i, book->slabs + i + 1, (book->count - i) * sizeof(struct slab *));
    book->empty_count--;
    return true;
}

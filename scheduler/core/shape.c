/* shape.c - the specs of tasks, kept as what tells each from others of its shape
 *
 * Owns the shapes. A million queued tasks differ in their call number and in what they read, and in little else: so a
 * spec is kept as the words in which it differs from the first one of its shape, which is kept whole. What a decision
 * asks of a spec (resources, wishes, function) is read from these few words and from the shape, which many tasks share
 * and the caches have.
 *
 * Happy path: keep -> (header, write)* -> let go; the last one takes the shape along.
 * Failures:   nothing alike: the shape is one task's own, which costs its record and a bit per word.
 * Invariants: write() gives back what was kept, byte by byte. refs is the number of specs kept by the shape.
 * Thread:     the core's. */
#include "scheduler/core/head_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WORD_BYTES = 8, BITS = 64, TASK_WORD = offsetof(struct spec, task) / WORD_BYTES };

_Static_assert(sizeof(struct spec) % WORD_BYTES == 0 && sizeof(struct spec) / WORD_BYTES <= BITS, "the first bits");
_Static_assert(offsetof(struct spec, task) % WORD_BYTES == 0 && sizeof(struct task_id) == 2 * WORD_BYTES, "two words");

/* The specs of one job that call one function, are as long and have as many arguments. */
struct shape {
    struct id_key key;
    uint32_t refs, words_count;
    bool is_shared; /* in the map */
    struct placement_kind kind, kind_spread;
    uint64_t words[]; /* of the first one; its task id is zero here, as every task knows its own */
};

/* A bit for each word, and behind them the words that differ, in order. */
struct kept_spec {
    struct shape *shape;
    uint64_t words[];
};

static uint32_t bits_count(uint32_t words_count) { return (words_count + BITS - 1) / BITS; }

static struct id_key key_of(const struct spec *spec, struct id_key function)
{
    const uint64_t alike[] = { spec->job.hi, spec->job.lo, function.hi, function.lo, spec->bytes, spec->args_count };
    return hash128(alike, sizeof alike, 0);
}

/* Aligned and with a task id of zero, as shapes have it. */
static uint64_t word_of(const struct spec *spec, uint32_t at)
{
    uint64_t word;
    memcpy(&word, (const unsigned char *)spec + (size_t)at * WORD_BYTES, sizeof word);
    return at == TASK_WORD || at == TASK_WORD + 1 ? 0 : word;
}

static struct shape *make_shape(struct id_map *shapes, struct id_key key, const struct spec *spec,
                                struct id_key function)
{
    uint32_t words_count = spec->bytes / WORD_BYTES;
    struct shape *shape = head_alloc(sizeof *shape + (size_t)words_count * WORD_BYTES);
    shape->key = key;
    shape->words_count = words_count;
    shape->kind = (struct placement_kind){ .function = function };
    shape->kind_spread = (struct placement_kind){ .function = function, .spread = function };
    for (uint32_t i = 0; i < words_count; i++) {
        shape->words[i] = word_of(spec, i);
    }
    shape->is_shared = id_map_get(shapes, key) == NULL;
    if (shape->is_shared) {
        ROOST_INVARIANT(id_map_put(shapes, key, shape) == 0);
    }
    return shape;
}

static struct shape *shape_of(struct id_map *shapes, const struct spec *spec)
{
    struct id_key function = hash128(spec_function(spec), spec->function.bytes, 0), key = key_of(spec, function);
    struct shape *shape = id_map_get(shapes, key);
    bool is_it = shape != NULL && shape->words_count * WORD_BYTES == spec->bytes &&
                 id_key_eq(shape->kind.function, function);
    return is_it ? shape : make_shape(shapes, key, spec, function);
}

struct kept_spec *kept_spec_make(struct id_map *shapes, const struct spec *spec)
{
    ROOST_PRE(spec->bytes % WORD_BYTES == 0);
    ROOST_PRE(spec->bytes >= sizeof *spec);
    struct shape *shape = shape_of(shapes, spec);
    uint32_t bits = bits_count(shape->words_count), differ = 0;
    for (uint32_t i = 0; i < shape->words_count; i++) {
        differ += word_of(spec, i) != shape->words[i] ? 1 : 0;
    }
    struct kept_spec *kept = head_alloc(sizeof *kept + (size_t)(bits + differ) * WORD_BYTES);
    uint64_t *next = kept->words + bits;
    for (uint32_t i = 0; i < shape->words_count; i++) {
        uint64_t word = word_of(spec, i);
        if (word != shape->words[i]) {
            kept->words[i / BITS] |= UINT64_C(1) << i % BITS;
            *next++ = word;
        }
    }
    kept->shape = shape;
    shape->refs++;
    return kept;
}

void kept_spec_free(struct id_map *shapes, struct kept_spec *kept)
{
    if (kept == NULL) {
        return;
    }
    struct shape *shape = kept->shape;
    free(kept);
    if (--shape->refs == 0) {
        if (shape->is_shared) {
            id_map_remove(shapes, shape->key);
        }
        free(shape);
    }
}

/* The first `words_count` words, without the task id. */
static void write_words(const struct kept_spec *kept, uint32_t words_count, unsigned char *to)
{
    const struct shape *shape = kept->shape;
    const uint64_t *next = kept->words + bits_count(shape->words_count);
    memcpy(to, shape->words, (size_t)words_count * WORD_BYTES);
    for (uint32_t first = 0; first < words_count; first += BITS) {
        uint32_t count = words_count - first;
        uint64_t bits = kept->words[first / BITS] & (count < BITS ? (UINT64_C(1) << count) - 1 : UINT64_MAX);
        for (; bits != 0; bits &= bits - 1) {
            memcpy(to + (size_t)(first + (uint32_t)__builtin_ctzll(bits)) * WORD_BYTES, next++, WORD_BYTES);
        }
    }
}

struct spec kept_spec_header(const struct kept_spec *kept)
{
    struct spec header;
    write_words(kept, sizeof header / WORD_BYTES, (unsigned char *)&header);
    return header;
}

uint32_t kept_spec_bytes(const struct kept_spec *kept) { return kept->shape->words_count * WORD_BYTES; }

void kept_spec_write(const struct kept_spec *kept, struct task_id task, void *to)
{
    write_words(kept, kept->shape->words_count, to);
    memcpy((unsigned char *)to + offsetof(struct spec, task), &task, sizeof task);
}

const struct placement_kind *kept_spec_kind(const struct kept_spec *kept, bool is_spread)
{
    return is_spread ? &kept->shape->kind_spread : &kept->shape->kind;
}

void *head_spec_room(struct head *head, size_t bytes)
{
    if (head->spec_room_bytes < bytes) {
        head->spec_room = head_grow(head->spec_room, 1, bytes);
        head->spec_room_bytes = bytes;
    }
    return head->spec_room;
}

const struct spec *head_task_spec(struct head *head, const struct task *task)
{
    void *room = head_spec_room(head, kept_spec_bytes(task->spec));
    kept_spec_write(task->spec, task->id, room);
    return room;
}

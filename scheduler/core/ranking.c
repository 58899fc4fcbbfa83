/* ranking.c - the tournament behind ranking.h
 *
 * Owns the cells, level by level: the leaves are the nodes by number, and each row of eight cells has one above it, on
 * the next level, until a level is one row. So a set writes, and a search reads, a line of memory per level.
 *
 * Happy path: reserve -> (set | remove | least)*. A set writes the leaf and goes up until a cell stays as it was; a
 *             search goes down, the lesser cell of a row first, and leaves out what cannot beat what it has.
 * Failures:   no memory to grow -> ROOST_ENOMEM, and all is as before.
 * Invariants: a cell has the least key and the largest room of the row below it; nobody is {UINT64_MAX, no room}.
 *             Nobody who is there has less room than `least_room`.
 * Thread:     the core's.
 */
#include "scheduler/core/ranking.h"
#include "common/bytes.h"
#include "common/contract.h"

#include <roost.h>
#include <stdlib.h>

enum { ROW = RANKING_ROW, ROW_BITS = 3, LINE_BYTES = 64 };

_Static_assert(1 << ROW_BITS == ROW && ROW * sizeof(uint64_t) == LINE_BYTES, "a row of keys is a line of memory");

static const struct ranking_need no_room = { 0, 0 }, any_room = { UINT64_MAX, UINT64_MAX };

void ranking_fini(struct ranking *ranking)
{
    free(ranking->keys);
    free(ranking->rooms);
    *ranking = (struct ranking){ 0 };
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t lesser(uint64_t a, uint64_t b) { return a < b ? a : b; }

static struct ranking_need larger_room(struct ranking_need a, struct ranking_need b)
{
    return (struct ranking_need){ larger(a.cpus, b.cpus), larger(a.memory_kib, b.memory_kib) };
}

static bool rooms_are_equal(struct ranking_need a, struct ranking_need b)
{
    return a.cpus == b.cpus && a.memory_kib == b.memory_kib;
}

static bool is_enough(struct ranking_need room, struct ranking_need need)
{
    return room.cpus >= need.cpus && room.memory_kib >= need.memory_kib;
}

static uint64_t least_key(const uint64_t *row)
{
    uint64_t key = row[0];
    for (uint32_t i = 1; i < ROW; i++) {
        key = lesser(key, row[i]);
    }
    return key;
}

static struct ranking_need largest_room(const struct ranking_need *row)
{
    struct ranking_need room = row[0];
    for (uint32_t i = 1; i < ROW; i++) {
        room = larger_room(room, row[i]);
    }
    return room;
}

/* Writes a leaf's key and the cells above it, until one stays as it was. Returns how many. */
static uint32_t write_key(struct ranking *ranking, uint32_t node, uint64_t key)
{
    uint32_t written = 0;
    for (uint32_t level = 0, at = node; level < ranking->levels; level++, at /= ROW) {
        uint64_t *row = &ranking->keys[ranking->starts[level] + (at & ~(ROW - 1u))];
        if (level > 0 && row[at % ROW] == key) {
            break;
        }
        row[at % ROW] = key;
        key = least_key(row);
        written++;
    }
    return written;
}

/* The same of its room, which hardly ever changes. */
static void write_room(struct ranking *ranking, uint32_t node, struct ranking_need room)
{
    for (uint32_t level = 0, at = node; level < ranking->levels; level++, at /= ROW) {
        struct ranking_need *row = &ranking->rooms[ranking->starts[level] + (at & ~(ROW - 1u))];
        if (rooms_are_equal(row[at % ROW], room)) {
            return;
        }
        row[at % ROW] = room;
        room = largest_room(row);
    }
}

/* Levels and cells for so many leaves, with nobody there. */
static int lay_out(struct ranking *ranking, uint32_t leaves)
{
    uint32_t cells = 0;
    ranking->leaves = leaves;
    for (uint32_t width = leaves; ranking->levels == 0 || width > 1; width = (width + ROW - 1) / ROW) {
        ROOST_INVARIANT(ranking->levels < RANKING_LEVELS_MAX);
        ranking->starts[ranking->levels++] = cells;
        cells += (uint32_t)align_up(width, ROW);
    }
    ranking->keys = aligned_alloc(LINE_BYTES, cells * sizeof *ranking->keys);
    ranking->rooms = malloc(cells * sizeof *ranking->rooms);
    if (ranking->keys == NULL || ranking->rooms == NULL) {
        ranking_fini(ranking);
        return ROOST_ENOMEM;
    }
    for (uint32_t i = 0; i < cells; i++) {
        ranking->keys[i] = UINT64_MAX;
        ranking->rooms[i] = no_room;
    }
    ranking->least_room = any_room;
    return 0;
}

int ranking_reserve(struct ranking *ranking, uint32_t nodes_count)
{
    if (ranking->leaves > 0 && nodes_count <= ranking->leaves) {
        return 0;
    }
    struct ranking bigger = { 0 };
    int status = lay_out(&bigger, (uint32_t)align_up(nodes_count > 0 ? nodes_count : 1, ROW));
    if (status != 0) {
        return status;
    }
    for (uint32_t node = 0; node < ranking->leaves; node++) {
        if (ranking->keys[node] != UINT64_MAX) {
            ranking_set(&bigger, node, ranking->keys[node], ranking->rooms[node]);
        }
    }
    ranking_fini(ranking);
    *ranking = bigger;
    return 0;
}

uint32_t ranking_set(struct ranking *ranking, uint32_t node, uint64_t key, struct ranking_need capacity)
{
    ROOST_PRE(key < UINT64_MAX);
    ROOST_PRE(node < ranking->leaves);
    struct ranking_need *least = &ranking->least_room;
    *least = (struct ranking_need){ lesser(least->cpus, capacity.cpus),
                                    lesser(least->memory_kib, capacity.memory_kib) };
    write_room(ranking, node, capacity);
    return write_key(ranking, node, key);
}

uint32_t ranking_move(struct ranking *ranking, uint32_t node, uint64_t key)
{
    ROOST_PRE(key < UINT64_MAX);
    ROOST_PRE(node < ranking->leaves);
    ROOST_PRE(ranking->keys[node] != UINT64_MAX);
    return write_key(ranking, node, key);
}

void ranking_remove(struct ranking *ranking, uint32_t node)
{
    ROOST_PRE(node < ranking->leaves);
    write_room(ranking, node, no_room);
    write_key(ranking, node, UINT64_MAX);
}

uint64_t ranking_key(const struct ranking *ranking, uint32_t node)
{
    return node < ranking->leaves ? ranking->keys[node] : UINT64_MAX;
}

struct search {
    const struct ranking *ranking;
    struct ranking_need need;
    bool all_fit;
    uint32_t count, found;
    uint32_t *nodes; /* least first */
    uint64_t steps;
};

/* Could a node from `first` on with this key, or a greater one, be among the least? */
static bool may_beat(const struct search *search, uint64_t key, uint32_t first)
{
    if (search->found < search->count) {
        return true;
    }
    uint32_t last = search->nodes[search->found - 1];
    uint64_t worst = ranking_key(search->ranking, last);
    return key < worst || (key == worst && first < last);
}

static void insert(struct search *search, uint32_t node)
{
    uint64_t key = ranking_key(search->ranking, node);
    uint32_t at = search->found < search->count ? search->found++ : search->count - 1;
    while (at > 0) {
        uint64_t before = ranking_key(search->ranking, search->nodes[at - 1]);
        if (before < key || (before == key && search->nodes[at - 1] < node)) {
            break;
        }
        search->nodes[at] = search->nodes[at - 1];
        at--;
    }
    search->nodes[at] = node;
}

/* Who of a row is there and fits, a bit each. */
static uint32_t fitting(const struct search *search, uint32_t row)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < ROW; i++) {
        bool is_there = search->ranking->keys[row + i] != UINT64_MAX;
        bool fits = search->all_fit || is_enough(search->ranking->rooms[row + i], search->need);
        bits |= (is_there && fits ? 1u : 0u) << i;
    }
    return bits;
}

/* Goes RANKING_LEVELS_MAX deep at most. `at` is the first cell of a row. */
static void descend(struct search *search, uint32_t level, uint32_t at)
{
    uint32_t row = search->ranking->starts[level] + at;
    const uint64_t *keys = &search->ranking->keys[row];
    search->steps++;
    for (uint32_t left = fitting(search, row); left != 0;) {
        uint32_t best = (uint32_t)__builtin_ctz(left);
        for (uint32_t others = left & (left - 1); others != 0; others &= others - 1) {
            uint32_t other = (uint32_t)__builtin_ctz(others);
            best = keys[other] < keys[best] ? other : best;
        }
        left &= ~(1u << best);
        if (!may_beat(search, keys[best], (at + best) << level * ROW_BITS)) {
            return; /* nor may those that come after it */
        }
        if (level == 0) {
            insert(search, at + best);
        } else {
            descend(search, level - 1, (at + best) * ROW);
        }
    }
}

bool ranking_has(const struct ranking *ranking, struct ranking_need need, uint64_t *steps)
{
    uint32_t any;
    bool is_anybody = ranking->leaves > 0 &&
                      least_key(&ranking->keys[ranking->starts[ranking->levels - 1]]) != UINT64_MAX;
    return is_anybody && (is_enough(ranking->least_room, need) || ranking_least(ranking, need, 1, &any, steps) > 0);
}

uint32_t ranking_least(const struct ranking *ranking, struct ranking_need need, uint32_t count, uint32_t *nodes_out,
                       uint64_t *steps)
{
    if (ranking->leaves == 0 || count == 0) {
        return 0;
    }
    struct search search = { .ranking = ranking,
                             .need = need,
                             .all_fit = is_enough(ranking->least_room, need),
                             .count = count,
                             .nodes = nodes_out };
    descend(&search, ranking->levels - 1, 0);
    *steps += search.steps;
    return search.found;
}

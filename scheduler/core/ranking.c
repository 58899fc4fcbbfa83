/* ranking.c - the tournament behind ranking.h
 *
 * Owns one array: cell 1 is the root, the children of cell i are 2i and 2i + 1, the leaves are the nodes by number.
 *
 * Happy path: reserve -> (set | remove | least)*. A set writes the leaf and goes up until a cell stays as it was; a
 *             search goes down, the lesser branch first, and leaves out what cannot beat what it has.
 * Failures:   no memory to grow -> ROOST_ENOMEM, and all is as before.
 * Invariants: a cell has the least key and the largest room below it; nobody is {UINT64_MAX, no room}.
 * Thread:     the core's.
 */
#include "scheduler/core/ranking.h"
#include "common/contract.h"

#include <roost.h>
#include <stdlib.h>

static const struct ranking_cell nobody = { UINT64_MAX, { 0, 0 } };

void ranking_fini(struct ranking *ranking)
{
    free(ranking->cells);
    *ranking = (struct ranking){ NULL, 0 };
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static struct ranking_cell winner_of(struct ranking_cell a, struct ranking_cell b)
{
    return (struct ranking_cell){ a.key < b.key ? a.key : b.key,
                                  { larger(a.room.cpus, b.room.cpus), larger(a.room.memory_kib, b.room.memory_kib) } };
}

int ranking_reserve(struct ranking *ranking, uint32_t nodes_count)
{
    uint32_t leaves = ranking->leaves == 0 ? 1 : ranking->leaves;
    while (leaves < nodes_count) {
        leaves *= 2;
    }
    if (leaves == ranking->leaves) {
        return 0;
    }
    struct ranking_cell *cells = malloc(2 * (size_t)leaves * sizeof *cells);
    if (cells == NULL) {
        return ROOST_ENOMEM;
    }
    cells[0] = nobody;
    for (uint32_t node = 0; node < leaves; node++) {
        cells[leaves + node] = node < ranking->leaves ? ranking->cells[ranking->leaves + node] : nobody;
    }
    for (uint32_t at = leaves - 1; at > 0; at--) {
        cells[at] = winner_of(cells[2 * at], cells[2 * at + 1]);
    }
    free(ranking->cells);
    *ranking = (struct ranking){ cells, leaves };
    return 0;
}

static bool cells_are_equal(const struct ranking_cell *a, const struct ranking_cell *b)
{
    return a->key == b->key && a->room.cpus == b->room.cpus && a->room.memory_kib == b->room.memory_kib;
}

static uint32_t write_cell(struct ranking *ranking, uint32_t node, struct ranking_cell cell)
{
    ROOST_PRE(node < ranking->leaves);
    uint32_t written = 1, at = ranking->leaves + node;
    ranking->cells[at] = cell;
    while (at > 1) {
        at /= 2;
        struct ranking_cell above = winner_of(ranking->cells[2 * at], ranking->cells[2 * at + 1]);
        if (cells_are_equal(&above, &ranking->cells[at])) {
            break;
        }
        ranking->cells[at] = above;
        written++;
    }
    return written;
}

uint32_t ranking_set(struct ranking *ranking, uint32_t node, uint64_t key, struct ranking_need capacity)
{
    ROOST_PRE(key < UINT64_MAX);
    return write_cell(ranking, node, (struct ranking_cell){ key, capacity });
}

void ranking_remove(struct ranking *ranking, uint32_t node) { write_cell(ranking, node, nobody); }

uint64_t ranking_key(const struct ranking *ranking, uint32_t node)
{
    return node < ranking->leaves ? ranking->cells[ranking->leaves + node].key : UINT64_MAX;
}

struct search {
    const struct ranking *ranking;
    struct ranking_need need;
    uint32_t count, found;
    uint32_t *nodes; /* least first */
    uint64_t steps;
};

/* `first` is the lowest node number below the cell. */
static bool is_worth_a_look(const struct search *search, uint32_t at, uint32_t first)
{
    const struct ranking_cell *cell = &search->ranking->cells[at];
    if (cell->key == UINT64_MAX || cell->room.cpus < search->need.cpus ||
        cell->room.memory_kib < search->need.memory_kib) {
        return false;
    }
    if (search->found < search->count) {
        return true;
    }
    uint32_t last = search->nodes[search->found - 1];
    uint64_t key = ranking_key(search->ranking, last);
    return cell->key < key || (cell->key == key && first < last);
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

/* Goes at most 15 deep. The branch with the lesser key first, so that the other one is mostly left out. */
static void descend(struct search *search, uint32_t at, uint32_t first, uint32_t width)
{
    search->steps++;
    if (!is_worth_a_look(search, at, first)) {
        return;
    }
    if (width == 1) {
        insert(search, first);
        return;
    }
    const struct ranking_cell *cells = search->ranking->cells;
    bool right_first = cells[2 * at + 1].key < cells[2 * at].key;
    for (uint32_t turn = 0; turn < 2; turn++) {
        uint32_t side = turn ^ (right_first ? 1 : 0);
        descend(search, 2 * at + side, first + side * (width / 2), width / 2);
    }
}

uint32_t ranking_least(const struct ranking *ranking, struct ranking_need need, uint32_t count, uint32_t *nodes_out,
                       uint64_t *steps)
{
    if (ranking->leaves == 0 || count == 0) {
        return 0;
    }
    struct search search = { ranking, need, count, 0, nodes_out, 0 };
    descend(&search, 1, 0, ranking->leaves);
    *steps += search.steps;
    return search.found;
}

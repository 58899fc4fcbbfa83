/* ranking.h - nodes ordered by a key, so that the few least ones are found without looking at the rest
 *
 * A tournament over node numbers: each inner cell keeps the least key of eight below it and the largest capacities, so a
 * search leaves out whole branches in which no node is big enough. A change is O(log nodes), and stops where nothing
 * above changes; finding k is O(k log nodes) as long as one of the two capacities decides who fits. Equal keys go by
 * node number. One thread. */
#ifndef ROOST_SCHEDULER_CORE_RANKING_H
#define ROOST_SCHEDULER_CORE_RANKING_H

#include <stdbool.h>
#include <stdint.h>

struct ranking_need {
    uint64_t cpus, memory_kib;
};

enum { RANKING_ROW = 8, RANKING_LEVELS_MAX = 8 };

struct ranking {
    uint64_t *keys;                      /* by level, the leaves first; UINT64_MAX: nobody here */
    struct ranking_need *rooms;          /* of the same cells */
    uint32_t starts[RANKING_LEVELS_MAX]; /* of the levels */
    uint32_t levels, leaves;
    struct ranking_need least_room; /* of all that ever were here: who needs no more, fits everywhere */
};

/* A zeroed ranking is an empty one. */
void ranking_fini(struct ranking *ranking);

/* Room for node numbers below `nodes_count`. ROOST_ENOMEM leaves the ranking as it was. */
int ranking_reserve(struct ranking *ranking, uint32_t nodes_count);

/* Put in, or change. `key` is below UINT64_MAX, and `node` below what was reserved. Returns how many cells it wrote. */
uint32_t ranking_set(struct ranking *ranking, uint32_t node, uint64_t key, struct ranking_need capacity);
/* A new key for one that is there. */
uint32_t ranking_move(struct ranking *ranking, uint32_t node, uint64_t key);
void ranking_remove(struct ranking *ranking, uint32_t node);

/* UINT64_MAX when absent. */
uint64_t ranking_key(const struct ranking *ranking, uint32_t node);

/* Is anybody there whose capacity is at least `need`? */
bool ranking_has(const struct ranking *ranking, struct ranking_need need, uint64_t *steps);

/* The at most `count` least nodes whose capacity is at least `need`, least first. Returns how many there are; adds the
 * rows of eight that it looked at to *steps. */
uint32_t ranking_least(const struct ranking *ranking, struct ranking_need need, uint32_t count, uint32_t *nodes_out,
                       uint64_t *steps);

#endif

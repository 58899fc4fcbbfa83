/* world.h - one process that is a whole cluster: virtual time, a seed, what happens next
 *
 * Everything that happens is an occurrence in one queue, ordered by time and then by when it was asked for. All chance
 * comes from the seed. So the same seed is the same run, event for event: world->hash says so.
 *
 * The parts, each with its file: head (the head's core and its host), node (an agent's core and its host), store (a
 * node's memory, its table, its transfers), client (a driver or a worker around the client core), program (what drivers
 * and functions do), network (sessions over connections that fail), faults (who is hit, when), oracle (what must hold).
 *
 * What is real: the cores of head, agents and clients, the sessions, the encoding of every message between machines,
 * the head's marks. What is played: rings (lists with the agent's order of reading), shared memory (a block per node),
 * processes (records), connections (queues of frames), bulk streams (a copy after a while).
 *
 * A broken promise ends the run: world_fail(), or a contract of a core. */
#ifndef ROOST_TESTS_SIM_WORLD_H
#define ROOST_TESTS_SIM_WORLD_H

#include "common/core.h"
#include "common/limits.h"
#include "proto/arena.h"

enum { SIM_PLACES = 10 }; /* 0 is the head; a node that is replaced by another takes a new one */
#define SIM_MS UINT64_C(1000000)

/* The rules of lifetime.md, by number; the head's are enum head_rule. */
enum { SIM_RULE_TRANSIT = 1 << 3, SIM_RULE_SWEEP = 1 << 4, SIM_RULE_ESCAPE = 1 << 7 };

struct world;
struct head_host;
struct node;
struct network;
struct oracle;

struct occurrence {
    uint64_t at_ns, serial;
    void (*run)(struct world *world, const struct occurrence *occurrence);
    uint32_t place, other;
    uint64_t life, number; /* life: of whom it is for; who has died hears nothing */
    void *data;            /* owned */
    size_t bytes;
};

/* What a world is like: drawn from the seed, so that small and large, calm and stormy ones come. */
struct world_shape {
    uint32_t nodes, drivers_per_node, cpus, operations; /* operations: of each driver */
    uint64_t store_bytes, latency_ns, spec_bytes_max;
    uint32_t worker_kills, driver_kills, node_kills, head_kills, partitions, cuts, damages; /* how many */
    bool is_small;       /* everything is checked after every step */
    bool fails;          /* functions report failures now and then */
    bool gives_and_dies; /* nodes are killed when they have just given names away, not at any time */
};

struct world_options {
    uint64_t seed;
    uint32_t rules_off; /* bits 1 to 7 */
    bool trace;         /* tell what happens */
    bool is_calm;       /* no faults at all */
};

struct world {
    struct world_options options;
    struct world_shape shape;
    uint32_t kills_left; /* of shape.node_kills, where givers are killed */
    uint64_t now_ns, serial, random, hash, steps;
    struct occurrence *queue; /* a heap */
    size_t queue_count, queue_capacity;
    struct proto_arena decoded, scratch;
    struct core_out *outs; /* of head, agents, clients: steps do not nest. Borrowed */
    struct head_host *head;
    struct node *nodes[SIM_PLACES]; /* NULL: never used */
    struct network *network;
    struct oracle *oracle;
    uint64_t lives, pids; /* given out */
    bool is_healed;       /* no more faults */
    uint64_t healed_ns;
    bool is_ending;
    uint32_t drivers_left; /* that have not ended */
    uint32_t wounds;       /* enum wound: what has happened, so what may be seen */
    uint64_t node_lost_ns; /* when WOUND_NODE_LOST happened last */
};

/* What has happened to a world, and so which failures a reader may meet. */
enum wound {
    WOUND_WORKER_KILLED = 1 << 0,
    WOUND_NODE_LOST = 1 << 1, /* killed, or called dead */
    WOUND_HEAD_LOST = 1 << 2,
    WOUND_SESSION_LOST = 1 << 3, /* of a head and an agent: attempts may be lost with it */
    WOUND_JOB_ENDED = 1 << 4,    /* names given to another job may be of calls that are canceled */
    WOUND_NODE_UNKNOWN = 1 << 5  /* a head was lost before all nodes had come: the next one does not wait for those */
};

/* The whole run of one seed; returns its hash. */
uint64_t world_run(const struct world_options *options);

uint64_t world_random(struct world *world);
uint64_t world_below(struct world *world, uint64_t limit);
bool world_one_in(struct world *world, uint64_t n);

/* `data` is copied. */
void world_at(struct world *world, uint64_t delay_ns, const struct occurrence *what);

/* A line of the trace: who (a place, or -1), and what. */
#define world_tell(world, place, ...) \
    ((world)->options.trace ? world_tell_((world), (int)(place), __VA_ARGS__) : (void)0)
void world_tell_(struct world *world, int place, const char *format, ...) __attribute__((__format__(__printf__, 3, 4)));
void world_note(struct world *world, uint64_t what, uint64_t value);

/* A promise is broken: says so and ends the process's run of this seed. */
_Noreturn void world_fail(struct world *world, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));

/* An object in a line of the trace: puts have small numbers under their maker's prefix. */
static inline unsigned long long world_word(struct object_id id)
{
    return id.lo >> 32 == 0 ? id.hi << 16 | id.lo : id.lo;
}

void world_wound(struct world *world, enum wound wound);

#endif

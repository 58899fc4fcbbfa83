/* placement_internal.h - the state of a placement, shared by placement_node.c, placement_book.c, placement_turn.c and
 * placement.c */
#ifndef ROOST_SCHEDULER_CORE_PLACEMENT_INTERNAL_H
#define ROOST_SCHEDULER_CORE_PLACEMENT_INTERNAL_H

#include "common/id_map.h"
#include "scheduler/core/durations.h"
#include "scheduler/core/load.h"
#include "scheduler/core/placement.h"
#include "scheduler/core/ranking.h"

enum { NODE_LINE_BYTES = 64 };

/* First what a decision reads of a candidate: two lines of memory. */
struct node {
    _Alignas(NODE_LINE_BYTES) bool present;
    bool suspended;
    uint32_t life; /* of this number: how often it was given away */
    uint64_t bytes_in, bytes_out;
    uint64_t pace_in, pace_out;
    uint64_t here_stamp, here_bytes; /* scratch of one decision, valid where the stamp is that of it: of its inputs */
    uint64_t committed;              /* hundredths, of the window */
    struct load cpus;                /* hundredths */
    struct load memory;              /* KiB */

    uint64_t share_stamp, share_bytes; /* scratch as above: of what would be pulled from here */
    struct load early;                 /* CPUs that soft assignments will want */
    struct load following;             /* the same of tasks that wait there for what is being made there */
    uint64_t blocked;                  /* hundredths, by which the window is larger */
    uint64_t front_age;                /* of the first that is planned, as the ranking of fronts knows it; 0: none */

    /* queued tasks that want to go here, by age; what they book is part of the amounts above */
    struct plan {
        struct load cpus, memory;
        uint64_t bytes_in, bytes_out;
        uint32_t count;
    } plan;
    struct list_node planned, bound; /* bound: it is their wish, and they may go nowhere else */
    struct list_node asking;         /* placement.ready or .hungry */
    bool is_asking, is_ready;
    uint64_t local_cpus, local_memory_kib, local_ns; /* already in cpus and memory */
};
_Static_assert(offsetof(struct node, share_stamp) == 2 * NODE_LINE_BYTES, "the lines that are fetched ahead");

/* The nodes by how many tasks of one function or job they have; equal ones by how long ago they were chosen for it, so
 * tasks that end before the next one comes go round all the same. Stays when its last task ends, until another needs
 * its place. */
struct spread {
    struct list_node all;
    struct id_key key;
    struct ranking
        fewest; /* the active nodes: tasks there and, below SPREAD_TURN_BITS, the booking that chose it last */
    uint64_t tasks;
};
enum { SPREAD_TURN_BITS = 40 };

static inline uint64_t spread_place(uint64_t tasks, uint64_t turn)
{
    return tasks << SPREAD_TURN_BITS | (turn & ((UINT64_C(1) << SPREAD_TURN_BITS) - 1));
}
static inline uint64_t spread_tasks(uint64_t place) { return place >> SPREAD_TURN_BITS; }
static inline uint64_t spread_turn(uint64_t place) { return place & ((UINT64_C(1) << SPREAD_TURN_BITS) - 1); }

enum look { LOOK_NONE, LOOK_NEW, LOOK_OWN, LOOK_FRONT, LOOK_LAST };

/* What placement_next() has asked for. */
struct turn {
    bool is_on;
    enum look look;
    struct placement_booking *at;
    uint32_t node;         /* for which; not of a NEW one */
    uint32_t stayed;       /* tasks judged and left queued */
    uint32_t looks, lasts; /* LOOK_FRONT and LOOK_LAST in vain since something was placed */
};

struct placement {
    struct node *nodes; /* by number; NODES_MAX of them, as they are on lists */
    void *nodes_memory; /* in which they are, on their lines */
    uint32_t nodes_capacity;
    struct ranking soonest;       /* active nodes by expected start */
    struct ranking soonest_early; /* the same, soft assignments included */
    struct ranking away;          /* suspects */
    struct ranking fronts;  /* active nodes by the age of the first that is planned there, or of the last look at it */
    struct ranking longest; /* the same nodes, by expected start, the last one first */
    struct durations durations;
    struct list_node spreads;
    struct id_map spread_by_key;
    struct list_node bookings;
    struct ranking_need growth;
    uint64_t booked_count; /* ever; moves the sample of copies on */
    uint64_t hash, steps;

    struct list_node queue;    /* NEW ones, by age but for those whose node went */
    struct list_node stranded; /* NEW ones that wait for suspects */
    struct list_node ready;    /* nodes with room for the oldest that is planned there */
    struct list_node hungry;   /* nodes with room and no plan */
    uint64_t queued_count;     /* NEW and PLANNED, but for the bound */
    uint64_t age_first, age_last;
    struct turn turn;

    /* scratch of one decision */
    uint64_t stamp;
    uint32_t *input_sources; /* by input; NOWHERE: exists nowhere */
    size_t input_sources_capacity;
    uint32_t *here_nodes, *share_nodes; /* nodes_capacity each */
    uint32_t here_count, share_count;
};

/* Of what is planned on a node a newcomer sees all, the first of the plan nothing. */
enum view { VIEW_LAST, VIEW_FIRST, VIEW_EARLY };

/* What one node would mean for one task. */
struct judgement {
    uint32_t node;
    uint64_t start_ns, missing_bytes;
    uint64_t toll_ns;  /* added to the start when nodes are compared */
    uint64_t crowd;    /* tasks of the same spread there; 0 without one, as the next two */
    uint64_t queue_ns; /* the start but for the pulls */
    uint64_t turn;     /* when it was last chosen for the spread */
    uint16_t pressure; /* decides between equal starts */
};

/* Its first lines, for a judgement that comes. */
static inline void node_fetch(const struct placement *placement, uint32_t number)
{
    __builtin_prefetch(&placement->nodes[number]);
    __builtin_prefetch((const char *)&placement->nodes[number] + NODE_LINE_BYTES);
}

/* placement_node.c: NULL when absent. */
struct node *node_at(const struct placement *placement, uint32_t node);
struct node *node_of(const struct placement *placement, uint32_t node, uint32_t life);
/* The load or the plan of `node` has changed: put it where it now belongs in the rankings and lists. */
void node_refresh(struct placement *placement, uint32_t node);
/* The oldest that is planned there, bound or not; NULL: none. */
struct placement_booking *node_front(const struct node *node);
bool node_has_room(const struct node *node, uint64_t cpus);
uint64_t node_window(const struct node *node);
struct id_key function_of(const struct placement_kind *kind);
struct id_key spread_wish(const struct placement_kind *kind);
struct ranking_need need_of(const struct placement_request *request);
bool node_is_big_enough(const struct node *node, struct ranking_need need);
uint64_t node_wait_ns(const struct node *node, struct ranking_need need, enum view view);
/* NULL without a wish, or when PLACEMENT_SPREADS_MAX are in use and this is not among them. */
struct spread *spread_of(const struct placement *placement, struct id_key key);
/* One task more, or less, on a node. False: the wish was not heard, and must not be taken back. */
bool spread_change(struct placement *placement, struct id_key key, uint32_t node, uint32_t life, bool more);
void placement_record(struct placement *placement, uint64_t what, uint64_t node, uint64_t value);

/* placement_book.c: bring a booking's amounts onto the nodes, or take them off again. */
void booking_apply(struct placement *placement, const struct placement_booking *booking);
void booking_unapply(struct placement *placement, const struct placement_booking *booking);
/* Book what the present scratch says about `node`. ROOST_ENOMEM leaves everything as it was. */
int booking_make(struct placement *placement, const struct placement_request *request, uint32_t node,
                 enum placement_state state, struct placement_booking *booking);
/* The same for a task that is really assigned, with its trace in the hash. */
int booking_assign(struct placement *placement, const struct placement_request *request, uint32_t node,
                   struct placement_booking *booking);
void booking_clear(struct placement *placement, struct placement_booking *booking);
/* Back to the queue, with the place that it had. */
void booking_unplan(struct placement *placement, struct placement_booking *booking, struct list_node *queue);
/* A PLANNED one counts as long as is known today. The caller refreshes the node. */
void booking_estimate(struct placement *placement, struct placement_booking *booking);
uint64_t window_charge(uint64_t cpus);

/* placement_turn.c: the plan of a node that is about to go is judged anew; what waited for suspects is looked at. */
void plan_dissolve(struct placement *placement, uint32_t node);
void plan_reconsider(struct placement *placement);

/* placement.c: find the sources of all inputs and what lies where. ROOST_ENOMEM. */
int inputs_survey(struct placement *placement, const struct placement_request *request);
/* After a survey: what would be missing at `node`, left in share_nodes by source. */
uint64_t inputs_missing_at(struct placement *placement, const struct placement_request *request, uint32_t node);
/* After a survey: the best of all candidates, for a newcomer. */
struct placement_choice decide(struct placement *placement, const struct placement_request *request, enum view view);
/* After a survey: would `node` do, and what would it mean? `booking`, if not NULL, is the task's own plan. */
bool may_go(struct placement *placement, const struct placement_request *request, uint32_t node);
struct judgement judge(struct placement *placement, const struct placement_request *request, uint32_t node,
                       enum view view, const struct placement_booking *booking);
bool is_better(const struct judgement *a, const struct judgement *b);

#endif

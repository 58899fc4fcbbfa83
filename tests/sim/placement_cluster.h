/* placement_cluster.h - a simulated cluster: nodes with cores and a fair-shared network, tasks with inputs, no real
 * time
 *
 * Placement is somebody else's: struct sim_policy. What the agents do is here: a queue per node, arguments pulled for
 * the first SIM_PREFETCH x cores tasks of it, a whole object pulled once per node however many tasks want it, tasks
 * started in queue order as their inputs arrive. A message takes SIM_MESSAGE_S. Deterministic; doubles are fine here.
 */
#ifndef ROOST_TESTS_SIM_CLUSTER_H
#define ROOST_TESTS_SIM_CLUSTER_H

#include "scheduler/core/placement.h"

enum { SIM_NODES = 16, SIM_CORES = 8, SIM_PREFETCH = 2, SIM_FUNCTIONS = 4 };

#define SIM_BYTES_PER_S 1.25e9
#define SIM_MESSAGE_S   0.0003

struct sim_input {
    int object;
    double bytes;
    bool whole; /* else a range, pulled for this task alone */
};

enum sim_state { SIM_WAITING, SIM_ON_ITS_WAY, SIM_QUEUED, SIM_PULLING, SIM_READY, SIM_RUNNING, SIM_ENDED };

struct sim_task {
    struct sim_input *inputs;
    int inputs_count, inputs_missing; /* missing: not made yet */
    double duration_s;
    int function, output, node;
    enum sim_state state;
    int transfers; /* that it waits for */
    struct placement_kind kind;
    struct placement_booking booking;
};

struct sim_object {
    double size;
    bool made;
    uint32_t copies, flying, planned; /* bit per node */
    int planner[SIM_NODES];           /* the task whose booking pays for the copy that is coming */
    int *waiting;                     /* tasks that wait for it to be made */
    int waiting_count;
};

struct sim_transfer {
    int source, target, object, task; /* object -1: ranges for `task`; else the task that pays, or -1 */
    double bytes, left, told;         /* told: reported to the policy */
    int *waiting;
    int waiting_count;
};

enum sim_event_kind { SIM_ARRIVES, SIM_ENDS, SIM_PLACE, SIM_REPORT, SIM_PROGRESS, SIM_BECOMES_READY };

struct sim_event {
    double at_s;
    enum sim_event_kind kind;
    int task, node;
};

struct sim_list {
    int *items;
    int count, capacity;
};

struct sim;

struct sim_policy {
    const char *name;
    double report_s;   /* 0: load is known at once; else it is reported so often */
    double progress_s; /* 0: a transfer is known when it ends; else parts of it are reported so often */
    void *(*create)(struct sim *sim);
    void (*destroy)(void *policy);
    /* Place what is on sim->ready, in the order of submission: sim_send() or keep it. */
    void (*place)(void *policy, struct sim *sim);
    bool (*has_more)(void *policy); /* some are kept: to be called again every SIM_PLACE_S. NULL: never */
    void (*report)(void *policy, struct sim *sim);
    void (*transferred)(void *policy, struct sim *sim, int task, int source, double bytes);
    void (*started)(void *policy, struct sim *sim, int task);
    void (*ended)(void *policy, struct sim *sim, int task);
};

struct sim {
    struct sim_task *tasks;
    struct sim_object *objects;
    struct sim_transfer *transfers;
    struct sim_event *events; /* a heap by time */
    int tasks_count, objects_count, transfers_count, events_count;
    int tasks_capacity, objects_capacity, transfers_capacity, events_capacity;
    struct sim_list ready, queue[SIM_NODES];
    int running[SIM_NODES], going_out[SIM_NODES], coming_in[SIM_NODES];
    int ended_count;
    double now_s, moved_bytes;
    bool place_is_due;
    uint64_t random;
    const struct sim_policy *policy;
    void *policy_state;
};

void sim_list_add(struct sim_list *list, int item);

/* In [0, 1). */
double sim_random(struct sim *sim);

int sim_add_object(struct sim *sim, double size, uint32_t copies);
int sim_add_task(struct sim *sim, double duration_s, double output_bytes, int function);
void sim_add_input(struct sim *sim, int task, int object, double bytes, bool whole);

/* Sum of all durations over all cores: no makespan can be shorter. */
double sim_work_s(const struct sim *sim);

/* To its node; it arrives there a message later. */
void sim_send(struct sim *sim, int task, int node);

/* Runs everything; returns the makespan in seconds, or a negative number if tasks were left over with nothing to
 * happen. */
double sim_run(struct sim *sim, const struct sim_policy *policy);
void sim_fini(struct sim *sim);

/* placement_workloads.c: the nine of scheduling.md. */
enum { SIM_WORKLOADS = 9 };
extern const char *const sim_workload_names[SIM_WORKLOADS];
void sim_workload(struct sim *sim, int workload, int seed);

/* placement_policies.c and placement_core.c */
extern const struct sim_policy sim_random_policy, sim_locality_policy, sim_ray_policy, sim_snapshot_policy,
    sim_sequential_policy, sim_core_policy;

#endif

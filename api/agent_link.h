/* agent_link.h - the wire between this process and its agent
 *
 * One link per struct roost that has an agent: the shared page with its rings and bells, the mapped store, the client
 * core, and the library's one thread. agent_link.c makes it, agent_talk.c speaks and listens, agent_world.h is what the
 * API asks of it, worker/runtime/serve.c what a worker does with it.
 *
 * One lock guards the core and both ends of every ring that are ours: entries enter a ring in the order in which the
 * core says them, so a lock per ring would be taken under the core's each time and guard nothing more. What blocks,
 * blocks without it. Getting an object does not take it, unless the object is this process's own. */
#ifndef ROOST_API_AGENT_LINK_H
#define ROOST_API_AGENT_LINK_H

#include "api/client.h"
#include "api/core/client_core.h"
#include "common/doorbell.h"
#include "objectstore/client_page.h"
#include "objectstore/lease_page.h"

enum {
    LINK_LAST_WORDS_MS = 1000, /* a closing driver waits so long, twice, for what its workers have printed */
    LINK_OUTPUTS_MAX = 256,    /* lines of workers that wait to be printed; later ones are dropped and counted */
    LINK_ANSWER_MS = 10000,    /* an answer that needs nobody's work */
    LINK_ROOM_MS = STORE_PATIENCE_MS + 5000,
    LINK_COPY_BYTES = 128, /* a result of so many is copied by each get */
};

/* Copies of values that users look at (agent_copies.c). */
struct link_copies {
    struct link_copy *of; /* owned */
    uint32_t count, free;
};

struct agent_link {
    struct roost *rt;
    enum client_role role;
    int socket, pidfd, event_fd; /* pidfd -1: the kernel has none for it */
    void *page;
    size_t page_bytes;
    const struct node_page *node_page;
    struct client_bells *node_bells; /* of every client of the node, by slot */
    struct client_bells *bells;      /* this one's */
    struct pins pins;
    struct pins_page *pins_first; /* page 0 */
    struct store_map map;
    pthread_key_t pins_key; /* each thread's struct pins_thread */
    bool has_pins, has_pins_key;
    pthread_mutex_t socket_lock, slab_lock;

    pthread_mutex_t lock; /* all below, except atomics */
    struct client_core *core;
    struct ring_producer requests, completes;
    struct ring_consumer replies, taken;
    struct task_ring submits, tasks; /* tasks: the worker's thread alone */
    struct agent_bell_ringer ringer;
    struct core_out out;
    const struct core_command *unsent; /* in `out` */
    unsigned char *entry;              /* CLIENT_MESSAGE_BYTES_MAX: what was just taken */
    struct list_node outputs;
    uint32_t outputs_count, outputs_dropped;
    struct list_node watches; /* struct agent_watch */
    struct link_copies copies;

    /* a worker's: the memory of its leases, and its ends of the rings once one stood */
    struct lease_page_head *lease_page;
    bool lease_is_attached;
    struct task_ring lease_tasks; /* the worker's thread alone, as the next */
    struct ring_producer lease_completes;
    uint64_t leased_runs, leased_stale; /* counted: the last number of a run; tasks of leases that were over */
    uint64_t leased_unrung_ns;          /* since when a sleeping holder was not rung for what was completed; or 0 */

    /* leases that this client holds (agent_lease.h) */
    struct list_node leases, leases_closed; /* struct link_lease */
    struct list_node own_waits;             /* struct own_wait: the first one leads */
    uint32_t leases_count;
    uint64_t completions; /* taken in */
    uint32_t calls_made;  /* that went, or may have gone, to a lease */
    uint32_t others;      /* nodes that live beside this one, as the agent said since the last ask */
    uint32_t lead;        /* as in `bells`: who takes completions in */
    struct client_ask lease_ask;
    uint32_t calls_under_way; /* that leave for the agent, and are not in the ring of submits yet */
    bool lease_is_asked, lease_is_granted, lease_ended_early, lease_ticks;
    bool lease_is_denied; /* no lease will ever be granted */
    bool lease_is_busy;   /* something was pushed since the library's thread last looked */
    bool lease_is_due;    /* there is work for the library's thread */
    _Atomic bool has_own; /* a hash may name a result of this process's own */

    _Atomic uint64_t bells_taken; /* a bit per bell */
    struct waiter waiters[CLIENT_DOORBELLS];
    uint64_t prefix;             /* of what scope 0 puts */
    _Atomic uintptr_t sights;    /* client_sights(), as of the last put */
    _Atomic uint64_t run_prefix; /* of what the running attempt puts */
    pthread_t thread;
    bool has_thread;
    _Atomic bool is_closing;
    _Atomic int gone; /* 0, or why nothing will be answered any more */
    char gone_text[256];

    int cluster_fd; /* of a cluster that was started for us: closing it ends the cluster; or -1 */
    pid_t cluster_pid;
};

/* A thread that waits for results of this process's own. */
struct own_wait {
    struct client_own_wait wait;
    struct agent_link *link;
    struct list_node all; /* link->own_waits */
    uint32_t bell;
    _Atomic bool is_over;
};

static inline bool own_is_over(const struct own_wait *wait)
{
    return atomic_load_explicit(&wait->is_over, memory_order_acquire); /* what the core wrote for it is seen */
}

/* A question and the thread that waits for its answer. */
struct agent_ask {
    struct client_ask ask;
    struct own_wait *own; /* NULL, or what ends the wait as well: then it is answered as it stands */
    struct agent_link *link;
    _Atomic bool is_done;
};

/* ---- agent_link.c ---- */

struct link_request {
    const char *socket_path;
    enum client_role role;
    uint64_t token;             /* a worker's */
    const struct job_spec *job; /* a driver's */
    int timeout_ms;
};

/* Connect, map everything, start the thread. On success rt->agent is set. */
int link_open(struct roost *rt, const struct link_request *request);
/* The memory of a lease that this client holds; of a worker, number 0, its own. To be munmap()ped. */
int link_lease_map(struct agent_link *link, uint64_t number, struct lease_page_head **page_out);
/* NULL is fine, and a half-open one. No other thread uses it any more. */
void link_close(struct agent_link *link);
/* The agent is gone, or the socket closed: link_lose(). Any thread. */
void link_check_peer(struct agent_link *link);
struct pins_thread *link_pins(struct agent_link *link); /* NULL: no memory, with a text */

/* ---- agent_talk.c ---- */

static inline struct doorbell *link_bell(const struct agent_link *link, uint32_t index)
{
    return &link->bells->of[index].doorbell;
}

/* Under the lock: say what the core has to say, as far as the ring has room. True: all is said. */
bool link_flush_locked(struct agent_link *link);
/* The same, but only for what should not wait for company. */
void link_say_urgent_locked(struct agent_link *link);
/* Under the lock, which it gives up while it waits: until all is said. The link's status when it is gone. */
int link_say_all(struct agent_link *link);
/* Under the lock: take in what the agent has said and what leases have completed; as leases_drain_locked(). */
bool link_drain_locked(struct agent_link *link);
/* A look of somebody who waits: take in what has come, say what is to be said; unless another thread is at it, and this is not
 * the last look before the waiter sleeps. */
void link_work(struct agent_link *link, struct waiter *waiter);
/* Wait a little for the agent to make room; `tries` counts from 0. Without the lock. */
void link_back_off(struct agent_link *link, unsigned tries);

/* Nothing will be answered any more: wake everybody. Under the lock. Keeps the first reason. */
void link_lose_locked(struct agent_link *link, int status, const char *text);
/* 0, or the status and text of link_lose(). */
int link_gone(struct agent_link *link);

/* Ask, and wait for the answer. 0: answered, look at ask.status. ROOST_ETIMEDOUT: forgotten, unless it is a WAIT, which
 * is answered as it stands then. ROOST_ELIMIT: too many threads wait. Before: ask.kind and its inputs. */
int link_ask(struct agent_link *link, struct agent_ask *ask, int timeout_ms);
/* Frees the answer. */
void link_ask_fini(struct agent_ask *ask);

/* A bell of one's own, or ROOST_ELIMIT, with a text. */
int link_bell_take(struct agent_link *link);
void link_bell_give(struct agent_link *link, int bell);

/* Print what workers said. The library's thread. */
void link_print_outputs(struct agent_link *link);

/* ---- agent_push.c, agent_completions.c, agent_lease.c ---- */

/* True: the call goes through a lease, or failed with *status_out. */
bool leases_take(struct agent_link *link, uint64_t scope, const struct spec *spec, int *status_out);
/* True: something was completed, and the next completion is as near: no worker has more than what it runs. */
bool leases_drain_locked(struct agent_link *link);
/* Under the lock: nothing to be taken in, nor anything to be done by the library's thread. */
bool leases_are_empty(struct agent_link *link);
/* Something waits in the core, behind a running task, or for room in a ring: the library's thread looks again soon. */
void leases_need_ticks_locked(struct agent_link *link);
/* After results of this process's own have come or gone. */
static inline void link_note_own_locked(struct agent_link *link)
{
    /* relaxed: seen by this thread, and by who gets a ref from it */
    atomic_store_explicit(&link->has_own, client_owns_any(link->core), memory_order_relaxed);
}
/* After anything that may change who takes completions in. */
void leases_set_lead_locked(struct agent_link *link);
/* Of a pending result of a leased call: all of it but a status. Else nothing. */
void leases_explain(struct agent_link *link, struct object_id id, struct wire_failure *failure);
void leases_news_locked(struct agent_link *link, const struct wire_lease_news *news);
/* Under the lock, which it gives up while it waits: a scope is about to end, and what it has called goes on without
 * it. */
void leases_scope_ends(struct agent_link *link, uint64_t scope);
/* The library thread's part; for how long it may sleep then. */
uint64_t leases_work(struct agent_link *link);
/* Around a wait for own results. */
void leases_wait_init(struct agent_link *link, struct own_wait *wait);
void leases_wait_begin_locked(struct agent_link *link, struct own_wait *wait);
void leases_wait_end_locked(struct agent_link *link, struct own_wait *wait);
/* Before and after the core goes. */
void leases_fini(struct agent_link *link);
void leases_free(struct agent_link *link);
uint64_t link_now_ns(void);

/* ---- agent_world.c, agent_call.c, agent_put.c, agent_watch.c ---- */

/* Under the lock, which it gives up while it waits: a call of no lease is published for the agent, as
 * client_call_submit() says. NULL: none, or it could not be. */
struct client_call *link_submit_call_locked(struct agent_link *link, bool is_late);

extern const struct world world_agent;
void agent_watches_free(struct agent_link *link);
/* Memory from the agent: WIRE_ROOM. Leased for writing on success. */
int link_room(struct agent_link *link, uint64_t scope, uint32_t purpose, uint64_t bytes, struct wire_place *place_out);
static inline struct store_place link_place(const struct wire_place *place)
{
    return (struct store_place){ place->offset, place->bytes, place->segment };
}

/* ---- agent_copies.c; under the link's lock ---- */

/* A copy of `data` in `*copy_out`, aligned to 64 bytes and the book's, until it is dropped. The pin leaves bits 62 and 63
 * alone. ROOST_ENOMEM, ROOST_ELIMIT. */
int copies_add_locked(struct link_copies *copies, const void *data, size_t bytes, void **copy_out, uint64_t *pin_out);
/* Nothing when the pin is no more, or never was one. */
void copies_drop_locked(struct link_copies *copies, uint64_t pin);
void copies_fini(struct link_copies *copies);

/* ---- agent_find.c, agent_start.c ---- */

/* The socket of this machine's agent whose head is `address`; `path_out` takes LINK_PATH_BYTES. ROOST_ECONNECT. */
enum { LINK_PATH_BYTES = 512 };
int agent_find(const char *address, char *path_out);
/* Start a cluster of one that lives as long as this process, or until `*fd_out` is closed. */
int agent_start(const struct open_request *request, char *path_out, int *fd_out, pid_t *pid_out);
void agent_stop(int fd, pid_t pid);

#endif

/* client.h - what the files of libroost share: the connection as they see it, and the two worlds behind it
 *
 * A struct roost is a driver's or a worker's connection. Every public call checks its arguments, finds out in whose
 * name it is made (the scope: the client's, or the attempt's that this thread runs), and asks the world behind the
 * connection for what only that can do: agent_world.c has an agent, inline.c has nobody.
 *
 * What a put, a get, a call and a wait do, step by step: put.c, get.c, submit.c, wait.c. */
#ifndef ROOST_API_CLIENT_H
#define ROOST_API_CLIENT_H

#include "common/error.h"
#include "common/id_map.h"
#include "common/list.h"
#include "common/spec.h"
#include "objectstore/map.h"
#include "objectstore/wire.h"

#include <pthread.h>
#include <stdatomic.h>

struct register_book;
struct room_ticket;

/* Memory for an object in the making. */
struct room {
    unsigned char *data;
    struct wire_place place; /* the agent's; place.bytes may be written */
    bool in_slab;
};

/* What an object in the making will be. Everything is borrowed. The trailer has been written behind the payload. */
struct object_draft {
    uint64_t size;
    const uint64_t *ends;
    uint32_t columns, refs_count;
    const roost_ref *refs;
    enum table_format format;
};

struct wait_why { /* in words, why ref `index` of a wait failed */
    uint32_t index;
    char text[WIRE_TEXT_BYTES_MAX + 1]; /* empty: there were none */
};

enum { WAIT_READY_HERE = 2 }; /* a value that is here for sure, and no other name */

struct wait_request {
    const roost_ref *refs;
    uint32_t total, wanted;
    bool fetch;
    int8_t *ready; /* `total` zeros: 1 ready, or WAIT_READY_HERE, 0 not yet, else a negative code */
    int timeout_ms;
    struct wait_why *why; /* NULL, or of no text: then of the first that failed with words */
};

/* One of roost_watch(). */
struct watch {
    struct list_node node; /* in rt->watches, then in rt->watches_ready */
    void *tag;
    roost_ref ref;
};

/* A value that came back with a call lies in this process's heap. */
enum look_how {
    LOOK_PEEK,   /* is it there? Such a value is not shown: no data, no pin */
    LOOK_BRIEF,  /* for this process's own code: a copy of it will do */
    LOOK_LASTING /* for the user: unless it is very small it is brought into the store; may wait for room */
};

enum peek { PEEK_UNKNOWN, PEEK_PENDING, PEEK_READY };
enum { PEEKS_AT_ONCE = 64, LOOKS_AHEAD = 16 };

/* What lies behind a connection. Scopes are those of objectstore/wire.h. */
struct world {
    void (*close)(struct roost *rt);

    /* Room for `bytes`, trailer included, waiting at most the store's patience. ROOST_EFULL. */
    int (*room)(struct roost *rt, uint64_t scope, uint64_t bytes, struct room *room_out);
    void (*room_drop)(struct roost *rt, const struct room *room);
    /* The room becomes an object that the scope holds. On failure the room is still the caller's. */
    int (*seal)(struct roost *rt, uint64_t scope, const struct room *room, const struct object_draft *draft,
                struct object_id *id_out);
    /* The room becomes result `index` of the attempt. */
    int (*result)(struct roost_task *task, uint32_t index, const struct room *room, const struct object_draft *draft);

    /* Answers as store_map_get() does, without waiting. What it pins (pin != 0) is released with release(). */
    int (*look)(struct roost *rt, roost_ref ref, enum look_how how, struct store_view *view_out);
    void (*release)(struct roost *rt, uint64_t pin);
    /* A look at it follows soon: what that reads is asked for. NULL: it costs nothing. */
    void (*look_soon)(struct roost *rt, roost_ref ref);
    /* What this process knows by itself of results of its own calls, of at most PEEKS_AT_ONCE refs. NULL: nothing. */
    void (*peek_run)(struct roost *rt, const roost_ref *refs, size_t count, enum peek *answers_out);
    /* Lasting looks at the first of `count` refs, a few at once, as long as the answer is 0; returns how many were
     * seen. The next one, if any, wants look(). NULL: all do. */
    size_t (*look_run)(struct roost *rt, const roost_ref *refs, size_t count, struct store_view *views_out);
    void (*release_many)(struct roost *rt, const uint64_t *pins, size_t count); /* NULL: release() each */

    /* 0: `wanted` are ready. ROOST_ETIMEDOUT: fewer are, `ready` says which. ROOST_EDEADLOCK: fewer ever will be. */
    int (*wait)(struct roost *rt, const struct wait_request *request);

    /* All or none. */
    int (*keep)(struct roost *rt, uint64_t scope, const roost_ref *refs, size_t count);
    /* Up to the first that is not held; how many. */
    size_t (*free)(struct roost *rt, uint64_t scope, const roost_ref *refs, size_t count);

    /* The draft lacks parent, job and call. The results' ids go to refs_out unless it is NULL. */
    int (*submit)(struct roost *rt, uint64_t scope, struct spec_draft *draft, roost_ref *refs_out);

    /* Is what runs here wanted no more? */
    bool (*stopping)(struct roost *rt);

    int (*nodes)(struct roost *rt, struct roost_node_info *nodes_out, size_t info_size, size_t capacity,
                 size_t *count_out);
    int (*locate)(struct roost *rt, roost_ref ref, roost_node *nodes_out, size_t capacity, size_t *count_out);
    int (*prefetch)(struct roost *rt, roost_ref ref);
    /* Takes the watch: it is moved to rt->watches_ready by watch_ready() when it is time. */
    int (*watch)(struct roost *rt, struct watch *watch);
    /* What it has not failed by: if a call of this process alone is to make it, where that stands. Or NULL. */
    void (*explain)(struct roost *rt, struct object_id id, struct wire_failure *failure);
};

struct roost {
    const struct world *world;
    struct agent_link *agent;   /* agent_world.c */
    struct inline_world *alone; /* inline.c */
    struct register_book *book;
    uint64_t forks; /* client_forks when it was opened */
    struct node_id node;
    struct job_id job;
    char node_name[64];
    _Atomic uint64_t run; /* in a worker: the attempt that runs, else 0 */

    pthread_mutex_t lock; /* all below */
    struct id_map views;  /* pin -> struct task_view: looks that tasks took, to be ended with them */
    struct list_node views_list;
    struct id_map buffers; /* lease -> struct buffer */
    struct list_node buffers_list, watches, watches_ready;
    uint64_t leases;
    int watch_fd; /* -1: nobody has asked */
};

/* The task that this thread runs, or NULL. */
extern _Thread_local struct roost_task *client_task;
/* How many forks lie between this process and the one that loaded the library. */
extern _Atomic uint64_t client_forks;

/* ---- connection.c ---- */

/* An empty struct roost around a world, or NULL with ROOST_ENOMEM. */
struct roost *client_new(const struct world *world);
void client_delete(struct roost *rt);
/* A fork shows in client_forks from the first call on. */
void client_watch_forks(void);
/* ROOST_EINVAL or ROOST_EFORK with a text that names the call. */
int client_check_slow(const struct roost *rt, const char *call);
static inline int client_check(const struct roost *rt, const char *call)
{
    bool is_fine = rt != NULL && rt->forks == atomic_load_explicit(&client_forks, memory_order_relaxed);
    return is_fine ? 0 : client_check_slow(rt, call);
}
/* In whose name does this thread call? */
uint64_t client_scope(const struct roost *rt);

/* Milliseconds left until a deadline of client_deadline(); for timeouts of -1 (no end), 0 and more. */
uint64_t client_deadline(int timeout_ms);
int client_time_left(uint64_t deadline);

/* ---- buffer.c ---- */

/* `size` bytes of payload and its trailer into new room; seals it. */
int client_put(struct roost *rt, uint64_t scope, const void *data, uint64_t size, const roost_ref *refs,
               uint32_t refs_count, enum table_format format, struct object_id *id_out);
/* An open buffer of the task's result `index`, or of none (task NULL). */
int buffer_open(struct roost *rt, struct roost_task *task, uint32_t index, size_t size, roost_buffer *buffer_out);
/* The attempt is over: its open results are sealed (or dropped), its other buffers dropped. */
int buffers_close_task(struct roost *rt, struct roost_task *task, bool is_success);
/* The connection is closing: nothing that is open becomes an object. */
void buffers_close_all(struct roost *rt);
/* The ends and refs, behind the payload. */
void room_write_trailer(const struct room *room, const struct object_draft *draft);

/* ---- get.c ---- */

static inline void client_look_soon(struct roost *rt, roost_ref ref)
{
    if (rt->world->look_soon != NULL) {
        rt->world->look_soon(rt, ref);
    }
}
/* Of `count` refs the one at `at` is looked at now, and the others in turn. */
static inline void client_look_ahead(struct roost *rt, const roost_ref *refs, size_t at, size_t count)
{
    if (at + LOOKS_AHEAD < count) {
        client_look_soon(rt, refs[at + LOOKS_AHEAD]);
    }
}
/* A view of what `ref` names, forwards followed; the pin is world->release()'s. The code and text of a failed task. */
int client_view(struct roost *rt, roost_ref ref, enum look_how how, int timeout_ms, struct store_view *view_out);
/* The answer of look(), with nothing pinned afterwards. Of STORE_GET_FORWARD, *forward_out (or NULL) is where it
 * leads. */
int client_peek(struct roost *rt, roost_ref ref, roost_ref *forward_out);
/* The answer of look() is STORE_GET_ERROR or STORE_GET_FAILED: leave the failure's text for roost_last_error(), release
 * the view, return the failure's code. */
int client_failure(struct roost *rt, const struct store_view *view, int answer);
/* The attempt has ended: so have its looks. */
void views_close_scope(struct roost *rt, uint64_t scope);
/* A checked copy of what describes a failure. */
struct wire_failure failure_of(const void *data, uint64_t size);
int failure_say(const struct wire_failure *failure);

/* ---- watch.c ---- */

/* The watch's ref is ready; under rt->lock. */
void watch_ready_locked(struct roost *rt, struct watch *watch);

/* ---- agent_world.c, inline.c, worker/runtime/serve.c ---- */

struct open_request {
    const char *address, *job_name, *worker_prefix;
    uint64_t store_bytes;
    uint32_t cpus_hundredths; /* 0: the machine's */
    int timeout_ms;
};
/* The book is the connection's on success, else still the caller's. */
int agent_open(const struct open_request *request, struct register_book *book, struct roost **rt_out);
int inline_open(struct register_book *book, struct roost **rt_out);
/* In a worker; returns only when it could not connect. */
int worker_serve(struct register_book *book);

#endif

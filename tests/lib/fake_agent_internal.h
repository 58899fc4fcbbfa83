/* fake_agent_internal.h - the fake agent in pieces: what its files share
 *
 * Everything is the agent's, and under its lock. */
#ifndef ROOST_TESTS_LIB_FAKE_AGENT_INTERNAL_H
#define ROOST_TESTS_LIB_FAKE_AGENT_INTERNAL_H

#include "common/doorbell.h"
#include "common/hash.h"
#include "common/id_map.h"
#include "common/list.h"
#include "objectstore/client_page.h"
#include "objectstore/extent.h"
#include "objectstore/pins.h"
#include "tests/lib/fake_agent.h"

#include <pthread.h>
#include <sys/types.h>

enum { CLIENTS = 16, WORKERS = 8, TABLE_ENTRIES = 1 << 16, TOKEN = 4711, PATIENCE_MS = 300 };

struct holder {
    struct list_node node;
    uint32_t client;
    uint64_t scope;
};

struct object {
    struct list_node node; /* in agent->objects or agent->retired */
    struct object_id id;
    struct list_node holders;
    uint64_t kept; /* by containers and calls */
    bool is_sealed, in_slab, is_void;
    int failed; /* a status */
    enum table_format format;
    uint32_t table_index;
    uint64_t pin_name; /* once retired */
    struct wire_place place;
    uint64_t size;
    uint32_t refs_count;
    roost_ref *refs;
};

struct slab {
    struct list_node node;
    struct wire_place place;
    uint32_t client, objects;
    bool is_back;
};

struct wait {
    struct list_node node;
    uint32_t client;
    uint64_t token;
    uint32_t total, wanted, bell, got;
    uint32_t done; /* the first so many are ready, and stay so */
    bool is_hurried, follows;
    roost_ref *refs;
};

struct room_wait {
    struct list_node node;
    uint32_t client;
    struct wire_room_request request;
    uint64_t deadline_ms;
};

struct call {
    struct list_node node;
    uint32_t client, attempt;
    uint64_t scope, run;
    struct spec *spec;
    struct list_node results; /* struct object, not entered yet */
};

struct client {
    bool is_used, is_busy;
    uint32_t role;
    int socket, event_fd;
    unsigned char *page;
    struct client_bells *bells;
    struct ring_consumer requests, completes;
    struct ring_producer replies, taken;
    struct task_ring submits, tasks;
    struct pins_page *pins[PINS_PAGES_MAX];
    uint32_t pins_count;
    roost_ref *said_refs; /* WIRE_REFS since the last object */
    uint32_t said_refs_count;
    struct call *call;   /* a worker's */
    uint64_t task_holds; /* holders by its tasks, not by itself */
};

struct fake_agent {
    char folder[64], path[128], node_folder[96];
    int listener, wake_fd, segment_fd, table_fd, node_fd, bells_fd;
    uint64_t store_bytes;
    unsigned char *segment;
    struct table table;
    struct node_page *node_page;
    struct client_bells *node_bells;
    struct extents extents;
    struct id_map ids;
    bool names_changed; /* an object may have lost its last one */
    struct list_node objects, retired, slabs, waits, rooms, calls;
    struct client clients[CLIENTS];
    unsigned counts[WIRE_KINDS];
    pid_t workers[WORKERS];
    int workers_count;
    uint64_t runs;
    bool holds_calls, is_stopping, has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    struct node_id node;
    struct job_id job;
};

uint64_t fake_now_ms(void);

/* fake_objects.c: what is said to a client, and objects. Saying fails the test when the ring has no room. */
struct doorbell *fake_bell(struct client *client, uint32_t bell);
void *fake_reply_begin(struct client *client, uint32_t kind, size_t bytes, uint64_t token);
void fake_reply_end(struct client *client, uint32_t bell);
struct object *fake_object_find(struct fake_agent *agent, struct object_id id);
struct object *fake_object_need(struct fake_agent *agent, struct object_id id);
void fake_hold(struct fake_agent *agent, struct object_id id, uint32_t client, uint64_t scope);
bool fake_drop(struct fake_agent *agent, struct object *object, uint32_t client, uint64_t scope);
struct slab *fake_slab_find(struct fake_agent *agent, uint64_t offset);
void fake_slab_settle(struct fake_agent *agent, struct slab *slab);
void fake_object_give_back(struct fake_agent *agent, const struct object *object);
void fake_object_enter(struct fake_agent *agent, struct object *object);
void fake_object_take(struct fake_agent *agent, struct client *client, const struct wire_object *wire,
                      struct object *object);
void fake_object_make(struct fake_agent *agent, struct object *object, const void *data, size_t size,
                      enum table_format format);
void fake_object_fail(struct fake_agent *agent, struct object *object, const struct wire_failure *failure);
bool fake_objects_forget(struct fake_agent *agent);
/* fake_waits.c */
int8_t fake_readiness(struct fake_agent *agent, roost_ref ref, bool is_list, struct object_id *which_out);
void fake_waits_answer(struct fake_agent *agent);
void fake_rooms_answer(struct fake_agent *agent);
/* fake_calls.c */
void fake_call_free(struct fake_agent *agent, struct call *call);
void fake_submit_take(struct fake_agent *agent, uint32_t index, const struct task_ring_item *item);
void fake_calls_give_out(struct fake_agent *agent);
void fake_complete_take(struct fake_agent *agent, uint32_t index, const struct wire_complete *complete);
/* fake_requests.c */
bool fake_client_drain(struct fake_agent *agent, uint32_t index);
/* fake_clients.c */
int fake_memory_fd(const char *name, size_t bytes, void **memory_out);
void fake_client_forget(struct fake_agent *agent, uint32_t index);
void fake_client_hear(struct fake_agent *agent, uint32_t index);
void fake_connection_take(struct fake_agent *agent);

#endif

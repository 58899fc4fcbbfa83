/* hand_client.h - a client of an agent without libroost: the rings, the page and the socket by hand
 *
 * What a test says with it goes over the wire as it is, right or wrong. Every wait has a deadline; a failed expectation
 * prints and ends the process with status 1. One thread. */
#ifndef ROOST_TESTS_LIB_HAND_CLIENT_H
#define ROOST_TESTS_LIB_HAND_CLIENT_H

#include "common/job.h"
#include "common/spec.h"
#include "objectstore/client_page.h"
#include "objectstore/map.h"
#include "objectstore/wire.h"

enum { HAND_MS = 30000, HAND_KEPT_MAX = 8192 };

struct hand_client {
    int socket, event_fd;
    struct connect_welcome welcome;
    unsigned char *page;
    struct client_page_layout layout;
    const struct node_page *node_page;
    struct client_bells *node_bells;
    struct agent_bell_ringer ringer;
    struct waiter waiter, task_waiter; /* on bells 0 and CLIENT_BELL_TASKS */
    void *pins_page;
    struct pins pins;
    struct pins_thread *thread;
    struct store_map map;
    struct ring_producer requests, completes;
    struct ring_consumer replies, taken;
    struct task_ring submits, tasks;
    uint64_t next_token, next_call, next_object;
    struct wire_entry *kept[HAND_KEPT_MAX]; /* replies that were not the awaited ones, in order; owned */
    size_t kept_count;
};

#define HAND_CHECK(condition)                                                                                    \
    do {                                                                                                         \
        if (!(condition)) {                                                                                      \
            fprintf(stderr, "%s:%d: HAND_CHECK(%s) failed: %s\n", __FILE__, __LINE__, #condition, error_text()); \
            _Exit(1);                                                                                            \
        }                                                                                                        \
    } while (0)

/* A malloc()ed job of `program`, its arguments NULL-ended. */
struct job_spec *hand_job(const char *program, char *const *args, char *const *env);

/* `job` for a driver, `token` for a worker. The status of the welcome, or of what failed before it. */
int hand_connect(struct hand_client *client, const char *socket_path, const struct job_spec *job, uint64_t token);
void hand_close(struct hand_client *client);

/* Into the ring, and the agent is rung. The entry's `bytes` is right. */
void hand_say(struct hand_client *client, const struct wire_entry *entry);
/* The next reply of `kind`, and of `token` unless that is 0; the caller's to free. NULL when none has come within
 * `timeout_ms`. */
void *hand_hear(struct hand_client *client, enum wire_kind kind, uint64_t token, int timeout_ms);

/* The status; *place_out when it is 0. */
int hand_room(struct hand_client *client, uint64_t scope, enum wire_room purpose, uint64_t bytes,
              struct wire_place *place_out);
void hand_room_back(struct hand_client *client, const struct wire_place *place);
/* Room, the bytes in it, and the words that an ANNOUNCE or RESULT needs; its id is the caller's to set. */
struct wire_object hand_write(struct hand_client *client, uint64_t scope, const void *data, size_t bytes);
/* hand_write() and ANNOUNCE. */
struct object_id hand_put(struct hand_client *client, const void *data, size_t bytes);
void hand_free(struct hand_client *client, struct object_id id);
/* WAIT for one object here: 1 or a negative code. 0: not within `timeout_ms`. */
int hand_wait(struct hand_client *client, struct object_id id, int timeout_ms);
struct wire_node hand_node(struct hand_client *client);

/* Writes the spec of a call of the driver itself into `submits`, inline or in room. The task's id. */
struct task_id hand_submit(struct hand_client *client, const char *function, const roost_in *args, size_t count,
                           int32_t max_retries);

#endif

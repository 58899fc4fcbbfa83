/* core.h - how a deterministic core meets the world
 *
 * A core is a struct that changes only inside its step function. Time, randomness, ids and every input come in by
 * events; everything it wants done goes out as commands, run by the host after the step has returned. So
 *   same seed + same events = same state, same commands, same hash,
 * under the daemon, under the simulator, and when the recorded events of a real head are played back.
 * A core never allocates by address order, compares doubles, iterates a table by hash or reads a clock. */
#ifndef ROOST_COMMON_CORE_H
#define ROOST_COMMON_CORE_H

#include "common/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proto_hello; /* proto/message.h */
struct proto_message;
struct wire_entry; /* objectstore/wire.h */

struct core_peer {
    uint32_t node, incarnation; /* an agent's life; the head is node 0 */
};
struct core_client {
    uint32_t slot, generation; /* a worker or driver of this node */
};

enum core_event_kind {
    CORE_TICK = 1,     /* a timer armed by CORE_ARM is due: u.timer */
    CORE_SESSION_UP,   /* u.session: new stream with a peer; resumed=false: both sides list their state */
    CORE_SESSION_LOST, /* nothing more of this session; the peer may return with resumed=false */
    CORE_MESSAGE,      /* decoded and range-checked by proto/; in order, once; seen = peer's ack of ours */
    CORE_RING_ENTRY,   /* one committed entry of a client's ring; bounds checked, contents not trusted */
    CORE_CLIENT_UP,
    CORE_CLIENT_GONE, /* comes after every entry that the client committed */
    CORE_DRAINED,     /* every ring has been read to its end since the last such event */
    CORE_DONE         /* a command with a token ended: spawn, pull, retire, commit; status, value */
};

struct core_event {
    uint64_t now_ns; /* never goes back */
    enum core_event_kind kind;
    union {
        struct {
            uint64_t key;
        } timer;
        struct {
            struct core_peer peer;
            uint64_t epoch;
            const struct proto_hello *hello; /* the peer's; NULL when resumed */
            bool resumed;
        } session;
        struct {
            struct core_peer peer;
            uint32_t batch, seen;
            const struct proto_message *body;
        } message;
        struct {
            struct core_client client;
            const struct wire_entry *entry;
        } ring;
        struct {
            struct core_client client;
            int32_t status; /* GONE: the wait status of the process */
            uint64_t token; /* UP: of the spawn that made it, 0 for a driver */
            int64_t pid;
            struct id_key job; /* UP, of a driver: a new job's random id */
            const void *data;  /* UP, of a driver: the job's bytes */
            size_t bytes;
        } client;
        struct {
            uint64_t token;
            int32_t status;
            uint64_t value;
            const void *data;
            size_t bytes;
        } done;
    } u; /* borrowed for the step */
};

/* Which of these a core uses, and what the body of each is, stands in the core's own header. */
enum core_command_kind {
    CORE_FILLER, /* memory of core_alloc(), or the way to the next block; core_next() steps over it */
    CORE_SEND,   /* to: core_peer_key(); body: a struct proto_message whose pointers lead into the same arena */
    CORE_REPLY,  /* to: core_client_key(); body: a wire entry */
    CORE_ARM,    /* token: the timer's key; at_ns. Arming again moves it */
    CORE_DISARM,
    CORE_SPAWN,
    CORE_KILL,
    CORE_PULL,
    CORE_SPILL,
    CORE_COMMIT,
    CORE_TABLE, /* one entry of the shared table is written, or retired */
    CORE_WRITE, /* bytes into the store */
    CORE_TASK,  /* an attempt into a worker's task ring */
    CORE_LEASE, /* a lease of a worker begins or ends */
    CORE_DRAIN, /* run a turn that reads every ring */
    CORE_WAKE,
    CORE_CLOSE
};

struct core_command {
    enum core_command_kind kind;
    uint32_t size; /* bytes of the body that follows, aligned to 16 */
    uint64_t to, token, at_ns;
};

/* An arena of commands, in the order they were given. The host runs a step only when `capacity`, the core's out_bytes_max,
 * is free; a core with more to say arms a timer for now_ns. What cannot be put off (one message, one list) goes on in
 * further blocks, which live until the arena is cleared: a core says at most as much as it has records. */
struct core_out {
    unsigned char *base, *block; /* the first block, and the one being filled */
    size_t capacity;             /* of the first block */
    size_t used;                 /* in all blocks */
    size_t block_bytes, block_used;
    struct core_more *more; /* the further blocks, the newest first; owned */
};

/* ROOST_ENOMEM, or 0 with an empty arena of `capacity` bytes. */
int core_out_init(struct core_out *out, size_t capacity);
void core_out_fini(struct core_out *out);
void core_out_clear(struct core_out *out);

/* Append a command; returns its zeroed body of `body_bytes`, aligned to 16, valid until the arena is cleared. A
 * process without memory for it cannot go on. */
void *core_put(struct core_out *out, enum core_command_kind kind, uint64_t to, uint64_t token, size_t body_bytes);

/* CORE_ARM: a CORE_TICK with this key at `at_ns`. Arming a key again moves it. */
void core_arm(struct core_out *out, uint64_t key, uint64_t at_ns);

/* Zeroed memory beside the commands, for what a body points to. Lives as long as they do. */
void *core_alloc(struct core_out *out, size_t bytes);

/* How many bytes a step may still emit before it should put off what it can; 0 beyond `capacity`. */
size_t core_out_left(const struct core_out *out);

/* Walks the commands: core_next(out, NULL) is the first, NULL comes after the last. */
const struct core_command *core_next(const struct core_out *out, const struct core_command *command);
static inline const void *core_body(const struct core_command *command) { return command + 1; }

static inline uint64_t core_peer_key(struct core_peer peer) { return (uint64_t)peer.node << 32 | peer.incarnation; }
static inline uint64_t core_client_key(struct core_client client)
{
    return (uint64_t)client.slot << 32 | client.generation;
}
static inline struct core_peer core_peer_of(uint64_t key)
{
    return (struct core_peer){ (uint32_t)(key >> 32), (uint32_t)key };
}
static inline struct core_client core_client_of(uint64_t key)
{
    return (struct core_client){ (uint32_t)(key >> 32), (uint32_t)key };
}

struct core_vtable {
    const char *name;
    size_t out_bytes_max; /* what one step emits at most, but for what cannot be put off */
    void (*step)(void *core, const struct core_event *event, struct core_out *out);
    bool (*touched_are_valid)(const void *core); /* O(entities that this step changed) */
    bool (*is_valid)(const void *core);          /* O(everything): every 2^16 steps, when quiet, at the end */
    uint64_t (*hash)(const void *core);          /* kept up to date by each state change, field by field */
};

#endif

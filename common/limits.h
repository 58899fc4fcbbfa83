/* limits.h - every limit of the house that is not already in roost.h, in one place
 *
 * Each says its unit and what happens there. */
#ifndef ROOST_COMMON_LIMITS_H
#define ROOST_COMMON_LIMITS_H

#include "common/bytes.h"

enum {
    ROOST_SMALL_BYTES = 4096, /* rides inside a message; anything bigger is named by a ref */
    LOG_PAUSE_MS = 10000,     /* between two lines about what may go wrong once per object; the others are counted */

    /* store */
    STORE_PATIENCE_MS = 10000,    /* a create that does not fit waits so long, then ROOST_EFULL */
    STORE_SEGMENTS_MAX = 16,      /* segments of one store */
    STORE_ALIGNMENT = 64,         /* of every payload */
    STORE_ENTRY_PER_BYTES = 4096, /* a table entry for so many bytes of store */
    STORE_ENTRIES_MIN = 1 << 20,
    STORE_TABLE_SHARE = 8, /* a table of more than an eighth of its store is not filled with memory ahead */
    STORE_ENTRIES_MAX = 1 << 24,
    STORE_SLAB_BYTES_MIN = 64 << 10,
    STORE_SLAB_BYTES_MAX = 16 << 20,
    STORE_LARGE_BYTES = 4 << 20, /* from here on an object is an extent of its own */
    STORE_SLABS_SHARE = 4,       /* all slab leases together: at most 1/4 of the store */
    STORE_FORWARDS_MAX = 8,      /* results that only name another result, one after the other */

    /* one client of an agent */
    CLIENT_REQUEST_RING_BYTES = 1 << 20,
    CLIENT_REPLY_RING_BYTES = 256 << 10,
    CLIENT_MESSAGE_BYTES_MAX = 32 << 10, /* one ring message; longer lists travel as several */
    CLIENT_TASK_SLOTS = 512,             /* submitted and not yet taken by the agent; then back-pressure */
    CLIENT_DOORBELLS = 63,               /* threads of one client that can wait at once */
    CLIENT_PINS_MAX = 1 << 20,           /* views of one client at once; then ROOST_ELIMIT */
    CLIENT_TOUCHED = 1024,               /* lossy ring of touched entries, for the eviction order */
    CLIENT_WAITED_MAX = 4 << 20,         /* refs that a client waits for at once; then ROOST_EBUSY */
    CLIENT_PREFETCHES_MAX = 1 << 16,     /* of a client, of objects that are not made yet; further ones are dropped */
    CLIENT_TOLD_MAX = 4096,           /* objects whose refs were told and that did not follow yet; then it is ended */
    CLIENT_ROOM_REQUESTS_MAX = 128,   /* unanswered: one a waiting thread, one a slab asked for ahead */
    CLIENTS_MAX = 4096,               /* of one agent; then ROOST_ELIMIT at open */
    CLIENT_LATE_BYTES_MAX = 16 << 20, /* answers that a client has not read beyond its ring; then it is ended */

    /* leases: tasks from a client straight into the ring of a worker */
    LEASE_SLOTS = 128,                 /* pushed to a worker and not yet taken; then they wait with their holder */
    LEASE_COMPLETES_BYTES = 128 << 10, /* said by a worker and not yet read; then it waits */
    LEASE_INLINE_BYTES_MAX = 16 << 10, /* of all results in one completion; the others go through the store */
    LEASE_HOLD_MS = 10,                /* a lease is not asked back sooner */
    LEASE_IDLE_MS = 200,               /* a lease that nothing was pushed into for so long goes back */
    CLIENT_CALLS_QUEUED_MAX = 4096,    /* that wait for a lease; then the caller waits */
    CLIENT_CALLS_WAITING_MAX = 65536,  /* that wait for results of others; then the next go the agent's way */
    CLIENT_LEASES_MAX = 64,            /* of one client, asked for or held; then it is ended */
    CLIENT_STAGED_MAX = 1 << 16, /* results of leased tasks that nobody has adopted yet, per worker; then it is ended */

    /* workers */
    WORKER_TASK_SLOTS = 64,       /* pushed to a worker and not yet taken */
    WORKERS_PER_CPU_MAX = 64,     /* counting blocked ones; then ROOST_ELIMIT for the newest */
    WORKER_IDLE_MS = 60000,       /* an idle worker above the prestarted ones ends after so long */
    WORKER_START_MS = 30000,      /* a worker that has not connected by then is killed */
    FORKER_WORKERS_BEFORE = 2,    /* workers of a job that are started before it gets a forker */
    FORKER_MEANWHILE_MAX = 4,     /* starting at once while the forker is on its way; the others wait for it */
    FORKERS_LOST_MAX = 3,         /* forkers of a job that end before it; from then on its workers are started */
    FORKER_SLOTS = 64,            /* forks asked for and not yet done; the others wait with the agent */
    WORKER_LINE_BYTES_MAX = 4096, /* of output; longer lines are cut into several */

    /* rings between processes (ring.h, task_ring.h) */
    RING_BYTES_MIN = 64,
    RING_BYTES_MAX = 1 << 30,
    TASK_SLOT_BYTES = 1024,
    TASK_PAYLOAD_BYTES_MAX = 992, /* inline in a slot; a bigger spec is named by segment, offset and size */
    TASK_RING_SLOTS_MAX = 1 << 16,

    /* waiting (objectstore.md, rings and waiting) */
    WAIT_PAUSE_NS = 1000,
    WAIT_SLEEP_NS_MAX = 1000000000, /* a sleeper looks at its peer again at least this often */
    WAIT_LOST_WAKES_MAX = 8,        /* yields may lose the time of so many wake-ups */
    WAIT_YIELD_BAN_NS = 100000000,

    /* between machines */
    PROTO_VERSION_MIN = 1, /* of the protocol, spoken here */
    PROTO_VERSION_MAX = 1,
    PROTO_FRAME_BYTES_MAX = 16 << 20, /* one framed batch */
    PROTO_CREDIT_BYTES = 64 << 20,    /* sent and not acknowledged, each way; a peer over it is cut */
    PROTO_TEXT_BYTES_MAX = 4096,
    PROTO_HELLO_BYTES_MAX = 64 << 10,  /* a stranger's first frame */
    PROTO_BATCH_BYTES = 1 << 20,       /* a batch is closed here; a larger message has one to itself */
    PROTO_ARENA_BYTES_MAX = 256 << 20, /* what one frame may take decoded; then it is refused */
    PROTO_OBJECTS_MAX = 1 << 16,       /* ids of one list in a message; longer lists travel as several */
    PROTO_ITEMS_MAX = 1 << 14,         /* structs of one list in a message, likewise */
    PROTO_HOLDERS_MAX = 64,            /* nodes named as holders of one object */
    PROTO_FORMAT_MAX = 255,
    PROTO_TOKEN_BYTES_MAX = 1024,
    PROTO_ADDRESS_BYTES_MAX = 255, /* host names and "host:port" */
    PROTO_JOB_BYTES_MAX = 1 << 20,
    PROTO_OUTPUT_BYTES_MAX = 64 << 10,
    PROTO_TRAILER_BYTES_MAX = 64 << 20, /* refs and column ends of one object */
    PROTO_ROWS_MAX = 1 << 20,           /* of one query */
    PROTO_COLUMNS_MAX = 64,             /* of a table of rows */
    PROTO_CELLS_MAX = 1 << 15,          /* in one message */
    HEARTBEAT_MS = 500,
    NODE_SUSPECT_MS = 2000, /* silence until nothing new is placed there */
    NODE_DEAD_MS = 5000,    /* silence until its tasks are tried elsewhere */
    SILENCE_LATE_MS = 1000, /* a look at the silence that comes so late: this process stood still, not the others */
    NODES_MAX = 16384,
    LOCAL_NODES_MAX = 64, /* of one `roost local`; more are a usage error */

    /* connections (common/io) */
    LOOP_CLOSE_MS = 10000,               /* what was closed must be gone by then, else a broken contract */
    STREAM_IOVS_MAX = 8,                 /* pieces of one send or receive: what nng takes */
    STREAM_ACCEPT_RETRY_MS = 100,        /* pause after a failed accept, such as no descriptors left */
    STREAM_DIAL_RETRY_MS = 20,           /* pause after a dial that should be tried again */
    ENDPOINT_READ_BYTES = 32 << 10,      /* read buffer of a connection; longer frames get a buffer of their own */
    ENDPOINT_BLOCK_BYTES = 16 << 10,     /* small outgoing frames are gathered in blocks of this size */
    ENDPOINT_QUEUE_BYTES_MAX = 64 << 20, /* accepted for sending and not yet sent; then ROOST_EBUSY */
    ENDPOINT_LINGER_MS = 1000,           /* a finished connection waits so long for the peer to close */
    BULK_QUEUE_MAX = 256,                /* ranges queued on one stream; then ROOST_EBUSY */
    UNIX_MESSAGE_BYTES_MAX = 64 << 10,   /* one message on an agent's socket */
    UNIX_FDS_MAX = 40,                   /* descriptors beside one message: a welcome has 4, and 2 per segment */
    UNIX_QUEUE_MAX = 64,                 /* messages that a slow client has not taken; then ROOST_EBUSY */
    NNG_CPUS_MAX = 4,                    /* nng sizes its thread pools as if the machine had at most so many */

    /* sessions (proto/io) */
    PEERS_HELLO_MS = 5000,     /* a connection that has not greeted by then is cut */
    PEERS_DIAL_MS = 3000,      /* one attempt to connect */
    PEERS_RETRY_MS_MIN = 50,   /* pause after a failed dial, doubled each time ... */
    PEERS_RETRY_MS_MAX = 2000, /* ... up to this; between half of it and all of it */
    PEERS_COMMANDS_MAX = 256,  /* connections of people beside those of nodes; then ROOST_ELIMIT */
    SESSION_MARKS_MAX = 1 << 18, /* batches of one session whose marks are kept; then it is lost, and listed again */
    HEAD_EDGES_MAX = 4 << 20,  /* names said by PROTO_EDGES whose object has not come; then the agent must list again */
    HEAD_CYCLES_MS = 1000,     /* after the end of a job, objects that only each other name are looked for */
    HEAD_STOP_MS = 5000,       /* an ending head waits so long for its agents */

    /* transfer */
    PULL_ADMITTED_BYTES = 256 << 20, /* of pulls in a lane that come at once; at least one always may */
    PULL_CHUNK_BYTES = 4 << 20,
    PULL_LANES = 2,               /* what somebody blocks on, and what is brought ahead: each has streams of its own */
    PULL_STREAMS_MAX = 4,         /* per peer, direction and lane */
    PULL_LARGE_BYTES = 32 << 20,  /* from here on over several streams */
    PULL_PEERS_COUNTED_MAX = 256, /* peers whose bytes an agent counts one by one; those of later ones together */

    /* scheduling (scheduling.md) */
    PLACEMENT_CANDIDATES = 4,      /* by bytes, and as many by load */
    PLACEMENT_PRIOR_NS = 10000000, /* an unmeasured function */
    PLACEMENT_WINDOW_PER_CPU = 2,  /* tasks committed to a node beyond which the rest stay queued at the head */
    PLACEMENT_TOLL_PERCENT = 50,   /* of the time that missing bytes take is added: others wait behind them */
    PLACEMENT_COPIES_MAX = 32,     /* copies of one input that a decision looks at; it takes an even sample of more */
    PLACEMENT_SOURCES_MAX = 256,   /* nodes whose outgoing bytes one task books; the largest shares count */
    PLACEMENT_SCAN_MAX = 1024,     /* tasks that one turn judges and leaves queued; the rest is for the next one */
    PLACEMENT_SPREADS_MAX = 64,    /* functions or jobs spread at once; later ones go to the least loaded */
    PLACEMENT_EARLY_PERCENT = 5,   /* of a gather's inputs exist: it may be placed early */
    PLACEMENT_FOLLOW_NS = 10000000,    /* of work for each CPU of a node waits there for what is being made there, */
    PLACEMENT_FOLLOWERS_PER_CPU = 512, /* and so many tasks; further ones wait at the head */
    DURATIONS_MAX = 1 << 16, /* functions whose durations are known; the one longest unseen is forgotten */
    DURATION_SAMPLES = 128,  /* then old samples begin to fade */
};

#define PLACEMENT_NIC_BYTES_PER_S UINT64_C(1250000000) /* of a node whose network has not been measured: 10 Gbit/s */
#define PLACEMENT_TASK_BYTES_MAX  (UINT64_C(1) << 44)  /* a task that misses more is booked as missing so much */
#define PLACEMENT_DURATION_NS_MAX (UINT64_C(1) << 50)  /* 13 days; longer counts as so long */

#define HEAD_SPEC_BYTES_MAX ROOST_GIB(2) /* specs queued at the head; the rest wait at home */

#endif

/* client_page.h - the memory that one client and its agent share, and how they first meet
 *
 * The agent makes one memfd per client, lays it out with client_page_layout() and passes it over its Unix socket; both
 * sides compute the same layout from the same constants and check it against the head. The socket then carries only
 * file descriptors: further pages of pins, and the memory of leases (lease_page.h).
 *
 *     head | requests | replies | taken | submits | tasks | completes
 *
 * The doorbells of all clients of a node lie in one memfd that each of them maps, a page per client slot: whoever has
 * something for a client, the agent or another client, rings it there.
 */
#ifndef ROOST_OBJECTSTORE_CLIENT_PAGE_H
#define ROOST_OBJECTSTORE_CLIENT_PAGE_H

#include "common/doorbell.h"
#include "common/id.h"
#include "common/limits.h"
#include "common/ring.h"
#include "common/task_ring.h"

enum { CLIENT_PAGE_LAYOUT = 2, NODE_PAGE_LAYOUT = 1, CLIENT_SMALL_RING_BYTES = 64 << 10, CLIENT_BELLS_BYTES = 4096 };
#define CLIENT_PAGE_MAGIC UINT64_C(0x65676170746f6f72)
#define NODE_PAGE_MAGIC   UINT64_C(0x65646f6e746f6f72)

/* One per node, written by the agent, mapped read-only by its clients. */
struct node_page {
    uint64_t magic;
    uint32_t layout, reserved;
    uint64_t wake_ns; /* waiter_wake_ns(), measured once for the node */
    _Alignas(64) struct agent_bell bell;
};

/* Whose bell is which; the others belong to threads that wait, and are named in what they ask. The library's thread is
 * rung for WIRE_OUTPUT and WIRE_JOB_ENDED, and when `taken` is half full, but not for each WIRE_TAKEN: what the thread
 * would do about it (say frees that had waited) can wait until it looks by itself, each second, or somebody asks. */
enum { CLIENT_BELL_LIBRARY = 0, CLIENT_BELL_TASKS = 1, CLIENT_BELL_FIRST = 2 };

/* The bells of one client: a line each, and who of its threads takes in what lease peers complete. */
struct client_bells {
    struct {
        _Alignas(64) struct doorbell doorbell;
    } of[CLIENT_DOORBELLS];
    _Alignas(64) _Atomic uint32_t lead; /* that thread's bell; CLIENT_LEAD_NONE: completions can wait */
    _Atomic uint32_t is_patient;        /* it waits for many: they may come together */
};
enum { CLIENT_LEAD_NONE = CLIENT_DOORBELLS };
_Static_assert(sizeof(struct client_bells) == CLIENT_BELLS_BYTES, "a page per client");

/* The bells of every client of the node, by slot: CLIENTS_MAX pages, those of nobody never touched. */
enum { NODE_BELLS_BYTES = CLIENTS_MAX * CLIENT_BELLS_BYTES };

/* A client comes into the slot: nobody sleeps there, nobody leads. */
void client_bells_format(struct client_bells *bells);

enum client_role { CLIENT_DRIVER = 1, CLIENT_WORKER };

struct client_page_head {
    uint64_t magic;
    uint32_t layout, slot, generation, role;
    uint64_t bytes;
};

struct client_page_layout {
    size_t requests;  /* ring of CLIENT_REQUEST_RING_BYTES */
    size_t replies;   /* ring of CLIENT_REPLY_RING_BYTES */
    size_t taken;     /* ring of CLIENT_SMALL_RING_BYTES */
    size_t submits;   /* task ring of CLIENT_TASK_SLOTS */
    size_t tasks;     /* task ring of WORKER_TASK_SLOTS */
    size_t completes; /* ring of CLIENT_SMALL_RING_BYTES */
    size_t bytes;     /* of the whole, a multiple of the page size */
};

struct client_page_layout client_page_layout(void);

/* Lays out zeroed memory of layout.bytes. */
void client_page_format(void *memory, uint32_t slot, uint32_t generation, enum client_role role);

/* Is this memory laid out as we would? ROOST_EVERSION with a text. */
int client_page_check(const void *memory, size_t bytes);

/* ---- the first words over the Unix socket (SOCK_SEQPACKET, one packet each) */

enum connect_kind {
    CONNECT_HELLO = 1,
    CONNECT_WELCOME,
    CONNECT_PINS,
    CONNECT_PINS_GIVEN,
    CONNECT_LEASE,
    CONNECT_LEASE_GIVEN
};

/* With one descriptor, the job (common/job.h) in a memfd, from a driver; with none from a worker. */
struct connect_hello {
    uint32_t kind, layout; /* CONNECT_HELLO, WIRE_LAYOUT */
    uint32_t role, reserved;
    uint64_t token; /* a worker's, from $ROOST_WORKER; else 0 */
};

/* With descriptors when status is 0: the client page, the eventfd that wakes the agent, the node page (read-only), pin
 * page 0 (objectstore/pins.h), the table (read-only), the node's bells, then for each segment a writable and a
 * read-only one. */
enum { CONNECT_WELCOME_FDS = 6 };
struct connect_welcome {
    uint32_t kind, layout;
    int32_t status;
    uint32_t slot, generation, segments;
    struct node_id node;
    struct job_id job;
    uint64_t prefix; /* id.hi of what the client itself puts */
    int64_t agent_pid;
    uint64_t page_bytes, table_bytes;
    uint64_t segment_bytes[STORE_SEGMENTS_MAX];
    uint32_t segment_is_huge[STORE_SEGMENTS_MAX];
    char node_name[64];
    char text[256]; /* why not, when status is not 0 */
};

/* "Pin page so-and-so, please", in ascending order from 1; the answer brings a memfd of pins_page_bytes(page). */
struct connect_pins {
    uint32_t kind, page;
};
struct connect_pins_given {
    uint32_t kind;
    int32_t status;
    uint32_t page, reserved;
};

/* "The memory of this lease, please": of a lease that the client holds, or, a worker, number 0: its own. The answer
 * brings a memfd (lease_page.h). ROOST_ENOENT: no such lease (any more). */
struct connect_lease {
    uint32_t kind, reserved;
    uint64_t lease;
};
struct connect_lease_given {
    uint32_t kind;
    int32_t status;
    uint64_t lease;
};

#endif

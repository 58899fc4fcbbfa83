/* lease_node.c - a holder, its workers and an agent in memory of the test's own
 *
 * Invariants that the agent looks at: a lease comes back with both of its rings empty and its worker idle; no number comes
 * back twice; a dead worker is told of once.
 */
#include "tests/lib/lease_node.h"
#include "common/bytes.h"
#include "tests/lib/test.h"
#include "worker/runtime/leased.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HOLDER_SLOT = 0, SLOTS = 1 + NODE_WORKERS_MAX, TABLE_ENTRIES = 1024 };

struct lease_node node;

static unsigned char *page; /* the holder's; one for the life of the process, as the next */
static struct table table;  /* of a store of nothing */
static struct client_bells bells[SLOTS];
static struct node_page node_page;
static unsigned fibers;
static const struct node_worker *whose_turn; /* see turn_begin() */

/* ---- memory ---- */

int fibers_lease_map(struct agent_link *link, uint64_t number, struct lease_page_head **page_out);
void fibers_check_peer(struct agent_link *link);

int fibers_lease_map(struct agent_link *link, uint64_t number, struct lease_page_head **page_out)
{
    CHECK(link == &node.link);
    ROOST_YIELD_POINT();
    for (unsigned i = 0; i < NODE_WORKERS_MAX; i++) {
        if (node.workers[i].is_there && node.workers[i].lease == number) {
            void *memory = mmap(NULL, lease_page_layout().bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                                node.workers[i].memory_fd, 0);
            CHECK(memory != MAP_FAILED);
            *page_out = memory;
            return 0;
        }
    }
    return ROOST_ENOENT;
}

/* Somebody has waited for a second. */
void fibers_check_peer(struct agent_link *link)
{
    (void)link;
    node.silent_looks++;
}

/* Objects that are no results of leased calls are here, to the holder's eyes. */
static int look(struct roost *rt, roost_ref ref, enum look_how how, struct store_view *view_out)
{
    (void)ref, (void)how;
    *view_out = (struct store_view){ .data = "", .size = 0 };
    return node.misses && rt != &node.rt ? STORE_GET_ASK : 0;
}

static void release(struct roost *rt, uint64_t pin) { (void)rt, (void)pin; }

static int wait_in_vain(struct roost *rt, const struct wait_request *request)
{
    (void)rt, (void)request;
    ROOST_YIELD_POINT();
    return ROOST_ETIMEDOUT;
}

static const struct world node_world = { .look = look, .release = release, .wait = wait_in_vain };

static void link_begin(struct agent_link *link, struct roost *rt, enum client_role role, uint32_t slot)
{
    memset(link, 0, sizeof *link);
    memset(rt, 0, sizeof *rt);
    rt->agent = link;
    link->rt = rt;
    rt->world = &node_world;
    list_init(&rt->watches);
    link->role = role;
    link->bells_taken = UINT64_C(1) << CLIENT_DOORBELLS | UINT64_C(1) << CLIENT_BELL_LIBRARY |
                        UINT64_C(1) << CLIENT_BELL_TASKS;
    struct list_node *lists[] = { &link->outputs, &link->watches, &link->leases, &link->leases_closed,
                                  &link->own_waits };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        list_init(lists[i]);
    }
    link->node_bells = bells;
    link->bells = &bells[slot];
    client_bells_format(link->bells);
    for (uint32_t i = 0; i < CLIENT_DOORBELLS; i++) {
        waiter_init(&link->waiters[i], link_bell(link, i));
    }
    agent_bell_ringer_init(&link->ringer, &node_page.bell, -1); /* the agent is awake, or looks by itself */
    link->prefix = 100 + slot;
    const struct client_core_setup setup = { link->prefix, { 5, 6 } };
    CHECK_EQ(client_core_create(&setup, &link->core), 0);
    CHECK_EQ(core_out_init(&link->out, CLIENT_OUT_BYTES_MAX), 0);
    link->entry = malloc(CLIENT_MESSAGE_BYTES_MAX);
    CHECK(link->entry != NULL);
}

static void link_end(struct agent_link *link)
{
    client_core_destroy(link->core);
    core_out_fini(&link->out);
    free(link->entry);
}

void lease_node_begin(uint64_t seed)
{
    const struct client_page_layout layout = client_page_layout();
    if (page == NULL) {
        page = mmap(NULL, layout.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(page != MAP_FAILED);
        void *entries = mmap(NULL, table_bytes(TABLE_ENTRIES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                             0);
        CHECK(entries != MAP_FAILED);
        table_format(&table, entries, TABLE_ENTRIES);
    }
    waiter_set_wake_ns(5000);
    fibers_begin(seed);
    fibers = 0;
    whose_turn = NULL;
    memset(&node, 0, sizeof node);
    client_page_format(page, HOLDER_SLOT, 1, CLIENT_DRIVER);
    link_begin(&node.link, &node.rt, CLIENT_DRIVER, HOLDER_SLOT);
    struct agent_link *link = &node.link;
    link->map.table = table;
    CHECK_EQ(ring_producer_attach(&link->requests, page + layout.requests, CLIENT_REQUEST_RING_BYTES), 0);
    CHECK_EQ(ring_consumer_attach(&link->replies, page + layout.replies, CLIENT_REPLY_RING_BYTES), 0);
    CHECK_EQ(ring_consumer_attach(&link->taken, page + layout.taken, CLIENT_SMALL_RING_BYTES), 0);
    CHECK_EQ(task_ring_attach(&link->submits, page + layout.submits, CLIENT_TASK_SLOTS, HOLDER_SLOT + 1), 0);
    CHECK_EQ(ring_consumer_attach(&node.requests, page + layout.requests, CLIENT_REQUEST_RING_BYTES), 0);
    CHECK_EQ(ring_producer_attach(&node.replies, page + layout.replies, CLIENT_REPLY_RING_BYTES), 0);
    CHECK_EQ(ring_producer_attach(&node.taken, page + layout.taken, CLIENT_SMALL_RING_BYTES), 0);
    CHECK_EQ(task_ring_attach(&node.submits, page + layout.submits, CLIENT_TASK_SLOTS, TASK_TAKER_AGENT), 0);
}

void lease_node_end(void)
{
    leases_fini(&node.link);
    link_end(&node.link);
    leases_free(&node.link);
    for (unsigned i = 0; i < NODE_WORKERS_MAX; i++) {
        struct node_worker *worker = &node.workers[i];
        if (worker->is_there) {
            link_end(&worker->link);
            munmap(worker->page, lease_page_layout().bytes);
            close(worker->memory_fd);
        }
    }
}

unsigned lease_node_add(void (*run)(void *arg), void *arg)
{
    fibers_add(run, arg);
    return fibers++;
}

/* ---- a worker ---- */

/* leased.c keeps what a worker's one task gives in memory of its own, of which there is one in this process: between its body
 * and its end no other worker runs. */
static bool turn_is_free(void *arg)
{
    (void)arg;
    return whose_turn == NULL || whose_turn->was_told_dead;
}

static void turn_begin(const struct node_worker *worker)
{
    while (!turn_is_free(NULL)) {
        fibers_wait(turn_is_free, NULL);
    }
    whose_turn = worker;
}

static void turn_end(void) { whose_turn = NULL; }

static void run_body(struct roost *rt, const struct spec *spec, uint64_t run, uint64_t prefix, uint32_t attempt,
                     struct kept_results *kept, const struct task_values *values, struct task_end *end)
{
    (void)run, (void)prefix, (void)values, (void)end;
    const struct node_worker *worker = CONTAINER_OF(rt, struct node_worker, rt);
    uint64_t number = spec_args(spec)[0].as.u, value = number + 1;
    CHECK(number < NODE_NUMBERS);
    node.begun[number]++;
    CHECK(attempt >= node.attempts[number]); /* no attempt is made twice, or after a later one */
    node.attempts[number] = attempt + 1;
    node.running++;
    turn_end();
    ROOST_YIELD_POINT();
    if (node.body != NULL) {
        node.body((unsigned)(worker - node.workers), attempt, number);
    }
    ROOST_YIELD_POINT();
    turn_begin(worker);
    node.running--;
    kept->of[0].is_kept = true;
    kept->of[0].offset = 0;
    kept->of[0].bytes = sizeof value;
    memcpy(kept->data, &value, sizeof value);
    kept->used = sizeof value;
}

static void work(void *arg)
{
    static struct task_ring_item items[NODE_WORKERS_MAX];
    struct node_worker *worker = arg;
    struct task_ring_item *item = &items[worker - node.workers];
    struct waiter *waiter = &worker->link.waiters[CLIENT_BELL_TASKS];
    for (;;) {
        int got;
        waiter_begin(waiter, ROOST_FOREVER);
        while ((got = leased_claim(&worker->link, item)) == 0 && !node.is_over) {
            if (waiter_pause(waiter) == WAITER_LOOK) {
                CHECK(!leased_has_more(&worker->link)); /* it slept beside work */
            }
        }
        waiter_end(waiter);
        CHECK(got >= 0);
        if (got == 0) {
            return;
        }
        turn_begin(worker);
        CHECK_EQ(leased_run(&worker->rt, item, run_body), 0);
        turn_end();
    }
}

struct node_worker *lease_node_add_worker(void)
{
    unsigned index = 0;
    while (node.workers[index].is_there) {
        index++;
        CHECK(index < NODE_WORKERS_MAX);
    }
    struct node_worker *worker = &node.workers[index];
    link_begin(&worker->link, &worker->rt, CLIENT_WORKER, 1 + index);
    size_t bytes = lease_page_layout().bytes;
    worker->memory_fd = memfd_create("lease", MFD_CLOEXEC);
    CHECK(worker->memory_fd >= 0 && ftruncate(worker->memory_fd, (off_t)bytes) == 0);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, worker->memory_fd, 0);
    CHECK(memory != MAP_FAILED);
    worker->page = worker->link.lease_page = memory;
    lease_page_format(memory);
    worker->is_there = true;
    worker->fiber = lease_node_add(work, worker);
    return worker;
}

/* ---- the agent ---- */

static void *reply_begin(uint32_t kind, size_t bytes, uint64_t token)
{
    struct wire_entry *entry = ring_reserve(&node.replies, align_up(bytes, 8));
    CHECK(entry != NULL);
    memset(entry, 0, align_up(bytes, 8));
    *entry = (struct wire_entry){ kind, (uint32_t)align_up(bytes, 8), token };
    return entry;
}

static void reply_end(uint32_t bell)
{
    ring_commit(&node.replies);
    doorbell_ring(link_bell(&node.link, bell));
}

static void stand(struct node_worker *worker)
{
    worker->lease = ++node.serial;
    worker->is_recalled = false;
    atomic_store_explicit(&worker->page->holder, HOLDER_SLOT, memory_order_relaxed);
    atomic_store_explicit(&worker->page->lease, worker->lease, memory_order_release);
    node.granted++;
}

/* A worker for the lease that was asked for, or NULL. */
static struct node_worker *to_grant(void)
{
    for (unsigned i = 0; i < NODE_WORKERS_MAX && node.asked_token != 0 && !node.refuses; i++) {
        struct node_worker *worker = &node.workers[i];
        if (worker->is_there && worker->lease == 0 && !fibers_is_killed(worker->fiber)) {
            return worker;
        }
    }
    return NULL;
}

static void grant_if_asked(void)
{
    struct node_worker *worker = to_grant();
    if (worker == NULL) {
        return;
    }
    uint32_t index = (uint32_t)(worker - node.workers);
    stand(worker);
    struct wire_leased *leased = reply_begin(WIRE_LEASED, sizeof *leased, node.asked_token);
    node.asked_token = 0;
    leased->lease = worker->lease;
    leased->pid = 1000 + index;
    leased->slot = 1 + index;
    leased->others = node.others;
    reply_end(node.asked_bell);
}

static struct node_worker *worker_of(uint64_t lease)
{
    for (unsigned i = 0; i < NODE_WORKERS_MAX; i++) {
        if (node.workers[i].is_there && node.workers[i].lease == lease) {
            return &node.workers[i];
        }
    }
    return NULL;
}

static unsigned count_slots(struct node_worker *worker, enum task_slot_state state)
{
    struct task_ring tasks;
    unsigned count = 0;
    CHECK_EQ(task_ring_attach(&tasks, (unsigned char *)worker->page + lease_page_layout().tasks, LEASE_SLOTS,
                              TASK_TAKER_AGENT),
             0);
    for (uint32_t i = 0; i < LEASE_SLOTS; i++) {
        uint64_t ticket;
        uint32_t taker;
        count += task_ring_slot(&tasks, i, &ticket, &taker) == state;
    }
    return count;
}

/* Nothing of the holder's is in there any more. */
static void check_rings_are_empty(struct node_worker *worker)
{
    const struct lease_page_layout layout = lease_page_layout();
    unsigned char *base = (unsigned char *)worker->page;
    struct ring_consumer completes;
    CHECK_EQ(count_slots(worker, TASK_SLOT_FREE), LEASE_SLOTS);
    CHECK_EQ(ring_consumer_attach(&completes, base + layout.completes, LEASE_COMPLETES_BYTES), 0);
    CHECK(ring_is_empty(&completes));
}

static void take_back_lease(uint64_t number)
{
    struct node_worker *worker = worker_of(number);
    CHECK(worker != NULL); /* else it comes back twice */
    node.back++;
    worker->lease = 0;
    if (!fibers_is_killed(worker->fiber)) {
        check_rings_are_empty(worker);
        atomic_store_explicit(&worker->page->lease, 0, memory_order_release);
    }
}

/* What is submitted is done elsewhere, at once. */
static void answer_wait(struct wire_wait *wait, int8_t answer)
{
    struct wire_ready *ready = reply_begin(WIRE_READY, sizeof *ready + wait->total, wait->head.token);
    ready->count = ready->total = wait->total;
    memset(ready->ready, answer, wait->total);
    reply_end(wait->bell);
    wait->total = 0;
}

static struct wire_wait *find_wait(uint64_t token)
{
    for (size_t i = 0; i < ROOST_COUNT_OF(node.waits); i++) {
        bool is_it = token == 0 ? node.waits[i].total == 0
                                : node.waits[i].total > 0 && node.waits[i].head.token == token;
        if (is_it) {
            return &node.waits[i];
        }
    }
    return NULL;
}

static void take_wait(const struct wire_wait *wait)
{
    CHECK_EQ(wait->count, wait->total);
    struct wire_wait *place = find_wait(0);
    CHECK(place != NULL);
    *place = *wait;
    if (!node.dawdles) {
        answer_wait(place, 1);
    }
}

static void take_unwait(uint64_t token)
{
    struct wire_wait *wait = find_wait(token);
    if (wait != NULL) {
        answer_wait(wait, 0);
    }
}

static void tell(uint64_t lease, enum wire_lease_news_kind what, int32_t wait_status)
{
    struct wire_lease_news *news = reply_begin(WIRE_LEASE_NEWS, sizeof *news, 0);
    news->lease = lease;
    news->what = what;
    news->wait_status = wait_status;
    reply_end(CLIENT_BELL_LIBRARY);
}

void lease_node_tell(struct node_worker *worker, enum wire_lease_news_kind what)
{
    tell(worker->lease, what, what == WIRE_LEASE_ENDED ? 9 : 0);
}

static void take_ask(const struct wire_lease *ask)
{
    CHECK_EQ(node.asked_token, 0);
    if (node.denies) {
        tell(0, WIRE_LEASE_DENIED, 0);
        return;
    }
    node.asked_token = ask->head.token;
    node.asked_bell = ask->bell;
    if (node.others > 0) {
        tell(0, WIRE_LEASE_OTHERS, (int32_t)node.others);
    }
}

static void take_request(const struct wire_entry *entry)
{
    const void *body = entry;
    switch (entry->kind) {
    case WIRE_LEASE:
        take_ask(body);
        break;
    case WIRE_LEASE_BACK:
        take_back_lease(((const struct wire_lease_back *)body)->lease);
        break;
    case WIRE_LEASE_BROKEN: {
        struct node_worker *worker = worker_of(((const struct wire_lease_back *)body)->lease);
        node.broken++;
        if (worker != NULL && !fibers_is_killed(worker->fiber)) {
            fibers_kill(worker->fiber);
        }
        break;
    }
    case WIRE_WAIT:
        take_wait(body);
        break;
    case WIRE_UNWAIT:
        take_unwait(entry->token);
        break;
    case WIRE_ESCAPE:
        node.escaped++;
        break;
    case WIRE_FREE:
    case WIRE_HOLD:
        break;
    default:
        fprintf(stderr, "the agent is told %u\n", entry->kind);
        TEST_FAIL_();
    }
}

static void take_submit(const struct task_ring_item *item)
{
    const struct wire_submit *submit = (const struct wire_submit *)(const void *)item->payload;
    const struct spec *spec = (const struct spec *)(const void *)submit->u.bytes;
    struct wire_taken *taken = ring_reserve(&node.taken, sizeof *taken);
    CHECK(taken != NULL && submit->is_inline != 0);
    *taken = (struct wire_taken){ { WIRE_TAKEN, sizeof *taken, item->ticket }, spec->task };
    ring_commit(&node.taken);
    node.submitted++;
}

static struct node_worker *newly_dead(void)
{
    for (unsigned i = 0; i < NODE_WORKERS_MAX; i++) {
        struct node_worker *worker = &node.workers[i];
        if (worker->is_there && worker->lease != 0 && !worker->was_told_dead && fibers_is_killed(worker->fiber)) {
            return worker;
        }
    }
    return NULL;
}

static bool agent_has_work(void *arg)
{
    (void)arg;
    return node.is_over || !ring_is_empty(&node.requests) || newly_dead() != NULL ||
           task_ring_has_queued(&node.submits) || to_grant() != NULL;
}

void lease_node_agent(void *arg)
{
    (void)arg;
    static union {
        struct wire_entry head;
        unsigned char bytes[CLIENT_MESSAGE_BYTES_MAX];
    } entry;
    static struct task_ring_item item;
    for (fibers_wait(agent_has_work, NULL); !node.is_over; fibers_wait(agent_has_work, NULL)) {
        size_t size;
        struct node_worker *dead = newly_dead();
        if (dead != NULL) {
            dead->was_told_dead = true;
            node.claimed += node.broken > 0 ? 0 : count_slots(dead, TASK_SLOT_CLAIMED);
            lease_node_tell(dead, WIRE_LEASE_ENDED);
        }
        while (ring_take(&node.requests, &entry, sizeof entry, &size) == 1) {
            CHECK_EQ(wire_check(&entry.head, size), 0);
            take_request(&entry.head);
        }
        ring_consumed(&node.requests);
        while (task_ring_claim(&node.submits, &item) == 1) {
            take_submit(&item);
        }
        grant_if_asked();
    }
}

/* ---- the holder ---- */

static bool library_may_sleep(void)
{
    fibers_lock(&node.link.lock);
    bool is_idle = leases_are_empty(&node.link) && ring_is_empty(&node.link.replies) && ring_is_empty(&node.link.taken);
    fibers_unlock(&node.link.lock);
    return is_idle && !node.is_over;
}

void lease_node_library(void *arg)
{
    (void)arg;
    struct doorbell *bell = link_bell(&node.link, CLIENT_BELL_LIBRARY);
    while (!node.is_over) {
        fibers_lock(&node.link.lock);
        link_drain_locked(&node.link);
        link_flush_locked(&node.link);
        fibers_unlock(&node.link.lock);
        uint64_t pause_ns = leases_work(&node.link);
        doorbell_arm(bell);
        if (library_may_sleep()) {
            doorbell_sleep(bell, pause_ns);
        } else {
            doorbell_disarm(bell);
        }
    }
}

void lease_node_hold(struct node_worker *worker)
{
    stand(worker);
    node.link.lease_ask.leased = (struct wire_leased){ .lease = worker->lease,
                                                       .slot = 1 + (uint32_t)(worker - node.workers) };
    node.link.lease_is_granted = node.link.lease_is_asked = true;
    leases_work(&node.link);
    CHECK_EQ(node.link.leases_count, 1);
}

void lease_node_close(void)
{
    node.is_over = true;
    doorbell_ring(link_bell(&node.link, CLIENT_BELL_LIBRARY));
    for (unsigned i = 0; i < NODE_WORKERS_MAX; i++) {
        if (node.workers[i].is_there) {
            doorbell_ring(link_bell(&node.workers[i].link, CLIENT_BELL_TASKS));
        }
    }
}

static roost_ref call(uint64_t number, int32_t max_retries, uint32_t flags, const roost_ref *also)
{
    const roost_in args[] = { roost_in_uint(number),
                              roost_in_ref(also == NULL ? (roost_ref){ { 0, 0 }, 0, 0 } : *also) };
    struct spec_draft draft = { .function = "add_one",
                                .cpus_hundredths = 100,
                                .returns = 1,
                                .max_retries = max_retries,
                                .flags = flags,
                                .args = args,
                                .args_count = also == NULL ? 1 : 2 };
    roost_ref ref;
    CHECK_EQ(agent_submit(&node.rt, CLIENT_SCOPE, &draft, &ref), 0);
    return ref;
}

roost_ref lease_node_call(uint64_t number, int32_t max_retries) { return call(number, max_retries, 0, NULL); }

roost_ref lease_node_call_elsewhere(uint64_t number) { return call(number, 3, SPEC_SPREAD, NULL); }

roost_ref lease_node_call_with(uint64_t number, roost_ref ref) { return call(number, 3, 0, &ref); }

int lease_node_wait(const roost_ref *refs, uint32_t total, uint32_t wanted)
{
    int8_t ready[NODE_NUMBERS] = { 0 };
    const struct wait_request request = {
        .refs = refs, .total = total, .wanted = wanted, .fetch = true, .ready = ready, .timeout_ms = ROOST_FOREVER
    };
    int status = agent_wait(&node.rt, &request);
    uint32_t count = 0;
    for (uint32_t i = 0; i < total; i++) {
        count += ready[i] > 0;
    }
    CHECK(status != 0 || count >= wanted);
    return status;
}

int lease_node_value(roost_ref ref, uint64_t *value_out)
{
    struct client_own_value value;
    int status = 0;
    fibers_lock(&node.link.lock);
    enum client_own own = client_own_look(node.link.core, object_id_of(ref), &value);
    if (own == CLIENT_OWN_SEALED && value.format == TABLE_ERROR) {
        status = ((const struct wire_failure *)value.data)->status;
    } else if (own == CLIENT_OWN_SEALED) {
        CHECK_EQ(value.bytes, sizeof *value_out);
        memcpy(value_out, value.data, sizeof *value_out);
    } else {
        CHECK_EQ(own, CLIENT_OWN_NOT);
        status = ROOST_ENOENT;
    }
    fibers_unlock(&node.link.lock);
    return status;
}

void lease_node_free(roost_ref ref) { CHECK_EQ(agent_free(&node.rt, CLIENT_SCOPE, &ref, 1), 1); }

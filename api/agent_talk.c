/* agent_talk.c - speaking to the agent, listening to it, and waiting for it
 *
 * Happy path: the core says something -> flush writes it into the ring of requests and rings the agent -> the agent
 *             answers into the ring of replies and rings the bell of who asked -> that thread, or whoever is at it,
 *             drains the ring into the core -> the asker finds its answer.
 * Failures:   a full ring -> yield, then look again each millisecond (the agent makes room without being asked), as the
 *             library's thread does when nobody stays for it. a
 *             broken ring, the agent's death, the job's end -> link_lose: every waiter wakes and says why. From then on
 *             nothing is said or taken in: the refs and watches that it was about may be their owners' no more.
 * Invariants: what the core said is in the arena or in the ring, in order; `unsent` is the first that is not in the
 *             ring.
 * Thread:     any; under the link's lock unless it says otherwise.
 */
#include "api/agent_link.h"
#include "common/bytes.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BACK_OFF_YIELDS = 200, BACK_OFF_NS = 50000, BACK_OFF_NS_MAX = 1000000, UNWAIT_MS = 2000 };

struct output {
    struct list_node node;
    struct wire_output head; /* its text follows */
};

/* ---- losing the agent ---- */

static void wake_everybody(struct agent_link *link)
{
    for (uint32_t i = 0; i < CLIENT_DOORBELLS; i++) {
        doorbell_ring_always(link_bell(link, i));
    }
    pthread_mutex_lock(&link->rt->lock);
    LIST_EACH_SAFE (at, &link->rt->watches) {
        watch_ready_locked(link->rt, CONTAINER_OF(at, struct watch, node));
    }
    pthread_mutex_unlock(&link->rt->lock);
}

void link_lose_locked(struct agent_link *link, int status, const char *text)
{
    if (atomic_load_explicit(&link->gone, memory_order_relaxed) != 0) {
        return;
    }
    snprintf(link->gone_text, sizeof link->gone_text, "%s", text[0] != '\0' ? text : error_name(status));
    atomic_store_explicit(&link->gone, status, memory_order_release); /* who reads the status may read the text */
    wake_everybody(link);
}

static bool is_lost(const struct agent_link *link)
{
    return atomic_load_explicit(&link->gone, memory_order_relaxed) != 0;
}

int link_gone(struct agent_link *link)
{
    int status = atomic_load_explicit(&link->gone, memory_order_acquire);
    return status == 0 ? 0 : error_set(status, "%s", link->gone_text);
}

/* ---- speaking ---- */

/* Room that goes back is not ours to write from here on. */
static void before_saying(struct agent_link *link, const struct wire_entry *entry)
{
    if (entry->kind == WIRE_ROOM_BACK) {
        const struct wire_room_back *back = (const struct wire_room_back *)(const void *)entry;
        store_map_unlease(&link->map, link_place(&back->place));
    }
}

/* Into the ring, as far as there is room. True: the arena is empty. */
static bool write_unsent(struct agent_link *link, bool *wrote)
{
    while (link->unsent != NULL) {
        const struct wire_entry *entry = core_body(link->unsent);
        void *to = ring_reserve(&link->requests, entry->bytes);
        if (to == NULL) {
            return false;
        }
        before_saying(link, entry);
        memcpy(to, entry, entry->bytes);
        *wrote = true;
        link->unsent = core_next(&link->out, link->unsent);
    }
    return true;
}

bool link_flush_locked(struct agent_link *link)
{
    bool wrote = false, is_all = !is_lost(link);
    while (is_all && (link->unsent != NULL || client_core_has_more(link->core))) {
        if (link->unsent == NULL) {
            core_out_clear(&link->out);
            client_core_emit(link->core, &link->out);
            link->unsent = core_next(&link->out, NULL);
        }
        is_all = write_unsent(link, &wrote);
    }
    if (wrote) {
        ring_commit(&link->requests);
        agent_bell_ring(&link->ringer);
        leases_set_lead_locked(link); /* calls that others have been told of are awaited */
    }
    if (link->requests.broken) {
        link_lose_locked(link, ROOST_EIO, "the agent broke the ring of requests");
    } else if (!is_all) {
        leases_need_ticks_locked(link);
    }
    return is_all;
}

void link_say_urgent_locked(struct agent_link *link)
{
    if (client_core_is_urgent(link->core) ||
        (client_core_has_more(link->core) && table_room_is_wanted(&link->map.table))) {
        link_flush_locked(link);
    }
}

void link_back_off(struct agent_link *link, unsigned tries)
{
    if (tries < BACK_OFF_YIELDS) {
        sched_yield();
        return;
    }
    if (tries % 256 == 0) {
        link_check_peer(link);
    }
    long ns = (long)(tries - BACK_OFF_YIELDS + 1) * BACK_OFF_NS;
    const struct timespec pause = { 0, tries - BACK_OFF_YIELDS < BACK_OFF_NS_MAX / BACK_OFF_NS ? ns : BACK_OFF_NS_MAX };
    nanosleep(&pause, NULL);
}

int link_say_all(struct agent_link *link)
{
    for (unsigned tries = 0; !link_flush_locked(link); tries++) {
        int status = link_gone(link);
        if (status != 0) {
            return status;
        }
        pthread_mutex_unlock(&link->lock);
        link_back_off(link, tries);
        pthread_mutex_lock(&link->lock);
        link_drain_locked(link); /* the agent may wait for room in the other direction */
    }
    return link_gone(link);
}

/* ---- listening ---- */

static void take_output(struct agent_link *link, const struct wire_output *output)
{
    size_t bytes = sizeof(struct output) + output->text_bytes;
    struct output *copy = link->outputs_count < LINK_OUTPUTS_MAX ? malloc(bytes) : NULL;
    if (copy == NULL) {
        link->outputs_dropped++;
        return;
    }
    copy->head = *output;
    memcpy(&copy->head + 1, output->text, output->text_bytes);
    list_append(&link->outputs, &copy->node);
    link->outputs_count++;
    doorbell_ring(link_bell(link, CLIENT_BELL_LIBRARY));
}

static void take_entry(struct agent_link *link, size_t size)
{
    const struct wire_entry *entry = (const struct wire_entry *)(const void *)link->entry;
    if (wire_check(entry, size) != 0) {
        link_lose_locked(link, ROOST_EIO, error_text());
        return;
    }
    if (entry->kind == WIRE_LEASE_NEWS) {
        const struct wire_lease_news news = *(const struct wire_lease_news *)(const void *)entry;
        leases_news_locked(link, &news);
        return;
    }
    if (entry->kind == WIRE_OUTPUT) {
        take_output(link, (const struct wire_output *)(const void *)entry);
        return;
    }
    client_core_take(link->core, entry);
    const char *text;
    int ended = client_core_ended(link->core, &text);
    if (ended != 0) {
        link_lose_locked(link, ended, text);
    }
}

static void drain_ring(struct agent_link *link, struct ring_consumer *ring)
{
    size_t size;
    int got;
    bool any = false;
    while ((got = ring_take(ring, link->entry, CLIENT_MESSAGE_BYTES_MAX, &size)) == 1) {
        any = true;
        take_entry(link, size);
        if (is_lost(link)) { /* whoever was waiting has been told so, and may be gone by now */
            return;
        }
    }
    if (any) {
        ring_consumed(ring);
    }
    if (got < 0) {
        link_lose_locked(link, ROOST_EIO, error_text());
    }
}

bool link_drain_locked(struct agent_link *link)
{
    struct ring_consumer *rings[] = { &link->replies, &link->taken };
    for (size_t i = 0; i < ROOST_COUNT_OF(rings) && !is_lost(link); i++) {
        drain_ring(link, rings[i]);
    }
    return !is_lost(link) && leases_drain_locked(link);
}

void link_work(struct agent_link *link, struct waiter *waiter)
{
    if (!waiter->armed && pthread_mutex_trylock(&link->lock) != 0) {
        return;
    }
    if (waiter->armed) { /* who is at it may have looked before the bell was armed: then nobody would ring it */
        pthread_mutex_lock(&link->lock);
    }
    if (link_drain_locked(link)) {
        waiter_goes_on(waiter); /* the next one may be as near */
    }
    link_flush_locked(link);
    pthread_mutex_unlock(&link->lock);
}

void link_print_outputs(struct agent_link *link)
{
    struct list_node lines;
    list_init(&lines);
    pthread_mutex_lock(&link->lock);
    list_append_all(&lines, &link->outputs);
    uint32_t dropped = link->outputs_dropped;
    link->outputs_count = link->outputs_dropped = 0;
    pthread_mutex_unlock(&link->lock);
    LIST_EACH_SAFE (at, &lines) {
        struct output *output = CONTAINER_OF(at, struct output, node);
        const char *text = (const char *)(&output->head + 1), *end = text + output->head.text_bytes;
        dropped += output->head.dropped;
        while (text < end) {
            const char *newline = memchr(text, '\n', (size_t)(end - text));
            size_t length = newline == NULL ? (size_t)(end - text) : (size_t)(newline - text);
            const char *function = output->head.function; /* none: it has not run one yet */
            fprintf(stderr, "%.*s%s%.*s %" PRId64 " | %.*s\n", ROOST_NAME_BYTES_MAX, function,
                    function[0] != '\0' ? " " : "", (int)sizeof output->head.node_name, output->head.node_name,
                    output->head.pid, (int)length, text);
            text += length + 1;
        }
        free(output);
    }
    if (dropped > 0) {
        fprintf(stderr, "roost: %u lines of workers were dropped\n", dropped);
    }
}

/* ---- waiting ---- */

int link_bell_take(struct agent_link *link)
{
    uint64_t taken = atomic_load_explicit(&link->bells_taken, memory_order_relaxed);
    while (~taken != 0) {
        int bell = __builtin_ctzll(~taken);
        /* acquire: the bell's last user has left its waiter as it was */
        if (atomic_compare_exchange_weak_explicit(&link->bells_taken, &taken, taken | UINT64_C(1) << bell,
                                                  memory_order_acquire, memory_order_relaxed)) {
            return bell;
        }
    }
    return error_set(ROOST_ELIMIT, "more than %d threads wait at once (CLIENT_DOORBELLS)",
                     CLIENT_DOORBELLS - CLIENT_BELL_FIRST);
}
_Static_assert(CLIENT_DOORBELLS == 63, "a bit per bell; the last is nobody's");

void link_bell_give(struct agent_link *link, int bell)
{
    atomic_fetch_and_explicit(&link->bells_taken, ~(UINT64_C(1) << bell), memory_order_release);
}

static void ask_done(struct client_ask *done)
{
    struct agent_ask *ask = CONTAINER_OF(done, struct agent_ask, ask);
    struct doorbell *bell = link_bell(ask->link, done->bell);
    atomic_store_explicit(&ask->is_done, true, memory_order_release); /* its thread may go on, and the ask be gone */
    doorbell_ring(bell);
}

static bool is_done(struct agent_ask *ask) { return atomic_load_explicit(&ask->is_done, memory_order_acquire); }

static bool own_is_done(const struct agent_ask *ask) { return ask->own != NULL && own_is_over(ask->own); }

static int await(struct agent_link *link, struct agent_ask *ask, int timeout_ms)
{
    struct waiter *waiter = &link->waiters[ask->ask.bell];
    int status = 0;
    waiter_begin(waiter, timeout_ms);
    while (!is_done(ask) && !own_is_done(ask) && status != ROOST_ETIMEDOUT) {
        link_work(link, waiter);
        if (is_done(ask) || own_is_done(ask) || atomic_load_explicit(&link->gone, memory_order_relaxed) != 0) {
            break;
        }
        status = waiter_pause(waiter);
        if (status == WAITER_LOOK) {
            link_check_peer(link);
        }
    }
    waiter_end(waiter);
    return is_done(ask) ? 0 : status == ROOST_ETIMEDOUT || own_is_done(ask) ? ROOST_ETIMEDOUT : link_gone(link);
}

static int post(struct agent_link *link, struct agent_ask *ask, bool is_again)
{
    pthread_mutex_lock(&link->lock);
    int status = is_again ? client_unwait(link->core, &ask->ask) : client_ask(link->core, &ask->ask);
    if (status == 0) {
        status = link_say_all(link);
    }
    pthread_mutex_unlock(&link->lock);
    return status;
}

/* "Answer that as it stands." */
static int hurry(struct agent_link *link, struct agent_ask *ask)
{
    int status = post(link, ask, true);
    if (status == 0) {
        status = await(link, ask, UNWAIT_MS);
    }
    return status == 0 ? ROOST_ETIMEDOUT : status;
}

int link_ask(struct agent_link *link, struct agent_ask *ask, int timeout_ms)
{
    int bell = link_bell_take(link);
    if (bell < 0) {
        return bell;
    }
    ask->link = link;
    ask->ask.bell = (uint32_t)bell;
    ask->ask.on_done = ask_done;
    atomic_store_explicit(&ask->is_done, false, memory_order_relaxed);
    if (ask->own != NULL) {
        pthread_mutex_lock(&link->lock);
        ask->own->bell = (uint32_t)bell;
        leases_wait_begin_locked(link, ask->own);
        pthread_mutex_unlock(&link->lock);
    }
    int status = post(link, ask, false);
    if (status == 0 && (timeout_ms != 0 || ask->ask.kind != WIRE_WAIT)) {
        status = await(link, ask, timeout_ms);
    } else if (status == 0) {
        status = ROOST_ETIMEDOUT;
    }
    if (status == ROOST_ETIMEDOUT && ask->ask.kind == WIRE_WAIT && !is_done(ask)) {
        struct own_wait *own = ask->own;
        ask->own = NULL; /* it is answered by the agent now, soon */
        status = hurry(link, ask);
        ask->own = own;
    }
    pthread_mutex_lock(&link->lock);
    if (ask->own != NULL) {
        leases_wait_end_locked(link, ask->own);
    }
    if (is_done(ask) && status != ROOST_ETIMEDOUT) {
        status = 0;
    } else if (!is_done(ask)) {
        client_forget(link->core, &ask->ask);
    }
    pthread_mutex_unlock(&link->lock);
    link_bell_give(link, bell);
    return status;
}

void link_ask_fini(struct agent_ask *ask)
{
    free(ask->ask.items);
    ask->ask.items = NULL;
}

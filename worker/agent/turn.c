/* turn.c - one turn of the agent's loop: read every ring, step the core, do what it says
 *
 * Happy path: awake -> for each guest: requests, then submits and completes up to where they ended before -> scan for
 * bytes that nobody reads -> ring bells -> asleep, and one more look.
 * Failures:   an entry that is malformed ends the guest, and nothing of it is read from then on; everybody else is
 *             served. a guest does not read its answers -> none of its rings is read until it has.
 * Invariant:  what a client wrote into `requests` before it published a submit or a completion is read before it.
 * Thread: the loop's.
 */
#define LOG_TOPIC "turn"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/daemon_internal.h"
#include "worker/agent/record.h"

#include <stdlib.h>
#include <string.h>

enum {
    TURN_ENTRIES_MAX = 100000,
    TURN_SCAN_MAX = 4096,
    SCAN_AHEAD = 8,
    COMMANDS_AHEAD = 8,
    STEPS_A_LOOK = 16,
    TURN_LOOK_NS_MAX = 80000000
};

/* What it will look at is asked for. The one behind it. */
static const struct core_command *foresee_command(struct daemon *daemon, const struct core_command *command)
{
    if (command->kind == CORE_TABLE) {
        table_prefetch(&daemon->store->table, ((const struct agent_entry *)core_body(command))->object.id);
    }
    return core_next(&daemon->out, command);
}

static void step_at(struct daemon *daemon, struct core_event *event, uint64_t now_ns)
{
    event->now_ns = now_ns;
    if (daemon->record != NULL) {
        record_event(daemon->record, event, agent_core.hash(daemon->core));
    }
    core_out_clear(&daemon->out);
    agent_core.step(daemon->core, event, &daemon->out);
    const struct core_command *ahead = core_next(&daemon->out, NULL);
    for (int i = 0; i < COMMANDS_AHEAD && ahead != NULL; i++) {
        ahead = foresee_command(daemon, ahead);
    }
    for (const struct core_command *c = NULL; (c = core_next(&daemon->out, c)) != NULL;) {
        ahead = ahead == NULL ? NULL : foresee_command(daemon, ahead);
        daemon_run_command(daemon, c);
    }
}

/* Of one step after the other: the clock is read once for some of them. */
static uint64_t now_of_step(int step, uint64_t before_ns)
{
    return step % STEPS_A_LOOK == 0 ? loop_now_ns() : before_ns;
}

void daemon_step(struct daemon *daemon, struct core_event *event) { step_at(daemon, event, loop_now_ns()); }

static void nothing(void *arg) { (void)arg; }

/* The work is done at the end of each turn: another one only needs an event. */
void daemon_again(struct daemon *daemon)
{
    daemon->again.run = nothing;
    loop_post(daemon->loop, &daemon->again);
}

static void to_core(struct guest *guest, const struct wire_entry *entry, uint64_t now_ns)
{
    struct core_event event = { .kind = CORE_RING_ENTRY, .u.ring = { guest->key, entry } };
    step_at(guest->daemon, &event, now_ns);
}

static void refuse(struct guest *guest, const char *ring)
{
    char text[ERROR_TEXT_BYTES + 2];
    log_error("event=bad_entry ring=%s pid=%lld why=%s", ring, (long long)guest->pid,
              log_quote(error_text(), text, sizeof text));
    guest_kill(guest);
}

/* May this kind come over this ring? */
static bool belongs(const struct wire_entry *entry, bool is_completes)
{
    if ((entry->kind == WIRE_COMPLETE || entry->kind == WIRE_RUN_END) == is_completes) {
        return true;
    }
    error_set(ROOST_EINVAL, "an entry of kind %u does not come over this ring", entry->kind);
    return false;
}

/* A guest with no room for answers keeps its questions for later; what a condemned one says is of no interest. */
static bool may_read(const struct guest *guest) { return guest->late_bytes == 0 && !guest->is_condemned; }

/* What the next entry names is fetched while this one is worked off: each is a line or two that nobody has met. */
static void look_ahead(struct guest *guest, const struct ring_consumer *ring)
{
    const struct wire_announce *next = ring_ahead(ring, sizeof *next);
    if (next != NULL && *(const volatile uint32_t *)&next->head.kind == WIRE_ANNOUNCE) {
        struct object_id id = next->object.id; /* whatever it is by now */
        agent_foresee(guest->daemon->core, guest->key, id);
        table_prefetch(&guest->daemon->store->table, id);
    }
}

/* Entries of one ring up to `place`. False when some are left. */
static bool drain_ring(struct guest *guest, struct ring_consumer *ring, uint64_t place, bool is_completes)
{
    unsigned char *entry = guest->daemon->entry;
    uint64_t now_ns = 0;
    bool is_read = false;
    for (int i = 0; i < TURN_ENTRIES_MAX && may_read(guest); i++) {
        size_t size;
        int taken = ring_take_until(ring, place, entry, CLIENT_MESSAGE_BYTES_MAX, &size);
        if (taken == 0) {
            is_read = true;
            break;
        }
        const struct wire_entry *head = (const struct wire_entry *)(const void *)entry;
        if (taken < 0 || wire_check(head, size) != 0 || !belongs(head, is_completes)) {
            refuse(guest, is_completes ? "completes" : "requests");
            return false;
        }
        look_ahead(guest, ring);
        now_ns = now_of_step(i, now_ns);
        to_core(guest, head, now_ns);
    }
    ring_consumed(ring);
    return is_read;
}

/* The spec of a submit: in the slot, or in the store, from where it is copied before it is looked at. */
static const struct spec *take_spec(struct guest *guest, const struct task_ring_item *item, struct wire_submit *submit)
{
    size_t head = offsetof(struct wire_submit, u);
    if (item->bytes < sizeof *submit) {
        error_set(ROOST_EINVAL, "a submit of %u bytes", item->bytes);
        return NULL;
    }
    memcpy(submit, item->payload, sizeof *submit);
    const void *from = item->payload + head;
    if (!submit->is_inline) {
        struct store_place place = { submit->u.place.offset, submit->spec_bytes, submit->u.place.segment };
        from = submit->u.place.offset % 8 == 0 ? store_bytes(guest->daemon->store, place) : NULL;
    }
    if (from == NULL || submit->spec_bytes > PROTO_FRAME_BYTES_MAX ||
        (submit->is_inline && submit->spec_bytes > item->bytes - head)) {
        error_set(ROOST_EINVAL, "a submit whose spec of %u bytes lies outside", submit->spec_bytes);
        return NULL;
    }
    void *copy = malloc(submit->spec_bytes + (size_t)8);
    if (copy == NULL) {
        error_set(ROOST_ENOMEM, "a spec of %u bytes", submit->spec_bytes);
        return NULL;
    }
    memcpy(copy, from, submit->spec_bytes);
    if (spec_check(copy, submit->spec_bytes) != 0) {
        free(copy);
        return NULL;
    }
    return copy;
}

static void drain_submits(struct guest *guest, uint32_t count)
{
    for (; count > 0 && may_read(guest); count--) {
        struct task_ring_item item;
        struct wire_submit submit;
        int taken = task_ring_claim(&guest->submits, &item);
        if (taken == 0) {
            return;
        }
        const struct spec *spec = taken > 0 ? take_spec(guest, &item, &submit) : NULL;
        if (spec == NULL) {
            refuse(guest, "submits");
            return;
        }
        struct agent_submit entry = { .head = { AGENT_SUBMIT, sizeof entry, item.ticket },
                                      .scope = submit.scope,
                                      .attempt = submit.attempt,
                                      .spec = spec };
        if (!submit.is_inline) {
            entry.place = submit.u.place;
        }
        to_core(guest, &entry.head, loop_now_ns());
        free((void *)(uintptr_t)spec);
    }
}

static bool may_have_submits(struct guest *guest) { return task_ring_has_queued(&guest->submits); }

/* In this order: first where completes end, then where submits end (an attempt's calls come before its completion),
 * then requests, then up to those ends. */
static void drain(struct guest *guest)
{
    bool is_worker = guest->role == CLIENT_WORKER;
    uint64_t completes = is_worker ? ring_snapshot(&guest->completes) : 0;
    uint32_t submits = may_have_submits(guest) ? task_ring_queued_count(&guest->submits) : 0;
    if (!drain_ring(guest, &guest->requests, ring_snapshot(&guest->requests), false)) {
        return; /* the others would overtake what came before them */
    }
    drain_submits(guest, submits);
    if (is_worker) {
        drain_ring(guest, &guest->completes, completes, true);
    }
}

static bool has_more(struct guest *guest)
{
    if (!may_read(guest)) {
        return false;
    }
    return !ring_is_empty(&guest->requests) || may_have_submits(guest) ||
           (guest->role == CLIENT_WORKER && !ring_is_empty(&guest->completes));
}

void guest_is_over(struct guest *guest)
{
    struct daemon *daemon = guest->daemon;
    guest->is_dead = true; /* nothing is said to it any more, so nothing is late */
    guest->late_bytes = 0;
    for (int i = 0; i < 2; i++) { /* the second round takes what the first one's snapshots left */
        drain(guest);
    }
    struct core_event event = { .kind = CORE_CLIENT_GONE,
                                .u.client = { .client = guest->key,
                                              .status = guest->process != NULL ? guest->process->wait_status : 0 } };
    daemon_step(daemon, &event);
    guest_destroy(guest);
}

static void is_done(struct daemon *daemon, uint64_t token, uint64_t now_ns)
{
    struct core_event event = { .kind = CORE_DONE, .u.done.token = token };
    step_at(daemon, &event, now_ns);
}

static void tell_what_is_done(struct daemon *daemon)
{
    while (daemon->done_count > 0) {
        is_done(daemon, daemon->done[--daemon->done_count], loop_now_ns());
    }
}

/* Bytes that nobody reads any more go back to the core. A few that are still read are looked at again soon. */

static void scan(struct daemon *daemon)
{
    /* clients ring when they give something up, and what is retired is looked at in every turn */
    store_set_room_wanted(daemon->store, agent_wants_room(daemon->core));
    static uint64_t tokens[TURN_SCAN_MAX];
    bool is_due = daemon->store->waiting_count > 0 && (daemon->scan_is_due || store_scan_is_due(daemon->store));
    uint64_t now_ns = 0;
    int found = 0;
    for (int taken = 0; is_due && taken >= 0; is_due = daemon->store->waiting_next != 0) {
        taken = store_scan(daemon->store, tokens, TURN_SCAN_MAX);
        for (int i = 0; i < taken; i++) {
            if (i + SCAN_AHEAD < taken) {
                agent_foresee_done(daemon->core, tokens[i + SCAN_AHEAD], tokens[i + SCAN_AHEAD / 2]);
            }
            now_ns = now_of_step(i, now_ns);
            is_done(daemon, tokens[i], now_ns);
        }
        found += taken > 0;
    }
    if (found > 0 || daemon->store->waiting_count == 0) {
        daemon->scan_pause_ns = TURN_LOOK_NS;
    } else if (daemon->scan_is_due) { /* long held views: not so often */
        daemon->scan_pause_ns = daemon->scan_pause_ns * 2 < TURN_LOOK_NS_MAX ? daemon->scan_pause_ns * 2
                                                                             : TURN_LOOK_NS_MAX;
    }
    daemon->scan_is_due = false;
}

/* What clients have noted of their reading; a note may be old, or of an entry that is another object's by now. */
static uint32_t take_touched(struct daemon *daemon, struct guest *guest, struct agent_names *names)
{
    uint32_t indices[CLIENT_TOUCHED], count = store_client_touched(guest->store_client, indices);
    names->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct table_entry entry;
        if (table_read(&daemon->store->table, indices[i], &entry) == TABLE_FOUND) {
            names->ids[names->count++] = entry.id;
        }
    }
    return names->count;
}

static void tell_touched(struct daemon *daemon)
{
    uint64_t now_ns = loop_now_ns();
    if (now_ns < daemon->touches_due_ns || !agent_wants_touches(daemon->core)) {
        return;
    }
    daemon->touches_due_ns = now_ns + TURN_LOOK_NS;
    static struct {
        struct agent_names names;
        struct object_id ids[CLIENT_TOUCHED];
    } touched;
    LIST_EACH (at, &daemon->guests) {
        struct guest *guest = CONTAINER_OF(at, struct guest, all);
        if (guest->store_client != NULL && take_touched(daemon, guest, &touched.names) > 0) {
            struct core_event event = { .kind = CORE_DONE,
                                        .u.done = { .token = agent_token(AGENT_TOKEN_TOUCHED, 0),
                                                    .data = &touched.names,
                                                    .bytes = sizeof touched.names +
                                                             touched.names.count * sizeof touched.ids[0] } };
            daemon_step(daemon, &event);
        }
    }
}

static bool anybody_is_late(const struct daemon *daemon)
{
    LIST_EACH (at, (struct list_node *)(uintptr_t)&daemon->guests) {
        if (CONTAINER_OF(at, struct guest, all)->late_bytes > 0) {
            return true;
        }
    }
    return false;
}

/* Nobody rings when a pin goes or an answer is read: another look in a while. */
static void look_again_later(struct daemon *daemon)
{
    bool is_late = anybody_is_late(daemon);
    if (!daemon->scan_is_armed && (is_late || daemon->store->waiting_count > 0)) {
        daemon->scan_is_armed = true;
        loop_timer_arm(&daemon->scan_timer, loop_now_ns() + (is_late ? TURN_LOOK_NS : daemon->scan_pause_ns));
    }
}

static void drain_all(struct daemon *daemon)
{
    LIST_EACH (at, &daemon->guests) {
        struct guest *guest = CONTAINER_OF(at, struct guest, all);
        if (!guest->is_dead) {
            guest_say_late(guest);
            drain(guest);
        }
    }
    if (daemon->drain_wanted) {
        daemon->drain_wanted = false;
        struct core_event event = { .kind = CORE_DRAINED };
        daemon_step(daemon, &event);
    }
}

static void bury(struct daemon *daemon)
{
    LIST_EACH_SAFE (at, &daemon->guests) {
        struct guest *guest = CONTAINER_OF(at, struct guest, all);
        if (guest->is_dead) {
            guest_is_over(guest);
        }
    }
}

static bool anything_left(struct daemon *daemon)
{
    LIST_EACH (at, &daemon->guests) {
        struct guest *guest = CONTAINER_OF(at, struct guest, all);
        if (guest->is_dead || has_more(guest)) {
            return true;
        }
    }
    return daemon->drain_wanted;
}

void daemon_turn(void *arg)
{
    struct daemon *daemon = arg;
    agent_bell_awake(&daemon->node_page->bell);
    tell_touched(daemon);
    drain_all(daemon);
    bury(daemon);
    tell_what_is_done(daemon);
    scan(daemon);
    LIST_EACH (at, &daemon->guests) {
        guest_ring_bells(CONTAINER_OF(at, struct guest, all));
    }
    look_again_later(daemon);
    network_flush(daemon->network);
    agent_bell_asleep(&daemon->node_page->bell);
    if (anything_left(daemon)) {
        agent_bell_awake(&daemon->node_page->bell);
        daemon_again(daemon);
    }
}

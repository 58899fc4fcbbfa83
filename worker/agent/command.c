/* command.c - doing what the core says
 *
 * One function per kind of command; none of them steps the core, so a step's commands all run before the next event.
 * Failures: a client that does not read its answers gets them later, up to CLIENT_LATE_BYTES_MAX, then it is ended.
 *           an entry that the table does not take is an error, of which not every one is logged; how many there may be
 *           is the core's to know.
 * Thread: the loop's.
 */
#define LOG_TOPIC "command"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/daemon_internal.h"

#include <stdlib.h>
#include <string.h>

static struct doorbell *bell_of(struct guest *guest, uint32_t bell) { return &guest->bell_page->of[bell].doorbell; }

_Static_assert(CLIENT_DOORBELLS == 63, "a bit per bell; the last is nobody's");

void guest_ring_bells(struct guest *guest)
{
    for (; guest->bells != 0; guest->bells &= guest->bells - 1) {
        doorbell_ring(bell_of(guest, (uint32_t)__builtin_ctzll(guest->bells)));
    }
}

static bool put(struct ring_producer *ring, const void *entry, size_t bytes)
{
    void *to = ring_reserve(ring, bytes);
    if (to == NULL) {
        return false;
    }
    memcpy(to, entry, bytes);
    ring_commit(ring);
    return true;
}

/* Late entries lie one after the other, each with its own size in its head. */
static bool keep_for_later(struct guest *guest, const void *entry, size_t bytes)
{
    if (guest->late_bytes + bytes > CLIENT_LATE_BYTES_MAX) {
        return false;
    }
    if (guest->late_bytes + bytes > guest->late_capacity) {
        size_t capacity = guest->late_capacity * 2 > guest->late_bytes + bytes ? guest->late_capacity * 2
                                                                               : guest->late_bytes + bytes;
        unsigned char *more = realloc(guest->late, capacity);
        if (more == NULL) {
            return false;
        }
        guest->late = more;
        guest->late_capacity = capacity;
    }
    memcpy(guest->late + guest->late_bytes, entry, bytes);
    guest->late_bytes += bytes;
    return true;
}

bool guest_say(struct guest *guest, struct ring_producer *ring, const void *entry, size_t bytes, bool droppable)
{
    if (guest->is_dead || guest->is_condemned || (guest->late_bytes == 0 && put(ring, entry, bytes))) {
        return true;
    }
    if (droppable) {
        return false;
    }
    if (!keep_for_later(guest, entry, bytes)) {
        log_error("event=answers_not_read pid=%lld late_bytes=%zu", (long long)guest->pid, guest->late_bytes);
        guest_kill(guest);
    }
    return true;
}

static struct ring_producer *ring_of(struct guest *guest, const struct wire_entry *entry)
{
    return entry->kind == WIRE_TAKEN ? &guest->taken : &guest->replies;
}

void guest_say_late(struct guest *guest)
{
    size_t said = 0;
    while (said < guest->late_bytes) {
        struct wire_entry head;
        memcpy(&head, guest->late + said, sizeof head);
        if (!put(ring_of(guest, &head), guest->late + said, head.bytes)) {
            break;
        }
        said += head.bytes;
    }
    if (said > 0) {
        memmove(guest->late, guest->late + said, guest->late_bytes - said);
        guest->late_bytes -= said;
        guest->bells = UINT64_MAX >> 1; /* which of them waits is not remembered with the entries */
    }
}

static void reply(struct daemon *daemon, const struct core_command *command)
{
    struct guest *guest = guest_find(daemon, core_client_of(command->to));
    const struct wire_entry *entry = core_body(command);
    if (guest == NULL) {
        return;
    }
    guest_say(guest, ring_of(guest, entry), entry, entry->bytes, false);
    if (command->token != 0) {
        guest->bells |= UINT64_C(1) << (command->token - 1);
    }
    if (entry->kind == WIRE_TAKEN && ring_space(&guest->taken) < CLIENT_SMALL_RING_BYTES / 2) {
        guest->bells |= 1; /* nobody waits for these; the library's thread is woken before the ring is full */
    }
}

static void push_task(struct daemon *daemon, const struct core_command *command)
{
    struct guest *guest = guest_find(daemon, core_client_of(command->to));
    const struct agent_task *body = core_body(command);
    if (guest == NULL) {
        return;
    }
    unsigned char payload[TASK_PAYLOAD_BYTES_MAX];
    size_t head = offsetof(struct wire_task, u), bytes = sizeof body->task;
    memcpy(payload, &body->task, sizeof body->task);
    if (body->task.is_inline) {
        memcpy(payload + head, body->spec, body->spec->bytes);
        bytes = head + body->spec->bytes;
    }
    if (guest->process != NULL) {
        strcpy(guest->process->function, spec_function(body->spec)); /* at most ROOST_NAME_BYTES_MAX: checked */
    }
    int status = task_ring_push(&guest->tasks, body->task.run, body->task.attempt, payload, bytes, NULL);
    if (status != 0) {
        log_error("event=task_ring_broken pid=%lld status=%s", (long long)guest->pid, error_code_name(status));
        guest_kill(guest);
        return;
    }
    guest->bells |= UINT64_C(1) << CLIENT_BELL_TASKS;
}

/* The memory has a holder, or none. Laid out with the first; later ones find both rings empty and the tickets
 * counting. */
static void set_lease(struct daemon *daemon, const struct core_command *command)
{
    struct guest *guest = guest_find(daemon, core_client_of(command->to));
    const struct agent_lease *body = core_body(command);
    if (guest == NULL || guest->lease_page == NULL) {
        return;
    }
    if (guest->lease_page->magic == 0) {
        lease_page_format(guest->lease_page);
    }
    guest->lease_holder = body->holder;
    atomic_store_explicit(&guest->lease_page->holder, body->holder.slot, memory_order_relaxed);
    /* release: who reads the number finds the memory laid out and its holder's slot */
    atomic_store_explicit(&guest->lease_page->lease, body->number, memory_order_release);
}

static void publish(struct daemon *daemon, const struct agent_entry *body)
{
    const struct wire_object *object = &body->object;
    struct table_entry entry = { .id = object->id,
                                 .offset = object->place.offset,
                                 .size = object->size,
                                 .columns = object->columns,
                                 .refs = object->refs,
                                 .version = body->version,
                                 .segment = (uint16_t)object->place.segment,
                                 .state = TABLE_SEALED,
                                 .format = (uint8_t)object->format };
    if (body->status != 0) {
        entry.state = TABLE_FAILED;
        entry.offset = (uint64_t)(int64_t)body->status;
    }
    uint32_t index;
    bool is_there = table_find(&daemon->store->table, object->id, &index) == TABLE_FOUND; /* evicted, or revived */
    int status = is_there ? store_update(daemon->store, index, &entry) : store_publish(daemon->store, &entry, &index);
    if (status != 0) {
        char id[ID_TEXT_BYTES], text[ERROR_TEXT_BYTES + 2];
        log_error_sparsely("event=not_published object=%s status=%s why=%s", object_id_print(object->id, id),
                           error_code_name(status), log_quote(error_text(), text, sizeof text));
    }
}

/* Done already, which the core hears of at the turn's end: an object that found no place in the table has no pins to
 * wait for. */
static void done_at_once(struct daemon *daemon, uint64_t token)
{
    if (daemon->done_count == daemon->done_capacity) {
        size_t capacity = daemon->done_capacity * 2 + 64;
        uint64_t *more = realloc(daemon->done, capacity * sizeof *more);
        ROOST_INVARIANT(more != NULL);
        daemon->done = more;
        daemon->done_capacity = capacity;
    }
    daemon->done[daemon->done_count++] = token;
}

static void retire(struct daemon *daemon, const struct agent_entry *body, uint64_t token)
{
    uint32_t index;
    if (table_find(&daemon->store->table, body->object.id, &index) != TABLE_FOUND) {
        done_at_once(daemon, token);
        return;
    }
    int status = store_retire(daemon->store, index, token);
    ROOST_INVARIANT(status == 0); /* a few bytes of memory: a node without them cannot go on */
}

/* Its id is named again: what waits for its pins goes on waiting, the entry is the new object's. */
static void revive(struct daemon *daemon, const struct agent_entry *body)
{
    uint32_t index;
    if (table_find(&daemon->store->table, body->object.id, &index) == TABLE_FOUND) {
        store_revive(daemon->store, index);
    }
}

/* The copy here is given up: readers that come now ask the agent, those that are there go on. */
static void evict(struct daemon *daemon, const struct agent_entry *body, uint64_t token)
{
    uint32_t index;
    if (table_find(&daemon->store->table, body->object.id, &index) != TABLE_FOUND) {
        done_at_once(daemon, token);
        return;
    }
    struct table_entry entry = { .id = body->object.id, .state = TABLE_LOST };
    int status = store_move(daemon->store, index, &entry, token);
    ROOST_INVARIANT(status == 0);
}

void daemon_run_command(struct daemon *daemon, const struct core_command *command)
{
    switch (command->kind) {
    case CORE_REPLY:
        reply(daemon, command);
        break;
    case CORE_TASK:
        push_task(daemon, command);
        break;
    case CORE_LEASE:
        set_lease(daemon, command);
        break;
    case CORE_TABLE: {
        const struct agent_entry *body = core_body(command);
        switch (body->op) {
        case AGENT_ENTRY_PUBLISH:
            publish(daemon, body);
            break;
        case AGENT_ENTRY_RETIRE:
            retire(daemon, body, command->token);
            break;
        case AGENT_ENTRY_EVICT:
            evict(daemon, body, command->token);
            break;
        case AGENT_ENTRY_REVIVE:
            revive(daemon, body);
            break;
        }
        break;
    }
    case CORE_WRITE: {
        const struct agent_write *body = core_body(command);
        struct store_place place = { body->place.offset, body->place.bytes, body->place.segment };
        ROOST_INVARIANT(store_write(daemon->store, place, 0, body->data, body->bytes) == 0);
        break;
    }
    case CORE_ARM:
        alarms_arm(daemon->alarms, command->token, command->at_ns);
        break;
    case CORE_DISARM:
        alarms_disarm(daemon->alarms, command->token);
        break;
    case CORE_SPAWN:
        process_start(daemon, command->token, core_body(command));
        break;
    case CORE_KILL:
        process_kill(daemon, command->token, (int)command->to);
        break;
    case CORE_DRAIN:
        daemon->drain_wanted = true;
        break;
    case CORE_CLOSE: {
        struct guest *guest = guest_find(daemon, core_client_of(command->to));
        if (guest != NULL) {
            guest_kill(guest);
        }
        break;
    }
    case CORE_SEND:
        network_send(daemon->network, command->to, command->token, core_body(command));
        break;
    case CORE_PULL:
        network_pull(daemon->network, command->token, core_body(command));
        break;
    case CORE_WAKE: /* names of another agent's; no client of this one asks for such, so nobody holds them for longer */
        done_at_once(daemon, command->token);
        break;
    case CORE_FILLER:
    case CORE_SPILL:
    case CORE_COMMIT:
        ROOST_IMPOSSIBLE("the agent's core gives no such command");
    }
}

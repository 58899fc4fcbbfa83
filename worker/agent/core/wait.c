/* wait.c - who waits for which objects
 *
 * Owns the waits of clients. A wait names refs, says how many it wants, and is answered exactly once. The questions
 * where copies are, and the wishes to have one here, are waits too, as the object may not be known yet.
 *
 * Happy path: all entries of the token arrive -> enough refs are ready -> READY, and the bell.
 *             LOCATE -> the state is known, and of what the head knows, its word has come -> LOCATIONS, and the bell.
 *             PREFETCH -> its bytes are somewhere -> the pull is begun; no answer.
 * Failures:   a ref that is gone counts as ready, with ROOST_EFREED in its place; one that cannot be brought here with
 *             ROOST_EFULL, and WHY says the reason;
 *             the client's own deadline passes -> it sends UNWAIT and gets the answer as it stands.
 *             no head -> LOCATIONS as far as is known here; a PREFETCH over the limit is dropped, as a hint may be.
 * Invariants: ready is the number of refs whose state is not 0; a ref is on its object's list while it is 0, and that
 *             of a LOCATE until it is answered.
 * Thread: the agent's loop.
 */
#include "common/bytes.h"
#include "worker/agent/core/agent_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WAIT_REFS_MAX = 1 << 20, WAIT_READY_PER_ENTRY = 16384, REFS_AHEAD = 8 };

static struct wait *find(struct client *client, uint64_t token)
{
    return id_map_get(&client->waits_by_token, serial_key(token));
}

/* This node's own copy first, then those that the head told of. What has failed has none: its words are no copy. */
static uint32_t copies_of(struct agent *agent, const struct object *object, struct node_id *nodes_out)
{
    uint32_t count = 0;
    if (object == NULL || object->value.format == TABLE_ERROR) {
        return 0;
    }
    if (object->state == OBJECT_HERE) {
        nodes_out[count++] = agent->config.node;
    }
    for (uint32_t i = 0; i < object->holders_count && i < PROTO_HOLDERS_MAX; i++) {
        const struct member *member = member_find(agent, object->holders[i]);
        if (member != NULL && member->is_alive && object->holders[i] != agent->self.node) {
            nodes_out[count++] = member->id;
        }
    }
    return count;
}

static void answer_locate(struct agent *agent, const struct wait *wait)
{
    const struct wait_ref *asked = &wait->refs[0];
    struct node_id nodes[PROTO_HOLDERS_MAX + 1];
    uint32_t count = asked->ready < 0 ? 0 : copies_of(agent, asked->object, nodes);
    size_t bytes = align_up(sizeof(struct wire_locations) + count * sizeof(struct node_id), 8);
    struct wire_locations *answer = core_put(agent->out, CORE_REPLY, core_client_key(wait->client->key),
                                             1 + (uint64_t)wait->bell, bytes);
    answer->head = (struct wire_entry){ WIRE_LOCATIONS, (uint32_t)bytes, wait->token };
    answer->status = asked->ready < 0 ? asked->ready : 0;
    answer->total = answer->count = count;
    memcpy(answer->nodes, nodes, count * sizeof *nodes);
}

static void answer_ready(struct agent *agent, const struct wait *wait)
{
    for (uint32_t first = 0; first == 0 || first < wait->total; first += WAIT_READY_PER_ENTRY) {
        uint32_t left = wait->total - first, count = left < WAIT_READY_PER_ENTRY ? left : WAIT_READY_PER_ENTRY;
        size_t bytes = align_up(sizeof(struct wire_ready) + count, 8);
        bool is_last = first + count == wait->total;
        struct wire_ready *ready = core_put(agent->out, CORE_REPLY, core_client_key(wait->client->key),
                                            is_last ? 1 + (uint64_t)wait->bell : 0, bytes);
        ready->head = (struct wire_entry){ WIRE_READY, (uint32_t)bytes, wait->token };
        ready->first = first;
        ready->count = count;
        ready->total = wait->total;
        for (uint32_t i = 0; i < count; i++) {
            ready->ready[i] = wait->refs[first + i].ready;
        }
    }
}

static void answer(struct agent *agent, const struct wait *wait)
{
    switch (wait->kind) {
    case WAIT_READY:
        answer_ready(agent, wait);
        break;
    case WAIT_LOCATE:
        answer_locate(agent, wait);
        break;
    case WAIT_PREFETCH:
        break;
    }
}

/* Lists the ref with `object`, whose record stays for as long. */
static void attend(struct agent *agent, struct wait_ref *waiting, struct object *object)
{
    waiting->object = object;
    object_name(agent, object, &object->uses);
    list_append(&object->waits, &waiting->of_object);
}

static void stop_attending(struct agent *agent, struct wait_ref *waiting)
{
    struct object *object = waiting->object;
    if (object != NULL) {
        waiting->object = NULL;
        list_remove(&waiting->of_object);
        object_unname(agent, object, &object->uses);
    }
}

static void destroy(struct agent *agent, struct wait *wait)
{
    for (uint32_t i = 0; i < wait->arrived; i++) {
        stop_attending(agent, &wait->refs[i]);
    }
    if (wait->blocked != NULL) {
        attempt_unblock(agent, wait->blocked);
    }
    if (wait->blocked_run != NULL) {
        lease_unblock(agent, wait->blocked_run->lease);
    }
    wait->client->waited_count -= wait->kind == WAIT_READY ? wait->total : 0;
    wait->client->prefetches -= wait->kind == WAIT_PREFETCH;
    list_remove(&wait->of_client);
    if (wait->kind != WAIT_PREFETCH) {
        id_map_remove(&wait->client->waits_by_token, serial_key(wait->token));
    }
    free(wait->refs);
    free(wait);
}

static void finish(struct agent *agent, struct wait *wait)
{
    answer(agent, wait);
    destroy(agent, wait);
}

/* What a ref of this object is worth to a waiter now: 0 not yet, 1 ready, or a status. */
static int8_t readiness(const struct wait *wait, const struct object *object)
{
    switch (object->state) {
    case OBJECT_UNKNOWN:
    case OBJECT_PENDING:
        return 0;
    case OBJECT_HERE:
        return 1;
    case OBJECT_ELSEWHERE:
        return (wait->flags & WIRE_WAIT_FETCH) == 0;
    case OBJECT_FAILED:
        return (int8_t)object->status;
    case OBJECT_DYING:
        return ROOST_EFREED;
    }
    ROOST_IMPOSSIBLE("an object is in no state");
}

static void want_word(struct agent *agent, struct object *object)
{
    if (object->is_public && object->state != OBJECT_ELSEWHERE) {
        link_want(agent, object);
    }
}

/* A forward that is elsewhere: where it leads to is seen once it is here. */
static bool leads_on_elsewhere(const struct object *object)
{
    return object->state == OBJECT_ELSEWHERE && object->value.format == TABLE_FORWARD;
}

/* Of what the head knows it is asked each time: copies come and go without our knowledge. */
static void look_for_copies(struct agent *agent, struct wait_ref *waiting, struct object *first)
{
    struct object *object = object_behind(first, &waiting->ref);
    waiting->is_told = waiting->is_told && object == first;
    attend(agent, waiting, object); /* also for its answer */
    if (leads_on_elsewhere(object)) {
        pull_want(agent, object, PROTO_PULL_BLOCKED);
    } else if (object->state == OBJECT_UNKNOWN) {
        want_word(agent, object);
    } else if (object->state == OBJECT_FAILED) {
        waiting->ready = object->status == ROOST_EFREED ? ROOST_EFREED : 1;
    } else if (!object->is_public || !agent->head_is_up || waiting->is_told) {
        waiting->ready = 1;
    } else {
        object->is_wanted = false; /* the answer is wanted anew */
        link_want(agent, object);
    }
}

static void look_ahead(struct agent *agent, struct wait_ref *waiting, struct object *first)
{
    struct object *object = object_behind(first, &waiting->ref);
    if (object->state == OBJECT_UNKNOWN || object->state == OBJECT_PENDING || leads_on_elsewhere(object)) {
        attend(agent, waiting, object);
        want_word(agent, object);
    } else {
        waiting->ready = 1;
    }
    if (object->state == OBJECT_ELSEWHERE) {
        bool is_small = object->value.format == TABLE_FORWARD || object->value.format == TABLE_ERROR;
        struct object *bytes = is_small || object->whole != NULL ? object : object_part(agent, object, waiting->ref);
        if (bytes->state == OBJECT_ELSEWHERE) {
            pull_want(agent, bytes, PROTO_PULL_PREFETCH);
        }
    }
}

/* Where the value of a ref stands: the whole's record, or, when it is elsewhere and wanted here, that of the part. */
static void look_for_value(struct agent *agent, struct wait_ref *waiting, struct object *object)
{
    struct wait *wait = waiting->wait;
    if ((wait->flags & WIRE_WAIT_FOLLOW) != 0) {
        object = object_behind(object, &waiting->ref);
    }
    waiting->ready = readiness(wait, object);
    if (waiting->ready == 0 && object->whole != NULL && object->whole->state != OBJECT_ELSEWHERE) {
        waiting->ready = readiness(wait, object->whole); /* of a part that is not needed any more */
    }
    if (waiting->ready != 0) {
        return;
    }
    if (object->state == OBJECT_ELSEWHERE && object->whole == NULL) {
        bool is_pointer = object->value.format == TABLE_FORWARD || object->value.format == TABLE_ERROR;
        struct object *bytes = is_pointer ? object : object_part(agent, object, waiting->ref);
        waiting->ready = readiness(wait, bytes);
        if (waiting->ready == 0) {
            attend(agent, waiting, bytes);
            pull_want(agent, bytes, PROTO_PULL_BLOCKED);
        }
        return;
    }
    attend(agent, waiting, object);
    want_word(agent, object);
}

static void look_at(struct agent *agent, struct wait_ref *waiting, struct object *object)
{
    switch (waiting->wait->kind) {
    case WAIT_READY:
        look_for_value(agent, waiting, object);
        break;
    case WAIT_LOCATE:
        look_for_copies(agent, waiting, object);
        break;
    case WAIT_PREFETCH:
        look_ahead(agent, waiting, object);
        break;
    }
}

static void add_ref(struct agent *agent, struct wait *wait, roost_ref ref)
{
    struct wait_ref *waiting = &wait->refs[wait->arrived++];
    *waiting = (struct wait_ref){ .wait = wait, .ref = ref };
    list_init(&waiting->of_object);
    if (object_id_is_none(object_id_of(ref))) {
        waiting->ready = ROOST_EFREED;
    } else {
        look_at(agent, waiting, object_demand(agent, object_id_of(ref)));
    }
    wait->ready += waiting->ready != 0;
}

static struct wait *begin(struct agent *agent, struct client *client, const struct wire_wait *entry,
                          enum wait_kind kind)
{
    bool is_own = (entry->flags & WIRE_WAIT_OWN) != 0 && entry->total == 0 && entry->wanted == 1;
    if (entry->total > WAIT_REFS_MAX || (entry->wanted > entry->total && !is_own) || entry->bell >= CLIENT_DOORBELLS) {
        client_broken(agent, client, "WAIT with counts or a bell out of range");
        return NULL;
    }
    bool is_too_much = kind == WAIT_READY && client->waited_count + entry->total > CLIENT_WAITED_MAX;
    if (is_too_much || client->waits_by_token.count == CLIENT_WAITED_MAX) {
        client_broken(agent, client, "WAIT for more refs at once than a client may");
        return NULL;
    }
    struct wait *wait = agent_alloc(sizeof *wait);
    *wait = (struct wait){ .kind = kind,
                           .client = client,
                           .token = entry->head.token,
                           .scope = entry->scope,
                           .total = entry->total,
                           .wanted = entry->wanted,
                           .flags = entry->flags,
                           .bell = entry->bell,
                           .refs = agent_alloc((entry->total + (size_t)1) * sizeof(struct wait_ref)) };
    list_append(&client->waits, &wait->of_client);
    client->waited_count += kind == WAIT_READY ? wait->total : 0;
    client->prefetches += kind == WAIT_PREFETCH;
    if (kind != WAIT_PREFETCH) { /* which has no token */
        ROOST_INVARIANT(id_map_put(&client->waits_by_token, serial_key(wait->token), wait) == 0);
    }
    return wait;
}

void wait_entry(struct agent *agent, struct client *client, const struct wire_wait *entry)
{
    struct wait *wait = find(client, entry->head.token);
    bool is_new = wait == NULL;
    if (is_new) {
        wait = begin(agent, client, entry, WAIT_READY);
        if (wait == NULL) {
            return;
        }
    }
    if (entry->count > wait->total - wait->arrived || (!is_new && wait->arrived == wait->total)) {
        client_broken(agent, client, "WAIT with more refs than it announced");
        return;
    }
    for (uint32_t i = 0; i < entry->count; i++) {
        if (i + REFS_AHEAD < entry->count) {
            object_foresee(agent, object_id_of(entry->refs[i + REFS_AHEAD]),
                           object_id_of(entry->refs[i + REFS_AHEAD / 2]));
        }
        add_ref(agent, wait, entry->refs[i]);
    }
    if (wait->arrived < wait->total) {
        return;
    }
    if (wait->ready >= wait->wanted) {
        finish(agent, wait);
        return;
    }
    struct attempt *attempt = wait->scope == 0 ? NULL : attempt_find(agent, wait->scope);
    if ((wait->flags & WIRE_WAIT_BLOCKS) != 0 && attempt != NULL && attempt->worker->client == client) {
        wait->blocked = attempt;
        attempt_block(agent, attempt);
    }
    struct leased_run *run = leased_run_find(client, wait->scope);
    if ((wait->flags & WIRE_WAIT_BLOCKS) != 0 && run != NULL) {
        wait->blocked_run = run;
        lease_block(agent, run->lease);
    }
}

static void ask_begin(struct agent *agent, struct client *client, const struct wire_ask *ask, enum wait_kind kind)
{
    const struct wire_wait entry = {
        .head.token = ask->head.token, .total = 1, .wanted = 1, .bell = ask->bell % CLIENT_DOORBELLS
    };
    struct wait *wait = begin(agent, client, &entry, kind);
    if (wait != NULL) {
        add_ref(agent, wait, ask->ref);
        if (wait->ready == wait->wanted) {
            finish(agent, wait);
        }
    }
}

void wait_locate(struct agent *agent, struct client *client, const struct wire_ask *ask)
{
    if (find(client, ask->head.token) != NULL) {
        client_broken(agent, client, "LOCATE under the token of another question");
        return;
    }
    ask_begin(agent, client, ask, WAIT_LOCATE);
}

void wait_prefetch(struct agent *agent, struct client *client, const struct wire_ask *ask)
{
    if (client->prefetches < CLIENT_PREFETCHES_MAX) {
        ask_begin(agent, client, ask, WAIT_PREFETCH);
    }
}

void wait_end(struct agent *agent, struct client *client, uint64_t token)
{
    struct wait *wait = find(client, token);
    if (wait != NULL) { /* else it was answered while UNWAIT was on its way */
        finish(agent, wait);
    }
}

void wait_drop_all(struct agent *agent, struct client *client)
{
    LIST_EACH_SAFE (at, &client->waits) {
        destroy(agent, CONTAINER_OF(at, struct wait, of_client));
    }
}

void wait_object_changed(struct agent *agent, struct object *object)
{
    struct list_node changed; /* a ref may come back onto the list: each is looked at once */
    list_init(&changed);
    list_append_all(&changed, &object->waits);
    while (!list_is_empty(&changed)) {
        struct wait_ref *waiting = CONTAINER_OF(changed.next, struct wait_ref, of_object);
        struct wait *wait = waiting->wait;
        stop_attending(agent, waiting);
        look_at(agent, waiting, object);
        wait->ready += waiting->ready != 0;
        if (wait->ready >= wait->wanted && wait->arrived == wait->total) {
            finish(agent, wait);
        }
    }
}

static void say_why(struct agent *agent, struct wait *wait, uint32_t index, const char *text)
{
    size_t length = strlen(text), bytes = align_up(offsetof(struct wire_why, text) + length, 8);
    struct wire_why *why = core_put(agent->out, CORE_REPLY, core_client_key(wait->client->key), 0, bytes);
    why->head = (struct wire_entry){ WIRE_WHY, (uint32_t)bytes, wait->token };
    why->index = index;
    why->text_bytes = (uint32_t)length;
    memcpy(why->text, text, length);
    wait->has_said_why = true;
}

void wait_object_refused(struct agent *agent, struct object *object, int32_t status, const char *why)
{
    while (!list_is_empty(&object->waits)) {
        struct wait_ref *waiting = CONTAINER_OF(object->waits.next, struct wait_ref, of_object);
        struct wait *wait = waiting->wait;
        stop_attending(agent, waiting);
        waiting->ready = (int8_t)status;
        wait->ready++;
        if (wait->kind == WAIT_READY && !wait->has_said_why) {
            say_why(agent, wait, (uint32_t)(waiting - wait->refs), why);
        }
        if (wait->ready >= wait->wanted && wait->arrived == wait->total) {
            finish(agent, wait);
        }
    }
}

void wait_object_told(struct object *object)
{
    LIST_EACH (at, &object->waits) {
        CONTAINER_OF(at, struct wait_ref, of_object)->is_told = true;
    }
}

static void answer_alone(struct agent *agent, struct wait *wait)
{
    struct wait_ref *waiting = &wait->refs[0];
    struct object *object = waiting->object;
    stop_attending(agent, waiting);
    look_at(agent, waiting, object);
    wait->ready += waiting->ready != 0;
    if (wait->ready == wait->wanted) {
        finish(agent, wait);
    }
}

void waits_head_lost(struct agent *agent)
{
    LIST_EACH (client_at, &agent->clients) {
        LIST_EACH_SAFE (at, &CONTAINER_OF(client_at, struct client, all)->waits) {
            struct wait *wait = CONTAINER_OF(at, struct wait, of_client);
            if (wait->kind == WAIT_LOCATE) {
                answer_alone(agent, wait);
            }
        }
    }
}

/* 0: it blocks nobody. */
static uint64_t rank_of_blocked(const struct wait *wait)
{
    return wait->blocked != NULL ? wait->blocked->run : wait->blocked_run != NULL ? wait->blocked_run->rank : 0;
}

void wait_fail_newest_blocked(struct agent *agent)
{
    struct wait *newest = NULL;
    LIST_EACH (client_at, &agent->clients) {
        LIST_EACH (at, &CONTAINER_OF(client_at, struct client, all)->waits) {
            struct wait *wait = CONTAINER_OF(at, struct wait, of_client);
            if (rank_of_blocked(wait) > (newest == NULL ? 0 : rank_of_blocked(newest))) {
                newest = wait;
            }
        }
    }
    if (newest == NULL) {
        return;
    }
    for (uint32_t i = 0; i < newest->total; i++) {
        newest->refs[i].ready = newest->refs[i].ready == 0 ? ROOST_ELIMIT : newest->refs[i].ready;
    }
    finish(agent, newest);
}

/* client.c - the processes of this node that speak to the agent, and what each holds
 *
 * Owns clients (drivers and workers), their scopes and holds, and the refs that a client tells ahead of an object.
 *
 * Happy path: up -> entries -> gone. Each kind of entry has one function; the table below leads there.
 * Failures:   an entry that breaks the protocol -> the client is killed; everything that it held goes when it is gone.
 *             dead, with leases -> its end waits for the deaths of all who run what it called, and what those called, and so
 *             on: whoever makes its calls again, makes them alone. Leases may lead in a ring; the dead do not wait for the dead.
 * Invariants: a scope holds an object at most once; an object's scopes is the number of scopes that hold it.
 * Thread: the agent's loop.
 */
#define LOG_TOPIC "client"
#include "common/bytes.h"
#include "common/log.h"
#include "worker/agent/core/agent_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_AHEAD = 8 }; /* of a list are fetched while one is worked off */

static struct id_key client_key(struct core_client key) { return (struct id_key){ 2, core_client_key(key) }; }

struct client *client_find(struct agent *agent, struct core_client key)
{
    return id_map_get(&agent->clients_by_key, client_key(key));
}

uint64_t agent_client_prefix(const struct agent *agent, struct core_client client)
{
    uint64_t words[4] = { agent->config.node.hi, agent->config.node.lo, agent->config.secret, core_client_key(client) };
    return hash64(words, sizeof words, 4) | 1;
}

void client_broken(struct agent *agent, struct client *client, const char *why)
{
    log_error("event=protocol_broken client=%u pid=%lld why=\"%s\"", client->key.slot, (long long)client->pid, why);
    core_put(agent->out, CORE_CLOSE, core_client_key(client->key), 0, 0);
}

/* ------------------------------------------------------------------ scopes */

void scope_init(struct scope *scope, struct client *client, uint64_t number)
{
    *scope = (struct scope){ .number = number, .client = client };
    list_init(&scope->holds);
}

void scope_hold(struct agent *agent, struct scope *scope, struct object *object)
{
    void **at = id_map_at(&scope->held, object_id_key(object->id));
    ROOST_INVARIANT(at != NULL);
    if (*at != NULL) {
        return; /* the client counts; the agent only knows that it holds */
    }
    struct hold *hold = agent_alloc(sizeof *hold);
    hold->object = object;
    list_append(&scope->holds, &hold->of_scope);
    *at = hold;
    object_name(agent, object, &object->scopes);
}

static void drop(struct agent *agent, struct hold *hold)
{
    list_remove(&hold->of_scope);
    object_unname(agent, hold->object, &hold->object->scopes);
    free(hold);
}

void scope_free(struct agent *agent, struct scope *scope, struct object_id id)
{
    struct hold *hold = id_map_remove(&scope->held, object_id_key(id));
    if (hold != NULL) { /* freeing what is not held is the client's to report */
        drop(agent, hold);
    }
}

void scope_fini(struct agent *agent, struct scope *scope)
{
    LIST_EACH_SAFE (at, &scope->holds) {
        drop(agent, CONTAINER_OF(at, struct hold, of_scope));
    }
    id_map_fini(&scope->held);
}

struct scope *client_scope(struct agent *agent, struct client *client, uint64_t number)
{
    if (number == 0) {
        return &client->base;
    }
    struct leased_run *run = leased_run_find(client, number);
    if (run != NULL) {
        return &run->scope;
    }
    struct attempt *attempt = attempt_find(agent, number);
    return attempt != NULL && attempt->worker->client == client ? &attempt->scope : NULL;
}

/* ------------------------------------------------------------------ entries */

static struct pending_refs *pending_find(struct client *client, struct object_id container)
{
    return id_map_get(&client->refs_by_container, object_id_key(container));
}

static void pending_destroy(struct client *client, struct pending_refs *pending)
{
    client->refs_count -= pending->count;
    list_remove(&pending->of_client);
    id_map_remove(&client->refs_by_container, object_id_key(pending->container));
    free(pending->refs);
    free(pending);
}

static bool names_nothing(const struct wire_refs *refs)
{
    bool none = object_id_is_none(refs->container);
    for (uint32_t i = 0; i < refs->count; i++) {
        none = none || object_id_is_none(object_id_of(refs->refs[i]));
    }
    return none;
}

static void on_refs(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    const struct wire_refs *refs = (const struct wire_refs *)entry;
    if (client->refs_count + refs->count > 2u * ROOST_GATHER_MAX ||
        client->refs_by_container.count == CLIENT_TOLD_MAX) {
        client_broken(agent, client, "more REFS than an object may contain, or of more objects than it may announce");
        return;
    }
    if (names_nothing(refs)) {
        client_broken(agent, client, "REFS of nothing");
        return;
    }
    struct pending_refs *pending = pending_find(client, refs->container);
    if (pending == NULL) {
        pending = agent_alloc(sizeof *pending);
        pending->container = refs->container;
        list_append(&client->refs, &pending->of_client);
        ROOST_INVARIANT(id_map_put(&client->refs_by_container, object_id_key(pending->container), pending) == 0);
    }
    if (pending->count + refs->count > pending->capacity) {
        uint32_t capacity = pending->capacity * 2 > pending->count + refs->count ? pending->capacity * 2
                                                                                 : pending->count + refs->count;
        roost_ref *more = realloc(pending->refs, capacity * sizeof *more);
        ROOST_INVARIANT(more != NULL);
        pending->refs = more;
        pending->capacity = capacity;
    }
    memcpy(pending->refs + pending->count, refs->refs, refs->count * sizeof(roost_ref));
    pending->count += refs->count;
    client->refs_count += refs->count;
}

bool client_take_refs(struct agent *agent, struct client *client, const struct wire_object *object,
                      roost_ref **refs_out)
{
    struct pending_refs *pending = pending_find(client, object->id);
    if ((pending == NULL ? 0 : pending->count) != object->refs) {
        client_broken(agent, client, "an object with other refs than were told before");
        return false;
    }
    *refs_out = NULL;
    if (pending != NULL) {
        *refs_out = pending->refs;
        pending->refs = NULL;
        pending_destroy(client, pending);
    }
    return true;
}

/* An object of a client's own: its id carries the client's prefix, or its running attempt's. */
static bool may_make(struct agent *agent, struct client *client, uint64_t scope, struct object_id id)
{
    struct leased_run *run = leased_run_find(client, scope);
    if (run != NULL) {
        return id.hi == run->prefix;
    }
    struct attempt *attempt = scope == 0 ? NULL : attempt_find(agent, scope);
    return id.hi == (attempt != NULL ? attempt->prefix : client->prefix);
}

static void on_announce(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    const struct wire_announce *announce = (const struct wire_announce *)entry;
    struct scope *scope = client_scope(agent, client, announce->scope);
    struct wire_object value = announce->object;
    roost_ref *refs;
    bool is_result = !task_id_is_none(announce->task) &&
                     object_id_eq(value.id, result_id(announce->task, announce->index));
    if (scope == NULL || (!is_result && !may_make(agent, client, announce->scope, value.id))) {
        client_broken(agent, client, "ANNOUNCE under a scope or an id that is not its own");
        return;
    }
    if (!client_take_refs(agent, client, &value, &refs)) {
        return;
    }
    struct lease *lease = room_lease_of(agent, client, &value);
    struct object *object = object_find(agent, value.id);
    bool is_new = object == NULL || object->state == OBJECT_UNKNOWN;
    if ((lease == NULL && room_is_needed(&value)) || !is_new || value.format > TABLE_USER) {
        free(refs);
        client_broken(agent, client, "ANNOUNCE of bytes that it does not hold, or twice");
        return;
    }
    if (lease != NULL) {
        room_settle(agent, lease, &value);
    }
    object = object_demand(agent, value.id);
    scope_hold(agent, scope, object);
    if (is_result) {
        object_mark_own_result(agent, object);
    }
    object_arrive(agent, object, &value, lease, refs);
}

void agent_foresee(struct agent *agent, struct core_client key, struct object_id id)
{
    const struct client *client = client_find(agent, key);
    id_map_prefetch(&agent->objects_by_id, object_id_key(id));
    if (client != NULL) {
        id_map_prefetch(&client->base.held, object_id_key(id));
    }
}

static void on_names(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    const struct wire_names *names = (const struct wire_names *)entry;
    struct scope *scope = client_scope(agent, client, names->scope);
    if (scope == NULL) {
        return; /* the attempt has ended meanwhile, and with it everything that it held */
    }
    for (uint32_t i = 0; i < names->count; i++) {
        if (i + NAMES_AHEAD < names->count) {
            struct object_id soon = names->ids[i + NAMES_AHEAD], next = names->ids[i + NAMES_AHEAD / 2];
            id_map_prefetch(&scope->held, object_id_key(soon));
            __builtin_prefetch(id_map_get(&scope->held, object_id_key(next)), 1);
            object_foresee(agent, soon, next);
        }
        if (object_id_is_none(names->ids[i])) {
            client_broken(agent, client, "HOLD or FREE of nothing");
            return;
        }
        if (entry->kind == WIRE_FREE) {
            scope_free(agent, scope, names->ids[i]);
        } else {
            scope_hold(agent, scope, object_demand(agent, names->ids[i]));
        }
    }
}

static void on_room(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    room_ask(agent, client, (const struct wire_room_request *)entry);
}

static void on_room_back(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    room_give_back(agent, client, &((const struct wire_room_back *)entry)->place);
}

static void on_wait(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    wait_entry(agent, client, (const struct wire_wait *)entry);
}

static void on_unwait(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    wait_end(agent, client, entry->token);
}

static void on_prefetch(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    wait_prefetch(agent, client, (const struct wire_ask *)entry);
}

static void on_locate(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    wait_locate(agent, client, (const struct wire_ask *)entry);
}

static struct wire_node *say_node(struct agent *agent, struct client *client, const struct wire_entry *entry,
                                  uint32_t index, uint32_t total)
{
    const struct wire_ask *ask = (const struct wire_ask *)entry;
    uint64_t bell = index + 1 == total ? 1 + (uint64_t)(ask->bell % CLIENT_DOORBELLS) : 0;
    struct wire_node *node = core_put(agent->out, CORE_REPLY, core_client_key(client->key), bell, sizeof *node);
    node->head = (struct wire_entry){ WIRE_NODE, sizeof *node, entry->token };
    node->index = index;
    node->total = total;
    return node;
}

static void describe_self(const struct agent *agent, struct wire_node *node)
{
    node->node = agent->config.node;
    node->alive = 1;
    node->cpus_hundredths_total = agent->config.cpus_hundredths;
    node->cpus_hundredths_free = agent->cpus_free > 0 ? (uint32_t)agent->cpus_free : 0;
    node->memory_bytes_total = agent->config.memory_bytes;
    node->memory_bytes_free = memory_free(agent);
    node->store_bytes_total = agent->counts.bytes_total;
    node->store_bytes_free = agent->counts.bytes_total - agent->counts.bytes_used;
    memcpy(node->host, agent->config.node_name, sizeof agent->config.node_name);
}

/* As the head described it: what is free there, only the head could tell. 0 is "not known". */
static void describe_member(const struct member *member, struct wire_node *node)
{
    node->node = member->id;
    node->alive = member->is_alive;
    node->cpus_hundredths_total = member->info.cpus_hundredths;
    node->memory_bytes_total = member->info.memory_bytes;
    node->store_bytes_total = member->info.store_bytes;
    memcpy(node->host, member->host, sizeof node->host);
    memcpy(node->labels, member->labels, sizeof node->labels);
}

/* This node first. */
static void on_nodes(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    uint32_t total = 1, index = 1;
    LIST_EACH (at, &agent->members) {
        total += CONTAINER_OF(at, struct member, all)->number != agent->self.node;
    }
    describe_self(agent, say_node(agent, client, entry, 0, total));
    LIST_EACH (at, &agent->members) {
        const struct member *member = CONTAINER_OF(at, struct member, all);
        if (member->number != agent->self.node) {
            describe_member(member, say_node(agent, client, entry, index++, total));
        }
    }
}

static void on_result(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    attempt_result(agent, client, (const struct wire_result *)entry);
}

static void on_complete(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    attempt_complete(agent, client, (const struct wire_complete *)entry);
}

static void on_submit(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    task_submit(agent, client, (const struct agent_submit *)entry);
}

static void on_lease(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    lease_ask(agent, client, (const struct wire_lease *)entry);
}

static void on_lease_back(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    lease_back(agent, client, ((const struct wire_lease_back *)entry)->lease);
}

static void on_lease_broken(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    lease_broken(agent, client, ((const struct wire_lease_back *)entry)->lease);
}

static void on_run(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    lease_run(agent, client, (const struct wire_run *)entry);
}

static void on_run_end(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    lease_run_end(agent, client, (const struct wire_run_end *)entry);
}

static void on_adopt(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    lease_adopt(agent, client, (const struct wire_adopt *)entry);
}

static void on_escape(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    task_escape(agent, client, (const struct wire_escape *)entry);
}

static void on_settle(struct agent *agent, struct client *client, const struct wire_entry *entry)
{
    task_settle(agent, client, (const struct wire_settle *)entry);
}

typedef void entry_fn(struct agent *agent, struct client *client, const struct wire_entry *entry);

static entry_fn *const entry_functions[WIRE_KINDS + 1] = {
    [WIRE_ROOM] = on_room,         [WIRE_ROOM_BACK] = on_room_back,
    [WIRE_REFS] = on_refs,         [WIRE_ANNOUNCE] = on_announce,
    [WIRE_HOLD] = on_names,        [WIRE_FREE] = on_names,
    [WIRE_WAIT] = on_wait,         [WIRE_UNWAIT] = on_unwait,
    [WIRE_PREFETCH] = on_prefetch, [WIRE_LOCATE] = on_locate,
    [WIRE_NODES] = on_nodes,       [WIRE_RESULT] = on_result,
    [WIRE_COMPLETE] = on_complete, [AGENT_SUBMIT] = on_submit,
    [WIRE_LEASE] = on_lease,       [WIRE_LEASE_BACK] = on_lease_back,
    [WIRE_RUN] = on_run,           [WIRE_RUN_END] = on_run_end,
    [WIRE_ADOPT] = on_adopt,       [WIRE_ESCAPE] = on_escape,
    [WIRE_SETTLE] = on_settle,     [WIRE_LEASE_BROKEN] = on_lease_broken,
};

void client_entry(struct agent *agent, const struct core_event *event)
{
    struct client *client = client_find(agent, event->u.ring.client);
    const struct wire_entry *entry = event->u.ring.entry;
    if (client == NULL) {
        return; /* it was closed in this very turn */
    }
    entry_fn *function = entry->kind <= WIRE_KINDS ? entry_functions[entry->kind] : NULL;
    if (function == NULL) {
        client_broken(agent, client, "an entry that only the agent may send");
        return;
    }
    function(agent, client, entry);
}

/* ------------------------------------------------------------------ coming and going */

void client_up(struct agent *agent, const struct core_event *event)
{
    struct client *client = agent_alloc(sizeof *client);
    client->key = event->u.client.client;
    client->pid = event->u.client.pid;
    client->prefix = agent_client_prefix(agent, client->key);
    scope_init(&client->base, client, 0);
    list_init(&client->leases);
    list_init(&client->refs);
    list_init(&client->waits);
    list_init(&client->task_leases);
    list_append(&agent->clients, &client->all);
    ROOST_INVARIANT(id_map_put(&agent->clients_by_key, client_key(client->key), client) == 0);
    agent->counts.clients++;
    if (event->u.client.token == 0) {
        client->job = job_open(agent, job_id_from(event->u.client.job), client, event->u.client.data,
                               event->u.client.bytes);
    } else {
        worker_up(agent, client, event->u.client.token);
    }
}

static void gone_at_last(struct agent *agent, struct client *client)
{
    ROOST_PRE(client->is_gone && list_is_empty(&client->task_leases));
    if (client->as_worker != NULL) {
        worker_gone(agent, client->as_worker, client->gone_status);
    }
    tasks_holder_gone(agent, client);
    scope_fini(agent, &client->base);
    room_client_gone(agent, client);
    id_map_fini(&client->waits_by_token);
    LIST_EACH_SAFE (at, &client->refs) {
        pending_destroy(client, CONTAINER_OF(at, struct pending_refs, of_client));
    }
    id_map_fini(&client->refs_by_container);
    list_remove(&client->all);
    id_map_remove(&agent->clients_by_key, client_key(client->key));
    agent->counts.clients--;
    free(client);
}

/* Those of the dead who wait for no living one: all but who holds a lease of a living one, or of one who waits. */
static void mark_who_is_over(struct agent *agent)
{
    LIST_EACH (at, &agent->clients) {
        struct client *client = CONTAINER_OF(at, struct client, all);
        client->is_over = client->is_gone;
    }
    for (bool any = true; any;) {
        any = false;
        LIST_EACH (at, &agent->clients) {
            struct client *client = CONTAINER_OF(at, struct client, all);
            if (client->is_over && leases_wait_for_others(client)) {
                client->is_over = false;
                any = true;
            }
        }
    }
}

static void end_the_dead(struct agent *agent)
{
    mark_who_is_over(agent);
    LIST_EACH (at, &agent->clients) {
        struct client *client = CONTAINER_OF(at, struct client, all);
        if (client->is_over) {
            leases_end_with(agent, client);
        }
    }
    LIST_EACH_SAFE (at, &agent->clients) {
        struct client *client = CONTAINER_OF(at, struct client, all);
        if (client->is_over) {
            gone_at_last(agent, client);
        }
    }
}

void client_gone(struct agent *agent, struct core_client key, int32_t status)
{
    struct client *client = client_find(agent, key);
    ROOST_PRE(client != NULL && !client->is_gone);
    client->is_gone = true;
    client->gone_status = status;
    wait_drop_all(agent, client);
    if (client->as_worker != NULL) {
        worker_is_dead(agent, client->as_worker);
    } else if (client->job != NULL) {
        job_end(agent, client->job);
    }
    leases_holder_gone(agent, client);
    end_the_dead(agent);
}

/* The agent ends: records only, nothing is told to anybody. */
void clients_fini(struct agent *agent)
{
    LIST_EACH_SAFE (at, &agent->clients) {
        struct client *client = CONTAINER_OF(at, struct client, all);
        LIST_EACH_SAFE (wait_at, &client->waits) {
            struct wait *wait = CONTAINER_OF(wait_at, struct wait, of_client);
            free(wait->refs);
            free(wait);
        }
        LIST_EACH_SAFE (refs_at, &client->refs) {
            pending_destroy(client, CONTAINER_OF(refs_at, struct pending_refs, of_client));
        }
        LIST_EACH_SAFE (hold_at, &client->base.holds) {
            free(CONTAINER_OF(hold_at, struct hold, of_scope));
        }
        id_map_fini(&client->base.held);
        id_map_fini(&client->refs_by_container);
        id_map_fini(&client->waits_by_token);
        free(client);
    }
}

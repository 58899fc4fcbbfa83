/* oracle.c - the promises that no single core can see
 *
 * Owns what the world has shown so far: which ids the head knows, which it has freed, which names were seen in which
 * object; and the memory of programs.
 */
#include "tests/sim/oracle.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/spec.h"
#include "tests/sim/head_host.h"
#include "tests/sim/network.h"
#include "tests/sim/oracle_views.h"
#include "tests/sim/program.h"
#include "tests/sim/seen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNNING_MAX = 64 };
#define PATIENCE_NS (UINT64_C(120000) * SIM_MS)

struct kept {
    uint64_t client;
    void *memory;
};

struct oracle {
    struct seen seen;
    struct object_id *known; /* at the head, ascending */
    size_t known_count;
    uint64_t frees, objects; /* of the head when last looked at */
    struct kept *kept;
    size_t kept_count, kept_capacity;
};

struct oracle *oracle_create(void)
{
    struct oracle *oracle = calloc(1, sizeof *oracle);
    ROOST_INVARIANT(oracle != NULL);
    return oracle;
}

void oracle_destroy(struct oracle *oracle)
{
    seen_fini(&oracle->seen);
    for (size_t i = 0; i < oracle->kept_count; i++) {
        free(oracle->kept[i].memory);
    }
    free(oracle->kept);
    free(oracle->known);
    free(oracle);
}

/* ------------------------------------------------------------------------------------------------ messages */

static void add(struct object_id **ids, size_t *count, const struct object_id *more, size_t more_count)
{
    if (more_count > 0) {
        *ids = realloc(*ids, (*count + more_count) * sizeof **ids);
        ROOST_INVARIANT(*ids != NULL);
        memcpy(*ids + *count, more, more_count * sizeof **ids);
        *count += more_count;
    }
}

static size_t add_returns(struct object_id **ids, size_t count, const struct proto_bytes *bytes)
{
    const struct spec *spec = bytes->data;
    size_t added = 0;
    for (uint32_t i = 0; i < spec->returns; i++) {
        struct object_id id = result_id(spec->task, i);
        size_t at = count + added++;
        add(ids, &at, &id, 1);
    }
    return added;
}

static void add_args(struct object_id **ids, size_t *count, const struct proto_bytes *bytes)
{
    const struct spec *spec = bytes->data;
    for (uint32_t i = 0; bytes->size > 0 && i < spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_ref(&spec_args(spec)[i], &ref)) {
            struct object_id id = object_id_of(ref);
            add(ids, count, &id, 1);
        }
    }
}

size_t oracle_names_of(const struct proto_message *message, struct object_id **ids_out, size_t *makes_out)
{
    size_t count = 0;
    *ids_out = NULL;
    *makes_out = 0;
    switch ((int)message->kind) {
    case PROTO_TASK:
        add_args(ids_out, &count, &message->u.task.spec);
        break;
    case PROTO_SUBMIT:
        add_args(ids_out, &count, &message->u.submit.spec);
        *makes_out = add_returns(ids_out, count, &message->u.submit.spec);
        break;
    case PROTO_HOLD:
        add(ids_out, &count, message->u.hold.objects.ids, message->u.hold.objects.count);
        break;
    case PROTO_PUBLISH: /* EDGES go with a list here, also of copies that nobody names */
        add(ids_out, &count, message->u.publish.contained.ids, message->u.publish.contained.count);
        size_t at = count;
        add(ids_out, &at, &message->u.publish.object, 1);
        *makes_out = 1;
        break;
    case PROTO_COMPLETE:
        for (size_t i = 0; i < message->u.complete.returns_count; i++) {
            const struct proto_objects *contained = &message->u.complete.returns[i].contained;
            add(ids_out, &count, contained->ids, contained->count);
        }
        break;
    case PROTO_NAMES:
        add(ids_out, &count, message->u.names.objects.ids, message->u.names.objects.count);
        break;
    default:
        break;
    }
    return count;
}

static int print_ids(char *text, size_t size, const struct proto_objects *objects)
{
    int used = 0;
    for (size_t i = 0; i < objects->count && (size_t)used < size; i++) {
        used += snprintf(text + used, size - (size_t)used, " %llx", world_word(objects->ids[i]));
    }
    return used;
}

void oracle_tell_message(struct world *world, uint32_t from, uint32_t to, const struct proto_message *message)
{
    char text[400] = "";
    if (!world->options.trace) {
        return;
    }
    switch ((int)message->kind) {
    case PROTO_HOLD:
    case PROTO_DROP:
    case PROTO_WANT:
    case PROTO_UNWANT:
    case PROTO_FREE:
    case PROTO_GONE:
        print_ids(text, sizeof text, &message->u.hold.objects);
        break;
    case PROTO_PUBLISH: {
        int used = snprintf(text, sizeof text, " %llx state %d located %d of task %llx contains",
                            world_word(message->u.publish.object), message->u.publish.state, message->u.publish.located,
                            (unsigned long long)message->u.publish.task.lo);
        print_ids(text + used, sizeof text - (size_t)used, &message->u.publish.contained);
        break;
    }
    case PROTO_FOUND:
        snprintf(text, sizeof text, " %llx state %d holders %zu", world_word(message->u.found.object),
                 message->u.found.state, message->u.found.holders.count);
        break;
    case PROTO_TASK:
        snprintf(text, sizeof text, " %llx attempt %u", (unsigned long long)message->u.task.task.lo,
                 message->u.task.attempt);
        break;
    case PROTO_SUBMIT:
        snprintf(text, sizeof text, " %llx", (unsigned long long)message->u.submit.task.lo);
        break;
    case PROTO_COMPLETE:
        snprintf(text, sizeof text, " %llx attempt %u status %d", (unsigned long long)message->u.complete.task.lo,
                 message->u.complete.attempt,
                 message->u.complete.failure == NULL ? 0 : message->u.complete.failure->status);
        break;
    case PROTO_CANCEL:
        snprintf(text, sizeof text, " %llx attempt %u", (unsigned long long)message->u.cancel.task.lo,
                 message->u.cancel.attempt);
        break;
    case PROTO_HANDBACK:
        snprintf(text, sizeof text, " %llx reason %d", (unsigned long long)message->u.handback.task.lo,
                 message->u.handback.reason);
        break;
    case PROTO_DEAD:
        snprintf(text, sizeof text, " node %u incarnation %u", message->u.dead.node, message->u.dead.incarnation);
        break;
    case PROTO_WELCOME:
        snprintf(text, sizeof text, " node %u incarnation %u", message->u.welcome.number,
                 message->u.welcome.incarnation);
        break;
    case PROTO_LOCATIONS:
        snprintf(text, sizeof text, " %llx %s", world_word(message->u.locations.items[0].object),
                 message->u.locations.items[0].added ? "added" : "gone");
        break;
    case PROTO_PULL:
        snprintf(text, sizeof text, " %llx token %llx", world_word(object_id_of(message->u.pull.ref)),
                 (unsigned long long)message->u.pull.token);
        break;
    case PROTO_PULL_ANSWER:
        snprintf(text, sizeof text, " token %llx status %d size %llu", (unsigned long long)message->u.pull_answer.token,
                 message->u.pull_answer.status, (unsigned long long)message->u.pull_answer.content.size);
        break;
    case PROTO_PULL_DONE:
        snprintf(text, sizeof text, " token %llx status %d", (unsigned long long)message->u.pull_done.token,
                 message->u.pull_done.status);
        break;
    case PROTO_LIST_TASKS:
        snprintf(text, sizeof text, " %llx attempt %u state %d",
                 (unsigned long long)message->u.list_tasks.items[0].task.lo, message->u.list_tasks.items[0].attempt,
                 message->u.list_tasks.items[0].state);
        break;
    case PROTO_LIST_OBJECTS:
        for (size_t i = 0, used = 0; i < message->u.list_objects.count && used < sizeof text; i++) {
            const struct proto_list_object *item = &message->u.list_objects.items[i];
            used += (size_t)snprintf(text + used, sizeof text - used, " %llx%s%s", world_word(item->object),
                                     item->held ? "H" : "", item->stored ? "S" : "");
        }
        break;
    default:
        break;
    }
    world_tell(world, from, "-> %u %s%s", to, proto_kind_name(message->kind), text);
}

/* ------------------------------------------------------------------------------------------------ frees */

static const struct node *living(struct world *world, uint32_t place)
{
    const struct node *node = world->nodes[place];
    bool is_there = node != NULL && node->life != 0 && node->self.node != 0 &&
                    head_view_lives(head_host_core(world), node->self);
    return is_there ? node : NULL;
}

static bool is_in(const struct object_id *ids, size_t count, struct object_id id)
{
    for (size_t i = 0; i < count; i++) {
        if (object_id_eq(ids[i], id)) {
            return true;
        }
    }
    return false;
}

/* A call that the head had refused and asked for is on its way again, and its job has ended: what the head held for it
 * went with the job, and so will the call. */
static bool is_of_ended_job(struct world *world, const struct transit *transit)
{
    return transit->kind == PROTO_SUBMIT && !head_view_has_job(head_host_core(world), transit->job);
}

static void check_transits(struct world *world, uint32_t from, uint32_t to, struct object_id id)
{
    const struct transit *transits;
    size_t count = network_transits(world, from, to, &transits);
    for (size_t i = 0; i < count; i++) {
        if (!is_of_ended_job(world, &transits[i]) && is_in(transits[i].ids, transits[i].count, id)) {
            world_fail(world, "the head has freed %llx, and a %s from %u to %u names it", world_word(id),
                       proto_kind_name(transits[i].kind), from, to);
        }
    }
}

/* Is a message on its way that makes it known (once more)? */
static bool is_made(struct world *world, uint32_t from, struct object_id id)
{
    const struct transit *transits;
    size_t count = network_transits(world, from, 0, &transits);
    for (size_t i = 0; i < count; i++) {
        if (is_in(transits[i].ids + transits[i].count, transits[i].makes, id)) {
            return true;
        }
    }
    return false;
}

static void check_clients(struct world *world, const struct node *node, struct object_id id)
{
    LIST_EACH (at, &node->clients) {
        const struct client *client = CONTAINER_OF(at, const struct client, all);
        if (!client->is_dead && !client->is_void && client_holds(client->core, 0, id) > 0 &&
            !client_object_is_private(client->core, id)) {
            world_fail(world, "the head has freed %llx, and client %u at %u holds it", world_word(id), client->key.slot,
                       node->place);
        }
    }
}

static void check_freed(struct world *world, struct object_id id)
{
    seen_forget(&world->oracle->seen, id);
    world_tell(world, 0, "%llx is freed", world_word(id));
    for (uint32_t place = 1; place < SIM_PLACES; place++) {
        const struct node *node = living(world, place);
        if (node == NULL || is_made(world, place, id) || agent_view_makes(node->core, id)) {
            continue;
        }
        if (agent_view_holds(node->core, id)) {
            world_fail(world, "the head has freed %llx, and the agent at %u holds it", world_word(id), place);
        }
        check_clients(world, node, id);
        check_transits(world, 0, place, id);
        check_transits(world, place, 0, id);
        for (uint32_t other = 1; other < SIM_PLACES; other++) {
            if (other != place && living(world, other) != NULL) {
                check_transits(world, place, other, id);
            }
        }
    }
}

static void check_attempts(struct world *world)
{
    struct running running[RUNNING_MAX];
    const struct head *head = head_host_core(world);
    for (uint32_t place = 1; place < SIM_PLACES; place++) {
        const struct node *node = living(world, place);
        size_t count = node == NULL ? 0 : agent_view_running(node->core, running, RUNNING_MAX);
        for (size_t i = 0; i < count; i++) {
            uint32_t at, attempt;
            bool is_live = head_view_attempt(head, running[i].task, &at, &attempt);
            /* a child that outlives its caller's attempt is not known to the head until its results are */
            if (!running[i].is_from_head && !running[i].is_child && is_live && at != node->self.node) {
                world_fail(world, "task %llx runs at %u by itself, and by the head's word on node %u",
                           (unsigned long long)running[i].task.lo, place, at);
            }
        }
    }
}

void oracle_head_stepped(struct world *world)
{
    struct oracle *oracle = world->oracle;
    struct head_counts counts = head_counts(head_host_core(world));
    if (world->shape.is_small) {
        check_attempts(world);
    }
    if (counts.frees == oracle->frees && counts.objects == oracle->objects) {
        return;
    }
    struct head_view *views;
    size_t count = head_views(head_host_core(world), &views), at = 0;
    for (size_t i = 0; i < oracle->known_count; i++) {
        while (at < count && id_key_compare(object_id_key(views[at].id), object_id_key(oracle->known[i])) < 0) {
            at++;
        }
        if (at == count || !object_id_eq(views[at].id, oracle->known[i])) {
            check_freed(world, oracle->known[i]);
        }
    }
    oracle->known = realloc(oracle->known, (count + 1) * sizeof *oracle->known);
    ROOST_INVARIANT(oracle->known != NULL);
    for (size_t i = 0; i < count; i++) {
        oracle->known[i] = views[i].id;
    }
    oracle->known_count = count;
    oracle->frees = counts.frees;
    oracle->objects = counts.objects;
    free(views);
}

void oracle_head_gone(struct world *world)
{
    world->oracle->known_count = 0;
    world->oracle->frees = world->oracle->objects = 0;
}

void oracle_node_dead(struct world *world, struct node_id id)
{
    for (uint32_t place = 1; place < SIM_PLACES; place++) {
        struct node *node = world->nodes[place];
        if (node == NULL || node->life == 0 || !node_id_eq(node->id, id)) {
            continue;
        }
        LIST_EACH (at, &node->clients) {
            CONTAINER_OF(at, struct client, all)->is_void = true;
        }
    }
}

/* ------------------------------------------------------------------------------------------------ readers */

void oracle_seen(struct client *client, struct object_id id, const void *refs, uint32_t count)
{
    struct world *world = client->world;
    const struct head *head = head_host_core(world);
    if (head == NULL || !head_view_knows(head, id) || !agent_view_is_public(client->node->core, id)) {
        return; /* of one node: another attempt of its caller may make it again elsewhere */
    }
    bool is_known = head_view_was_sealed(head, id);
    seen_note(world, &world->oracle->seen, id, refs, count, is_known ? (struct core_peer){ 0 } : client->node->self);
}

void oracle_retired(struct world *world, struct object_id id)
{
    if (head_host_core(world) == NULL || !head_view_knows(head_host_core(world), id)) {
        seen_forget(&world->oracle->seen, id);
    }
}

static bool may_be(const struct world *world, int32_t status)
{
    bool nodes = (world->wounds & (WOUND_NODE_LOST | WOUND_HEAD_LOST)) != 0;
    bool workers = (world->wounds & (WOUND_WORKER_KILLED | WOUND_SESSION_LOST)) != 0;
    switch (status) {
    case ROOST_EWORKER:
        return nodes || workers;
    case ROOST_ENODE:
    case ROOST_ELOST:
        return nodes;
    case ROOST_ECANCELED:
        return nodes || (world->wounds & WOUND_JOB_ENDED) != 0;
    case ROOST_EINFEASIBLE: /* of what may run on one certain node only */
        return (world->wounds & WOUND_NODE_UNKNOWN) != 0;
    case ROOST_EFULL:
    case ROOST_ELIMIT:
    case ROOST_EFAILED: /* also of what had an argument that failed */
        return true;
    default:
        return false;
    }
}

void oracle_may_see(struct client *client, roost_ref ref, int32_t status, const char *text)
{
    world_tell(client->world, (int)client->node->place, "client %u sees %llx failed with %d (%s)", client->key.slot,
               world_word(object_id_of(ref)), status, text);
    if (!client->is_void && !may_be(client->world, status)) {
        world_fail(client->world, "client %u at %u holds %llx and sees %s (%s): nothing here explains it; %s",
                   client->key.slot, client->node->place, world_word(object_id_of(ref)), error_code_name(status), text,
                   agent_view_object(client->node->core, object_id_of(ref)));
    }
}

void oracle_waits(struct client *client, roost_ref ref, uint64_t began_ns)
{
    struct world *world = client->world;
    uint64_t since_ns = began_ns > world->healed_ns ? began_ns : world->healed_ns;
    if (world->is_healed && world->now_ns - since_ns > PATIENCE_NS) {
        oracle_explain(world);
        world_fail(world, "client %u at %u waits for %llx for ever", client->key.slot, client->node->place,
                   world_word(object_id_of(ref)));
    }
}

void oracle_keep(struct client *client, void *memory)
{
    struct oracle *oracle = client->world->oracle;
    if (oracle->kept_count == oracle->kept_capacity) {
        oracle->kept_capacity = oracle->kept_capacity * 2 + 64;
        oracle->kept = realloc(oracle->kept, oracle->kept_capacity * sizeof *oracle->kept);
        ROOST_INVARIANT(oracle->kept != NULL);
    }
    oracle->kept[oracle->kept_count++] = (struct kept){ client->serial, memory };
}

void oracle_let_go(struct client *client, void *memory)
{
    struct oracle *oracle = client->world->oracle;
    for (size_t i = oracle->kept_count; i > 0; i--) {
        if (oracle->kept[i - 1].memory == memory) {
            oracle->kept[i - 1] = oracle->kept[--oracle->kept_count];
            free(memory);
            return;
        }
    }
    ROOST_IMPOSSIBLE("what is let go was kept");
}

void oracle_client_gone(struct world *world, struct client *client)
{
    struct oracle *oracle = world->oracle;
    for (size_t i = oracle->kept_count; i > 0; i--) {
        if (oracle->kept[i - 1].client == client->serial) {
            free(oracle->kept[i - 1].memory);
            oracle->kept[i - 1] = oracle->kept[--oracle->kept_count];
        }
    }
}

/* ------------------------------------------------------------------------------------------------ when all is quiet */

static char why[256];

static bool has_number(const uint32_t *numbers, uint32_t count, uint32_t number)
{
    for (uint32_t i = 0; i < count; i++) {
        if (numbers[i] == number) {
            return true;
        }
    }
    return false;
}

static const struct head_view *view_of(const struct head_view *views, size_t count, struct object_id id)
{
    for (size_t i = 0; i < count; i++) {
        if (object_id_eq(views[i].id, id)) {
            return &views[i];
        }
    }
    return NULL;
}

/* What an agent has and holds, the head knows. */
static const char *agent_against_head(const struct node *node, const struct head_view *views, size_t count)
{
    struct agent_view *mine;
    size_t mine_count = agent_views(node->core, &mine);
    const char *bad = NULL;
    for (size_t i = 0; i < mine_count && bad == NULL; i++) {
        const struct agent_view *view = &mine[i];
        const struct head_view *known = view_of(views, count, view->id);
        uint32_t number = node->self.node;
        if (!view->is_public || view->is_part || view->is_freed) {
            continue;
        }
        bool lists = known != NULL && has_number(known->holders, known->holders_count, number);
        bool locates = known != NULL && has_number(known->locations, known->locations_count, number);
        if (view->is_held && !lists) {
            bad = known == NULL ? "is held, and the head does not know it" : "is held, and the head does not list it";
        } else if (view->is_registered != lists) {
            bad = "is registered, or listed, one of the two";
        } else if (view->is_here && known != NULL && known->is_sealed && !locates) {
            bad = "is here, and the head does not know that";
        } else if (view->is_here && known == NULL) {
            bad = "is here, and the head has never heard of it, or freed it";
        }
        if (bad != NULL) {
            snprintf(why, sizeof why,
                     "at %u object %llx (state %d, scopes %u tasks %u private %u containers %u uses %u) %s",
                     node->place, world_word(view->id), view->state, view->scopes, view->tasks,
                     view->private_containers, view->containers, view->uses, bad);
        }
    }
    free(mine);
    return bad == NULL ? NULL : why;
}

static const struct node *node_of_number(struct world *world, uint32_t number)
{
    for (uint32_t place = 1; place < SIM_PLACES; place++) {
        const struct node *node = living(world, place);
        if (node != NULL && node->self.node == number) {
            return node;
        }
    }
    return NULL;
}

static const char *head_against_agents(struct world *world, const struct head_view *views, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct head_view *view = &views[i];
        if (!view->is_named || view->is_unknown) {
            snprintf(why, sizeof why, "object %llx at the head is %s", world_word(view->id),
                     view->is_unknown ? "unknown still" : "named by nobody");
            return why;
        }
        for (uint32_t n = 0; n < view->locations_count + view->holders_count; n++) {
            bool is_location = n < view->locations_count;
            uint32_t number = is_location ? view->locations[n] : view->holders[n - view->locations_count];
            const struct node *node = node_of_number(world, number);
            struct agent_view *theirs;
            size_t theirs_count = node == NULL ? 0 : agent_views(node->core, &theirs);
            bool is_right = false;
            for (size_t k = 0; k < theirs_count; k++) {
                is_right = is_right || (object_id_eq(theirs[k].id, view->id) &&
                                        (is_location ? theirs[k].is_here : theirs[k].is_held));
            }
            if (node != NULL) {
                free(theirs);
            }
            if (!is_right) {
                snprintf(why, sizeof why, "the head says that node %u %s %llx, which it does not", number,
                         is_location ? "has" : "holds", world_word(view->id));
                return why;
            }
        }
    }
    return NULL;
}

void oracle_explain(struct world *world)
{
    fprintf(stderr, "at the head:\n%s", head_host_core(world) == NULL ? "" : head_view_tasks(head_host_core(world)));
    for (uint32_t place = 1; place < SIM_PLACES; place++) {
        if (world->nodes[place] != NULL && world->nodes[place]->life != 0) {
            fprintf(stderr, "at %u:\n%s", place, agent_view_tasks(world->nodes[place]->core));
        }
    }
}

static const char *busy(struct world *world)
{
    const char *text = head_view_busy(head_host_core(world));
    for (uint32_t place = 1; place < SIM_PLACES && text == NULL; place++) {
        const struct node *node = world->nodes[place];
        if (node != NULL && node->life != 0) {
            text = agent_view_busy(node->core);
            text = text == NULL && !agent_view_is_up(node->core) ? "an agent is without its head" : text;
            text = text == NULL && living(world, place) == NULL ? "the head takes a living agent for dead" : text;
        }
    }
    return text != NULL || network_is_quiet(world) ? text : "messages are on their way";
}

const char *oracle_quiet(struct world *world)
{
    struct head_view *views;
    const char *text = busy(world);
    if (text != NULL) {
        return text;
    }
    size_t count = head_views(head_host_core(world), &views);
    text = head_against_agents(world, views, count);
    for (uint32_t place = 1; place < SIM_PLACES && text == NULL; place++) {
        const struct node *node = living(world, place);
        text = node == NULL ? NULL : agent_against_head(node, views, count);
    }
    free(views);
    return text;
}

const char *oracle_empty(struct world *world)
{
    const char *text = busy(world);
    if (text != NULL) {
        return text;
    }
    struct head_counts head = head_counts(head_host_core(world));
    if (head.objects + head.tasks + head.jobs + head.spec_bytes > 0) {
        struct head_view *left;
        size_t left_count = head_views(head_host_core(world), &left);
        snprintf(why, sizeof why,
                 "the head still has %llu objects (%llx, %u holders, first %u, %u places), %llu tasks, %llu jobs",
                 (unsigned long long)head.objects, left_count > 0 ? world_word(left[0].id) : 0,
                 left_count > 0 ? left[0].holders_count : 0, left_count > 0 ? left[0].holders[0] : 0,
                 left_count > 0 ? left[0].locations_count : 0, (unsigned long long)head.tasks,
                 (unsigned long long)head.jobs);
        free(left);
        return why;
    }
    /* A head that begins anew does not know the jobs of nodes that died meanwhile, and so cannot end them elsewhere:
     * jobs are facts of the ledger, which comes later. */
    bool may_keep = (world->wounds & WOUND_HEAD_LOST) != 0 && (world->wounds & WOUND_NODE_LOST) != 0;
    for (uint32_t place = 1; place < SIM_PLACES && !may_keep; place++) {
        const struct node *node = world->nodes[place];
        if (node == NULL || node->life == 0) {
            continue;
        }
        struct agent_counts counts = agent_counts(node->core);
        if (counts.objects + counts.bytes_used + counts.clients + counts.workers > 0 || store_entries(node) > 0) {
            struct agent_view *left;
            size_t left_count = agent_views(node->core, &left);
            snprintf(why, sizeof why,
                     "the agent at %u still has %llu objects (%llx: state %d, scopes %u tasks %u containers %u uses "
                     "%u), %llu bytes, %llu clients, %llu workers",
                     place, (unsigned long long)counts.objects, left_count > 0 ? world_word(left[0].id) : 0,
                     left_count > 0 ? left[0].state : 0, left_count > 0 ? left[0].scopes : 0,
                     left_count > 0 ? left[0].tasks : 0, left_count > 0 ? left[0].containers : 0,
                     left_count > 0 ? left[0].uses : 0, (unsigned long long)counts.bytes_used,
                     (unsigned long long)counts.clients, (unsigned long long)counts.workers);
            free(left);
            return why;
        }
    }
    return NULL;
}

/* program.c - drivers and functions, on the client core. What they do with one object: program_objects.c
 *
 * Owns a program's names. What it holds it must be able to see.
 *
 * Happy path: driver: operation after operation -> parked -> looks at all that it holds, frees it, ends.
 *             worker: task -> arguments -> children, puts -> results -> complete -> next task.
 * Failures:   no room -> the operation is left out, or the attempt fails with that; killed -> it ends where it waits.
 */
#include "tests/sim/program.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/spec.h"
#include "objectstore/table.h"
#include "tests/sim/faults.h"
#include "tests/sim/head_host.h"
#include "tests/sim/oracle.h"
#include "tests/sim/program_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 48, ARGS_MAX = 8, GATHER_MAX = 6 };

struct names {
    roost_ref refs[NAMES_MAX];
    bool columned[NAMES_MAX];
    uint32_t count;
};

struct driver {
    struct names names;
    bool is_parked;
};

static void add_name(struct names *names, roost_ref ref, bool columned)
{
    ROOST_PRE(names->count < NAMES_MAX);
    names->refs[names->count] = ref;
    names->columned[names->count++] = columned;
}

static void drop_name(struct names *names, uint32_t i)
{
    names->count--;
    names->refs[i] = names->refs[names->count];
    names->columned[i] = names->columned[names->count];
}

/* ------------------------------------------------------------------------------------------------ drivers */

static uint32_t some_refs(struct client *client, const struct names *names, roost_ref *refs, uint32_t most)
{
    uint32_t count = names->count == 0 ? 0 : (uint32_t)below(client, most + 1);
    for (uint32_t i = 0; i < count; i++) {
        refs[i] = names->refs[below(client, names->count)];
    }
    return count;
}

static void driver_puts(struct client *client, struct names *names)
{
    roost_ref refs[4], ref;
    uint32_t count = one_in(client, 2) ? 0 : some_refs(client, names, refs, 3);
    bool columned = count == 0 && one_in(client, 2);
    if (names->count < NAMES_MAX && program_put(client, 0, TABLE_RAW, refs, count, columned, &ref)) {
        add_name(names, ref, columned);
    }
}

/* A list of objects with columns, and one task for each of some columns. */
static uint32_t gather_list(struct client *client, struct names *names, roost_ref *list_out)
{
    roost_ref items[GATHER_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < names->count && count < GATHER_MAX; i++) {
        if (names->columned[i] && one_in(client, 2)) {
            items[count++] = names->refs[i];
        }
    }
    return count > 0 && program_put(client, 0, TABLE_REFS, items, count, false, list_out) ? count : 0;
}

static roost_in in_ref(roost_ref ref) { return (roost_in){ ROOST_IN_REF, 0, { .ref = ref } }; }
static roost_in in_handle(roost_ref ref) { return (roost_in){ ROOST_IN_HANDLE, 0, { .ref = ref } }; }
static roost_in in_gather(roost_ref list, uint64_t column)
{
    return (roost_in){ ROOST_IN_GATHER, 0, { .ref = { list.id, column, ROOST_COLUMN } } };
}

static struct spec_draft any_draft(struct client *client, const char *function)
{
    const struct world_shape *shape = &client->world->shape;
    struct spec_draft draft = { .function = function,
                                .cpus_hundredths = 25 + (uint32_t)below(client, 4) * 25,
                                .returns = (uint32_t)below(client, 4),
                                .max_retries = one_in(client, 4) ? (int32_t)below(client, 2) : 4,
                                .flags = one_in(client, 3) ? SPEC_RETRY_ON_FAILURE : 0 };
    if (one_in(client, 8)) {
        draft.flags |= SPEC_SPREAD;
    } else if (one_in(client, 5)) {
        draft.node = client->world->nodes[1 + below(client, shape->nodes)]->id;
        bool is_there = shape->node_kills + shape->partitions == 0 && head_host_has_met_all(client->world);
        draft.flags |= is_there && one_in(client, 2) ? SPEC_NODE_ONLY : 0;
    }
    return draft;
}

static void driver_calls(struct client *client, struct names *names)
{
    bool columned = one_in(client, 3);
    roost_in args[ARGS_MAX] = { { ROOST_IN_INT, 0, { .i = (int64_t)below(client, 3) } } };
    uint32_t count = 1;
    roost_ref list = { .size = 0 }, refs[4];
    if (names->count + 4 > NAMES_MAX) {
        return;
    }
    bool gathers = one_in(client, 4) && gather_list(client, names, &list) > 0;
    if (gathers) {
        args[count++] = in_gather(list, below(client, CONTENT_COLUMNS));
    }
    for (uint32_t i = 0; i < 3 && names->count > 0 && !columned; i++) {
        uint32_t which = (uint32_t)below(client, names->count);
        roost_ref ref = names->refs[which];
        if (names->columned[which] && one_in(client, 3)) {
            ref = (roost_ref){ ref.id, below(client, CONTENT_COLUMNS), ROOST_COLUMN };
        }
        if (one_in(client, 2)) {
            args[count++] = one_in(client, 3) ? in_handle(names->refs[which]) : in_ref(ref);
        }
    }
    struct spec_draft draft = any_draft(client, columned ? "columns" : "mix");
    draft.args = args;
    draft.args_count = count;
    bool is_unheld = one_in(client, 10);
    draft.flags |= is_unheld ? SPEC_UNHELD : 0;
    static const char long_text[400] = "";
    if (one_in(client, 12)) { /* a spec too long for a slot */
        args[count++] = (roost_in){ ROOST_IN_BYTES, sizeof long_text, { .p = long_text } };
        draft.args_count = count;
    }
    if (program_call(client, 0, &draft, refs)) {
        for (uint32_t i = 0; i < draft.returns && !is_unheld; i++) {
            add_name(names, refs[i], columned);
        }
    }
    if (gathers) {
        if (names->count < NAMES_MAX && one_in(client, 3)) {
            add_name(names, list, false);
        } else {
            client_free(client->core, 0, object_id_of(list));
        }
    }
}

/* Calls that each read what the one before returns, the first wherever it likes: they wait for each other, at the head
 * or where they are made. */
static void driver_chains(struct client *client, struct names *names)
{
    enum { LINKS_MAX = 12 };
    struct spec_draft draft = any_draft(client, "mix");
    draft.flags &= SPEC_RETRY_ON_FAILURE;
    draft.max_retries = 4;
    draft.returns = 1;
    draft.node = client->world->nodes[1 + below(client, client->world->shape.nodes)]->id;
    roost_ref last = object_ref((struct object_id){ 0, 0 });
    for (uint64_t i = 0, links = 2 + below(client, LINKS_MAX - 1); i < links && names->count + 1 < NAMES_MAX; i++) {
        roost_in args[] = { { ROOST_IN_INT, 0, { .i = 1 } }, in_ref(last) };
        roost_ref made;
        draft.args = args;
        draft.args_count = i > 0 ? 2 : 1;
        if (!program_call(client, 0, &draft, &made)) {
            return;
        }
        add_name(names, made, false);
        last = made;
        draft.node = (struct node_id){ 0, 0 };
        if (one_in(client, 4)) {
            client_sleep(client, below(client, SIM_MS));
        }
    }
}

/* What it finds in an object it holds from now on, for which it must hold the object still. */
static void keep_some(struct client *client, struct names *names, const struct seen *seen)
{
    for (uint32_t i = 0; i < seen->refs_count; i++) {
        if (one_in(client, 2) && names->count < NAMES_MAX) {
            ROOST_INVARIANT(client_keep(client->core, 0, object_id_of(seen->refs[i])) == 0);
            add_name(names, object_ref(object_id_of(seen->refs[i])), false);
        }
    }
}

static void driver_looks(struct client *client, struct names *names)
{
    if (names->count == 0) {
        return;
    }
    uint32_t which = (uint32_t)below(client, names->count);
    struct seen seen;
    roost_ref ref = names->refs[which];
    if (names->columned[which] && one_in(client, 3)) {
        ref = (roost_ref){ ref.id, below(client, CONTENT_COLUMNS), ROOST_COLUMN };
    }
    program_look(client, 0, ref, &seen);
    keep_some(client, names, &seen);
}

static void driver_frees(struct client *client, struct names *names)
{
    if (names->count > 0) {
        uint32_t which = (uint32_t)below(client, names->count);
        struct object_id id = object_id_of(names->refs[which]);
        drop_name(names, which);
        ROOST_INVARIANT(client_free(client->core, 0, id) == 0);
    }
}

static void driver_waits(struct client *client, struct names *names)
{
    int8_t ready[NAMES_MAX] = { 0 };
    roost_ref refs[NAMES_MAX]; /* what is private is ready, and not asked for */
    uint32_t count = 0;
    for (uint32_t i = 0; i < names->count; i++) {
        if (!client_object_is_private(client->core, object_id_of(names->refs[i]))) {
            refs[count++] = names->refs[i];
        }
    }
    if (count == 0) {
        return;
    }
    struct client_ask ask = { .kind = WIRE_WAIT,
                              .refs = refs,
                              .total = count,
                              .wanted = (uint32_t)below(client, count) + 1,
                              .flags = one_in(client, 2) ? WIRE_WAIT_FETCH : 0,
                              .ready = ready };
    ROOST_INVARIANT(client_ask(client->core, &ask) == 0);
    if (!client_wait_for(client, &ask, 1 + below(client, 200 * SIM_MS))) {
        ROOST_INVARIANT(client_unwait(client->core, &ask) == 0);
        client_wait_for(client, &ask, 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (ready[i] < 0) {
            oracle_may_see(client, refs[i], ready[i], "in a wait for many");
        }
    }
}

static void driver_prefetches(struct client *client, const struct names *names)
{
    roost_ref ref = names->count > 0 ? names->refs[below(client, names->count)] : (roost_ref){ { 0, 0 }, 0, 0 };
    if (names->count > 0 && !client_object_is_private(client->core, object_id_of(ref))) {
        ROOST_INVARIANT(client_prefetch(client->core, ref) == 0);
    }
}

bool program_is_parked(const struct client *client)
{
    return client->token == 0 && client->state != NULL && ((const struct driver *)client->state)->is_parked;
}

bool program_takes(struct client *client, const struct object_id *ids, uint32_t count)
{
    struct driver *driver = client->state;
    if (driver == NULL || driver->names.count + count > NAMES_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        ROOST_INVARIANT(client_keep(client->core, 0, ids[i]) == 0);
        add_name(&driver->names, object_ref(ids[i]), false);
    }
    client_say(client, true);
    return true;
}

/* Straight to another node; often it gives them up right after that. */
static void driver_gives(struct client *client, struct names *names)
{
    struct world *world = client->world;
    uint32_t to = 1 + (uint32_t)below(client, SIM_PLACES - 1);
    bool may_be_gone = client->is_void; /* its node was declared dead: the head has freed what it holds */
    if (names->count == 0 || may_be_gone || to == client->node->place || client->node->neighbours[to].node == 0) {
        return;
    }
    uint32_t which = (uint32_t)below(client, names->count);
    struct object_id id = object_id_of(names->refs[which]);
    if (client_object_is_private(client->core, id)) {
        return;
    }
    client_say(client, true);
    while (!list_is_empty(&client->requests) || !list_is_empty(&client->submits)) {
        client_sleep(client, SIM_MS / 4); /* the agent knows the name by then */
    }
    struct object_id ids[NAMES_MAX] = { id };
    uint32_t count = 1;
    if (world->shape.gives_and_dies && world->kills_left > 0 && one_in(client, 2)) {
        world->kills_left--;
        for (uint32_t i = 0; i < names->count && count < NAMES_MAX;
             i++) { /* the more, the likelier one is of a task elsewhere */
            ids[count] = object_id_of(names->refs[i]);
            count += !object_id_eq(ids[count], id) && !client_object_is_private(client->core, ids[count]);
        }
        faults_kill_giver(world, client->node->place, to);
    }
    world_tell(world, (int)client->node->place, "client %u gives %llx and %u more to %u", client->key.slot,
               world_word(id), count - 1, to);
    node_give_names(world, client->node, to, ids, count);
    if (one_in(client, 2)) {
        for (uint32_t i = 0; i < names->count; i++) {
            if (object_id_eq(object_id_of(names->refs[i]), id)) {
                drop_name(names, i);
                ROOST_INVARIANT(client_free(client->core, 0, id) == 0);
                break;
            }
        }
        client_say(client, true);
    }
}

void program_driver(struct client *client)
{
    struct driver *driver = calloc(1, sizeof *driver);
    ROOST_INVARIANT(driver != NULL);
    client->state = driver;
    struct names *names = &driver->names;
    for (uint32_t i = 0; i < client->world->shape.operations; i++) {
        uint64_t what = below(client, 100);
        if (client->world->shape.gives_and_dies && one_in(client, 8)) {
            driver_gives(client, names);
        } else if (what < 20) {
            driver_puts(client, names);
        } else if (what < 47) {
            driver_calls(client, names);
        } else if (what < 50) {
            driver_chains(client, names);
        } else if (what < 65) {
            driver_looks(client, names);
        } else if (what < 72) {
            driver_waits(client, names);
        } else if (what < 90) {
            driver_frees(client, names);
        } else if (what < 96) {
            driver_gives(client, names);
        } else {
            driver_prefetches(client, names);
        }
        client_sleep(client, one_in(client, 4) ? below(client, 40 * SIM_MS) : below(client, SIM_MS));
    }
    client_say(client, true);
    driver->is_parked = true;
    while (!client->world->is_ending) {
        client_sleep(client, 50 * SIM_MS);
        client_say(client, true);
    }
    bool looks = !one_in(client, 4), frees = !one_in(client, 4);
    while (names->count > 0 && (looks || frees)) {
        if (looks) {
            struct seen seen;
            program_look(client, 0, names->refs[0], &seen);
        }
        struct object_id id = object_id_of(names->refs[0]);
        drop_name(names, 0);
        ROOST_INVARIANT(client_free(client->core, 0, id) == 0);
    }
    client_say(client, true);
}

/* ------------------------------------------------------------------------------------------------ functions */

struct function {
    struct client *client;
    const struct given_task *task;
    uint64_t chance; /* from the task's id alone */
    struct names names;
    int64_t depth;
    uint64_t run;
};

static uint64_t choose(struct function *function, uint64_t limit)
{
    function->chance = hash_mix(function->chance, 1);
    return (function->chance >> 32) % limit;
}

static int32_t open_gather(struct function *function, roost_ref gather)
{
    struct client *client = function->client;
    struct seen seen;
    program_look(client, function->run, object_ref(object_id_of(gather)), &seen);
    for (uint32_t i = 0; i < seen.refs_count && seen.status == 0; i++) {
        struct seen item;
        program_look(client, function->run, (roost_ref){ seen.refs[i].id, gather.offset, ROOST_COLUMN }, &item);
        seen.status = item.status;
    }
    return seen.status;
}

/* Every argument is looked at; what may be named in results and calls is noted. */
static int32_t open_args(struct function *function)
{
    const struct spec *spec = function->task->spec;
    for (uint32_t i = 0; i < spec->args_count; i++) {
        const struct spec_arg *arg = &spec_args(spec)[i];
        struct seen seen = { 0 };
        if (arg->kind == ROOST_IN_INT) {
            function->depth = arg->as.i;
        } else if (arg->kind == ROOST_IN_GATHER) {
            seen.status = open_gather(function, arg->as.ref);
        } else if (arg->kind == ROOST_IN_REF) {
            program_look(function->client, function->run, arg->as.ref, &seen);
        }
        if (seen.status != 0) {
            return seen.status;
        }
        if (arg->kind == ROOST_IN_REF || arg->kind == ROOST_IN_HANDLE) {
            add_name(&function->names, object_ref(object_id_of(arg->as.ref)), false);
        }
    }
    return 0;
}

static int32_t call_children(struct function *function)
{
    struct client *client = function->client;
    uint64_t children = function->depth > 0 ? choose(function, 3) : 0;
    for (uint64_t c = 0; c < children; c++) {
        roost_in args[ARGS_MAX] = { { ROOST_IN_INT, 0, { .i = function->depth - 1 } } };
        uint32_t count = 1;
        for (uint32_t i = 0; i < 2 && function->names.count > 0; i++) {
            roost_ref ref = function->names.refs[choose(function, function->names.count)];
            args[count++] = choose(function, 3) == 0 ? in_handle(ref) : in_ref(ref);
        }
        struct spec_draft draft = { .function = "mix",
                                    .cpus_hundredths = 25 + (uint32_t)choose(function, 3) * 25,
                                    .returns = 1 + (uint32_t)choose(function, 2),
                                    .max_retries = 4,
                                    .flags = SPEC_RETRY_ON_FAILURE,
                                    .args = args,
                                    .args_count = count };
        roost_ref refs[4];
        if (!program_call(client, function->run, &draft, refs)) {
            return ROOST_EFULL;
        }
        for (uint32_t i = 0; i < draft.returns; i++) {
            add_name(&function->names, refs[i], false);
        }
        if (choose(function, 3) == 0) {
            struct seen seen;
            program_look(client, function->run, refs[0], &seen);
            if (seen.status != 0) {
                return seen.status;
            }
        }
    }
    return 0;
}

static int32_t put_some(struct function *function)
{
    uint64_t puts = choose(function, 3);
    for (uint64_t i = 0; i < puts; i++) {
        roost_ref refs[2], ref;
        uint32_t count = function->names.count == 0 ? 0 : (uint32_t)choose(function, 3);
        for (uint32_t r = 0; r < count; r++) {
            refs[r] = function->names.refs[choose(function, function->names.count)];
        }
        if (!program_put(function->client, function->run, TABLE_RAW, refs, count, false, &ref)) {
            return ROOST_EFULL;
        }
        add_name(&function->names, ref, false);
    }
    return 0;
}

static int32_t give_results(struct function *function)
{
    struct client *client = function->client;
    const struct spec *spec = function->task->spec;
    bool columned = strcmp(spec_function(spec), "columns") == 0;
    for (uint32_t i = 0; i < spec->returns; i++) {
        struct object_id id = result_id(spec->task, i);
        enum table_format format = TABLE_RAW;
        roost_ref refs[3];
        uint32_t count = 0;
        uint64_t what = columned ? 0 : choose(function, 4);
        if (what == 1 && function->names.count > 0) {
            format = TABLE_FORWARD;
            count = 1;
        } else if (what == 2 && function->names.count > 0) {
            count = 1 + (uint32_t)choose(function, 2);
        }
        for (uint32_t r = 0; r < count; r++) {
            refs[r] = function->names.refs[choose(function, function->names.count)];
        }
        struct wire_object wire;
        bool in_slab;
        if (!program_make(client, function->run, id, format, refs, count, columned, &wire, &in_slab)) {
            return ROOST_EFULL;
        }
        ROOST_INVARIANT(client_result(client->core, function->run, i, &wire, refs, in_slab) == 0);
        client_say(client, true);
    }
    return 0;
}

static int32_t run_function(struct function *function, const char **text_out)
{
    struct client *client = function->client;
    const struct world_shape *shape = &client->world->shape;
    *text_out = "an argument, a child or room";
    int32_t status = open_args(function);
    client_sleep(client, below(client, 10 * SIM_MS));
    if (status == 0) {
        status = call_children(function);
    }
    if (status == 0) {
        status = put_some(function);
    }
    uint64_t luck = hash_mix(function->task->spec->task.lo, function->task->task.attempt);
    if (status == 0 && shape->fails && luck % 7 == 0) {
        *text_out = "by chance";
        return ROOST_EFAILED;
    }
    if (status == 0) {
        status = give_results(function);
    }
    return status;
}

void program_worker(struct client *client)
{
    for (;;) {
        struct given_task *task = client_next_task(client);
        struct function function = { .client = client,
                                     .task = task,
                                     .chance = hash_mix(task->spec->task.hi, task->spec->task.lo),
                                     .run = task->task.run };
        oracle_keep(client, task->spec);
        oracle_keep(client, task);
        world_tell(client->world, (int)client->node->place, "client %u runs %s %llx, attempt %u", client->key.slot,
                   spec_function(task->spec), (unsigned long long)task->spec->task.lo, task->task.attempt);
        ROOST_INVARIANT(client_scope_begin(client->core, function.run, task->spec->task, task->task.prefix) == 0);
        client_sleep(client, below(client, SIM_MS));
        const char *text;
        int32_t status = run_function(&function, &text);
        world_tell(client->world, (int)client->node->place, "client %u has run %llx: %d", client->key.slot,
                   (unsigned long long)task->spec->task.lo, status);
        client_complete(client, function.run, status, status == 0 ? "" : text);
        client_scope_end(client->core, function.run);
        oracle_let_go(client, task->spec);
        oracle_let_go(client, task);
    }
}

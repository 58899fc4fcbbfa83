/* agent_bench.c - see the header
 *
 * Happy path: an event -> the core's step -> each command is done at once: the bench has the table, the timers, the
 *             processes, the tasks and the pulls that the daemon would have, as arrays.
 * Failures:   a command that cannot be, or one too many for an array, fails the test where it stands.
 * Invariants: the core's own check holds after every step, but for a bench that is crowded, where it would take too
 *             long.
 * Thread:     one.
 */
#include "tests/lib/agent_bench.h"
#include "common/hash.h"
#include "common/job.h"
#include "tests/lib/test.h"

#include <string.h>

static struct bench_entry *entry_of(struct bench *bench, struct object_id id)
{
    for (size_t i = 0; i < bench->entries_count; i++) {
        if (!bench->entries[i].is_behind && object_id_eq(bench->entries[i].entry.object.id, id)) {
            return &bench->entries[i];
        }
    }
    return NULL;
}

static void remove_token(uint64_t *tokens, size_t *count, uint64_t token)
{
    for (size_t i = 0; i < *count; i++) {
        if (tokens[i] == token) {
            tokens[i] = tokens[--*count];
            return;
        }
    }
}

static void step(struct bench *bench, struct core_event *event);

static void reclaim(struct bench *bench, struct bench_entry *entry)
{
    struct core_event event = { .kind = CORE_DONE, .u.done.token = entry->retire_token };
    *entry = bench->entries[--bench->entries_count];
    step(bench, &event);
}

static void run_entry(struct bench *bench, const struct core_command *command)
{
    const struct agent_entry *body = core_body(command);
    struct bench_entry *entry = entry_of(bench, body->object.id);
    if (body->op == AGENT_ENTRY_PUBLISH) {
        if (entry == NULL) {
            CHECK(bench->entries_count < BENCH_ENTRIES_MAX);
            entry = &bench->entries[bench->entries_count++];
        }
        *entry = (struct bench_entry){ .entry = *body };
        return;
    }
    CHECK(entry != NULL);
    if (body->op == AGENT_ENTRY_RETIRE) {
        CHECK(entry->retire_token == 0);
        entry->retire_token = command->token;
        return;
    }
    /* the entry stays and says "ask"; the bytes that were there wait behind it */
    CHECK(bench->entries_count < BENCH_ENTRIES_MAX);
    CHECK((body->op == AGENT_ENTRY_REVIVE) == (entry->retire_token != 0));
    struct bench_entry *behind = &bench->entries[bench->entries_count++];
    *behind = *entry;
    behind->is_behind = true;
    behind->retire_token = body->op == AGENT_ENTRY_REVIVE ? entry->retire_token : command->token;
    *entry = (struct bench_entry){ .entry = *body };
}

static void keep_retired(struct bench *bench, uint64_t token)
{
    if (bench->retired_count == bench->retired_capacity) {
        bench->retired_capacity = bench->retired_capacity * 2 + 64;
        bench->retired = realloc(bench->retired, bench->retired_capacity * sizeof *bench->retired);
        CHECK(bench->retired != NULL);
    }
    bench->retired[bench->retired_count++] = token;
}

/* True when the command is only counted. */
static bool count_only(struct bench *bench, const struct core_command *command)
{
    if (!bench->is_crowded) {
        return false;
    }
    if (command->kind == CORE_TABLE && command->token != 0) {
        keep_retired(bench, command->token);
    } else if (command->kind == CORE_SEND) {
        const struct proto_message *message = core_body(command);
        bench->listed_objects += message->kind == PROTO_LIST_OBJECTS ? message->u.list_objects.count : 0;
        bench->listed_tasks += message->kind == PROTO_LIST_TASKS ? message->u.list_tasks.count : 0;
    }
    return command->kind == CORE_TABLE || command->kind == CORE_SEND || command->kind == CORE_REPLY;
}

static void run(struct bench *bench, const struct core_command *command)
{
    if (count_only(bench, command)) {
        return;
    }
    switch (command->kind) {
    case CORE_REPLY: {
        CHECK(bench->said_count < BENCH_SAID_MAX);
        struct bench_said *said = &bench->said[bench->said_count++];
        const struct wire_entry *entry = core_body(command);
        CHECK_EQ(wire_check(entry, entry->bytes), 0);
        CHECK(entry->bytes <= sizeof said->bytes);
        said->client = core_client_of(command->to);
        said->bell = command->token;
        memcpy(said->bytes, entry, entry->bytes);
        break;
    }
    case CORE_TASK: {
        const struct agent_task *body = core_body(command);
        CHECK(bench->tasks_count < BENCH_TASKS_MAX);
        bench->tasks[bench->tasks_count++] = (struct bench_task){ core_client_of(command->to), body->task,
                                                                  body->spec->task };
        break;
    }
    case CORE_LEASE:
        bench->lease_memory = *(const struct agent_lease *)core_body(command);
        break;
    case CORE_TABLE:
        run_entry(bench, command);
        break;
    case CORE_SPAWN: {
        const struct agent_spawn *body = core_body(command);
        if (body->way == AGENT_SPAWN_FORKER) {
            bench->forker = command->token;
            bench->forkers_count++;
            break;
        }
        CHECK(bench->ways_count < BENCH_SPAWNS_MAX);
        bench->ways[bench->ways_count++] = body->way;
        CHECK(bench->spawns_count < BENCH_SPAWNS_MAX);
        bench->spawns[bench->spawns_count++] = command->token;
        break;
    }
    case CORE_KILL:
        CHECK(bench->killed_count < BENCH_SPAWNS_MAX);
        bench->killed[bench->killed_count++] = command->token;
        break;
    case CORE_CLOSE:
        bench->closed_count++;
        break;
    case CORE_DRAIN:
        bench->drain_wanted = true;
        break;
    case CORE_ARM:
        CHECK(agent_token_serial(command->token) < ROOST_COUNT_OF(bench->timers));
        bench->timers[agent_token_serial(command->token)] = command->at_ns;
        break;
    case CORE_SEND: {
        CHECK(bench->sent_count < BENCH_SENT_MAX);
        bench->head_mark = command->to == core_peer_key((struct core_peer){ 0, 0 }) ? (uint32_t)command->token
                                                                                    : bench->head_mark;
        struct bench_sent *sent = &bench->sent[bench->sent_count++];
        sent->to = core_peer_of(command->to);
        sent->message = *(const struct proto_message *)core_body(command);
        enum proto_kind kind = sent->message.kind;
        if (kind == PROTO_HOLD || kind == PROTO_DROP || kind == PROTO_WANT) {
            const struct proto_objects *objects = &sent->message.u.hold.objects;
            sent->ids_count = objects->count < ROOST_COUNT_OF(sent->ids) ? objects->count : ROOST_COUNT_OF(sent->ids);
            memcpy(sent->ids, objects->ids, sent->ids_count * sizeof *sent->ids);
        } else if (kind == PROTO_LIST_OBJECTS) {
            const struct proto_list_objects *listed = &sent->message.u.list_objects;
            sent->ids_count = listed->count < ROOST_COUNT_OF(sent->ids) ? listed->count : ROOST_COUNT_OF(sent->ids);
            for (size_t i = 0; i < sent->ids_count; i++) {
                sent->ids[i] = listed->items[i].object;
            }
        } else if (kind == PROTO_PROGRESS) {
            const struct proto_progress *progress = &sent->message.u.progress;
            size_t count = progress->count < ROOST_COUNT_OF(sent->items) ? progress->count
                                                                         : ROOST_COUNT_OF(sent->items);
            memcpy(sent->items, progress->items, count * sizeof *sent->items);
        }
        if (kind == PROTO_COMPLETE && sent->message.u.complete.failure != NULL) {
            sent->failure_status = sent->message.u.complete.failure->status;
            snprintf(sent->failure_text, sizeof sent->failure_text, "%s", sent->message.u.complete.failure->text);
        }
        if (kind == PROTO_LIST_TASKS && sent->message.u.list_tasks.count > 0) {
            sent->spec_bytes = sent->message.u.list_tasks.items[0].spec.size;
        }
        if (kind == PROTO_LOAD) {
            size_t count = sent->message.u.load.pulled_count;
            count = count < ROOST_COUNT_OF(sent->pulled) ? count : ROOST_COUNT_OF(sent->pulled);
            memcpy(sent->pulled, sent->message.u.load.pulled, count * sizeof *sent->pulled);
        }
        break;
    }
    case CORE_PULL:
        CHECK(bench->pulls_count < BENCH_PULLS_MAX);
        bench->pulls[bench->pulls_count++] = (struct bench_pull){ command->token,
                                                                  *(const struct agent_pull *)core_body(command) };
        break;
    case CORE_WRITE:
    case CORE_WAKE:
        break;
    case CORE_FILLER:
    case CORE_DISARM:
    case CORE_SPILL:
    case CORE_COMMIT:
        CHECK(!"a command that this bench knows");
    }
}

bool bench_is_valid(const struct bench *bench) { return agent_core.is_valid(bench->agent); }

static void step_once(struct bench *bench, struct core_event *event)
{
    event->now_ns = bench->now_ns;
    core_out_clear(&bench->out);
    agent_core.step(bench->agent, event, &bench->out);
    CHECK(bench->is_crowded || bench_is_valid(bench));
    bench->step_bytes_max = bench->out.used > bench->step_bytes_max ? bench->out.used : bench->step_bytes_max;
    for (const struct core_command *c = core_next(&bench->out, NULL); c != NULL; c = core_next(&bench->out, c)) {
        run(bench, c);
    }
}

static void step(struct bench *bench, struct core_event *event)
{
    step_once(bench, event);
    for (size_t i = 0; i < bench->entries_count; i++) {
        if (bench->entries[i].retire_token != 0 && !bench->entries[i].is_pinned) {
            reclaim(bench, &bench->entries[i]);
            return; /* that step has looked at the rest */
        }
    }
}

void bench_reclaim_all(struct bench *bench)
{
    while (bench->retired_count > 0) {
        struct core_event done = { .kind = CORE_DONE, .u.done.token = bench->retired[--bench->retired_count] };
        step_once(bench, &done);
    }
}

void bench_start(struct bench *bench, uint64_t store_bytes, uint32_t cpus)
{
    bench_start_with_entries(bench, store_bytes, cpus, 0);
}

static struct agent_config config_of(uint64_t store_bytes, uint32_t cpus)
{
    return (struct agent_config){ .node = { 7, 7 },
                                  .node_name = "bench",
                                  .cpus_hundredths = cpus * 100,
                                  .memory_bytes = ROOST_GIB(1),
                                  .segments_count = 1,
                                  .segment_bytes = { store_bytes },
                                  .workers_max = cpus * 4,
                                  .alone = true };
}

static void start(struct bench *bench, const struct agent_config *config)
{
    memset(bench, 0, sizeof *bench);
    CHECK_EQ(agent_create(&bench->agent, config), 0);
    CHECK_EQ(core_out_init(&bench->out, agent_core.out_bytes_max), 0);
    bench->said = calloc(BENCH_SAID_MAX, sizeof *bench->said);
    CHECK(bench->said != NULL);
    bench->now_ns = 1;
    memset(bench->timers, 0xff, sizeof bench->timers);
    bench->job = (struct job_id){ 11, 12 };
}

void bench_start_with_entries(struct bench *bench, uint64_t store_bytes, uint32_t cpus, uint32_t entries_max)
{
    struct agent_config config = config_of(store_bytes, cpus);
    config.entries_max = entries_max;
    start(bench, &config);
}

void bench_start_forking(struct bench *bench, uint32_t cpus, const char *prefix, const char *environment)
{
    struct agent_config config = config_of(ROOST_MIB(1), cpus);
    config.prestart_workers = cpus;
    config.forks = true;
    start(bench, &config);
    char *const args[] = { (char *)"program", (char *)"ROOST_FORK=0", NULL };
    char *const env[] = { (char *)(uintptr_t)environment, NULL };
    const struct job_draft draft = {
        .name = "job", .program = "/bin/program", .worker_prefix = prefix, .args = args, .env = env
    };
    CHECK_EQ(job_write(&draft, &bench->program), 0);
}

void bench_end(struct bench *bench, bool empty)
{
    struct agent_counts counts = agent_counts(bench->agent);
    if (empty) {
        CHECK_EQ(counts.objects, 0);
        CHECK_EQ(counts.bytes_used, 0);
        CHECK_EQ(bench->entries_count, 0);
    }
    CHECK_EQ(bench->closed_count, 0);
    agent_destroy(bench->agent);
    core_out_fini(&bench->out);
    free(bench->said);
    free(bench->retired);
    free(bench->program);
}

static struct core_client up(struct bench *bench, uint64_t token)
{
    static const struct {
        struct job_spec job;
        char texts[8]; /* a name, a program and a prefix, all empty */
    } job = { .job = { .layout = JOB_LAYOUT, .bytes = sizeof job } };
    struct core_client client = { bench->clients_count++, 1 };
    struct core_event event = { .kind = CORE_CLIENT_UP,
                                .u.client = { .client = client,
                                              .token = token,
                                              .pid = 1000 + client.slot,
                                              .job = { bench->job.hi, bench->job.lo },
                                              .data = bench->program != NULL ? bench->program : &job.job,
                                              .bytes = bench->program != NULL ? bench->program->bytes : sizeof job } };
    step(bench, &event);
    return client;
}

struct core_client bench_driver(struct bench *bench) { return up(bench, 0); }

struct core_client bench_worker(struct bench *bench, uint64_t spawn_token)
{
    remove_token(bench->spawns, &bench->spawns_count, spawn_token);
    return up(bench, spawn_token);
}

void bench_workers_come(struct bench *bench)
{
    while (bench->spawns_count > 0) {
        bench_worker(bench, bench->spawns[0]);
    }
}

void bench_gone(struct bench *bench, struct core_client client, int32_t wait_status)
{
    struct core_event event = { .kind = CORE_CLIENT_GONE, .u.client = { .client = client, .status = wait_status } };
    step(bench, &event);
}

void bench_entry(struct bench *bench, struct core_client client, const struct wire_entry *entry)
{
    struct core_event event = { .kind = CORE_RING_ENTRY, .u.ring = { client, entry } };
    step(bench, &event);
}

void bench_drain(struct bench *bench)
{
    while (bench->drain_wanted) {
        bench->drain_wanted = false;
        struct core_event event = { .kind = CORE_DRAINED };
        step(bench, &event);
    }
}

void bench_tick(struct bench *bench)
{
    for (size_t i = 0; i < ROOST_COUNT_OF(bench->timers); i++) {
        if (bench->timers[i] <= bench->now_ns) {
            bench->timers[i] = UINT64_MAX;
            struct core_event event = { .kind = CORE_TICK, .u.timer.key = agent_token(AGENT_TIMER, i) };
            step(bench, &event);
        }
    }
}

void bench_time(struct bench *bench, uint64_t now_ns)
{
    bench->now_ns = now_ns;
    bench_tick(bench);
}

void bench_session(struct bench *bench, struct core_peer peer, bool is_up)
{
    struct core_event event = { .kind = is_up ? CORE_SESSION_UP : CORE_SESSION_LOST, .u.session = { .peer = peer } };
    step(bench, &event);
}

void bench_message(struct bench *bench, struct core_peer from, const struct proto_message *message)
{
    struct core_event event = { .kind = CORE_MESSAGE, .u.message = { .peer = from, .body = message } };
    event.u.message.seen = from.node == 0 ? bench->head_mark : 0;
    step(bench, &event);
}

void bench_head_welcomes(struct bench *bench)
{
    bench->head_mark = 0;
    struct core_event up = { .kind = CORE_SESSION_UP };
    step(bench, &up);
    struct proto_message welcome = {
        .kind = PROTO_WELCOME, .u.welcome = { .cluster = { 1, 1 }, .epoch = 1, .number = BENCH_NODE, .incarnation = 1 }
    };
    bench_message(bench, (struct core_peer){ 0, 0 }, &welcome);
    struct proto_node items[2] = {
        { .id = { 7, 7 }, .number = BENCH_NODE, .incarnation = 1, .state = PROTO_NODE_ALIVE, .host = "", .labels = "" },
        { .id = { 8, 8 }, .number = BENCH_OTHER, .incarnation = 1, .state = PROTO_NODE_ALIVE, .host = "", .labels = "" }
    };
    struct proto_message nodes = { .kind = PROTO_NODES, .u.nodes = { items, 2 } };
    bench_message(bench, (struct core_peer){ 0, 0 }, &nodes);
}

void bench_head_comes(struct bench *bench)
{
    bench_head_welcomes(bench);
    bench_tick(bench);
}

const struct bench_sent *bench_sent(const struct bench *bench, enum proto_kind kind)
{
    for (size_t i = bench->sent_count; i > 0; i--) {
        if (bench->sent[i - 1].message.kind == kind) {
            return &bench->sent[i - 1];
        }
    }
    return NULL;
}

size_t bench_sent_count(const struct bench *bench, enum proto_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < bench->sent_count; i++) {
        count += bench->sent[i].message.kind == kind;
    }
    return count;
}

bool bench_sent_names(const struct bench *bench, enum proto_kind kind, struct object_id id)
{
    for (size_t i = 0; i < bench->sent_count; i++) {
        for (size_t n = 0; bench->sent[i].message.kind == kind && n < bench->sent[i].ids_count; n++) {
            if (object_id_eq(bench->sent[i].ids[n], id)) {
                return true;
            }
        }
    }
    return false;
}

const struct bench_pull *bench_pull(const struct bench *bench, enum agent_pull_op op)
{
    for (size_t i = bench->pulls_count; i > 0; i--) {
        if (bench->pulls[i - 1].command.op == op) {
            return &bench->pulls[i - 1];
        }
    }
    return NULL;
}

void bench_done(struct bench *bench, uint64_t token, int status, uint64_t value, const void *data, size_t bytes)
{
    struct core_event event = {
        .kind = CORE_DONE, .u.done = { .token = token, .status = status, .value = value, .data = data, .bytes = bytes }
    };
    step(bench, &event);
}

static bool is_from(const struct bench_said *said, struct core_client client, enum wire_kind kind)
{
    return said->client.slot == client.slot && ((const struct wire_entry *)(const void *)said->bytes)->kind == kind;
}

const void *bench_said(const struct bench *bench, struct core_client client, enum wire_kind kind)
{
    for (size_t i = bench->said_count; i > 0; i--) {
        if (is_from(&bench->said[i - 1], client, kind)) {
            return bench->said[i - 1].bytes;
        }
    }
    return NULL;
}

size_t bench_said_count(const struct bench *bench, struct core_client client, enum wire_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < bench->said_count; i++) {
        count += is_from(&bench->said[i], client, kind);
    }
    return count;
}

const struct agent_entry *bench_find(const struct bench *bench, struct object_id id)
{
    const struct bench_entry *entry = entry_of((struct bench *)(uintptr_t)bench, id);
    return entry == NULL || entry->retire_token != 0 ? NULL : &entry->entry;
}

void bench_pin(struct bench *bench, struct object_id id)
{
    struct bench_entry *entry = entry_of(bench, id);
    CHECK(entry != NULL);
    entry->is_pinned = true;
}

void bench_unpin(struct bench *bench, struct object_id id)
{
    for (size_t i = 0; i < bench->entries_count; i++) {
        struct bench_entry *entry = &bench->entries[i];
        if (object_id_eq(entry->entry.object.id, id) && entry->is_pinned) {
            entry->is_pinned = false;
            if (entry->retire_token != 0) {
                reclaim(bench, entry);
            }
            return;
        }
    }
    CHECK(false);
}

int bench_room(struct bench *bench, struct core_client client, uint64_t scope, enum wire_room purpose, uint64_t bytes,
               struct wire_place *place_out)
{
    struct wire_room_request request = {
        .head = { WIRE_ROOM, sizeof request, ++bench->next_token }, .bytes = bytes, .purpose = purpose, .scope = scope
    };
    bench_entry(bench, client, &request.head);
    const struct wire_room_given *given = bench_said(bench, client, WIRE_ROOM_GIVEN);
    if (given == NULL || given->head.token != request.head.token) {
        return 1;
    }
    *place_out = given->place;
    return given->status;
}

struct object_id bench_put(struct bench *bench, struct core_client client, uint64_t bytes, const roost_ref *refs,
                           uint32_t refs_count)
{
    struct object_id id = { agent_client_prefix(bench->agent, client), ++bench->next_put };
    struct wire_place place = { 0 };
    CHECK_EQ(bench_room(bench, client, 0, WIRE_ROOM_OBJECT, wire_object_bytes(bytes, 0, refs_count), &place), 0);
    if (refs_count > 0) {
        size_t size = sizeof(struct wire_refs) + refs_count * sizeof *refs;
        struct wire_refs *told = calloc(1, size);
        CHECK(told != NULL);
        *told = (struct wire_refs){ .head = { WIRE_REFS, (uint32_t)size, 0 }, .container = id, .count = refs_count };
        memcpy(told->refs, refs, refs_count * sizeof *refs);
        bench_entry(bench, client, &told->head);
        free(told);
    }
    struct wire_announce announce = { .head = { WIRE_ANNOUNCE, sizeof announce, 0 },
                                      .object = { .id = id, .place = place, .size = bytes, .refs = refs_count } };
    bench_entry(bench, client, &announce.head);
    return id;
}

void bench_names(struct bench *bench, struct core_client client, enum wire_kind kind, uint64_t scope,
                 struct object_id id)
{
    struct {
        struct wire_names names;
        struct object_id id;
    } entry = { { .head = { kind, sizeof entry, 0 }, .scope = scope, .count = 1 }, id };
    bench_entry(bench, client, &entry.names.head);
}

uint64_t bench_wait(struct bench *bench, struct core_client client, uint64_t scope, uint32_t flags, uint32_t wanted,
                    const struct object_id *ids, uint32_t count)
{
    size_t size = sizeof(struct wire_wait) + count * sizeof(roost_ref);
    struct wire_wait *wait = calloc(1, size);
    CHECK(wait != NULL);
    *wait = (struct wire_wait){ .head = { WIRE_WAIT, (uint32_t)size, ++bench->next_token },
                                .scope = scope,
                                .total = count,
                                .wanted = wanted,
                                .flags = flags,
                                .count = count };
    for (uint32_t i = 0; i < count; i++) {
        wait->refs[i] = object_ref(ids[i]);
    }
    bench_entry(bench, client, &wait->head);
    free(wait);
    return bench->next_token;
}

struct task_id bench_submit(struct bench *bench, struct core_client client, uint64_t scope,
                            const struct spec_draft *draft)
{
    struct spec_draft full = *draft;
    full.job = bench->job;
    if (task_id_is_none(full.parent)) {
        full.parent = task_id_from(job_id_key(bench->job));
    }
    full.call = full.call == 0 ? ++bench->next_call : full.call;
    full.cpus_hundredths = full.cpus_hundredths == 0 ? 100 : full.cpus_hundredths;
    size_t bytes;
    CHECK_EQ(spec_measure(&full, &bytes), 0);
    struct spec *spec = calloc(1, bytes);
    CHECK(spec != NULL);
    spec_write(&full, spec, bytes);
    CHECK_EQ(spec_check(spec, bytes), 0);
    struct agent_submit submit = { .head = { AGENT_SUBMIT, sizeof submit, ++bench->next_token },
                                   .scope = scope,
                                   .attempt = bench->submit_attempt,
                                   .spec = spec };
    bench_entry(bench, client, &submit.head);
    struct task_id id = spec->task;
    free(spec);
    return id;
}

struct bench_task bench_take(struct bench *bench)
{
    bench_workers_come(bench);
    CHECK(bench->tasks_count > 0);
    struct bench_task task = bench->tasks[0];
    memmove(bench->tasks, bench->tasks + 1, --bench->tasks_count * sizeof *bench->tasks);
    return task;
}

void bench_result(struct bench *bench, const struct bench_task *task, uint32_t index, uint64_t bytes)
{
    struct wire_place place = { 0 };
    if (bytes > 0) {
        CHECK_EQ(bench_room(bench, task->client, task->task.run, WIRE_ROOM_OBJECT, bytes, &place), 0);
    }
    struct wire_result result = { .head = { WIRE_RESULT, sizeof result, 0 },
                                  .run = task->task.run,
                                  .index = index,
                                  .object = { .id = result_id(task->id, index), .place = place, .size = bytes } };
    bench_entry(bench, task->client, &result.head);
}

void bench_result_ref(struct bench *bench, const struct bench_task *task, uint32_t index, roost_ref target)
{
    struct wire_place place = { 0 };
    struct object_id id = result_id(task->id, index);
    CHECK_EQ(bench_room(bench, task->client, task->task.run, WIRE_ROOM_OBJECT, wire_object_bytes(sizeof target, 0, 1),
                        &place),
             0);
    struct {
        struct wire_refs refs;
        roost_ref ref;
    } told = { { .head = { WIRE_REFS, sizeof told, 0 }, .container = id, .count = 1 }, target };
    bench_entry(bench, task->client, &told.refs.head);
    struct wire_result result = {
        .head = { WIRE_RESULT, sizeof result, 0 },
        .run = task->task.run,
        .index = index,
        .object = { .id = id, .place = place, .size = sizeof target, .refs = 1, .format = TABLE_FORWARD }
    };
    bench_entry(bench, task->client, &result.head);
}

void bench_complete(struct bench *bench, const struct bench_task *task, int32_t status, const char *text)
{
    struct {
        struct wire_complete complete;
        char text[256];
    } entry = { .complete = { .run = task->task.run, .status = status } };
    entry.complete.text_bytes = (uint32_t)strlen(text);
    entry.complete.head = (struct wire_entry){
        WIRE_COMPLETE, (uint32_t)align_up(offsetof(struct wire_complete, text) + strlen(text), 8), 0
    };
    memcpy(entry.complete.text, text, strlen(text));
    bench_entry(bench, task->client, &entry.complete.head);
}

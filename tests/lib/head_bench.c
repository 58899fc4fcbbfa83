/* head_bench.c - see the header
 *
 * Happy path: an event -> the core's step -> each command is done at once: facts are kept, what is said to an agent is
 *             noted and raises its mark.
 * Failures:   a command that cannot be, or one too many for an array, fails the test where it stands.
 * Invariants: the core's own checks hold after every step; what an agent is told comes in order.
 * Thread:     one.
 */
#include "tests/lib/head_bench.h"
#include "objectstore/table.h"
#include "tests/lib/test.h"

#include <string.h>

static void step(struct bench *bench, struct core_event *event);

static struct core_peer peer_of(const struct bench_agent *agent)
{
    return (struct core_peer){ agent->number, agent->incarnation };
}

static struct bench_agent *agent_of(struct bench *bench, uint64_t key)
{
    for (uint32_t i = 0; i < BENCH_AGENTS; i++) {
        struct bench_agent *agent = &bench->agents[i];
        if (agent->is_up && core_peer_key(peer_of(agent)) == key) {
            return agent;
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------ commands */

static void note_names(struct bench_said *said, const struct proto_names *names)
{
    said->object = names->objects.ids[0];
    said->ids_count = (uint32_t)names->objects.count;
    for (size_t i = 0; i < names->objects.count && i < BENCH_IDS_MAX; i++) {
        said->ids[i] = names->objects.ids[i];
    }
}

static void note_found(struct bench_said *said, const struct proto_found *found)
{
    said->object = found->object;
    said->state = found->state;
    said->has_value = found->has_value;
    said->holders = (uint32_t)found->holders.count;
    said->holder = found->holders.count > 0 ? found->holders.nodes[0] : 0;
    if (found->failure != NULL) {
        said->status = found->failure->status;
        snprintf(said->text, sizeof said->text, "%s", found->failure->text);
    }
}

static void note_task(struct bench_said *said, const struct proto_task *task)
{
    said->task = task->task;
    said->attempt = task->attempt;
    said->args_count = (uint32_t)task->args_count;
    CHECK_EQ(spec_check(task->spec.data, task->spec.size), 0);
    for (size_t i = 0; i < task->args_count; i++) {
        CHECK(i == 0 ||
              id_key_compare(object_id_key(task->args[i - 1].object), object_id_key(task->args[i].object)) < 0);
        said->args_sealed += task->args[i].holders.count > 0 || task->args[i].has_value ? 1 : 0;
    }
}

static void note_rows(struct bench_said *said, const struct proto_rows *rows)
{
    size_t used = 0;
    said->status = rows->status;
    said->last = rows->last;
    said->total = rows->total;
    said->cells = (uint32_t)rows->cells_count;
    for (size_t i = 0; i < rows->cells_count && used < sizeof said->text; i++) {
        used += (size_t)snprintf(said->text + used, sizeof said->text - used, "%s|", rows->cells[i]);
    }
    if (rows->status != 0) {
        snprintf(said->text, sizeof said->text, "%s", rows->text);
    }
}

static void note(struct bench *bench, uint64_t to, const struct proto_message *message)
{
    if (bench->is_large && bench->said_count == BENCH_SAID_MAX) {
        return;
    }
    CHECK(bench->said_count < BENCH_SAID_MAX);
    struct bench_said *said = &bench->said[bench->said_count++];
    memset(said, 0, sizeof *said);
    said->to = to;
    said->kind = message->kind;
    if (message->kind == PROTO_TASK) {
        note_task(said, &message->u.task);
    } else if (message->kind == PROTO_FOUND) {
        note_found(said, &message->u.found);
    } else if (message->kind == PROTO_FREE || message->kind == PROTO_GONE) {
        note_names(said, &message->u.free);
    } else if (message->kind == PROTO_DEAD) {
        said->node = message->u.dead.node;
        said->incarnation = message->u.dead.incarnation;
    } else if (message->kind == PROTO_NODES) {
        said->nodes = (uint32_t)message->u.nodes.count;
        said->node = message->u.nodes.items[0].number;
    } else if (message->kind == PROTO_CANCEL) {
        said->task = message->u.cancel.task;
        said->attempt = message->u.cancel.attempt;
    } else if (message->kind == PROTO_HANDBACK) {
        said->task = message->u.handback.task;
        said->reason = message->u.handback.reason;
    } else if (message->kind == PROTO_ROWS) {
        note_rows(said, &message->u.rows);
    }
}

/* What a host does with WELCOME: from here on the session has a name. */
static void welcome(struct bench *bench, uint64_t to, const struct proto_welcome *welcome)
{
    for (uint32_t i = 0; i < BENCH_AGENTS; i++) {
        struct bench_agent *agent = &bench->agents[i];
        if (agent->handle != 0 && core_peer_key((struct core_peer){ 0, (uint32_t)agent->handle }) == to) {
            agent->number = welcome->number;
            agent->incarnation = welcome->incarnation;
            agent->is_up = true;
            agent->handle = 0;
            agent->mark = agent->seen = 0;
            return;
        }
    }
    CHECK_EQ(to, 0); /* WELCOME goes to a session that waits for it */
}

static void run(struct bench *bench, const struct core_command *command)
{
    const struct proto_message *message = core_body(command);
    struct bench_agent *agent;
    switch (command->kind) {
    case CORE_SEND:
        if (message->kind == PROTO_WELCOME) {
            welcome(bench, command->to, &message->u.welcome);
        }
        agent = agent_of(bench, command->to);
        if (agent != NULL) {
            CHECK(command->token >= agent->mark);
            agent->mark = (uint32_t)command->token;
            agent->seen = agent->is_deaf ? agent->seen : agent->mark;
            bool is_news = message->kind == PROTO_NODES && !agent->is_deaf && message->u.nodes.news != 0;
            agent->news = is_news ? message->u.nodes.news : agent->news;
        } else {
            CHECK(core_peer_of(command->to).node == 0);
        }
        note(bench, command->to, message);
        break;
    case CORE_ARM:
        bench->timers[command->token] = command->at_ns;
        break;
    case CORE_CLOSE:
        CHECK(bench->closed_count < BENCH_AGENTS);
        bench->closed[bench->closed_count++] = command->to;
        agent = agent_of(bench, command->to);
        if (agent != NULL) {
            agent->is_up = false;
        }
        break;
    case CORE_COMMIT:
        CHECK_EQ(ledger_commit(&bench->ledger, core_body(command)), 0);
        break;
    case CORE_FILLER:
    case CORE_REPLY:
    case CORE_DISARM:
    case CORE_SPAWN:
    case CORE_KILL:
    case CORE_PULL:
    case CORE_SPILL:
    case CORE_TABLE:
    case CORE_WRITE:
    case CORE_TASK:
    case CORE_LEASE:
    case CORE_DRAIN:
    case CORE_WAKE:
        CHECK_EQ(command->kind, CORE_SEND); /* no head gives the others */
    }
}

static void one_step(struct bench *bench, struct core_event *event)
{
    event->now_ns = bench->now_ns;
    core_out_clear(&bench->out);
    head_core.step(bench->head, event, &bench->out);
    size_t room = core_out_left(&bench->out);
    bench->room_least = room < bench->room_least ? room : bench->room_least;
    CHECK(head_core.touched_are_valid(bench->head));
    CHECK(bench->is_large || head_core.is_valid(bench->head));
    for (const struct core_command *c = core_next(&bench->out, NULL); c != NULL; c = core_next(&bench->out, c)) {
        run(bench, c);
    }
}

void bench_turn(struct bench *bench)
{
    while (bench->timers[HEAD_TIMER_TURN] <= bench->now_ns) {
        struct core_event event = { .kind = CORE_TICK, .u.timer.key = HEAD_TIMER_TURN };
        bench->timers[HEAD_TIMER_TURN] = UINT64_MAX;
        bench->turns++;
        one_step(bench, &event);
    }
}

static void step(struct bench *bench, struct core_event *event)
{
    one_step(bench, event);
    if (!bench->turns_are_held) {
        bench_turn(bench);
    }
}

/* ------------------------------------------------------------------------------------------------ life */

void bench_start(struct bench *bench, const struct head_config *config)
{
    memset(bench, 0, sizeof *bench);
    bench->config = config != NULL ? *config : (struct head_config){ .is_fixed = true };
    bench->config.cluster = (struct cluster_id){ 5, 5 };
    bench->config.epoch = 1;
    bench->now_ns = 1;
    bench->room_least = SIZE_MAX;
    memset(bench->timers, 0xff, sizeof bench->timers);
    bench->job = (struct job_id){ 11, 12 };
    CHECK_EQ(head_create(&bench->head, &bench->config), 0);
    CHECK_EQ(core_out_init(&bench->out, head_core.out_bytes_max), 0);
    bench->said = calloc(BENCH_SAID_MAX, sizeof *bench->said);
    CHECK(bench->said != NULL);
    for (uint32_t i = 0; i < BENCH_AGENTS; i++) {
        bench->agents[i].id = (struct node_id){ 100, i + 1 };
    }
}

void bench_end(struct bench *bench)
{
    head_destroy(bench->head);
    core_out_fini(&bench->out);
    ledger_close(&bench->ledger);
    free(bench->said);
    memset(bench, 0, sizeof *bench);
}

void bench_restart(struct bench *bench)
{
    head_destroy(bench->head);
    bench->config.epoch++;
    bench->config.facts = bench->ledger.facts;
    bench->config.facts_count = bench->ledger.facts_count;
    memset(bench->timers, 0xff, sizeof bench->timers);
    for (uint32_t i = 0; i < BENCH_AGENTS; i++) {
        bench->agents[i].is_up = false;
    }
    CHECK_EQ(head_create(&bench->head, &bench->config), 0);
    CHECK(head_core.is_valid(bench->head));
}

static void hello(struct bench *bench, uint32_t i, uint32_t number, uint32_t incarnation)
{
    struct bench_agent *agent = &bench->agents[i];
    agent->handle = ++bench->next_handle;
    agent->is_up = false;
    char host[16];
    snprintf(host, sizeof host, "host%u", i);
    struct proto_hello hello = { .role = PROTO_ROLE_AGENT,
                                 .node = agent->id,
                                 .number = number,
                                 .incarnation = incarnation,
                                 .host = host,
                                 .address = "a:1",
                                 .labels = "",
                                 .cpus_hundredths = agent->cpus * 100,
                                 .memory_bytes = ROOST_GIB(4),
                                 .news = agent->news };
    struct core_event event = { .kind = CORE_SESSION_UP };
    event.u.session.peer = (struct core_peer){ 0, (uint32_t)agent->handle };
    event.u.session.hello = &hello;
    step(bench, &event);
    CHECK(agent->is_up);
}

void bench_agent(struct bench *bench, uint32_t i, uint32_t cpus)
{
    bench->agents[i].cpus = cpus;
    hello(bench, i, 0, 0);
}

void bench_agent_again(struct bench *bench, uint32_t i)
{
    hello(bench, i, bench->agents[i].number, bench->agents[i].incarnation);
}

void bench_lost(struct bench *bench, uint32_t i)
{
    struct core_event event = { .kind = CORE_SESSION_LOST };
    event.u.session.peer = peer_of(&bench->agents[i]);
    bench->agents[i].is_up = false;
    step(bench, &event);
}

void bench_say(struct bench *bench, uint32_t i, const struct proto_message *message)
{
    struct core_event event = { .kind = CORE_MESSAGE };
    event.u.message.peer = peer_of(&bench->agents[i]);
    event.u.message.seen = bench->agents[i].seen;
    event.u.message.body = message;
    step(bench, &event);
}

void bench_sign(struct bench *bench, uint32_t i) { bench_say(bench, i, NULL); }

void bench_all_sign(struct bench *bench)
{
    for (uint32_t i = 0; i < BENCH_AGENTS; i++) {
        if (bench->agents[i].is_up) {
            bench_sign(bench, i);
        }
    }
}

void bench_hear(struct bench *bench, uint32_t i)
{
    bench->agents[i].is_deaf = false;
    bench->agents[i].seen = bench->agents[i].mark;
}

void bench_pass(struct bench *bench, uint64_t ms, bool alive)
{
    uint64_t end = bench->now_ns + ms * 1000000;
    while (bench->now_ns < end) {
        uint64_t next = bench->now_ns + HEARTBEAT_MS * UINT64_C(1000000);
        for (int timer = HEAD_TIMER_SILENCE; timer <= HEAD_TIMER_CYCLES; timer++) {
            uint64_t at_ns = bench->timers[timer];
            next = at_ns > bench->now_ns && at_ns < next ? at_ns : next;
        }
        bench->now_ns = next < end ? next : end;
        if (alive) {
            bench_all_sign(bench);
        }
        for (uint64_t timer = HEAD_TIMER_SILENCE; timer <= HEAD_TIMER_CYCLES; timer++) {
            if (bench->timers[timer] <= bench->now_ns) {
                struct core_event event = { .kind = CORE_TICK, .u.timer.key = timer };
                bench->timers[timer] = UINT64_MAX;
                step(bench, &event);
            }
        }
    }
}

void bench_die(struct bench *bench, uint32_t i)
{
    bench->agents[i].is_up = false; /* it gives no signs */
    bench_pass(bench, NODE_DEAD_MS + 2 * HEARTBEAT_MS, true);
    bench_all_sign(bench);
}

/* ------------------------------------------------------------------------------------------------ sayings */

static struct proto_content content(uint64_t bytes, uint32_t version)
{
    return (struct proto_content){ .size = bytes, .fingerprint = bytes * 31 + 7, .version = version };
}

static struct object_id publish(struct bench *bench, uint32_t i, struct proto_publish what)
{
    if (object_id_is_none(what.object)) {
        what.object = (struct object_id){ 1000, ++bench->next_put };
    }
    struct proto_message message = { .kind = PROTO_PUBLISH, .u.publish = what };
    bench_say(bench, i, &message);
    return what.object;
}

struct object_id bench_put(struct bench *bench, uint32_t i, uint64_t bytes)
{
    return publish(bench, i,
                   (struct proto_publish){ .state = PROTO_SEALED, .content = content(bytes, 0), .located = true });
}

struct object_id bench_pending(struct bench *bench, uint32_t i)
{
    return publish(bench, i, (struct proto_publish){ .state = PROTO_PENDING });
}

struct object_id bench_box(struct bench *bench, uint32_t i, const struct object_id *contained, size_t count)
{
    return publish(bench, i,
                   (struct proto_publish){ .state = PROTO_SEALED,
                                           .content = content(32 * count, 0),
                                           .located = true,
                                           .contained = { contained, count } });
}

void bench_seal(struct bench *bench, uint32_t i, struct object_id id, uint64_t bytes)
{
    publish(
        bench, i,
        (struct proto_publish){ .object = id, .state = PROTO_SEALED, .content = content(bytes, 0), .located = true });
}

void bench_lead(struct bench *bench, uint32_t i, struct object_id id, struct object_id target)
{
    struct proto_content forward = content(sizeof(roost_ref), 0);
    forward.format = TABLE_FORWARD;
    publish(
        bench, i,
        (struct proto_publish){
            .object = id, .state = PROTO_SEALED, .content = forward, .located = true, .contained = { &target, 1 } });
}

void bench_names(struct bench *bench, uint32_t i, enum proto_kind kind, struct object_id id)
{
    struct proto_message message = { .kind = kind };
    message.u.hold.objects = (struct proto_objects){ &id, 1 };
    bench_say(bench, i, &message);
}

void bench_location(struct bench *bench, uint32_t i, struct object_id id, uint64_t bytes, bool added)
{
    struct proto_location location = { id, added, content(bytes, 0) };
    struct proto_message message = { .kind = PROTO_LOCATIONS, .u.locations = { &location, 1 } };
    bench_say(bench, i, &message);
}

void bench_job(struct bench *bench, uint32_t i)
{
    struct proto_message message = { .kind = PROTO_JOB_OPEN };
    bench->agents[i].has_job = true;
    message.u.job_open =
        (struct proto_job_open){ .job = bench->job, .name = "job", .driver_pid = 7, .spec = { "x", 1 } };
    bench_say(bench, i, &message);
}

void bench_cluster(struct bench *bench, const struct head_config *config, uint32_t agents, uint32_t cpus)
{
    bench_start(bench, config);
    for (uint32_t i = 0; i < agents; i++) {
        bench_agent(bench, i, cpus);
        bench_list(bench, i, NULL, 0);
    }
    bench_job(bench, 0);
}

struct spec *bench_spec(struct bench *bench, const struct bench_call *call)
{
    struct spec_draft draft = { .parent = { bench->job.hi, bench->job.lo },
                                .job = bench->job,
                                .call = ++bench->next_call,
                                .function = "f",
                                .name = call->name,
                                .node = call->node,
                                .cpus_hundredths = call->cpus_hundredths == 0 ? 100 : call->cpus_hundredths,
                                .memory_bytes = call->memory_bytes,
                                .flags = call->flags,
                                .returns = call->returns,
                                .max_retries = call->max_retries,
                                .args = call->args,
                                .args_count = call->args_count };
    size_t bytes;
    CHECK_EQ(spec_measure(&draft, &bytes), 0);
    struct spec *spec = malloc(bytes);
    CHECK(spec != NULL);
    spec_write(&draft, spec, bytes);
    return spec;
}

struct task_id bench_submit(struct bench *bench, uint32_t i, const struct bench_call *call)
{
    struct spec *spec = bench_spec(bench, call);
    struct task_id task = spec->task;
    struct proto_message message = { .kind = PROTO_SUBMIT };
    message.u.submit = (struct proto_submit){ .task = task, .spec = { spec, spec->bytes } };
    bench_say(bench, i, &message);
    free(spec);
    return task;
}

void bench_complete(struct bench *bench, uint32_t i, struct task_id task, uint32_t attempt, uint32_t returns,
                    uint64_t bytes)
{
    struct proto_return given[8] = { { .located = true } };
    CHECK(returns <= 8);
    for (uint32_t k = 0; k < returns; k++) {
        given[k] =
            (struct proto_return){ .object = result_id(task, k), .content = content(bytes, attempt), .located = true };
    }
    struct proto_message message = { .kind = PROTO_COMPLETE };
    message.u.complete = (struct proto_complete){
        .task = task, .attempt = attempt, .duration_ns = 1000000, .returns = given, .returns_count = returns
    };
    bench_say(bench, i, &message);
}

void bench_fail(struct bench *bench, uint32_t i, struct task_id task, uint32_t attempt, int32_t status, bool died)
{
    struct proto_failure failure = { .status = status, .function = "f", .node = "", .text = "it went wrong" };
    struct proto_message message = { .kind = PROTO_COMPLETE };
    message.u.complete = (struct proto_complete){ .task = task, .attempt = attempt, .died = died, .failure = &failure };
    bench_say(bench, i, &message);
}

void bench_list(struct bench *bench, uint32_t i, const struct bench_listed *objects, size_t count)
{
    struct proto_list_object items[32];
    CHECK(count <= 32);
    for (size_t k = 0; k < count; k++) {
        items[k] = (struct proto_list_object){ .object = objects[k].id,
                                               .held = objects[k].held,
                                               .stored = objects[k].stored,
                                               .state = PROTO_SEALED,
                                               .content = content(100, 0) };
    }
    struct proto_message begin = { .kind = PROTO_LIST_BEGIN, .u.list_begin = { 1 } };
    struct proto_message placed = { .kind = PROTO_LIST_PLACED, .u.list_placed = { 1 } };
    struct proto_message list = { .kind = PROTO_LIST_OBJECTS, .u.list_objects = { items, count } };
    struct proto_message end = { .kind = PROTO_LIST_END, .u.list_end = { 1 } };
    bench_say(bench, i, &begin);
    if (bench->agents[i].has_job) {
        bench_job(bench, i);
    }
    bench_say(bench, i, &placed);
    bench_say(bench, i, &list);
    bench_say(bench, i, &end);
}

/* ------------------------------------------------------------------------------------------------ what was said */

size_t bench_said_count(const struct bench *bench, uint32_t i, enum proto_kind kind)
{
    size_t count = 0;
    for (size_t k = 0; k < bench->said_count; k++) {
        count += bench->said[k].kind == kind && bench->said[k].to == core_peer_key(peer_of(&bench->agents[i])) ? 1 : 0;
    }
    return count;
}

const struct bench_said *bench_last(const struct bench *bench, uint32_t i, enum proto_kind kind)
{
    for (size_t k = bench->said_count; k-- > 0;) {
        if (bench->said[k].kind == kind && bench->said[k].to == core_peer_key(peer_of(&bench->agents[i]))) {
            return &bench->said[k];
        }
    }
    return NULL;
}

void bench_forget(struct bench *bench) { bench->said_count = 0; }

bool bench_was_freed(const struct bench *bench, uint32_t i, struct object_id id)
{
    for (size_t k = 0; k < bench->said_count; k++) {
        const struct bench_said *said = &bench->said[k];
        bool is_to_it = said->kind == PROTO_FREE && said->to == core_peer_key(peer_of(&bench->agents[i]));
        for (uint32_t n = 0; is_to_it && n < said->ids_count && n < BENCH_IDS_MAX; n++) {
            if (object_id_eq(said->ids[n], id)) {
                return true;
            }
        }
    }
    return false;
}

uint32_t bench_placed(const struct bench *bench, struct task_id task)
{
    for (size_t k = bench->said_count; k-- > 0;) {
        if (bench->said[k].kind == PROTO_TASK && task_id_eq(bench->said[k].task, task)) {
            for (uint32_t i = 0; i < BENCH_AGENTS; i++) {
                if (core_peer_key(peer_of(&bench->agents[i])) == bench->said[k].to) {
                    return i;
                }
            }
        }
    }
    return BENCH_AGENTS;
}

uint32_t bench_attempt(const struct bench *bench, struct task_id task)
{
    for (size_t k = bench->said_count; k-- > 0;) {
        if (bench->said[k].kind == PROTO_TASK && task_id_eq(bench->said[k].task, task)) {
            return bench->said[k].attempt;
        }
    }
    return 0;
}

roost_in bench_ref(struct object_id id) { return roost_in_ref(object_ref(id)); }
roost_in bench_gather(struct object_id list) { return roost_in_gather(object_ref(list), 0); }

const struct bench_said *bench_query(struct bench *bench, enum proto_query_what what, const char *filter)
{
    return bench_query_some(bench, what, filter, 0);
}

const struct bench_said *bench_query_some(struct bench *bench, enum proto_query_what what, const char *filter,
                                          uint32_t limit)
{
    struct proto_message message = { .kind = PROTO_QUERY, .u.query = { 1, what, limit, filter } };
    struct core_event event = { .kind = CORE_MESSAGE };
    event.u.message.peer = (struct core_peer){ 0, 9999 };
    event.u.message.body = &message;
    size_t before = bench->said_count;
    one_step(bench, &event);
    CHECK(bench->said_count > before);
    const struct bench_said *last = &bench->said[bench->said_count - 1];
    CHECK(last->kind == PROTO_ROWS);
    CHECK(last->last);
    return last;
}

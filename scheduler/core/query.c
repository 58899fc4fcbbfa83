/* query.c - rows for `roost status`, `roost ls` and `roost why`
 *
 * Owns nothing: walks the records in order of creation and writes what matches into the answer.
 *
 * Happy path: QUERY -> ROWS in parts, the last of which says so and how many rows match in all.
 * Failures:   a filter that names no column, or an id that is none -> ROWS with a status and a text.
 * Limits:     the rows of one answer fit into one step's commands; `total` counts those beyond, too, and of them
 *             only the cells are written that a filter asks about.
 * Thread:     the core's.
 */
#include "common/error.h"
#include "proto/row_filter.h"
#include "scheduler/core/head_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ROWS_COLUMNS = 12, ROWS_PER_PART = 1024 };

struct rows {
    struct head *head;
    struct core_peer peer;
    const struct proto_query *query;
    const char *const *columns;
    uint32_t columns_count;
    struct row_filter filter;
    uint64_t total, given, limit;
    const char **cells; /* of the part that is being filled, or NULL */
    size_t cells_count;
    char row[ROWS_COLUMNS][ROW_CELL_BYTES];
    uint32_t filled;
};

static struct proto_rows *send_part(struct rows *rows)
{
    struct proto_message *message = core_put(rows->head->out, CORE_SEND, core_peer_key(rows->peer), 0, sizeof *message);
    rows->head->counts.sent++;
    message->kind = PROTO_ROWS;
    message->u.rows = (struct proto_rows){ .query = rows->query->query,
                                           .text = "",
                                           .total = rows->total,
                                           .columns = rows->columns,
                                           .columns_count = rows->columns_count,
                                           .cells = rows->cells,
                                           .cells_count = rows->cells_count };
    rows->cells = NULL;
    rows->cells_count = 0;
    return &message->u.rows;
}

static void refuse(struct rows *rows, int status, const char *text)
{
    rows->columns_count = 0;
    rows->cells_count = 0;
    struct proto_rows *part = send_part(rows);
    part->status = status;
    part->text = head_copy(rows->head, text, strlen(text) + 1);
    part->last = true;
}

/* The answer is full: what follows is counted, no more. */
static bool is_full(const struct rows *rows) { return rows->given >= rows->limit || !head_has_room(rows->head); }

/* Does anybody read this cell of the present row? */
static bool is_read(const struct rows *rows, uint32_t column)
{
    return !is_full(rows) || row_filter_reads(&rows->filter, column);
}

/* Rows of which no cell is read are counted without being written. */
static bool is_only_counted(struct rows *rows)
{
    bool is_only = rows->filter.count == 0 && is_full(rows);
    rows->total += is_only ? 1 : 0;
    return is_only;
}

static void cell(struct rows *rows, const char *format, ...) ROOST_PRINTF(2, 3);
static void cell(struct rows *rows, const char *format, ...)
{
    ROOST_PRE(rows->filled < rows->columns_count);
    if (!is_read(rows, rows->filled)) {
        rows->filled++;
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(rows->row[rows->filled++], ROW_CELL_BYTES, format, arguments);
    va_end(arguments);
}

static void end_row(struct rows *rows)
{
    ROOST_PRE(rows->filled == rows->columns_count);
    rows->filled = 0;
    if (!row_filter_matches(&rows->filter, (const char(*)[ROW_CELL_BYTES])rows->row)) {
        return;
    }
    rows->total++;
    if (is_full(rows)) {
        return;
    }
    rows->given++;
    if (rows->cells == NULL) {
        rows->cells = core_alloc(rows->head->out, ROWS_PER_PART * rows->columns_count * sizeof *rows->cells);
    }
    for (uint32_t i = 0; i < rows->columns_count; i++) {
        rows->cells[rows->cells_count++] = head_copy(rows->head, rows->row[i], strlen(rows->row[i]) + 1);
    }
    if (rows->cells_count == (size_t)ROWS_PER_PART * rows->columns_count) {
        send_part(rows);
    }
}

/* ------------------------------------------------------------------------------------------------ tables */

static const char *node_state(const struct member *member)
{
    switch (member->state) {
    case PROTO_NODE_ALIVE:
        return "alive";
    case PROTO_NODE_SUSPECT:
        return "suspect";
    case PROTO_NODE_DRAINING:
        return "draining";
    case PROTO_NODE_DEAD:
        return "dead";
    }
    return "?";
}

static const char *object_state(const struct object *object)
{
    static const char *const names[] = { "", "unknown", "pending", "sealed", "failed", "lost" };
    return names[object->state];
}

static uint64_t pulled_bytes(const struct head *head)
{
    uint64_t bytes = 0;
    for (uint32_t i = 1; i < head->members_count; i++) {
        const struct member *member = head->members[i];
        for (size_t p = 0; member != NULL && p < member->pulled_count; p++) {
            bytes += member->pulled[p].bytes;
        }
    }
    return bytes;
}

static uint64_t workers_leased(const struct head *head)
{
    uint64_t count = 0;
    for (uint32_t i = 1; i < head->members_count; i++) {
        count += head->members[i] != NULL && member_lives(head->members[i]) ? head->members[i]->load.leased : 0;
    }
    return count;
}

static void fill_status(struct rows *rows)
{
    struct head_counts counts = head_counts(rows->head);
    const struct {
        const char *name;
        uint64_t value;
    } facts[] = {
        { "epoch", rows->head->config.epoch },
        { "nodes", counts.members },
        { "suspects", counts.suspects },
        { "jobs", counts.jobs },
        { "objects", counts.objects },
        { "tasks_waiting", counts.tasks_waiting },
        { "tasks_queued", counts.tasks_queued },
        { "tasks_placed", counts.tasks_placed + counts.tasks_early },
        { "tasks_refused", counts.tasks_refused },
        { "tasks_completed", counts.completed },
        { "tasks_failed", counts.failed },
        { "retries", counts.retries },
        { "spec_bytes", counts.spec_bytes },
        { "pulled_bytes", pulled_bytes(rows->head) },
        { "workers_leased", workers_leased(rows->head) },
        { "echoes_missing", counts.echoes_missing },
        { "lists_missing", counts.lists_missing },
    };
    for (size_t i = 0; i < ROOST_COUNT_OF(facts); i++) {
        cell(rows, "%s", facts[i].name);
        cell(rows, "%" PRIu64, facts[i].value);
        end_row(rows);
    }
    LIST_EACH (at, &rows->head->demand) {
        const struct spec *spec = head_task_spec(rows->head, CONTAINER_OF(at, struct task, line));
        cell(rows, "demand");
        cell(rows, "%s: %u.%02u CPUs, %" PRIu64 " bytes", spec_name(spec), spec->cpus_hundredths / 100,
             spec->cpus_hundredths % 100, spec->memory_bytes);
        end_row(rows);
    }
}

static void fill_nodes(struct rows *rows)
{
    for (uint32_t i = 1; i < rows->head->members_count; i++) {
        const struct member *member = rows->head->members[i];
        if (member == NULL) {
            continue;
        }
        cell(rows, "%u", i);
        cell(rows, "%u", member->incarnation);
        cell(rows, "%s", node_state(member));
        cell(rows, "%s", member_name(rows->head, i));
        cell(rows, "%s", member->address == NULL ? "" : member->address);
        cell(rows, "%u.%02u", member->cpus_hundredths / 100, member->cpus_hundredths % 100);
        cell(rows, "%u.%02u", member->load.cpus_free_hundredths / 100, member->load.cpus_free_hundredths % 100);
        cell(rows, "%" PRIu64, member->load.memory_free_bytes);
        cell(rows, "%" PRIu64, member->load.store_used_bytes);
        cell(rows, "%" PRIu64, member->store_bytes);
        cell(rows, "%s", member->labels == NULL ? "" : member->labels);
        end_row(rows);
    }
}

static void fill_workers(struct rows *rows)
{
    for (uint32_t i = 1; i < rows->head->members_count; i++) {
        const struct member *member = rows->head->members[i];
        if (member != NULL && member_lives(member)) {
            cell(rows, "%u", i);
            cell(rows, "%u", member->load.workers);
            cell(rows, "%u", member->load.leased);
            cell(rows, "%u", member->load.running);
            cell(rows, "%u", member->load.queued);
            cell(rows, "%" PRIu64, member->load.attempts_done);
            end_row(rows);
        }
    }
}

static void fill_pulls(struct rows *rows)
{
    for (uint32_t i = 1; i < rows->head->members_count; i++) {
        const struct member *member = rows->head->members[i];
        for (size_t p = 0; member != NULL && p < member->pulled_count; p++) {
            cell(rows, "%u", i);
            cell(rows, "%u", member->pulled[p].node);
            cell(rows, "%" PRIu64, member->pulled[p].bytes);
            end_row(rows);
        }
    }
}

static void fill_jobs(struct rows *rows)
{
    LIST_EACH (at, &rows->head->jobs) {
        const struct job *job = CONTAINER_OF(at, struct job, all);
        char text[ID_TEXT_BYTES];
        cell(rows, "%s", job_id_print(job->id, text));
        cell(rows, "%s", job->name);
        cell(rows, "%u", job->node);
        cell(rows, "%" PRIu64, job->driver_pid);
        end_row(rows);
    }
}

/* The first of its arguments that its node has not, as far as is known here. */
static const struct object *missing_there(struct head *head, const struct task *task)
{
    const struct spec *spec = head_task_spec(head, task);
    for (uint32_t i = 0; i < spec->args_count; i++) {
        roost_ref ref;
        if (spec_arg_is_input(&spec_args(spec)[i]) && spec_arg_ref(&spec_args(spec)[i], &ref)) {
            const struct object *object = head_object_find(head, object_id_of(ref));
            if (object != NULL && object->state == OBJECT_SEALED && !head_object_is_at(object, task->node)) {
                return object;
            }
        }
    }
    return NULL;
}

static void placed_reason(struct head *head, const struct task *task, char *text_out, size_t size)
{
    const struct placement_booking *booking = &task->booking;
    const struct object *object = missing_there(head, task);
    char id[ID_TEXT_BYTES];
    uint32_t source = HEAD_NOBODY;
    for (uint32_t i = 0; i < booking->shares_count; i++) {
        source = source == HEAD_NOBODY && booking->shares[i].bytes > 0 ? booking->shares[i].node : source;
    }
    if (booking->state == PLACEMENT_STARTED) {
        snprintf(text_out, size, "runs on node %u", task->node);
    } else if (source != HEAD_NOBODY && object != NULL) {
        snprintf(text_out, size,
                 "on node %u, waits for object %s, being pulled from node %u; %" PRIu64 " bytes to come", task->node,
                 object_id_print(object->id, id), source, booking->bytes_in);
    } else if (source != HEAD_NOBODY) {
        snprintf(text_out, size, "on node %u, waits for %" PRIu64 " bytes, being pulled from node %u and others",
                 task->node, booking->bytes_in, source);
    } else {
        snprintf(text_out, size, "on node %u, waits for a worker", task->node);
    }
}

/* Of one that was placed early: where it waits. */
static void waiting_reason(struct head *head, const struct task *task, char *text_out, size_t size)
{
    char id[ID_TEXT_BYTES], where[32] = "";
    if (task->state == TASK_EARLY) {
        snprintf(where, sizeof where, ", on node %u", task->node);
    }
    for (uint32_t i = 0; i < task->inputs_count; i++) {
        const struct input *input = &task->inputs[i];
        if (!input->is_ready) {
            const struct object *object = head_object_end(input->object);
            const struct task *maker = object->more == NULL ? NULL : object->more->producer;
            snprintf(text_out, size, "waits for object %s, made by %s, and %u others%s",
                     object_id_print(object->id, id),
                     maker == NULL || maker->spec == NULL ? "its owner" : spec_name(head_task_spec(head, maker)),
                     task->missing - 1, where);
            return;
        }
    }
}

/* Every task that waits has one reason. */
static void reason_of(struct head *head, const struct task *task, char *text_out, size_t size)
{
    text_out[0] = '\0';
    switch (task->state) {
    case TASK_WAITING:
    case TASK_EARLY:
        waiting_reason(head, task, text_out, size);
        break;
    case TASK_QUEUED:
        if (task->is_demand) {
            place_describe_lack(head, task, text_out, size);
        } else {
            snprintf(text_out, size, "waits for room: every node that would do has its share of tasks");
        }
        break;
    case TASK_PLACED:
        placed_reason(head, task, text_out, size);
        break;
    case TASK_REFUSED:
        snprintf(text_out, size, "held back: the head's budget for specs is used up; its spec is on node %u",
                 task->home);
        break;
    case TASK_LOCAL:
        snprintf(text_out, size, "run by its own node %u", task->home);
        break;
    case TASK_HOME:
        snprintf(text_out, size, "known after the head's restart; who runs it is not yet");
        break;
    case TASK_DONE:
        break;
    }
}

enum { TASKS_WHY = 6 }; /* the column */

static void fill_task(struct rows *rows, const struct task *task)
{
    char text[ID_TEXT_BYTES], why[ROW_CELL_BYTES] = "";
    if (is_read(rows, TASKS_WHY)) {
        reason_of(rows->head, task, why, sizeof why);
    }
    cell(rows, "%s", task_id_print(task->id, text));
    cell(rows, "%s", task->spec == NULL ? "" : spec_name(head_task_spec(rows->head, task)));
    cell(rows, "%s", head_task_state_name(task->state));
    cell(rows, "%u", task->node);
    cell(rows, "%u", task->attempt);
    cell(rows, "%" PRIu64, (rows->head->now_ns - task->since_ns) / 1000000);
    cell(rows, "%s", why);
    end_row(rows);
}

static void fill_tasks(struct rows *rows)
{
    for (uint32_t i = 0; i < rows->head->tasks.used; i++) {
        struct task *task = is_only_counted(rows) ? NULL : head_task_number(rows->head, i);
        if (task != NULL) {
            fill_task(rows, task);
        }
    }
}

static void fill_object(struct rows *rows, const struct object *object)
{
    char text[ID_TEXT_BYTES], held[ROW_CELL_BYTES] = "", at[ROW_CELL_BYTES] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < head_object_holders_count(object) && used + 16 < sizeof held; i++) {
        used += (size_t)snprintf(held + used, sizeof held - used, "%s%u", i > 0 ? "," : "",
                                 head_object_holder(object, i).node);
    }
    used = 0;
    for (uint32_t i = 0; i < head_object_locations_count(object) && used + 16 < sizeof at; i++) {
        used += (size_t)snprintf(at + used, sizeof at - used, "%s%u", i > 0 ? "," : "",
                                 head_object_location(object, i));
    }
    cell(rows, "%s", object_id_print(object->id, text));
    cell(rows, "%s", object_state(object));
    cell(rows, "%" PRIu64, object->size);
    cell(rows, "%s", at);
    cell(rows, "%s", held);
    cell(rows, "%u", head_object_queued(object));
    cell(rows, "%u", object->containers);
    end_row(rows);
}

static void fill_objects(struct rows *rows)
{
    for (uint32_t i = 0; i < rows->head->objects.used; i++) {
        const struct object *object = head_object_number(rows->head, i);
        if (object != NULL && !is_only_counted(rows)) {
            fill_object(rows, object);
        }
    }
}

static void fill_why(struct rows *rows, struct id_key key)
{
    char text[ID_TEXT_BYTES], why[ROW_CELL_BYTES];
    const struct task *task = head_task_find(rows->head, task_id_from(key));
    const struct object *object = head_object_find(rows->head, object_id_from(key));
    if (object != NULL) {
        const struct object_more *more = object->more;
        cell(rows, "%s", id_print(key, text));
        cell(rows, "object");
        cell(rows, "%s", object_state(object));
        cell(rows, "held by %u nodes, %u tasks, %u objects; on %u nodes%s%s", head_object_holders_count(object),
             head_object_queued(object), object->containers, head_object_locations_count(object),
             more != NULL && more->failure != NULL ? "; " : "",
             more != NULL && more->failure != NULL ? more->failure->what.text : "");
        end_row(rows);
        task = more != NULL ? more->producer : NULL;
    }
    if (task != NULL) {
        reason_of(rows->head, task, why, sizeof why);
        cell(rows, "%s", task_id_print(task->id, text));
        cell(rows, "task");
        cell(rows, "%s", head_task_state_name(task->state));
        cell(rows, "%s", why);
        end_row(rows);
    }
}

#define COLUMNS_(...)                                           \
    do {                                                        \
        static const char *const names_[] = { __VA_ARGS__ };    \
        rows->columns = names_;                                 \
        rows->columns_count = (uint32_t)ROOST_COUNT_OF(names_); \
    } while (0)

static void set_columns(struct rows *rows)
{
    switch (rows->query->what) {
    case PROTO_QUERY_STATUS:
        COLUMNS_("what", "value");
        break;
    case PROTO_QUERY_NODES:
        COLUMNS_("node", "incarnation", "state", "host", "address", "cpus", "free_cpus", "free_memory_bytes",
                 "store_used_bytes", "store_bytes", "labels");
        break;
    case PROTO_QUERY_WORKERS:
        COLUMNS_("node", "workers", "leased", "running", "queued", "done");
        break;
    case PROTO_QUERY_JOBS:
        COLUMNS_("job", "name", "node", "pid");
        break;
    case PROTO_QUERY_TASKS:
        COLUMNS_(PROTO_TASKS_COLUMNS);
        break;
    case PROTO_QUERY_OBJECTS:
        COLUMNS_("object", "state", "size", "at", "held", "queued", "containers");
        break;
    case PROTO_QUERY_WHY:
        COLUMNS_(PROTO_WHY_COLUMNS);
        break;
    case PROTO_QUERY_PULLS:
        COLUMNS_("node", "from", "pulled_bytes");
        break;
    }
}

static void fill(struct rows *rows, struct id_key key)
{
    switch (rows->query->what) {
    case PROTO_QUERY_STATUS:
        fill_status(rows);
        break;
    case PROTO_QUERY_NODES:
        fill_nodes(rows);
        break;
    case PROTO_QUERY_WORKERS:
        fill_workers(rows);
        break;
    case PROTO_QUERY_JOBS:
        fill_jobs(rows);
        break;
    case PROTO_QUERY_TASKS:
        fill_tasks(rows);
        break;
    case PROTO_QUERY_OBJECTS:
        fill_objects(rows);
        break;
    case PROTO_QUERY_WHY:
        fill_why(rows, key);
        break;
    case PROTO_QUERY_PULLS:
        fill_pulls(rows);
        break;
    }
}

void query_answer(struct head *head, struct core_peer peer, const struct proto_query *query)
{
    struct rows rows = { .head = head, .peer = peer, .query = query };
    struct id_key key = { 0, 0 };
    const char *wrong = "";
    rows.limit = query->limit == 0 || query->limit > PROTO_ROWS_MAX ? PROTO_ROWS_MAX : query->limit;
    set_columns(&rows);
    if (query->what == PROTO_QUERY_WHY && (query->filter == NULL || id_parse(query->filter, &key) != 0)) {
        refuse(&rows, ROOST_EINVAL, "an id is 32 hexadecimal digits");
        return;
    }
    if (query->what != PROTO_QUERY_WHY &&
        !row_filter_parse(&rows.filter, query->filter, rows.columns, rows.columns_count, &wrong)) {
        char text[ROW_CELL_BYTES];
        snprintf(text, sizeof text, "not a filter of these rows: %.*s", (int)strcspn(wrong, " "), wrong);
        refuse(&rows, ROOST_EINVAL, text);
        return;
    }
    fill(&rows, key);
    if (query->what == PROTO_QUERY_WHY && rows.total == 0) {
        refuse(&rows, ROOST_ENOENT, "the head knows no task and no object of this id");
        return;
    }
    send_part(&rows)->last = true;
}

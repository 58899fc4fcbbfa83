/* job.c - what drivers have opened: where the driver is, what its workers need, which tasks are its own
 *
 * Owns the job records. A node is told of a job (JOB_OPEN) before its first TASK of it.
 *
 * Happy path: JOB_OPEN -> tasks -> JOB_END, from the agent when the driver is gone -> its tasks fail at once, and at
 *             the step's end every node is told, in several steps if need be: a node that dies may end many jobs.
 * Failures:   the driver's node dies, or lists without it -> the same as JOB_END.
 * Invariants: every task that is not done has its job, or is about to fail.
 * Thread:     the core's.
 */
#include "scheduler/core/head_internal.h"

#include <stdlib.h>
#include <string.h>

struct job *head_job_find(const struct head *head, struct job_id id)
{
    return job_id_is_none(id) ? NULL : id_map_get(&head->jobs_by_id, job_id_key(id));
}

void head_job_open(struct head *head, struct member *member, const struct proto_job_open *open)
{
    struct job *job = head_job_find(head, open->job);
    if (job != NULL) { /* listed again */
        job->node = member->number;
        job->is_listed = true;
        return;
    }
    job = head_alloc(sizeof *job);
    job->id = open->job;
    job->is_listed = true;
    job->name = head_text(open->name);
    job->spec = head_alloc(open->spec.size + 1);
    job->spec_bytes = open->spec.size;
    if (open->spec.size > 0) {
        memcpy(job->spec, open->spec.data, open->spec.size);
    }
    job->driver_pid = open->driver_pid;
    job->node = member->number;
    list_init(&job->tasks);
    list_append(&head->jobs, &job->all);
    numbers_add(&job->told, member->number);
    ROOST_INVARIANT(id_map_put(&head->jobs_by_id, job_id_key(job->id), job) == 0);
    head_record(head, 'j', job->id.lo, member->number);
    for (uint32_t i = 0; head_in_census(head) && i < head->tasks.used; i++) {
        struct task *task = head_task_number(head, i); /* others may have listed it before */
        bool has_none = task != NULL && task->job == NULL && task->spec != NULL;
        if (has_none && job_id_eq(kept_spec_header(task->spec).job, job->id)) {
            task->job = job;
            list_append(&job->tasks, &task->of_job);
        }
    }
    place_demand_again(head);
}

void head_job_tell(struct head *head, struct job *job, struct member *member)
{
    if (job == NULL || !numbers_add(&job->told, member->number)) {
        return;
    }
    struct proto_message *message = head_send(head, member, PROTO_JOB_OPEN);
    if (message != NULL) {
        message->u.job_open = (struct proto_job_open){
            .job = job->id,
            .name = head_copy(head, job->name, strlen(job->name) + 1),
            .driver_pid = job->driver_pid,
            .spec = { head_copy(head, job->spec, job->spec_bytes), job->spec_bytes },
        };
    }
}

static void free_job(struct job *job)
{
    free(job->name);
    free(job->spec);
    free(job->told.at);
    free(job);
}

void head_job_end(struct head *head, struct job *job)
{
    struct failure *why = failure_make(ROOST_ECANCELED, "", "its job has ended");
    while (!list_is_empty(&job->tasks)) {
        struct task *task = CONTAINER_OF(job->tasks.next, struct task, of_job);
        list_remove(&task->of_job);
        task->job = NULL;
        if (task->state != TASK_DONE) {
            head_task_fail(head, task, failure_ref(why));
        }
    }
    failure_unref(why);
    head_record(head, 'J', job->id.lo, 0);
    cycles_due(head);
    id_map_remove(&head->jobs_by_id, job_id_key(job->id));
    list_remove(&job->all);
    list_append(&head->jobs_ended, &job->all);
}

bool head_jobs_tell_next(struct head *head)
{
    if (list_is_empty(&head->jobs_ended)) {
        return false;
    }
    struct job *job = CONTAINER_OF(head->jobs_ended.next, struct job, all);
    for (uint32_t i = 1; i < head->members_count; i++) {
        struct member *member = head->members[i];
        struct proto_message *message = member == NULL || !member_lives(member)
                                            ? NULL
                                            : head_send(head, member, PROTO_JOB_END);
        if (message != NULL) {
            message->u.job_end.job = job->id;
        }
    }
    list_remove(&job->all);
    free_job(job);
    return true;
}

void head_jobs_untell(struct head *head, uint32_t node)
{
    LIST_EACH (at, &head->jobs) {
        struct job *job = CONTAINER_OF(at, struct job, all);
        if (job->node != node) {
            numbers_remove(&job->told, node);
        }
    }
}

void head_jobs_unlist(struct head *head, uint32_t node)
{
    LIST_EACH (at, &head->jobs) {
        struct job *job = CONTAINER_OF(at, struct job, all);
        job->is_listed = job->is_listed && job->node != node;
    }
}

void head_jobs_end_unlisted(struct head *head, uint32_t node)
{
    LIST_EACH_SAFE (at, &head->jobs) {
        struct job *job = CONTAINER_OF(at, struct job, all);
        if (job->node == node && !job->is_listed) { /* its JOB_END was lost with the session before */
            head_job_end(head, job);
        }
    }
}

void head_jobs_node_dead(struct head *head, uint32_t node)
{
    LIST_EACH_SAFE (at, &head->jobs) {
        struct job *job = CONTAINER_OF(at, struct job, all);
        numbers_remove(&job->told, node);
        if (job->node == node) {
            head_job_end(head, job);
        }
    }
}

void head_job_output(struct head *head, const struct proto_output *output)
{
    struct job *job = head_job_find(head, output->job);
    struct member *member = job == NULL || !head_has_room(head) ? NULL : member_at(head, job->node);
    struct proto_message *message = member == NULL ? NULL : head_send(head, member, PROTO_OUTPUT);
    if (message != NULL) {
        message->u.output = *output;
        message->u.output.function = head_copy(head, output->function, strlen(output->function) + 1);
        message->u.output.bytes.data = head_copy(head, output->bytes.data, output->bytes.size);
    }
}

void head_jobs_fini(struct head *head)
{
    struct list_node *lists[] = { &head->jobs, &head->jobs_ended };
    for (size_t i = 0; i < ROOST_COUNT_OF(lists); i++) {
        LIST_EACH_SAFE (at, lists[i]) {
            free_job(CONTAINER_OF(at, struct job, all));
        }
    }
    id_map_fini(&head->jobs_by_id);
}

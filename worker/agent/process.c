/* process.c - worker processes: started, watched, ended
 *
 * Owns processes and the programs that they run. A worker is forked by the job's forker (forker.c), or it is
 * `roost worker-exec`, which makes sure that it dies with the agent and then becomes the job's program, with the job's
 * arguments and environment, an empty working directory of its own, and its output in pipes. A forker is started so,
 * too.
 *
 * Happy path: (of another node's job, once: the program's file is the driver's) -> spawn -> the guest says hello
 *             (guest.c)
 *             -> exit -> output read to its end -> the core is told, the folder is removed beside the loop.
 * Failures:   cannot be started, or ends before it has connected -> CORE_DONE with its status and last words.
 * Thread: the loop's, which is the main thread: PR_SET_PDEATHSIG follows the thread that spawned.
 */
#define LOG_TOPIC "process"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/daemon_internal.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PROCESS_ARGS_AHEAD = 5,
    PROCESS_NOT_RUN = 127 << 8 /* as a shell says "could not be run" */
};

struct process *process_find(struct daemon *daemon, uint64_t token)
{
    LIST_EACH (at, &daemon->processes) {
        struct process *process = CONTAINER_OF(at, struct process, all);
        if (process->token == token) {
            return process;
        }
    }
    return NULL;
}

struct program *program_find(struct daemon *daemon, struct job_id job)
{
    LIST_EACH (at, &daemon->programs) {
        struct program *program = CONTAINER_OF(at, struct program, all);
        if (job_id_eq(program->id, job)) {
            return program;
        }
    }
    return NULL;
}

void program_drop_if_unused(struct daemon *daemon, struct program *program)
{
    (void)daemon;
    if (program->driver == NULL && program->processes_count == 0 && !program->is_checking) {
        list_remove(&program->all);
        free(program->job);
        free(program);
    }
}

/* ------------------------------------------------------------------ its working directory */

void process_folder(const struct process *process, char path_out[PROCESS_PATH_BYTES])
{
    snprintf(path_out, PROCESS_PATH_BYTES, "%s/work/%" PRIx64, process->daemon->options->folder,
             agent_token_serial(process->token));
}

int process_make_folder(const struct process *process, char path_out[PROCESS_PATH_BYTES])
{
    process_folder(process, path_out);
    return mkdir(path_out, 0700) == 0 || errno == EEXIST ? 0 : error_from_errno("worker's folder %s", path_out);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about, (void)kind, (void)place;
    return remove(path);
}

struct removal {
    struct chore chore;
    char path[PROCESS_PATH_BYTES];
};

static void remove_all(struct chore *chore)
{
    struct removal *removal = CONTAINER_OF(chore, struct removal, chore);
    nftw(removal->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(removal);
}

/* No other worker will have a folder of this name, so nobody waits for that. */
static void remove_folder(const struct process *process)
{
    struct removal *removal = calloc(1, sizeof *removal);
    ROOST_INVARIANT(removal != NULL);
    removal->chore.run = remove_all;
    process_folder(process, removal->path);
    chores_add(process->daemon->removals, &removal->chore);
}

/* ------------------------------------------------------------------ ends */

static void destroy(struct process *process)
{
    struct daemon *daemon = process->daemon;
    for (int i = 0; i < 2; i++) {
        output_close(&process->outputs[i]);
    }
    remove_folder(process);
    if (process->forker != NULL && process->program->forker == process->forker) {
        process->program->forker = NULL;
    }
    forker_destroy(process->forker);
    process->program->processes_count--;
    program_drop_if_unused(daemon, process->program);
    list_remove(&process->all);
    free(process);
}

/* It ended, or could not be started, before it connected. */
static void tell_not_started(struct process *process)
{
    if (process->daemon->is_stopping) {
        return; /* it was we who ended it, and nothing will be started again */
    }
    struct core_event event = { .kind = CORE_DONE,
                                .u.done = { .token = process->token,
                                            .status = process->wait_status,
                                            .data = process->last_words,
                                            .bytes = strlen(process->last_words) } };
    daemon_step(process->daemon, &event);
}

static void on_exit_(void *arg, pid_t pid, int wait_status)
{
    struct process *process = arg;
    log_debug("event=exit pid=%d status=0x%x", (int)pid, (unsigned)wait_status);
    process->spawn = NULL;
    process->wait_status = wait_status;
    for (int i = 0; i < 2; i++) {
        output_close(&process->outputs[i]);
    }
    if (process->forker != NULL) {
        forker_is_over(process->forker, wait_status);
    } else if (process->guest != NULL) {
        guest_is_over(process->guest);
    } else {
        tell_not_started(process);
    }
    destroy(process);
}

/* The core is told in a later turn, as of every other ending. */
static void start_failed(void *arg)
{
    struct process *process = arg;
    tell_not_started(process);
    destroy(process);
}

static void ends_before_it_began(struct process *process, int wait_status, const char *why)
{
    process->is_waiting = false;
    snprintf(process->last_words, sizeof process->last_words, "%s", why);
    process->wait_status = wait_status;
    process->failed = (struct loop_task){ .run = start_failed, .arg = process };
    loop_post(process->daemon->loop, &process->failed);
}

static void end(struct process *process, int signal_number)
{
    if (process->slot_of != NULL && !forker_adopt(process)) {
        process->must_end = true; /* as soon as it is there */
    }
    if (process->spawn != NULL) {
        spawn_kill(process->spawn, signal_number);
    } else if (process->is_waiting || !list_is_empty(&process->queue)) {
        list_remove(&process->queue);
        ends_before_it_began(process, signal_number, "");
    }
}

void process_kill(struct daemon *daemon, uint64_t token, int signal_number)
{
    struct process *process = process_find(daemon, token);
    if (process != NULL) {
        end(process, signal_number);
    }
}

void processes_end(struct daemon *daemon)
{
    LIST_EACH (at, &daemon->processes) {
        end(CONTAINER_OF(at, struct process, all), SIGKILL);
    }
}

/* ------------------------------------------------------------------ starts */

/* roost worker-exec AGENT_PID PREFIX PROGRAM ARGUMENTS..., and the job's environment with where to connect. */
static int start(struct process *process, const int outputs[2], int forker_fd)
{
    struct daemon *daemon = process->daemon;
    const struct job_spec *job = process->program->job;
    char pid[16], agent[160], token[40] = "ROOST_WORKER=" FORKER_TOKEN, path[PROCESS_PATH_BYTES];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    snprintf(agent, sizeof agent, "ROOST_AGENT=%s", daemon->socket_path);
    if (process->forker == NULL) {
        snprintf(token, sizeof token, "ROOST_WORKER=%" PRIu64, process->token);
    }
    ROOST_TRY(process_make_folder(process, path));
    size_t strings_count = job_strings_count(job);
    const char **strings = calloc(strings_count, sizeof *strings);
    const char **argv = calloc(job->args_count + (size_t)PROCESS_ARGS_AHEAD + 1, sizeof *argv);
    const char **envp = calloc(job->env_count + (size_t)3, sizeof *envp);
    int status = ROOST_ENOMEM;
    if (strings == NULL || argv == NULL || envp == NULL) {
        goto end;
    }
    job_strings(job, strings);
    const char *ahead[PROCESS_ARGS_AHEAD] = { "roost", "worker-exec", pid, strings[2], strings[1] };
    memcpy(argv, ahead, sizeof ahead);
    memcpy(argv + PROCESS_ARGS_AHEAD, strings + 3, job->args_count * sizeof *argv);
    size_t env_count = 0;
    for (size_t i = 0; i < job->env_count; i++) {
        const char *entry = strings[3 + job->args_count + i];
        if (strncmp(entry, "ROOST_AGENT=", 12) != 0 && strncmp(entry, "ROOST_WORKER=", 13) != 0) {
            envp[env_count++] = entry;
        }
    }
    envp[env_count++] = agent;
    envp[env_count++] = token;
    struct spawn_options options = { .path = daemon->options->command,
                                     .argv = (char *const *)(uintptr_t)argv,
                                     .envp = (char *const *)(uintptr_t)envp,
                                     .cwd = path,
                                     .stdout_fd = outputs[0],
                                     .stderr_fd = outputs[1],
                                     .third_fd = forker_fd,
                                     .ends_group = true };
    status = spawn_start(daemon->loop, &options, on_exit_, process, &process->spawn);
    process->pid = status == 0 ? spawn_pid(process->spawn) : 0;
end:
    free(strings);
    free(argv);
    free(envp);
    return status;
}

/* Of a job of another node: what the head told about it. */
static struct program *program_of(struct daemon *daemon, const struct agent_spawn *spawn)
{
    struct program *program = program_find(daemon, spawn->job);
    if (program != NULL) {
        return program;
    }
    program = calloc(1, sizeof *program);
    struct job_spec *job = malloc(spawn->spec->bytes);
    ROOST_INVARIANT(program != NULL && job != NULL);
    memcpy(job, spawn->spec, spawn->spec->bytes);
    *program = (struct program){ .id = spawn->job, .job = job, .is_foreign = true };
    list_append(&daemon->programs, &program->all);
    return program;
}

/* On the chores' thread: the job does not change, and stays until the check has come back. */
static void check(struct chore *chore)
{
    struct program *program = CONTAINER_OF(chore, struct program, check);
    const char **strings = calloc(job_strings_count(program->job), sizeof *strings);
    struct id_key hash;
    int status = ROOST_ENOMEM;
    if (strings != NULL) {
        job_strings(program->job, strings);
        status = job_hash_file(strings[1], &hash);
        if (status == 0 && !id_key_eq(hash, program->job->program_hash)) {
            status = error_set(ROOST_EVERSION, "%s is another program on this node than on the driver's", strings[1]);
        }
        free(strings);
    }
    program->check_status = status;
    snprintf(program->check_text, sizeof program->check_text, "%s", error_text());
}

int process_open_outputs(struct process *process, int write_fds_out[2])
{
    for (int i = 0; i < 2; i++) { /* they may be of a try that came to nothing */
        output_close(&process->outputs[i]);
        write_fds_out[i] = -1;
    }
    ROOST_TRY(output_open(&process->outputs[0], process, false, &write_fds_out[0]));
    return output_open(&process->outputs[1], process, true, &write_fds_out[1]);
}

/* The pid comes from memory that a user's program can write. */
static bool is_known(const struct daemon *daemon, pid_t pid)
{
    LIST_EACH (at, (struct list_node *)(uintptr_t)&daemon->processes) {
        if (CONTAINER_OF(at, struct process, all)->pid == pid) {
            return true;
        }
    }
    return false;
}

void process_adopt(struct process *process, pid_t pid)
{
    int status = is_known(process->daemon, pid)
                     ? error_set(ROOST_EEXIST, "a forker says that it made pid %d, which is another worker", (int)pid)
                     : spawn_adopt(process->daemon->loop, pid, on_exit_, process, &process->spawn);
    if (status != 0) {
        ends_before_it_began(process, PROCESS_NOT_RUN, error_text());
        return;
    }
    process->pid = pid;
    if (process->must_end || process->daemon->is_stopping) {
        spawn_kill(process->spawn, SIGKILL);
    }
}

void process_launch(struct process *process)
{
    int fds[3] = { -1, -1, 0 };
    process->is_waiting = false;
    if (process->must_end || process->daemon->is_stopping) {
        ends_before_it_began(process, SIGKILL, "");
        return;
    }
    int status = process_open_outputs(process, fds);
    if (status == 0 && process->is_forker) {
        status = forker_create(process, &fds[2]);
        process->program->forker = process->forker;
    }
    if (status == 0) {
        status = start(process, fds, fds[2]);
    }
    for (int i = 0; i < 3; i++) {
        if (fds[i] > 0) {
            close(fds[i]);
        }
    }
    if (status != 0) {
        ends_before_it_began(process, PROCESS_NOT_RUN, error_text());
    }
}

/* A file that was another one may be put right: the next worker has it looked at again. */
static void checked(void *arg)
{
    struct program *program = arg;
    struct daemon *daemon = program->daemon;
    program->is_checking = false;
    program->is_checked = program->check_status == 0;
    LIST_EACH_SAFE (at, &daemon->processes) {
        struct process *process = CONTAINER_OF(at, struct process, all);
        if (!process->is_waiting || process->program != program) {
            continue;
        }
        if (program->is_checked && !daemon->is_stopping) {
            process_launch(process);
        } else {
            ends_before_it_began(process, PROCESS_NOT_RUN, program->check_text);
        }
    }
    program_drop_if_unused(daemon, program);
}

void process_start(struct daemon *daemon, uint64_t token, const struct agent_spawn *spawn)
{
    if (daemon->is_stopping) {
        return; /* the core may still want workers; it ends with this process */
    }
    struct process *process = calloc(1, sizeof *process);
    ROOST_INVARIANT(process != NULL);
    struct program *program = program_of(daemon, spawn);
    process->daemon = daemon;
    process->token = token;
    process->program = program;
    program->processes_count++;
    process->is_forker = spawn->way == AGENT_SPAWN_FORKER;
    process->outputs[0].fd = process->outputs[1].fd = -1;
    list_init(&process->queue);
    list_append(&daemon->processes, &process->all);
    if (spawn->way == AGENT_SPAWN_FORK && forker_take(program->forker, process)) {
        return;
    }
    if (!program->is_foreign || program->is_checked) {
        process_launch(process);
        return;
    }
    process->is_waiting = true;
    if (!program->is_checking) {
        program->is_checking = true;
        program->daemon = daemon;
        program->check = (struct chore){ .run = check, .after = { .run = checked, .arg = program } };
        chores_add(daemon->checks, &program->check);
    }
}

void programs_fini(struct daemon *daemon)
{
    LIST_EACH_SAFE (at, &daemon->programs) {
        struct program *program = CONTAINER_OF(at, struct program, all);
        program->driver = NULL;
        program->is_checking = false;
        program_drop_if_unused(daemon, program);
    }
}

/* output.c - what workers print, line by line, to the terminal of their driver
 *
 * Owns the reading ends of each worker's stdout and stderr. Lines go to the driver's ring of replies with the function
 * that ran, the node and the pid; when the ring is full they are dropped and counted: a driver that does not look must
 * not stop a worker, nor grow the agent.
 *
 * Thread: the loop's.
 */
#define LOG_TOPIC "output"
#include "common/error.h"
#include "common/log.h"
#include "worker/agent/daemon_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OUTPUT_READ_BYTES = 64 << 10 };

/* The end of what the worker wrote to stderr, for the case that it never connects. */
static void remember(struct process *process, const char *text, size_t bytes)
{
    size_t capacity = sizeof process->last_words - 1, held = strlen(process->last_words);
    if (bytes > capacity) {
        text += bytes - capacity;
        bytes = capacity;
    }
    size_t dropped = held + bytes > capacity ? held + bytes - capacity : 0;
    memmove(process->last_words, process->last_words + dropped, held - dropped);
    memcpy(process->last_words + held - dropped, text, bytes);
    process->last_words[held - dropped + bytes] = '\0';
}

bool output_say(const struct worker_line *line, const char *text, size_t bytes)
{
    unsigned char memory[sizeof(struct wire_output) + WORKER_LINE_BYTES_MAX + 8] __attribute__((__aligned__(8)));
    struct wire_output *entry = (struct wire_output *)(void *)memory;
    size_t size = align_up(offsetof(struct wire_output, text) + bytes, 8);
    memset(memory, 0, size);
    entry->head = (struct wire_entry){ WIRE_OUTPUT, (uint32_t)size, 0 };
    entry->node = line->node;
    entry->pid = line->pid;
    entry->is_stderr = line->is_stderr;
    entry->text_bytes = (uint32_t)bytes;
    entry->dropped = line->dropped;
    snprintf(entry->function, sizeof entry->function, "%s", line->function);
    snprintf(entry->node_name, sizeof entry->node_name, "%s", line->node_name);
    memcpy(entry->text, text, bytes);
    if (!guest_say(line->driver, &line->driver->replies, entry, size, true)) {
        return false;
    }
    line->driver->bells |= 1;
    return true;
}

/* What it ran last. Its leased tasks the worker itself notes, in memory that is not trusted. */
static const char *function_of(struct process *process)
{
    const struct guest *guest = process->guest;
    if (guest != NULL && guest->lease_page != NULL &&
        atomic_load_explicit(&guest->lease_page->lease, memory_order_relaxed) != 0) {
        memcpy(process->function, guest->lease_page->function, sizeof process->function - 1);
    }
    return process->function;
}

/* The driver is on another node: by way of the head. */
static bool send_line(struct process *process, bool is_stderr, const char *text, size_t bytes)
{
    struct proto_output output = { .job = process->program->id,
                                   .pid = (uint64_t)(process->guest != NULL ? process->guest->pid : process->pid),
                                   .function = function_of(process),
                                   .stream = is_stderr ? PROTO_STDERR : PROTO_STDOUT,
                                   .dropped = process->dropped,
                                   .bytes = { text, bytes } };
    return network_output(process->daemon->network, &output);
}

static void say_line(struct output *output, const char *text, size_t bytes)
{
    struct process *process = output->process;
    struct worker_line line = { .driver = process->program->driver,
                                .node = process->daemon->node,
                                .pid = process->guest != NULL ? process->guest->pid : process->pid,
                                .function = function_of(process),
                                .node_name = process->daemon->node_name,
                                .is_stderr = output->is_stderr,
                                .dropped = process->dropped };
    if (output->is_stderr) {
        remember(process, text, bytes);
    }
    bool is_said = line.driver != NULL ? output_say(&line, text, bytes)
                                       : send_line(process, output->is_stderr, text, bytes);
    process->dropped = is_said ? 0 : process->dropped + 1;
}

/* The line that is held, with its newline. */
static void end_line(struct output *output)
{
    output->line[output->held++] = '\n';
    say_line(output, output->line, output->held);
    output->held = 0;
}

/* Whole lines go; the rest is held until its end comes, or until there is more than a line may have. */
static void take(struct output *output, const char *text, size_t bytes)
{
    while (bytes > 0) {
        const char *newline = memchr(text, '\n', bytes);
        size_t piece = newline != NULL ? (size_t)(newline - text) : bytes;
        size_t room = sizeof output->line - 1 - output->held;
        bool fits = piece <= room, ends = newline != NULL && fits;
        piece = fits ? piece : room;
        memcpy(output->line + output->held, text, piece);
        output->held += piece;
        text += piece + ends;
        bytes -= piece + ends;
        if (ends || !fits) {
            end_line(output);
        }
    }
}

enum output_read { OUTPUT_SOME, OUTPUT_NONE_NOW, OUTPUT_END };

static enum output_read read_some(struct output *output)
{
    static char buffer[OUTPUT_READ_BYTES];
    ssize_t got = read(output->fd, buffer, sizeof buffer);
    if (got > 0) {
        take(output, buffer, (size_t)got);
        return OUTPUT_SOME;
    }
    if (got < 0 && errno == EINTR) {
        return OUTPUT_SOME;
    }
    return got < 0 && errno == EAGAIN ? OUTPUT_NONE_NOW : OUTPUT_END;
}

static void on_readable(void *arg, unsigned events)
{
    (void)events;
    struct output *output = arg;
    if (read_some(output) == OUTPUT_END) {
        loop_watch_close(output->watch);
        output->watch = NULL;
    }
}

int output_open(struct output *output, struct process *process, bool is_stderr, int *write_fd_out)
{
    int fds[2];
    output->fd = -1;
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return error_from_errno("pipe");
    }
    *output = (struct output){ .process = process, .fd = fds[0], .is_stderr = is_stderr };
    int status = loop_watch_start(process->daemon->loop, fds[0], LOOP_READ, on_readable, output, &output->watch);
    if (status != 0) {
        close(fds[0]);
        close(fds[1]);
        output->fd = -1;
        return status;
    }
    *write_fd_out = fds[1];
    return 0;
}

void output_close(struct output *output)
{
    if (output->fd < 0) {
        return;
    }
    if (output->watch != NULL) {
        while (read_some(output) == OUTPUT_SOME) { /* up to what is there now: a child of its may hold the pipe */
        }
        loop_watch_close(output->watch);
        output->watch = NULL;
    }
    if (output->held > 0) {
        end_line(output);
    }
    close(output->fd);
    output->fd = -1;
}

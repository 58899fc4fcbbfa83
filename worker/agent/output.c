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
    struct {
        struct wire_output head;
        char text[WORKER_LINE_BYTES_MAX + 8];
    } entry;
    memset(&entry.head, 0, sizeof entry.head);
    size_t size = align_up(offsetof(struct wire_output, text) + bytes, 8);
    entry.head.head = (struct wire_entry){ WIRE_OUTPUT, (uint32_t)size, 0 };
    entry.head.pid = line->pid;
    entry.head.is_stderr = line->is_stderr;
    entry.head.text_bytes = (uint32_t)bytes;
    entry.head.dropped = line->dropped;
    snprintf(entry.head.function, sizeof entry.head.function, "%s", line->function);
    snprintf(entry.head.node_name, sizeof entry.head.node_name, "%s", line->node_name);
    char *to = (char *)&entry + offsetof(struct wire_output, text);
    memset(to, 0, size - offsetof(struct wire_output, text));
    memcpy(to, text, bytes);
    if (!guest_say(line->driver, &line->driver->replies, &entry, size, true)) {
        return false;
    }
    line->driver->bells |= 1;
    return true;
}

/* The driver is on another node: by way of the head. */
static bool send_line(const struct process *process, bool is_stderr, const char *text, size_t bytes)
{
    struct proto_output output = { .job = process->program->id,
                                   .pid = (uint64_t)(process->guest != NULL ? process->guest->pid : 0),
                                   .function = process->function,
                                   .stream = is_stderr ? PROTO_STDERR : PROTO_STDOUT,
                                   .dropped = process->dropped,
                                   .bytes = { text, bytes } };
    return network_output(process->daemon->network, &output);
}

static void say_line(struct output *output, const char *text, size_t bytes)
{
    struct process *process = output->process;
    struct worker_line line = { .driver = process->program->driver,
                                .pid = process->guest != NULL    ? process->guest->pid
                                       : process->spawn != NULL ? spawn_pid(process->spawn)
                                                                : 0,
                                .function = process->function,
                                .node_name = process->daemon->node_name,
                                .is_stderr = output->is_stderr,
                                .dropped = process->dropped };
    if (output->is_stderr) {
        remember(process, text, bytes);
    }
    bool is_said = line.driver != NULL ? output_say(&line, text, bytes) : send_line(process, output->is_stderr, text, bytes);
    process->dropped = is_said ? 0 : process->dropped + 1;
}

/* Whole lines go; the rest is held until its end comes, or until it is as long as a line may be. */
static void take(struct output *output, const char *text, size_t bytes)
{
    while (bytes > 0) {
        const char *newline = memchr(text, '\n', bytes);
        size_t piece = newline != NULL ? (size_t)(newline - text) + 1 : bytes;
        size_t room = sizeof output->line - 1 - output->held;
        bool ends = newline != NULL && piece <= room;
        piece = piece < room ? piece : room;
        memcpy(output->line + output->held, text, piece);
        output->held += piece;
        text += piece;
        bytes -= piece;
        if (ends || output->held == sizeof output->line - 1) {
            if (!ends) {
                output->line[output->held++] = '\n';
            }
            say_line(output, output->line, output->held);
            output->held = 0;
        }
    }
}

static bool read_some(struct output *output)
{
    static char buffer[OUTPUT_READ_BYTES];
    ssize_t got = read(output->fd, buffer, sizeof buffer);
    if (got > 0) {
        take(output, buffer, (size_t)got);
    }
    return got > 0 || (got < 0 && errno == EINTR);
}

static void on_readable(void *arg, unsigned events)
{
    (void)events;
    struct output *output = arg;
    if (!read_some(output) && errno != EAGAIN) {
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
        while (read_some(output)) {
        }
        loop_watch_close(output->watch);
        output->watch = NULL;
    }
    if (output->held > 0) {
        output->line[output->held++] = '\n';
        say_line(output, output->line, output->held);
        output->held = 0;
    }
    close(output->fd);
    output->fd = -1;
}

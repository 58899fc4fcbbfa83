/* record.c - the head's events in a file
 *
 * Layout: a struct start, then per event a struct line and its frame (a hello, or a batch of the one message), as bytes
 * of the wire: pointers do not lie in files, and proto/ knows how to write and to check them.
 *
 * Failures: writing   -> logged once; the record ends there and the head goes on.
 *           reading   -> everything is checked: a damaged file is refused at the line where it is damaged.
 * Thread:   the owner's.
 */
#define LOG_TOPIC "record"
#include "scheduler/record.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/job.h"
#include "common/log.h"
#include "common/spec.h"
#include "proto/decode.h"
#include "proto/encode.h"
#include "scheduler/core/head.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define RECORD_MAGIC "ROOSTHR1"

enum { RECORD_END = 0 }; /* in place of an event's kind */

struct start {
    char magic[8];
    uint64_t cluster_hi, cluster_lo, epoch, suspect_ns, dead_ns;
};

struct line {
    uint64_t now_ns, hash, peer, number; /* number: the timer's key, or the session's epoch */
    uint32_t kind, batch, seen, resumed, frame_bytes, zero;
};

_Static_assert(sizeof(struct line) == 56, "no padding in the file");

struct record {
    int fd; /* -1 once writing has failed */
    struct proto_arena scratch;
    struct proto_buffer frame;
};

/* ------------------------------------------------------------------------------------------ writing */

static int write_all(int fd, const void *first, size_t first_bytes, const void *second, size_t second_bytes)
{
    struct iovec iov[2] = { { (void *)(uintptr_t)first, first_bytes }, { (void *)(uintptr_t)second, second_bytes } };
    int at = 0;
    while (at < 2) {
        ssize_t written = writev(fd, iov + at, 2 - at);
        if (written < 0 && errno != EINTR) {
            return error_from_errno("writing a record");
        }
        for (size_t left = written < 0 ? 0 : (size_t)written; at < 2; at++) {
            size_t taken = left < iov[at].iov_len ? left : iov[at].iov_len;
            iov[at].iov_base = (char *)iov[at].iov_base + taken;
            iov[at].iov_len -= taken;
            left -= taken;
            if (iov[at].iov_len > 0) {
                break;
            }
        }
    }
    return 0;
}

static void give_up(struct record *record)
{
    log_error("event=record_ends why=\"%s\"", error_text());
    close(record->fd);
    record->fd = -1;
}

int record_open(struct record **record_out, const char *path, const struct head_config *config)
{
    struct record *record = calloc(1, sizeof *record);
    if (record == NULL) {
        return error_set(ROOST_ENOMEM, "a record: out of memory");
    }
    proto_arena_init(&record->scratch, PROTO_ARENA_BYTES_MAX, NULL);
    struct start start = { .cluster_hi = config->cluster.hi,
                           .cluster_lo = config->cluster.lo,
                           .epoch = config->epoch,
                           .suspect_ns = config->suspect_ns,
                           .dead_ns = config->dead_ns };
    memcpy(start.magic, RECORD_MAGIC, sizeof start.magic);
    record->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int status = record->fd < 0 ? error_from_errno("%s", path) : write_all(record->fd, &start, sizeof start, NULL, 0);
    if (status != 0) {
        if (record->fd >= 0) {
            close(record->fd);
        }
        free(record);
        return status;
    }
    *record_out = record;
    return 0;
}

/* What the event points to, as a frame of the wire; nothing for most. */
static int write_frame(struct record *record, const struct core_event *event)
{
    struct proto_frame frame = { .kind = PROTO_FRAME_BATCH, .number = 1, .count = 1 };
    record->frame.size = 0;
    if (event->kind == CORE_SESSION_UP && event->u.session.hello != NULL) {
        return proto_encode_hello(&record->scratch, event->u.session.hello, &record->frame);
    }
    if (event->kind == CORE_MESSAGE && event->u.message.body != NULL) {
        frame.messages = event->u.message.body;
        return proto_encode_frame(&record->scratch, &frame, &record->frame);
    }
    return 0;
}

static struct line line_of(const struct core_event *event, uint64_t hash)
{
    struct line line = { .now_ns = event->now_ns, .hash = hash, .kind = event->kind };
    if (event->kind == CORE_TICK) {
        line.number = event->u.timer.key;
    } else if (event->kind == CORE_MESSAGE) {
        line.peer = core_peer_key(event->u.message.peer);
        line.batch = event->u.message.batch;
        line.seen = event->u.message.seen;
    } else {
        line.peer = core_peer_key(event->u.session.peer);
        line.number = event->u.session.epoch;
        line.resumed = event->u.session.resumed;
    }
    return line;
}

void record_event(struct record *record, const struct core_event *event, uint64_t hash)
{
    if (record->fd < 0) {
        return;
    }
    struct line line = line_of(event, hash);
    int status = write_frame(record, event);
    line.frame_bytes = (uint32_t)record->frame.size;
    if (status == 0) {
        status = write_all(record->fd, &line, sizeof line, record->frame.bytes, record->frame.size);
    }
    if (status != 0) {
        give_up(record);
    }
}

void record_close(struct record *record, uint64_t hash)
{
    if (record == NULL) {
        return;
    }
    struct line line = { .hash = hash, .kind = RECORD_END };
    if (record->fd >= 0 && write_all(record->fd, &line, sizeof line, NULL, 0) != 0) {
        give_up(record);
    }
    if (record->fd >= 0) {
        close(record->fd);
    }
    proto_buffer_fini(&record->frame);
    proto_arena_fini(&record->scratch);
    free(record);
}

/* ------------------------------------------------------------------------------------------ playing */

struct play {
    FILE *file;
    struct head *head;
    struct core_out out;
    struct proto_arena arena;
    unsigned char *bytes; /* PROTO_FRAME_BYTES_MAX of them */
    uint64_t events, now_ns;
};

static int read_frame(struct play *play, const struct line *line, struct proto_frame *frame_out)
{
    proto_arena_clear(&play->arena);
    if (line->frame_bytes > PROTO_FRAME_BYTES_MAX ||
        fread(play->bytes, 1, line->frame_bytes, play->file) != line->frame_bytes) {
        return error_set(ROOST_EINVAL, "%u bytes are not there", line->frame_bytes);
    }
    return line->frame_bytes == 0 ? 0 : proto_decode(&play->arena, play->bytes, line->frame_bytes, frame_out);
}

/* The event of this line; what it points to lies in the arena. */
static int event_of(struct play *play, const struct line *line, struct proto_frame *frame, struct core_event *event_out)
{
    *event_out = (struct core_event){ .now_ns = line->now_ns, .kind = (enum core_event_kind)line->kind };
    int status = read_frame(play, line, frame);
    bool has_frame = line->frame_bytes > 0;
    if (status != 0 || line->now_ns < play->now_ns) {
        return status != 0 ? status : error_set(ROOST_EINVAL, "time goes back");
    }
    play->now_ns = line->now_ns;
    if (line->kind == CORE_TICK && !has_frame) {
        event_out->u.timer.key = line->number;
    } else if (line->kind == CORE_MESSAGE && (!has_frame || (frame->kind == PROTO_FRAME_BATCH && frame->count == 1))) {
        event_out->u.message.peer = core_peer_of(line->peer);
        event_out->u.message.batch = line->batch;
        event_out->u.message.seen = line->seen;
        event_out->u.message.body = has_frame ? frame->messages : NULL;
    } else if ((line->kind == CORE_SESSION_UP && has_frame == (line->resumed == 0) &&
                (!has_frame || frame->kind == PROTO_FRAME_HELLO)) ||
               (line->kind == CORE_SESSION_LOST && !has_frame)) {
        event_out->u.session.peer = core_peer_of(line->peer);
        event_out->u.session.epoch = line->number;
        event_out->u.session.resumed = line->resumed != 0;
        event_out->u.session.hello = has_frame ? &frame->hello : NULL;
    } else {
        return error_set(ROOST_EINVAL, "an event of kind %u that no head records", line->kind);
    }
    return 0;
}

static int check_hash(const struct play *play, const struct line *line)
{
    uint64_t hash = head_core.hash(play->head);
    if (hash != line->hash) {
        return error_set(ROOST_ECHANGED, "the state is %016llx, it was %016llx", (unsigned long long)hash,
                         (unsigned long long)line->hash);
    }
    return 0;
}

/* 1 when there is no further event. */
static int play_line(struct play *play)
{
    struct line line;
    struct proto_frame frame;
    struct core_event event;
    size_t got = fread(&line, 1, sizeof line, play->file);
    if (got == 0 && feof(play->file)) {
        return 1;
    }
    if (got != sizeof line) {
        return error_set(ROOST_EINVAL, "%zu bytes of a line", got);
    }
    int status = check_hash(play, &line);
    if (status != 0 || line.kind == RECORD_END) {
        return status != 0 ? status : 1;
    }
    status = event_of(play, &line, &frame, &event);
    if (status == 0) {
        core_out_clear(&play->out);
        head_core.step(play->head, &event, &play->out);
        ROOST_DEBUG_CHECK(head_core.touched_are_valid(play->head));
        play->events++;
    }
    return status;
}

static int play_start(struct play *play, const char *path)
{
    static const struct proto_checks checks = { spec_check, job_check };
    struct start start;
    proto_arena_init(&play->arena, PROTO_ARENA_BYTES_MAX, &checks);
    play->file = fopen(path, "rbe");
    if (play->file == NULL) {
        return errno == ENOENT ? error_set(ROOST_ENOENT, "%s does not exist", path) : error_from_errno("%s", path);
    }
    if (fread(&start, 1, sizeof start, play->file) != sizeof start ||
        memcmp(start.magic, RECORD_MAGIC, sizeof start.magic) != 0) {
        return error_set(ROOST_EINVAL, "%s is not the record of a head", path);
    }
    struct head_config config = { .cluster = { start.cluster_hi, start.cluster_lo },
                                  .epoch = start.epoch,
                                  .suspect_ns = start.suspect_ns,
                                  .dead_ns = start.dead_ns };
    play->bytes = malloc(PROTO_FRAME_BYTES_MAX);
    if (play->bytes == NULL) {
        return error_set(ROOST_ENOMEM, "playing a record: out of memory");
    }
    int status = head_create(&play->head, &config);
    return status != 0 ? status : core_out_init(&play->out, head_core.out_bytes_max);
}

int head_play(const char *path, uint64_t *hash_out)
{
    struct play play = { .file = NULL };
    int status = play_start(&play, path);
    if (status == 0) {
        while ((status = play_line(&play)) == 0) {
        }
        status = status > 0 ? 0 : error_prefix(status, "%s: event %llu", path, (unsigned long long)play.events + 1);
    }
    if (status == 0) {
        *hash_out = head_core.hash(play.head);
    }
    if (play.file != NULL) {
        fclose(play.file);
    }
    head_destroy(play.head);
    core_out_fini(&play.out);
    proto_arena_fini(&play.arena);
    free(play.bytes);
    return status;
}

/* record.c - a core's events in a file
 *
 * Layout: a struct start and the config, then per event a struct line and up to two runs of bytes: a frame of the wire
 * (a hello, or a batch of the one message), an entry of a ring and what it leads to, a job, or what a command brought.
 * Pointers do not lie in files; proto/ knows how to write and to check a frame, the core's own functions an entry. Each
 * line carries a hash of itself and its bytes, so that damage is told from a change of the code.
 *
 * Failures: writing   -> logged once; the record ends there and the daemon goes on.
 *           reading   -> everything is checked: a damaged file is refused at the line where it is damaged.
 * Thread:   the owner's.
 */
#define LOG_TOPIC "record"
#include "proto/io/record.h"
#include "common/bytes.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/job.h"
#include "common/log.h"
#include "common/spec.h"
#include "proto/decode.h"
#include "proto/encode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define RECORD_MAGIC "ROOSTRC2"

enum {
    RECORD_END = 0,                    /* in place of an event's kind */
    RECORD_BYTES_MAX = 2 * (16 << 20), /* of one run: a frame, a spec, a trailer */
    RECORD_HASH_SEED = 8
};

struct start {
    char magic[8], core[8];
    uint64_t config_bytes;
};

struct line {
    uint64_t check; /* of the rest of the line and its bytes */
    uint64_t now_ns, hash;
    uint64_t key;    /* the timer's, the peer's or the client's */
    uint64_t number; /* the session's epoch, or a token */
    uint64_t value;  /* DONE's, or the pid of a client */
    uint64_t job_hi, job_lo;
    uint32_t kind, batch, seen, resumed;
    int32_t status;
    uint32_t has_bytes, first_bytes, second_bytes;
};

_Static_assert(sizeof(struct line) == 96, "no padding in the file");

struct bytes {
    const void *data; /* NULL: none */
    size_t size;
};

struct record {
    int fd; /* -1 once writing has failed */
    const struct record_core *core;
    struct proto_arena scratch;
    struct proto_buffer frame;
};

static uint64_t check_of(const struct line *line, struct bytes first, struct bytes second)
{
    uint64_t words[3] = { hash64(&line->now_ns, sizeof *line - offsetof(struct line, now_ns), RECORD_HASH_SEED),
                          hash64(first.data, first.size, RECORD_HASH_SEED),
                          hash64(second.data, second.size, RECORD_HASH_SEED) };
    return hash64(words, sizeof words, RECORD_HASH_SEED);
}

/* ------------------------------------------------------------------------------------------ writing */

static int write_all(int fd, struct iovec *iov, int count)
{
    int at = 0;
    while (at < count) {
        ssize_t written = writev(fd, iov + at, count - at);
        if (written < 0 && errno != EINTR) {
            return error_from_errno("writing a record");
        }
        for (size_t left = written < 0 ? 0 : (size_t)written; at < count; at++) {
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

static struct iovec iovec_of(struct bytes bytes) { return (struct iovec){ (void *)(uintptr_t)bytes.data, bytes.size }; }

static int write_line(struct record *record, struct line *line, struct bytes first, struct bytes second)
{
    line->has_bytes = first.data != NULL;
    line->first_bytes = (uint32_t)first.size;
    line->second_bytes = (uint32_t)second.size;
    line->check = check_of(line, first, second);
    struct iovec iov[3] = { { line, sizeof *line }, iovec_of(first), iovec_of(second) };
    return write_all(record->fd, iov, 3);
}

static void give_up(struct record *record)
{
    log_error("event=record_ends why=\"%s\"", error_text());
    close(record->fd);
    record->fd = -1;
}

int record_open(struct record **record_out, const char *path, const struct record_core *core, const void *config)
{
    ROOST_PRE(core->config_bytes <= RECORD_CONFIG_BYTES_MAX);
    struct record *record = calloc(1, sizeof *record);
    if (record == NULL) {
        return error_set(ROOST_ENOMEM, "a record: out of memory");
    }
    record->core = core;
    proto_arena_init(&record->scratch, PROTO_ARENA_BYTES_MAX, NULL);
    struct start start = { .config_bytes = core->config_bytes };
    memcpy(start.magic, RECORD_MAGIC, sizeof start.magic);
    strncpy(start.core, core->name, sizeof start.core - 1);
    struct iovec iov[2] = { { &start, sizeof start }, iovec_of((struct bytes){ config, core->config_bytes }) };
    record->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int status = record->fd < 0 ? error_from_errno("%s", path) : write_all(record->fd, iov, 2);
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

static int frame_of(struct record *record, const struct core_event *event, struct bytes *frame_out)
{
    struct proto_frame frame = { .kind = PROTO_FRAME_BATCH, .number = 1, .count = 1 };
    record->frame.size = 0;
    int status = 0;
    if (event->kind == CORE_SESSION_UP && event->u.session.hello != NULL) {
        status = proto_encode_hello(&record->scratch, event->u.session.hello, &record->frame);
    } else if (event->kind == CORE_MESSAGE && event->u.message.body != NULL) {
        frame.messages = event->u.message.body;
        status = proto_encode_frame(&record->scratch, &frame, &record->frame);
    } else {
        return 0;
    }
    *frame_out = (struct bytes){ record->frame.bytes, record->frame.size };
    return status;
}

/* The numbers of an event, and the bytes that it points to. */
static int line_of(struct record *record, const struct core_event *event, struct line *line, struct bytes *first,
                   struct bytes *second)
{
    switch (event->kind) {
    case CORE_TICK:
        line->key = event->u.timer.key;
        return 0;
    case CORE_SESSION_UP:
    case CORE_SESSION_LOST:
        line->key = core_peer_key(event->u.session.peer);
        line->number = event->u.session.epoch;
        line->resumed = event->u.session.resumed;
        return frame_of(record, event, first);
    case CORE_MESSAGE:
        line->key = core_peer_key(event->u.message.peer);
        line->batch = event->u.message.batch;
        line->seen = event->u.message.seen;
        return frame_of(record, event, first);
    case CORE_RING_ENTRY:
        line->key = core_client_key(event->u.ring.client);
        first->data = event->u.ring.entry;
        first->size = record->core->entry_parts(event->u.ring.entry, &second->data, &second->size);
        return 0;
    case CORE_CLIENT_UP:
    case CORE_CLIENT_GONE:
        line->key = core_client_key(event->u.client.client);
        line->number = event->u.client.token;
        line->value = (uint64_t)event->u.client.pid;
        line->job_hi = event->u.client.job.hi;
        line->job_lo = event->u.client.job.lo;
        line->status = event->u.client.status;
        *first = (struct bytes){ event->u.client.data, event->u.client.bytes };
        return 0;
    case CORE_DRAINED:
        return 0;
    case CORE_DONE:
        line->number = event->u.done.token;
        line->value = event->u.done.value;
        line->status = event->u.done.status;
        *first = (struct bytes){ event->u.done.data, event->u.done.bytes };
        return 0;
    }
    ROOST_IMPOSSIBLE("an event of no kind");
}

void record_event(struct record *record, const struct core_event *event, uint64_t hash)
{
    if (record->fd < 0) {
        return;
    }
    struct line line = { .now_ns = event->now_ns, .hash = hash, .kind = event->kind };
    struct bytes first = { NULL, 0 }, second = { NULL, 0 };
    int status = line_of(record, event, &line, &first, &second);
    if (status == 0) {
        status = write_line(record, &line, first, second);
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
    struct bytes none = { NULL, 0 };
    if (record->fd >= 0 && write_line(record, &line, none, none) != 0) {
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
    const struct record_core *how;
    void *core;
    struct core_out out;
    struct proto_arena arena;
    void *first, *second; /* the bytes of the line at hand; owned */
    uint64_t events, now_ns;
};

/* Aligned as malloc() does it: entries are structs. */
static int read_bytes(struct play *play, size_t size, void **bytes_out)
{
    free(*bytes_out);
    *bytes_out = NULL;
    if (size > RECORD_BYTES_MAX) {
        return error_set(ROOST_EINVAL, "%zu bytes in one piece", size);
    }
    *bytes_out = malloc(size + 1);
    if (*bytes_out == NULL) {
        return error_set(ROOST_ENOMEM, "playing a record: no memory for %zu bytes", size);
    }
    return fread(*bytes_out, 1, size, play->file) == size ? 0
                                                          : error_set(ROOST_EINVAL, "%zu bytes are not there", size);
}

static int read_line(struct play *play, struct line *line)
{
    ROOST_TRY(read_bytes(play, line->first_bytes, &play->first));
    ROOST_TRY(read_bytes(play, line->second_bytes, &play->second));
    uint64_t check = check_of(line, (struct bytes){ play->first, line->first_bytes },
                              (struct bytes){ play->second, line->second_bytes });
    return check == line->check ? 0 : error_set(ROOST_EINVAL, "the line is damaged");
}

static int decode(struct play *play, const struct line *line, struct proto_frame *frame_out)
{
    proto_arena_clear(&play->arena);
    return line->has_bytes ? proto_decode(&play->arena, play->first, line->first_bytes, frame_out) : 0;
}

static int session_of(struct play *play, const struct line *line, struct proto_frame *frame, struct core_event *event)
{
    ROOST_TRY(decode(play, line, frame));
    if (line->has_bytes && frame->kind != PROTO_FRAME_HELLO) {
        return error_set(ROOST_EINVAL, "a session without a hello");
    }
    event->u.session.peer = core_peer_of(line->key);
    event->u.session.epoch = line->number;
    event->u.session.resumed = line->resumed != 0;
    event->u.session.hello = line->has_bytes ? &frame->hello : NULL;
    return 0;
}

static int message_of(struct play *play, const struct line *line, struct proto_frame *frame, struct core_event *event)
{
    ROOST_TRY(decode(play, line, frame));
    if (line->has_bytes && (frame->kind != PROTO_FRAME_BATCH || frame->count != 1)) {
        return error_set(ROOST_EINVAL, "not one message");
    }
    event->u.message.peer = core_peer_of(line->key);
    event->u.message.batch = line->batch;
    event->u.message.seen = line->seen;
    event->u.message.body = line->has_bytes ? frame->messages : NULL;
    return 0;
}

static int entry_of(struct play *play, const struct line *line, struct core_event *event)
{
    if (play->how->entry_fix == NULL) {
        return error_set(ROOST_EINVAL, "an entry of a ring");
    }
    event->u.ring.client = core_client_of(line->key);
    event->u.ring.entry = play->first;
    return play->how->entry_fix(play->first, line->first_bytes, play->second, line->second_bytes);
}

/* The event of this line; what it points to lives until the next. */
static int event_of(struct play *play, const struct line *line, struct proto_frame *frame, struct core_event *event)
{
    const void *data = line->has_bytes ? play->first : NULL;
    *event = (struct core_event){ .now_ns = line->now_ns, .kind = (enum core_event_kind)line->kind };
    if (line->now_ns < play->now_ns) {
        return error_set(ROOST_EINVAL, "time goes back");
    }
    play->now_ns = line->now_ns;
    switch (event->kind) {
    case CORE_TICK:
        event->u.timer.key = line->key;
        return 0;
    case CORE_SESSION_UP:
    case CORE_SESSION_LOST:
        return session_of(play, line, frame, event);
    case CORE_MESSAGE:
        return message_of(play, line, frame, event);
    case CORE_RING_ENTRY:
        return entry_of(play, line, event);
    case CORE_CLIENT_UP:
    case CORE_CLIENT_GONE:
        event->u.client.client = core_client_of(line->key);
        event->u.client.token = line->number;
        event->u.client.pid = (int64_t)line->value;
        event->u.client.job = (struct id_key){ line->job_hi, line->job_lo };
        event->u.client.status = line->status;
        event->u.client.data = data;
        event->u.client.bytes = line->first_bytes;
        return 0;
    case CORE_DRAINED:
        return 0;
    case CORE_DONE:
        event->u.done.token = line->number;
        event->u.done.value = line->value;
        event->u.done.status = line->status;
        event->u.done.data = data;
        event->u.done.bytes = line->first_bytes;
        return 0;
    }
    return error_set(ROOST_EINVAL, "an event of kind %u", line->kind);
}

static int check_hash(const struct play *play, const struct line *line)
{
    uint64_t hash = play->how->vtable->hash(play->core);
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
    int status = read_line(play, &line);
    if (status == 0) {
        status = check_hash(play, &line);
    }
    if (status != 0 || line.kind == RECORD_END) {
        return status != 0 ? status : 1;
    }
    status = event_of(play, &line, &frame, &event);
    if (status == 0) {
        core_out_clear(&play->out);
        play->how->vtable->step(play->core, &event, &play->out);
        ROOST_DEBUG_CHECK(play->how->vtable->touched_are_valid(play->core));
        play->events++;
    }
    return status;
}

static int play_start(struct play *play, const char *path)
{
    static const struct proto_checks checks = { spec_check, job_check };
    struct start start;
    _Alignas(16) unsigned char config[RECORD_CONFIG_BYTES_MAX];
    proto_arena_init(&play->arena, PROTO_ARENA_BYTES_MAX, &checks);
    play->file = fopen(path, "rbe");
    if (play->file == NULL) {
        return errno == ENOENT ? error_set(ROOST_ENOENT, "%s does not exist", path) : error_from_errno("%s", path);
    }
    if (fread(&start, 1, sizeof start, play->file) != sizeof start ||
        memcmp(start.magic, RECORD_MAGIC, sizeof start.magic) != 0 ||
        strncmp(start.core, play->how->name, sizeof start.core) != 0 || start.config_bytes != play->how->config_bytes ||
        fread(config, 1, play->how->config_bytes, play->file) != play->how->config_bytes) {
        return error_set(ROOST_EINVAL, "%s is not a record of this build's %s", path, play->how->name);
    }
    int status = play->how->create(config, &play->core);
    return status != 0 ? status : core_out_init(&play->out, play->how->vtable->out_bytes_max);
}

int record_play(const char *path, const struct record_core *core, uint64_t *hash_out)
{
    struct play play = { .how = core };
    int status = play_start(&play, path);
    if (status == 0) {
        while ((status = play_line(&play)) == 0) {
        }
        status = status > 0 ? 0 : error_prefix(status, "%s: event %llu", path, (unsigned long long)play.events + 1);
    }
    if (status == 0) {
        *hash_out = core->vtable->hash(play.core);
    }
    if (play.file != NULL) {
        fclose(play.file);
    }
    core->destroy(play.core);
    core_out_fini(&play.out);
    proto_arena_fini(&play.arena);
    free(play.first);
    free(play.second);
    return status;
}

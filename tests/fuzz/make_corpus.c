/* make_corpus.c - writes the seeds: FOLDER/decode/ has a frame of every kind, FOLDER/session/ scripts of whole
 * sessions, FOLDER/spec/, job/ and wire/ tasks, jobs and an entry of every kind
 *
 * Built anew at each test run, so that the seeds always are what the program of today speaks. */
#include "common/error.h"
#include "common/job.h"
#include "common/spec.h"
#include "objectstore/wire.h"
#include "proto/encode.h"
#include "tests/lib/proto_random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CONNECT, RECEIVE, DISCONNECT, ADD, FLUSH, LOSE, WAIT }; /* tests/fuzz/session.c */

static struct proto_arena arena, scratch;

static void must(bool well, const char *what)
{
    if (!well) {
        fprintf(stderr, "%s: %s\n", what, error_text());
        exit(1);
    }
}

static void write_seed(const char *folder, const char *set, const char *name, struct proto_buffer *buffer)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, set);
    must(mkdir(path, 0777) == 0 || errno == EEXIST, path);
    snprintf(path, sizeof path, "%s/%s/%s", folder, set, name);
    FILE *file = fopen(path, "wb");
    must(file != NULL && fwrite(buffer->bytes, 1, buffer->size, file) == buffer->size && fclose(file) == 0, path);
    buffer->size = 0;
}

static void put_batch(struct proto_random *random, uint32_t number, uint32_t seen, int kind,
                      struct proto_buffer *buffer)
{
    int status = number > 0 ? proto_encode_batch_start(number, seen, buffer) : proto_encode_empty(1, seen, buffer);
    must(status == 0, "batch");
    for (int i = 0; i < (number > 0 ? 2 : 0); i++) {
        struct proto_message message;
        proto_random_message(random, &arena, (enum proto_kind)kind, &message);
        must(proto_encode_message(&scratch, &message, buffer) == 0, proto_kind_name((enum proto_kind)kind));
        proto_arena_clear(&arena);
    }
}

static void put_hello(struct proto_random *random, uint64_t session, uint64_t session_peer, uint32_t seen,
                      struct proto_buffer *buffer)
{
    struct proto_hello hello;
    proto_random_hello(random, &arena, &hello);
    hello.session = session;
    hello.session_peer = session_peer;
    hello.seen = seen;
    hello.labels = "zone=a";
    must(proto_encode_hello(&scratch, &hello, buffer) == 0, "hello");
    proto_arena_clear(&arena);
}

static void put_operation(struct proto_buffer *script, int operation, struct proto_buffer *frame)
{
    unsigned char start[3] = { (unsigned char)operation, (unsigned char)frame->size,
                               (unsigned char)(frame->size >> 8) };
    must(frame->size <= UINT16_MAX && proto_buffer_append(script, start, sizeof start) == 0 &&
             proto_buffer_append(script, frame->bytes, frame->size) == 0,
         "script");
    frame->size = 0;
}

static void put_plain(struct proto_buffer *script, int operation)
{
    unsigned char byte = (unsigned char)operation;
    must(proto_buffer_append(script, &byte, 1) == 0, "script");
}

/* ADD and WAIT have a length and no bytes. */
static void put_number(struct proto_buffer *script, int operation, unsigned number)
{
    unsigned char bytes[3] = { (unsigned char)operation, (unsigned char)number, (unsigned char)(number >> 8) };
    must(proto_buffer_append(script, bytes, sizeof bytes) == 0, "script");
}

/* Up, two batches in, two out, a cut, and the way the session goes on: `kind` of messages, `session_peer` in the hello.
 */
static void put_script(struct proto_random *random, int kind, uint64_t session_peer, struct proto_buffer *script)
{
    struct proto_buffer frame = { NULL, 0, 0 };
    put_plain(script, CONNECT);
    put_hello(random, 77, 0, 0, &frame);
    put_operation(script, RECEIVE, &frame);
    put_number(script, ADD, 300);
    put_plain(script, FLUSH);
    put_batch(random, 1, 1, kind, &frame);
    put_operation(script, RECEIVE, &frame);
    put_number(script, ADD, 40000);
    put_number(script, WAIT, 600);
    put_plain(script, FLUSH);
    put_batch(random, 2, 1, kind, &frame);
    put_operation(script, RECEIVE, &frame);
    put_plain(script, DISCONNECT);
    put_number(script, ADD, 5);
    put_plain(script, CONNECT);
    put_hello(random, 77, session_peer, 1, &frame);
    put_operation(script, RECEIVE, &frame);
    put_plain(script, FLUSH);
    put_batch(random, session_peer == 0 ? 1 : 3, session_peer == 0 ? 0 : 3, kind, &frame);
    put_operation(script, RECEIVE, &frame);
    put_plain(script, LOSE);
    proto_buffer_fini(&frame);
}

static void write_spec(const char *folder, const char *name, const struct spec_draft *draft,
                       struct proto_buffer *buffer)
{
    size_t bytes = 0;
    must(spec_measure(draft, &bytes) == 0, name);
    void *spec = malloc(bytes);
    must(spec != NULL, name);
    spec_write(draft, spec, bytes);
    must(proto_buffer_append(buffer, spec, bytes) == 0, name);
    write_seed(folder, "spec", name, buffer);
    free(spec);
}

static void write_specs(const char *folder, struct proto_buffer *buffer)
{
    static const char *const env[] = { "A=1", "LONGER=value", NULL };
    const roost_ref refs[] = { { { 1, 2 }, 0, ROOST_WHOLE }, { { 3, 4 }, 5, 6 } };
    const roost_in args[] = { roost_in_int(-1),       roost_in_uint(1),         roost_in_real(0.5),
                              roost_in_text("text"),  roost_in_bytes("1", 2),   roost_in_ref(refs[0]),
                              roost_in_refs(refs, 2), roost_in_handle(refs[1]), roost_in_gather(refs[0], 7) };
    struct spec_draft draft = { .function = "f", .cpus_hundredths = 100, .returns = 1 };
    write_spec(folder, "plain", &draft, buffer);
    draft.args = args;
    draft.args_count = sizeof args / sizeof *args;
    write_spec(folder, "args", &draft, buffer);
    draft.env = env;
    draft.name = "for people";
    draft.flags = SPEC_FLAGS_ALL;
    write_spec(folder, "options", &draft, buffer);
}

static void write_job(const char *folder, const char *name, char *const *strings, struct proto_buffer *buffer)
{
    struct job_draft draft = { .name = name, .program = "/bin/true", .args = strings, .env = strings };
    struct job_spec *job;
    must(job_write(&draft, &job) == 0 && proto_buffer_append(buffer, job, job->bytes) == 0, name);
    write_seed(folder, "job", name, buffer);
    free(job);
}

static void write_jobs(const char *folder, struct proto_buffer *buffer)
{
    char *const none[] = { NULL }, *const some[] = { "program", "", "NAME=VALUE", NULL };
    write_job(folder, "plain", none, buffer);
    write_job(folder, "strings", some, buffer);
}

/* Each kind at the first size that is taken when all counts are zero, and once more with two items where it has any. */
static void write_entries(const char *folder, struct proto_buffer *buffer)
{
    static struct {
        struct wire_entry head;
        char rest[CLIENT_MESSAGE_BYTES_MAX];
    } entry;
    for (uint32_t kind = 1; kind < WIRE_KINDS; kind++) {
        uint32_t bytes = sizeof entry.head;
        do {
            bytes += 8;
            must(bytes <= CLIENT_MESSAGE_BYTES_MAX, "a kind without a size");
            entry.head = (struct wire_entry){ kind, bytes, kind };
        } while (wire_check(&entry.head, bytes) != 0);
        char name[32];
        must(proto_buffer_append(buffer, &entry, bytes) == 0, "entry");
        snprintf(name, sizeof name, "kind-%02u", kind);
        write_seed(folder, "wire", name, buffer);
    }
    memset(&entry, 0, sizeof entry);
    struct wire_names *names = (struct wire_names *)(void *)&entry;
    names->head = (struct wire_entry){ WIRE_HOLD, sizeof *names + 2 * sizeof names->ids[0], 0 };
    names->count = 2;
    names->ids[0] = (struct object_id){ 1, 2 };
    names->ids[1] = (struct object_id){ 3, 4 };
    must(proto_buffer_append(buffer, names, names->head.bytes) == 0, "names");
    write_seed(folder, "wire", "two-names", buffer);
    memset(&entry, 0, sizeof entry);
    struct wire_complete *complete = (struct wire_complete *)(void *)&entry;
    complete->head = (struct wire_entry){ WIRE_COMPLETE, sizeof *complete + 8, 0 };
    complete->status = ROOST_EFAILED;
    complete->text_bytes = 3;
    memcpy(complete->text, "why", 3);
    must(proto_buffer_append(buffer, complete, complete->head.bytes) == 0, "complete");
    write_seed(folder, "wire", "complete", buffer);
}

int main(int argc, char **argv)
{
    must(argc == 2 && (mkdir(argv[1], 0777) == 0 || errno == EEXIST), "usage: make_corpus FOLDER");
    proto_arena_init(&arena, PROTO_ARENA_BYTES_MAX, NULL);
    proto_arena_init(&scratch, PROTO_ARENA_BYTES_MAX, NULL);
    struct proto_random random = { 42 };
    struct proto_buffer buffer = { NULL, 0, 0 };
    for (int kind = 1; kind < PROTO_KIND_END; kind++) {
        put_batch(&random, 7, 3, kind, &buffer);
        write_seed(argv[1], "decode", proto_kind_name((enum proto_kind)kind), &buffer);
    }
    put_batch(&random, 0, 9, 0, &buffer);
    write_seed(argv[1], "decode", "empty", &buffer);
    put_hello(&random, 1, 2, 3, &buffer);
    write_seed(argv[1], "decode", "hello", &buffer);
    struct proto_refusal refusal = { ROOST_EAUTH, "the key is another" };
    must(proto_encode_refusal(&scratch, &refusal, &buffer) == 0, "refusal");
    write_seed(argv[1], "decode", "refusal", &buffer);
    static const int kinds[] = { PROTO_DROP, PROTO_NAMES_ACK, PROTO_LOAD, PROTO_CANCEL };
    for (size_t i = 0; i < ROOST_COUNT_OF(kinds); i++) {
        char name[64];
        put_script(&random, kinds[i], i % 2, &buffer);
        snprintf(name, sizeof name, "%s-%s", i % 2 == 0 ? "anew" : "resumed",
                 proto_kind_name((enum proto_kind)kinds[i]));
        write_seed(argv[1], "session", name, &buffer);
    }
    write_specs(argv[1], &buffer);
    write_jobs(argv[1], &buffer);
    write_entries(argv[1], &buffer);
    proto_buffer_fini(&buffer);
    proto_arena_fini(&arena);
    proto_arena_fini(&scratch);
    return 0;
}

/* session.c - a session whose peer, owner and network do anything in any order
 *
 * The input is a script: an operation a byte, two bytes of length and as many bytes for those that take some. What is
 * checked are the sums that the session keeps, and that a message is never given out without an UP before it. */
#include "proto/session.h"
#include "common/error.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum operation { CONNECT, RECEIVE, DISCONNECT, ADD, FLUSH, LOSE, WAIT, OPERATIONS };

static struct proto_arena decoded, scratch;

struct run {
    struct session session;
    uint64_t now;
    bool is_up, heard;
    uint32_t batch;
};

static void take_events(struct run *run)
{
    struct session_event event;
    while (session_next(&run->session, &event)) {
        switch (event.kind) {
        case SESSION_EVENT_LOST:
            FUZZ_CHECK(run->is_up && event.u.lost.status < 0);
            run->is_up = false;
            break;
        case SESSION_EVENT_UP:
            FUZZ_CHECK(event.u.up.resumed == run->is_up && event.u.up.hello->host != NULL);
            run->batch = event.u.up.resumed ? run->batch : 0;
            run->is_up = true;
            break;
        case SESSION_EVENT_MESSAGES:
            FUZZ_CHECK(run->is_up && event.u.messages.count > 0 && event.u.messages.number == ++run->batch);
            run->heard = true;
            break;
        }
    }
}

static uint64_t bytes_kept(const struct session *session)
{
    FUZZ_CHECK(session->kept_bytes <= PROTO_CREDIT_BYTES && session->flight_bytes <= session->kept_bytes);
    FUZZ_CHECK(session->applied <= session->received && session->seen_sent <= session->received);
    FUZZ_CHECK(session->number_acknowledged <= session->number_sent && session->number_sent <= session->number_last);
    return session->kept_bytes;
}

static void run_one(struct run *run, enum operation operation, const uint8_t *data, size_t size)
{
    static unsigned char spec[1 << 16];
    struct session *session = &run->session;
    struct proto_hello hello = { .role = PROTO_ROLE_PEER, .node = { 1, 1 } };
    struct proto_message message = { .kind = PROTO_SUBMIT, .u.submit = { .task = { 1, 1 }, .spec = { spec, size } } };
    struct proto_bytes frame;
    switch (operation) {
    case CONNECT:
        FUZZ_CHECK(session_connected(session, &hello, run->now) == 0);
        break;
    case RECEIVE:
        if (session_received(session, data, size, run->now) != 0) {
            FUZZ_CHECK(session->state == SESSION_DOWN && error_text()[0] != '\0');
        }
        break;
    case DISCONNECT:
        session_disconnected(session);
        break;
    case ADD: {
        int status = size == 0 ? 0 : session_add(session, &message);
        FUZZ_CHECK(status == 0 || status == (run->is_up ? ROOST_EBUSY : ROOST_ESTATE));
        break;
    }
    case FLUSH:
        while (session_flush(session, run->now, &frame)) {
            FUZZ_CHECK(frame.size > 0 && frame.size <= PROTO_FRAME_BYTES_MAX);
        }
        FUZZ_CHECK(session->state != SESSION_UP || session->unacknowledged_bytes == 0);
        break;
    case LOSE:
        session_lose(session, ROOST_ENODE, "given up");
        break;
    case WAIT:
        run->now += size * 1000000;
        break;
    case OPERATIONS:
        break;
    }
}

static bool takes_bytes(enum operation operation)
{
    return operation == RECEIVE || operation == ADD || operation == WAIT;
}

uint64_t fuzz_taken;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (scratch.bytes_max == 0) {
        proto_arena_init(&decoded, 32 << 20, NULL);
        proto_arena_init(&scratch, 32 << 20, NULL);
    }
    struct run run = { .now = 1 };
    session_init(&run.session, 1, &decoded, &scratch, run.now);
    for (size_t at = 0; at < size;) {
        enum operation operation = (enum operation)(data[at++] % OPERATIONS);
        size_t bytes = 0;
        if (takes_bytes(operation) && size - at >= 2) {
            bytes = (size_t)data[at] | (size_t)data[at + 1] << 8;
            at += 2;
            bytes = bytes < size - at ? bytes : size - at;
        }
        run_one(&run, operation, data + at, bytes);
        at += operation == RECEIVE ? bytes : 0;
        take_events(&run);
        bytes_kept(&run.session);
    }
    session_fini(&run.session);
    fuzz_taken += run.heard;
    return 0;
}

/* proto_session.c - two ends of a session, a bad network, thousands of seeds
 *
 * Each end numbers its messages within an era: from one UP(resumed=false) to the next. Whatever is cut, lost, doubled,
 * restarted or given up: what an end takes in between two of its own such UPs is one era of the other end, from 1 on,
 * without a hole, or it hears LOST. Once the network is whole again, everything arrives.
 * ROOST_SEED=n runs that seed alone. */
#include "common/error.h"
#include "proto/session.h"
#include "tests/lib/proto_random.h"
#include "tests/lib/test.h"

#include <inttypes.h>
#include <string.h>

enum { SEEDS = 4000, STEPS = 600, INBOX_MAX = 1024, IDS_MAX = 3000 };

struct in_flight {
    uint32_t connection;
    size_t size;
    unsigned char *bytes;
};

struct end {
    struct session session;
    struct proto_arena decoded;
    uint32_t connection; /* 0: none */
    uint32_t accepted;   /* the newest ever: what this end has closed stays closed */
    struct in_flight inbox[INBOX_MAX];
    size_t inbox_count;

    uint32_t era, said;        /* what it says: its era, and how many messages of it */
    uint32_t heard_era, heard; /* what it has taken in since its last UP(resumed=false): 0 if nothing yet */
    uint32_t batch, seen;      /* the newest, in this session */
    uint32_t newest_era;       /* of the peer, ever */
    bool is_lost;              /* LOST, and no UP since */
    uint64_t halves;           /* how many it has begun with */
};

struct world {
    struct end ends[2];
    struct proto_arena scratch;
    struct proto_random random;
    uint64_t seed, now, resumed, anew, lost, cuts;
    uint32_t connections;
};

static struct object_id ids[IDS_MAX];

/* Says which seed it was before the check ends the program. */
#define HOLDS(condition)                                                                 \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "ROOST_SEED=%" PRIu64 " (%s)\n", world->seed, error_text()); \
        }                                                                                \
        CHECK(condition);                                                                \
    } while (0)

static int dialer_of(uint32_t connection) { return connection % 2 == 1 ? 0 : 1; }

static bool one_in(struct world *world, uint64_t n) { return proto_random_below(&world->random, n) == 0; }

static void begin_life(struct world *world, int i)
{
    struct end *end = &world->ends[i];
    uint64_t half = (world->seed << 32 | ++end->halves << 1) + (uint64_t)i + 1;
    session_init(&end->session, half, &end->decoded, &world->scratch, world->now);
    end->connection = 0;
    end->accepted = world->connections; /* what was dialed before reaches nobody */
    end->heard_era = end->heard = end->batch = end->seen = 0;
    end->is_lost = true;
}

static void forget(struct end *end, size_t index)
{
    free(end->inbox[index].bytes);
    memmove(&end->inbox[index], &end->inbox[index + 1], (end->inbox_count - index - 1) * sizeof *end->inbox);
    end->inbox_count--;
}

static void send_to(struct world *world, struct end *end, size_t at, uint32_t connection, const void *bytes,
                    size_t size)
{
    HOLDS(end->inbox_count < INBOX_MAX);
    memmove(&end->inbox[at + 1], &end->inbox[at], (end->inbox_count - at) * sizeof *end->inbox);
    end->inbox[at] = (struct in_flight){ connection, size, malloc(size) };
    memcpy(end->inbox[at].bytes, bytes, size);
    end->inbox_count++;
}

static void connect_end(struct world *world, int i, uint32_t connection)
{
    struct proto_hello hello = { .role = PROTO_ROLE_PEER, .node = { 1, (uint64_t)i + 1 } };
    HOLDS(session_connected(&world->ends[i].session, &hello, world->now) == 0);
    world->ends[i].connection = connection;
}

static void disconnect_end(struct world *world, int i)
{
    struct end *end = &world->ends[i], *other = &world->ends[1 - i];
    session_disconnected(&end->session);
    /* what this end has sent arrives up to some point */
    for (size_t at = other->inbox_count; at > 0 && !one_in(world, 4); at--) {
        if (other->inbox[at - 1].connection == end->connection) {
            forget(other, at - 1);
        }
    }
    end->connection = 0;
    world->cuts++;
}

/* ---------------------------------------------------------------------------------------------- what an end takes in
 */

static void take_message(struct world *world, struct end *end, uint64_t message)
{
    uint32_t era = (uint32_t)(message >> 32), number = (uint32_t)message;
    if (end->heard == 0) {
        HOLDS(era > end->newest_era); /* never an era again that was given up */
        end->heard_era = end->newest_era = era;
    }
    HOLDS(era == end->heard_era);
    HOLDS(number == end->heard + 1);
    end->heard = number;
}

static int say(struct world *world, int i);

static void take_event(struct world *world, int i, const struct session_event *event)
{
    struct end *end = &world->ends[i];
    switch (event->kind) {
    case SESSION_EVENT_LOST:
        HOLDS(!end->is_lost);
        HOLDS(event->u.lost.text[0] != '\0' && event->u.lost.status < 0);
        end->is_lost = true;
        world->lost++;
        break;
    case SESSION_EVENT_UP:
        HOLDS(event->u.up.resumed == !end->is_lost);
        if (!event->u.up.resumed) {
            end->era++;
            end->said = end->heard = end->batch = end->seen = 0;
            end->is_lost = false;
        }
        event->u.up.resumed ? world->resumed++ : world->anew++;
        break;
    case SESSION_EVENT_MESSAGES:
        HOLDS(!end->is_lost);
        HOLDS(event->u.messages.number == end->batch + 1 && event->u.messages.seen >= end->seen);
        end->batch = event->u.messages.number;
        end->seen = event->u.messages.seen;
        for (size_t m = 0; m < event->u.messages.count; m++) {
            take_message(world, end, event->u.messages.messages[m].u.names.message);
            if (one_in(world, 8)) {
                say(world, i); /* an answer, in the middle of a batch */
            }
        }
        break;
    }
}

static void take_events(struct world *world, int i)
{
    struct session_event event;
    while (session_next(&world->ends[i].session, &event)) {
        take_event(world, i, &event);
    }
}

/* ---------------------------------------------------------------------------------------------- what can happen */

static int say(struct world *world, int i)
{
    struct end *end = &world->ends[i];
    size_t count = one_in(world, 50) ? IDS_MAX : proto_random_below(&world->random, 3);
    struct proto_message message = { .kind = PROTO_NAMES };
    message.u.names.message = (uint64_t)end->era << 32 | (end->said + 1);
    message.u.names.objects = (struct proto_objects){ ids, count };
    int status = session_add(&end->session, &message);
    HOLDS(end->is_lost ? status == ROOST_ESTATE : status == 0);
    end->said += status == 0;
    return status;
}

static bool flush_one(struct world *world, int i)
{
    struct end *end = &world->ends[i], *other = &world->ends[1 - i];
    struct proto_bytes frame;
    if (other->inbox_count > INBOX_MAX / 2 || !session_flush(&end->session, world->now, &frame)) {
        return false;
    }
    send_to(world, other, other->inbox_count, end->connection, frame.data, frame.size);
    return true;
}

/* Frames of one connection keep their order; connections overtake each other. */
static size_t some_first(struct world *world, const struct end *end)
{
    size_t at = proto_random_below(&world->random, end->inbox_count);
    for (size_t i = 0; i < at; i++) {
        if (end->inbox[i].connection == end->inbox[at].connection) {
            return i;
        }
    }
    return at;
}

/* Both have dialed: the connection of end 0, which is still under way, stays. */
static bool ours_stays(const struct end *end, int i)
{
    return i == 0 && end->connection != 0 && dialer_of(end->connection) == i && end->session.state != SESSION_UP;
}

static bool deliver_one(struct world *world, int i)
{
    struct end *end = &world->ends[i];
    if (end->inbox_count == 0) {
        return false;
    }
    size_t at = some_first(world, end);
    struct in_flight frame = end->inbox[at];
    if (dialer_of(frame.connection) != i && frame.connection > end->accepted) {
        end->accepted = frame.connection;
        if (!ours_stays(end, i)) {
            connect_end(world, i, frame.connection); /* the newer one counts */
        }
    }
    if (frame.connection == end->connection &&
        session_received(&end->session, frame.bytes, frame.size, world->now) != 0) {
        end->connection = 0;
    }
    forget(end, at);
    take_events(world, i);
    return true;
}

static void damage(struct world *world, int i)
{
    struct end *end = &world->ends[i];
    if (end->inbox_count == 0) {
        return;
    }
    size_t at = proto_random_below(&world->random, end->inbox_count);
    if (one_in(world, 2)) {
        forget(end, at);
    } else {
        struct in_flight *frame = &end->inbox[at];
        send_to(world, end, at, frame->connection, frame->bytes, frame->size);
    }
}

static void dial(struct world *world, int i)
{
    world->connections += dialer_of(world->connections + 1) == i ? 1 : 2;
    connect_end(world, i, world->connections);
}

static void step(struct world *world)
{
    int i = (int)proto_random_below(&world->random, 2);
    struct end *end = &world->ends[i];
    uint64_t what = proto_random_below(&world->random, 1000);
    world->now += proto_random_below(&world->random, 20) * 1000000;
    if (what < 400) {
        say(world, i);
    } else if (what < 600) {
        flush_one(world, i);
    } else if (what < 940) {
        deliver_one(world, i);
    } else if (what < 960 && end->connection != 0) {
        disconnect_end(world, i);
    } else if (what < 985 && (end->connection == 0 || one_in(world, 8))) {
        dial(world, i);
    } else if (what < 994) {
        damage(world, i);
    } else if (what < 997) {
        session_fini(&end->session);
        begin_life(world, i);
    } else if (what < 999) {
        session_lose(&end->session, ROOST_ENODE, "declared dead");
        end->connection = end->session.state == SESSION_DOWN ? 0 : end->connection;
        take_events(world, i);
    }
}

/* From here on the network is whole: whatever the faults still cost, it ends. A frame lost at the tail of a connection
 * shows only by a later one, so there is one more cut. */
static void settle(struct world *world)
{
    disconnect_end(world, 0);
    disconnect_end(world, 1);
    for (int round = 0; round < 10; round++) {
        if (world->ends[0].connection == 0 || world->ends[1].connection != world->ends[0].connection) {
            dial(world, 0);
        }
        bool moved = true;
        while (moved) {
            moved = false;
            for (int i = 0; i < 2; i++) {
                moved = flush_one(world, i) || moved;
                moved = deliver_one(world, i) || moved;
            }
        }
    }
}

static void check_quiet(struct world *world)
{
    for (int i = 0; i < 2; i++) {
        struct end *end = &world->ends[i], *other = &world->ends[1 - i];
        HOLDS(!end->is_lost && end->session.state == SESSION_UP);
        HOLDS(other->heard == end->said);
        HOLDS(end->said == 0 || other->heard_era == end->era);
        HOLDS(session_room_bytes(&end->session) == PROTO_CREDIT_BYTES);
        HOLDS(end->session.flight_bytes == 0 && end->session.unacknowledged_bytes == 0);
    }
}

static void run_seed(struct world *world, uint64_t seed)
{
    world->seed = seed;
    world->random.state = seed;
    world->now = 1;
    for (int i = 0; i < 2; i++) {
        world->ends[i].halves = 0;
        world->ends[i].era = world->ends[i].newest_era = world->ends[i].said = 0;
        begin_life(world, i);
    }
    for (int i = 0; i < STEPS; i++) {
        step(world);
    }
    settle(world);
    check_quiet(world);
    for (int i = 0; i < 2; i++) {
        session_fini(&world->ends[i].session);
        while (world->ends[i].inbox_count > 0) {
            forget(&world->ends[i], 0);
        }
    }
}

static struct world the_world;

TEST(session_sim, every_message_once_and_in_order_or_the_session_is_lost)
{
    struct world *world = &the_world;
    for (size_t i = 0; i < IDS_MAX; i++) {
        ids[i] = (struct object_id){ i, 1 };
    }
    proto_arena_init(&world->scratch, PROTO_ARENA_BYTES_MAX, NULL);
    proto_arena_init(&world->ends[0].decoded, PROTO_ARENA_BYTES_MAX, NULL);
    proto_arena_init(&world->ends[1].decoded, PROTO_ARENA_BYTES_MAX, NULL);
    const char *only = getenv("ROOST_SEED");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1, end = only != NULL ? first + 1 : SEEDS + 1;
    for (uint64_t seed = first; seed < end; seed++) {
        run_seed(world, seed);
    }
    printf("resumed=%" PRIu64 " anew=%" PRIu64 " lost=%" PRIu64 " cuts=%" PRIu64 "\n", world->resumed, world->anew,
           world->lost, world->cuts);
    if (only == NULL) { /* the faults did happen, each of them often */
        CHECK(world->resumed > SEEDS && world->anew > SEEDS && world->lost > SEEDS / 2 && world->cuts > 4 * SEEDS);
    }
    proto_arena_fini(&world->scratch);
    proto_arena_fini(&world->ends[0].decoded);
    proto_arena_fini(&world->ends[1].decoded);
}

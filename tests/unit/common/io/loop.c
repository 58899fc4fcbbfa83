/* The loop: its timers, alarms, posts from other threads, watches and stop signals. */
#include "common/io/loop.h"
#include "common/io/alarms.h"
#include "tests/unit/common/io/fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the heap under the timers */

TEST(timer_heap, gives_nodes_in_order_through_many_adds_and_removals)
{
    enum { NODES = 2000, STEPS = 100000 };
    static struct timer_node nodes[NODES];
    struct timer_heap heap = { 0 };
    uint64_t random = 7;
    for (int step = 0; step < STEPS; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        struct timer_node *node = &nodes[(random >> 33) % NODES];
        if (node->queued) {
            timer_heap_remove(&heap, node);
        } else {
            timer_heap_add(&heap, node, random >> 54); /* few values, many ties */
        }
    }
    uint64_t last_at = 0, last_order = 0;
    int left = 0, queued = 0;
    for (int i = 0; i < NODES; i++) {
        queued += nodes[i].queued;
    }
    for (struct timer_node *first; (first = heap.first) != NULL; left++) {
        CHECK(first->at_ns > last_at || (first->at_ns == last_at && (left == 0 || first->order > last_order)));
        last_at = first->at_ns;
        last_order = first->order;
        timer_heap_remove(&heap, first);
    }
    CHECK(queued > NODES / 4);
    CHECK_EQ(left, queued);
}

/* ---- timers */

struct note {
    struct loop_timer timer;
    struct log {
        int names[16], count;
        uint64_t at_ns[16];
        bool done;
    } * log;
    int name, last;
};

static void write_note(void *arg)
{
    struct note *note = arg;
    note->log->at_ns[note->log->count] = loop_now_ns();
    note->log->names[note->log->count++] = note->name;
    note->log->done = note->log->count == note->last;
}

TEST(loop, timers_fire_in_order_of_time_then_of_arming_and_never_early)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct log log = { .count = 0 };
    struct note notes[5];
    uint64_t start_ns = loop_now_ns();
    static const uint64_t after_ns[5] = { 3000000, 1000100, 1000000, 3000000, 0 };
    for (int i = 0; i < 5; i++) {
        notes[i] = (struct note){ .log = &log, .name = i, .last = 5 };
        loop_timer_init(&notes[i].timer, fixture.loop, write_note, &notes[i]);
        loop_timer_arm(&notes[i].timer, start_ns + after_ns[i]);
    }
    loop_timer_arm(&notes[0].timer, start_ns + after_ns[0]); /* again: now after number 3 */
    fixture_run(&fixture, &log.done);
    static const int wanted[5] = { 4, 2, 1, 3, 0 };
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(log.names[i], wanted[i]);
        CHECK(log.at_ns[i] >= start_ns + after_ns[wanted[i]]);
    }
    fixture_end(&fixture);
}

TEST(loop, a_disarmed_timer_does_not_fire)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct log log = { .count = 0 };
    struct note early = { .log = &log, .name = 1, .last = 1 }, late = { .log = &log, .name = 2, .last = 1 };
    loop_timer_init(&early.timer, fixture.loop, write_note, &early);
    loop_timer_init(&late.timer, fixture.loop, write_note, &late);
    loop_timer_arm(&early.timer, loop_now_ns());
    loop_timer_arm(&late.timer, loop_now_ns() + 2000000);
    loop_timer_disarm(&early.timer);
    fixture_run(&fixture, &log.done);
    CHECK_EQ(log.names[0], 2);
    fixture_end(&fixture);
}

struct self_arming {
    struct loop_timer timer;
    int fired, turns_seen, turns;
    bool done;
};

static void fire_again(void *arg)
{
    struct self_arming *self = arg;
    CHECK_EQ(self->turns, self->fired); /* one turn ended between two firings */
    self->done = ++self->fired == 5;
    if (!self->done) {
        loop_timer_arm(&self->timer, 0);
    }
}

static void count_turn(void *arg)
{
    struct self_arming *self = arg;
    self->turns += self->fired > self->turns;
    if (self->done) {
        loop_stop(self->timer.loop);
    }
}

TEST(loop, a_timer_that_arms_itself_fires_once_a_turn_and_the_turn_end_comes_after_it)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct self_arming self = { .fired = 0 };
    loop_timer_init(&self.timer, fixture.loop, fire_again, &self);
    loop_timer_arm(&self.timer, 0);
    loop_on_turn_end(fixture.loop, count_turn, &self);
    loop_run(fixture.loop);
    CHECK_EQ(self.fired, 5);
    CHECK_EQ(self.turns, 5);
    fixture_end(&fixture);
}

/* ---- alarms */

struct alarm_log {
    struct alarms *alarms;
    uint64_t keys[8];
    int count;
    bool done;
};

static void note_alarm(void *arg, uint64_t key)
{
    struct alarm_log *log = arg;
    log->keys[log->count++] = key;
    if (key == 3 && log->count == 1) {
        alarms_arm(log->alarms, 3, loop_now_ns() + 1000000); /* the key that fires may be armed again */
    }
    log->done = log->count == 4;
}

TEST(alarms, are_moved_by_arming_again_and_silenced_by_disarming)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct alarm_log log = { .count = 0 };
    CHECK_EQ(alarms_create(fixture.loop, note_alarm, &log, &log.alarms), 0);
    uint64_t now_ns = loop_now_ns();
    alarms_arm(log.alarms, 0, now_ns + 500000000);
    alarms_arm(log.alarms, 1, now_ns + 6000000);
    alarms_arm(log.alarms, 2, now_ns + 1000);
    alarms_arm(log.alarms, 3, now_ns + 2000);
    alarms_arm(log.alarms, 0, now_ns + 5000000);
    alarms_disarm(log.alarms, 2);
    alarms_disarm(log.alarms, 77);
    alarms_arm(log.alarms, 9, now_ns + UINT64_C(1000000000000));
    CHECK_EQ(alarms_count(log.alarms), 4);
    fixture_run(&fixture, &log.done);
    static const uint64_t wanted[4] = { 3, 3, 0, 1 };
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(log.keys[i], wanted[i]);
    }
    CHECK_EQ(alarms_count(log.alarms), 1);
    alarms_destroy(log.alarms);
    fixture_end(&fixture);
}

/* ---- posted tasks */

enum { POSTERS = 4, POSTS = 5000 };

struct poster {
    struct loop *loop;
    struct post {
        struct loop_task task;
        struct poster *poster;
        int number;
    } posts[POSTS];
    int next, *total;
    bool *done;
};

static void take_post(void *arg)
{
    struct post *post = arg;
    CHECK_EQ(post->number, post->poster->next);
    post->poster->next++;
    if (++*post->poster->total == POSTERS * POSTS) {
        *post->poster->done = true;
    }
}

static void *post_all(void *arg)
{
    struct poster *poster = arg;
    for (int i = 0; i < POSTS; i++) {
        poster->posts[i] = (struct post){ { .run = take_post, .arg = &poster->posts[i] }, poster, i };
        loop_post(poster->loop, &poster->posts[i].task);
    }
    return NULL;
}

TEST(loop, takes_what_other_threads_post_each_once_and_in_their_order)
{
    static struct poster posters[POSTERS];
    struct fixture fixture;
    fixture_start(&fixture);
    int total = 0;
    bool done = false;
    pthread_t threads[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        posters[i].loop = fixture.loop;
        posters[i].total = &total;
        posters[i].done = &done;
        CHECK_EQ(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    fixture_run(&fixture, &done);
    for (int i = 0; i < POSTERS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(posters[i].next, POSTS);
    }
    fixture_end(&fixture);
}

/* ---- watches */

struct reader {
    int fd, other_fd;
    struct loop_watch *watch;
    unsigned seen;
    int bytes;
    bool done;
};

static void read_byte(void *arg, unsigned events)
{
    struct reader *reader = arg;
    char bytes[8];
    reader->seen |= events;
    ssize_t got = read(reader->fd, bytes, 1);
    if (got > 0) {
        reader->bytes += (int)got;
        if (reader->bytes == 3) {
            close(reader->other_fd);
        }
        return;
    }
    CHECK_EQ(got, 0);
    loop_watch_close(reader->watch);
    close(reader->fd);
    reader->done = true;
}

TEST(loop, a_watch_reads_all_and_then_sees_the_hangup)
{
    struct fixture fixture;
    fixture_start(&fixture);
    int fds[2];
    CHECK_EQ(pipe(fds), 0);
    struct reader reader = { .fd = fds[0], .other_fd = fds[1] };
    CHECK_EQ(loop_watch_start(fixture.loop, fds[0], LOOP_READ, read_byte, &reader, &reader.watch), 0);
    CHECK_EQ(write(fds[1], "abc", 3), 3);
    fixture_run(&fixture, &reader.done);
    CHECK_EQ(reader.bytes, 3);
    fixture_end(&fixture);
}

TEST(loop, refuses_to_watch_memory_and_says_so)
{
    struct fixture fixture;
    fixture_start(&fixture);
    int fd = memfd_create("test", MFD_CLOEXEC);
    struct loop_watch *watch;
    CHECK_EQ(loop_watch_start(fixture.loop, fd, LOOP_READ, read_byte, NULL, &watch), ROOST_EIO);
    CHECK(strstr(error_text(), "not permitted") != NULL);
    close(fd);
    fixture_end(&fixture);
}

static void ring(void *arg, unsigned events)
{
    struct reader *reader = arg;
    uint64_t value;
    CHECK((events & LOOP_READ) != 0);
    CHECK_EQ(read(reader->fd, &value, sizeof value), sizeof value);
    reader->bytes += (int)value;
    loop_watch_set(reader->watch, 0);
    reader->done = true;
}

TEST(loop, a_watch_that_wants_nothing_is_silent_until_it_wants_again)
{
    struct fixture fixture;
    fixture_start(&fixture);
    struct reader reader = { .fd = eventfd(0, EFD_CLOEXEC) };
    uint64_t one = 1;
    CHECK_EQ(loop_watch_start(fixture.loop, reader.fd, LOOP_READ, ring, &reader, &reader.watch), 0);
    CHECK_EQ(write(reader.fd, &one, sizeof one), sizeof one);
    fixture_run(&fixture, &reader.done);
    CHECK_EQ(write(reader.fd, &one, sizeof one), sizeof one);
    struct log log = { .count = 0 };
    struct note note = { .log = &log, .last = 1 };
    loop_timer_init(&note.timer, fixture.loop, write_note, &note);
    loop_timer_arm(&note.timer, loop_now_ns() + 5000000);
    fixture_run(&fixture, &log.done);
    CHECK_EQ(reader.bytes, 1);
    reader.done = false;
    loop_watch_set(reader.watch, LOOP_READ);
    fixture_run(&fixture, &reader.done);
    CHECK_EQ(reader.bytes, 2);
    loop_watch_close(reader.watch);
    close(reader.fd);
    fixture_end(&fixture);
}

/* ---- signals */

static bool was_told;
static int told_number;

static void note_signal(void *arg, int signal_number)
{
    loop_stop(arg);
    told_number = signal_number;
    was_told = true;
}

TEST(loop, a_stop_signal_reaches_its_function)
{
    struct fixture fixture;
    fixture_start(&fixture);
    CHECK_EQ(loop_on_stop_signal(fixture.loop, note_signal, fixture.loop), 0);
    CHECK_EQ(raise(SIGPIPE), 0); /* and lives on */
    kill(getpid(), SIGTERM);
    fixture_run(&fixture, &was_told);
    CHECK_EQ(told_number, SIGTERM);
    fixture_end(&fixture);
}

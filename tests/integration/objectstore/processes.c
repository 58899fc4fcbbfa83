/* One agent, this process, and clients that are processes of their own: read while the agent moves and frees, stopped
 * or killed at any instruction, and without a single system call. */
#include "common/error.h"
#include "common/hash.h"
#include "objectstore/extent.h"
#include "objectstore/store.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct store *store;
static struct extents extents;

static struct object_id id_number(uint64_t number) { return object_id_from(hash128(&number, sizeof number, 9)); }

static void agent_start(void)
{
    struct store_options options = { .bytes = ROOST_MIB(16), .entries = 1024 };
    CHECK_EQ(store_open(&store, &options), 0);
    CHECK_EQ(segment_populate(&store->segments[0], ROOST_MIB(16)), 0);
    CHECK_EQ(extent_init(&extents, store->segments[0].bytes), 0);
}

static void agent_stop(void)
{
    CHECK_EQ(extents.free_bytes, extents.bytes); /* every byte came back */
    CHECK_EQ(extent_largest_free(&extents), extents.bytes);
    CHECK_EQ(atomic_load(&store->table.header->count), 0);
    extent_fini(&extents);
    store_close(store);
}

/* Every word of object `number` at version `version` says so. */
static uint64_t word_of(uint64_t number, uint32_t version) { return number << 32 | version; }

static bool is_intact(const struct store_view *view, uint64_t number)
{
    const uint64_t *words = view->data;
    for (uint64_t i = 0; i < view->size / sizeof *words; i++) {
        if (words[i] != word_of(number, view->version)) {
            return false;
        }
    }
    return true;
}

/* Allocate and fill. False when there is no room now. */
static bool lay_out(uint64_t number, uint32_t version, uint64_t size, struct table_entry *entry_out)
{
    uint64_t offset;
    if (extent_alloc(&extents, size, 64, &offset) != 0) {
        return false;
    }
    uint64_t *words = store_bytes(store, (struct store_place){ offset, size, 0 });
    for (uint64_t i = 0; i < size / sizeof *words; i++) {
        words[i] = word_of(number, version);
    }
    *entry_out = (struct table_entry){
        .id = id_number(number), .offset = offset, .size = size, .version = version, .state = TABLE_SEALED
    };
    return true;
}

/* Free what a scan allows, and spoil it. Tokens are offsets. Returns how many. */
static int reclaim(void)
{
    static uint64_t tokens[4096];
    int count = store_scan(store, tokens, 4096);
    CHECK(count >= 0);
    for (int i = 0; i < count; i++) {
        uint64_t size = extent_size(&extents, tokens[i]);
        CHECK(size > 0);
        memset(store_bytes(store, (struct store_place){ tokens[i], size, 0 }), 0xff, size < 4096 ? size : 4096);
        extent_free(&extents, tokens[i]);
    }
    return count;
}

/* ---- a client process ---- */

struct client {
    struct store_client *record;
    pid_t pid;
    int page_fd, status;
    bool is_dead; /* `status` is its last */
};

static struct pins pins;
static struct pins_thread *thread;
static struct store_map map;

static int take_page(void *context, uint32_t page, struct pins_page **page_out)
{
    const struct client *client = context;
    if (page != 0) {
        return ROOST_ELIMIT;
    }
    void *memory = mmap(NULL, pins_page_bytes(0), PROT_READ | PROT_WRITE, MAP_SHARED, client->page_fd, 0);
    if (memory == MAP_FAILED) {
        return ROOST_EIO;
    }
    *page_out = memory;
    return 0;
}

/* In the child: exit code 100 says that the beginning failed. */
static void client_open(struct client *client)
{
    struct store_fds fds;
    uint64_t pin;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    store_fds(store, &fds);
    if (pins_init(&pins, take_page, client) != 0 || pins_thread_start(&pins, &thread) != 0 ||
        store_map_open(&map, &fds, &pins) != 0) {
        _exit(100);
    }
    /* the page of pins is asked for with the first pin, so have one: stale, as no entry has generation 1 */
    if (pins_pin(thread, &map.table, 0, 1, &pin) != PINS_STALE) {
        _exit(100);
    }
}

static void client_start(struct client *client, void (*deed)(void *), void *argument)
{
    CHECK_EQ(store_client_create(store, &client->record), 0);
    CHECK_EQ(store_client_grow(client->record, &client->page_fd), 0);
    client->is_dead = false;
    client->pid = fork();
    CHECK(client->pid >= 0);
    if (client->pid == 0) {
        client_open(client);
        deed(argument);
        _exit(0);
    }
    close(client->page_fd);
}

/* Wait until it is dead; only then its pins go. Returns its exit code, or minus the signal. */
static int client_end(struct client *client)
{
    if (!client->is_dead) {
        CHECK_EQ(waitpid(client->pid, &client->status, 0), client->pid);
    }
    CHECK(WIFEXITED(client->status) || WIFSIGNALED(client->status));
    store_client_destroy(client->record);
    return WIFEXITED(client->status) ? WEXITSTATUS(client->status) : -WTERMSIG(client->status);
}

/* ---- no system call ---- */

static void forbid_system_calls(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = { sizeof rules / sizeof *rules, rules };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(101);
    }
}

static void get_and_release_10000_times(void *argument)
{
    uint64_t number = *(uint64_t *)argument;
    roost_ref ref = object_ref(id_number(number));
    long code = 0;
    forbid_system_calls();
    for (int i = 0; i < 10000 && code == 0; i++) {
        struct store_view view;
        if (store_map_get(&map, thread, roost_slice(ref, 64, 256), &view) != 0 || !is_intact(&view, number)) {
            code = 1;
        } else if (store_map_release(&map, thread, view.pin)) {
            code = 2; /* nobody wants room */
        }
    }
    syscall(SYS_exit_group, code); /* before _exit() a sanitizer makes a call of its own */
}

static void call_the_system(void *argument)
{
    (void)argument;
    forbid_system_calls();
    getppid();
}

TEST(store_processes, ten_thousand_gets_make_no_system_call_small_or_large)
{
    uint64_t sizes[] = { 1024, ROOST_MIB(12) };
    struct client client;
    agent_start();
    for (uint64_t number = 0; number < 2; number++) {
        struct table_entry entry;
        uint32_t index;
        CHECK(lay_out(number, 1, sizes[number], &entry));
        CHECK_EQ(store_publish(store, &entry, &index), 0);
        client_start(&client, get_and_release_10000_times, &number);
        int code = client_end(&client);
        if (code == 101) {
            TEST_SKIP("this system allows no seccomp filter");
        }
        CHECK_EQ(code, 0);
        CHECK_EQ(store_retire(store, index, entry.offset), 0);
    }
    client_start(&client, call_the_system, NULL);
    CHECK_EQ(client_end(&client), -SIGSYS); /* the filter does bite */
    CHECK_EQ(reclaim(), 2);
    agent_stop();
}

/* ---- stopped, or killed, at any instruction ---- */

enum { STEPPED_BYTES = 64 };
static const struct store_place stepped_lease = { 65536, 65536, 0 }; /* allocated by the test */

/* Put one object privately, read one of the agent's, go. */
static void put_and_get(void *argument)
{
    struct slab_book *book = argument;
    uint64_t data[STEPPED_BYTES / 8] = { 5, 6, 7 }, slab_bytes;
    struct store_place place;
    struct store_view view;
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    if (slab_take(book, sizeof data, 0, &place, &slab_bytes) != 0) {
        _exit(2);
    }
    store_map_write(&map, place, 0, data, sizeof data);
    int status = store_map_get(&map, thread, object_ref(id_number(1)), &view);
    if (status == 0) {
        if (!is_intact(&view, 1)) {
            _exit(3); /* read what the agent had spoiled */
        }
        store_map_release(&map, thread, view.pin);
    } else if (status != ROOST_EFREED && status != STORE_GET_ASK) {
        _exit(4);
    }
    slab_drop(book, place);
    _exit(0);
}

static void stepped_deed(void *argument)
{
    struct slab_book book;
    slab_book_init(&book);
    if (store_map_lease(&map, stepped_lease) != 0 || slab_add(&book, stepped_lease, 0) != 0) {
        _exit(100);
    }
    (void)argument;
    put_and_get(&book);
}

/* Let it go `steps` instructions on. False when it ended before. */
static bool step(struct client *client, uint64_t steps)
{
    while (steps-- > 0 && !client->is_dead) {
        CHECK_EQ(ptrace(PTRACE_SINGLESTEP, client->pid, NULL, NULL), 0);
        CHECK_EQ(waitpid(client->pid, &client->status, 0), client->pid);
        client->is_dead = !WIFSTOPPED(client->status);
        CHECK(client->is_dead || WSTOPSIG(client->status) == SIGTRAP);
    }
    return !client->is_dead;
}

static bool start_stepping(struct client *client)
{
    int status;
    client_start(client, stepped_deed, NULL);
    CHECK_EQ(waitpid(client->pid, &status, 0), client->pid);
    return WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP;
}

static uint64_t instructions_of_the_deed(void)
{
    struct client client;
    uint64_t count = 0;
    if (!start_stepping(&client)) {
        return 0;
    }
    while (step(&client, 1)) {
        count++;
    }
    CHECK_EQ(client_end(&client), 0);
    return count;
}

static uint32_t object_1_enters(uint32_t version, struct table_entry *entry)
{
    uint32_t index;
    CHECK(lay_out(1, version, STEPPED_BYTES, entry));
    CHECK_EQ(store_publish(store, entry, &index), 0);
    return index;
}

/* Points of the deed, spread over all its instructions: as many as 300,000 steps allow, at most `wanted`. */
static uint64_t stride_of(uint64_t instructions, uint64_t wanted)
{
    uint64_t afforded = 300000 * 2 / (instructions + 1) + 1, points = wanted < afforded ? wanted : afforded;
    return instructions / points + 1;
}

static uint64_t steppable_agent_start(void)
{
    uint64_t hole, lease;
    struct table_entry entry;
    agent_start();
    CHECK_EQ(extent_alloc(&extents, stepped_lease.offset, 64, &hole), 0);
    CHECK_EQ(extent_alloc(&extents, stepped_lease.size, 4096, &lease), 0);
    CHECK_EQ(lease, stepped_lease.offset);
    extent_free(&extents, hole);
    uint32_t index = object_1_enters(1, &entry);
    uint64_t instructions = instructions_of_the_deed();
    if (instructions == 0) {
        TEST_SKIP("this system allows no tracing of a child");
    }
    CHECK_EQ(store_retire(store, index, entry.offset), 0);
    CHECK_EQ(reclaim(), 1);
    return instructions;
}

TEST(store_processes, a_client_killed_at_any_instruction_leaves_the_store_whole)
{
    uint64_t instructions = steppable_agent_start(), kills = 0, pinned = 0;
    for (uint64_t at = 0; at < instructions; at += stride_of(instructions, 400)) {
        struct client client;
        struct table_entry entry;
        uint32_t index = object_1_enters((uint32_t)at + 2, &entry);
        CHECK(start_stepping(&client));
        CHECK(step(&client, at));
        CHECK_EQ(store_retire(store, index, entry.offset), 0);
        pinned += reclaim() == 0; /* it was killed while it held a pin: that counts until it is dead */
        kill(client.pid, SIGKILL);
        CHECK_EQ(client_end(&client), -SIGKILL);
        reclaim();
        CHECK_EQ(store->waiting_count, 0);
        CHECK_EQ(atomic_load(&store->table.header->count), 0);
        CHECK(extent_is_valid(&extents));
        kills++;
    }
    printf("%llu kills within %llu instructions, %llu of them with a pin\n", (unsigned long long)kills,
           (unsigned long long)instructions, (unsigned long long)pinned);
    CHECK(pinned > 0 && pinned < kills);
    extent_free(&extents, stepped_lease.offset); /* its lease can be given to the next */
    agent_stop();
}

TEST(store_processes, an_object_freed_at_any_instruction_of_a_get_is_read_whole_or_not_at_all)
{
    uint64_t instructions = steppable_agent_start(), kept = 0, points = 0;
    for (uint64_t at = 0; at < instructions; at += stride_of(instructions, 400)) {
        struct client client;
        struct table_entry entry, other;
        uint32_t index = object_1_enters((uint32_t)at + 2, &entry), other_index;
        CHECK(start_stepping(&client));
        CHECK(step(&client, at));
        CHECK_EQ(store_retire(store, index, entry.offset), 0);
        kept += reclaim() == 0;
        CHECK(lay_out(2, 1, STEPPED_BYTES, &other)); /* in the same entry and bytes, if they are free */
        CHECK_EQ(store_publish(store, &other, &other_index), 0);
        ptrace(PTRACE_CONT, client.pid, NULL, NULL);
        CHECK_EQ(client_end(&client), 0);
        CHECK_EQ(store_retire(store, other_index, other.offset), 0);
        reclaim();
        CHECK_EQ(store->waiting_count, 0);
        points++;
    }
    CHECK(kept > 0 && kept < points);
    extent_free(&extents, stepped_lease.offset);
    agent_stop();
}

/* ---- everything at once ---- */

enum { RACE_OBJECTS = 64, RACE_CLIENTS = 2, RACE_STEPS = 60000, RACE_STEPS_PER_KILL = 1500 };

struct race {
    atomic_bool is_over;
    atomic_ullong reads, corrupt;
};

static void read_at_random(void *argument)
{
    struct race *race = argument;
    uint64_t random = (uint64_t)getpid();
    while (!atomic_load_explicit(&race->is_over, memory_order_relaxed)) {
        struct store_view view;
        random = hash_mix(random, 1);
        uint64_t number = random % RACE_OBJECTS;
        if (store_map_get(&map, thread, object_ref(id_number(number)), &view) == 0) {
            if (!is_intact(&view, number)) {
                atomic_fetch_add(&race->corrupt, 1);
            }
            atomic_fetch_add_explicit(&race->reads, 1, memory_order_relaxed);
            store_map_release(&map, thread, view.pin);
        }
    }
}

struct raced {
    bool present;
    uint32_t index;
    struct table_entry entry;
};

/* One object comes, moves or goes. */
static void change_one(struct raced *objects, uint64_t random, uint32_t version)
{
    uint64_t number = random % RACE_OBJECTS;
    struct raced *object = &objects[number];
    if (object->present && (random >> 16) % 2 == 0) {
        CHECK_EQ(store_retire(store, object->index, object->entry.offset), 0);
        object->present = false;
        return;
    }
    struct table_entry entry;
    uint32_t known;
    if (!object->present && table_find(&store->table, id_number(number), &known) == TABLE_FOUND) {
        return; /* freed, and still pinned by somebody: an id comes again only afterwards */
    }
    if (!lay_out(number, version, 64 + (random >> 20) % 40000 / 8 * 8, &entry)) {
        return;
    }
    if (object->present) {
        CHECK_EQ(store_move(store, object->index, &entry, object->entry.offset), 0);
    } else {
        CHECK_EQ(store_publish(store, &entry, &object->index), 0);
    }
    object->present = true;
    object->entry = entry;
}

TEST(store_processes, readers_that_are_killed_at_random_see_only_whole_objects)
{
    static struct raced objects[RACE_OBJECTS];
    struct client clients[RACE_CLIENTS];
    uint64_t random = 17, kills = 0;
    struct race *race = mmap(NULL, sizeof *race, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(race != MAP_FAILED);
    agent_start();
    for (int i = 0; i < RACE_CLIENTS; i++) {
        client_start(&clients[i], read_at_random, race);
    }
    for (uint32_t round = 1; round <= RACE_STEPS || atomic_load(&race->reads) < 1000; round++) {
        random = hash_mix(random, round);
        change_one(objects, random, round);
        if (store_scan_is_due(store)) {
            reclaim();
        }
        if (round % RACE_STEPS_PER_KILL == 0) {
            struct client *victim = &clients[kills++ % RACE_CLIENTS];
            kill(victim->pid, SIGKILL);
            CHECK_EQ(client_end(victim), -SIGKILL);
            client_start(victim, read_at_random, race);
        }
    }
    atomic_store(&race->is_over, true);
    for (int i = 0; i < RACE_CLIENTS; i++) {
        CHECK_EQ(client_end(&clients[i]), 0);
    }
    for (int i = 0; i < RACE_OBJECTS; i++) {
        if (objects[i].present) {
            CHECK_EQ(store_retire(store, objects[i].index, objects[i].entry.offset), 0);
        }
    }
    reclaim();
    printf("%llu reads, %llu kills\n", (unsigned long long)race->reads, (unsigned long long)kills);
    CHECK_EQ(race->corrupt, 0);
    CHECK_EQ(store->waiting_count, 0);
    agent_stop();
}

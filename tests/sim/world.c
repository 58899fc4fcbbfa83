/* world.c - the clock, the queue, the chance, and one run from its beginning to its end
 *
 * Owns the world. A run: all begin -> programs work while faults hit -> the faults end -> programs rest, and what the
 * head lists must be what the nodes have -> programs look at what they hold and end -> nothing is left.
 */
#include "tests/sim/world.h"
#include "common/contract.h"
#include "common/hash.h"
#include "common/job.h"
#include "common/spec.h"
#include "tests/sim/faults.h"
#include "tests/sim/head_host.h"
#include "tests/sim/network.h"
#include "tests/sim/node.h"
#include "tests/sim/oracle.h"
#include "tests/sim/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 2000000, REST_MS = 100, QUIET_S_MAX = 200 };

/* ------------------------------------------------------------------------------------------------ chance, words */

uint64_t world_random(struct world *world)
{
    world->random = hash_mix(world->random, 0x5eed);
    return world->random;
}

uint64_t world_below(struct world *world, uint64_t limit)
{
    return limit == 0 ? 0 : (world_random(world) >> 20) % limit;
}

bool world_one_in(struct world *world, uint64_t n) { return world_below(world, n) == 0; }

void world_note(struct world *world, uint64_t what, uint64_t value)
{
    world->hash = hash_mix(hash_mix(hash_mix(world->hash, world->now_ns), what), value);
}

void world_wound(struct world *world, enum wound wound)
{
    world->wounds |= wound;
    world->node_lost_ns = wound == WOUND_NODE_LOST ? world->now_ns : world->node_lost_ns;
}

void world_tell_(struct world *world, int place, const char *format, ...)
{
    va_list args;
    printf("%11.3f ms  %2d  ", (double)world->now_ns / SIM_MS, place);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void world_fail(struct world *world, const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fprintf(stderr, "seed %llu, %.3f ms: ", (unsigned long long)world->options.seed, (double)world->now_ns / SIM_MS);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    abort();
}

/* ------------------------------------------------------------------------------------------------ the queue */

static bool is_before(const struct occurrence *a, const struct occurrence *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->serial < b->serial;
}

void world_at(struct world *world, uint64_t delay_ns, const struct occurrence *what)
{
    if (world->queue_count == world->queue_capacity) {
        world->queue_capacity = world->queue_capacity * 2 + 256;
        world->queue = realloc(world->queue, world->queue_capacity * sizeof *world->queue);
        ROOST_INVARIANT(world->queue != NULL);
    }
    struct occurrence entry = *what;
    entry.at_ns = world->now_ns + delay_ns;
    entry.serial = ++world->serial;
    if (what->data != NULL) {
        entry.data = malloc(what->bytes + 1);
        ROOST_INVARIANT(entry.data != NULL);
        memcpy(entry.data, what->data, what->bytes);
    }
    size_t at = world->queue_count++;
    for (; at > 0 && is_before(&entry, &world->queue[(at - 1) / 2]); at = (at - 1) / 2) {
        world->queue[at] = world->queue[(at - 1) / 2];
    }
    world->queue[at] = entry;
}

static struct occurrence take(struct world *world)
{
    struct occurrence first = world->queue[0], last = world->queue[--world->queue_count];
    size_t at = 0;
    for (size_t child = 1; child < world->queue_count; child = at * 2 + 1) {
        if (child + 1 < world->queue_count && is_before(&world->queue[child + 1], &world->queue[child])) {
            child++;
        }
        if (!is_before(&world->queue[child], &last)) {
            break;
        }
        world->queue[at] = world->queue[child];
        at = child;
    }
    if (world->queue_count > 0) {
        world->queue[at] = last;
    }
    return first;
}

static void run_until(struct world *world, uint64_t end_ns)
{
    while (world->queue_count > 0 && world->queue[0].at_ns <= end_ns) {
        struct occurrence what = take(world);
        world->now_ns = what.at_ns;
        what.run(world, &what);
        free(what.data);
        if (world->steps > STEPS_MAX) {
            world_fail(world, "there is no end to it");
        }
    }
    world->now_ns = end_ns;
}

/* ------------------------------------------------------------------------------------------------ a run */

static uint32_t up_to(struct world *world, uint32_t most) { return (uint32_t)world_below(world, most + 1u); }

static void draw_shape(struct world *world)
{
    struct world_shape *shape = &world->shape;
    bool is_small = world_below(world, 4) != 0;
    *shape = (struct world_shape){ .is_small = is_small,
                                   .nodes = is_small ? 2 + up_to(world, 1) : 2 + up_to(world, 2),
                                   .drivers_per_node = is_small ? 1 : 1 + up_to(world, 1),
                                   .cpus = 1 + up_to(world, 2),
                                   .operations = is_small ? 6 + up_to(world, 14) : 20 + up_to(world, 30),
                                   .store_bytes = UINT64_C(1) << ((is_small ? 18 : 20) + world_below(world, 3)),
                                   .latency_ns = SIM_MS / 4 << world_below(world, 6),
                                   .spec_bytes_max = world_one_in(world, 6) ? 1000 : 0,
                                   .fails = world_one_in(world, 3) };
    if (world->options.is_calm || world_one_in(world, 6)) {
        return;
    }
    shape->worker_kills = world_one_in(world, 2) ? up_to(world, 4) : 0;
    shape->driver_kills = world_one_in(world, 4) ? up_to(world, 2) : 0;
    shape->node_kills = world_one_in(world, 3) ? up_to(world, 2) : 0;
    bool lacks_sweep = (world->options.rules_off & SIM_RULE_SWEEP) != 0; /* which shows nowhere else */
    shape->gives_and_dies = world_one_in(world, 4) || lacks_sweep;
    shape->node_kills += shape->gives_and_dies ? 2 : 0;
    world->kills_left = shape->node_kills;
    shape->head_kills = world_one_in(world, 4) ? up_to(world, 2) : 0;
    shape->cuts = world_one_in(world, 2) ? up_to(world, 6) : 0;
    shape->partitions = world_one_in(world, 4) ? up_to(world, 3) : 0;
    shape->damages = world_one_in(world, 3) ? up_to(world, 4) : 0;
}

static bool all_rest(const struct world *world)
{
    for (uint32_t place = 1; place < SIM_PLACES; place++) {
        if (world->nodes[place] == NULL || world->nodes[place]->life == 0) {
            continue;
        }
        LIST_EACH (at, &world->nodes[place]->clients) {
            const struct client *client = CONTAINER_OF(at, const struct client, all);
            if (client->token == 0 && !client->is_dead && !program_is_parked(client)) {
                return false;
            }
        }
    }
    return true;
}

static const char *resting(struct world *world) { return all_rest(world) ? oracle_quiet(world) : "programs work"; }
static const char *ended(struct world *world)
{
    return world->drivers_left == 0 ? oracle_empty(world) : "programs have not ended";
}

static void run_until_true(struct world *world, const char *(*looks)(struct world *world))
{
    const char *text = "";
    for (int i = 0; text != NULL && i < QUIET_S_MAX * 1000 / REST_MS; i++) {
        run_until(world, world->now_ns + REST_MS * SIM_MS);
        text = looks(world);
    }
    if (text != NULL) {
        oracle_explain(world);
        world_fail(world, "no rest after %d s: %s", QUIET_S_MAX, text);
    }
}

static void end(struct world *world)
{
    for (size_t i = 0; i < world->queue_count; i++) {
        free(world->queue[i].data);
    }
    free(world->queue);
    network_destroy(world, world->network);
    for (uint32_t place = 1; place < SIM_PLACES; place++) {
        node_destroy(world, world->nodes[place]);
    }
    head_host_destroy(world->head);
    oracle_destroy(world->oracle);
    proto_arena_fini(&world->decoded);
    proto_arena_fini(&world->scratch);
}

uint64_t world_run(const struct world_options *options)
{
    static const struct proto_checks checks = { spec_check, job_check };
    static struct core_out outs[3];
    struct world *world = calloc(1, sizeof *world);
    ROOST_INVARIANT(world != NULL);
    if (outs[0].base == NULL) {
        ROOST_INVARIANT(core_out_init(&outs[0], head_core.out_bytes_max) == 0 &&
                        core_out_init(&outs[1], agent_core.out_bytes_max) == 0 &&
                        core_out_init(&outs[2], CLIENT_OUT_BYTES_MAX) == 0);
    }
    world->options = *options;
    world->random = hash_mix(options->seed, 99);
    world->outs = outs;
    world->now_ns = 1;
    draw_shape(world);
    proto_arena_init(&world->decoded, PROTO_ARENA_BYTES_MAX, &checks);
    proto_arena_init(&world->scratch, PROTO_ARENA_BYTES_MAX, NULL);
    world->oracle = oracle_create();
    world->network = network_create(world);
    world->head = head_host_create(world);
    world_tell(world, -1, "%u nodes, %u drivers each, %u operations, store %llu, latency %llu us, fails %d",
               world->shape.nodes, world->shape.drivers_per_node, world->shape.operations,
               (unsigned long long)world->shape.store_bytes, (unsigned long long)world->shape.latency_ns / 1000,
               world->shape.fails);
    head_host_begin(world);
    for (uint32_t place = 1; place <= world->shape.nodes; place++) {
        node_create(world, place);
        node_begin(world, place);
    }
    uint64_t storm_ns = (200 + world->shape.operations * 20) * SIM_MS;
    faults_plan(world, storm_ns);
    run_until(world, storm_ns + 3500 * SIM_MS);
    world->is_healed = true;
    world->healed_ns = world->now_ns;
    faults_end(world);
    run_until_true(world, resting);
    world_tell(world, -1, "all rest");
    world->is_ending = true;
    run_until_true(world, ended);
    uint64_t hash = world->hash;
    end(world);
    free(world);
    return hash;
}

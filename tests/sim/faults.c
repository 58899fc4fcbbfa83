/* faults.c - kills, cuts, partitions
 *
 * Happy path: planned at the world's beginning -> each hits whoever is there at its time -> the end: all is whole.
 * Invariants: at least one node stays; what was killed comes back, the head always, a node as itself or as another.
 */
#include "tests/sim/faults.h"
#include "tests/sim/client.h"
#include "tests/sim/head_host.h"
#include "tests/sim/network.h"
#include "tests/sim/node.h"

#include <signal.h>

static uint32_t some_place(struct world *world)
{
    uint32_t places[SIM_PLACES], count = 0;
    for (uint32_t i = 1; i < SIM_PLACES; i++) {
        if (node_life(world, i) != 0) {
            places[count++] = i;
        }
    }
    return count == 0 ? 0 : places[world_below(world, count)];
}

static struct client *some_client(struct world *world, bool driver)
{
    struct client *found = NULL;
    uint64_t seen = 0;
    for (uint32_t i = 1; i < SIM_PLACES; i++) {
        if (node_life(world, i) == 0) {
            continue;
        }
        LIST_EACH (at, &world->nodes[i]->clients) {
            struct client *client = CONTAINER_OF(at, struct client, all);
            if (!client->is_dead && (client->token == 0) == driver && world_below(world, ++seen) == 0) {
                found = client;
            }
        }
    }
    return found;
}

static void kill_worker(struct world *world, const struct occurrence *what)
{
    (void)what;
    struct client *client = some_client(world, false);
    if (client != NULL) {
        world_wound(world, WOUND_WORKER_KILLED);
        client->dies_after = 1 + world_below(world, 6); /* pauses: somewhere inside what it does */
    }
}

static void kill_driver(struct world *world, const struct occurrence *what)
{
    (void)what;
    struct client *client = some_client(world, true);
    if (client != NULL) {
        client_kill(world, client, SIGKILL);
    }
}

static void add_driver(struct world *world, const struct occurrence *what)
{
    struct node *node = world->nodes[what->place];
    if (node != NULL && node->life != 0) {
        world->drivers_left++;
        client_driver(world, node);
    }
}

static void revive_node(struct world *world, const struct occurrence *what)
{
    if (node_life(world, what->place) != 0) {
        return;
    }
    if (world->nodes[what->place] == NULL) {
        node_create(world, what->place);
    }
    node_begin(world, what->place);
    if (!world->is_healed && world_one_in(world, 2)) {
        struct occurrence driver = { .run = add_driver, .place = what->place };
        world_at(world, world_below(world, 200 * SIM_MS), &driver);
    }
}

static void kill_node(struct world *world, const struct occurrence *what)
{
    uint32_t place = what->place != 0 ? what->place : some_place(world), next = place;
    uint32_t alive = 0;
    if (world->is_healed || node_life(world, place) == 0) {
        return;
    }
    for (uint32_t i = 1; i < SIM_PLACES; i++) {
        alive += node_life(world, i) != 0;
    }
    if (alive < 2) {
        return;
    }
    bool at_once = what->number != 0;
    node_end(world, place, !at_once && world_one_in(world, 3));
    if (!at_once && world_one_in(world, 2)) { /* another machine takes its turn */
        for (next = 1; next < SIM_PLACES && world->nodes[next] != NULL; next++) {
        }
        next = next == SIM_PLACES ? place : next;
    }
    struct occurrence revival = { .run = revive_node, .place = next };
    world_at(world, world_below(world, at_once ? 300 : 3000) * SIM_MS, &revival);
}

static void revive_head(struct world *world, const struct occurrence *what)
{
    (void)what;
    uint32_t late = some_place(world);
    if (head_host_life(world) != 0) {
        return;
    }
    if (!world->is_healed && late != 0 && world_one_in(world, 2)) { /* it lists long after the others */
        network_part(world, 0, late, world_below(world, 2000) * SIM_MS);
    }
    head_host_begin(world);
}

static void kill_head(struct world *world, const struct occurrence *what)
{
    (void)what;
    if (head_host_life(world) != 0) {
        head_host_end(world);
        struct occurrence revival = { .run = revive_head };
        world_at(world, world_below(world, 2000) * SIM_MS, &revival);
    }
}

static void hit_line(struct world *world, const struct occurrence *what)
{
    uint32_t a = some_place(world), b = world_one_in(world, 2) ? 0 : some_place(world);
    if (a == b || a == 0) {
        return;
    }
    if (what->number == 0) {
        world_tell(world, -1, "cut between %u and %u", a, b);
        network_cut(world, a, b);
    } else if (what->number == 1) {
        uint64_t for_ms = world_one_in(world, 3) ? world_below(world, 9000) : world_below(world, 1500);
        world_tell(world, -1, "%u and %u are parted for %llu ms", a, b, (unsigned long long)for_ms);
        network_part(world, a, b, for_ms * SIM_MS);
    } else {
        bool back = world_one_in(world, 2), twice = world_one_in(world, 2);
        network_damage(world, back ? b : a, back ? a : b, twice);
    }
}

static void plan(struct world *world, uint32_t count, uint64_t until_ns, uint64_t number,
                 void (*run)(struct world *world, const struct occurrence *what))
{
    for (uint32_t i = 0; i < count; i++) {
        struct occurrence what = { .run = run, .number = number };
        world_at(world, world_below(world, until_ns), &what);
    }
}

void faults_kill_giver(struct world *world, uint32_t place, uint32_t to)
{
    struct occurrence what = { .run = kill_node, .place = place, .number = world_one_in(world, 2) };
    if (what.number != 0) { /* what it gave is long under way, and so is the word of its death */
        network_part(world, place, to, world_below(world, 1000) * SIM_MS);
        network_part(world, 0, to, world_below(world, 2000) * SIM_MS);
    }
    world_at(world, world_below(world, 8 * world->shape.latency_ns), &what);
}

/* A fault whose time comes after the healing does nothing. */
void faults_plan(struct world *world, uint64_t until_ns)
{
    const struct world_shape *shape = &world->shape;
    plan(world, shape->worker_kills, until_ns, 0, kill_worker);
    plan(world, shape->driver_kills, until_ns, 0, kill_driver);
    plan(world, shape->gives_and_dies ? 0 : shape->node_kills, until_ns, 0, kill_node);
    plan(world, shape->head_kills, until_ns, 0, kill_head);
    plan(world, shape->cuts, until_ns, 0, hit_line);
    plan(world, shape->partitions, until_ns, 1, hit_line);
    plan(world, shape->damages, until_ns, 2, hit_line);
    for (uint32_t place = 1; place <= shape->nodes; place++) {
        for (uint32_t i = 0; i < shape->drivers_per_node; i++) {
            struct occurrence driver = { .run = add_driver, .place = place };
            world_at(world, world_below(world, 100 * SIM_MS), &driver);
        }
    }
}

void faults_end(struct world *world)
{
    world_tell(world, -1, "all faults end");
    network_heal(world);
    if (head_host_life(world) == 0) {
        head_host_begin(world);
    }
    for (uint32_t a = 0; a < SIM_PLACES; a++) {
        for (uint32_t b = a + 1; b < SIM_PLACES; b++) {
            network_cut(world, a, b); /* what was lost at the end of a connection would never show */
        }
    }
}

/* network.h - sessions between places, over connections that are slow, cut, damaged, or not to be had
 *
 * Between two places there is one line with a session (proto/session.h) at each end. Frames of one connection arrive in
 * order; those of several overtake each other. What the owner of a place sees is what proto/io/peers.h shows its owner:
 * up, messages, the end of each batch, lost, down. */
#ifndef ROOST_TESTS_SIM_NETWORK_H
#define ROOST_TESTS_SIM_NETWORK_H

#include "proto/message.h"
#include "tests/sim/world.h"

struct network *network_create(struct world *world);
void network_destroy(struct world *world, struct network *network);

/* A process begins at this place, or ends. Others notice the end soon, or, when it is silent, by the silence. */
void network_begin(struct world *world, uint32_t place);
void network_end(struct world *world, uint32_t place, bool silent);

/* `from` wants a session with `to`, from now on and again after each loss. */
void network_dial(struct world *world, uint32_t from, uint32_t to);
bool network_is_wanted(struct world *world, uint32_t from, uint32_t to);
/* It wants none any more. */
void network_hang_up(struct world *world, uint32_t from, uint32_t to);

/* session_add(); the message goes out a little later. */
int network_send(struct world *world, uint32_t from, uint32_t to, const struct proto_message *message);
uint32_t network_last_batch(struct world *world, uint32_t from, uint32_t to);
/* The session ends, from this side. */
void network_lose(struct world *world, uint32_t from, uint32_t to);

/* Faults. */
void network_cut(struct world *world, uint32_t a, uint32_t b);
void network_part(struct world *world, uint32_t a, uint32_t b, uint64_t for_ns);
void network_damage(struct world *world, uint32_t from, uint32_t to, bool twice); /* the next frame: lost, or twice */
void network_heal(struct world *world);

/* Messages that `from` has said to `to` in the session that stands, and that have not been taken in. */
struct transit {
    uint32_t batch;
    enum proto_kind kind;
    struct job_id job;     /* of a SUBMIT; else none */
    struct object_id *ids; /* that it names, then those that it makes known; owned */
    size_t count, makes;
};
size_t network_transits(struct world *world, uint32_t from, uint32_t to, const struct transit **transits_out);
bool network_is_quiet(struct world *world); /* nothing is on its way anywhere, all are connected who want to be */

#endif

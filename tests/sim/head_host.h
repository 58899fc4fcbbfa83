/* head_host.h - the head's core, and the part of its daemon that numbers marks and keeps facts (scheduler/host.c) */
#ifndef ROOST_TESTS_SIM_HEAD_HOST_H
#define ROOST_TESTS_SIM_HEAD_HOST_H

#include "proto/message.h"
#include "scheduler/core/head.h"
#include "tests/sim/world.h"

struct head_host *head_host_create(struct world *world);
void head_host_destroy(struct head_host *host);
void head_host_begin(struct world *world);          /* with the facts that were committed so far, in a new epoch */
void head_host_end(struct world *world);            /* killed; facts stay */
uint64_t head_host_life(const struct world *world); /* 0: it is down */
const struct head *head_host_core(const struct world *world); /* NULL: it is down */
bool head_host_has_met_all(const struct world *world);        /* each node has been in the cluster */
/* The place of the life that the head calls so, or 0. */
uint32_t head_host_place_of(const struct world *world, uint32_t number, uint32_t incarnation);

void head_host_hello(struct world *world, struct proto_hello *hello_out);
void head_host_up(struct world *world, uint32_t place, bool resumed, const struct proto_hello *hello);
void head_host_message(struct world *world, uint32_t place, uint32_t batch, uint32_t seen,
                       const struct proto_message *message);
void head_host_batch_end(struct world *world, uint32_t place, uint32_t batch, uint32_t seen);
void head_host_lost(struct world *world, uint32_t place);

#endif

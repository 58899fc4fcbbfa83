/* faults.h - who is hit, and when */
#ifndef ROOST_TESTS_SIM_FAULTS_H
#define ROOST_TESTS_SIM_FAULTS_H

#include "tests/sim/world.h"

/* Enters the faults of the world's shape, all before `until_ns`. */
void faults_plan(struct world *world, uint64_t until_ns);
/* This node, in a moment: what it has just said is on its way. */
void faults_kill_giver(struct world *world, uint32_t place, uint32_t to);
/* No more: what is down comes up, what is parted meets. */
void faults_end(struct world *world);

#endif

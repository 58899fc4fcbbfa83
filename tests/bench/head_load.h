/* head_load.h - the real head core under a load of generated agents
 *
 * No sockets and no threads: events go in, commands are read. Agents are numbers; what they would say is made up when
 * it is needed, so that the memory that grows is the head's. Functions return 0 or a ROOST_E status with a text. */
#ifndef ROOST_TESTS_BENCH_HEAD_LOAD_H
#define ROOST_TESTS_BENCH_HEAD_LOAD_H

#include <stddef.h>
#include <stdint.h>

struct head_load;

/* A head and `nodes` agents of 8 CPUs that have listed nothing. */
int head_load_create(struct head_load **load_out, uint32_t nodes);
void head_load_destroy(struct head_load *load); /* accepts NULL */
/* `count` more sealed objects, on the nodes in turn. */
int head_load_publish(struct head_load *load, uint64_t count);
/* `count` more tasks with two objects each as arguments; what the nodes' windows do not take is queued at the head. */
int head_load_submit(struct head_load *load, uint64_t count);
/* So often: one task that was given to a node is completed, another is submitted, the head takes its turn. */
int head_load_decide(struct head_load *load, uint64_t count);
/* The head dies; another one starts with what was committed, every agent comes back and lists its objects. */
int head_load_census(struct head_load *load);
/* Of one task as it was submitted. */
size_t head_load_spec_bytes(const struct head_load *load);

#endif

/* objects.h - what holds of objects in every world: tests/unit/api/objects.c runs it inline, agent.c against an agent
 *
 * Each returns only when all its checks hold. */
#ifndef ROOST_TESTS_UNIT_API_OBJECTS_H
#define ROOST_TESTS_UNIT_API_OBJECTS_H

#include <roost.h>

void objects_put_and_get(struct roost *rt);
void objects_parts(struct roost *rt);
void objects_buffers(struct roost *rt);
void objects_buffer_misuse(struct roost *rt);
void objects_files(struct roost *rt);
void objects_containers(struct roost *rt);
void objects_many(struct roost *rt);
void objects_keeps(struct roost *rt);
void objects_waits(struct roost *rt);
void objects_watches(struct roost *rt);
void objects_misuse(struct roost *rt);

#endif

/* proto_random.h - messages of every kind at random, within the table of proto/shape.c, and whether two are the same */
#ifndef ROOST_TESTS_LIB_PROTO_RANDOM_H
#define ROOST_TESTS_LIB_PROTO_RANDOM_H

#include "proto/arena.h"
#include "proto/message.h"

struct proto_random {
    uint64_t state; /* the seed at first */
};

uint64_t proto_random_next(struct proto_random *random);
uint64_t proto_random_below(struct proto_random *random, uint64_t limit);

/* A message that proto_encode_message() accepts; small lists, and now and then a value at its limit. What it points to
 * lies in `arena`. */
void proto_random_message(struct proto_random *random, struct proto_arena *arena, enum proto_kind kind,
                          struct proto_message *message_out);
void proto_random_hello(struct proto_random *random, struct proto_arena *arena, struct proto_hello *hello_out);

bool proto_message_is_same(const struct proto_message *a, const struct proto_message *b);
bool proto_hello_is_same(const struct proto_hello *a, const struct proto_hello *b);

#endif

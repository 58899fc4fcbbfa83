/* encode.h - structs to bytes
 *
 * A frame is built piece by piece: the start of a batch, then its messages, each appended as it comes; the
 * concatenation is the frame. Everything is checked against the same table as on the way in, so what can be sent can be
 * read. */
#ifndef ROOST_PROTO_ENCODE_H
#define ROOST_PROTO_ENCODE_H

#include "proto/arena.h"
#include "proto/message.h"

/* Bytes that grow. All zero is empty; the owner frees them with proto_buffer_fini(). */
struct proto_buffer {
    unsigned char *bytes;
    size_t size, capacity;
};

void proto_buffer_fini(struct proto_buffer *buffer);

/* ROOST_ENOMEM leaves it as it was. */
int proto_buffer_append(struct proto_buffer *buffer, const void *bytes, size_t size);

/* Each appends to `buffer`; `scratch` is used and cleared. On failure the buffer holds what it held.
 * Errors: ROOST_EINVAL, ROOST_ETOOBIG with a text that names the message, the field and the limit; ROOST_ENOMEM. */
int proto_encode_hello(struct proto_arena *scratch, const struct proto_hello *hello, struct proto_buffer *buffer);
int proto_encode_refusal(struct proto_arena *scratch, const struct proto_refusal *refusal, struct proto_buffer *buffer);
int proto_encode_batch_start(uint32_t number, uint32_t seen, struct proto_buffer *buffer);
int proto_encode_empty(uint32_t after, uint32_t seen, struct proto_buffer *buffer); /* number 0, a whole frame */
int proto_encode_message(struct proto_arena *scratch, const struct proto_message *message, struct proto_buffer *buffer);

/* A whole frame of any kind. */
int proto_encode_frame(struct proto_arena *scratch, const struct proto_frame *frame, struct proto_buffer *buffer);

#endif

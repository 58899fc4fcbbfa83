/* decode.h - the one door by which bytes from other machines come in
 *
 * What passes is within every limit of message.h and common/limits.h; whoever reads a decoded message checks only what
 * depends on its own state. */
#ifndef ROOST_PROTO_DECODE_H
#define ROOST_PROTO_DECODE_H

#include "proto/arena.h"
#include "proto/message.h"

/* Takes a frame apart, into `arena` (initialised, cleared by the caller between frames). `bytes` are borrowed for the
 * call only. On failure *frame_out is untouched; what was taken from the arena stays taken until it is cleared.
 *
 * Errors, each with a text that names the message, the field and the limit:
 *   ROOST_ETOOBIG  over a limit: the frame (PROTO_FRAME_BYTES_MAX; PROTO_HELLO_BYTES_MAX for a hello), a list, a text,
 *                  a number, or what it all decodes to (the arena's cap)
 *   ROOST_EINVAL   not a frame, or something in it is not what it should be
 *   or what the arena's checks of opaque runs return. */
int proto_decode(struct proto_arena *arena, const void *bytes, size_t size, struct proto_frame *frame_out);

#endif

/* endpoint_internal.h - connections that do not speak in frames, at the port of those that do */
#ifndef ROOST_COMMON_IO_ENDPOINT_INTERNAL_H
#define ROOST_COMMON_IO_ENDPOINT_INTERNAL_H

#include "common/io/endpoint.h"
#include "common/io/stream_internal.h"

#include <stdint.h>

/* From now on a connection whose first four bytes, little-endian, are `word` is `fn`'s, these four apart. `word` is no
 * length of a frame. The owner of the listener has on_open and on_closed (ROOST_ECANCELED) of it, nothing else. So many
 * more connections may be open at the port. One kind at a time; with `fn` NULL, before the listener is closed, none. */
void endpoint_listener_divert(struct endpoint_listener *listener, uint32_t word, unsigned connections_max,
                              stream_accept_fn *fn, void *arg);

#endif

/* copy.h - copying into the store at memory speed */
#ifndef ROOST_OBJECTSTORE_COPY_H
#define ROOST_OBJECTSTORE_COPY_H

#include <stddef.h>

enum { STORE_COPY_STREAM_BYTES = 1 << 20 }; /* from here on past the caches */

/* memcpy(to, from, size). Large copies write around the caches: nobody reads the line again on this core, and a line
 * that is not fetched before it is overwritten saves a third of the traffic. What was written is visible to whoever
 * sees a later store of this thread, as with memcpy. Any thread. */
void store_copy(void *to, const void *from, size_t size);

#endif

/* program.h - what drivers do, and what the functions do that they call
 *
 * Drivers put, call, look, wait, keep, free, in an order of chance. Functions are decided by their task's id alone, so
 * that a second attempt makes the same calls: they look at every argument, call others, put, and return data, names,
 * or another's result. The bytes of an object follow from its id: whoever reads checks them. */
#ifndef ROOST_TESTS_SIM_PROGRAM_H
#define ROOST_TESTS_SIM_PROGRAM_H

#include "tests/sim/client.h"

void program_driver(struct client *client);
void program_worker(struct client *client);

/* Has this driver done its operations, and waits for the world to say that the rest may come? */
bool program_is_parked(const struct client *client);

/* Names that came from another node: held from now on, if there is room for them. */
bool program_takes(struct client *client, const struct object_id *ids, uint32_t count);

/* ---- content.c: what an object's bytes must be ---- */

uint64_t content_size(struct object_id id);
enum { CONTENT_COLUMNS = 3 };
uint64_t content_column_end(struct object_id id, uint32_t column);
void content_write(struct object_id id, unsigned char *to);
/* Are these the bytes from `offset` on? */
bool content_is_right(struct object_id id, const unsigned char *data, uint64_t offset, uint64_t size);

#endif

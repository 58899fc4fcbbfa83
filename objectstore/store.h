/* store.h - the agent's store: memory, table, and the pins of its clients
 *
 * The host side of the store. It carries out what the agent's core decided (where an object lies, when it goes) and
 * knows what the core cannot: memory, and who reads. Allocating is the core's (extent.h).
 * The agent's loop thread, but for segment_populate on a segment by one helper. Nothing blocks on a client. */
#ifndef ROOST_OBJECTSTORE_STORE_H
#define ROOST_OBJECTSTORE_STORE_H

#include "objectstore/map.h"
#include "objectstore/segment.h"

struct store_client; /* store.c */

struct store_options {
    uint64_t bytes;    /* of all segments together */
    uint32_t segments; /* 0: one */
    uint32_t entries;  /* of the table, a power of two; 0: from `bytes` */
    enum segment_pages pages;
};

struct store_waiting { /* retired, perhaps pinned */
    uint64_t name, token;
    uint32_t index;
    bool is_entry; /* remove it from the table too */
};

struct store {
    struct segment segments[STORE_SEGMENTS_MAX];
    uint32_t segments_count;
    struct segment table_memory;
    struct table table;
    struct store_client *clients; /* owned */
    uint32_t clients_count;
    struct store_waiting *waiting; /* owned */
    uint32_t waiting_count, waiting_capacity;
    uint32_t waiting_next; /* where the next scan begins; 0: the last one has looked at the end */
    uint32_t pins_seen;    /* by the last scan */
};

/* Make segments, and a table in pages of the same kind unless it is large beside them; nothing is populated. Errors:
 * ROOST_EINVAL, ROOST_ENOMEM, ROOST_EIO. */
int store_open(struct store **store_out, const struct store_options *options);

/* Back about `bytes` further bytes of the table, unless that is large beside its store, or of a segment with memory. 1: there
 * is more; 0: that was all;
 * ROOST_ENOMEM, ROOST_EIO with a text. For one helper thread beside the agent's. */
int store_populate(struct store *store, uint64_t bytes);

/* What clients have mapped stays theirs until they end. NULL is fine. */
void store_close(struct store *store);

/* What to hand to a client: borrowed descriptors, valid until store_close. */
void store_fds(const struct store *store, struct store_fds *fds_out);

/* The agent's own view of bytes; NULL outside the segment. For transfers: check who else uses them first. */
void *store_bytes(const struct store *store, struct store_place place);

/* ROOST_EINVAL when it does not fit. */
int store_write(const struct store *store, struct store_place place, uint64_t at, const void *data, size_t size);

/* ---- entries ---- */

/* Enter an object. Errors of table_insert; ROOST_EINVAL when its bytes and trailer lie outside the segment. */
int store_publish(struct store *store, const struct table_entry *entry, uint32_t *index_out);

/* Write an entry anew that is not sealed: it is sealed now, failed, was found again. A sealed one is moved or
 * retired, as somebody may have pinned it. ROOST_EINVAL as above. */
int store_update(struct store *store, uint32_t index, const struct table_entry *entry);

/* The sealed object has a new place, or none here any more (spilled, lost): `token` comes out of store_scan when
 * nobody reads the old bytes. ROOST_EINVAL as above, ROOST_ENOMEM: nothing changed. */
int store_move(struct store *store, uint32_t index, const struct table_entry *entry, uint64_t token);

/* The object is given up. Readers that come now get ROOST_EFREED; when the last one that was there has gone, the entry
 * leaves the table and `token` comes out of store_scan. ROOST_ENOMEM: nothing changed. */
int store_retire(struct store *store, uint32_t index, uint64_t token);

/* The retired object's id is named again: its entry stays, for readers to ask the agent, until it is written anew. The
 * token of the retired bytes comes out of store_scan as before. */
void store_revive(struct store *store, uint32_t index);

/* Is a scan worth it? When at least twice as many wait as pins were seen, or room is wanted. */
bool store_scan_is_due(const struct store *store);

/* Look through all pins for those that wait, at most `capacity` of them, and from where the last scan ended: what is
 * pinned for long does not hide the others. Writes the tokens whose bytes nobody reads any more and returns how many.
 * All have been looked at once waiting_next is 0 again. ROOST_ENOMEM. */
int store_scan(struct store *store, uint64_t *tokens_out, uint32_t capacity);

/* Ask every client to ring the agent when it releases something. */
void store_set_room_wanted(struct store *store, bool wanted);

/* ---- clients ---- */

/* A client without pages. ROOST_ELIMIT at CLIENTS_MAX, ROOST_ENOMEM. */
int store_client_create(struct store *store, struct store_client **client_out);

/* Make the client's next page of pins: *fd_out is to be sent to it and then closed by the caller. Page 0 goes with the
 * welcome, further ones on request, in order. Errors: ROOST_ELIMIT after PINS_PAGES_MAX, ROOST_ENOMEM, ROOST_EIO. */
int store_client_grow(struct store_client *client, int *fd_out);

/* Which entries it used lately. Returns how many; taken out. */
uint32_t store_client_touched(struct store_client *client, uint32_t indices_out[CLIENT_TOUCHED]);

/* Its process is dead, by its pidfd: a closed socket is not enough. Its pins are gone. NULL is fine. */
void store_client_destroy(struct store_client *client);

#endif

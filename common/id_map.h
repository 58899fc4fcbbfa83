/* id_map.h - id -> pointer, open addressing, for what lives in one process
 *
 * Has no iteration: the order of a hash table must never decide anything. What is to be walked is also on a list.
 * Values are borrowed. One thread. */
#ifndef ROOST_COMMON_ID_MAP_H
#define ROOST_COMMON_ID_MAP_H

#include "common/id.h"

struct id_map_slot {
    struct id_key key; /* zero: free */
    void *value;
};

struct id_map {
    struct id_map_slot *slots; /* NULL until the first put */
    uint32_t capacity;         /* a power of two, or 0 */
    uint32_t count;
};

/* A zeroed map is an empty one. */
void id_map_fini(struct id_map *map);

/* NULL when absent. */
void *id_map_get(const struct id_map *map, struct id_key key);

/* The next get of `key` finds its slot in the processor's cache. Costs nothing to wait for. */
void id_map_prefetch(const struct id_map *map, struct id_key key);

/* `key` is not none, `value` not NULL, and the key absent. ROOST_ENOMEM leaves the map as it was. */
int id_map_put(struct id_map *map, struct id_key key, void *value);

/* put() and get() in one search: the place of the key's value, which is NULL when the key was absent. Then the caller
 * writes a value there, or removes the key, before it does anything else with the map. NULL: no memory. */
void **id_map_at(struct id_map *map, struct id_key key);

/* The value that was there, or NULL. */
void *id_map_remove(struct id_map *map, struct id_key key);

#endif

#include "common/id_map.h"
#include "common/contract.h"
#include "common/hash.h"
#include "common/large_pages.h"

#include <stdlib.h>

enum { ID_MAP_CAPACITY_FIRST = 16, GROUP_BITS = 3 };

void id_map_fini(struct id_map *map)
{
    free(map->slots);
    *map = (struct id_map){ .slots = NULL };
}

static uint32_t home_of(const struct id_map *map, struct id_key key)
{
    return hash_home(key.hi ^ key.lo >> GROUP_BITS, key.lo, GROUP_BITS, map->capacity);
}

static bool is_free(const struct id_map_slot *slot) { return (slot->key.hi | slot->key.lo) == 0; }

/* The slot of `key`, or the free one where it would go. */
static struct id_map_slot *slot_of(const struct id_map *map, struct id_key key)
{
    for (uint32_t i = home_of(map, key);; i = (i + 1) & (map->capacity - 1)) {
        struct id_map_slot *slot = &map->slots[i];
        if (is_free(slot) || id_key_eq(slot->key, key)) {
            return slot;
        }
    }
}

void *id_map_get(const struct id_map *map, struct id_key key)
{
    return map->count == 0 ? NULL : slot_of(map, key)->value;
}

void id_map_prefetch(const struct id_map *map, struct id_key key)
{
    if (map->count > 0) {
        __builtin_prefetch(&map->slots[home_of(map, key)]);
    }
}

static int grow(struct id_map *map)
{
    uint32_t capacity = map->capacity == 0 ? ID_MAP_CAPACITY_FIRST : map->capacity * 2;
    if (capacity < map->capacity) {
        return ROOST_ENOMEM;
    }
    struct id_map bigger = { .slots = calloc(capacity, sizeof *bigger.slots),
                             .capacity = capacity,
                             .count = map->count };
    if (bigger.slots == NULL) {
        return ROOST_ENOMEM;
    }
    large_pages_ask(bigger.slots, capacity * sizeof *bigger.slots);
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (!is_free(&map->slots[i])) {
            *slot_of(&bigger, map->slots[i].key) = map->slots[i];
        }
    }
    free(map->slots);
    *map = bigger;
    return 0;
}

void **id_map_at(struct id_map *map, struct id_key key)
{
    ROOST_PRE((key.hi | key.lo) != 0);
    if (map->count >= map->capacity / 2 && /* fuller, groups run into each other: a search passes some */
        grow(map) != 0) {
        return NULL;
    }
    struct id_map_slot *slot = slot_of(map, key);
    map->count += is_free(slot);
    slot->key = key;
    return &slot->value;
}

int id_map_put(struct id_map *map, struct id_key key, void *value)
{
    ROOST_PRE(value != NULL);
    void **at = id_map_at(map, key);
    if (at == NULL) {
        return ROOST_ENOMEM;
    }
    ROOST_PRE(*at == NULL);
    *at = value;
    return 0;
}

void *id_map_remove(struct id_map *map, struct id_key key)
{
    if (map->count == 0) {
        return NULL;
    }
    struct id_map_slot *slot = slot_of(map, key);
    void *value = slot->value;
    if (is_free(slot)) {
        return NULL;
    }
    /* close the gap: move back each follower whose home lies at or before it */
    uint32_t mask = map->capacity - 1, gap = (uint32_t)(slot - map->slots);
    for (uint32_t i = (gap + 1) & mask; !is_free(&map->slots[i]); i = (i + 1) & mask) {
        uint32_t home = home_of(map, map->slots[i].key);
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            map->slots[gap] = map->slots[i];
            gap = i;
        }
    }
    map->slots[gap] = (struct id_map_slot){ { 0, 0 }, NULL };
    map->count--;
    return value;
}

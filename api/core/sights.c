/* sights.c - how a look at a private object is named, and what it reads: one line of memory
 *
 * Owns the slots: one for each object of objects.c, found by its number. The number of a slot changes whenever it is
 * given back, so that none ever comes again. What a scope puts is named by its prefix and such a number: it is found
 * without a search, and neither its name nor its object is read for it. All other objects are found by their names.
 *
 * Happy path: take -> (show) -> find, look, end of the look -> give.
 * Failures:   no memory, or SIGHTS_MAX objects at once -> the object is not made.
 * Invariants: a slot in use and its object name each other. `prefix` is that of a put while it is private, else 0.
 *             Slot 0 is never used. A slot whose numbers have all been given out is not used again.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/contract.h"
#include "common/large_pages.h"

#include <stdlib.h>
#include <string.h>

#define PIN_PRIVATE (UINT64_C(1) << 63)

enum { INDEX_BITS = 28, SIGHTS_FIRST = 64, SIGHTS_MAX = 1 << INDEX_BITS };
static const uint64_t one_use = UINT64_C(1) << INDEX_BITS;

_Static_assert(sizeof(struct sight_slot) == CACHE_LINE_BYTES, "a look reads one line");

static uint32_t index_of(uint64_t number) { return (uint32_t)(number & (one_use - 1)); }

static int grow(struct client_core *core)
{
    uint32_t before = core->sights_count, count = before == 0 ? SIGHTS_FIRST : before * 2;
    size_t bytes = (size_t)count * sizeof(struct sight_slot);
    struct sight_slot *slots = count > SIGHTS_MAX ? NULL : aligned_alloc(CACHE_LINE_BYTES, bytes);
    if (slots == NULL) {
        return ROOST_ENOMEM;
    }
    large_pages_ask(slots, bytes);
    if (before > 0) {
        memcpy(slots, core->sights, before * sizeof *slots);
    }
    for (uint32_t i = before; i < count; i++) {
        slots[i] = (struct sight_slot){ .number = i, .next_free = i + 1 < count ? i + 1 : 0 };
    }
    free(core->sights);
    core->sights = slots;
    core->sights_count = count;
    core->sights_free = before == 0 ? 1 : before;
    return 0;
}

void sights_fini(struct client_core *core) { free(core->sights); }

struct sight_slot *sight_of(const struct client_core *core, const struct client_object *object)
{
    return &core->sights[object->sight];
}

int sight_next(struct client_core *core, uint64_t *number_out)
{
    if (core->sights_free == 0) {
        ROOST_TRY(grow(core));
    }
    *number_out = core->sights[core->sights_free].number;
    return 0;
}

int sight_take(struct client_core *core, struct client_object *object)
{
    uint64_t number;
    ROOST_TRY(sight_next(core, &number));
    const struct wire_object *wire = &object->wire;
    struct sight_slot *slot = &core->sights[index_of(number)];
    core->sights_free = slot->next_free;
    *slot = (struct sight_slot){ .number = number,
                                 .object = object,
                                 .sight = { .offset = wire->place.offset,
                                            .segment = wire->place.segment,
                                            .size = wire->size,
                                            .columns = wire->columns,
                                            .refs = wire->refs,
                                            .format = wire->format } };
    object->sight = index_of(number);
    return 0;
}

void sight_show(struct client_core *core, const struct client_object *object)
{
    struct sight_slot *slot = sight_of(core, object);
    ROOST_PRE(object->wire.id.lo == slot->number);
    slot->prefix = object->wire.id.hi;
}

void sight_hide(struct client_core *core, const struct client_object *object) { sight_of(core, object)->prefix = 0; }

void sight_give(struct client_core *core, const struct client_object *object)
{
    struct sight_slot *slot = sight_of(core, object);
    uint64_t next = slot->number + one_use;
    *slot = (struct sight_slot){ .number = next };
    if ((next & PIN_PRIVATE) == 0) {
        slot->next_free = core->sights_free;
        core->sights_free = object->sight;
    }
}

bool core_puts(const struct client_core *core, struct object_id id)
{
    LIST_EACH (at, &core->scopes) {
        if (CONTAINER_OF(at, struct client_scope, node)->prefix == id.hi) {
            return true;
        }
    }
    return false;
}

/* Of what nobody put: of a result that became an object. */
static struct sight_slot *slot_by_name(const struct client_core *core, struct object_id id)
{
    LIST_EACH (at, &core->scopes) {
        const struct client_name *name = name_find(CONTAINER_OF(at, struct client_scope, node), id);
        if (name != NULL && name->object != NULL && name->object->state == OBJECT_PRIVATE) {
            return sight_of(core, name->object);
        }
    }
    return NULL;
}

struct sight_slot *sight_of_private(const struct client_core *core, struct object_id id)
{
    if (!core_puts(core, id)) {
        return slot_by_name(core, id);
    }
    if (index_of(id.lo) >= core->sights_count) {
        return NULL;
    }
    struct sight_slot *slot = &core->sights[index_of(id.lo)];
    return slot->number == id.lo && slot->prefix == id.hi ? slot : NULL;
}

const void *client_sights(const struct client_core *core) { return core->sights; }

void client_foresee_look(const void *sights, uint64_t number)
{
    __builtin_prefetch((const void *)((uintptr_t)sights + index_of(number) * sizeof(struct sight_slot)), 1);
}

uint64_t sight_look(struct sight_slot *slot)
{
    slot->views++;
    return PIN_PRIVATE | slot->number;
}

struct sight_slot *sight_find(const struct client_core *core, uint64_t pin)
{
    if ((pin & PIN_PRIVATE) == 0 || index_of(pin) >= core->sights_count) {
        return NULL;
    }
    struct sight_slot *slot = &core->sights[index_of(pin)];
    return (PIN_PRIVATE | slot->number) == pin && slot->object != NULL ? slot : NULL;
}

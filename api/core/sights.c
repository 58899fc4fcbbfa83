/* sights.c - how a look at a private object is named, and what it reads: one line of memory
 *
 * Owns the slots: one for each object of objects.c, in the place that the lower bits of its number name. Numbers count
 * up, leaving out those whose place is taken, so none ever comes again and those of neighbours in time are neighbours.
 * What a scope puts is named by its prefix and such a number: it is found without a search, and neither its name nor
 * its object is read for it. All other objects are found by their names.
 *
 * Happy path: take -> (show) -> find, look, end of the look -> give.
 * Failures:   no memory, or too many objects at once (SIGHTS_MAX slots) -> the object is not made.
 * Invariants: a slot in use and its object name each other; a free one is zero. At most three quarters are in use, so
 *             that a free place is near, except behind many that stay: those are passed once in as many puts. `prefix` is
 *             that of a put while it is private, else 0.
 * Thread:     whoever holds the host's lock. */
#include "api/core/client_core_internal.h"
#include "common/bytes.h"
#include "common/contract.h"
#include "common/large_pages.h"

#include <stdlib.h>

enum { SIGHTS_FIRST = 64, SIGHTS_MAX = 1 << 28 };

_Static_assert(sizeof(struct sight_slot) == CACHE_LINE_BYTES, "a look reads one line");

static struct sight_slot *slot_at(const struct client_core *core, uint64_t number)
{
    return &core->sights[number & (core->sights_count - 1)];
}

/* Twice as many, each in its place among them. Memory that is not touched yet costs nothing. */
static int grow(struct client_core *core)
{
    uint32_t before = core->sights_count, count = before == 0 ? SIGHTS_FIRST : before * 2;
    size_t bytes = (size_t)count * sizeof(struct sight_slot);
    void *memory = count > SIGHTS_MAX ? NULL : calloc(1, bytes + CACHE_LINE_BYTES);
    if (memory == NULL) {
        return ROOST_ENOMEM;
    }
    struct sight_slot *old = core->sights;
    core->sights = (struct sight_slot *)align_up((uintptr_t)memory, CACHE_LINE_BYTES);
    core->sights_count = count;
    large_pages_ask(core->sights, bytes);
    for (uint32_t i = 0; i < before; i++) {
        if (old[i].object != NULL) {
            *slot_at(core, old[i].number) = old[i];
        }
    }
    free(core->sights_memory);
    core->sights_memory = memory;
    return 0;
}

void sights_fini(struct client_core *core) { free(core->sights_memory); }

struct sight_slot *sight_of(const struct client_core *core, const struct client_object *object)
{
    return slot_at(core, object->number);
}

int sight_next(struct client_core *core, uint64_t *number_out)
{
    if (core->sights_used >= core->sights_count / 4 * 3) {
        ROOST_TRY(grow(core));
    }
    while (slot_at(core, core->sights_next)->object != NULL) {
        core->sights_next++;
    }
    *number_out = core->sights_next;
    return 0;
}

int sight_take(struct client_core *core, struct client_object *object)
{
    const struct wire_object *wire = &object->wire;
    uint64_t number;
    ROOST_TRY(sight_next(core, &number));
    core->sights_next++;
    core->sights_used++;
    object->number = number;
    *slot_at(core, number) = (struct sight_slot){ .number = number,
                                                  .object = object,
                                                  .sight = { .offset = wire->place.offset,
                                                             .segment = wire->place.segment,
                                                             .size = wire->size,
                                                             .columns = wire->columns,
                                                             .refs = wire->refs,
                                                             .format = wire->format } };
    return 0;
}

void sight_give(struct client_core *core, const struct client_object *object)
{
    struct sight_slot *slot = sight_of(core, object);
    ROOST_INVARIANT(slot->object == object);
    *slot = (struct sight_slot){ .number = 0 };
    core->sights_used--;
}

void sight_show(struct client_core *core, const struct client_object *object)
{
    ROOST_PRE(object->wire.id.lo == object->number && object->wire.id.hi != 0);
    sight_of(core, object)->prefix = object->wire.id.hi;
}

void sight_hide(struct client_core *core, const struct client_object *object) { sight_of(core, object)->prefix = 0; }

bool id_is_of_put(const struct client_core *core, struct object_id id)
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
    if (!id_is_of_put(core, id)) {
        return slot_by_name(core, id);
    }
    struct sight_slot *slot = core->sights_count == 0 ? NULL : slot_at(core, id.lo);
    return slot != NULL && slot->prefix == id.hi && slot->number == id.lo ? slot : NULL;
}

uint64_t sight_look(struct sight_slot *slot)
{
    slot->views++;
    return CLIENT_PIN_PRIVATE | slot->number;
}

struct sight_slot *sight_of_pin(const struct client_core *core, uint64_t pin)
{
    if ((pin & CLIENT_PIN_PRIVATE) == 0 || core->sights_count == 0) {
        return NULL;
    }
    struct sight_slot *slot = slot_at(core, pin);
    return slot->object != NULL && (CLIENT_PIN_PRIVATE | slot->number) == pin ? slot : NULL;
}

/* ---- asked for ahead ---- */

/* Their address, which ends in zeros, and in place of these, what power of two they are. */
uintptr_t client_sights(const struct client_core *core)
{
    uint32_t count = core->sights_count;
    return (uintptr_t)core->sights | (count == 0 ? 0 : 31u - (uint32_t)__builtin_clz(count));
}

void client_foresee_look(uintptr_t sights, uint64_t number)
{
    uintptr_t bits = sights % CACHE_LINE_BYTES;
    uintptr_t place = number & ((UINT64_C(1) << bits) - 1);
    __builtin_prefetch((const void *)(sights - bits + place * sizeof(struct sight_slot)), 1);
}

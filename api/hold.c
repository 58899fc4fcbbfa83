/* hold.c - giving holds up, and taking one more
 *
 * A free is the user's word that a name is not needed any more; what follows from it the client core knows (names.c):
 * silence for a private object, waiting while a call that names it is under way, a message in company otherwise.
 * Thread: any; nothing here waits for the agent. */
#define LOG_TOPIC "hold"
#include "api/client.h"
#include "common/log.h"

static void log_not_held(uint64_t scope, roost_ref ref)
{
    struct object_id id = object_id_of(ref);
    if (!object_id_is_none(id)) {
        char text[ID_TEXT_BYTES];
        log_warn("event=free_of_what_is_not_held object=%s scope=%llu", object_id_print(id, text),
                 (unsigned long long)scope);
    }
}

static void free_all(struct roost *rt, const roost_ref *refs, size_t count)
{
    uint64_t scope = client_scope(rt);
    for (size_t i = 0; i < count; i++) {
        i += rt->world->free(rt, scope, refs + i, count - i);
        if (i < count) {
            log_not_held(scope, refs[i]);
        }
    }
}

void roost_free(struct roost *rt, roost_ref ref)
{
    if (client_check(rt, "roost_free") == 0) {
        free_all(rt, &ref, 1);
    }
}

void roost_free_many(struct roost *rt, const roost_ref *refs, size_t count)
{
    if (client_check(rt, "roost_free_many") == 0 && refs != NULL) {
        free_all(rt, refs, count);
    }
}

int roost_keep(struct roost *rt, roost_ref ref)
{
    int status = client_check(rt, "roost_keep");
    if (status != 0) {
        return status;
    }
    if (object_id_is_none(object_id_of(ref))) {
        return error_set(ROOST_EINVAL, "roost_keep: the ref names nothing");
    }
    return rt->world->keep(rt, client_scope(rt), &ref, 1);
}

int roost_keep_many(struct roost *rt, const roost_ref *refs, size_t count)
{
    int status = client_check(rt, "roost_keep_many");
    if (status != 0) {
        return status;
    }
    if (refs == NULL && count > 0) {
        return error_set(ROOST_EINVAL, "roost_keep_many: refs is NULL");
    }
    for (size_t i = 0; i < count; i++) {
        if (object_id_is_none(object_id_of(refs[i]))) {
            return error_set(ROOST_EINVAL, "roost_keep_many: ref %zu of %zu names nothing", i, count);
        }
    }
    return rt->world->keep(rt, client_scope(rt), refs, count);
}

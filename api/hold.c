/* hold.c - giving holds up, and taking one more
 *
 * A free is the user's word that a name is not needed any more; what follows from it the client core knows (names.c):
 * silence for a private object, waiting while a call that names it is under way, a message in company otherwise.
 * Thread: any; nothing here waits for the agent. */
#define LOG_TOPIC "hold"
#include "api/client.h"
#include "common/log.h"

static void free_one(struct roost *rt, uint64_t scope, roost_ref ref)
{
    struct object_id id = object_id_of(ref);
    if (object_id_is_none(id)) {
        return;
    }
    if (rt->world->free(rt, scope, id) == ROOST_ENOENT) {
        char text[ID_TEXT_BYTES];
        log_warn("event=free_of_what_is_not_held object=%s scope=%llu", object_id_print(id, text),
                 (unsigned long long)scope);
    }
}

void roost_free(struct roost *rt, roost_ref ref)
{
    if (client_check(rt, "roost_free") == 0) {
        free_one(rt, client_scope(rt), ref);
    }
}

void roost_free_many(struct roost *rt, const roost_ref *refs, size_t count)
{
    if (client_check(rt, "roost_free_many") != 0 || refs == NULL) {
        return;
    }
    uint64_t scope = client_scope(rt);
    for (size_t i = 0; i < count; i++) {
        free_one(rt, scope, refs[i]);
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
    return rt->world->keep(rt, client_scope(rt), object_id_of(ref));
}

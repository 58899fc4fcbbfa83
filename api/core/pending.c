/* pending.c - where a call through a lease stands, in words for people
 *
 * Nobody but this process knows of such a call, so nobody else can say what it waits for.
 *
 * Thread: whoever holds the host's lock. */
#include "api/core/client_core_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static unsigned count_before(const struct list_node *list, const struct client_call *call)
{
    unsigned count = 0;
    LIST_EACH (at, (struct list_node *)(uintptr_t)list) {
        if (at == &call->of_queue) {
            break;
        }
        count++;
    }
    return count;
}

static void say_where(const struct client_core *core, const struct client_call *call, char *text, size_t size)
{
    switch (call->state) {
    case CALL_WAITING:
        snprintf(text, size, "waits for %u results of other calls", call->needs_left);
        return;
    case CALL_QUEUED:
        snprintf(text, size, "waits for a worker, behind %u other calls", count_before(&core->calls_queued, call));
        return;
    case CALL_PUSHED: {
        unsigned before = count_before(&call->lease->pushed, call);
        if (before == 0) {
            snprintf(text, size, "runs in a worker, or is about to");
        } else {
            snprintf(text, size, "was given to a worker, behind %u other calls", before);
        }
        return;
    }
    case CALL_LEAVING:
        snprintf(text, size, "is about to go to the node's agent");
        return;
    case CALL_DONE:
    case CALL_GONE:
        break;
    }
    text[0] = '\0';
}

bool client_own_pending(const struct client_core *core, struct object_id id, uint64_t now_ns,
                        struct client_pending *pending_out)
{
    const struct own_result *result = own_find(core, id);
    if (result == NULL || result->is_sealed) {
        return false;
    }
    const struct client_call *call = result->call;
    size_t bytes = sizeof pending_out->text;
    *pending_out = (struct client_pending){ .attempts = call->attempt,
                                            .lease = call->state == CALL_PUSHED ? call->lease : NULL };
    snprintf(pending_out->function, sizeof pending_out->function, "%s", spec_function(call->spec));
    say_where(core, call, pending_out->text, bytes);
    size_t used = strlen(pending_out->text);
    snprintf(pending_out->text + used, bytes - used, "; called %" PRIu64 " ms ago",
             now_ns > call->queued_ns ? (now_ns - call->queued_ns) / 1000000 : 0);
    return true;
}

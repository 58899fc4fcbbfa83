/* agent_world.c - what the API asks for, with an agent behind it: the table of it, and questions about the cluster
 *
 * A put is in agent_put.c, a get in agent_get.c, a wait in agent_wait.c, a call in agent_call.c, a watch in
 * agent_watch.c.
 *
 * Failures:   the agent is gone -> ROOST_EDISCONNECTED (or why the job ended) from everything that needs it.
 * Thread:     any. The link's lock is never held while waiting for an answer.
 */
#include "api/agent_world.h"

#include <string.h>

/* Ask something that only the agent knows; an answer needs no work of others. */
static int ask_agent(struct agent_link *link, struct agent_ask *ask, const char *call)
{
    int status = link_gone(link);
    if (status == 0) {
        status = link_ask(link, ask, LINK_ANSWER_MS);
    }
    if (status == ROOST_ETIMEDOUT) {
        return error_set(status, "%s: the agent has not answered for %d ms", call, LINK_ANSWER_MS);
    }
    if (status == 0 && ask->ask.status != 0) {
        status = error_set(ask->ask.status, "%s: %s", call, error_name(ask->ask.status));
    }
    return status;
}

static struct roost_node_info info_of(const struct wire_node *node)
{
    struct roost_node_info info = { .node = { { node->node.hi, node->node.lo } },
                                    .alive = node->alive != 0,
                                    .cpus_total = node->cpus_hundredths_total / 100.0,
                                    .cpus_free = node->cpus_hundredths_free / 100.0,
                                    .memory_bytes_total = node->memory_bytes_total,
                                    .memory_bytes_free = node->memory_bytes_free,
                                    .store_bytes_total = node->store_bytes_total,
                                    .store_bytes_free = node->store_bytes_free };
    memcpy(info.host, node->host, sizeof info.host - 1);
    memcpy(info.labels, node->labels, sizeof info.labels - 1);
    return info;
}

static int agent_nodes(struct roost *rt, struct roost_node_info *nodes_out, size_t info_size, size_t capacity,
                       size_t *count_out)
{
    struct agent_ask ask = { .ask = { .kind = WIRE_NODES } };
    int status = ask_agent(link_of(rt), &ask, "roost_nodes");
    const struct wire_node *nodes = ask.ask.items;
    for (size_t i = 0; status == 0 && i < ask.ask.items_count && i < capacity; i++) {
        struct roost_node_info info = info_of(&nodes[i]);
        memcpy((char *)nodes_out + i * info_size, &info, info_size);
    }
    if (status == 0) {
        *count_out = ask.ask.items_count;
    }
    link_ask_fini(&ask);
    return status;
}

static int agent_locate(struct roost *rt, roost_ref ref, roost_node *nodes_out, size_t capacity, size_t *count_out)
{
    struct agent_link *link = link_of(rt);
    pthread_mutex_lock(&link->lock);
    struct client_own_value value;
    enum client_own own = client_own_look(link->core, object_id_of(ref), &value);
    bool is_private = own == CLIENT_OWN_NOT && client_object_is_private(link->core, object_id_of(ref));
    pthread_mutex_unlock(&link->lock);
    if (is_private || own != CLIENT_OWN_NOT) { /* here, or to be, and nobody else has heard of it */
        *count_out = is_private || (own == CLIENT_OWN_SEALED && value.format != TABLE_ERROR) ? 1 : 0;
        if (*count_out > 0 && capacity > 0) {
            nodes_out[0] = (roost_node){ { rt->node.hi, rt->node.lo } };
        }
        return 0;
    }
    struct agent_ask ask = { .ask = { .kind = WIRE_LOCATE, .refs = &ref, .total = 1 } };
    int status = ask_agent(link, &ask, "roost_locate");
    const struct node_id *nodes = ask.ask.items;
    for (size_t i = 0; status == 0 && i < ask.ask.items_count && i < capacity; i++) {
        nodes_out[i] = (roost_node){ { nodes[i].hi, nodes[i].lo } };
    }
    if (status == 0) {
        *count_out = ask.ask.items_count;
    }
    link_ask_fini(&ask);
    return status;
}

static int agent_prefetch(struct roost *rt, roost_ref ref)
{
    struct agent_link *link = link_of(rt);
    ROOST_TRY(link_gone(link));
    pthread_mutex_lock(&link->lock);
    bool is_own = client_object_is_private(link->core, object_id_of(ref)) ||
                  client_own_look(link->core, object_id_of(ref), NULL) != CLIENT_OWN_NOT;
    int status = is_own ? 0 : client_prefetch(link->core, ref); /* its own are here, or will be */
    link_flush_locked(link);
    pthread_mutex_unlock(&link->lock);
    return status == 0 ? 0 : no_memory("a question");
}

static void agent_explain(struct roost *rt, struct object_id id, struct wire_failure *failure)
{
    leases_explain(link_of(rt), id, failure);
}

static void agent_close(struct roost *rt)
{
    link_close(rt->agent);
    rt->agent = NULL;
}

const struct world world_agent = {
    .close = agent_close,
    .room = agent_room,
    .room_drop = agent_room_drop,
    .seal = agent_seal,
    .result = agent_result,
    .look = agent_look,
    .release = agent_release,
    .peek_run = agent_peek_run,
    .look_soon = agent_look_soon,
    .look_run = agent_look_run,
    .release_many = agent_release_many,
    .wait = agent_wait,
    .keep = agent_keep,
    .free = agent_free,
    .submit = agent_submit,
    .stopping = agent_stopping,
    .nodes = agent_nodes,
    .locate = agent_locate,
    .prefetch = agent_prefetch,
    .watch = agent_watch,
    .explain = agent_explain,
};

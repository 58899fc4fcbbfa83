/* cluster.c - questions about the cluster: who is in it, where copies are; and the hint to bring one here */
#include "api/client.h"

roost_node roost_here(struct roost *rt)
{
    roost_node none = { { 0, 0 } };
    if (client_check(rt, "roost_here") != 0) {
        return none;
    }
    return (roost_node){ { rt->node.hi, rt->node.lo } };
}

int roost_nodes(struct roost *rt, struct roost_node_info *nodes_out, size_t info_size, size_t capacity,
                size_t *count_out)
{
    int status = client_check(rt, "roost_nodes");
    if (status != 0) {
        return status;
    }
    if (count_out == NULL || (nodes_out == NULL && capacity > 0)) {
        return error_set(ROOST_EINVAL, "roost_nodes: %s is NULL", count_out == NULL ? "count_out" : "nodes_out");
    }
    if (info_size == 0 || info_size > sizeof *nodes_out) {
        return error_set(ROOST_EINVAL, "roost_nodes: info_size is %zu, wanted %zu (sizeof(struct roost_node_info))",
                         info_size, sizeof *nodes_out);
    }
    return rt->world->nodes(rt, nodes_out, info_size, capacity, count_out);
}

int roost_locate(struct roost *rt, roost_ref ref, roost_node *nodes_out, size_t capacity, size_t *count_out)
{
    int status = client_check(rt, "roost_locate");
    if (status != 0) {
        return status;
    }
    if (count_out == NULL || (nodes_out == NULL && capacity > 0)) {
        return error_set(ROOST_EINVAL, "roost_locate: %s is NULL", count_out == NULL ? "count_out" : "nodes_out");
    }
    if (object_id_is_none(object_id_of(ref))) {
        return error_set(ROOST_EINVAL, "roost_locate: the ref names nothing");
    }
    return rt->world->locate(rt, ref, nodes_out, capacity, count_out);
}

int roost_prefetch(struct roost *rt, roost_ref ref)
{
    int status = client_check(rt, "roost_prefetch");
    if (status != 0) {
        return status;
    }
    if (object_id_is_none(object_id_of(ref))) {
        return error_set(ROOST_EINVAL, "roost_prefetch: the ref names nothing");
    }
    return rt->world->prefetch(rt, ref);
}

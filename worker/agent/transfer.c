/* transfer.c - bytes between this node's store and another's
 *
 * Owns the bulk listener, the connections on which this node sends (one per peer and stream number, dialed when first
 * needed), and the incoming transfers: which place waits for which bytes.
 *
 * Happy path: OPEN -> what the ref means; SEND -> a range goes out; RECEIVE -> ranges come in -> all there: done.
 * Order:      ranges of a connection go out in turn. It is given little more than it can send at once, so that what
 *             waits can change over to a connection of the first lane (RAISE).
 * Failures:   a connection breaks while a range comes in -> the transfer fails, the core asks another holder.
 *             a connection cannot be made, or breaks -> every SEND that may not have arrived fails, and the core tells
 *             its receiver, who knows nothing of a range whose header has not come. Bytes for no transfer that is
 *             known are read and thrown away.
 * Invariants: a place is written only while its transfer is known; a canceled one is done when no range is under way.
 * Thread:     the loop's.
 */
#define LOG_TOPIC "transfer"
#include "worker/agent/transfer.h"
#include "common/error.h"
#include "common/id_map.h"
#include "common/io/bulk.h"
#include "common/list.h"
#include "common/log.h"
#include "objectstore/range.h"

#include <stdlib.h>
#include <string.h>

enum {
    TRANSFER_DIAL_MS = 5000,
    TRANSFER_FIRST_RANGE_MS = 10000,
    TRANSFER_CONNECTIONS_MAX = 4096,
    TRANSFER_AHEAD_BYTES =
        2 * PULL_CHUNK_BYTES,        /* given to a connection: a range more when less than this is left of those */
    TRANSFER_RECENT = BULK_QUEUE_MAX /* SENDs of a connection that are told when it breaks */
};

struct incoming {
    struct list_node all, due; /* transfers.incoming; transfers.due once there is something to say */
    uint64_t transfer, token, cancel_token;
    struct wire_object object;
    unsigned char *place;
    uint64_t size, received;
    uint32_t under_way; /* ranges that are being written at this moment */
    int status;
    bool is_canceled, is_over;
};

struct answer { /* of OPEN, or of a SEND that failed, on its way to the core */
    struct list_node due;
    uint64_t token;
    int status;
    struct agent_opened opened;
};

struct queued { /* a range that waits for its connection, or for room in its queue */
    struct list_node of_outgoing;
    struct bulk_range range;
    const void *data;
    uint64_t token;
};

struct outgoing {
    struct list_node all; /* transfers.outgoing */
    struct transfers *transfers;
    uint32_t node, incarnation, stream;
    struct bulk *bulk;
    bool is_open;
    struct list_node queue;
    uint32_t under_way;               /* ranges that its bulk has taken and not sent yet */
    uint64_t under_way_bytes;         /* of them */
    uint64_t recent[TRANSFER_RECENT]; /* tokens of the SENDs that its bulk took last; 0: none */
    uint64_t taken;                   /* how many there were */
};

struct transfers {
    struct loop *loop;
    struct store *store;
    struct transfer_owner owner;
    struct bulk_listener *listener;
    struct id_map incoming_by_transfer;
    struct list_node incoming, outgoing, due, answers, accepted;
    struct loop_task tell;
    bool is_ending;
};

struct accepted { /* a connection that a peer made to send here */
    struct list_node all;
    struct transfers *transfers;
    struct bulk *bulk;
};

static struct id_key transfer_key(uint64_t transfer) { return (struct id_key){ 1, transfer }; }

/* ------------------------------------------------------------------ what came of it */

static void incoming_destroy(struct transfers *transfers, struct incoming *incoming)
{
    id_map_remove(&transfers->incoming_by_transfer, transfer_key(incoming->transfer));
    list_remove(&incoming->all);
    list_remove(&incoming->due);
    free(incoming);
}

static const void *trailer_refs(const struct incoming *incoming)
{
    return incoming->place + wire_refs_offset(incoming->object.size, incoming->object.columns);
}

static void tell_incoming(struct transfers *transfers, struct incoming *incoming)
{
    const struct transfer_owner *owner = &transfers->owner;
    if (incoming->is_canceled) {
        owner->done(owner->arg, incoming->cancel_token, 0, incoming->transfer, NULL, 0);
    } else if (incoming->status != 0) {
        owner->done(owner->arg, incoming->token, incoming->status, incoming->transfer, NULL, 0);
        incoming->is_over = true; /* the core cancels it now, or has */
        return;
    } else {
        size_t refs_bytes = incoming->object.refs * sizeof(roost_ref);
        void *refs = refs_bytes > 0 ? malloc(refs_bytes) : NULL;
        ROOST_INVARIANT(refs_bytes == 0 || refs != NULL);
        if (refs_bytes > 0) {
            memcpy(refs, trailer_refs(incoming), refs_bytes); /* the store may hold them at any address */
        }
        owner->done(owner->arg, incoming->token, 0, incoming->transfer, refs, refs_bytes);
        free(refs);
    }
    incoming_destroy(transfers, incoming);
}

static void tell(void *arg)
{
    struct transfers *transfers = arg;
    while (!list_is_empty(&transfers->answers)) {
        struct answer *answer = CONTAINER_OF(transfers->answers.next, struct answer, due);
        list_remove(&answer->due);
        transfers->owner.done(transfers->owner.arg, answer->token, answer->status, 0, &answer->opened,
                              sizeof answer->opened);
        free(answer);
    }
    while (!list_is_empty(&transfers->due)) {
        struct incoming *incoming = CONTAINER_OF(transfers->due.next, struct incoming, due);
        list_remove(&incoming->due);
        tell_incoming(transfers, incoming);
    }
}

/* Never from inside the core's command: in a later turn of the loop. */
static void tell_soon(struct transfers *transfers)
{
    transfers->tell.run = tell;
    transfers->tell.arg = transfers;
    loop_post(transfers->loop, &transfers->tell);
}

static void look(struct transfers *transfers, struct incoming *incoming)
{
    bool ends = incoming->is_canceled ? incoming->under_way == 0
                                      : (incoming->status != 0 || incoming->received == incoming->size);
    if (ends && list_is_empty(&incoming->due) && (incoming->is_canceled || !incoming->is_over)) {
        list_append(&transfers->due, &incoming->due);
        tell_soon(transfers);
    }
}

/* ------------------------------------------------------------------ in */

static int on_range(struct bulk *bulk, void *arg, const struct bulk_range *range, void **to_out)
{
    struct transfers *transfers = ((struct accepted *)arg)->transfers;
    struct incoming *incoming = id_map_get(&transfers->incoming_by_transfer, transfer_key(range->token));
    *to_out = NULL;
    if (incoming == NULL || incoming->is_canceled || incoming->status != 0) {
        return 0;
    }
    if (!range_is_inside(range->offset, range->size, incoming->size)) {
        return error_set(ROOST_ERANGE, "%s sends bytes outside of what was asked for", bulk_peer(bulk));
    }
    incoming->under_way++;
    *to_out = incoming->place + range->offset;
    return 0;
}

static void on_received(struct bulk *bulk, void *arg, const struct bulk_range *range, int status)
{
    (void)bulk;
    struct transfers *transfers = ((struct accepted *)arg)->transfers;
    struct incoming *incoming = id_map_get(&transfers->incoming_by_transfer, transfer_key(range->token));
    ROOST_INVARIANT(incoming != NULL && incoming->under_way > 0); /* it stays while a range is under way */
    incoming->under_way--;
    if (status != 0) {
        incoming->status = status;
    } else {
        incoming->received += range->size;
    }
    look(transfers, incoming);
}

static void on_accepted(struct bulk *bulk, void *arg)
{
    struct transfers *transfers = arg;
    struct accepted *accepted = calloc(1, sizeof *accepted);
    ROOST_INVARIANT(accepted != NULL);
    accepted->transfers = transfers;
    accepted->bulk = bulk;
    list_append(&transfers->accepted, &accepted->all);
    bulk_set_arg(bulk, accepted);
}

static void on_accepted_closed(struct bulk *bulk, void *arg, int status)
{
    (void)bulk, (void)status;
    struct accepted *accepted = arg;
    list_remove(&accepted->all);
    free(accepted);
}

static void nothing_sent(struct bulk *bulk, void *arg, const struct bulk_range *range, int status)
{
    (void)bulk, (void)arg, (void)range, (void)status;
}

static const struct bulk_handler accepted_handler = { .on_open = on_accepted,
                                                      .on_range = on_range,
                                                      .on_received = on_received,
                                                      .on_sent = nothing_sent,
                                                      .on_closed = on_accepted_closed };

static void receive(struct transfers *transfers, uint64_t token, const struct agent_pull *command)
{
    struct store_place place = { command->place.offset, command->size, command->place.segment };
    struct incoming *incoming = calloc(1, sizeof *incoming);
    ROOST_INVARIANT(incoming != NULL);
    *incoming = (struct incoming){ .transfer = command->transfer,
                                   .token = token,
                                   .object = command->object,
                                   .place = store_bytes(transfers->store, place),
                                   .size = command->size };
    ROOST_INVARIANT(incoming->place != NULL);
    list_init(&incoming->due);
    list_append(&transfers->incoming, &incoming->all);
    ROOST_INVARIANT(id_map_put(&transfers->incoming_by_transfer, transfer_key(incoming->transfer), incoming) == 0);
    look(transfers, incoming); /* of no bytes at all, it is complete */
}

static void cancel(struct transfers *transfers, uint64_t token, uint64_t transfer)
{
    struct incoming *incoming = id_map_get(&transfers->incoming_by_transfer, transfer_key(transfer));
    ROOST_INVARIANT(incoming != NULL && !incoming->is_canceled);
    incoming->is_canceled = true;
    incoming->cancel_token = token;
    look(transfers, incoming);
}

/* ------------------------------------------------------------------ out */

static void answer(struct transfers *transfers, uint64_t token, int status, const struct agent_opened *opened)
{
    struct answer *answer = calloc(1, sizeof *answer);
    ROOST_INVARIANT(answer != NULL);
    answer->token = token;
    answer->status = status;
    answer->opened = *opened;
    list_append(&transfers->answers, &answer->due);
    tell_soon(transfers);
}

static void send_failed(struct transfers *transfers, uint64_t token, int status)
{
    answer(transfers, token, status < 0 ? status : ROOST_EDISCONNECTED, &(struct agent_opened){ 0 });
}

static void outgoing_destroy(struct outgoing *outgoing)
{
    LIST_EACH_SAFE (at, &outgoing->queue) {
        free(CONTAINER_OF(at, struct queued, of_outgoing));
    }
    list_remove(&outgoing->all);
    free(outgoing);
}

static void send_queued(struct outgoing *outgoing)
{
    while (outgoing->is_open && !list_is_empty(&outgoing->queue) && outgoing->under_way_bytes < TRANSFER_AHEAD_BYTES) {
        struct queued *queued = CONTAINER_OF(outgoing->queue.next, struct queued, of_outgoing);
        if (bulk_send(outgoing->bulk, &queued->range, queued->data) != 0) {
            return; /* its queue is full: on_sent comes back here; or it is closed, and on_closed comes */
        }
        outgoing->under_way++;
        outgoing->under_way_bytes += queued->range.size;
        outgoing->recent[outgoing->taken++ % TRANSFER_RECENT] = queued->token;
        list_remove(&queued->of_outgoing);
        free(queued);
    }
}

static void on_open(struct bulk *bulk, void *arg)
{
    (void)bulk;
    struct outgoing *outgoing = arg;
    outgoing->is_open = true;
    send_queued(outgoing);
}

static void on_sent(struct bulk *bulk, void *arg, const struct bulk_range *range, int status)
{
    (void)bulk;
    struct outgoing *outgoing = arg;
    if (status == 0) {
        outgoing->under_way--;
        outgoing->under_way_bytes -= range->size;
        send_queued(outgoing);
    }
}

static int refuse_range(struct bulk *bulk, void *arg, const struct bulk_range *range, void **to_out)
{
    (void)bulk, (void)arg, (void)range, (void)to_out;
    return error_set(ROOST_EINVAL, "bytes on a connection that is for sending");
}

static void nothing_received(struct bulk *bulk, void *arg, const struct bulk_range *range, int status)
{
    (void)bulk, (void)arg, (void)range, (void)status;
}

static void on_closed(struct bulk *bulk, void *arg, int status)
{
    (void)bulk;
    struct outgoing *outgoing = arg;
    struct transfers *transfers = outgoing->transfers;
    if (!transfers->is_ending) {
        char text[ERROR_TEXT_BYTES + 2];
        log_quote(error_text(), text, sizeof text);
        if (outgoing->under_way > 0 || !list_is_empty(&outgoing->queue)) {
            log_warn("event=sending_broken node=%u stream=%u status=%s why=%s", outgoing->node, outgoing->stream,
                     error_code_name(status), text);
        } else {
            log_info("event=sending_ended node=%u stream=%u why=%s", outgoing->node, outgoing->stream, text);
        }
        for (uint32_t i = 0; i < TRANSFER_RECENT && outgoing->recent[i] != 0; i++) {
            send_failed(transfers, outgoing->recent[i], status);
        }
        LIST_EACH (at, &outgoing->queue) {
            send_failed(transfers, CONTAINER_OF(at, struct queued, of_outgoing)->token, status);
        }
    }
    outgoing_destroy(outgoing);
}

static const struct bulk_handler outgoing_handler = { .on_open = on_open,
                                                      .on_range = refuse_range,
                                                      .on_received = nothing_received,
                                                      .on_sent = on_sent,
                                                      .on_closed = on_closed };

static bool leads_to(const struct outgoing *outgoing, struct core_peer peer)
{
    return outgoing->node == peer.node && outgoing->incarnation == peer.incarnation;
}

static struct outgoing *outgoing_to(struct transfers *transfers, struct core_peer peer, uint32_t stream)
{
    LIST_EACH (at, &transfers->outgoing) {
        struct outgoing *outgoing = CONTAINER_OF(at, struct outgoing, all);
        if (leads_to(outgoing, peer) && outgoing->stream == stream) {
            return outgoing;
        }
    }
    const char *address = transfers->owner.address_of(transfers->owner.arg, peer.node);
    struct outgoing *outgoing = calloc(1, sizeof *outgoing);
    ROOST_INVARIANT(outgoing != NULL);
    *outgoing = (struct outgoing){
        .transfers = transfers, .node = peer.node, .incarnation = peer.incarnation, .stream = stream
    };
    list_init(&outgoing->queue);
    list_append(&transfers->outgoing, &outgoing->all);
    if (address == NULL || bulk_stream_ops.dial(transfers->loop, address, TRANSFER_DIAL_MS, &outgoing_handler, outgoing,
                                                &outgoing->bulk) != 0) {
        log_warn("event=cannot_send node=%u address=%s", peer.node, address == NULL ? "unknown" : address);
        outgoing_destroy(outgoing);
        return NULL;
    }
    return outgoing;
}

static void send(struct transfers *transfers, uint64_t token, const struct agent_pull *command)
{
    struct store_place place = { command->place.offset, command->size, command->place.segment };
    const void *data = store_bytes(transfers->store, place);
    struct outgoing *outgoing = data == NULL ? NULL : outgoing_to(transfers, command->peer, command->stream);
    struct queued *queued = outgoing == NULL ? NULL : calloc(1, sizeof *queued);
    if (queued == NULL) {
        send_failed(transfers, token, ROOST_ECONNECT);
        return;
    }
    queued->token = token;
    queued->range = (struct bulk_range){ command->transfer, command->offset, command->size };
    queued->data = data;
    list_append(&outgoing->queue, &queued->of_outgoing);
    send_queued(outgoing);
}

/* Ranges of the transfer that no connection has been given yet go over to the first lane's. */
static void change_lanes(struct transfers *transfers, const struct agent_pull *command)
{
    LIST_EACH (at, &transfers->outgoing) {
        struct outgoing *from = CONTAINER_OF(at, struct outgoing, all);
        if (!leads_to(from, command->peer) || from->stream < PULL_STREAMS_MAX) {
            continue;
        }
        LIST_EACH_SAFE (queued_at, &from->queue) {
            struct queued *queued = CONTAINER_OF(queued_at, struct queued, of_outgoing);
            bool is_meant = queued->range.token == command->transfer;
            struct outgoing *to = is_meant ? outgoing_to(transfers, command->peer, from->stream % PULL_STREAMS_MAX)
                                           : NULL;
            if (to != NULL) {
                list_remove(&queued->of_outgoing);
                list_append(&to->queue, &queued->of_outgoing);
                send_queued(to);
            }
        }
    }
}

/* ------------------------------------------------------------------ what a ref means */

static int resolve(const struct store *store, const struct wire_object *object, roost_ref ref,
                   struct agent_opened *opened_out)
{
    struct agent_opened opened = { 0 };
    if (ref.offset == 0 && ref.size == ROOST_WHOLE) {
        uint64_t all = wire_object_bytes(object->size, object->columns, object->refs);
        *opened_out = (struct agent_opened){ 0, object->size, all - object->size };
        return 0;
    }
    struct store_place trailer = { object->place.offset + wire_columns_offset(object->size),
                                   object->columns * sizeof(uint64_t), object->place.segment };
    const uint64_t *ends = store_bytes(store, trailer);
    uint32_t columns = ends == NULL ? 0 : object->columns;
    int status = range_resolve(ref, object->size, ends, columns, &opened.offset, &opened.size);
    if (status == 0) {
        *opened_out = opened;
    }
    return status;
}

static void open_ref(struct transfers *transfers, uint64_t token, const struct agent_pull *command)
{
    struct agent_opened opened = { 0 };
    int status = resolve(transfers->store, &command->object, command->ref, &opened);
    answer(transfers, token, status, &opened);
}

void transfers_run(struct transfers *transfers, uint64_t token, const struct agent_pull *command)
{
    switch (command->op) {
    case AGENT_PULL_OPEN:
        open_ref(transfers, token, command);
        break;
    case AGENT_PULL_SEND:
        send(transfers, token, command);
        break;
    case AGENT_PULL_RECEIVE:
        receive(transfers, token, command);
        break;
    case AGENT_PULL_CANCEL:
        cancel(transfers, token, command->transfer);
        break;
    case AGENT_PULL_RAISE:
        change_lanes(transfers, command);
        break;
    }
}

/* ------------------------------------------------------------------ the whole */

int transfers_create(struct transfers **transfers_out, struct loop *loop, struct store *store,
                     struct endpoint_listener *messages, const struct transfer_owner *owner)
{
    struct transfers *transfers = calloc(1, sizeof *transfers);
    if (transfers == NULL) {
        return ROOST_ENOMEM;
    }
    *transfers = (struct transfers){ .loop = loop, .store = store, .owner = *owner };
    struct list_node *lists[] = { &transfers->incoming, &transfers->outgoing, &transfers->due, &transfers->answers,
                                  &transfers->accepted };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        list_init(lists[i]);
    }
    int status = bulk_stream_ops.listen(loop, messages, TRANSFER_FIRST_RANGE_MS, TRANSFER_CONNECTIONS_MAX,
                                        &accepted_handler, transfers, &transfers->listener);
    if (status != 0) {
        free(transfers);
        return status;
    }
    *transfers_out = transfers;
    return 0;
}

void transfers_stop(struct transfers *transfers)
{
    transfers->is_ending = true;
    bulk_stream_ops.listener_close(transfers->listener);
    transfers->listener = NULL;
    LIST_EACH (at, &transfers->outgoing) {
        bulk_close(CONTAINER_OF(at, struct outgoing, all)->bulk);
    }
    LIST_EACH (at, &transfers->accepted) {
        bulk_close(CONTAINER_OF(at, struct accepted, all)->bulk);
    }
}

void transfers_destroy(struct transfers *transfers)
{
    if (transfers == NULL) {
        return;
    }
    LIST_EACH_SAFE (at, &transfers->answers) {
        free(CONTAINER_OF(at, struct answer, due));
    }
    LIST_EACH_SAFE (at, &transfers->incoming) {
        incoming_destroy(transfers, CONTAINER_OF(at, struct incoming, all));
    }
    id_map_fini(&transfers->incoming_by_transfer);
    free(transfers);
}

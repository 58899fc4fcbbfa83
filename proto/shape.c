/* shape.c - the table of every field: the two structs tied together, and the range of each
 *
 * Owns nothing but constants. A row names a member of our struct and a member of protobuf-c's; the macros refuse to
 * compile when their types do not fit the kind. The order of rows is the order of the .proto file, for the reader's
 * sake.
 */
#include "common/bytes.h"
#include "proto/shape_internal.h"

#define ASSERTED_(condition)    (0 * sizeof(char[(condition) ? 1 : -1]))
#define MEMBER_(type, member)   (((type *)0)->member)
#define IS_(type, member, what) ASSERTED_(__builtin_types_compatible_p(__typeof__(MEMBER_(type, member)), what))
#define SIZED_(type, member, n) ASSERTED_(sizeof(MEMBER_(type, member)) == (n))

#define ROW_(name_, kind_, ours_, wire_, checks_, ...)                                          \
    {                                                                                           \
        .name = #name_, .kind = (kind_), .ours = (uint16_t)(offsetof(OURS, ours_) + (checks_)), \
        .wire = (uint16_t)offsetof(WIRE, wire_), __VA_ARGS__                                    \
    }

#define ID_AT_(name_, ours_, min_) \
    ROW_(name_, FIELD_ID, ours_, name_, SIZED_(OURS, ours_, 16) + IS_(WIRE, name_, ProtobufCBinaryData), .min = (min_))
#define ID(name)         ID_AT_(name, name, 1)
#define ID_OR_NONE(name) ID_AT_(name, name, 0)
#define ENUM(name, max_) \
    ROW_(name, FIELD_U32, name, name, SIZED_(OURS, name, 4) + IS_(WIRE, name, uint32_t), .min = 1, .max = (max_))
#define U32(name, min_, max_)                                                                               \
    ROW_(name, FIELD_U32, name, name, IS_(OURS, name, uint32_t) + IS_(WIRE, name, uint32_t), .min = (min_), \
         .max = (max_))
#define U64(name, min_, max_)                                                                               \
    ROW_(name, FIELD_U64, name, name, IS_(OURS, name, uint64_t) + IS_(WIRE, name, uint64_t), .min = (min_), \
         .max = (max_))
#define U64_AT(name, ours, max_) \
    ROW_(name, FIELD_U64, ours, name, IS_(OURS, ours, uint64_t) + IS_(WIRE, name, uint64_t), .max = (max_))
#define STATUS(name) \
    ROW_(name, FIELD_I32, name, name, IS_(OURS, name, int32_t) + IS_(WIRE, name, int32_t), .min = 0, .max = INT32_MAX)
#define I32(name) \
    ROW_(name, FIELD_I32, name, name, IS_(OURS, name, int32_t) + IS_(WIRE, name, int32_t), .min = 1, .max = INT32_MAX)
#define BOOL(name) \
    ROW_(name, FIELD_BOOL, name, name, IS_(OURS, name, bool) + IS_(WIRE, name, protobuf_c_boolean), .max = 1)
#define TEXT(name, max_)                                                                                     \
    ROW_(name, FIELD_TEXT, name, name, IS_(OURS, name, const char *) + IS_(WIRE, name, ProtobufCBinaryData), \
         .max = (max_))
#define BYTES(name, min_, max_, check_)                                                                             \
    ROW_(name, FIELD_BYTES, name, name, IS_(OURS, name, struct proto_bytes) + IS_(WIRE, name, ProtobufCBinaryData), \
         .min = (min_), .max = (max_), .check = (check_))
#define IDS(name, max_)                                                                                             \
    ROW_(name, FIELD_IDS, name, name, IS_(OURS, name, struct proto_objects) + IS_(WIRE, name, ProtobufCBinaryData), \
         .max = (max_))
#define NUMBERS(name, max_)                                                                                    \
    ROW_(name, FIELD_NUMBERS, name, name, IS_(OURS, name, struct proto_holders) + IS_(WIRE, name, uint32_t *), \
         .wire_count = offsetof(WIRE, n_##name), .max = (max_))
#define TEXTS(name, max_)                                                                                              \
    ROW_(name, FIELD_TEXTS, name, name, IS_(OURS, name, const char *const *) + IS_(WIRE, name, ProtobufCBinaryData *), \
         .ours_count = offsetof(OURS, name##_count), .wire_count = offsetof(WIRE, n_##name), .max = (max_))
#define PART(name, type) ROW_(name, FIELD_PART, name, name, IS_(OURS, name, struct type), .shape = &type##_shape)
#define OPTIONAL(name, type) \
    ROW_(name, FIELD_OPTIONAL, name, name, IS_(OURS, name, const struct type *), .shape = &type##_shape)
#define LIST(name, count, type, max_)                                                                             \
    ROW_(name, FIELD_LIST, name, name, IS_(OURS, name, const struct type *), .ours_count = offsetof(OURS, count), \
         .wire_count = offsetof(WIRE, n_##name), .max = (max_), .shape = &type##_shape)

/* SHAPE(type, wire type, its descriptor, rule) stands after the rows of `type`_fields. */
#define SHAPE(type, wire, descriptor_, rule_)                                               \
    const struct shape type##_shape = { type##_fields,       ROOST_COUNT_OF(type##_fields), \
                                        sizeof(struct type), sizeof(wire),                  \
                                        &(descriptor_),      (rule_) };

enum { PID_MAX = INT32_MAX, SPEC_BYTES_MAX = PROTO_FRAME_BYTES_MAX - (64 << 10) };
#define ANY UINT64_MAX

/* ---------------------------------------------------------------------------------------------- parts */

#define OURS struct proto_content
#define WIRE Roost__V1__Content
static const struct field proto_content_fields[] = {
    U64(size, 0, ROOST_OBJECT_BYTES_MAX), U64(fingerprint, 0, ANY),         U32(version, 0, UINT32_MAX),
    U32(columns, 0, ROOST_COLUMNS_MAX),   U32(format, 0, PROTO_FORMAT_MAX),
};
static SHAPE(proto_content, WIRE, roost__v1__content__descriptor, NULL)
#undef OURS
#undef WIRE

    static const char *failure_rule(const void *ours)
{
    const struct proto_failure *failure = ours;
    return failure->status == 0 ? "status is 0" : NULL;
}

#define OURS struct proto_failure
#define WIRE Roost__V1__Failure
static const struct field proto_failure_fields[] = {
    STATUS(status),
    I32(app_code),
    U32(signal, 0, 64),
    U32(attempts, 0, UINT32_MAX),
    U64(pid, 0, PID_MAX),
    TEXT(function, ROOST_NAME_BYTES_MAX),
    TEXT(node, PROTO_ADDRESS_BYTES_MAX),
    TEXT(text, PROTO_TEXT_BYTES_MAX),
};
static SHAPE(proto_failure, WIRE, roost__v1__failure__descriptor, failure_rule)
#undef OURS
#undef WIRE

#define OURS struct proto_names
#define WIRE Roost__V1__Names
    static const struct field proto_names_fields[] = {
        IDS(objects, PROTO_OBJECTS_MAX),
    };
static SHAPE(proto_names, WIRE, roost__v1__names__descriptor, NULL)
#undef OURS
#undef WIRE

    /* A value rides along only for a sealed object, and is all of it. */
    static const char *value_rule(bool sealed, bool has_value, struct proto_bytes value, struct proto_content content)
{
    if (has_value && !sealed) {
        return "a value of an object that is not sealed";
    }
    return value.size == (has_value ? content.size : 0) ? NULL : "the value is not as long as the object";
}

/* ---------------------------------------------------------------------------------------------- hello */

static const char *hello_rule(const void *ours)
{
    const struct proto_hello *hello = ours;
    if (hello->version_min > hello->version_max) {
        return "version_min is above version_max";
    }
    if (hello->role != PROTO_ROLE_COMMAND && node_id_is_none(hello->node)) {
        return "no node id";
    }
    return NULL;
}

#define OURS struct proto_hello
#define WIRE Roost__V1__Hello
static const struct field proto_hello_fields[] = {
    U32(version_min, 1, UINT16_MAX),
    U32(version_max, 1, UINT16_MAX),
    U64(session, 1, ANY),
    U64(session_peer, 0, ANY),
    U32(seen, 0, UINT32_MAX),
    U32(credit_bytes, PROTO_FRAME_BYTES_MAX, PROTO_CREDIT_BYTES),
    U64(features, 0, ANY),
    ENUM(role, PROTO_ROLE_COMMAND),
    ID_OR_NONE(node),
    ID_OR_NONE(cluster),
    U64(epoch, 0, ANY),
    U32(number, 0, NODES_MAX - 1),
    U32(incarnation, 0, UINT32_MAX),
    BYTES(token, 0, PROTO_TOKEN_BYTES_MAX, CHECK_NOTHING),
    U64(memory_domain, 0, ANY),
    TEXT(host, PROTO_ADDRESS_BYTES_MAX),
    TEXT(address, PROTO_ADDRESS_BYTES_MAX),
    U32(cpus_hundredths, 0, UINT32_MAX),
    U64(memory_bytes, 0, ROOST_OBJECT_BYTES_MAX),
    U64(store_bytes, 0, ROOST_OBJECT_BYTES_MAX),
    U64(pid, 0, PID_MAX),
    TEXT(labels, PROTO_TEXT_BYTES_MAX),
    U64(news, 0, ANY),
};
SHAPE(proto_hello, WIRE, roost__v1__hello__descriptor, hello_rule)
#undef OURS
#undef WIRE

static const char *refusal_rule(const void *ours)
{
    return ((const struct proto_refusal *)ours)->status == 0 ? "status is 0" : NULL;
}

#define OURS struct proto_refusal
#define WIRE Roost__V1__Refusal
static const struct field proto_refusal_fields[] = {
    STATUS(status),
    TEXT(text, PROTO_TEXT_BYTES_MAX),
};
SHAPE(proto_refusal, WIRE, roost__v1__refusal__descriptor, refusal_rule)
#undef OURS
#undef WIRE

/* ---------------------------------------------------------------------------------------------- agent to head */

static const char *publish_rule(const void *ours)
{
    const struct proto_publish *publish = ours;
    if ((publish->failure != NULL) != (publish->state == PROTO_FAILED)) {
        return "a failure and its state do not agree";
    }
    return value_rule(publish->state == PROTO_SEALED, publish->has_value, publish->value, publish->content);
}

#define OURS struct proto_publish
#define WIRE Roost__V1__Publish
static const struct field proto_publish_fields[] = {
    ID(object),
    ENUM(state, PROTO_FAILED),
    ID_OR_NONE(task),
    PART(content, proto_content),
    BOOL(located),
    BOOL(has_value),
    BYTES(value, 0, ROOST_SMALL_BYTES, CHECK_NOTHING),
    IDS(contained, PROTO_OBJECTS_MAX),
    BYTES(spec, 0, SPEC_BYTES_MAX, CHECK_SPEC),
    OPTIONAL(failure, proto_failure),
};
static SHAPE(proto_publish, WIRE, roost__v1__publish__descriptor, publish_rule)
#undef OURS
#undef WIRE

#define OURS struct proto_edges
#define WIRE Roost__V1__Edges
    static const struct field proto_edges_fields[] = {
        ID(object),
        IDS(contained, PROTO_OBJECTS_MAX),
    };
static SHAPE(proto_edges, WIRE, roost__v1__edges__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_submit
#define WIRE Roost__V1__Submit
    static const struct field proto_submit_fields[] = {
        ID(task),
        BYTES(spec, 1, SPEC_BYTES_MAX, CHECK_SPEC),
        IDS(missing, PROTO_OBJECTS_MAX),
        BOOL(handed_back),
    };
static SHAPE(proto_submit, WIRE, roost__v1__submit__descriptor, NULL)
#undef OURS
#undef WIRE

    static const char *return_rule(const void *ours)
{
    const struct proto_return *item = ours;
    return value_rule(true, item->has_value, item->value, item->content);
}

#define OURS struct proto_return
#define WIRE Roost__V1__Return
static const struct field proto_return_fields[] = {
    ID(object),
    PART(content, proto_content),
    BOOL(located),
    BOOL(has_value),
    BYTES(value, 0, ROOST_SMALL_BYTES, CHECK_NOTHING),
    IDS(contained, PROTO_OBJECTS_MAX),
};
static SHAPE(proto_return, WIRE, roost__v1__return__descriptor, return_rule)
#undef OURS
#undef WIRE

    static const char *complete_rule(const void *ours)
{
    const struct proto_complete *complete = ours;
    return complete->failure != NULL && complete->returns_count > 0 ? "a failure with returns" : NULL;
}

#define OURS struct proto_complete
#define WIRE Roost__V1__Complete
static const struct field proto_complete_fields[] = {
    ID(task),   U32(attempt, 0, UINT32_MAX),      U64(duration_ns, 0, ANY),
    BOOL(died), OPTIONAL(failure, proto_failure), LIST(returns, returns_count, proto_return, ROOST_RETURNS_MAX),
};
static SHAPE(proto_complete, WIRE, roost__v1__complete__descriptor, complete_rule)
#undef OURS
#undef WIRE

#define OURS struct proto_handback
#define WIRE Roost__V1__Handback
    static const struct field proto_handback_fields[] = {
        ID(task),
        U32(attempt, 0, UINT32_MAX),
        ENUM(reason, PROTO_HANDBACK_AGAIN),
        TEXT(text, PROTO_TEXT_BYTES_MAX),
    };
static SHAPE(proto_handback, WIRE, roost__v1__handback__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_location
#define WIRE Roost__V1__Location
    static const struct field proto_location_fields[] = {
        ID(object),
        BOOL(added),
        PART(content, proto_content),
    };
static SHAPE(proto_location, WIRE, roost__v1__location__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_locations
#define WIRE Roost__V1__Locations
    static const struct field proto_locations_fields[] = {
        LIST(items, count, proto_location, PROTO_ITEMS_MAX),
    };
static SHAPE(proto_locations, WIRE, roost__v1__locations__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_progress_item
#define WIRE Roost__V1__ProgressItem
    static const struct field proto_progress_item_fields[] = {
        ID(task),
        U32(attempt, 0, UINT32_MAX),
        U32(source, 0, NODES_MAX - 1),
        U64(bytes, 0, ROOST_OBJECT_BYTES_MAX * 2),
    };
static SHAPE(proto_progress_item, WIRE, roost__v1__progress_item__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_progress
#define WIRE Roost__V1__Progress
    static const struct field proto_progress_fields[] = {
        LIST(items, count, proto_progress_item, PROTO_ITEMS_MAX),
    };
static SHAPE(proto_progress, WIRE, roost__v1__progress__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_job_open
#define WIRE Roost__V1__JobOpen
    static const struct field proto_job_open_fields[] = {
        ID(job),
        TEXT(name, PROTO_TEXT_BYTES_MAX),
        U64(driver_pid, 0, PID_MAX),
        BYTES(spec, 1, PROTO_JOB_BYTES_MAX, CHECK_JOB),
    };
static SHAPE(proto_job_open, WIRE, roost__v1__job_open__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_job_end
#define WIRE Roost__V1__JobEnd
    static const struct field proto_job_end_fields[] = {
        ID(job),
    };
static SHAPE(proto_job_end, WIRE, roost__v1__job_end__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_pulled
#define WIRE Roost__V1__Pulled
    static const struct field proto_pulled_fields[] = {
        U32(node, 0, NODES_MAX - 1),
        U64(bytes, 0, ANY),
    };
static SHAPE(proto_pulled, WIRE, roost__v1__pulled__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_load
#define WIRE Roost__V1__Load
    static const struct field proto_load_fields[] = {
        U32(cpus_free_hundredths, 0, UINT32_MAX),
        U64(memory_free_bytes, 0, ROOST_OBJECT_BYTES_MAX),
        U64(store_free_bytes, 0, ROOST_OBJECT_BYTES_MAX),
        U64(store_used_bytes, 0, ROOST_OBJECT_BYTES_MAX),
        U32(queued, 0, UINT32_MAX),
        U32(running, 0, UINT32_MAX),
        U32(workers, 0, UINT32_MAX),
        U64(attempts_done, 0, ANY),
        LIST(pulled, pulled_count, proto_pulled, PULL_PEERS_COUNTED_MAX + 1),
        U32(blocked_hundredths, 0, UINT32_MAX),
        U32(leased, 0, UINT32_MAX),
    };
static SHAPE(proto_load, WIRE, roost__v1__load__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_list_mark
#define WIRE Roost__V1__ListMark
    static const struct field proto_list_mark_fields[] = {
        U32(list, 1, UINT32_MAX),
    };
static SHAPE(proto_list_mark, WIRE, roost__v1__list_mark__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_list_object
#define WIRE Roost__V1__ListObject
    static const struct field proto_list_object_fields[] = {
        ID(object), BOOL(held), BOOL(stored), ENUM(state, PROTO_LOST), PART(content, proto_content), ID_OR_NONE(task),
    };
static SHAPE(proto_list_object, WIRE, roost__v1__list_object__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_list_objects
#define WIRE Roost__V1__ListObjects
    static const struct field proto_list_objects_fields[] = {
        LIST(items, count, proto_list_object, PROTO_ITEMS_MAX),
    };
static SHAPE(proto_list_objects, WIRE, roost__v1__list_objects__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_list_task
#define WIRE Roost__V1__ListTask
    static const struct field proto_list_task_fields[] = {
        ID(task),
        U32(attempt, 0, UINT32_MAX),
        ENUM(state, PROTO_TASK_LOCAL),
        BYTES(spec, 0, SPEC_BYTES_MAX, CHECK_SPEC),
    };
static SHAPE(proto_list_task, WIRE, roost__v1__list_task__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_list_tasks
#define WIRE Roost__V1__ListTasks
    static const struct field proto_list_tasks_fields[] = {
        LIST(items, count, proto_list_task, PROTO_ITEMS_MAX),
    };
static SHAPE(proto_list_tasks, WIRE, roost__v1__list_tasks__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_output
#define WIRE Roost__V1__Output
    static const struct field proto_output_fields[] = {
        ID(job),
        U32(node, 0, NODES_MAX - 1),
        U64(pid, 0, PID_MAX),
        TEXT(function, ROOST_NAME_BYTES_MAX),
        ENUM(stream, PROTO_STDERR),
        U32(dropped, 0, UINT32_MAX),
        BYTES(bytes, 0, PROTO_OUTPUT_BYTES_MAX, CHECK_NOTHING),
    };
static SHAPE(proto_output, WIRE, roost__v1__output__descriptor, NULL)
#undef OURS
#undef WIRE

/* ---------------------------------------------------------------------------------------------- head to agent */

#define OURS struct proto_welcome
#define WIRE Roost__V1__Welcome
    static const struct field proto_welcome_fields[] = {
        ID(cluster),
        U64(epoch, 1, ANY),
        U32(number, 1, NODES_MAX - 1),
        U32(incarnation, 1, UINT32_MAX),
    };
static SHAPE(proto_welcome, WIRE, roost__v1__welcome__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_node
#define WIRE Roost__V1__Node
    static const struct field proto_node_fields[] = {
        ID(id),
        U32(number, 1, NODES_MAX - 1),
        U32(incarnation, 1, UINT32_MAX),
        ENUM(state, PROTO_NODE_DEAD),
        TEXT(host, PROTO_ADDRESS_BYTES_MAX),
        TEXT(address, PROTO_ADDRESS_BYTES_MAX),
        TEXT(labels, PROTO_TEXT_BYTES_MAX),
        U64(memory_domain, 0, ANY),
        U32(cpus_hundredths, 0, UINT32_MAX),
        U64(memory_bytes, 0, ROOST_OBJECT_BYTES_MAX),
        U64(store_bytes, 0, ROOST_OBJECT_BYTES_MAX),
    };
static SHAPE(proto_node, WIRE, roost__v1__node__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_nodes
#define WIRE Roost__V1__Nodes
    static const struct field proto_nodes_fields[] = {
        LIST(items, count, proto_node, PROTO_ITEMS_MAX),
        U64(news, 0, ANY),
    };
static SHAPE(proto_nodes, WIRE, roost__v1__nodes__descriptor, NULL)
#undef OURS
#undef WIRE

    static const char *task_arg_rule(const void *ours)
{
    const struct proto_task_arg *arg = ours;
    return value_rule(true, arg->has_value, arg->value, arg->content);
}

#define OURS struct proto_task_arg
#define WIRE Roost__V1__TaskArg
static const struct field proto_task_arg_fields[] = {
    ID(object),
    PART(content, proto_content),
    BOOL(has_value),
    BYTES(value, 0, ROOST_SMALL_BYTES, CHECK_NOTHING),
    NUMBERS(holders, PROTO_HOLDERS_MAX),
};
static SHAPE(proto_task_arg, WIRE, roost__v1__task_arg__descriptor, task_arg_rule)
#undef OURS
#undef WIRE

#define OURS struct proto_task
#define WIRE Roost__V1__Task
    static const struct field proto_task_fields[] = {
        ID(task),
        U32(attempt, 0, UINT32_MAX),
        BYTES(spec, 1, SPEC_BYTES_MAX, CHECK_SPEC),
        LIST(args, args_count, proto_task_arg, ROOST_ARGS_MAX),
    };
static SHAPE(proto_task, WIRE, roost__v1__task__descriptor, NULL)
#undef OURS
#undef WIRE

    static const char *found_rule(const void *ours)
{
    const struct proto_found *found = ours;
    if (found->failure != NULL && found->state != PROTO_FAILED && found->state != PROTO_LOST) {
        return "a failure of what has not failed";
    }
    if (found->failure == NULL && found->state == PROTO_FAILED) {
        return "failed without a failure";
    }
    return value_rule(found->state == PROTO_SEALED, found->has_value, found->value, found->content);
}

#define OURS struct proto_found
#define WIRE Roost__V1__Found
static const struct field proto_found_fields[] = {
    ID(object),
    ENUM(state, PROTO_FREED),
    PART(content, proto_content),
    BOOL(has_value),
    BYTES(value, 0, ROOST_SMALL_BYTES, CHECK_NOTHING),
    NUMBERS(holders, PROTO_HOLDERS_MAX),
    OPTIONAL(failure, proto_failure),
};
static SHAPE(proto_found, WIRE, roost__v1__found__descriptor, found_rule)
#undef OURS
#undef WIRE

#define OURS struct proto_dead
#define WIRE Roost__V1__Dead
    static const struct field proto_dead_fields[] = {
        U32(node, 1, NODES_MAX - 1),
        U32(incarnation, 1, UINT32_MAX),
    };
static SHAPE(proto_dead, WIRE, roost__v1__dead__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_cancel
#define WIRE Roost__V1__Cancel
    static const struct field proto_cancel_fields[] = {
        ID(task),
        U32(attempt, 0, UINT32_MAX),
        BOOL(force),
    };
static SHAPE(proto_cancel, WIRE, roost__v1__cancel__descriptor, NULL)
#undef OURS
#undef WIRE

    /* ---------------------------------------------------------------------------------------------- agent to agent */

    static const char *pull_rule(const void *ours)
{
    const roost_ref *ref = &((const struct proto_pull *)ours)->ref;
    if (ref->size == ROOST_WHOLE) {
        return ref->offset <= ROOST_OBJECT_BYTES_MAX ? NULL : "a rest outside every object";
    }
    if (ref->size == ROOST_COLUMN) {
        return ref->offset < ROOST_COLUMNS_MAX ? NULL : "no object has so many columns";
    }
    return range_is_inside(ref->offset, ref->size, ROOST_OBJECT_BYTES_MAX) ? NULL : "a range outside every object";
}

#define OURS struct proto_pull
#define WIRE Roost__V1__Pull
static const struct field proto_pull_fields[] = {
    U64(token, 0, ANY),          ID_AT_(object, ref.id, 1),           U64_AT(offset, ref.offset, ANY),
    U64_AT(size, ref.size, ANY), ENUM(priority, PROTO_PULL_PREFETCH),
};
static SHAPE(proto_pull, WIRE, roost__v1__pull__descriptor, pull_rule)
#undef OURS
#undef WIRE

    /* The trailer of a whole object is its columns' ends and its refs, from the next multiple of 8 on. */
    static const char *pull_answer_rule(const void *ours)
{
    const struct proto_pull_answer *answer = ours;
    const struct proto_content *content = &answer->content;
    uint64_t trailer = align_up(content->size, 8) - content->size + content->columns * sizeof(uint64_t) +
                       answer->refs_count * sizeof(roost_ref);
    if (answer->trailer_bytes == 0) {
        return answer->refs_count == 0 ? NULL : "refs without a trailer";
    }
    return answer->trailer_bytes == trailer ? NULL : "the trailer is not that of the columns and refs";
}

#define OURS struct proto_pull_answer
#define WIRE Roost__V1__PullAnswer
static const struct field proto_pull_answer_fields[] = {
    U64(token, 0, ANY),
    STATUS(status),
    PART(content, proto_content),
    U64(offset, 0, ROOST_OBJECT_BYTES_MAX),
    U32(refs_count, 0, ROOST_GATHER_MAX),
    U64(trailer_bytes, 0, PROTO_TRAILER_BYTES_MAX),
};
static SHAPE(proto_pull_answer, WIRE, roost__v1__pull_answer__descriptor, pull_answer_rule)
#undef OURS
#undef WIRE

    static const char *pull_stream_rule(const void *ours)
{
    const struct proto_pull_stream *piece = ours;
    return range_is_inside(piece->offset, piece->size, ROOST_OBJECT_BYTES_MAX + PROTO_TRAILER_BYTES_MAX)
               ? NULL
               : "a range outside every object";
}

#define OURS struct proto_pull_stream
#define WIRE Roost__V1__PullStream
static const struct field proto_pull_stream_fields[] = {
    U64(token, 0, ANY),
    U32(stream, 0, PULL_LANES *PULL_STREAMS_MAX - 1),
    U64(offset, 0, ANY),
    U64(size, 0, ANY),
};
static SHAPE(proto_pull_stream, WIRE, roost__v1__pull_stream__descriptor, pull_stream_rule)
#undef OURS
#undef WIRE

#define OURS struct proto_pull_done
#define WIRE Roost__V1__PullDone
    static const struct field proto_pull_done_fields[] = {
        U64(token, 0, ANY),
        STATUS(status),
    };
static SHAPE(proto_pull_done, WIRE, roost__v1__pull_done__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_pull_cancel
#define WIRE Roost__V1__PullCancel
    static const struct field proto_pull_cancel_fields[] = {
        U64(token, 0, ANY),
    };
static SHAPE(proto_pull_cancel, WIRE, roost__v1__pull_cancel__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_transit
#define WIRE Roost__V1__Transit
    static const struct field proto_transit_fields[] = {
        U64(message, 1, ANY),
        IDS(objects, PROTO_OBJECTS_MAX),
    };
static SHAPE(proto_transit, WIRE, roost__v1__transit__descriptor, NULL)
#undef OURS
#undef WIRE

#define OURS struct proto_transit_ack
#define WIRE Roost__V1__TransitAck
    static const struct field proto_transit_ack_fields[] = {
        U64(message, 1, ANY),
    };
static SHAPE(proto_transit_ack, WIRE, roost__v1__transit_ack__descriptor, NULL)
#undef OURS
#undef WIRE

/* ---------------------------------------------------------------------------------------------- command and head */

#define OURS struct proto_query
#define WIRE Roost__V1__Query
    static const struct field proto_query_fields[] = {
        U32(query, 0, UINT32_MAX),
        ENUM(what, PROTO_QUERY_PULLS),
        U32(limit, 0, PROTO_ROWS_MAX),
        TEXT(filter, PROTO_TEXT_BYTES_MAX),
    };
static SHAPE(proto_query, WIRE, roost__v1__query__descriptor, NULL)
#undef OURS
#undef WIRE

    static const char *rows_rule(const void *ours)
{
    const struct proto_rows *rows = ours;
    if (rows->columns_count == 0) {
        return rows->cells_count == 0 ? NULL : "cells without columns";
    }
    return rows->cells_count % rows->columns_count == 0 ? NULL : "a row in part";
}

#define OURS struct proto_rows
#define WIRE Roost__V1__Rows
static const struct field proto_rows_fields[] = {
    U32(query, 0, UINT32_MAX),
    STATUS(status),
    TEXT(text, PROTO_TEXT_BYTES_MAX),
    BOOL(last),
    U64(total, 0, ANY),
    TEXTS(columns, PROTO_COLUMNS_MAX),
    TEXTS(cells, PROTO_CELLS_MAX),
};
static SHAPE(proto_rows, WIRE, roost__v1__rows__descriptor, rows_rule)
#undef OURS
#undef WIRE

#define OURS struct proto_stop
#define WIRE Roost__V1__Stop
    static const struct field proto_stop_fields[] = {
        BOOL(drain),
        U32(node, 0, NODES_MAX - 1),
    };
static SHAPE(proto_stop, WIRE, roost__v1__stop__descriptor, NULL)
#undef OURS
#undef WIRE

/* ---------------------------------------------------------------------------------------------- kinds */

#define PROTO_X_(kind, number, member, type)                                                                           \
    _Static_assert((int)ROOST__V1__MESSAGE__BODY_##kind == (number), "message.h and roost.proto number it otherwise"); \
    _Static_assert(offsetof(Roost__V1__Message, member) == offsetof(Roost__V1__Message, publish), "not in the oneof");
    PROTO_MESSAGE_MAP(PROTO_X_)
#undef PROTO_X_

        static const struct shape_of_kind shapes[PROTO_KIND_END] = {
#define PROTO_X_(kind, number, member, type) \
    [number] = { #kind, &type##_shape, offsetof(struct proto_message, u.member) },
            PROTO_MESSAGE_MAP(PROTO_X_)
#undef PROTO_X_
        };

const struct shape_of_kind *shape_of_kind(enum proto_kind kind)
{
    return kind > 0 && kind < PROTO_KIND_END && shapes[kind].name != NULL ? &shapes[kind] : NULL;
}

const char *proto_kind_name(enum proto_kind kind)
{
    const struct shape_of_kind *found = shape_of_kind(kind);
    return found != NULL ? found->name : "?";
}

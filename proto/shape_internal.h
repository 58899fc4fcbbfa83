/* shape_internal.h - where each field of each message lies, decoded and in protobuf-c's form, and what it may hold
 *
 * One table per struct, in shape.c; decode.c and encode.c walk them. A new field is a line in roost.proto, one in
 * message.h and one here. */
#ifndef ROOST_PROTO_SHAPE_INTERNAL_H
#define ROOST_PROTO_SHAPE_INTERNAL_H

#include "proto/message.h"

#include "roost.pb-c.h"

enum field_kind {
    FIELD_ID,  /* 16 bytes; may be none, then absent, if min is 0 */
    FIELD_U32, /* also enums: min to max */
    FIELD_I32, /* -max to max, or only negative or 0 if min is 0 */
    FIELD_U64, /* min to max */
    FIELD_BOOL,
    FIELD_TEXT,     /* min to max bytes, no NUL among them */
    FIELD_BYTES,    /* min to max bytes */
    FIELD_IDS,      /* struct proto_objects, at most max, none of them none */
    FIELD_NUMBERS,  /* struct proto_holders, at most max */
    FIELD_TEXTS,    /* const char *const *, at most max of them */
    FIELD_PART,     /* a struct inside ours; `shape` */
    FIELD_OPTIONAL, /* a pointer to a struct, or NULL; `shape` */
    FIELD_LIST      /* an array of structs, min to max of them; `shape` */
};

enum field_check { CHECK_NOTHING, CHECK_SPEC, CHECK_JOB };

struct shape;

struct field {
    const char *name;
    enum field_kind kind;
    enum field_check check;    /* of BYTES that are not empty */
    uint16_t ours, ours_count; /* offsets in the struct of message.h */
    uint16_t wire, wire_count; /* offsets in the struct of roost.pb-c.h */
    uint64_t min, max;
    const struct shape *shape;
};

struct shape {
    const struct field *fields;
    uint32_t count;
    uint32_t ours_bytes, wire_bytes;
    const ProtobufCMessageDescriptor *descriptor;
    /* What must hold between fields: NULL, or what does not, in words. May be NULL itself. */
    const char *(*rule)(const void *ours);
};

/* The shape of a message kind, its name and where its struct lies in struct proto_message; NULL for no kind. */
struct shape_of_kind {
    const char *name;
    const struct shape *shape;
    size_t ours;
};
const struct shape_of_kind *shape_of_kind(enum proto_kind kind);

extern const struct shape proto_hello_shape, proto_refusal_shape;

static inline void *field_at(void *base, size_t offset) { return (unsigned char *)base + offset; }
static inline const void *field_in(const void *base, size_t offset) { return (const unsigned char *)base + offset; }

/* Is `ours`, all its lists and parts included, within the table? 0, or ROOST_EINVAL or ROOST_ETOOBIG with a text that
 * names the field and the limit. The same check on the way in and on the way out: what can be sent can be read. */
int shape_check(const struct shape *shape, const void *ours);

#endif

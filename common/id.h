/* id.h - what things are called
 *
 * Every kind of thing has an id type of its own, 128 bits wide, never reused; all zero means "none". Mixing two kinds
 * does not compile. Object and task ids are hashes (hash.h) or carry their maker's prefix; the others are random. */
#ifndef ROOST_COMMON_ID_H
#define ROOST_COMMON_ID_H

#include <roost.h>
#include <stdbool.h>
#include <stdint.h>

/* The bits of any id: the key of an id_map. */
struct id_key {
    uint64_t hi, lo;
};

enum { ID_TEXT_BYTES = 33 };

/* 32 lower-case hex digits and a NUL. Returns `text_out`. */
char *id_print(struct id_key id, char text_out[ID_TEXT_BYTES]);

/* Reads what id_print wrote, exactly 32 digits. ROOST_EINVAL otherwise. */
int id_parse(const char *text, struct id_key *id_out);

/* 128 random bits, never zero. Not for cores: ids come to them in events. */
struct id_key id_random(void);

static inline bool id_key_eq(struct id_key a, struct id_key b) { return a.hi == b.hi && a.lo == b.lo; }

/* Total order, for places where order must not depend on memory. */
static inline int id_key_compare(struct id_key a, struct id_key b)
{
    if (a.hi != b.hi) {
        return a.hi < b.hi ? -1 : 1;
    }
    return a.lo == b.lo ? 0 : (a.lo < b.lo ? -1 : 1);
}

#define ID_TYPE_(kind)                                                                                                \
    struct kind##_id {                                                                                                \
        uint64_t hi, lo;                                                                                              \
    };                                                                                                                \
    static inline bool kind##_id_eq(struct kind##_id a, struct kind##_id b) { return a.hi == b.hi && a.lo == b.lo; }  \
    static inline bool kind##_id_is_none(struct kind##_id id) { return (id.hi | id.lo) == 0; }                        \
    static inline struct id_key kind##_id_key(struct kind##_id id) { return (struct id_key){ id.hi, id.lo }; }        \
    static inline struct kind##_id kind##_id_from(struct id_key key) { return (struct kind##_id){ key.hi, key.lo }; } \
    static inline char *kind##_id_print(struct kind##_id id, char text_out[ID_TEXT_BYTES])                            \
    {                                                                                                                 \
        return id_print(kind##_id_key(id), text_out);                                                                 \
    }                                                                                                                 \
    struct kind##_id_ends_here_

ID_TYPE_(object);
ID_TYPE_(task);
ID_TYPE_(node);
ID_TYPE_(job);
ID_TYPE_(cluster);

/* The object that a public ref is about, whole. */
static inline struct object_id object_id_of(roost_ref ref) { return (struct object_id){ ref.id.hi, ref.id.lo }; }

/* A public ref to an object, whole. */
static inline roost_ref object_ref(struct object_id id)
{
    roost_ref ref = { { id.hi, id.lo }, 0, ROOST_WHOLE };
    return ref;
}

#endif

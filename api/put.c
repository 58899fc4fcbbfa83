/* put.c - bytes into the store: by copy, from a file, as a list of refs
 *
 * Happy path of roost_put: room (of the leased slab, or an extent from the agent) -> copy -> seal. For a small object
 * nobody else is asked or told: it is private to this process until its name leaves (api/core/objects.c).
 * Failures:   no room within the store's patience -> ROOST_EFULL. What fails after room was given gives it back.
 * Thread:     any; blocks only for room. */
#include "api/client.h"
#include "common/bytes.h"
#include "objectstore/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES_MAX = 1 << 30 }; /* Linux reads at most 2 GiB at once */

int client_put(struct roost *rt, uint64_t scope, const void *data, uint64_t size, const roost_ref *refs,
               uint32_t refs_count, enum table_format format, struct object_id *id_out)
{
    const struct object_draft draft = { .size = size, .refs = refs, .refs_count = refs_count, .format = format };
    uint64_t bytes = wire_object_bytes(size, 0, refs_count);
    if (size > 0 && bytes == 0) {
        return error_set(ROOST_ETOOBIG, "an object of %" PRIu64 " bytes, at most %" PRIu64 " (ROOST_OBJECT_BYTES_MAX)",
                         size, ROOST_OBJECT_BYTES_MAX);
    }
    struct room room;
    int status = rt->world->room(rt, scope, bytes, &room);
    if (status != 0) {
        return status;
    }
    if (size > 0) {
        store_copy(room.data, data, size);
    }
    room_write_trailer(&room, &draft);
    status = rt->world->seal(rt, scope, &room, &draft, id_out);
    if (status != 0) {
        rt->world->room_drop(rt, &room);
    }
    return status;
}

int roost_put(struct roost *rt, const void *data, size_t size, roost_ref *ref_out)
{
    int status = client_check(rt, "roost_put");
    if (status != 0) {
        return status;
    }
    if (ref_out == NULL || (data == NULL && size > 0)) {
        return error_set(ROOST_EINVAL, "roost_put: %s is NULL", ref_out == NULL ? "ref_out" : "data");
    }
    struct object_id id;
    status = client_put(rt, client_scope(rt), data, size, NULL, 0, TABLE_RAW, &id);
    if (status == 0) {
        *ref_out = object_ref(id);
    }
    return status;
}

int roost_put_refs(struct roost *rt, const roost_ref *refs, size_t count, roost_ref *ref_out)
{
    int status = client_check(rt, "roost_put_refs");
    if (status != 0) {
        return status;
    }
    if (ref_out == NULL || (refs == NULL && count > 0)) {
        return error_set(ROOST_EINVAL, "roost_put_refs: %s is NULL", ref_out == NULL ? "ref_out" : "refs");
    }
    if (count > ROOST_GATHER_MAX) {
        return error_set(ROOST_ETOOBIG, "roost_put_refs: %zu refs, at most %d (ROOST_GATHER_MAX)", count,
                         ROOST_GATHER_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (object_id_is_none(object_id_of(refs[i]))) {
            return error_set(ROOST_EINVAL, "roost_put_refs: ref %zu names nothing", i);
        }
    }
    struct object_id id;
    status = client_put(rt, client_scope(rt), refs, count * sizeof *refs, refs, (uint32_t)count, TABLE_REFS, &id);
    if (status == 0) {
        *ref_out = object_ref(id);
    }
    return status;
}

static int read_all(int fd, const char *path, uint64_t offset, unsigned char *to, uint64_t size)
{
    while (size > 0) {
        ssize_t got = pread(fd, to, size < READ_BYTES_MAX ? size : READ_BYTES_MAX, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return error_from_errno("roost_put_file: reading %s", path);
        }
        if (got == 0) {
            return error_set(ROOST_EIO, "roost_put_file: %s became shorter while it was read", path);
        }
        to += got;
        offset += (uint64_t)got;
        size -= (uint64_t)got;
    }
    return 0;
}

/* The range that is meant, inside the file. */
static int check_range(int fd, const char *path, uint64_t offset, uint64_t *size)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0) {
        return error_from_errno("roost_put_file: %s", path);
    }
    if (!S_ISREG(stat.st_mode)) {
        return error_set(ROOST_EINVAL, "roost_put_file: %s is not a regular file", path);
    }
    uint64_t file_bytes = (uint64_t)stat.st_size;
    if (*size == ROOST_WHOLE && offset <= file_bytes) {
        *size = file_bytes - offset;
    }
    if (!range_is_inside(offset, *size, file_bytes)) {
        return error_set(ROOST_ERANGE,
                         "roost_put_file: %" PRIu64 " bytes from byte %" PRIu64 " of %s, which has %" PRIu64, *size,
                         offset, path, file_bytes);
    }
    if (*size > ROOST_OBJECT_BYTES_MAX) {
        return error_set(ROOST_ETOOBIG,
                         "roost_put_file: %" PRIu64 " bytes, at most %" PRIu64 " (ROOST_OBJECT_BYTES_MAX)", *size,
                         ROOST_OBJECT_BYTES_MAX);
    }
    return 0;
}

static int put_fd(struct roost *rt, int fd, const char *path, uint64_t offset, uint64_t size, struct object_id *id_out)
{
    uint64_t scope = client_scope(rt);
    struct room room;
    int status = check_range(fd, path, offset, &size);
    if (status == 0) {
        status = rt->world->room(rt, scope, size, &room);
    }
    if (status != 0) {
        return status;
    }
    const struct object_draft draft = { .size = size, .format = TABLE_RAW };
    status = read_all(fd, path, offset, room.data, size);
    if (status == 0) {
        status = rt->world->seal(rt, scope, &room, &draft, id_out);
    }
    if (status != 0) {
        rt->world->room_drop(rt, &room);
    }
    return status;
}

int roost_put_file(struct roost *rt, const char *path, uint64_t offset, uint64_t size, roost_ref *ref_out)
{
    int status = client_check(rt, "roost_put_file");
    if (status != 0) {
        return status;
    }
    if (path == NULL || ref_out == NULL) {
        return error_set(ROOST_EINVAL, "roost_put_file: %s is NULL", path == NULL ? "path" : "ref_out");
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* of a pipe without a writer it would wait for one */
    if (fd < 0) {
        return error_from_errno("roost_put_file: opening %s", path);
    }
    struct object_id id;
    status = put_fd(rt, fd, path, offset, size, &id);
    close(fd);
    if (status == 0) {
        *ref_out = object_ref(id);
    }
    return status;
}

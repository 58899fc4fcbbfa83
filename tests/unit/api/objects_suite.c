/* What holds of objects in every world. */
#include "tests/lib/test.h"
#include "tests/unit/api/objects.h"

#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static roost_ref put_text(struct roost *rt, const char *text)
{
    roost_ref ref;
    CHECK_EQ(roost_put(rt, text, strlen(text), &ref), 0);
    return ref;
}

static void check_text(struct roost *rt, roost_ref ref, const char *text)
{
    roost_view view;
    CHECK_EQ(roost_get(rt, ref, &view, 10000), 0);
    CHECK_EQ(view.size, strlen(text));
    CHECK(memcmp(view.data, text, view.size) == 0);
    roost_release(rt, &view);
    CHECK(view.data == NULL && view.size == 0 && view.pin == 0);
    roost_release(rt, &view); /* of a cleared one: nothing */
}

static bool says(const char *word) { return strstr(roost_last_error(), word) != NULL; }

void objects_put_and_get(struct roost *rt)
{
    roost_ref a = put_text(rt, "so much depends"), empty;
    check_text(rt, a, "so much depends");
    CHECK_EQ(roost_put(rt, NULL, 0, &empty), 0);
    check_text(rt, empty, "");
    CHECK(a.offset == 0 && a.size == ROOST_WHOLE);
    CHECK(a.id.hi != empty.id.hi || a.id.lo != empty.id.lo);

    uint64_t number = 42, got = 0;
    roost_ref value;
    CHECK_EQ(roost_put_value(rt, number, &value), 0);
    CHECK_EQ(roost_get_value(rt, value, &got, 0), 0);
    CHECK_EQ(got, 42);
    uint32_t small;
    CHECK_EQ(roost_get_value(rt, value, &small, 0), ROOST_ESIZE);
    CHECK(says("8 bytes, wanted 4"));

    /* bytes outlive the name while somebody looks */
    roost_view view;
    CHECK_EQ(roost_get(rt, a, &view, 0), 0);
    roost_free(rt, a);
    CHECK(memcmp(view.data, "so much depends", view.size) == 0);
    roost_release(rt, &view);

    /* one hold more, one hold less */
    CHECK_EQ(roost_keep(rt, value), 0);
    roost_free(rt, value);
    CHECK_EQ(roost_get_value(rt, value, &got, 0), 0);
    roost_free(rt, value);
    roost_free(rt, empty);
}

void objects_parts(struct roost *rt)
{
    roost_ref ref = put_text(rt, "upon a red wheel barrow");
    check_text(rt, roost_slice(ref, 7, 3), "red");
    check_text(rt, roost_slice(roost_slice(ref, 7, 9), 4, 5), "wheel");
    check_text(rt, roost_slice(ref, 7, ROOST_WHOLE), "red wheel barrow");
    check_text(rt, roost_slice(ref, 23, 0), "");
    roost_view view;
    CHECK_EQ(roost_get(rt, roost_slice(ref, 20, 4), &view, 0), ROOST_ERANGE);
    CHECK_EQ(roost_get(rt, roost_slice(ref, 24, 0), &view, 0), ROOST_ERANGE);
    CHECK_EQ(roost_get(rt, roost_column(ref, 0), &view, 0), ROOST_ERANGE);
    CHECK(says("column 0"));
    roost_free(rt, roost_slice(ref, 7, 3)); /* a slice stands for its whole */
}

void objects_buffers(struct roost *rt)
{
    roost_buffer buffer;
    roost_ref ref, inside = put_text(rt, "inside");
    CHECK_EQ(roost_create(rt, 100, &buffer), 0);
    CHECK_EQ(buffer.size, 100);
    memcpy(buffer.data, "abcdef", 6);
    const uint64_t ends[] = { 2, 2, 6 };
    CHECK_EQ(roost_set_columns(rt, &buffer, ends, 3), 0);
    CHECK_EQ(roost_declare_refs(rt, &buffer, &inside, 1), 0);
    CHECK_EQ(roost_seal(rt, &buffer, 6, &ref), 0);
    CHECK(buffer.data == NULL && buffer.size == 0 && buffer.lease == 0);
    check_text(rt, ref, "abcdef");
    check_text(rt, roost_column(ref, 0), "ab");
    check_text(rt, roost_column(ref, 1), "");
    check_text(rt, roost_column(ref, 2), "cdef");
    roost_view view;
    CHECK_EQ(roost_get(rt, roost_column(ref, 3), &view, 0), ROOST_ERANGE);
    CHECK_EQ(roost_get(rt, roost_slice(roost_column(ref, 0), 0, 1), &view, 0), ROOST_ERANGE);
    roost_free(rt, inside); /* the object that declared it keeps it */
    check_text(rt, inside, "inside");
    roost_free(rt, ref);

    /* a trailer that is larger than the payload's room */
    enum { COLUMNS = 20000 };
    static uint64_t many[COLUMNS];
    for (uint64_t i = 0; i < COLUMNS; i++) {
        many[i] = i < 8 ? i : 8;
    }
    CHECK_EQ(roost_create(rt, 8, &buffer), 0);
    memcpy(buffer.data, "01234567", 8);
    CHECK_EQ(roost_set_columns(rt, &buffer, many, COLUMNS), 0);
    CHECK_EQ(roost_seal(rt, &buffer, 8, &ref), 0);
    check_text(rt, roost_column(ref, 3), "2");
    check_text(rt, roost_column(ref, COLUMNS - 1), "");
    roost_free(rt, ref);
}

void objects_buffer_misuse(struct roost *rt)
{
    roost_buffer buffer, copy;
    roost_ref ref;
    const uint64_t falling[] = { 5, 4 }, beyond[] = { 11 }, fine[] = { 10 };
    const roost_ref none = { { 0, 0 }, 0, 0 };
    CHECK_EQ(roost_create(rt, 10, NULL), ROOST_EINVAL);
    CHECK_EQ(roost_create(rt, SIZE_MAX, &buffer), ROOST_ETOOBIG);
    CHECK_EQ(roost_create(rt, 10, &buffer), 0);
    CHECK_EQ(roost_set_columns(rt, &buffer, falling, 2), ROOST_EINVAL);
    CHECK_EQ(roost_set_columns(rt, &buffer, beyond, 1), ROOST_EINVAL);
    CHECK_EQ(roost_set_columns(rt, &buffer, NULL, 1), ROOST_EINVAL);
    CHECK_EQ(roost_set_columns(rt, &buffer, fine, (size_t)ROOST_COLUMNS_MAX + 1), ROOST_ETOOBIG);
    CHECK_EQ(roost_declare_refs(rt, &buffer, &none, 1), ROOST_EINVAL);
    CHECK_EQ(roost_declare_refs(rt, &buffer, NULL, 1), ROOST_EINVAL);
    CHECK_EQ(roost_seal(rt, &buffer, 11, &ref), ROOST_EINVAL);
    CHECK_EQ(roost_seal(rt, &buffer, 10, NULL), ROOST_EINVAL);
    CHECK_EQ(roost_set_columns(rt, &buffer, fine, 1), 0);
    CHECK_EQ(roost_seal(rt, &buffer, 9, &ref), ROOST_EINVAL); /* the column would end behind the object */
    copy = buffer;
    CHECK_EQ(roost_seal(rt, &buffer, 10, &ref), 0);
    CHECK_EQ(roost_seal(rt, &copy, 10, &ref), ROOST_EINVAL);
    CHECK(says("not open"));
    CHECK_EQ(roost_set_columns(rt, &copy, fine, 1), ROOST_EINVAL);
    roost_abort(rt, &copy);
    roost_free(rt, ref);
    CHECK_EQ(roost_create(rt, 10, &buffer), 0);
    roost_abort(rt, &buffer);
    CHECK(buffer.data == NULL);
    roost_abort(rt, &buffer);
    roost_abort(rt, NULL);
    CHECK_EQ(roost_create(rt, 1 << 20, &buffer), 0); /* left open: close gives it back */
}

void objects_files(struct roost *rt)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    CHECK_EQ(write(fd, "a red wheel barrow", 18), 18);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    roost_ref ref;
    CHECK_EQ(roost_put_file(rt, path, 0, ROOST_WHOLE, &ref), 0);
    check_text(rt, ref, "a red wheel barrow");
    roost_free(rt, ref);
    CHECK_EQ(roost_put_file(rt, path, 6, 5, &ref), 0);
    check_text(rt, ref, "wheel");
    roost_free(rt, ref);
    CHECK_EQ(roost_put_file(rt, path, 18, ROOST_WHOLE, &ref), 0);
    check_text(rt, ref, "");
    roost_free(rt, ref);
    CHECK_EQ(roost_put_file(rt, path, 0, 19, &ref), ROOST_ERANGE);
    CHECK_EQ(roost_put_file(rt, path, 19, ROOST_WHOLE, &ref), ROOST_ERANGE);
    CHECK_EQ(roost_put_file(rt, "/proc/self/fd", 0, ROOST_WHOLE, &ref), ROOST_EINVAL);
    char folder[] = "/tmp/roost-test-XXXXXX", pipe[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    CHECK_EQ(mkfifo(pipe, 0600), 0);
    CHECK_EQ(roost_put_file(rt, pipe, 0, ROOST_WHOLE, &ref), ROOST_EINVAL);
    CHECK(says("is not a regular file"));
    CHECK_EQ(unlink(pipe), 0);
    CHECK_EQ(rmdir(folder), 0);
    CHECK_EQ(roost_put_file(rt, "/proc/self/no such file", 0, ROOST_WHOLE, &ref), ROOST_EIO);
    CHECK(says("no such file"));
    CHECK_EQ(roost_put_file(rt, NULL, 0, 0, &ref), ROOST_EINVAL);
    CHECK_EQ(roost_put_file(rt, path, 0, 0, NULL), ROOST_EINVAL);
    close(fd);
}

void objects_containers(struct roost *rt)
{
    roost_ref items[] = { put_text(rt, "one"), put_text(rt, "two"), put_text(rt, "three") }, list, outer;
    CHECK_EQ(roost_put_refs(rt, items, 3, &list), 0);
    CHECK_EQ(roost_put_refs(rt, &list, 1, &outer), 0);
    roost_free_many(rt, items, 3);
    roost_free(rt, list);
    roost_view view;
    CHECK_EQ(roost_get(rt, list, &view, 10000), 0);
    CHECK_EQ(view.size, sizeof items);
    CHECK(memcmp(view.data, items, sizeof items) == 0);
    check_text(rt, ((const roost_ref *)view.data)[2], "three");
    roost_release(rt, &view);
    roost_free(rt, outer);
    CHECK_EQ(roost_put_refs(rt, NULL, 0, &list), 0);
    check_text(rt, list, "");
    roost_free(rt, list);
    const roost_ref none = { { 0, 0 }, 0, 0 };
    CHECK_EQ(roost_put_refs(rt, &none, 1, &list), ROOST_EINVAL);
    CHECK_EQ(roost_put_refs(rt, NULL, 1, &list), ROOST_EINVAL);
    CHECK_EQ(roost_put_refs(rt, items, 1, NULL), ROOST_EINVAL);
    CHECK_EQ(roost_put_refs(rt, items, (size_t)ROOST_GATHER_MAX + 1, &list), ROOST_ETOOBIG);
}

void objects_many(struct roost *rt)
{
    enum { COUNT = 3000 };
    static roost_ref refs[COUNT];
    static roost_view views[COUNT];
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_EQ(roost_put_value(rt, i, &refs[i]), 0);
    }
    CHECK_EQ(roost_get_many(rt, refs, COUNT, views, 0), 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_EQ(views[i].size, 8);
        CHECK_EQ(*(const uint64_t *)views[i].data, i);
    }
    roost_release_many(rt, views, COUNT);
    CHECK(views[COUNT - 1].data == NULL);
    refs[7] = roost_slice(refs[7], 0, 9); /* one is wrong: none is held */
    CHECK_EQ(roost_get_many(rt, refs, COUNT, views, 0), ROOST_ERANGE);
    CHECK(says("ref 7 of 3000"));
    CHECK(views[0].data == NULL);
    CHECK_EQ(roost_get_many(rt, refs, 0, NULL, 0), 0);
    CHECK_EQ(roost_get_many(rt, NULL, 1, views, 0), ROOST_EINVAL);
    CHECK_EQ(roost_get_many(rt, refs, 1, NULL, 0), ROOST_EINVAL);
    roost_free_many(rt, refs, COUNT);
    roost_free_many(rt, refs, 3); /* said in the log, no more */
    roost_free_many(rt, NULL, COUNT);
    roost_release_many(rt, NULL, COUNT);
}

/* Each once more; of what is not held, a free passes by. */
void objects_keeps(struct roost *rt)
{
    enum { COUNT = 600 };
    static roost_ref refs[COUNT];
    uint64_t got = 0;
    roost_view view;
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_EQ(roost_put_value(rt, i, &refs[i]), 0);
    }
    CHECK_EQ(roost_keep_many(rt, refs, COUNT), 0);
    CHECK_EQ(roost_keep_many(rt, NULL, 0), 0);
    roost_free_many(rt, refs, COUNT);
    roost_free(rt, refs[0]);
    roost_free(rt, refs[300]);
    for (uint64_t i = 0; i < COUNT; i++) {
        if (i % 300 != 0) {
            CHECK_EQ(roost_get_value(rt, refs[i], &got, 0), 0);
            CHECK_EQ(got, i);
        }
    }
    roost_free_many(rt, refs, COUNT);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_EQ(roost_get(rt, refs[i], &view, ROOST_FOREVER), ROOST_EFREED);
    }
}

void objects_waits(struct roost *rt)
{
    roost_ref refs[40];
    bool ready[40] = { false };
    for (size_t i = 0; i < 40; i++) {
        refs[i] = put_text(rt, "ready");
    }
    refs[3] = refs[2]; /* twice */
    CHECK_EQ(roost_wait(rt, refs, 40, 40, true, ready, 0), 0);
    CHECK(ready[0] && ready[3] && ready[39]);
    CHECK_EQ(roost_wait(rt, refs, 40, 0, true, ready, 0), 0); /* which are? */
    CHECK(ready[0] && ready[3] && ready[39]);
    CHECK_EQ(roost_wait(rt, refs, 40, 3, true, ready, 0), 0); /* the others need not be looked at */
    CHECK(ready[0] && ready[1] && ready[2]);
    CHECK(!ready[6] && !ready[39]);
    CHECK_EQ(roost_wait(rt, refs, 2, 1, false, ready, ROOST_FOREVER), 0);
    CHECK_EQ(roost_wait(rt, NULL, 0, 0, false, NULL, 0), 0);
    CHECK_EQ(roost_wait(rt, refs, 2, 3, false, ready, 0), ROOST_EINVAL);
    CHECK_EQ(roost_wait(rt, refs, 2, 1, false, ready, -2), ROOST_EINVAL);
    CHECK_EQ(roost_wait(rt, NULL, 2, 1, false, ready, 0), ROOST_EINVAL);
    CHECK_EQ(roost_wait(rt, refs, 2, 1, false, NULL, 0), ROOST_EINVAL);
}

void objects_watches(struct roost *rt)
{
    int first, second;
    void *tags[4] = { NULL };
    roost_ref a = put_text(rt, "a"), b = put_text(rt, "b");
    struct pollfd poll_fd = { roost_fd(rt), POLLIN, 0 };
    CHECK(poll_fd.fd >= 0);
    CHECK_EQ(roost_fd(rt), poll_fd.fd);
    CHECK_EQ(poll(&poll_fd, 1, 0), 0);
    CHECK_EQ(roost_ready(rt, tags, 4), 0);
    CHECK_EQ(roost_watch(rt, a, &first), 0);
    CHECK_EQ(roost_watch(rt, b, &second), 0);
    CHECK_EQ(poll(&poll_fd, 1, 10000), 1);
    CHECK_EQ(roost_ready(rt, tags, 1), 1);
    CHECK(tags[0] == &first);
    CHECK_EQ(poll(&poll_fd, 1, 0), 1); /* one is left */
    CHECK_EQ(roost_ready(rt, tags, 4), 1);
    CHECK(tags[0] == &second);
    CHECK_EQ(poll(&poll_fd, 1, 0), 0);
    const roost_ref none = { { 0, 0 }, 0, 0 };
    CHECK_EQ(roost_watch(rt, none, NULL), ROOST_EINVAL);
}

void objects_misuse(struct roost *rt)
{
    roost_ref ref = put_text(rt, "x");
    const roost_ref none = { { 0, 0 }, 0, 0 };
    roost_view view;
    roost_node node;
    size_t count;
    struct roost_error error = ROOST_ERROR_INIT;
    CHECK_EQ(roost_put(NULL, "x", 1, &ref), ROOST_EINVAL);
    CHECK(says("rt is NULL"));
    CHECK_EQ(roost_put(rt, NULL, 1, &ref), ROOST_EINVAL);
    CHECK_EQ(roost_put(rt, "x", 1, NULL), ROOST_EINVAL);
    CHECK_EQ(roost_put(rt, "x", ((size_t)1 << 46) + 1, &ref), ROOST_ETOOBIG);
    CHECK_EQ(roost_get(rt, none, &view, 0), ROOST_EINVAL);
    CHECK_EQ(roost_get(rt, ref, NULL, 0), ROOST_EINVAL);
    CHECK_EQ(roost_get(rt, ref, &view, -2), ROOST_EINVAL);
    CHECK_EQ(roost_get_copy(rt, ref, NULL, 1, 0), ROOST_EINVAL);
    CHECK_EQ(roost_keep(rt, none), ROOST_EINVAL);
    const roost_ref one_is_none[] = { ref, none };
    CHECK_EQ(roost_keep_many(rt, one_is_none, 2), ROOST_EINVAL);
    CHECK(says("ref 1 of 2 names nothing"));
    CHECK_EQ(roost_keep_many(rt, NULL, 2), ROOST_EINVAL);
    CHECK_EQ(roost_keep_many(NULL, one_is_none, 1), ROOST_EINVAL);
    CHECK_EQ(roost_explain(rt, none, &error), ROOST_EINVAL);
    CHECK_EQ(roost_explain(rt, ref, NULL), ROOST_EINVAL);
    CHECK_EQ(roost_explain(rt, ref, &error), 0);
    CHECK_EQ(error.status, 0);
    error.size = 1;
    CHECK_EQ(roost_explain(rt, ref, &error), ROOST_EINVAL);
    CHECK_EQ(roost_locate(rt, none, &node, 1, &count), ROOST_EINVAL);
    CHECK_EQ(roost_locate(rt, ref, &node, 1, NULL), ROOST_EINVAL);
    CHECK_EQ(roost_locate(rt, ref, &node, 1, &count), 0);
    CHECK_EQ(count, 1);
    roost_node here = roost_here(rt);
    CHECK(node.id.hi == here.id.hi && node.id.lo == here.id.lo && (node.id.hi | node.id.lo) != 0);
    CHECK_EQ(roost_prefetch(rt, none), ROOST_EINVAL);
    CHECK_EQ(roost_prefetch(rt, ref), 0);
    struct roost_node_info info[2];
    CHECK_EQ(roost_nodes(rt, info, sizeof info[0], 2, &count), 0);
    CHECK_EQ(count, 1);
    CHECK(info[0].alive && info[0].cpus_total > 0);
    CHECK_EQ(roost_nodes(rt, NULL, sizeof info[0], 0, &count), 0);
    CHECK_EQ(roost_nodes(rt, info, 0, 2, &count), ROOST_EINVAL);
    CHECK_EQ(roost_nodes(rt, info, sizeof info[0], 2, NULL), ROOST_EINVAL);
    roost_free(rt, none);
    roost_free(NULL, ref);
    roost_release(NULL, &view);
    roost_free(rt, ref);
}

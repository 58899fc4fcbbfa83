/* segment.c - the memory of a store
 *
 * Owns the file and the agent's mapping of it.
 *
 * Happy path: fsopen tmpfs, huge=always -> fsmount, never attached -> O_TMPFILE -> read-only second descriptor -> mmap;
 *             then populate in pieces.
 * Failures:   no right to mount -> the same by a child in a user namespace of its own, which hands the descriptor back;
 *             not there either -> memfd. No memory -> populate says so; a mere touch would be SIGBUS or the OOM killer.
 * Invariants: `ro` can never be mapped for writing; a memfd can neither shrink nor grow (sealed), the tmpfs file
 *             could be truncated by a process that holds `rw`, all of one uid.
 * Thread:     create and destroy: the agent's. populate: one thread at a time.
 *
 * A WRITE or FUTURE_WRITE seal would guard the bytes as well, but refuses hole punching for ever, so memory could
 * never be given back. First touch of 1 GiB: huge pages 8 to 17 GB/s, 4 KiB pages 0.4 to 3. */
#include "objectstore/segment.h"
#include "common/bytes.h"
#include "common/contract.h"
#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* glibc 2.31 and earlier have no wrappers, and <sys/mount.h> collides with <linux/mount.h>. */
static int sys_fsopen(const char *kind) { return (int)syscall(SYS_fsopen, kind, FSOPEN_CLOEXEC); }
static int sys_fsconfig(int fs, unsigned command, const char *key, const char *value)
{
    return (int)syscall(SYS_fsconfig, fs, command, key, value, 0);
}
static int sys_fsmount(int fs) { return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0); }

/* A file on a tmpfs of its own, -1 with errno. The file keeps the mount alive. No path leads to it. */
static int open_on_huge_tmpfs(uint64_t bytes)
{
    char size[32];
    snprintf(size, sizeof size, "%" PRIu64, bytes);
    int fs = sys_fsopen("tmpfs"), mount = -1, fd = -1;
    if (fs >= 0 && sys_fsconfig(fs, FSCONFIG_SET_STRING, "huge", "always") == 0 &&
        sys_fsconfig(fs, FSCONFIG_SET_STRING, "size", size) == 0 &&
        sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL) == 0) {
        mount = sys_fsmount(fs);
    }
    if (mount >= 0) {
        fd = openat(mount, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    }
    int saved_errno = errno;
    if (mount >= 0) {
        close(mount);
    }
    if (fs >= 0) {
        close(fs);
    }
    errno = saved_errno;
    return fd;
}

union fd_message {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static struct msghdr message_of(union fd_message *control, struct iovec *iov)
{
    return (
        struct msghdr){ .msg_iov = iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof *control };
}

static bool write_text(const char *path, const char *text, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, size) == (ssize_t)size;
    if (fd >= 0) {
        close(fd);
    }
    return written;
}

/* In the child: own user and mount namespaces, in which it may mount a tmpfs. The file belongs to our own uid. */
static int open_in_user_namespace(uint64_t bytes)
{
    char uids[64], gids[64]; /* without a map for both the kernel refuses to make a file (EOVERFLOW) */
    int uids_length = snprintf(uids, sizeof uids, "0 %u 1\n", (unsigned)geteuid());
    int gids_length = snprintf(gids, sizeof gids, "0 %u 1\n", (unsigned)getegid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !write_text("/proc/self/setgroups", "deny", 4) ||
        !write_text("/proc/self/uid_map", uids, (size_t)uids_length) ||
        !write_text("/proc/self/gid_map", gids, (size_t)gids_length)) {
        return -1;
    }
    return open_on_huge_tmpfs(bytes);
}

static void child_main(int socket, uint64_t bytes)
{
    int fd = open_in_user_namespace(bytes);
    if (fd < 0) {
        _exit(1);
    }
    char byte = 0;
    struct iovec iov = { &byte, 1 };
    union fd_message control = { .bytes = { 0 } };
    struct msghdr message = message_of(&control, &iov);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    *(int *)(void *)CMSG_DATA(header) = fd;
    _exit(sendmsg(socket, &message, 0) == 1 ? 0 : 1);
}

static int receive_fd(int socket)
{
    char byte;
    struct iovec iov = { &byte, 1 };
    union fd_message control;
    struct msghdr message = message_of(&control, &iov);
    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) {
        return -1;
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    return header != NULL && header->cmsg_type == SCM_RIGHTS ? *(int *)(void *)CMSG_DATA(header) : -1;
}

static int open_by_child(uint64_t bytes)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        return -1;
    }
    pid_t child = fork();
    if (child == 0) {
        close(sockets[0]);
        child_main(sockets[1], bytes);
    }
    close(sockets[1]);
    int fd = child > 0 ? receive_fd(sockets[0]) : -1;
    close(sockets[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    return fd;
}

static int open_huge(uint64_t bytes)
{
    int fd = open_on_huge_tmpfs(bytes);
    if (fd < 0) {
        fd = open_by_child(bytes);
    }
    if (fd >= 0 && ftruncate(fd, (off_t)bytes) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int open_small(uint64_t bytes)
{
    int fd = memfd_create("roost-store", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -1;
    }
    if (ftruncate(fd, (off_t)bytes) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int saved_errno = errno;
        close(fd);
        errno = saved_errno;
        return -1;
    }
    return fd;
}

static int open_read_only(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

int segment_create(struct segment *segment, uint64_t bytes, enum segment_pages pages)
{
    *segment = (struct segment){ .rw = -1, .ro = -1 };
    if (bytes == 0 || bytes > UINT64_C(1) << 46) {
        return error_set(ROOST_EINVAL, "a segment of %" PRIu64 " bytes", bytes);
    }
    segment->bytes = align_up(bytes, SEGMENT_HUGE_BYTES);
    if (pages != SEGMENT_SMALL) {
        segment->rw = open_huge(segment->bytes);
        segment->is_huge = segment->rw >= 0;
    }
    if (segment->rw < 0 && pages != SEGMENT_HUGE) {
        segment->rw = open_small(segment->bytes);
    }
    if (segment->rw < 0 || (segment->ro = open_read_only(segment->rw)) < 0) {
        goto fail;
    }
    segment->memory = mmap(NULL, segment->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, segment->rw, 0);
    if (segment->memory == MAP_FAILED) {
        segment->memory = NULL;
        goto fail;
    }
    madvise(segment->memory, segment->bytes, MADV_DONTFORK);
    madvise(segment->memory, segment->bytes, MADV_DONTDUMP);
    return 0;
fail:;
    int status = error_from_errno("a segment of %" PRIu64 " bytes", segment->bytes);
    segment_destroy(segment);
    return status;
}

void segment_destroy(struct segment *segment)
{
    if (segment->bytes == 0) {
        return;
    }
    if (segment->memory != NULL) {
        munmap(segment->memory, segment->bytes);
    }
    if (segment->rw >= 0) {
        close(segment->rw);
    }
    if (segment->ro >= 0) {
        close(segment->ro);
    }
    *segment = (struct segment){ .rw = -1, .ro = -1 };
}

/* `bytes` is in the text of a failure. */
static int populate(const struct segment *segment, uint64_t offset, uint64_t bytes)
{
    while (madvise(segment->memory + offset, bytes, MADV_POPULATE_WRITE) != 0) {
        if (errno == EINVAL) { /* before Linux 5.14: allocate in the file, the mapping follows by faults */
            return fallocate(segment->rw, 0, (off_t)offset, (off_t)bytes) == 0
                       ? 0
                       : error_from_errno("fallocate of %" PRIu64 " bytes of the store", bytes);
        }
        if (errno != EINTR && errno != EAGAIN) {
            int saved_errno = errno;
            error_from_errno("filling %" PRIu64 " bytes of the store with memory", bytes);
            return saved_errno == EFAULT ? ROOST_ENOMEM : ROOST_EIO; /* EFAULT: it would be SIGBUS */
        }
    }
    return 0;
}

int segment_populate(struct segment *segment, uint64_t bytes)
{
    uint64_t left = segment->bytes - segment->populated;
    uint64_t step = bytes < left ? align_up(bytes, SEGMENT_HUGE_BYTES) : left;
    if (step == 0) {
        return 0;
    }
    int status = populate(segment, segment->populated, step);
    if (status == 0) {
        segment->populated += step;
    }
    return status;
}

int segment_punch(struct segment *segment, uint64_t offset, uint64_t bytes)
{
    ROOST_PRE(offset % SEGMENT_HUGE_BYTES == 0 && bytes % SEGMENT_HUGE_BYTES == 0);
    ROOST_PRE(range_is_inside(offset, bytes, segment->bytes));
    if (bytes > 0 &&
        fallocate(segment->rw, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes) != 0) {
        return error_from_errno("giving back %" PRIu64 " bytes of the store", bytes);
    }
    return 0;
}

int segment_refill(struct segment *segment, uint64_t offset, uint64_t bytes)
{
    ROOST_PRE(offset % SEGMENT_HUGE_BYTES == 0 && bytes % SEGMENT_HUGE_BYTES == 0);
    ROOST_PRE(range_is_inside(offset, bytes, segment->bytes));
    return bytes == 0 ? 0 : populate(segment, offset, bytes);
}

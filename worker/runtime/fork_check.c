/* fork_check.c - what a program has done before roost_open() that a fork would not carry over, or would share
 *
 * A forked worker must be what a started one is. A fork loses threads, timers, locked and "don't fork" memory, and
 * children; it shares what lies behind descriptors and shared mappings; and it needs handlers run that this forker
 * cannot run. Each of them the kernel or the loader can be asked about, and any of them is a reason to start workers
 * instead. What cannot be asked (a pid kept in a variable, a random seed) the user's README tells.
 *
 * Failures: what cannot be found out counts as a reason.
 * Thread: the only one.
 */
#include "common/bytes.h"
#include "common/forker.h"
#include "worker/runtime/forker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <roost.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static char reason[FORKER_WHY_BYTES];

static bool ROOST_PRINTF(1, 2) objects(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return true;
}

/* ------------------------------------------------------------------ threads, descriptors, children, timers */

static bool has_threads(const char *folder)
{
    (void)folder;
    struct stat about; /* a folder has two links more than folders in it */
    if (stat("/proc/self/task", &about) != 0) {
        return objects("/proc/self/task cannot be read");
    }
    return about.st_nlink != 3 && objects("a thread runs before roost_open()");
}

static bool is_own(int fd, const DIR *list)
{
    return (fd >= 0 && fd <= FORKER_FD) || fd == dirfd((DIR *)(uintptr_t)list);
}

static bool has_descriptors(const char *folder)
{
    (void)folder;
    DIR *list = opendir("/proc/self/fd");
    if (list == NULL) {
        return objects("/proc/self/fd cannot be read");
    }
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(list)) != NULL;) {
        if (entry->d_name[0] != '.' && !is_own((int)strtol(entry->d_name, NULL, 10), list)) {
            char target[128] = "";
            ssize_t length = readlinkat(dirfd(list), entry->d_name, target, sizeof target - 1);
            target[length > 0 ? length : 0] = '\0';
            found = objects("a descriptor is open before roost_open(): %s", target);
        }
    }
    closedir(list);
    return found;
}

/* Standard input from a device, the others into the agent's pipes, as it was started. */
static bool has_moved_its_output(const char *folder)
{
    (void)folder;
    struct stat about;
    bool is_as_started = fstat(STDIN_FILENO, &about) == 0 && S_ISCHR(about.st_mode) &&
                         fstat(STDOUT_FILENO, &about) == 0 && S_ISFIFO(about.st_mode) &&
                         fstat(STDERR_FILENO, &about) == 0 && S_ISFIFO(about.st_mode);
    return !is_as_started && objects("standard input or output leads elsewhere before roost_open()");
}

static bool has_children(const char *folder)
{
    (void)folder;
    siginfo_t about;
    bool has_none = waitid(P_ALL, 0, &about, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0 && errno == ECHILD;
    return !has_none && objects("a process was started before roost_open()");
}

static bool has_timers(const char *folder)
{
    (void)folder;
    static const enum __itimer_which kinds[] = { ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF };
    bool found = false;
    for (size_t i = 0; i < ROOST_COUNT_OF(kinds); i++) {
        struct itimerval timer;
        found = found || getitimer(kinds[i], &timer) != 0 || timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0;
    }
    FILE *list = fopen("/proc/self/timers", "re"); /* of timer_create(); a kernel without this file is not Debian's */
    found = found || list == NULL || fgetc(list) != EOF;
    if (list != NULL) {
        fclose(list);
    }
    return found && objects("a timer was set before roost_open()");
}

/* ------------------------------------------------------------------ its folder */

static bool has_used_its_folder(const char *folder)
{
    struct stat here, there;
    if (stat(".", &here) != 0 || stat(folder, &there) != 0 || here.st_dev != there.st_dev ||
        here.st_ino != there.st_ino) {
        return objects("the working directory was changed before roost_open()");
    }
    DIR *list = opendir(".");
    bool found = list == NULL;
    for (struct dirent *entry; !found && (entry = readdir(list)) != NULL;) {
        found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    if (list != NULL) {
        closedir(list);
    }
    return found && objects("files were made in the working directory before roost_open()");
}

/* ------------------------------------------------------------------ memory */

static bool has_flag(const char *flags, const char *flag)
{
    for (const char *at = flags; (at = strstr(at, flag)) != NULL; at++) {
        if (at[-1] == ' ' && (at[2] == ' ' || at[2] == '\n' || at[2] == '\0')) {
            return true;
        }
    }
    return false;
}

/* "START-END PERMISSIONS OFFSET DEVICE INODE   PATH\n" -> PATH, or what there is for one. */
static const char *name_of(char *line)
{
    char *path = strchr(line, '/');
    line[strcspn(line, "\n")] = '\0';
    return path != NULL ? path : "memory without a name";
}

/* smaps: per mapping a line that begins with its addresses, and at last its flags: sh wr: written and shared; dc: a
 * child does not get it; lo: locked, which a child's is not. The page of the forker itself is both, and named. */
static bool has_special_memory(const char *folder)
{
    (void)folder;
    FILE *file = fopen("/proc/self/smaps", "re");
    char *line = NULL, mapping[FORKER_WHY_BYTES] = "";
    size_t capacity = 0;
    bool found = false, has_flags = false;
    while (file != NULL && !found && getline(&line, &capacity, file) > 0) {
        if (strncmp(line, "VmFlags:", 8) == 0) {
            has_flags = true;
            bool is_shared = has_flag(line, "sh") && has_flag(line, "wr");
            bool is_kept_back = has_flag(line, "dc") || has_flag(line, "lo");
            bool is_ours = strstr(mapping, "/memfd:" FORKER_PAGE_NAME " ") != NULL;
            found = (is_shared || is_kept_back) && !is_ours &&
                    objects("memory is %s before roost_open(): %s",
                            is_shared ? "shared" : "locked, or not for children,", name_of(mapping));
        } else if (strchr("0123456789abcdef", line[0]) != NULL) {
            snprintf(mapping, sizeof mapping, "%s", line);
        }
    }
    free(line);
    if (file != NULL) {
        fclose(file);
    }
    return found || (!has_flags && objects("/proc/self/smaps cannot be read"));
}

/* ------------------------------------------------------------------ libraries */

/* glibc relocates these pointers in place; the kernel's own object keeps offsets. */
static const void *pointer_of(const struct dl_phdr_info *object, ElfW(Addr) address)
{
    return (const void *)(uintptr_t)(address < object->dlpi_addr ? object->dlpi_addr + address : address);
}

#if __ELF_NATIVE_CLASS == 64
#define RELOCATION_SYMBOL(info) ELF64_R_SYM(info)
#else
#define RELOCATION_SYMBOL(info) ELF32_R_SYM(info)
#endif

static bool calls(const ElfW(Rela) * relocations, size_t count, const ElfW(Sym) * symbols, const char *names,
                  const char *name)
{
    for (size_t i = 0; i < count; i++) {
        size_t symbol = RELOCATION_SYMBOL(relocations[i].r_info);
        if (symbol != 0 && strcmp(names + symbols[symbol].st_name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* pthread_atfork() is a piece of each object that calls it, and that piece calls this. */
static bool registers_handlers(const struct dl_phdr_info *object, const ElfW(Dyn) * dynamic)
{
    const ElfW(Rela) * relocations[2] = { NULL, NULL };
    const ElfW(Sym) *symbols = NULL;
    const char *names = NULL;
    size_t bytes[2] = { 0, 0 };
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        switch (dynamic->d_tag) {
        case DT_SYMTAB:
            symbols = pointer_of(object, dynamic->d_un.d_ptr);
            break;
        case DT_STRTAB:
            names = pointer_of(object, dynamic->d_un.d_ptr);
            break;
        case DT_RELA:
            relocations[0] = pointer_of(object, dynamic->d_un.d_ptr);
            break;
        case DT_RELASZ:
            bytes[0] = dynamic->d_un.d_val;
            break;
        case DT_JMPREL:
            relocations[1] = pointer_of(object, dynamic->d_un.d_ptr);
            break;
        case DT_PLTRELSZ:
            bytes[1] = dynamic->d_un.d_val;
            break;
        case DT_REL: /* of machines that Roost has not been built for: not read, so not known */
            return true;
        default:
            break;
        }
    }
    for (int i = 0; i < 2; i++) {
        if (relocations[i] != NULL && symbols != NULL && names != NULL &&
            calls(relocations[i], bytes[i] / sizeof *relocations[i], symbols, names, "__register_atfork")) {
            return true;
        }
    }
    return false;
}

/* This library registers a handler of its own, for connections, of which there is none yet. */
static bool is_this_library(const struct dl_phdr_info *object)
{
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (uintptr_t)reason - object->dlpi_addr - part->p_vaddr < part->p_memsz) {
            return true;
        }
    }
    return false;
}

static int look_at_object(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size, (void)arg;
    for (size_t i = 0; i < object->dlpi_phnum && !is_this_library(object); i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_DYNAMIC &&
            registers_handlers(object, (const ElfW(Dyn) *)(uintptr_t)(object->dlpi_addr + part->p_vaddr))) {
            return objects("%s calls pthread_atfork()",
                           object->dlpi_name[0] != '\0' ? object->dlpi_name : "the program");
        }
    }
    return 0;
}

static bool has_handlers(const char *folder)
{
    (void)folder;
    return dl_iterate_phdr(look_at_object, NULL) != 0;
}

const char *fork_check(const char *folder)
{
    static bool (*const checks[])(const char *folder) = { has_threads,          has_handlers,      has_descriptors,
                                                          has_moved_its_output, has_children,      has_timers,
                                                          has_used_its_folder,  has_special_memory };
    for (size_t i = 0; i < ROOST_COUNT_OF(checks); i++) {
        if (checks[i](folder)) {
            return reason;
        }
    }
    return NULL;
}

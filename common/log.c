/* log.c - lines on stderr, and which of them are wanted
 *
 * Owns the levels by topic, read from $ROOST_LOG once in a process, and its name in the lines.
 *
 * Happy path: log_start() -> (is it wanted? -> formatted on the stack -> one write(2))*.
 * Failures:   an item of $ROOST_LOG that cannot be read, a topic too many, a write that fails -> skipped: logging stops
 *             no program. A line too long -> cut. Control bytes in it -> spaces: no text of a peer begins a line.
 * Invariants: a line ends with its newline and holds no other; nothing is allocated.
 * Thread:     any; log_start() before there are others.
 */
#include "common/log.h"
#include "common/limits.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_TOPICS_MAX = 32, LOG_TOPIC_BYTES = 24, LOG_LINE_BYTES = 1024 };

static const char *const level_names[] = { "none", "error", "warn", "info", "debug", "trace" };

static struct {
    char who[32];
    enum log_level rest;
    unsigned topics_count;
    struct {
        char name[LOG_TOPIC_BYTES];
        enum log_level level;
    } topics[LOG_TOPICS_MAX];
} settings = { .who = "roost", .rest = LOG_WARN };
static pthread_once_t environment_once = PTHREAD_ONCE_INIT;

/* 0 when it is no level. */
static int level_of(const char *text, size_t length)
{
    for (int level = LOG_ERROR; level <= LOG_TRACE; level++) {
        if (strlen(level_names[level]) == length && memcmp(level_names[level], text, length) == 0) {
            return level;
        }
    }
    return 0;
}

/* One item of $ROOST_LOG: "level" or "topic:level". What cannot be read is skipped: logging must not stop a program. */
static void take_item(const char *item, size_t length)
{
    const char *colon = memchr(item, ':', length);
    if (colon == NULL) {
        int level = level_of(item, length);
        settings.rest = level != 0 ? (enum log_level)level : settings.rest;
        return;
    }
    size_t name_length = (size_t)(colon - item);
    int level = level_of(colon + 1, length - name_length - 1);
    if (level == 0 || name_length >= LOG_TOPIC_BYTES || settings.topics_count == LOG_TOPICS_MAX) {
        return;
    }
    memcpy(settings.topics[settings.topics_count].name, item, name_length);
    settings.topics[settings.topics_count++].level = (enum log_level)level;
}

static void read_environment(void)
{
    const char *at = getenv("ROOST_LOG");
    while (at != NULL && *at != '\0') {
        size_t length = strcspn(at, ",");
        take_item(at, length);
        at += length + (at[length] == ',');
    }
}

void log_start(const char *who, enum log_level level)
{
    settings.rest = level;
    snprintf(settings.who, sizeof settings.who, "%s", who);
    pthread_once(&environment_once, read_environment);
}

bool log_is_wanted(const char *topic, enum log_level level)
{
    pthread_once(&environment_once, read_environment);
    for (unsigned i = 0; i < settings.topics_count; i++) {
        if (strcmp(settings.topics[i].name, topic) == 0) {
            return level <= settings.topics[i].level;
        }
    }
    return level <= settings.rest;
}

void log_write(const char *topic, enum log_level level, const char *format, ...)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm utc;
    gmtime_r(&now.tv_sec, &utc);
    char line[LOG_LINE_BYTES + 1];
    size_t used = strftime(line, sizeof line, "time=%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%06ldZ level=%s who=%s topic=%s ", now.tv_nsec / 1000,
                             level_names[level], settings.who, topic);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + used, LOG_LINE_BYTES - used, format, args);
    va_end(args);
    size_t begun = used;
    used += more > 0 ? (size_t)more : 0;
    if (used >= LOG_LINE_BYTES) {
        used = LOG_LINE_BYTES - 1;
    }
    for (char *at = line + begun; at < line + used; at++) { /* no text of a peer begins a line of its own */
        *at = (unsigned char)*at < ' ' || *at == 0x7f ? ' ' : *at;
    }
    line[used++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written; /* there is nowhere else to say it */
}

uint64_t log_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool log_pause_is_over(struct log_pause *pause, uint64_t now_ns, uint64_t *left_out_out)
{
    /* relaxed: each is a number by itself. Of two threads that find the pause over, one moves its end and speaks */
    uint64_t next_ns = atomic_load_explicit(&pause->next_ns, memory_order_relaxed);
    uint64_t end_ns = now_ns + (uint64_t)LOG_PAUSE_MS * 1000000;
    if (next_ns > now_ns || !atomic_compare_exchange_strong_explicit(&pause->next_ns, &next_ns, end_ns,
                                                                     memory_order_relaxed, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&pause->left_out, 1, memory_order_relaxed);
        return false;
    }
    *left_out_out = atomic_exchange_explicit(&pause->left_out, 0, memory_order_relaxed);
    return true;
}

char *log_quote(const char *text, char *out, unsigned out_bytes)
{
    unsigned used = 0;
    if (out_bytes < 3) {
        return out;
    }
    out[used++] = '"';
    for (; *text != '\0' && used + 3 < out_bytes; text++) {
        if (*text == '"' || *text == '\\') {
            out[used++] = '\\';
            out[used++] = *text;
        } else {
            out[used++] = (unsigned char)*text < ' ' ? ' ' : *text;
        }
    }
    out[used++] = '"';
    out[used] = '\0';
    return out;
}

/* log.h - what an operator reads: key=value lines on stderr
 *
 * One topic per file, named by `#define LOG_TOPIC "lease"` before the include. Errors and warnings need an operator;
 * info grows with nodes; debug with tasks; trace with messages. The level is $ROOST_LOG: a level ("debug"), or a list
 * of topic:level with an optional level for the rest ("warn,lease:trace"). Default: info in daemons, warn elsewhere.
 * Any thread; one write(2) a line. Arguments are evaluated only when the line is wanted. */
#ifndef ROOST_COMMON_LOG_H
#define ROOST_COMMON_LOG_H

#include <roost.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* Name this process in every line ("head", "agent-3"); the level for topics that $ROOST_LOG does not name.
 * Once, early in main(). Without it: "roost" and warn. */
void log_start(const char *who, enum log_level level);

bool log_is_wanted(const char *topic, enum log_level level);

/* `format` is a key=value text: "event=granted lease=%u". Longer lines than 1024 bytes are cut. */
void log_write(const char *topic, enum log_level level, const char *format, ...) ROOST_PRINTF(3, 4);

/* Puts `text` between double quotes, with quotes, backslashes and control bytes escaped; cut to fit. Returns `out`. */
char *log_quote(const char *text, char *out, unsigned out_bytes);

/* How long a place of the code has been silent, and what it has not said. Zeroed at first. */
struct log_pause {
    _Atomic uint64_t next_ns, left_out;
};

/* May it speak at `now_ns`? Then it may not again for LOG_PAUSE_MS, and `*left_out_out` is how often it was asked and
 * could not since it last did. Any thread. */
bool log_pause_is_over(struct log_pause *pause, uint64_t now_ns, uint64_t *left_out_out);
uint64_t log_now_ns(void); /* since some moment, never backward */

#define LOG_AT_(level, ...) (log_is_wanted(LOG_TOPIC, (level)) ? log_write(LOG_TOPIC, (level), __VA_ARGS__) : (void)0)
#define log_error(...)      LOG_AT_(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)       LOG_AT_(LOG_WARN, __VA_ARGS__)
#define log_info(...)       LOG_AT_(LOG_INFO, __VA_ARGS__)
#define log_debug(...)      LOG_AT_(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...)      LOG_AT_(LOG_TRACE, __VA_ARGS__)

/* For what may go wrong once per object: one line in LOG_PAUSE_MS from this place of the code. Each ends in left_out=N,
 * how many were not written since the one before. `format` is a literal. */
#define log_error_sparsely(format, ...)                                                                           \
    do {                                                                                                          \
        static struct log_pause pause_;                                                                           \
        uint64_t left_out_;                                                                                       \
        if (log_is_wanted(LOG_TOPIC, LOG_ERROR) && log_pause_is_over(&pause_, log_now_ns(), &left_out_)) {        \
            log_write(LOG_TOPIC, LOG_ERROR, format " left_out=%llu", __VA_ARGS__, (unsigned long long)left_out_); \
        }                                                                                                         \
    } while (0)

#endif

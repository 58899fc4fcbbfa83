/* log.h - what an operator reads: key=value lines on stderr
 *
 * One topic per file, named by `#define LOG_TOPIC "lease"` before the include. Errors and warnings need an operator;
 * info grows with nodes; debug with tasks; trace with messages. The level is $ROOST_LOG: a level ("debug"), or a list
 * of topic:level with an optional level for the rest ("warn,lease:trace"). Default: info in daemons, warn elsewhere.
 * Any thread; one write(2) a line. Arguments are evaluated only when the line is wanted. */
#ifndef ROOST_COMMON_LOG_H
#define ROOST_COMMON_LOG_H

#include <roost.h>
#include <stdbool.h>

enum log_level { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* Name this process in every line ("head", "agent-3"); the level for topics that $ROOST_LOG does not name.
 * Once, early in main(). Without it: "roost" and warn. */
void log_start(const char *who, enum log_level level);

bool log_is_wanted(const char *topic, enum log_level level);

/* `format` is a key=value text: "event=granted lease=%u". Longer lines than 1024 bytes are cut. */
void log_write(const char *topic, enum log_level level, const char *format, ...) ROOST_PRINTF(3, 4);

/* Puts `text` between double quotes, with quotes, backslashes and control bytes escaped; cut to fit. Returns `out`. */
char *log_quote(const char *text, char *out, unsigned out_bytes);

#define LOG_AT_(level, ...) (log_is_wanted(LOG_TOPIC, (level)) ? log_write(LOG_TOPIC, (level), __VA_ARGS__) : (void)0)
#define log_error(...)      LOG_AT_(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)       LOG_AT_(LOG_WARN, __VA_ARGS__)
#define log_info(...)       LOG_AT_(LOG_INFO, __VA_ARGS__)
#define log_debug(...)      LOG_AT_(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...)      LOG_AT_(LOG_TRACE, __VA_ARGS__)

#endif

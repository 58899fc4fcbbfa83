/* record.h - what a record of the agent begins with, and the entries of its rings (proto/io/record.h) */
#ifndef ROOST_WORKER_AGENT_RECORD_H
#define ROOST_WORKER_AGENT_RECORD_H

#include "proto/io/record.h"

/* Its config is a struct agent_config. */
extern const struct record_core agent_record;

#endif

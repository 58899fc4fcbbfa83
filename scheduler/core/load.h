/* load.h - what is asked of one resource of one node, and how long that makes a newcomer wait
 *
 * CPUs in hundredths, memory in KiB. Everything here is additive, so that what was put on comes off again exactly. */
#ifndef ROOST_SCHEDULER_CORE_LOAD_H
#define ROOST_SCHEDULER_CORE_LOAD_H

#include <stdbool.h>
#include <stdint.h>

struct load {
    uint64_t capacity;
    uint64_t used;          /* asked for by what is assigned and has not ended, running or not */
    unsigned __int128 work; /* the same times how long each is expected to run: units x ns */
};

#define LOAD_WAIT_NS_MAX (UINT64_C(1) << 60)

void load_add(struct load *load, uint64_t amount, uint64_t duration_ns);
void load_remove(struct load *load, uint64_t amount, uint64_t duration_ns);

/* All of another one, or without the part that is one. */
void load_join(struct load *load, const struct load *other);
void load_part(struct load *load, const struct load *part);

/* How long until `amount` is free, if everything before it runs first: 0 when it is free now, else the work that is
 * assigned, spread over the capacity, less half of what is running, which is on average half done. At most
 * LOAD_WAIT_NS_MAX. `amount` may not be over the capacity: ask first. */
uint64_t load_wait_ns(const struct load *load, uint64_t amount);

/* used / capacity in 1/1024, at most UINT16_MAX: orders nodes on which nothing waits. */
uint16_t load_pressure(const struct load *load);

/* Nanoseconds per byte as a fixed-point number with 32 binary places, so that no decision divides. */
uint64_t nic_pace(uint64_t bytes_per_s);
uint64_t nic_time_ns(uint64_t bytes, uint64_t pace);

#endif

#include "scheduler/core/load.h"
#include "common/contract.h"

void load_add(struct load *load, uint64_t amount, uint64_t duration_ns)
{
    load->used += amount;
    load->work += (unsigned __int128)amount * duration_ns;
}

void load_remove(struct load *load, uint64_t amount, uint64_t duration_ns)
{
    unsigned __int128 work = (unsigned __int128)amount * duration_ns;
    ROOST_PRE(load->used >= amount);
    ROOST_PRE(load->work >= work);
    load->used -= amount;
    load->work -= work;
}

void load_join(struct load *load, const struct load *other)
{
    load->used += other->used;
    load->work += other->work;
}

void load_part(struct load *load, const struct load *part)
{
    ROOST_PRE(load->used >= part->used);
    ROOST_PRE(load->work >= part->work);
    load->used -= part->used;
    load->work -= part->work;
}

static uint64_t divide(unsigned __int128 work, uint64_t by)
{
    if ((uint64_t)(work >> 64) == 0) {
        return (uint64_t)work / by; /* several times faster than the general one, and nearly always enough */
    }
    unsigned __int128 result = work / by;
    return result < LOAD_WAIT_NS_MAX ? (uint64_t)result : LOAD_WAIT_NS_MAX;
}

uint64_t load_wait_ns(const struct load *load, uint64_t amount)
{
    if (load->used + amount <= load->capacity) {
        return 0;
    }
    ROOST_PRE(load->used > 0);
    uint64_t at_once = load->used < load->capacity ? load->used : load->capacity;
    uint64_t whole_ns = divide(load->work, at_once);
    uint64_t half_of_a_mean_ns = divide(load->work, load->used) / 2;
    uint64_t wait_ns = whole_ns - half_of_a_mean_ns;
    return wait_ns < LOAD_WAIT_NS_MAX ? wait_ns : LOAD_WAIT_NS_MAX;
}

uint16_t load_pressure(const struct load *load)
{
    if (load->capacity == 0) {
        return 0;
    }
    unsigned __int128 pressure = (unsigned __int128)load->used * 1024 / load->capacity;
    return pressure < UINT16_MAX ? (uint16_t)pressure : UINT16_MAX;
}

uint64_t nic_pace(uint64_t bytes_per_s)
{
    ROOST_PRE(bytes_per_s > 0);
    return (UINT64_C(1000000000) << 32) / bytes_per_s;
}

uint64_t nic_time_ns(uint64_t bytes, uint64_t pace)
{
    unsigned __int128 ns = (unsigned __int128)bytes * pace >> 32;
    return ns < LOAD_WAIT_NS_MAX ? (uint64_t)ns : LOAD_WAIT_NS_MAX;
}

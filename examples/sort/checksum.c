/* checksum.c - CRC-32 of records, eight bytes at a step
 *
 * Slicing by 8 (Kounavis and Berry, 2005): eight tables turn eight bytes into eight independent look-ups.
 * Thread: any; the tables are made once.
 */
#include "examples/sort/checksum.h"

#include <pthread.h>
#include <stdio.h>

enum { SLICES = 8, TAIL_BYTES = RECORD_BYTES % SLICES };

static uint32_t slices[SLICES][256];
static pthread_once_t slices_once = PTHREAD_ONCE_INIT;

static void slices_fill(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
        }
        slices[0][byte] = crc;
    }
    for (size_t slice = 1; slice < SLICES; slice++) {
        for (size_t byte = 0; byte < 256; byte++) {
            uint32_t before = slices[slice - 1][byte];
            slices[slice][byte] = before >> 8 ^ slices[0][before & 0xff];
        }
    }
}

static uint32_t eight_bytes(uint32_t crc, const unsigned char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    word = le64toh(word) ^ crc;
    crc = 0;
    for (size_t i = 0; i < SLICES; i++) {
        crc ^= slices[SLICES - 1 - i][word >> (8 * i) & 0xff];
    }
    return crc;
}

static void add(struct record_sum *sum, uint64_t high, uint64_t low)
{
    sum->low += low;
    sum->high += high + (sum->low < low);
}

void sum_add_record(struct record_sum *sum, const void *record)
{
    pthread_once(&slices_once, slices_fill);
    const unsigned char *bytes = record;
    uint32_t crc = UINT32_MAX;
    for (size_t at = 0; at < RECORD_BYTES - TAIL_BYTES; at += SLICES) {
        crc = eight_bytes(crc, bytes + at);
    }
    for (size_t at = RECORD_BYTES - TAIL_BYTES; at < RECORD_BYTES; at++) {
        crc = crc >> 8 ^ slices[0][(crc ^ bytes[at]) & 0xff];
    }
    add(sum, 0, ~crc);
}

void sum_add(struct record_sum *sum, struct record_sum other) { add(sum, other.high, other.low); }

bool sum_equal(struct record_sum a, struct record_sum b) { return a.high == b.high && a.low == b.low; }

const char *sum_print(struct record_sum sum, char *text)
{
    if (sum.high != 0) {
        snprintf(text, SUM_TEXT_BYTES, "%llx%016llx", (unsigned long long)sum.high, (unsigned long long)sum.low);
    } else {
        snprintf(text, SUM_TEXT_BYTES, "%llx", (unsigned long long)sum.low);
    }
    return text;
}

#include "common/id.h"
#include "common/contract.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

char *id_print(struct id_key id, char text_out[ID_TEXT_BYTES])
{
    snprintf(text_out, ID_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64, id.hi, id.lo);
    return text_out;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int id_parse(const char *text, struct id_key *id_out)
{
    uint64_t half[2] = { 0, 0 };
    for (int i = 0; i < ID_TEXT_BYTES - 1; i++) {
        int digit = hex_digit(text[i]); /* the NUL of a short text is no digit */
        if (digit < 0) {
            return ROOST_EINVAL;
        }
        half[i / 16] = half[i / 16] << 4 | (uint64_t)digit;
    }
    if (text[ID_TEXT_BYTES - 1] != '\0') {
        return ROOST_EINVAL;
    }
    *id_out = (struct id_key){ half[0], half[1] };
    return 0;
}

struct id_key id_random(void)
{
    struct id_key id = { 0, 0 };
    while ((id.hi | id.lo) == 0) {
        ssize_t got = getrandom(&id, sizeof id, 0);
        ROOST_INVARIANT(got == (ssize_t)sizeof id); /* up to 256 bytes are never cut short once the pool is ready */
    }
    return id;
}

/* standalone.c - main() of a fuzz target under ctest: every seed of a folder as it is, then mutated from a fixed seed
 *
 *     fuzz_proto_decode FOLDER MUTATIONS
 *
 * Each input lies in a block of its own size, so that the address sanitizer sees the first byte read past it. The same
 * inputs on every run: a failure is found again by running it again. */
#include "tests/fuzz/fuzz.h"
#include "tests/lib/proto_random.h"

#include <dirent.h>
#include <inttypes.h>
#include <string.h>

enum { SEEDS_MAX = 1024, INPUT_BYTES_MAX = 1 << 20 };

struct input {
    uint8_t *bytes;
    size_t size;
};

static struct input seeds[SEEDS_MAX];
static size_t seeds_count;

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}
static int is_seed(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static struct input read_input(const char *path)
{
    struct input input = { malloc(INPUT_BYTES_MAX), 0 };
    FILE *file = fopen(path, "rb");
    if (file == NULL || input.bytes == NULL) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(2);
    }
    input.size = fread(input.bytes, 1, INPUT_BYTES_MAX, file);
    fclose(file);
    return input;
}

static void read_seeds(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_seed, compare_names);
    if (count <= 0 || count > SEEDS_MAX) {
        fprintf(stderr, "%s holds %d seeds, wanted 1 to %d\n", folder, count, SEEDS_MAX);
        exit(2);
    }
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        seeds[seeds_count++] = read_input(path);
        free(entries[i]);
    }
    free(entries);
}

static struct input copy_of(const struct input *from, size_t room)
{
    struct input copy = { malloc(from->size + room + 1), from->size };
    memcpy(copy.bytes, from->bytes, from->size);
    return copy;
}

static size_t place_in(struct proto_random *random, const struct input *input)
{
    return (size_t)proto_random_below(random, input->size + 1);
}

/* `count` bytes of `from` put in at `at`; the room is there. */
static void put_in(struct input *input, size_t at, const uint8_t *from, size_t count)
{
    memmove(input->bytes + at + count, input->bytes + at, input->size - at);
    memcpy(input->bytes + at, from, count);
    input->size += count;
}

static void cut_out(struct input *input, size_t at, size_t count)
{
    count = count < input->size - at ? count : input->size - at;
    memmove(input->bytes + at, input->bytes + at + count, input->size - at - count);
    input->size -= count;
}

enum { PIECE_BYTES_MAX = 64 };

static void mutate_once(struct proto_random *random, struct input *input)
{
    static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, 0x0f, 0x10, 0x11 };
    const struct input *other = &seeds[proto_random_below(random, seeds_count)];
    size_t at = place_in(random, input), from = place_in(random, other), piece = 1 + proto_random_below(random, 32);
    uint8_t copied[PIECE_BYTES_MAX];
    switch (proto_random_below(random, 7)) {
    case 0:
        if (at < input->size) {
            input->bytes[at] ^= (uint8_t)(1 << proto_random_below(random, 8));
        }
        break;
    case 1:
        if (at < input->size) {
            input->bytes[at] = odd[proto_random_below(random, sizeof odd)];
        }
        break;
    case 2:
        cut_out(input, at, piece);
        break;
    case 3: /* a number that takes ten bytes */
        memset(copied, 0xff, 9);
        copied[9] = (uint8_t)proto_random_below(random, 3);
        put_in(input, at, copied, 10);
        break;
    case 4: /* a piece of another seed */
        piece = piece < other->size - from ? piece : other->size - from;
        put_in(input, at, other->bytes + from, piece);
        break;
    case 5: /* a piece of itself once more */
        piece = piece < input->size - at ? piece : input->size - at;
        memcpy(copied, input->bytes + at, piece);
        put_in(input, place_in(random, input), copied, piece);
        break;
    default:
        if (proto_random_below(random, 4) == 0) {
            input->size = at;
        } else if (at < input->size) {
            input->bytes[at] = (uint8_t)(input->bytes[at] + 1 - 2 * (int)proto_random_below(random, 2));
        }
        break;
    }
}

/* Was it well-formed? */
static bool run(const struct input *input)
{
    uint64_t before = fuzz_taken;
    uint8_t *exact = malloc(input->size == 0 ? 1 : input->size);
    memcpy(exact, input->bytes, input->size);
    LLVMFuzzerTestOneInput(exact, input->size);
    free(exact);
    return fuzz_taken > before;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FOLDER MUTATIONS\n", argv[0]);
        return 2;
    }
    read_seeds(argv[1]);
    uint64_t mutations = strtoull(argv[2], NULL, 10), taken = 0, refused = 0;
    for (size_t i = 0; i < seeds_count; i++) {
        if (!run(&seeds[i])) {
            fprintf(stderr, "seed %zu of %s is refused: the corpus is stale\n", i, argv[1]);
            return 1;
        }
        struct proto_random random = { 1000 + i };
        for (uint64_t m = 0; m < mutations; m++) {
            uint64_t times = 1 + proto_random_below(&random, 6);
            struct input input = copy_of(&seeds[i], (size_t)times * PIECE_BYTES_MAX);
            for (uint64_t t = 0; t < times; t++) {
                mutate_once(&random, &input);
            }
            run(&input) ? taken++ : refused++;
            free(input.bytes);
        }
    }
    for (size_t i = 0; i < seeds_count; i++) {
        free(seeds[i].bytes);
    }
    printf("%zu seeds, %" PRIu64 " mutations taken, %" PRIu64 " refused\n", seeds_count, taken, refused);
    return taken == 0 || refused == 0; /* a fuzzer that sees only one side of the door tests nothing */
}

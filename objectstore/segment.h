/* segment.h - the memory of a store
 *
 * A segment is a file without a name: on a detached tmpfs with huge pages where the system allows it, else a memfd. The
 * agent makes it, maps it for writing, and fills it in the background so that nobody meets an empty page later. */
#ifndef ROOST_OBJECTSTORE_SEGMENT_H
#define ROOST_OBJECTSTORE_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

enum { SEGMENT_HUGE_BYTES = 2 << 20 };

struct segment {
    int rw, ro; /* descriptors of the one file, close-on-exec; owned */
    uint64_t bytes;
    unsigned char *memory; /* the agent's mapping, writable */
    uint64_t populated;    /* bytes from the front that are backed by memory */
    bool is_huge;
};

enum segment_pages {
    SEGMENT_HUGE_OR_SMALL = 0, /* huge pages when the system allows them */
    SEGMENT_HUGE,              /* or fail with the reason */
    SEGMENT_SMALL
};

/* `bytes` is rounded up to SEGMENT_HUGE_BYTES. Nothing is populated.
 * Errors: ROOST_EINVAL  0 bytes, or more than an address space
 *         ROOST_ENOMEM, ROOST_EIO with the system's words.
 * May fork a helper that ends before the return: call it before nng has started. */
int segment_create(struct segment *segment, uint64_t bytes, enum segment_pages pages);

/* What readers have mapped lives on with them. A zeroed segment is fine. */
void segment_destroy(struct segment *segment);

/* Back up to `bytes` further bytes with memory; segment->populated is the progress. For a helper thread, or in turns of
 * a loop: 8 MiB take about 3 ms with 4 KiB pages. ROOST_ENOMEM when the system refuses (the OOM killer does not ask:
 * size the store by segment_size_default). */
int segment_populate(struct segment *segment, uint64_t bytes);

/* Give a range's memory back to the system; both multiples of SEGMENT_HUGE_BYTES. It must not be leased, pinned or
 * mapped for reading by anyone who still looks at it: reading a hole fills it again. 0.2 s per GiB. Errors:
 * ROOST_EIO. */
int segment_punch(struct segment *segment, uint64_t offset, uint64_t bytes);

/* Fill a punched range again. 0.7 s per GiB with 4 KiB pages. */
int segment_refill(struct segment *segment, uint64_t offset, uint64_t bytes);

/* What the machine says about memory. */
struct memory_facts {
    uint64_t total;           /* MemTotal */
    uint64_t available;       /* MemAvailable */
    uint64_t cgroup_headroom; /* what this process's cgroups still grant; UINT64_MAX: no limit */
    uint32_t processes;       /* that will map the store: agent, workers, drivers */
    bool is_huge;             /* pages of the store */
};

/* Three tenths of what is free, less the page tables. Pure. Never more than what fits, at least SEGMENT_HUGE_BYTES; a
 * multiple of it. */
uint64_t segment_size_default(const struct memory_facts *facts);

/* What is left for tasks beside a store of so many bytes, of the machine's or the cgroups' memory. Pure. */
uint64_t memory_beside_store(const struct memory_facts *facts, uint64_t store_bytes);

/* Fill in `total`, `available` and `cgroup_headroom` (versions 1 and 2) from the files below `root` ("" for the
 * machine's own). What cannot be read sets no limit; without MemTotal or MemAvailable ROOST_EIO. */
int memory_facts_read(struct memory_facts *facts, const char *root);

#endif

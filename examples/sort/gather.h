/* gather.h - writes records in sorted order to a file */
#ifndef ROOST_EXAMPLES_SORT_GATHER_H
#define ROOST_EXAMPLES_SORT_GATHER_H

#include "examples/sort/radix.h"

enum { GATHER_BUFFER_BYTES = 256 << 10 };

/* Writes the records of `entries`, in that order, to `fd` from its present position on. `path` only names the file in
 * the fault's text. The file is neither synced nor closed; what has been written before a failure stays.
 *
 * Errors: -ENOSPC, -EDQUOT, -EFBIG, -EIO, ...  what write() said; the text has the path, the bytes written and wanted
 *         -ENOMEM  no memory for the buffer
 * Any thread. Blocks as long as the file does; `fd` is in blocking mode. */
int gather_write(const struct sort_entry *entries, size_t count, int fd, const char *path, struct sort_fault *fault);

#endif

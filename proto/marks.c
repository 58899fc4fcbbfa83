#include "proto/marks.h"
#include "common/contract.h"
#include "common/error.h"
#include "common/limits.h"

#include <stdlib.h>
#include <string.h>

enum { MARKS_START = 64 };

void marks_fini(struct marks *marks)
{
    free(marks->items);
    *marks = (struct marks){ NULL, 0, 0, 0 };
}

/* Room for one more at the end: what was forgotten at the front is used again first. */
static int make_room(struct marks *marks)
{
    size_t count = marks->end - marks->first;
    if (marks->end < marks->capacity) {
        return 0;
    }
    if (count >= SESSION_MARKS_MAX) {
        return error_set(ROOST_ELIMIT, "%zu batches of mentions are not answered", count);
    }
    if (marks->first > marks->capacity / 2) {
        memmove(marks->items, marks->items + marks->first, count * sizeof *marks->items);
        marks->first = 0;
        marks->end = count;
        return 0;
    }
    size_t capacity = marks->capacity == 0 ? MARKS_START : marks->capacity * 2;
    struct marks_item *items = realloc(marks->items, capacity * sizeof *items);
    if (items == NULL) {
        return error_set(ROOST_ENOMEM, "marks of %zu batches", capacity);
    }
    marks->items = items;
    marks->capacity = capacity;
    return 0;
}

int marks_note(struct marks *marks, uint32_t batch, uint32_t mark)
{
    struct marks_item *last = marks->end > marks->first ? &marks->items[marks->end - 1] : NULL;
    ROOST_PRE(last == NULL || last->batch <= batch);
    if (mark <= (last == NULL ? 0 : last->mark)) {
        return 0;
    }
    if (last != NULL && last->batch == batch) {
        last->mark = mark;
        return 0;
    }
    int status = make_room(marks);
    if (status == 0) {
        marks->items[marks->end++] = (struct marks_item){ batch, mark };
    }
    return status;
}

/* The first item whose batch is newer. */
static size_t after(const struct marks *marks, uint32_t batch)
{
    size_t low = marks->first, high = marks->end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (marks->items[middle].batch <= batch) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t marks_at(const struct marks *marks, uint32_t batch)
{
    size_t at = after(marks, batch);
    return at == marks->first ? 0 : marks->items[at - 1].mark;
}

void marks_forget_before(struct marks *marks, uint32_t batch)
{
    size_t at = after(marks, batch);
    marks->first = at == marks->first ? at : at - 1;
}

/* parts.c - what the records of the head are made of: memory, queues of pointers, sets of numbers, failures */
#include "scheduler/core/head_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_KEPT = 1 << 16 }; /* places that an empty line keeps */

void *head_alloc(size_t bytes)
{
    void *memory = calloc(1, bytes);
    ROOST_INVARIANT(memory != NULL);
    return memory;
}

void *head_grow(void *old, size_t count, size_t bytes)
{
    size_t size;
    ROOST_INVARIANT(size_mul(count, bytes, &size));
    void *memory = realloc(old, size);
    ROOST_INVARIANT(memory != NULL);
    return memory;
}

char *head_text(const char *text)
{
    size_t size = text == NULL ? 0 : strlen(text);
    char *copy = head_alloc(size + 1);
    if (size > 0) {
        memcpy(copy, text, size);
    }
    return copy;
}

void line_add(struct line *line, void *item)
{
    if (line->count == line->capacity && line->next > line->capacity / 2) {
        memmove(line->at, line->at + line->next, (line->count - line->next) * sizeof *line->at);
        line->count -= line->next;
        line->next = 0;
    }
    if (line->count == line->capacity) {
        line->capacity = line->capacity == 0 ? 64 : line->capacity * 2;
        line->at = head_grow(line->at, line->capacity, sizeof *line->at);
    }
    line->at[line->count++] = item;
}

void *line_take(struct line *line)
{
    if (line_is_empty(line)) {
        line->next = line->count = 0;
        if (line->capacity > LINE_KEPT) { /* of a burst that is over */
            free(line->at);
            *line = (struct line){ 0 };
        }
        return NULL;
    }
    return line->at[line->next++];
}

/* Where `number` is, or would go. */
static uint32_t place_of(const struct numbers *numbers, uint32_t number)
{
    uint32_t low = 0, high = numbers->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (numbers->at[middle] < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool numbers_has(const struct numbers *numbers, uint32_t number)
{
    uint32_t place = place_of(numbers, number);
    return place < numbers->count && numbers->at[place] == number;
}

bool numbers_add(struct numbers *numbers, uint32_t number)
{
    uint32_t place = place_of(numbers, number);
    if (place < numbers->count && numbers->at[place] == number) {
        return false;
    }
    if (numbers->count == numbers->capacity) {
        numbers->capacity = (uint16_t)(numbers->capacity == 0 ? 4 : numbers->capacity * 2);
        numbers->at = head_grow(numbers->at, numbers->capacity, sizeof *numbers->at);
    }
    memmove(numbers->at + place + 1, numbers->at + place, (numbers->count - place) * sizeof *numbers->at);
    numbers->at[place] = (uint16_t)number;
    numbers->count++;
    return true;
}

bool numbers_remove(struct numbers *numbers, uint32_t number)
{
    uint32_t place = place_of(numbers, number);
    if (place == numbers->count || numbers->at[place] != number) {
        return false;
    }
    numbers->count--;
    memmove(numbers->at + place, numbers->at + place + 1, (numbers->count - place) * sizeof *numbers->at);
    return true;
}

static const char *put_text(char **at, const char *text)
{
    size_t size = text == NULL ? 1 : strlen(text) + 1;
    char *to = *at;
    memcpy(to, text == NULL ? "" : text, size);
    *at += size;
    return to;
}

static size_t text_size(const char *text) { return text == NULL ? 1 : strlen(text) + 1; }

struct failure *failure_copy(const struct proto_failure *what)
{
    size_t texts = text_size(what->function) + text_size(what->node) + text_size(what->text);
    struct failure *failure = head_alloc(sizeof *failure + texts);
    char *at = (char *)(failure + 1);
    failure->refs = 1;
    failure->what = *what;
    failure->what.function = put_text(&at, what->function);
    failure->what.node = put_text(&at, what->node);
    failure->what.text = put_text(&at, what->text);
    return failure;
}

struct failure *failure_make(int status, const char *node, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct proto_failure what = { .status = status, .node = node, .text = text };
    return failure_copy(&what);
}

void failure_unref(struct failure *failure)
{
    if (failure != NULL && --failure->refs == 0) {
        free(failure);
    }
}

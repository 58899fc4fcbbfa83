#include "proto/row_filter.h"

#include <string.h>

static bool column_of(const char *const *columns, size_t count, const char *name, size_t size, uint32_t *column_out)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strlen(columns[i]) == size && memcmp(columns[i], name, size) == 0) {
            *column_out = i;
            return true;
        }
    }
    return false;
}

bool row_filter_parse(struct row_filter *filter_out, const char *text, const char *const *columns, size_t columns_count,
                      const char **wrong_out)
{
    const char *at = text == NULL ? "" : text;
    filter_out->count = 0;
    for (at += strspn(at, " "); *at != '\0'; at += strspn(at, " ")) {
        size_t size = strcspn(at, " "), name = strcspn(at, "= ");
        *wrong_out = at;
        if (filter_out->count == ROW_FILTERS_MAX || at[name] != '=' || size - name - 1 >= ROW_CELL_BYTES ||
            !column_of(columns, columns_count, at, name, &filter_out->wishes[filter_out->count].column)) {
            return false;
        }
        char *value = filter_out->wishes[filter_out->count++].value;
        memcpy(value, at + name + 1, size - name - 1);
        value[size - name - 1] = '\0';
        at += size;
    }
    return true;
}

bool row_filter_reads(const struct row_filter *filter, uint32_t column)
{
    for (uint32_t i = 0; i < filter->count; i++) {
        if (filter->wishes[i].column == column) {
            return true;
        }
    }
    return false;
}

bool row_filter_matches(const struct row_filter *filter, const char (*cells)[ROW_CELL_BYTES])
{
    for (uint32_t i = 0; i < filter->count; i++) {
        if (strcmp(cells[filter->wishes[i].column], filter->wishes[i].value) != 0) {
            return false;
        }
    }
    return true;
}

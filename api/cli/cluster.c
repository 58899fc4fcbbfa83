/* cluster.c - which cluster a command means */
#include "api/cli/cluster.h"
#include "common/error.h"
#include "common/io/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_BYTES = 768 };

bool folder_is_passing(const struct folder *folder)
{
    for (size_t i = 0; i < folder->marks_count; i++) {
        if (strcmp(folder->marks[i].role, "one") == 0 || strcmp(folder->marks[i].role, "local") == 0) {
            return true;
        }
    }
    return false;
}

static int take(const char *address, const char *from, char address_out[FOLDER_ADDRESS_BYTES])
{
    struct address parsed;
    int status = address_parse(address, &parsed);
    if (status == 0 && strlen(address) >= FOLDER_ADDRESS_BYTES) {
        status = error_set(ROOST_EINVAL, "the address is too long");
    }
    if (status != 0) {
        return error_prefix(status, "%s", from);
    }
    memcpy(address_out, address, strlen(address) + 1);
    return 0;
}

/* Of the folders with a head: how many different addresses; the list of them as text. */
static size_t count_addresses(const struct folder *folders, size_t count, const char **one_out, char list[LIST_BYTES])
{
    size_t found = 0, used = 0;
    list[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        bool is_new = folders[i].address[0] != '\0' && folder_look(&folders[i], NULL) == PROCESS_ALIVE;
        for (size_t j = 0; j < i && is_new; j++) {
            is_new = strcmp(folders[j].address, folders[i].address) != 0 ||
                     folder_look(&folders[j], NULL) != PROCESS_ALIVE;
        }
        if (is_new) {
            int length = snprintf(list + used, LIST_BYTES - used, "%s%s", found > 0 ? ", " : "", folders[i].address);
            used += length > 0 && (size_t)length < LIST_BYTES - used ? (size_t)length : 0;
            *one_out = folders[i].address;
            found++;
        }
    }
    list[used] = '\0';
    return found;
}

int cluster_find(const char *given, char address_out[FOLDER_ADDRESS_BYTES])
{
    char list[LIST_BYTES], root[FOLDER_PATH_BYTES];
    const char *named = getenv("ROOST_ADDRESS"), *only = NULL;
    struct folder *folders;
    size_t count;
    if (given != NULL || (named != NULL && named[0] != '\0')) {
        return take(given != NULL ? given : named, given != NULL ? "--address" : "$ROOST_ADDRESS", address_out);
    }
    ROOST_TRY(folder_root(root));
    ROOST_TRY(folders_read(&folders, &count));
    size_t found = count_addresses(folders, count, &only, list);
    int status = 0;
    if (found == 0) {
        status = error_set(
            ROOST_ECONNECT,
            "no cluster: $ROOST_ADDRESS is not set, and no head or node of one runs here (looked in %s); "
            "start one with `roost start --head`",
            root);
    } else if (found > 1) {
        status = error_set(ROOST_EINVAL, "which cluster? Say --address with one of %s", list);
    } else {
        memcpy(address_out, only, strlen(only) + 1);
    }
    free(folders);
    return status;
}

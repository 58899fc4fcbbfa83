/* cluster.h - which cluster a command means */
#ifndef ROOST_API_CLI_CLUSTER_H
#define ROOST_API_CLI_CLUSTER_H

#include "api/cli/folder.h"

/* The address that was given (may be NULL), else $ROOST_ADDRESS, else the only one that live daemons of this user on
 * this machine belong to.
 *
 * Errors: ROOST_ECONNECT  there is none
 *         ROOST_EINVAL    it is no address, or there are several; the text lists them */
int cluster_find(const char *given, char address_out[FOLDER_ADDRESS_BYTES]);

/* Is there a live daemon that belongs to something else than a program or a `roost local`, which end it themselves? */
bool folder_is_passing(const struct folder *folder);

#endif

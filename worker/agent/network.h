/* network.h - the agent's sessions with the head and with other agents
 *
 * Carries what the core says and brings what it is told; decides nothing. Two sets of peers: the one with the head is
 * dialed and kept for ever, those with agents are dialed when the core first has something to say to them.
 *
 * Thread: the loop's. */
#ifndef ROOST_WORKER_AGENT_NETWORK_H
#define ROOST_WORKER_AGENT_NETWORK_H

#include "common/core.h"
#include "proto/message.h"

struct daemon;
struct network;

/* Listens at one port of loopback, for agents and for the bytes that they send, and begins to dial the head.
 * Errors: those of peers_open() and transfers_create(). */
int network_open(struct network **network_out, struct daemon *daemon, const char *head_address);
/* No more events. Before the loop is destroyed. Accepts NULL. */
void network_close(struct network *network);
/* After the loop was destroyed. Accepts NULL. */
void network_destroy(struct network *network);

/* CORE_SEND and CORE_PULL. `mark`: of what goes to the head, with which later events say how far the head has come. */
void network_send(struct network *network, uint64_t peer_key, uint64_t mark, const struct proto_message *message);
void network_pull(struct network *network, uint64_t token, const void *body);

/* Lines of a worker whose driver is on another node. False when they cannot go now. */
bool network_output(struct network *network, const struct proto_output *output);

/* The end of a turn: what was said goes out. */
void network_flush(struct network *network);

#endif

/* fake_agent.h - the other side of libroost's rings, in a thread of the test
 *
 * A small agent for one node without a head: it speaks the whole of objectstore/wire.h over a store of a few MiB, keeps
 * holders, containers and waits as the real one does, and gives calls to workers (children of the test that called
 * roost_open()) or to the test. It believes its clients more than a real agent may, and says what it saw: a test counts
 * messages. It has no CPU to spare for a lease: each is asked for and never granted, and every call comes to the
 * agent. */
#ifndef ROOST_TESTS_LIB_FAKE_AGENT_H
#define ROOST_TESTS_LIB_FAKE_AGENT_H

#include "common/spec.h"
#include "objectstore/table.h"
#include "objectstore/wire.h"

struct fake_agent;

/* Listens on a socket of its own, without a thread: fork workers now, they will find it. */
struct fake_agent *fake_agent_new(uint64_t store_bytes);
const char *fake_agent_path(const struct fake_agent *agent);
/* Its folder: $ROOST_DIR for a test of finding it. */
const char *fake_agent_folder(const struct fake_agent *agent);
/* Fork `count` children that call roost_open() as workers. Before fake_agent_start(). */
void fake_agent_fork_workers(struct fake_agent *agent, int count);
void fake_agent_start(struct fake_agent *agent);
/* The agent dies: its thread ends, its sockets close. Its memory stays. */
void fake_agent_die(struct fake_agent *agent);
/* Dies if it has not, waits for the workers, frees all. Fails the test when a worker ended badly. */
void fake_agent_free(struct fake_agent *agent);
/* Its folder and socket go, who is connected stays: for tests that end without fake_agent_free(). */
void fake_agent_unlink(struct fake_agent *agent);

/* ---- what the test sees and does; any thread ---- */

/* Entries of a kind (WIRE_...; WIRE_TAKEN counts submits) so far. */
unsigned fake_agent_count(struct fake_agent *agent, uint32_t kind);
/* Objects in the table, and bytes of the store that are leased or used. */
unsigned fake_agent_objects(struct fake_agent *agent);
uint64_t fake_agent_used_bytes(struct fake_agent *agent);
/* Wait, at most ten seconds, until `count` objects are left. */
bool fake_agent_wait_objects(struct fake_agent *agent, unsigned count);
/* Give result `index` of a call that no worker takes (fake_agent_hold_calls). */
void fake_agent_hold_calls(struct fake_agent *agent, bool hold);
void fake_agent_finish(struct fake_agent *agent, roost_ref result, const void *data, size_t size,
                       enum table_format format);
/* What a worker printed. */
void fake_agent_output(struct fake_agent *agent, const char *function, const char *text);
void fake_agent_end_job(struct fake_agent *agent, int status, const char *text);

#endif

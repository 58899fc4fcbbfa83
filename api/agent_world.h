/* agent_world.h - the parts of struct world with an agent behind it (api/client.h tells what each does and returns)
 *
 * Any thread. */
#ifndef ROOST_API_AGENT_WORLD_H
#define ROOST_API_AGENT_WORLD_H

#include "api/agent_link.h"

static inline struct agent_link *link_of(const struct roost *rt) { return rt->agent; }

static inline int no_memory(const char *what) { return error_set(ROOST_ENOMEM, "no memory for %s", what); }

/* agent_put.c */
int agent_room(struct roost *rt, uint64_t scope, uint64_t bytes, struct room *room_out);
void agent_room_drop(struct roost *rt, const struct room *room);
/* The value that the room becomes: its trailer is written, what is left over goes back. */
struct wire_object agent_seal_room(struct agent_link *link, const struct room *room, const struct object_draft *draft);
/* Why the core has not taken a word: ROOST_ESTATE is an attempt that has ended, anything else no memory. */
int agent_ended_attempt(int status);
int agent_seal(struct roost *rt, uint64_t scope, const struct room *room, const struct object_draft *draft,
               struct object_id *id_out);
int agent_result(struct roost_task *task, uint32_t index, const struct room *room, const struct object_draft *draft);

/* agent_get.c */
void agent_release(struct roost *rt, uint64_t pin);
void agent_release_many(struct roost *rt, const uint64_t *pins, size_t count);
void agent_peek_run(struct roost *rt, const roost_ref *refs, size_t count, enum peek *answers_out);
void agent_look_soon(struct roost *rt, roost_ref ref);
size_t agent_look_run(struct roost *rt, const roost_ref *refs, size_t count, struct store_view *views_out);
int agent_look(struct roost *rt, roost_ref ref, enum look_how how, struct store_view *view_out);

/* agent_wait.c */
int agent_wait(struct roost *rt, const struct wait_request *request);

/* agent_call.c */
int agent_keep(struct roost *rt, uint64_t scope, const roost_ref *refs, size_t count);
size_t agent_free(struct roost *rt, uint64_t scope, const roost_ref *refs, size_t count);
int agent_submit(struct roost *rt, uint64_t scope, struct spec_draft *draft, roost_ref *refs_out);
bool agent_stopping(struct roost *rt);

/* agent_watch.c */
int agent_watch(struct roost *rt, struct watch *watch);

#endif

/* tasks.h - what holds of calls in every world: tests/unit/api/tasks.c runs it inline, agent.c with an agent and a
 * worker */
#ifndef ROOST_TESTS_UNIT_API_TASKS_H
#define ROOST_TESTS_UNIT_API_TASKS_H

#include <roost.h>

void tasks_arguments(struct roost *rt);
void tasks_results(struct roost *rt);
void tasks_return_refs(struct roost *rt);
void tasks_gathers(struct roost *rt);
void tasks_call_tasks(struct roost *rt);
void tasks_fail_with_words(struct roost *rt);
void tasks_misuse_of_arguments(struct roost *rt);
void tasks_misuse_of_results(struct roost *rt);
void tasks_environment(struct roost *rt);
void tasks_leave_nothing_open(struct roost *rt);
void tasks_options(struct roost *rt);

#endif

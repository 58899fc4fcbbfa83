/* contract.h - assertions that stay on in release
 *
 * A programmer's error ends the process at once, after the trace ring has been printed; a peer's or a user's error
 * never comes here. One condition each: a failed check should say by itself what was wrong.
 * ROOST_DEBUG_CHECK is for O(n) conditions and is compiled out of release builds. */
#ifndef ROOST_COMMON_CONTRACT_H
#define ROOST_COMMON_CONTRACT_H

#include <stdint.h>

/* Prints the kind, the condition and the place, then the trace ring, then aborts. Any thread. */
void contract_broken(const char *kind, const char *condition, const char *file, int line) __attribute__((__noreturn__));

#define ROOST_CONTRACT_(kind, condition) \
    ((condition) ? (void)0 : contract_broken((kind), #condition, __FILE__, __LINE__))

#define ROOST_PRE(condition)       ROOST_CONTRACT_("precondition", condition)
#define ROOST_POST(condition)      ROOST_CONTRACT_("postcondition", condition)
#define ROOST_INVARIANT(condition) ROOST_CONTRACT_("invariant", condition)
#define ROOST_IMPLIES(if_, then_)  ROOST_CONTRACT_("implication", !(if_) || (then_))
#define ROOST_IMPOSSIBLE(why)      contract_broken("impossible", (why), __FILE__, __LINE__)

#ifdef NDEBUG
#define ROOST_DEBUG_CHECK(condition) ((void)0)
#else
#define ROOST_DEBUG_CHECK(condition) ROOST_CONTRACT_("debug check", condition)
#endif

#endif

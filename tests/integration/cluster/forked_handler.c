/* A library that wants to be told of forks, as one with locks or random numbers of its own does. */
#include <pthread.h>

static int forks;

static void note(void) { forks++; }

__attribute__((__constructor__)) static void watch(void) { pthread_atfork(NULL, NULL, note); }

/* main.c - seeds, one after the other
 *
 *     sim_cluster [--seeds N] [--first S] [--calm] [--all]   N worlds; --calm: without faults; --all: go on after a broken one
 *     sim_cluster --rule R [--seeds N] [--first S]           with this rule of lifetime switched off
 *     sim_cluster --seed S [--trace] [--calm] [--rule R]     one world; --trace: with everything that happens in it
 *
 * A world that breaks a promise ends the run: its seed is named, and the end of its trace is printed. The first world
 * is run twice: the same seed is the same run. With --rule the run succeeds when a world breaks within N seeds, and
 * fails when none does. Worlds run in a process of their own, so that a contract of a core that breaks ends only
 * that. */
#include "common/log.h"
#include "tests/sim/world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TRACE_BYTES = 16 << 10 };

struct command {
    uint64_t first, seeds;
    uint32_t rule;
    bool is_one, traces, is_calm, goes_on;
};

static volatile uint64_t seed_at_hand;
static int seed_pipe; /* where a broken world's seed is written to */

static bool number_after(const char *option, int *i, int argc, char **argv, uint64_t *number_out)
{
    if (strcmp(argv[*i], option) != 0 || *i + 1 >= argc) {
        return false;
    }
    char *end;
    *number_out = strtoull(argv[++*i], &end, 10);
    return *end == '\0';
}

static int usage(void)
{
    fprintf(stderr,
            "usage: sim_cluster [--seeds N] [--first S] [--calm] [--all] [--rule R] | --seed S [--trace] [--rule R]\n");
    return 2;
}

static uint64_t run_seed(const struct command *command, uint64_t seed)
{
    struct world_options options = { .seed = seed, .trace = command->traces, .is_calm = command->is_calm };
    options.rules_off = command->rule == 0 ? 0 : 1u << command->rule;
    seed_at_hand = seed;
    return world_run(&options);
}

static void on_abort(int signal_number)
{
    (void)signal_number;
    uint64_t seed = seed_at_hand;
    _exit(write(seed_pipe, &seed, sizeof seed) == sizeof seed ? 1 : 2);
}

static void run_all(const struct command *command)
{
    for (uint64_t i = 0; i < command->seeds; i++) {
        uint64_t hash = run_seed(command, command->first + i);
        if (i == 0 && run_seed(command, command->first) != hash) {
            fprintf(stderr, "seed %llu: the same seed gives another hash\n", (unsigned long long)command->first);
            abort();
        }
    }
}

/* 0, or the seed of the first world that broke. */
static uint64_t run_apart(const struct command *command)
{
    int ends[2];
    uint64_t broken = 0;
    fflush(NULL);
    if (pipe(ends) != 0) {
        return command->first;
    }
    pid_t pid = fork();
    if (pid == 0) {
        seed_pipe = ends[1];
        signal(SIGABRT, on_abort);
        signal(SIGSEGV, on_abort);
        run_all(command);
        _exit(0);
    }
    close(ends[1]);
    bool is_told = read(ends[0], &broken, sizeof broken) == sizeof broken;
    close(ends[0]);
    int status = 0;
    bool is_well = pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
    return is_well ? 0 : is_told ? broken : command->first;
}

/* The last of what happened in it. */
static void print_trace(const struct command *command, uint64_t seed)
{
    static char text[TRACE_BYTES + 1];
    FILE *file = tmpfile();
    fflush(NULL);
    pid_t pid = file == NULL ? -1 : fork();
    if (pid == 0) {
        struct command one = { .first = seed, .rule = command->rule, .is_calm = command->is_calm, .traces = true };
        dup2(fileno(file), STDOUT_FILENO);
        seed_pipe = fileno(file);
        signal(SIGABRT, on_abort);
        signal(SIGSEGV, on_abort);
        run_seed(&one, seed);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, NULL, 0) != pid || fseek(file, 0, SEEK_END) != 0) {
        return;
    }
    long end = ftell(file), from = end > TRACE_BYTES ? end - TRACE_BYTES : 0;
    fseek(file, from, SEEK_SET);
    text[fread(text, 1, TRACE_BYTES, file)] = '\0';
    fclose(file);
    printf("%s\n", text);
}

/* How many broke. */
static uint64_t run_many(const struct command *command)
{
    struct command left = *command;
    uint64_t broken = 0;
    for (uint64_t seed = run_apart(&left); seed != 0; seed = left.seeds > 0 ? run_apart(&left) : 0) {
        broken++;
        left.seeds -= seed + 1 - left.first;
        left.first = seed + 1;
        printf("broken: sim_cluster --seed %llu%s --trace\n", (unsigned long long)seed,
               command->is_calm ? " --calm" : "");
        if (!command->goes_on) {
            if (command->rule == 0) {
                print_trace(command, seed);
            }
            break;
        }
    }
    return broken;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct command command = { .first = 1, .seeds = 1000 };
    uint64_t number;
    for (int i = 1; i < argc; i++) {
        if (number_after("--seeds", &i, argc, argv, &number)) {
            command.seeds = number;
        } else if (number_after("--first", &i, argc, argv, &number)) {
            command.first = number;
        } else if (number_after("--seed", &i, argc, argv, &number)) {
            command.first = number;
            command.is_one = true;
        } else if (number_after("--rule", &i, argc, argv, &number) && number >= 1 && number <= 7) {
            command.rule = (uint32_t)number;
        } else if (strcmp(argv[i], "--trace") == 0) {
            command.traces = true;
        } else if (strcmp(argv[i], "--all") == 0) {
            command.goes_on = true;
        } else if (strcmp(argv[i], "--calm") == 0) {
            command.is_calm = true;
        } else {
            return usage();
        }
    }
    log_start("sim", command.traces ? LOG_INFO : LOG_ERROR);
    if (command.is_one) {
        printf("hash %016llx\n", (unsigned long long)run_seed(&command, command.first));
        return 0;
    }
    double began = seconds();
    uint64_t broken = run_many(&command);
    printf("%llu seeds from %llu, %llu broken, %.1f s\n", (unsigned long long)command.seeds,
           (unsigned long long)command.first, (unsigned long long)broken, seconds() - began);
    return (broken == 0) == (command.rule == 0) ? 0 : 1;
}

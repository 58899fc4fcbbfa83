#include "common/trace.h"
#include "common/contract.h"
#include "tests/lib/test.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static FILE *printed(void)
{
    FILE *file = tmpfile();
    CHECK(file != NULL);
    trace_print(file);
    rewind(file);
    return file;
}

TEST(trace, prints_the_last_records_in_order)
{
    for (uint64_t i = 0; i < TRACE_RECORDS + 100; i++) {
        trace_add("step", i, i + 1, 0xabc);
    }
    FILE *file = printed();
    char line[256], wanted[256];
    for (uint64_t i = 100; i < TRACE_RECORDS + 100; i++) {
        CHECK(fgets(line, sizeof line, file) != NULL);
        snprintf(wanted, sizeof wanted, "trace=%llu what=\"step\" a=%llx b=%llx c=abc\n", (unsigned long long)i,
                 (unsigned long long)i, (unsigned long long)i + 1);
        CHECK_TEXT(line, wanted);
    }
    CHECK(fgets(line, sizeof line, file) == NULL);
    fclose(file);
}

TEST(trace, an_empty_ring_prints_nothing)
{
    FILE *file = printed();
    CHECK_EQ(fgetc(file), EOF);
    fclose(file);
}

static void *add_many(void *what)
{
    for (uint64_t i = 0; i < 20000; i++) {
        trace_add(what, i, i * 3, i * 7);
    }
    return NULL;
}

TEST(trace, records_of_many_threads_are_whole_once_they_have_ended)
{
    static char names[][8] = { "one", "two", "three" };
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, add_many, names[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    FILE *file = printed();
    unsigned long long number, a, b, c, last = 0;
    char what[16];
    int count = 0;
    while (fscanf(file, "trace=%llu what=\"%15[a-z]\" a=%llx b=%llx c=%llx\n", &number, what, &a, &b, &c) == 5) {
        CHECK(count == 0 || number > last);
        CHECK(number >= 60000 - TRACE_RECORDS && number < 60000);
        last = number;
        count++;
        CHECK(b == a * 3 && c == a * 7); /* of one thread, or a writer that was a whole ring late mixed two */
    }
    CHECK(count > TRACE_RECORDS - 100);
    fclose(file);
}

TEST(contract, a_broken_one_says_which_and_prints_the_trace_before_it_aborts)
{
    FILE *file = tmpfile();
    CHECK(file != NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(fileno(file), STDERR_FILENO);
        trace_add("what came before", 1, 2, 3);
        ROOST_PRE(child != 0);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    char text[4096];
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    CHECK(strstr(text, "kind=\"precondition\" condition=\"child != 0\"") != NULL);
    CHECK(strstr(text, "what came before") != NULL);
    fclose(file);
}

/* plain.c - main() of a test program without criterion: every test in a child process, one after the other */
#include "tests/lib/test.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_record *first, **last = &first;

void test_register(struct test_record *record)
{
    *last = record;
    last = &record->next;
}

int main(int argc, char **argv)
{
    const char *wanted = argc > 1 ? argv[1] : NULL; /* a suite, or none for all */
    int passed = 0, failed = 0;
    for (struct test_record *test = first; test != NULL; test = test->next) {
        if (wanted != NULL && strcmp(wanted, test->suite) != 0) {
            continue;
        }
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            alarm(TEST_SECONDS_MAX * 5); /* sanitizers are slow */
            test->run();
            exit(0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        if (status != 0) {
            fprintf(stderr, "[FAIL] %s::%s (wait status 0x%x)\n", test->suite, test->name, (unsigned)status);
        }
        status == 0 ? passed++ : failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}

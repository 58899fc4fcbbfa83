/* A program whose worker prints, or, called with "early", ends before roost_open(); output.sh looks at what is said. */
#include <roost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ROOST_TASK(speak);
int speak(struct roost_task *task)
{
    uint64_t pid = (uint64_t)getpid();
    printf("to stdout, %s\n", roost_arg_text(task, 0));
    fprintf(stderr, "to stderr, %s\nin two lines\n", roost_arg_text(task, 0));
    return roost_return_value(task, 0, pid);
}

static int driver(struct roost *rt, int argc, char **argv)
{
    roost_ref ref;
    uint64_t pid;
    (void)argc, (void)argv;
    ROOST_CHECK(roost_call(rt, speak, &ref, "with a number"));
    int status = roost_get_value(rt, ref, &pid, 60000);
    if (status != 0) {
        printf("%d %s\n", status, roost_last_error());
    } else {
        printf("worker %llu\n", (unsigned long long)pid);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "early") == 0 && getenv("ROOST_WORKER") != NULL) {
        fprintf(stderr, "settings.conf: No such file\n");
        return 3;
    }
    return roost_main(argc, argv, driver);
}

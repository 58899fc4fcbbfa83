/* start.c - `roost start`: daemons in the background
 *
 * Happy path: folder of the head -> head -> its address -> folder of the node -> agent -> the head knows it -> both
 *             released. What people read goes to stderr; stdout gets the one line that a shell can eval.
 * Failures:   whatever was started is ended, and its folder removed, before the command says why.
 */
#include "api/cli/command.h"
#include "api/cli/join.h"
#include "api/cli/launch.h"
#include "api/cli/node_options.h"
#include "api/cli/options.h"
#include "common/error.h"
#include "common/io/address.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { START_END_MS = 10000 };

static const char *address, *listen_at, *name;
static bool is_head, no_agent;
static uint64_t cpus, store_bytes, suspect_ms, dead_ms, timeout_ms = WAIT_MS_DEFAULT;

static const struct option_spec specs[] = {
    OPT_FLAG("head", &is_head, "start a head, and this machine's agent with it"),
    OPT_TEXT("listen", "HOST:PORT", &listen_at, "where the head listens (default: a free port of 127.0.0.1)"),
    OPT_FLAG("no-agent", &no_agent, "the head alone"),
    OPT_SUSPECT(&suspect_ms),
    OPT_DEAD(&dead_ms),
    OPT_TEXT("address", "HOST:PORT", &address, "start an agent that joins the head there"),
    OPT_TEXT("name", "NAME", &name, "of the node, for people (default: the host's name)"),
    OPT_CPUS(&cpus, "CPUs that tasks may use, such as 4 or 0.5 (default: all)"),
    OPT_STORE_BYTES(&store_bytes, "of shared memory for objects (default: a share of what is free)"),
    OPT_TIMEOUT(&timeout_ms, "how long it may take until all is ready (default: 30)"),
    OPT_END,
};

static const struct option_set set = {
    .command = "start",
    .usage = "--head [--listen HOST:PORT] [--no-agent] [--name NAME] [--cpus C] [--store-bytes SIZE]\n"
             "--address HOST:PORT [--name NAME] [--cpus C] [--store-bytes SIZE]",
    .text =
        "Starts a cluster's daemons in the background: with --head a head and this machine's agent, with --address\n"
        "an agent that joins a head. Returns when they are ready. Standard output gets one line that a shell can\n"
        "eval. Logs: `roost logs`. End: `roost stop`.",
    .examples = "eval \"$(roost start --head)\"              a cluster of this machine, and ROOST_ADDRESS set\n"
                "roost start --head --listen 127.0.0.1:7000 --cpus 4 --store-bytes 2G\n"
                "roost start --address 127.0.0.1:7000 --name second",
    .specs = specs,
};

static int check_address(const char *option, const char *text)
{
    struct address parsed;
    int status = text != NULL ? address_parse(text, &parsed) : 0;
    return status == 0 ? 0 : error_prefix(status, "--%s", option);
}

static int check(void)
{
    if (is_head == (address != NULL)) {
        return error_set(ROOST_EINVAL, is_head ? "a head of its own (--head), or joining another (--address): not both"
                                               : "say --head for a new cluster, or --address HOST:PORT to join one");
    }
    const char *of_head = listen_at != NULL ? "listen"
                          : no_agent        ? "no-agent"
                          : suspect_ms > 0  ? "suspect"
                          : dead_ms > 0     ? "dead"
                                            : NULL;
    if (!is_head && of_head != NULL) {
        return error_set(ROOST_EINVAL, "--%s is for --head only", of_head);
    }
    if (no_agent && (cpus > 0 || store_bytes > 0)) {
        return error_set(ROOST_EINVAL, "--%s is the agent's, and --no-agent says that there is none",
                         cpus > 0 ? "cpus" : "store-bytes");
    }
    if (name != NULL) {
        ROOST_TRY(folder_check_name(name));
    }
    ROOST_TRY(silence_check(suspect_ms, dead_ms));
    ROOST_TRY(check_address("listen", listen_at));
    return check_address("address", address);
}

/* The host's name as a folder's: what cannot stand there is left out. */
static void default_name(char name_out[FOLDER_NAME_BYTES])
{
    char host[FOLDER_NAME_BYTES] = "";
    gethostname(host, FOLDER_NAME_BYTES - 10);
    size_t used = 0;
    for (const char *at = host; *at != '\0'; at++) {
        char one[2] = { *at, '\0' };
        if (folder_check_name(one) == 0 || (used > 0 && (*at == '-' || *at == '.'))) {
            name_out[used++] = *at;
        }
    }
    snprintf(name_out + used, FOLDER_NAME_BYTES - used, "%s", used == 0 ? "node" : "");
}

static int start_head(struct launch *head, int stop_fd)
{
    char head_name[FOLDER_NAME_BYTES + 8] = "head";
    struct folder folder;
    if (name != NULL) {
        snprintf(head_name, sizeof head_name, "%s-head", name);
    }
    ROOST_TRY(folder_create(head_name, "start", false, &folder));
    launch_init(head, "head", &folder);
    if (listen_at != NULL) {
        launch_arg(head, "--listen");
        launch_arg(head, "%s", listen_at);
    }
    if (suspect_ms > 0) {
        launch_arg(head, "--suspect");
        launch_arg(head, "%" PRIu64 "ms", suspect_ms);
    }
    if (dead_ms > 0) {
        launch_arg(head, "--dead");
        launch_arg(head, "%" PRIu64 "ms", dead_ms);
    }
    ROOST_TRY(launch_start(head, false));
    return launch_wait(head, 1, timeout_ms, stop_fd);
}

static int start_agent(struct launch *agent, const char *head_address, int stop_fd)
{
    char node_name[FOLDER_NAME_BYTES], filter[FOLDER_NAME_BYTES + 8];
    struct folder folder;
    default_name(node_name);
    ROOST_TRY(folder_create(name != NULL ? name : node_name, "start", name != NULL, &folder));
    launch_init(agent, "agent", &folder);
    launch_arg(agent, "--address");
    launch_arg(agent, "%s", head_address);
    launch_arg(agent, "--name");
    launch_arg(agent, "%s", folder.name);
    if (cpus > 0) {
        launch_arg(agent, "--cpus");
        launch_arg(agent, "%" PRIu64 ".%02" PRIu64, cpus / 100, cpus % 100);
    }
    if (store_bytes > 0) {
        launch_arg(agent, "--store-bytes");
        launch_arg(agent, "%" PRIu64, store_bytes);
    }
    ROOST_TRY(launch_start(agent, false));
    ROOST_TRY(launch_wait(agent, 1, timeout_ms, stop_fd));
    snprintf(filter, sizeof filter, "host=%s", folder.name);
    return join_wait(head_address, filter, 1, timeout_ms, stop_fd);
}

static void tell(const struct launch *head, const struct launch *agent, const char *head_address)
{
    fprintf(stderr, is_head ? "head at %s\n" : "joins %s\n", head_address);
    if (agent != NULL) {
        fprintf(stderr, "node %s, socket %s\n", agent->folder.name, agent->ready_line);
    }
    fprintf(stderr, "\nuse it:      export ROOST_ADDRESS=%s\n", head_address);
    fprintf(stderr, "look at it:  roost status\n");
    fprintf(stderr, "more nodes:  roost start --address %s\n", head_address);
    fprintf(stderr, "logs:        roost logs %s\n", agent != NULL ? agent->folder.name : head->folder.name);
    fprintf(stderr, "end it:      roost stop --address %s\n", head_address);
    printf("export ROOST_ADDRESS=%s\n", head_address);
}

/* Ctrl-C and SIGTERM as a descriptor, so that what was started by then is ended again. */
static int catch_stop_signals(void)
{
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGHUP);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    return signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK);
}

int command_start(int argc, char **argv)
{
    static struct launch daemons[2]; /* the head, the agent */
    struct launch *head = &daemons[0], *agent = &daemons[1];
    const struct folder none = { .marks_count = 0 };
    int code = options_start(&set, argc, argv, NULL);
    if (code != OPTIONS_FINE) {
        return code;
    }
    if (check() != 0) {
        return options_refuse(&set, "%s", error_text());
    }
    launch_init(head, "head", &none);
    launch_init(agent, "agent", &none);
    int stop_fd = catch_stop_signals();
    int status = is_head ? start_head(head, stop_fd) : 0;
    const char *head_address = is_head ? head->ready_line : address;
    if (status == 0 && !no_agent) {
        status = start_agent(agent, head_address, stop_fd);
    }
    if (status != 0) {
        code = command_failed("start", status);
        launch_end(agent, 1, START_END_MS);
        launch_end(head, 1, START_END_MS);
        return code == EXIT_NO_CLUSTER ? code : EXIT_FAILED;
    }
    tell(head, no_agent ? NULL : agent, head_address);
    launch_release(agent);
    launch_release(head);
    return EXIT_OK;
}

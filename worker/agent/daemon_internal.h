/* daemon_internal.h - the agent's process in pieces: what its files share
 *
 * The daemon owns everything here. A guest is a client process as the daemon sees it: rings, descriptors, its life. A
 * process is a worker as an operating-system process. The core knows neither memory nor descriptors; it names guests by
 * slot and generation and processes by the token of their spawn. */
#ifndef ROOST_WORKER_AGENT_DAEMON_INTERNAL_H
#define ROOST_WORKER_AGENT_DAEMON_INTERNAL_H

#include "common/doorbell.h"
#include "common/error.h"
#include "common/forker.h"
#include "common/io/alarms.h"
#include "common/io/loop.h"
#include "common/io/spawn.h"
#include "common/io/unix.h"
#include "common/job.h"
#include "common/list.h"
#include "common/ring.h"
#include "common/task_ring.h"
#include "objectstore/client_page.h"
#include "objectstore/lease_page.h"
#include "objectstore/store.h"
#include "worker/agent/chores.h"
#include "worker/agent/core/agent.h"
#include "worker/agent/daemon.h"
#include "worker/agent/leased_calls.h"
#include "worker/agent/network.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PROCESS_PATH_BYTES = 256 };
enum { TURN_LOOK_NS = 5000000 }; /* at what tells nobody when it changes: a pin released, an answer read */

struct daemon;
struct process;
struct forker;

struct program {          /* what a job's workers run */
    struct list_node all; /* daemon.programs */
    struct job_id id;
    struct job_spec *job;     /* owned */
    struct guest *driver;     /* NULL when it is gone */
    uint32_t processes_count; /* that still run it */
    struct forker *forker;    /* the newest one, while its process is there */
    bool is_foreign;          /* of a driver on another node: its file here must be the same */
    bool is_checked, is_checking;
    struct daemon *daemon; /* of the check */
    struct chore check;
    int check_status;
    char check_text[ERROR_TEXT_BYTES];
};

struct guest {
    struct list_node all; /* daemon.guests */
    struct daemon *daemon;
    struct core_client key;
    enum client_role role;
    int64_t pid;
    unsigned char *page; /* mapped, CLIENT_PAGE bytes */
    struct client_page_layout layout;
    struct client_bells *bell_page; /* in the daemon's node_bells */
    struct ring_consumer requests, completes;
    struct ring_producer replies, taken;
    struct task_ring submits, tasks;
    int event_fd;
    struct loop_watch *event_watch;
    int pidfd;
    struct loop_watch *pid_watch;
    struct unix_connection *connection; /* NULL once closed */
    struct store_client *store_client;
    struct process *process;            /* of a worker */
    struct lease_page_head *lease_page; /* of a worker that has connected; mapped, laid out with its first lease */
    int lease_fd;
    struct core_client lease_holder; /* while its lease_page says that one stands */
    unsigned char *late;             /* replies that found the ring full, in order; owned */
    size_t late_bytes, late_capacity;
    uint64_t bells;    /* to ring at the end of the turn, a bit each */
    bool is_condemned; /* killed by us: nothing of it is read any more, nothing is said to it */
    bool is_dead;      /* its process has ended; it goes at the end of the turn */
};

struct output { /* one stream of a worker, cut into lines */
    struct process *process;
    struct loop_watch *watch; /* NULL once at its end */
    int fd;
    bool is_stderr;
    size_t held; /* bytes of an unfinished line */
    char line[WORKER_LINE_BYTES_MAX];
};

struct process {
    struct list_node all; /* daemon.processes */
    struct daemon *daemon;
    struct program *program;
    struct spawn *spawn; /* NULL until it has been started or forked, and once it has ended */
    int64_t pid;
    uint64_t token;
    struct guest *guest; /* once it has connected */
    int wait_status;
    struct output outputs[2];
    char function[ROOST_NAME_BYTES_MAX + 1]; /* that it ran last */
    char last_words[1024];                   /* the end of its stderr */
    uint32_t dropped;                        /* lines that found the driver's ring full */
    bool is_waiting;                         /* for its program to be looked at */
    bool must_end;                           /* killed before there was anything to kill */
    bool is_forker;
    struct forker *forker;  /* of one, once it has been launched; owned */
    struct forker *slot_of; /* that was asked to make it */
    uint32_t slot;
    struct list_node queue;  /* of requests that wait for a slot */
    struct loop_task failed; /* tells the core that it could not be started */
};

struct daemon {
    const struct agent_options *options;
    struct loop *loop;
    struct agent *core;
    struct core_out out;
    struct record *record; /* of every event; NULL: none */
    struct store *store;
    struct unix_listener *listener;
    struct node_id node;
    char node_name[64], socket_path[108];
    struct node_page *node_page; /* written here, read-only to clients */
    int node_page_ro;
    struct client_bells *node_bells; /* of all clients, by slot */
    int node_bells_fd;
    struct list_node guests, programs, processes;
    struct guest **slots; /* CLIENTS_MAX of them */
    uint32_t *generations;
    struct alarms *alarms; /* the core's timers, by their keys */
    struct loop_timer scan_timer;
    struct agent_config config;
    struct network *network; /* NULL: a node without a head */
    struct chores *removals; /* of folders that workers have left */
    struct chores *checks;   /* of programs; apart, as somebody waits for them */
    uint64_t scan_pause_ns;  /* until the next look at pins that were still held */
    bool scan_is_armed, scan_is_due;
    uint64_t touches_due_ns; /* the next look at what clients have read */
    struct loop_task again;  /* one more turn, at once */
    uint64_t *done;          /* tokens of what is done already: the core is told at the turn's end; owned */
    size_t done_count, done_capacity;
    bool drain_wanted, is_stopping;
    bool owns_folder; /* it listens there: what else lies there is its own */
    struct loop_watch *lifeline, *parent;
    pthread_t populate_thread;
    bool populates;
    _Atomic bool populate_stop;
    /* memory for one entry on its way to the core */
    unsigned char *entry; /* CLIENT_MESSAGE_BYTES_MAX, aligned */
};

/* turn.c */
void daemon_step(struct daemon *daemon, struct core_event *event); /* now_ns is filled in; runs the commands */
void daemon_turn(void *daemon);
void daemon_again(struct daemon *daemon);
/* daemon.c: the loop ends with this turn. */
void daemon_stop(struct daemon *daemon, const char *why);

/* command.c. The command and what it points to are borrowed from daemon->out. */
void daemon_run_command(struct daemon *daemon, const struct core_command *command);
/* A reply to the guest: into its ring, or behind what is late. False when it does not fit and is `droppable`. */
bool guest_say(struct guest *guest, struct ring_producer *ring, const void *entry, size_t bytes, bool droppable);
void guest_say_late(struct guest *guest);
void guest_ring_bells(struct guest *guest);

/* guest.c. Guests are the daemon's: found anew by their keys after every turn.
 * guests_listen: 0, or the status of making the socket, with a text; nothing is left then. */
int guests_listen(struct daemon *daemon);
/* A memfd that nobody can shrink under our feet, and its bytes. */
int shared_memory_create(const char *name, size_t bytes, int *fd_out, void **memory_out);
struct guest *guest_find(struct daemon *daemon, struct core_client key);
/* Its end brings guest_is_over(); until then it is neither listened nor spoken to. */
void guest_kill(struct guest *guest);
void guest_destroy(struct guest *guest); /* also one that was met half-way; the core is told by others */
/* Its process has ended (and, of a worker, been reaped): everything it committed is read, then the core is told. */
void guest_is_over(struct guest *guest);

/* process.c. Processes and programs are the daemon's.
 * process_start: `spawn` is borrowed. A failure is told to the core from the loop, as CORE_DONE of the token.
 * process_kill: a token whose process has ended is passed over. */
void process_start(struct daemon *daemon, uint64_t token, const struct agent_spawn *spawn);
void process_kill(struct daemon *daemon, uint64_t token, int signal_number);
struct process *process_find(struct daemon *daemon, uint64_t token);
struct program *program_find(struct daemon *daemon, struct job_id job);
void program_drop_if_unused(struct daemon *daemon, struct program *program);
/* For a forker, which makes it in their place. The folder and the outputs may be there already. */
void process_folder(const struct process *process, char path_out[PROCESS_PATH_BYTES]);
int process_make_folder(const struct process *process, char path_out[PROCESS_PATH_BYTES]);
int process_open_outputs(struct process *process, int write_fds_out[2]); /* the caller's; -1 where there is none */
void process_launch(struct process *process);                            /* it is started */
void process_adopt(struct process *process, pid_t pid);                  /* it has been forked */
void processes_end(struct daemon *daemon); /* kills all; those that have begun leave through their exits */
/* The loop is gone: no check comes back any more. */
void programs_fini(struct daemon *daemon);

/* forker.c. `process->forker` is set also when it could not be made whole; `*child_fd_out` is the caller's. */
int forker_create(struct process *process, int *child_fd_out);
void forker_destroy(struct forker *forker);
/* It is to make this process; false: there is none that can. */
bool forker_take(struct forker *forker, struct process *process);
/* True: it had made the process, which is watched from now on. */
bool forker_adopt(struct process *process);
/* Its process has ended: the core is told, and what it was asked for is done by starting. */
void forker_is_over(struct forker *forker, int wait_status);

/* answer.c: what a command asks; `fn` as in leased_calls_answer(). */
int daemon_answer(struct daemon *daemon, uint32_t node, const struct proto_query *query, leased_rows_fn *fn, void *arg);

/* output.c */
struct worker_line { /* everything is borrowed for the call */
    struct guest *driver;
    struct node_id node; /* where the worker runs; none when that is not known yet */
    int64_t pid;
    const char *function, *node_name;
    bool is_stderr;
    uint32_t dropped;
};
/* A line, its newline included, to the driver's terminal. False: its ring is full. */
bool output_say(const struct worker_line *line, const char *text, size_t bytes);
/* `*write_fd_out` is the caller's, for the child. A status and nothing open when there is no pipe, or no watch of
 * it. */
int output_open(struct output *output, struct process *process, bool is_stderr, int *write_fd_out);
void output_close(struct output *output); /* reads what is left first */

#endif

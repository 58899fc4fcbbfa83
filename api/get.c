/* get.c - seeing an object's bytes
 *
 * Happy path: look (the own private objects, then the shared table: no system call, no message) -> a pinned view.
 *             Else what the look said:
 *               forward        look at what it names, at most STORE_FORWARDS_MAX times
 *               not here, yet  one wait for "on this node", asked of the agent; then look again
 *               failed         the failed task's code; its function, node, signal and words become the error's text
 * Failures:   the deadline -> ROOST_ETIMEDOUT, nothing is held. Of many objects one fails -> none is held.
 * Invariants: every pin that is handed to a task's code is on rt->views_list until it is released or the attempt ends.
 * Thread:     any.
 */
#include "api/client.h"
#include "common/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LOOKS_MAX = 64, /* "it is here" and then it is not, so often: something is wrong */
    RUN_MAX = 16    /* looks, and ends of looks, at once: so much of the memory is asked for at the same time */
};

/* ---- failures ---- */

struct wire_failure failure_of(const void *data, uint64_t size)
{
    struct wire_failure failure = { .status = ROOST_EFAILED };
    if (size >= offsetof(struct wire_failure, text)) { /* as much of the text as there is */
        memcpy(&failure, data, size < sizeof failure ? size : sizeof failure);
    }
    failure.status = failure.status < 0 ? failure.status : ROOST_EFAILED;
    failure.function[sizeof failure.function - 1] = '\0';
    failure.node[sizeof failure.node - 1] = '\0';
    failure.text[sizeof failure.text - 1] = '\0';
    return failure;
}

int failure_say(const struct wire_failure *failure)
{
    char where[320] = "", how[96] = "";
    if (failure->function[0] != '\0') {
        snprintf(where, sizeof where, "%s%s%s: ", failure->function, failure->node[0] != '\0' ? " on " : "",
                 failure->node);
    }
    size_t used = 0;
    if (failure->pid != 0) {
        used += (size_t)snprintf(how + used, sizeof how - used, ", pid %" PRId64, failure->pid);
    }
    if (failure->signal != 0) {
        used += (size_t)snprintf(how + used, sizeof how - used, ", signal %d", failure->signal);
    }
    if (failure->app_code != 0) {
        used += (size_t)snprintf(how + used, sizeof how - used, ", app code %d", failure->app_code);
    }
    if (failure->attempts > 1) {
        snprintf(how + used, sizeof how - used, ", %d attempts", failure->attempts);
    }
    const char *text = failure->text[0] != '\0' ? failure->text : error_name(failure->status);
    return error_set(failure->status, "%s%s%s%s%s", where, text, how[0] != '\0' ? " (" : "",
                     how[0] != '\0' ? how + 2 : "", how[0] != '\0' ? ")" : "");
}

int client_failure(struct roost *rt, const struct store_view *view, int answer)
{
    if (answer == STORE_GET_FAILED) {
        return error_set(view->status, "%s", error_name(view->status));
    }
    struct wire_failure failure = failure_of(view->data, view->size);
    rt->world->release(rt, view->pin);
    return failure_say(&failure);
}

int client_peek(struct roost *rt, roost_ref ref, roost_ref *forward_out)
{
    struct store_view view;
    int answer = rt->world->look(rt, ref, LOOK_PEEK, &view);
    if ((answer == 0 || answer == STORE_GET_ERROR) && view.pin != 0) {
        rt->world->release(rt, view.pin);
    }
    if (answer == STORE_GET_FORWARD && forward_out != NULL) {
        *forward_out = view.forward;
    }
    return answer;
}

static bool is_failure(int answer) { return answer == STORE_GET_FAILED || answer == STORE_GET_ERROR; }

/* The agent says that `ref` failed. What is written about it, if anything, lies under its own name, or came with
 * that. */
static int refused(struct roost *rt, roost_ref ref, int code, const char *why)
{
    struct store_view view;
    int answer = rt->world->look(rt, object_ref(object_id_of(ref)), LOOK_BRIEF, &view);
    if (is_failure(answer)) {
        return client_failure(rt, &view, answer);
    }
    if (answer == 0) {
        rt->world->release(rt, view.pin);
    }
    if (why[0] != '\0') {
        return error_set(code, "%s", why);
    }
    char id[ID_TEXT_BYTES];
    return error_set(code, "object %s: %s", object_id_print(object_id_of(ref), id), error_name(code));
}

/* ---- one ---- */

static int wait_here(struct roost *rt, roost_ref ref, uint64_t deadline)
{
    int8_t ready = 0;
    struct wait_why why;
    why.text[0] = '\0';
    const struct wait_request request = { &ref, 1, 1, true, &ready, client_time_left(deadline), &why };
    int status = rt->world->wait(rt, &request);
    if (ready < 0) {
        return refused(rt, ref, ready, why.text);
    }
    if (status == ROOST_ETIMEDOUT) {
        char id[ID_TEXT_BYTES];
        return error_set(status, "timed out: object %s is not ready here", object_id_print(object_id_of(ref), id));
    }
    return status;
}

/* Look at `*ref`, following forwards. Positive answers: ASK or WAIT, for what `*ref` has become. */
static int look_through(struct roost *rt, roost_ref *ref, enum look_how how, struct store_view *view)
{
    for (int hops = 0; hops <= STORE_FORWARDS_MAX; hops++) {
        int answer = rt->world->look(rt, *ref, how, view);
        if (is_failure(answer)) {
            return client_failure(rt, view, answer);
        }
        if (answer != STORE_GET_FORWARD) {
            return answer;
        }
        *ref = view->forward;
    }
    return error_set(ROOST_ELIMIT, "a result names a result, and so on, more than %d times (STORE_FORWARDS_MAX)",
                     STORE_FORWARDS_MAX);
}

/* The clock is read only by who waits: a look at what is here takes little longer than reading it. */
int client_view(struct roost *rt, roost_ref ref, enum look_how how, int timeout_ms, struct store_view *view_out)
{
    uint64_t deadline = 0;
    for (int looks = 0; looks < LOOKS_MAX; looks++) {
        int status = look_through(rt, &ref, how, view_out);
        if (status <= 0) {
            return status;
        }
        deadline = looks == 0 ? client_deadline(timeout_ms) : deadline;
        status = wait_here(rt, ref, deadline);
        if (status != 0) {
            return status;
        }
    }
    char id[ID_TEXT_BYTES];
    return error_set(ROOST_EIO, "object %s was said to be here %d times, and was not",
                     object_id_print(object_id_of(ref), id), LOOKS_MAX);
}

/* ---- looks that tasks take ---- */

struct task_view {
    struct list_node node;
    uint64_t pin, scope;
};

static struct id_key key_of(uint64_t pin) { return (struct id_key){ 1, pin }; }

/* ROOST_ENOMEM: not noted. */
static int view_note(struct roost *rt, uint64_t scope, uint64_t pin)
{
    if (scope == 0 || pin == 0) {
        return 0;
    }
    struct task_view *view = malloc(sizeof *view);
    if (view == NULL) {
        return ROOST_ENOMEM;
    }
    *view = (struct task_view){ .pin = pin, .scope = scope };
    pthread_mutex_lock(&rt->lock);
    int status = id_map_put(&rt->views, key_of(pin), view);
    if (status == 0) {
        list_append(&rt->views_list, &view->node);
    }
    pthread_mutex_unlock(&rt->lock);
    if (status != 0) {
        free(view);
    }
    return status;
}

/* In a task, a pin that is not noted ended with an earlier attempt: nothing to release. */
static bool view_forget(struct roost *rt, uint64_t scope, uint64_t pin)
{
    if (scope == 0) {
        return true;
    }
    pthread_mutex_lock(&rt->lock);
    struct task_view *view = id_map_remove(&rt->views, key_of(pin));
    if (view != NULL) {
        list_remove(&view->node);
    }
    pthread_mutex_unlock(&rt->lock);
    free(view);
    return view != NULL;
}

void views_close_scope(struct roost *rt, uint64_t scope)
{
    struct list_node ended; /* released without the lock: the world has its own */
    list_init(&ended);
    pthread_mutex_lock(&rt->lock);
    LIST_EACH_SAFE (at, &rt->views_list) {
        struct task_view *view = CONTAINER_OF(at, struct task_view, node);
        if (view->scope == scope) {
            id_map_remove(&rt->views, key_of(view->pin));
            list_remove(&view->node);
            list_append(&ended, &view->node);
        }
    }
    pthread_mutex_unlock(&rt->lock);
    LIST_EACH_SAFE (at, &ended) {
        struct task_view *view = CONTAINER_OF(at, struct task_view, node);
        rt->world->release(rt, view->pin);
        free(view);
    }
}

static int hand_out(struct roost *rt, const struct store_view *view, roost_view *view_out)
{
    if (view_note(rt, client_scope(rt), view->pin) != 0) {
        rt->world->release(rt, view->pin);
        return error_set(ROOST_ENOMEM, "no memory to note a view");
    }
    *view_out = (roost_view){ view->data, view->size, view->pin };
    return 0;
}

/* ---- the calls ---- */

static int check_ref(struct roost *rt, const char *call, roost_ref ref, const void *out, int timeout_ms)
{
    int status = client_check(rt, call);
    if (status != 0) {
        return status;
    }
    if (out == NULL) {
        return error_set(ROOST_EINVAL, "%s: the output is NULL", call);
    }
    if (object_id_is_none(object_id_of(ref))) {
        return error_set(ROOST_EINVAL, "%s: the ref names nothing", call);
    }
    if (timeout_ms < ROOST_FOREVER) {
        return error_set(ROOST_EINVAL, "%s: a timeout of %d ms", call, timeout_ms);
    }
    return 0;
}

int roost_get(struct roost *rt, roost_ref ref, roost_view *view_out, int timeout_ms)
{
    struct store_view view;
    int status = check_ref(rt, "roost_get", ref, view_out, timeout_ms);
    if (status == 0) {
        status = client_view(rt, ref, LOOK_LASTING, timeout_ms, &view);
    }
    return status == 0 ? hand_out(rt, &view, view_out) : status;
}

void roost_release(struct roost *rt, roost_view *view)
{
    if (view == NULL || client_check(rt, "roost_release") != 0) {
        return;
    }
    if (view->pin != 0 && view_forget(rt, client_scope(rt), view->pin)) {
        rt->world->release(rt, view->pin);
    }
    *view = (roost_view){ NULL, 0, 0 };
}

int roost_get_copy(struct roost *rt, roost_ref ref, void *data_out, size_t size, int timeout_ms)
{
    struct store_view view;
    int status = check_ref(rt, "roost_get_copy", ref, size == 0 ? &view : data_out, timeout_ms);
    if (status == 0) {
        status = client_view(rt, ref, LOOK_BRIEF, timeout_ms, &view);
    }
    if (status != 0) {
        return status;
    }
    if (view.size != size) {
        status = error_set(ROOST_ESIZE, "roost_get_copy: the object has %" PRIu64 " bytes, wanted %zu", view.size,
                           size);
    } else if (size > 0) {
        memcpy(data_out, view.data, size);
    }
    rt->world->release(rt, view.pin);
    return status;
}

/* ---- many ---- */

/* Those that are not here yet, and which of the refs each is. */
struct missing {
    roost_ref *refs;
    size_t *which;
    int8_t *ready;
    size_t count;
};

static int missing_init(struct missing *missing, size_t count)
{
    *missing = (struct missing){ malloc(count * sizeof(roost_ref)), malloc(count * sizeof(size_t)), malloc(count), 0 };
    return missing->refs != NULL && missing->which != NULL && missing->ready != NULL ? 0 : ROOST_ENOMEM;
}

static void missing_fini(struct missing *missing)
{
    free(missing->refs);
    free(missing->which);
    free(missing->ready);
}

static roost_view view_of(const struct store_view *view) { return (roost_view){ view->data, view->size, view->pin }; }

/* Wait for all that are missing, then look again; what is still missing stays. */
static int see_missing(struct roost *rt, struct missing *missing, size_t total, uint64_t deadline, roost_view *views)
{
    struct wait_why why;
    why.text[0] = '\0';
    memset(missing->ready, 0, missing->count);
    const struct wait_request request = { .refs = missing->refs,
                                          .total = (uint32_t)missing->count,
                                          .wanted = (uint32_t)missing->count,
                                          .fetch = true,
                                          .ready = missing->ready,
                                          .timeout_ms = client_time_left(deadline),
                                          .why = &why };
    int status = rt->world->wait(rt, &request);
    size_t still = 0;
    for (size_t i = 0; i < missing->count; i++) {
        size_t which = missing->which[i];
        roost_ref ref = missing->refs[i];
        client_look_ahead(rt, missing->refs, i, missing->count);
        struct store_view view;
        int seen = missing->ready[i] < 0 ? refused(rt, ref, missing->ready[i], why.index == i ? why.text : "")
                                         : look_through(rt, &ref, LOOK_LASTING, &view);
        if (seen < 0) {
            return error_prefix(seen, "ref %zu of %zu", which, total);
        }
        if (seen == 0) {
            views[which] = view_of(&view);
        } else {
            missing->refs[still] = ref;
            missing->which[still++] = which;
        }
    }
    missing->count = still;
    if (status == ROOST_ETIMEDOUT && still > 0) {
        return error_set(status, "timed out: %zu of %zu objects are not ready here", still, total);
    }
    return status == ROOST_ETIMEDOUT ? 0 : status;
}

/* Look at one; note that it is missing, or see it. */
static int see_one(struct roost *rt, const roost_ref *refs, size_t count, size_t which, struct missing *missing,
                   roost_view *view_out)
{
    roost_ref ref = refs[which];
    struct store_view view;
    client_look_ahead(rt, refs, which, count);
    int seen = look_through(rt, &ref, LOOK_LASTING, &view);
    if (seen == 0) {
        *view_out = view_of(&view);
    }
    if (seen <= 0) {
        return seen == 0 ? 0 : error_prefix(seen, "ref %zu of %zu", which, count);
    }
    if (missing->refs == NULL) {
        ROOST_TRY(missing_init(missing, count - which));
    }
    missing->refs[missing->count] = ref;
    missing->which[missing->count++] = which;
    return 0;
}

/* Those that are seen at once, a run at a time; the others one by one. Where one is missing, so is the next as a rule:
 * runs are tried again, longer and longer, from the next one on that is there. */
static int see_present(struct roost *rt, const roost_ref *refs, size_t count, struct missing *missing,
                       roost_view *views)
{
    struct store_view run[RUN_MAX];
    size_t run_max = rt->world->look_run != NULL ? RUN_MAX : 1;
    for (size_t i = 0; i < count;) {
        size_t left = count - i < run_max ? count - i : run_max;
        size_t seen = left > 1 ? rt->world->look_run(rt, &refs[i], left, run) : 0;
        for (size_t k = 0; k < seen; k++) {
            views[i + k] = view_of(&run[k]);
        }
        i += seen;
        if (seen < left) {
            size_t missing_before = missing->count;
            ROOST_TRY(see_one(rt, refs, count, i, missing, &views[i]));
            bool is_there = missing->count == missing_before && rt->world->look_run != NULL;
            run_max = !is_there ? 1 : 2 * run_max < RUN_MAX ? 2 * run_max : RUN_MAX;
            i++;
        }
    }
    return 0;
}

/* `views` are zeroed; on failure some are pinned. */
static int see_all(struct roost *rt, const roost_ref *refs, size_t count, uint64_t deadline, roost_view *views)
{
    struct missing missing = { NULL, NULL, NULL, 0 };
    int status = see_present(rt, refs, count, &missing, views);
    for (int looks = 0; status == 0 && missing.count > 0; looks++) {
        status = looks < LOOKS_MAX ? see_missing(rt, &missing, count, deadline, views)
                                   : error_set(ROOST_EIO, "objects were said to be here %d times, and were not", looks);
    }
    missing_fini(&missing);
    return status;
}

static void release_pins(struct roost *rt, const uint64_t *pins, size_t count)
{
    if (rt->world->release_many != NULL) {
        rt->world->release_many(rt, pins, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        rt->world->release(rt, pins[i]);
    }
}

int roost_get_many(struct roost *rt, const roost_ref *refs, size_t count, roost_view *views_out, int timeout_ms)
{
    int status = client_check(rt, "roost_get_many");
    if (status != 0 || count == 0) {
        return status;
    }
    if (refs == NULL || views_out == NULL || timeout_ms < ROOST_FOREVER) {
        return error_set(ROOST_EINVAL, "roost_get_many: refs or views_out is NULL, or a timeout of %d ms", timeout_ms);
    }
    if (count > CLIENT_PINS_MAX) {
        return error_set(ROOST_ELIMIT, "roost_get_many: %zu views at once, at most %d (CLIENT_PINS_MAX)", count,
                         CLIENT_PINS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (object_id_is_none(object_id_of(refs[i]))) {
            return error_set(ROOST_EINVAL, "roost_get_many: ref %zu names nothing", i);
        }
    }
    roost_view *views = calloc(count, sizeof *views);
    if (views == NULL) {
        return error_set(ROOST_ENOMEM, "roost_get_many: no memory for %zu views", count);
    }
    status = see_all(rt, refs, count, client_deadline(timeout_ms), views);
    size_t noted = 0;
    uint64_t scope = client_scope(rt);
    while (status == 0 && noted < count) {
        status = view_note(rt, scope, views[noted].pin);
        noted += status == 0;
    }
    for (size_t i = 0; status != 0 && i < count; i++) {
        if (views[i].pin != 0) {
            view_forget(rt, i < noted ? scope : 0, views[i].pin);
            rt->world->release(rt, views[i].pin);
        }
    }
    if (status == 0) {
        memcpy(views_out, views, count * sizeof *views);
    }
    free(views);
    return status;
}

void roost_release_many(struct roost *rt, roost_view *views, size_t count)
{
    if (views == NULL || client_check(rt, "roost_release_many") != 0) {
        return;
    }
    uint64_t pins[RUN_MAX], scope = client_scope(rt);
    size_t pins_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (views[i].pin != 0 && view_forget(rt, scope, views[i].pin)) {
            pins[pins_count++] = views[i].pin;
        }
        views[i] = (roost_view){ NULL, 0, 0 };
        if (pins_count == RUN_MAX || (i + 1 == count && pins_count > 0)) {
            release_pins(rt, pins, pins_count);
            pins_count = 0;
        }
    }
}

/* ---- why ---- */

/* Not known here: does the agent know that it failed? */
static int ask_code(struct roost *rt, roost_ref ref, int *code_out)
{
    int8_t ready = 0;
    const struct wait_request request = { &ref, 1, 1, false, &ready, 0, NULL };
    int status = rt->world->wait(rt, &request);
    *code_out = ready < 0 ? ready : 0;
    return status == ROOST_ETIMEDOUT || status == ROOST_EDEADLOCK ? 0 : status;
}

static int find_failure(struct roost *rt, roost_ref ref, struct wire_failure *failure_out)
{
    bool has_asked = false;
    *failure_out = (struct wire_failure){ .status = 0 };
    ref = object_ref(object_id_of(ref));
    for (int hops = 0; hops <= STORE_FORWARDS_MAX + 1; hops++) {
        struct store_view view;
        int answer = rt->world->look(rt, ref, LOOK_BRIEF, &view);
        if (answer == STORE_GET_FORWARD) {
            ref = object_ref(object_id_of(view.forward));
        } else if (answer == STORE_GET_ERROR || answer == 0) {
            *failure_out = answer == 0 ? *failure_out : failure_of(view.data, view.size);
            rt->world->release(rt, view.pin);
            return 0;
        } else if (answer == STORE_GET_FAILED || answer < 0) {
            failure_out->status = answer < 0 ? answer : view.status;
            return 0;
        } else if (!has_asked) {
            has_asked = true;
            int status = ask_code(rt, ref, &failure_out->status);
            if (status != 0 || failure_out->status == 0) {
                return status;
            } /* it failed: one more look, for its words */
        } else {
            return 0;
        }
    }
    return 0;
}

int roost_explain(struct roost *rt, roost_ref ref, struct roost_error *error_out)
{
    int status = check_ref(rt, "roost_explain", ref, error_out, 0);
    if (status != 0) {
        return status;
    }
    size_t size = error_out->size;
    if (size < offsetof(struct roost_error, app_code) || size > sizeof *error_out) {
        return error_set(ROOST_EINVAL, "roost_explain: error_out->size is %zu; begin with ROOST_ERROR_INIT", size);
    }
    struct wire_failure failure;
    status = find_failure(rt, ref, &failure);
    if (status != 0) {
        return status;
    }
    if (failure.status == 0 && rt->world->explain != NULL) {
        rt->world->explain(rt, object_id_of(ref), &failure);
    }
    struct roost_error error = { .size = size,
                                 .status = failure.status,
                                 .app_code = failure.app_code,
                                 .signal = failure.signal,
                                 .attempts = failure.attempts,
                                 .pid = failure.pid };
    memcpy(error.function, failure.function, sizeof error.function);
    memcpy(error.node, failure.node, sizeof error.node);
    const char *text = failure.status != 0 && failure.text[0] == '\0' ? error_name(failure.status) : failure.text;
    snprintf(error.text, sizeof error.text, "%s", text);
    memcpy(error_out, &error, size);
    return 0;
}

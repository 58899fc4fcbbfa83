/* placement.c - the decision: which of a few candidates would start the task first
 *
 * Owns no state of its own: it reads what placement_node.c and placement_book.c keep, and uses the scratch.
 *
 * Happy path: survey the inputs (where each would be pulled from, what lies where), collect candidates, judge each,
 *             take the least (of a spread: crowd, queue, turn; then start, pressure, number); a window that is full keeps the task
 *             queued.
 * Failures:   no candidate -> waits for suspects, is demand, or is infeasible for ever.
 * Thread:     the core's.
 */
#include "common/contract.h"
#include "scheduler/core/placement_internal.h"

#include <stdlib.h>

enum {
    CANDIDATES_MAX = 5 * PLACEMENT_CANDIDATES,
    FETCH_INPUTS_MAX = 8 /* of which one node each is fetched ahead */
};

/* ------------------------------------------------------------------------------------------------ inputs */

static bool contains(struct placement *placement, const uint32_t *nodes, uint32_t count, uint32_t node)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        placement->steps++;
        if (nodes[middle] == node) {
            return true;
        }
        if (nodes[middle] < node) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

static void note_here(struct placement *placement, uint32_t number, uint64_t bytes)
{
    struct node *node = node_at(placement, number);
    if (node == NULL) {
        return;
    }
    if (node->here_stamp != placement->stamp) {
        node->here_stamp = placement->stamp;
        node->here_bytes = 0;
        placement->here_nodes[placement->here_count++] = number;
    }
    node->here_bytes += bytes;
}

/* Walks at most PLACEMENT_COPIES_MAX of a list, evenly; which ones moves on with every booking. */
struct sample {
    const uint32_t *nodes;
    uint32_t count, step, at;
};

static struct sample sample_of(const struct placement *placement, const uint32_t *nodes, uint32_t count)
{
    uint32_t step = (count + PLACEMENT_COPIES_MAX - 1) / PLACEMENT_COPIES_MAX;
    return (struct sample){ nodes, count, step, step <= 1 ? 0 : (uint32_t)(placement->booked_count % step) };
}

static bool sample_next(struct placement *placement, struct sample *sample, uint32_t *node_out)
{
    if (sample->at >= sample->count) {
        return false;
    }
    placement->steps++;
    *node_out = sample->nodes[sample->at];
    sample->at += sample->step;
    return true;
}

/* Is `a` the better node to pull from? Suspects are the last resort; then the one whose network is free first. */
static bool is_better_source(const struct node *a, const struct node *b)
{
    if (a->suspended != b->suspended) {
        return b->suspended;
    }
    return nic_time_ns(a->bytes_out, a->pace_out) < nic_time_ns(b->bytes_out, b->pace_out);
}

static uint32_t survey_list(struct placement *placement, const uint32_t *nodes, uint32_t count, uint64_t bytes)
{
    uint32_t source = PLACEMENT_NOWHERE, number;
    struct sample sample = sample_of(placement, nodes, count);
    while (sample_next(placement, &sample, &number)) {
        const struct node *node = node_at(placement, number);
        note_here(placement, number, bytes);
        if (node != NULL && (source == PLACEMENT_NOWHERE || is_better_source(node, &placement->nodes[source]))) {
            source = number;
        }
    }
    return source;
}

static int reserve_sources(struct placement *placement, uint32_t inputs_count)
{
    if (inputs_count <= placement->input_sources_capacity) {
        return 0;
    }
    size_t capacity = (size_t)inputs_count * 2;
    uint32_t *bigger = realloc(placement->input_sources, capacity * sizeof *bigger);
    if (bigger == NULL) {
        return ROOST_ENOMEM;
    }
    placement->input_sources = bigger;
    placement->input_sources_capacity = capacity;
    return 0;
}

int inputs_survey(struct placement *placement, const struct placement_request *request)
{
    int status = reserve_sources(placement, request->inputs_count);
    if (status != 0) {
        return status;
    }
    placement->stamp++;
    placement->here_count = 0;
    for (uint32_t i = 0; i < request->inputs_count && i < FETCH_INPUTS_MAX; i++) {
        if (request->inputs[i].copies_count > 0 && request->inputs[i].copies[0] < placement->nodes_capacity) {
            node_fetch(placement, request->inputs[i].copies[0]);
        }
    }
    for (uint32_t i = 0; i < request->inputs_count; i++) {
        const struct placement_input *input = &request->inputs[i];
        uint32_t source = survey_list(placement, input->copies, input->copies_count, input->bytes);
        uint32_t later = survey_list(placement, input->coming, input->coming_count, input->bytes);
        placement->input_sources[i] = source != PLACEMENT_NOWHERE ? source : later;
    }
    return 0;
}

static void note_share(struct placement *placement, uint32_t source, uint64_t bytes)
{
    struct node *node = &placement->nodes[source];
    if (node->share_stamp != placement->stamp) {
        node->share_stamp = placement->stamp;
        node->share_bytes = 0;
        placement->share_nodes[placement->share_count++] = source;
    }
    node->share_bytes += bytes;
}

uint64_t inputs_missing_at(struct placement *placement, const struct placement_request *request, uint32_t node)
{
    uint64_t missing_bytes = 0;
    placement->stamp++; /* of the shares; what lies where has been read by now */
    placement->share_count = 0;
    for (uint32_t i = 0; i < request->inputs_count; i++) {
        const struct placement_input *input = &request->inputs[i];
        uint32_t source = placement->input_sources[i];
        placement->steps++;
        if (source == PLACEMENT_NOWHERE || source == node ||
            contains(placement, input->copies, input->copies_count, node) ||
            contains(placement, input->coming, input->coming_count, node)) {
            continue;
        }
        missing_bytes += input->bytes;
        note_share(placement, source, input->bytes);
    }
    return missing_bytes;
}

/* ------------------------------------------------------------------------------------------------ judging */

static uint64_t net_ns_of(const struct placement *placement, const struct node *node, uint64_t missing_bytes,
                          enum view view)
{
    if (missing_bytes == 0) {
        return 0;
    }
    bool is_first = view == VIEW_FIRST;
    uint64_t bytes_in = node->bytes_in - (is_first ? node->plan.bytes_in : 0);
    uint64_t net_ns = nic_time_ns(bytes_in + missing_bytes, node->pace_in);
    for (uint32_t i = 0; i < placement->share_count; i++) {
        const struct node *source = &placement->nodes[placement->share_nodes[i]];
        uint64_t bytes_out = source->bytes_out - (is_first ? source->plan.bytes_out : 0);
        uint64_t source_ns = nic_time_ns(bytes_out + source->share_bytes, source->pace_out);
        net_ns = source_ns > net_ns ? source_ns : net_ns;
    }
    return net_ns;
}

/* Bytes on the wire cost more than the task that asks for them: whoever comes next finds both networks busy. So a
 * share of their time is added to the start. Without it, nodes whose network is free draw tasks away from their data
 * until all networks are full of moved bytes. How much it is worth stands in scheduler/README.md. */
static uint64_t toll_ns_of(const struct node *node, uint64_t missing_bytes)
{
    return nic_time_ns(missing_bytes, node->pace_in) * PLACEMENT_TOLL_PERCENT / 100;
}

struct judgement judge(struct placement *placement, const struct placement_request *request, uint32_t number,
                       enum view view, const struct placement_booking *booking)
{
    const struct node *node = &placement->nodes[number];
    uint64_t missing_bytes = inputs_missing_at(placement, request, number);
    uint64_t wait_ns = node_wait_ns(node, need_of(request), view);
    struct load cpus = node->cpus;
    cpus.used += view == VIEW_EARLY ? node->early.used : 0;
    cpus.used -= view == VIEW_FIRST ? node->plan.cpus.used : 0;
    const struct spread *spread = spread_of(placement, spread_wish(request->kind));
    uint64_t place = spread != NULL ? ranking_key(&spread->fewest, number) : 0;
    bool counts_here = booking != NULL && booking->node == number && booking->is_spread;
    return (struct judgement){
        .node = number,
        .start_ns = wait_ns + net_ns_of(placement, node, missing_bytes, view),
        .toll_ns = toll_ns_of(node, missing_bytes),
        .missing_bytes = missing_bytes,
        .crowd = spread_tasks(place) - (counts_here ? 1 : 0),
        .queue_ns = spread != NULL ? wait_ns : 0,
        .turn = spread_turn(place),
        .pressure = load_pressure(&cpus),
    };
}

/* A wish to be spread comes before the data: else one small argument would keep a whole row of short tasks at home. */
bool is_better(const struct judgement *a, const struct judgement *b)
{
    const uint64_t a_by[] = { a->crowd, a->queue_ns, a->turn, a->start_ns + a->toll_ns, a->pressure, a->node };
    const uint64_t b_by[] = { b->crowd, b->queue_ns, b->turn, b->start_ns + b->toll_ns, b->pressure, b->node };
    size_t i = 0;
    while (a_by[i] == b_by[i] && i < ROOST_COUNT_OF(a_by) - 1) {
        i++;
    }
    return a_by[i] < b_by[i];
}

/* ------------------------------------------------------------------------------------------------ candidates */

struct candidates {
    uint32_t nodes[CANDIDATES_MAX];
    uint32_t count;
};

static bool may_run(struct placement *placement, const struct placement_request *request, uint32_t number)
{
    const struct node *node = node_at(placement, number);
    return node != NULL && !node->suspended && node_is_big_enough(node, need_of(request)) &&
           (request->avoid == 0 || request->avoid != number) &&
           (request->allowed == NULL || contains(placement, request->allowed, request->allowed_count, number));
}

static void consider(struct candidates *candidates, uint32_t node)
{
    for (uint32_t i = 0; i < candidates->count; i++) {
        if (candidates->nodes[i] == node) {
            return;
        }
    }
    ROOST_INVARIANT(candidates->count < CANDIDATES_MAX);
    candidates->nodes[candidates->count++] = node;
}

/* The few least by (key, number), kept while others go by. */
struct shortlist {
    struct {
        uint64_t key;
        uint32_t node;
    } best[PLACEMENT_CANDIDATES];
    uint32_t count;
};

static void shortlist_offer(struct shortlist *list, uint64_t key, uint32_t node)
{
    uint32_t at = list->count;
    while (at > 0 &&
           (key < list->best[at - 1].key || (key == list->best[at - 1].key && node < list->best[at - 1].node))) {
        at--;
    }
    if (at >= PLACEMENT_CANDIDATES) {
        return;
    }
    list->count += list->count < PLACEMENT_CANDIDATES ? 1 : 0;
    for (uint32_t i = list->count - 1; i > at; i--) {
        list->best[i] = list->best[i - 1];
    }
    list->best[at].key = key;
    list->best[at].node = node;
}

static void consider_shortlist(struct candidates *candidates, const struct shortlist *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        consider(candidates, list->best[i].node);
    }
}

static void collect_by_bytes(struct placement *placement, const struct placement_request *request,
                             struct candidates *candidates)
{
    struct shortlist list = { .count = 0 };
    for (uint32_t i = 0; i < placement->here_count; i++) {
        uint32_t number = placement->here_nodes[i];
        placement->steps++;
        if (may_run(placement, request, number)) {
            shortlist_offer(&list, UINT64_MAX - placement->nodes[number].here_bytes, number);
        }
    }
    consider_shortlist(candidates, &list);
}

static void collect_by_ranking(struct placement *placement, const struct placement_request *request,
                               const struct ranking *ranking, struct candidates *candidates)
{
    if (request->allowed == NULL) {
        uint32_t least[PLACEMENT_CANDIDATES + 1], wanted = PLACEMENT_CANDIDATES + (request->avoid != 0 ? 1 : 0);
        uint32_t count = ranking_least(ranking, need_of(request), wanted, least, &placement->steps);
        for (uint32_t i = 0; i < count; i++) {
            if (request->avoid == 0 || least[i] != request->avoid) {
                consider(candidates, least[i]);
            }
        }
        return;
    }
    struct shortlist list = { .count = 0 };
    for (uint32_t i = 0; i < request->allowed_count; i++) {
        uint32_t number = request->allowed[i];
        placement->steps++;
        if (may_run(placement, request, number)) {
            shortlist_offer(&list, ranking_key(ranking, number), number);
        }
    }
    consider_shortlist(candidates, &list);
}

static const struct ranking *ranking_of(const struct placement *placement, enum view view)
{
    return view == VIEW_EARLY ? &placement->soonest_early : &placement->soonest;
}

static struct candidates collect(struct placement *placement, const struct placement_request *request, enum view view)
{
    struct candidates candidates = { .count = 0 };
    if (request->wish != PLACEMENT_ANYWHERE && may_run(placement, request, request->node)) {
        consider(&candidates, request->node);
        return candidates;
    }
    if (request->wish == PLACEMENT_HARD) {
        return candidates;
    }
    collect_by_bytes(placement, request, &candidates);
    collect_by_ranking(placement, request, ranking_of(placement, view), &candidates);
    const struct spread *spread = spread_of(placement, spread_wish(request->kind));
    if (spread != NULL) {
        collect_by_ranking(placement, request, &spread->fewest, &candidates);
    }
    if (candidates.count == 0 && request->avoid != 0) {
        struct placement_request anywhere = *request;
        anywhere.avoid = 0;
        return collect(placement, &anywhere, view);
    }
    return candidates;
}

bool may_go(struct placement *placement, const struct placement_request *request, uint32_t node)
{
    bool is_drawn = request->wish != PLACEMENT_ANYWHERE && request->node != node;
    return may_run(placement, request, node) &&
           (!is_drawn || (request->wish == PLACEMENT_SOFT && !may_run(placement, request, request->node)));
}

/* ------------------------------------------------------------------------------------------------ the verdict */

static bool would_do(const struct placement *placement, const struct placement_request *request, uint32_t number)
{
    const struct node *node = node_at(placement, number);
    return node != NULL && node->suspended && node_is_big_enough(node, need_of(request));
}

static bool waits_for_a_suspect(struct placement *placement, const struct placement_request *request)
{
    if (request->wish == PLACEMENT_HARD) {
        return would_do(placement, request, request->node);
    }
    if (request->allowed == NULL) {
        return ranking_has(&placement->away, need_of(request), &placement->steps);
    }
    for (uint32_t i = 0; i < request->allowed_count; i++) {
        if (would_do(placement, request, request->allowed[i])) {
            return true;
        }
    }
    return false;
}

static enum placement_verdict why_nowhere(struct placement *placement, const struct placement_request *request)
{
    if (waits_for_a_suspect(placement, request)) {
        return PLACEMENT_QUEUED;
    }
    struct ranking_need need = need_of(request);
    bool could_grow = need.cpus <= placement->growth.cpus && need.memory_kib <= placement->growth.memory_kib;
    return request->wish != PLACEMENT_HARD && could_grow ? PLACEMENT_INFEASIBLE_NOW : PLACEMENT_INFEASIBLE;
}

bool placement_fits(const struct placement *placement, const struct placement_request *request, uint32_t number)
{
    const struct node *node = node_at(placement, number);
    return node != NULL && node_is_big_enough(node, need_of(request));
}

static bool is_any(struct placement *placement, struct ranking_need need)
{
    return ranking_has(&placement->soonest, need, &placement->steps) ||
           ranking_has(&placement->away, need, &placement->steps);
}

/* Of an empty cluster nothing is known but that it is empty. */
enum placement_verdict placement_outlook(struct placement *placement, const struct placement_request *request)
{
    bool is_hard = request->wish == PLACEMENT_HARD;
    if (is_hard ? placement_fits(placement, request, request->node) : is_any(placement, need_of(request))) {
        return PLACEMENT_QUEUED;
    }
    bool is_empty = !is_any(placement, (struct ranking_need){ 0, 0 });
    return is_empty && !is_hard ? PLACEMENT_INFEASIBLE_NOW : why_nowhere(placement, request);
}

static bool has_room(const struct node *node, const struct placement_request *request, enum view view)
{
    uint64_t taken = node->early.used;
    return view != VIEW_EARLY ? node_has_room(node, request->cpus)
                              : taken == 0 || taken + window_charge(request->cpus) <= node_window(node);
}

struct placement_choice decide(struct placement *placement, const struct placement_request *request, enum view view)
{
    struct candidates candidates = collect(placement, request, view);
    if (candidates.count == 0) {
        return (struct placement_choice){ why_nowhere(placement, request), PLACEMENT_NOWHERE, 0, 0 };
    }
    for (uint32_t i = 0; i < candidates.count; i++) {
        node_fetch(placement, candidates.nodes[i]);
    }
    struct judgement best = judge(placement, request, candidates.nodes[0], view, NULL);
    for (uint32_t i = 1; i < candidates.count; i++) {
        struct judgement next = judge(placement, request, candidates.nodes[i], view, NULL);
        best = is_better(&next, &best) ? next : best;
    }
    bool room = has_room(&placement->nodes[best.node], request, view);
    return (struct placement_choice){ room ? PLACEMENT_CHOSEN : PLACEMENT_QUEUED, best.node, best.start_ns,
                                      best.missing_bytes };
}

int placement_choose(struct placement *placement, const struct placement_request *request,
                     struct placement_choice *choice_out)
{
    int status = inputs_survey(placement, request);
    if (status == 0) {
        *choice_out = decide(placement, request, VIEW_LAST);
    }
    return status;
}

static bool is_early_enough(const struct placement_request *request)
{
    uint64_t existing = request->inputs_wanted - request->inputs_missing;
    return request->inputs_missing <= 1 ||
           (request->gather && existing * 100 >= (uint64_t)request->inputs_wanted * PLACEMENT_EARLY_PERCENT);
}

int placement_choose_early(struct placement *placement, const struct placement_request *request,
                           struct placement_choice *choice_out)
{
    ROOST_PRE(request->inputs_missing <= request->inputs_wanted);
    if (!is_early_enough(request)) {
        *choice_out = (struct placement_choice){ PLACEMENT_TOO_EARLY, PLACEMENT_NOWHERE, 0, 0 };
        return 0;
    }
    int status = inputs_survey(placement, request);
    if (status == 0) {
        *choice_out = decide(placement, request, VIEW_EARLY);
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------ why not */

/* Missing part of what is needed, in 1/65536. */
static uint64_t lack_of(uint64_t need, uint64_t capacity)
{
    return need <= capacity ? 0 : (uint64_t)((unsigned __int128)(need - capacity) * 65536 / need);
}

void placement_nearest(const struct placement *placement, const struct placement_request *request,
                       struct placement_lack *lack_out)
{
    struct ranking_need need = need_of(request);
    uint64_t least = UINT64_MAX;
    *lack_out = (struct placement_lack){ PLACEMENT_NOWHERE, 0, 0 };
    uint32_t count = request->allowed != NULL ? request->allowed_count : placement->nodes_capacity;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = request->allowed != NULL ? request->allowed[i] : i;
        const struct node *node = node_at(placement, number);
        if (node == NULL || (request->wish == PLACEMENT_HARD && number != request->node)) {
            continue;
        }
        uint64_t cpus = lack_of(need.cpus, node->cpus.capacity);
        uint64_t memory = lack_of(need.memory_kib, node->memory.capacity);
        if ((cpus > memory ? cpus : memory) >= least) {
            continue;
        }
        least = cpus > memory ? cpus : memory;
        lack_out->node = number;
        lack_out->cpus = cpus > 0 ? (uint32_t)(need.cpus - node->cpus.capacity) : 0;
        lack_out->memory_bytes = memory > 0 ? (need.memory_kib - node->memory.capacity) * 1024 : 0;
    }
}

uint64_t placement_estimate_ns(const struct placement *placement, struct id_key function)
{
    return durations_estimate_ns(&placement->durations, function);
}

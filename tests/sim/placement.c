/* placement.c - the placement core against the rules that it is compared with in scheduling.md
 *
 * Simulated time only: a failure here is a changed decision, never a slow machine. */
#include "tests/lib/test.h"
#include "tests/sim/placement_sim.h"

enum { SEEDS = 3 };

static void check_workload(int workload)
{
    struct placement_cell ours = placement_run(PLACEMENT_RIVALS, workload, SEEDS), best = { 1e300, 0 };
    CHECK(ours.makespan > 0);
    const char *best_name = "";
    for (int rival = 0; rival < PLACEMENT_RIVALS; rival++) {
        struct placement_cell cell = placement_run(rival, workload, SEEDS);
        CHECK(cell.makespan > 0);
        if (cell.makespan < best.makespan) {
            best = cell;
            best_name = placement_policy_name(rival);
        }
    }
    fprintf(stderr, "%s: ours %.3f, %.1f GB; best rival %s %.3f, %.1f GB\n", placement_workload_name(workload),
            ours.makespan, ours.moved_gb, best_name, best.makespan, best.moved_gb);
    CHECK(ours.makespan <= best.makespan * 1.05);
}

TEST(placement_sim, is_best_or_within_5_percent_on_an_even_shuffle) { check_workload(0); }
TEST(placement_sim, is_best_or_within_5_percent_on_a_skewed_shuffle) { check_workload(1); }
TEST(placement_sim, is_best_or_within_5_percent_on_a_map_over_skewed_data) { check_workload(2); }
TEST(placement_sim, is_best_or_within_5_percent_on_a_map_over_data_of_one_node) { check_workload(3); }
TEST(placement_sim, is_best_or_within_5_percent_on_a_broadcast) { check_workload(4); }
TEST(placement_sim, is_best_or_within_5_percent_on_a_tree_reduction) { check_workload(5); }
TEST(placement_sim, is_best_or_within_5_percent_on_a_map_with_a_heavy_tail) { check_workload(6); }
TEST(placement_sim, is_best_or_within_5_percent_on_a_join_with_reuse) { check_workload(7); }
TEST(placement_sim, is_best_or_within_5_percent_on_a_stencil) { check_workload(8); }

/* Each of these is a good part of why the rule was chosen: waiting never costs a multiple, and nor does moving. */
TEST(placement_sim, moves_no_more_than_a_tenth_of_the_data_of_one_node_when_moving_does_not_pay)
{
    struct placement_cell ours = placement_run(PLACEMENT_RIVALS, 3, SEEDS);
    CHECK(ours.moved_gb <= 0.1 * 131);
}

TEST(placement_sim, spreads_a_broadcast_over_more_nodes_than_the_one_with_the_data)
{
    struct placement_cell ours = placement_run(PLACEMENT_RIVALS, 4, SEEDS), locality = placement_run(1, 4, SEEDS);
    CHECK(ours.makespan * 2 < locality.makespan);
}

TEST(placement_sim, gives_the_same_figures_again)
{
    struct placement_cell first = placement_run(PLACEMENT_RIVALS, 7, 1), second = placement_run(PLACEMENT_RIVALS, 7, 1);
    CHECK((long long)(first.makespan * 1e12) == (long long)(second.makespan * 1e12));
    CHECK((long long)(first.moved_gb * 1e9) == (long long)(second.moved_gb * 1e9));
}

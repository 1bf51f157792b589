"""Where each rule of the design is held: section and rule -> the tests that name it.

To find the test of a rule, read `RULES`. A test that is renamed or removed is missed here; a test
module whose tests appear nowhere is missed, too.
"""

import ast
from pathlib import Path
from typing import Final

import pytest

RULES: Final[dict[str, str]] = {
    # 4.1 probes and sensors
    "4.1 only a fresh probe gives a verdict": """
        test_a_ping_that_fails_starts_a_burst_but_is_no_evidence_in_it
        test_a_heartbeat_that_stays_away_while_probes_pass_removes_nobody""",
    "4.1 routine probes: 1 s, spread, jitter, each tenth a full one": """
        test_each_tenth_routine_probe_is_a_full_one
        test_jitter_moves_routine_probes_by_at_most_five_percent
        test_first_probes_are_spread_evenly_over_the_interval""",
    "4.1 bursts and rechecks use full probes": """
        test_a_burst_starts_full_probes_at_the_times_of_its_profile
        test_a_recheck_asks_with_full_probes_at_once""",
    "4.1 DOWN gateways every 1 s, 250 ms below the floor": """
        test_a_down_gateway_is_probed_at_its_own_pace_and_faster_below_the_floor
        test_one_vip_below_its_floor_hurries_probes_for_all""",
    "4.1 5xx passes; one alone for 10 s is DEGRADED": """
        test_one_gateway_alone_with_5xx_for_ten_seconds_is_degraded
        test_5xx_of_several_gateways_is_reported_only
        test_a_gateway_must_be_alone_with_5xx_for_all_of_ten_seconds
        test_a_second_gateway_with_5xx_ends_the_degradation_of_the_first""",
    "4.1 a sensor may only start a burst": """
        test_other_sensors_start_a_burst_and_nothing_more""",
    "4.1 a gateway that refuses HTTP/2": """
        test_a_gateway_that_refuses_http2_gets_full_probes_and_is_told_once""",
    # 4.2 outcomes
    "4.2 inconclusive changes no streak, is repeated at once, bounded": """
        test_a_strip_of_probes_makes_a_strip_of_states
        test_an_inconclusive_probe_is_repeated_at_once_but_boundedly
        test_an_inconclusive_probe_of_a_burst_is_repeated_inside_its_time
        test_a_cancelled_probe_is_neither_counted_nor_repeated""",
    "4.2 ten in a row raise an alert about edged itself": """
        test_ten_inconclusive_probes_in_a_row_are_told_once""",
    "4.2 unreachable counts as an unanswered SYN": """
        test_an_unreachable_host_counts_as_an_unanswered_syn""",
    # 4.3 three ways to die
    "4.3 the first pass ends the burst": """
        test_the_first_pass_ends_the_burst
        test_a_pass_begun_before_the_burst_does_not_end_it
        test_a_late_failure_of_a_passed_burst_is_no_new_failure""",
    "4.3 a sensor during a burst starts no second one": """
        test_a_sensor_that_trips_during_a_burst_starts_no_second_one""",
    "4.3 a failed routine probe counts as the burst's first": """
        test_a_failed_routine_probe_is_the_first_of_its_burst""",
    "4.3 a burst always ends": """
        test_a_burst_always_ends_soon_after_its_last_deadline
        test_a_burst_hears_all_probes_that_fail_at_its_last_deadline
        test_a_probe_that_is_never_reported_is_given_up""",
    "4.3 refused": """
        test_two_refusals_three_milliseconds_apart_are_refused
        test_two_refusals_two_milliseconds_apart_are_not_enough
        test_a_pass_between_two_refusals_prevents_the_verdict
        test_after_a_refusal_one_more_probe_follows_at_most_four_times
        test_a_time_out_is_followed_by_no_extra_probe""",
    "4.3 silent": """
        test_three_unanswered_syns_are_silent
        test_a_syn_ack_at_149_ms_prevents_silent
        test_a_syn_ack_of_any_probe_prevents_silent
        test_a_refusal_prevents_silent
        test_an_inconclusive_probe_is_no_unanswered_syn
        test_a_heartbeat_answered_in_the_burst_prevents_silent
        test_a_held_connection_that_owes_nothing_prevents_silent
        test_silent_falls_as_soon_as_the_held_connection_misses_a_heartbeat_too
        test_a_held_connection_without_heartbeats_says_nothing
        test_a_held_connection_that_was_lost_says_nothing""",
    "4.3 ill": """
        test_four_failures_with_something_back_are_ill
        test_three_failures_are_not_ill
        test_a_failure_of_each_kind_together_is_ill
        test_a_hung_gateway_leaves_without_heartbeats_too""",
    "4.3 verdict times of each profile": """
        test_each_class_falls_when_its_profile_says""",
    "4.3 lossy paths": """
        test_on_a_lossy_path_silent_needs_a_fourth_syn
        test_on_a_lossy_path_ill_needs_a_second_burst
        test_a_path_is_lossy_above_half_a_percent
        test_losses_are_forgotten_after_ten_minutes
        test_a_dead_gateways_failures_do_not_make_its_path_lossy""",
    "4.3 flaky is a warning, never a removal": """
        test_a_gateway_is_flaky_above_three_percent
        test_a_flaky_gateway_is_told_once_and_stays""",
    "4.3 a sensor's lock-out": """
        test_a_sensor_trips_again_only_after_a_second_or_when_it_was_good""",
    # 4.4 witness, staleness, blindness
    "4.4 the witness's span": """
        test_a_witness_must_be_asked_and_answer_within_the_span
        test_the_span_of_refusals_ends_with_the_last_one_sent""",
    "4.4 who is asked, and when": """
        test_the_first_bad_evidence_asks_two_others_in_the_same_instant
        test_after_20_ms_without_an_answer_two_more_are_asked
        test_after_an_answer_nobody_else_is_asked
        test_those_without_bad_evidence_are_asked_first
        test_who_passed_last_is_asked_before_others
        test_a_witness_without_a_held_connection_gets_a_fresh_probe""",
    "4.4 the burst runs on until an answer": """
        test_where_the_class_is_reached_before_an_answer_the_burst_runs_on""",
    "4.4 an RST is no witness": "test_an_rst_is_no_witness",
    "4.4 our own host is no witness; the router is one then": """
        test_a_gateway_on_our_own_host_is_no_witness
        test_a_routers_answer_within_the_span_is_a_witness_where_no_other_can_be
        test_a_routers_answer_outside_the_span_is_none
        test_gateways_on_our_own_host_may_witness_for_each_other""",
    "4.4 a verdict without a witness": """
        test_a_verdict_without_a_witness_removes_nobody
        test_a_verdict_without_a_witness_never_gains_one_later_but_a_new_burst_starts
        test_no_class_leaves_without_a_witness""",
    "4.4 staleness": """
        test_an_old_verdict_removes_only_by_a_new_burst
        test_a_pass_in_the_new_burst_makes_the_verdict_void
        test_a_verdict_from_before_the_router_was_away_is_stale
        test_since_stays_while_newer_bursts_set_class_and_witness
        test_a_verdict_is_acted_on_for_a_second
        test_waiting_for_an_opinion_makes_nothing_stale
        test_a_stale_one_stays_until_a_new_burst
        test_an_opinion_holds_for_five_seconds""",
    "4.4 blindness": """
        test_when_nobody_answers_edged_is_blind_and_nobody_leaves
        test_refused_need_not_wait_for_the_end_of_blindness
        test_the_end_of_blindness_is_acted_on_at_once
        test_a_gateway_on_our_own_host_does_not_make_us_see
        test_while_blind_only_refused_leaves
        test_nobody_enters_early_in_warm_up_or_blindness""",
    # 4.5 our own trouble
    "4.5 stalls extend deadlines; long ones and suspends warm up": """
        test_a_stall_extends_the_burst
        test_a_stall_outside_a_burst_changes_nothing
        test_a_long_stall_or_a_suspend_means_warm_up_again
        test_a_stall_of_a_second_is_no_warm_up
        test_stalls_are_counted_for_a_minute""",
    "4.5 three warm-ups in five minutes": """
        test_three_warm_ups_in_five_minutes_are_told_as_a_warning_once""",
    # 4.6 what a gateway is
    "4.6 precedence of states": "test_the_first_of_down_drain_wait_degraded_up_is_shown",
    "4.6 UP 1/3": "test_a_streak_in_progress_is_shown_as_a_fraction",
    "4.6 rise and stable_for": """
        test_a_rise_needs_three_passes_in_a_row
        test_three_quick_passes_wait_for_two_seconds_without_a_failure""",
    "4.6 hold-down and n": """
        test_hold_down_doubles_from_30_to_300_seconds
        test_a_verdict_in_the_hold_down_returns_to_down_with_n_unchanged
        test_flapping_is_told_from_the_third_removal_on""",
    "4.6 forgetting": """
        test_one_removal_is_forgotten_per_five_minutes_without_a_verdict
        test_a_verdict_starts_the_five_minutes_anew
        test_a_removal_for_degradation_is_forgotten_too""",
    "4.6 planned removals and void verdicts do not count": """
        test_planned_removals_do_not_count
        test_a_pass_in_the_new_burst_makes_the_verdict_void""",
    "4.6 no hold-down for who never left or entered early": """
        test_a_gateway_that_never_left_is_up_without_hold_down
        test_after_an_early_entry_the_rise_brings_no_hold_down""",
    "4.6 DEGRADED": """
        test_degraded_ends_after_two_seconds_without_its_cause
        test_one_that_left_degraded_returns_through_hold_down""",
    # 5 selection
    "5.1 membership has memory": """
        test_healthy_members_stay_as_they_are
        test_a_member_leaves_only_for_a_reason_of_its_own
        test_a_floor_or_a_missing_witness_keeps_a_member_and_puts_none_in
        test_hold_down_removes_nobody""",
    "5 min_healthy": "test_the_floor_is_half_of_the_gateways_rounded_up",
    "5.2 hard": """
        test_refused_leaves_as_long_as_one_passing_member_remains
        test_silent_and_confirmed_by_the_router_leaves_hard
        test_hard_ones_leave_before_soft_ones_take_the_room""",
    "5.2 soft": """
        test_silent_and_unconfirmed_leaves_softly
        test_ill_leaves_while_the_floor_remains_the_longest_failed_first
        test_the_longest_failed_leaves_first_whatever_the_order
        test_members_count_for_the_floor_whatever_their_state""",
    "5.2 never one that passed since its verdict": """
        test_one_that_passed_since_its_verdict_leaves_by_none""",
    "5.2 the router is asked": """
        test_the_router_is_asked_when_the_floor_would_keep_a_silent_one
        test_the_router_is_asked_already_at_the_second_unanswered_syn""",
    "5.2 planned or partial": """
        test_planned_ones_leave_while_the_floor_passes_without_them
        test_a_degraded_one_needs_others_that_are_up_not_merely_passing
        test_a_drain_that_waits_says_what_for
        test_force_lowers_a_drains_floor_to_one""",
    "5.3 never the last": """
        test_while_nobody_passes_nothing_leaves
        test_an_inactive_member_counts_as_absent_and_is_not_removed_for_it
        test_a_member_the_router_calls_unreachable_is_drift_told_once
        test_a_floor_of_none_still_needs_one_that_is_up""",
    "5.3 handing over to BGP": """
        test_a_person_may_leave_the_vip_to_bgp_and_take_it_back
        test_without_a_bgp_route_any_more_nothing_is_disabled""",
    "5.4 who enters": """
        test_an_up_gateway_enters
        test_wait_and_degraded_enter_early_below_the_floor
        test_doubtful_members_are_not_known_bad
        test_while_all_members_are_known_bad_whoever_answers_enters
        test_no_gate_and_no_pace_delays_an_early_entry
        test_a_burst_begun_before_an_early_entry_removes_nobody
        test_a_gateway_in_hold_down_enters_early_when_the_floor_is_missed
        test_while_all_members_are_bad_one_in_mid_rise_enters_and_its_verdict_is_void""",
    "5.5 mass events": """
        test_a_silent_verdict_in_company_asks_the_router_first
        test_a_silence_more_than_a_second_earlier_is_no_company
        test_the_routers_opinion_decides_a_mass_event
        test_a_late_opinion_leaves_the_soft_rules
        test_a_lone_silent_gateway_never_waits
        test_company_counts_only_inside_the_route
        test_a_forced_drain_overrides_the_second_opinion
        test_a_mass_event_is_decided_by_the_router""",
    "5.5 overload": """
        test_overload_keeps_the_ill_ones
        test_overload_is_of_members_only_and_spares_no_dead_one""",
    "5.6 warm-up": """
        test_nothing_leaves_in_warm_up
        test_what_the_route_holds_at_the_start_is_presumed_up
        test_a_gateway_outside_at_the_start_needs_a_rise_and_no_hold_down
        test_a_probe_from_before_the_stall_removes_nobody_by_itself""",
    "5.7 waits": """
        test_a_gateway_outside_says_what_it_waits_for
        test_the_gate_opens_at_its_time""",
    "5.7 freezes": """
        test_paused_nothing_is_written_until_the_time_is_up
        test_in_observe_mode_the_plan_is_shown_and_not_written
        test_who_does_not_hold_the_lease_writes_nothing
        test_a_router_with_another_major_version_freezes_until_resume
        test_rows_that_cannot_be_read_freeze_the_route_and_are_told_once""",
    "5.8 pace and storms": """
        test_additions_keep_their_pace_and_say_until_when
        test_additions_are_batched_and_keep_a_second_between_them
        test_more_than_ten_writes_a_minute_stop_additions_for_a_minute
        test_the_order_of_next_hops_is_the_configured_order""",
    "5 a decision is a value": """
        test_selecting_twice_gives_the_same
        test_selecting_from_the_desired_set_changes_nothing_more""",
    # 6 the router
    "6.3 whose rows": """
        test_a_row_is_ours_if_the_mark_is_a_whole_word_of_its_comment
        test_rows_are_sorted_by_whose_they_are
        test_an_enabled_foreign_row_of_the_same_or_a_lower_distance_blocks
        test_a_foreign_row_freezes_the_route_and_is_told_once
        test_two_of_ours_where_one_should_be_freeze_the_route""",
    "6.3 adoption, release, creation": """
        test_without_a_row_of_ours_the_route_is_not_adopted
        test_adopt_true_marks_the_rows_in_enforce_mode
        test_an_adoption_cut_short_goes_on
        test_what_a_person_released_stays_released
        test_an_unknown_next_hop_blocks_adoption
        test_creation_makes_one_row_on_v6_and_one_each_on_v7
        test_undo_lines_put_each_row_back_as_it_was""",
    "6.3 a missing row": """
        test_a_route_that_vanished_is_put_back_after_two_reads_ten_seconds_apart
        test_a_route_that_vanished_is_not_put_back_on_a_router_just_booted
        test_one_missing_v7_row_is_put_back_disabled_after_two_reads""",
    "6.3 unknown next hops": """
        test_an_unknown_next_hop_is_told_once_carried_along_and_dropped_by_a_person
        test_a_gateway_dropped_from_the_configuration_leaves_like_a_drained_one""",
    "6.4 growing before shrinking": """
        test_v7_enables_before_it_disables
        test_nothing_is_disabled_before_the_row_of_who_should_replace_it_exists""",
    "6.4 only what was read on this connection": """
        test_nothing_is_written_on_rows_read_on_another_connection
        test_a_read_that_left_before_the_step_was_answered_tells_nothing""",
    "6.4 refused": """
        test_a_refused_step_is_repeated_after_1_5_and_30_seconds
        test_a_matter_of_rights_or_words_is_repeated_only_on_a_new_connection
        test_a_refusal_of_one_kind_does_not_hold_back_another
        test_a_floor_is_not_met_by_one_whose_entry_was_refused""",
    "6.4 uncertain": """
        test_after_an_uncertain_step_only_a_read_may_follow
        test_an_uncertain_step_done_by_half_is_nobodys_edit
        test_an_uncertain_step_and_a_person_at_once_is_a_persons_edit""",
    "6.4 drift": """
        test_a_step_that_did_not_take_is_drift_with_both_sides_shown
        test_a_step_done_by_half_is_drift_and_no_persons_edit
        test_drift_is_not_written_over_and_over""",
    "6.5 human edits": """
        test_a_persons_edit_is_kept_for_fifteen_minutes
        test_an_edit_that_leaves_nobody_who_passes_is_critical
        test_resume_takes_over_at_once
        test_a_row_that_a_person_disabled_stays_disabled
        test_what_changes_in_our_first_ten_seconds_is_nobodys_edit""",
    "6.5 restore": """
        test_restore_puts_an_edit_back_three_times_then_the_route_is_contested
        test_restores_are_counted_for_each_row
        test_restores_are_forgotten_after_ten_minutes""",
    "6.5 reboot": """
        test_a_reboot_is_no_persons_edit_and_what_is_missing_is_written""",
    "6.6 second opinions": """
        test_a_confirmed_one_leaves_below_the_floor
        test_the_router_is_asked_once_while_it_has_not_answered_and_every_five_seconds_after
        test_an_opinion_of_an_earlier_silence_does_not_count""",
}


def names_of_tests() -> set[str]:
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(node.name)
    return found


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_its_tests(rule: str) -> None:
    wanted = RULES[rule].split()
    assert wanted
    assert set(wanted) - names_of_tests() == set()

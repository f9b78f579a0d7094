//! Runs that die, are interrupted, meet each other, an API server that stumbles or refuses, or what is somebody else's, on a
//! real API server with its controllers and without a kubelet: what was written has to be the same in the end. And the
//! scaler, as a process beside it: what it makes of servers that answer anything but a number.
//!
//! The cluster is the one in `CLUSTER_STATE`, made by `KUBELET=0 dev/cluster/up`. `SOAK=1` tries every kill point, else a
//! sample of them; `OLD_SCALEKIT` names an earlier build to upgrade from; `SEED` makes what is drawn at random the same
//! again. Give names of steps to run only those.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it does, and ends at what it did not expect"
)]

mod access;
mod adoption;
mod aggregated;
mod answers;
#[path = "../steps/api_server.rs"]
mod api_server;
mod checks;
mod crd;
mod events;
mod faults;
#[path = "../steps/registry.rs"]
mod in_memory;
mod killed;
#[path = "../tls/listener.rs"]
mod listener;
mod nets;
mod ownership;
mod profile;
mod prometheus;
mod proxy;
mod refused;
mod registry;
mod removal;
mod requests;
mod scaled;
mod scaler;
#[path = "../events/schema.rs"]
mod schema;
mod secrets;
#[path = "../steps/mod.rs"]
mod steps;
#[expect(dead_code, reason = "some of it is about rights, which its stories are about")]
#[path = "../cluster/tanks.rs"]
mod tanks;
mod terminal;
mod together;
mod upgrade;
mod world;

use std::{env, process::ExitCode};

use futures::FutureExt;
use steps::{run, steps};
use world::World;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::open().await;
        println!("\nseed {}{}", seed(), if soak() { ", every kill point" } else { "" });
        let steps = steps![
            killed::an_installation_killed_at_any_write_is_finished_by_the_next_run,
            killed::an_installation_killed_with_sixteen_writes_in_flight_is_finished_by_the_next_run,
            killed::an_update_killed_at_any_write_is_finished_by_the_next_run,
            killed::a_removal_killed_at_any_write_is_finished_by_the_next_run,
            killed::a_removal_killed_with_sixteen_writes_in_flight_is_finished_by_the_next_run,
            killed::a_removal_that_keeps_data_killed_at_any_write_is_finished_by_the_next_run,
            together::a_second_run_names_the_first_and_leaves_it_alone,
            together::a_run_that_died_elsewhere_is_taken_over_when_its_lock_has_run_out,
            together::a_run_that_was_stopped_and_taken_over_writes_no_more,
            refused::a_refused_object_stops_what_needs_it_and_nothing_else,
            access::a_way_that_does_not_lead_to_the_cluster_is_named_within_seconds,
            access::a_home_that_cannot_be_written_to_holds_nothing_up,
            access::an_account_that_may_only_read_is_told_what_it_may_not_and_writes_nothing,
            access::a_check_by_who_may_little_names_every_right_that_is_missing,
            requests::as_many_requests_are_told_as_the_api_server_logs,
            requests::what_is_asked_to_plan_a_change_writes_nothing,
            requests::up_to_sixteen_writes_are_in_flight,
            requests::a_run_shares_one_connection_but_where_there_is_no_tls,
            events::what_is_told_of_a_removal_is_what_is_documented,
            events::what_stops_a_run_is_told_with_its_cause_and_its_exit_code,
            removal::namespaces_on_their_way_out_are_waited_for,
            removal::what_lost_its_label_is_left_and_named,
            removal::a_deployment_of_somebody_elses_keeps_the_namespace_and_is_named_alone,
            removal::replica_counts_stay_or_go_back_to_the_lower_bound_where_that_is_asked_for,
            registry::images_go_into_a_registry_and_up_takes_them_from_there,
            terminal::a_terminal_shows_a_tree_that_leaves_nothing_but_whole_lines,
            terminal::colours_and_movements_are_left_out_where_they_are_not_wanted,
            terminal::a_removal_asks_on_a_terminal_and_does_what_is_answered,
            faults::an_interrupted_run_says_so_and_the_next_one_goes_on,
            faults::an_interrupted_removal_says_so_and_the_next_one_goes_on,
            faults::an_api_server_that_is_away_for_twenty_seconds_is_waited_for,
            faults::a_removal_waits_for_an_api_server_that_is_away_for_twenty_seconds,
            faults::an_api_server_that_crashes_is_waited_for_until_it_is_back,
            ownership::a_stuck_finalizer_is_named_and_taken_off_only_by_force,
            ownership::what_a_helm_release_has_under_our_names_is_refused_and_stays,
            ownership::what_helm_applied_is_adopted_without_a_replica_less,
            ownership::an_autoscaler_of_somebody_elses_keeps_the_definition_and_is_named,
            ownership::a_volume_that_is_retained_is_named,
            ownership::what_kubectl_applied_is_adopted_with_its_replicas,
            adoption::what_somebody_writes_while_an_object_is_taken_over_is_not_lost,
            ownership::a_field_of_somebody_elses_is_a_conflict_before_anything_is_written,
            ownership::a_count_that_something_scales_is_left_alone,
            ownership::a_count_that_an_hpa_holds_is_not_touched,
            ownership::what_is_stored_in_an_older_version_of_the_definition_is_stored_anew,
            ownership::what_a_newer_version_installed_is_refused,
            aggregated::an_aggregated_api_comes_after_its_service_and_goes_before_its_namespace,
            checks::what_stands_in_the_way_is_found_with_a_way_out,
            checks::a_prometheus_that_never_gets_through_its_start_is_found,
            secrets::a_secret_that_changes_is_told_by_its_keys_alone,
            profile::a_profile_that_is_too_big_for_the_node_is_refused_before_anything_is_written,
            crd::every_rule_of_the_definition_is_told_with_its_field,
            crd::kubectl_explains_and_lists_autoscalers,
            answers::what_servers_answer_is_told_and_lowers_no_count,
            answers::the_server_of_all_is_shown_the_token_that_it_wants_and_believed_by_its_authority,
            nets::what_most_want_at_once_is_held_and_no_step_is_larger_than_allowed,
            scaled::a_fifth_of_all_requests_fails_and_every_count_follows,
            scaled::definitions_go_and_come_back_and_scaling_goes_on_without_a_restart,
            scaled::who_wrote_a_count_while_no_scaler_ran_is_named_and_left_alone,
            scaled::what_a_laxer_definition_let_in_is_told_and_stops_nobody,
            upgrade::what_an_older_build_installed_is_brought_up_to_date_with_its_data,
            faults::a_wait_of_which_a_fifth_of_all_requests_fails_ends_when_its_time_is_out,
            faults::a_fifth_of_all_requests_fails_and_the_run_gets_through,
        ];
        let ended = run(&world, &steps).await;
        world.clear().await;
        world.settled().await;
        ended
    })
}

/// Whether every kill point is tried.
fn soak() -> bool {
    env::var("SOAK").is_ok_and(|value| value == "1")
}

/// What is drawn at random begins here.
fn seed() -> u64 {
    env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

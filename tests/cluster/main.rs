//! The main job on a real cluster, as two stories whose steps build on each other.
//!
//! Runs the binary as a user would, and looks at what comes of it through a client of its own. The cluster is
//! the one in `CLUSTER_STATE` (`target/cluster` where none is named), as `make cluster` leaves it; everything of
//! scalekit on it is removed. `STORY` names the one to run (`installation`, `operation`; both where it names none); give names
//! of steps as arguments to run only those.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it does, and ends at what it did not expect"
)]

mod adapter;
mod additions;
mod air_gap;
mod alerting;
#[path = "../steps/api_server.rs"]
mod api_server;
mod autoscalers;
mod bad_input;
mod check;
mod credentials;
mod doubts;
mod existing;
mod explained;
mod faults;
mod gateway;
mod grafana;
mod guarded;
mod https;
#[path = "../steps/registry.rs"]
#[allow(dead_code, reason = "other tests put images there by themselves")]
mod in_memory;
mod install;
mod kubectl;
mod network;
mod nodes;
mod operations;
mod panels;
mod place;
mod prometheus;
mod pull;
mod removal;
mod resources;
mod scaling;
mod scraping;
#[path = "../steps/mod.rs"]
mod steps;
mod strays;
mod tanks;
mod trouble;
mod upgrade;
mod verdicts;
mod workloads;
mod world;

use std::{env, process::ExitCode};

use futures::FutureExt;
use steps::{Step, run, steps};
use world::World;

/// Steps by their names.
type Story = Vec<(&'static str, Step<World>)>;

/// The two stories, each for a cluster of its own: most of the time they wait, and so they run at once. The second ends as
/// the first begins, with an empty cluster.
fn stories() -> [(&'static str, Story); 2] {
    [("installation", installation()), ("operation", operation())]
}

/// What an installation meets: mistakes, faults, others, and its end.
fn installation() -> Story {
    let steps = steps![
        install::starts_from_an_empty_cluster,
        bad_input::an_unreachable_server_is_named_within_seconds,
        bad_input::an_unknown_context_is_answered_with_the_known_ones,
        bad_input::an_unknown_flag_value_is_refused,
        bad_input::a_broken_settings_file_says_where,
        bad_input::nothing_was_written_by_any_of_these,
        check::a_check_of_an_empty_cluster_finds_it_ready_and_writes_nothing,
        check::a_program_on_the_port_of_node_exporter_is_named_before_anything_is_written,
        install::a_plan_of_an_empty_cluster_names_every_object_and_writes_nothing,
        install::a_class_that_does_not_exist_fails_with_its_name_in_seconds,
        verdicts::an_image_that_is_not_there,
        verdicts::a_registry_that_refuses,
        verdicts::a_registry_that_fails,
        verdicts::a_registry_that_hangs,
        verdicts::a_container_that_exits_again_and_again,
        verdicts::an_init_container_that_fails,
        verdicts::a_missing_key_of_a_config_map,
        verdicts::a_config_map_that_a_volume_needs,
        verdicts::a_pod_that_fits_on_no_node,
        verdicts::a_node_selector_that_no_node_has,
        verdicts::a_quota_that_is_used_up,
        verdicts::a_quota_that_was_raised_since,
        verdicts::a_pod_security_level_that_is_too_strict,
        verdicts::a_claim_of_an_unknown_class,
        verdicts::a_claim_whose_provisioner_is_not_there,
        verdicts::a_readiness_probe_that_never_passes,
        verdicts::a_definition_whose_names_are_taken,
        verdicts::an_aggregated_api_without_its_service,
        verdicts::an_aggregated_api_whose_pods_do_not_listen,
        verdicts::up_names_an_image_that_a_registry_refuses,
        install::up_makes_everything_ready_and_every_target_up,
        scraping::a_job_that_lost_its_targets_is_an_alert_and_a_finding,
        nodes::a_node_that_is_not_ready_and_a_pod_that_was_evicted_hold_nothing_up,
        faults::an_api_server_that_is_away_while_up_waits_is_waited_for,
        operations::a_watch_tells_each_change_and_ends_with_ctrl_c,
        install::a_second_run_names_the_first_and_takes_over_from_a_dead_one,
        install::jobs_that_lost_their_rights_are_named,
        removal::down_leaves_nothing_and_touches_nothing_else,
        removal::up_works_right_after_down,
        check::an_api_without_a_server_is_found_and_down_says_what_to_do,
        operations::a_rendered_folder_that_was_applied_is_taken_over,
        air_gap::a_cluster_without_a_registry_is_served_from_a_file,
        removal::down_on_an_empty_cluster_says_so,
        upgrade::an_older_build_is_brought_up_to_date_with_its_samples_and_its_password,
        existing::the_scaler_alone_asks_a_prometheus_that_is_there,
        removal::an_image_that_a_removal_left_is_taken_off_by_the_next,
    ];
    steps.to_vec()
}

/// What an installation does: it monitors, alerts and scales.
fn operation() -> Story {
    let steps = steps![
        install::up_makes_everything_ready_and_every_target_up,
        install::up_again_changes_nothing,
        install::status_is_healthy,
        install::prometheus_keeps_what_it_is_told_to,
        check::a_check_of_a_healthy_stack_finds_nothing_wrong,
        operations::status_works_with_few_rights,
        operations::a_bundle_holds_what_is_needed_and_no_secret,
        operations::what_is_opened_answers_on_this_machine,
        network::a_stranger_gets_nothing_from_the_stack,
        network::the_stacks_namespace_refuses_pods_that_may_too_much,
        scraping::the_control_plane_is_scraped_once_and_what_is_not_is_said,
        scraping::a_control_plane_that_can_be_reached_is_scraped,
        scraping::an_idle_node_has_fewer_than_3000_series,
        scraping::no_alert_is_pending,
        panels::no_panel_of_a_fresh_installation_is_empty_without_a_word,
        trouble::workloads_are_made_that_break,
        alerting::a_test_alert_arrives_and_a_receiver_that_refuses_it_is_quoted,
        additions::rules_and_jobs_of_the_users_own_are_taken_or_refused,
        additions::a_profile_is_a_plan_and_an_unknown_one_is_refused,
        additions::grafanas_password_is_set_anew,
        trouble::what_breaks_is_shown_and_what_is_annotated_is_scraped,
        scaling::watcherbot_starts_with_one_replica,
        scaling::the_binary_and_the_scaler_are_small,
        scaling::replicas_follow_the_tasks,
        panels::every_panel_has_data,
        scraping::every_metric_that_a_rule_reads_is_there,
        resources::a_steady_load_begins,
        strays::pods_with_the_labels_of_a_workload_are_made,
        scaling::explain_says_why_now_and_then,
        scaling::when_the_leader_is_killed_the_other_goes_on,
        scaling::all_autoscalers_are_stopped_and_go_on,
        scaling::the_scaler_has_the_limits_of_the_settings_and_of_its_environment,
        autoscalers::a_kind_that_the_scaler_may_not_scale_is_named_with_what_to_do,
        autoscalers::bad_input_is_named_and_the_others_go_on,
        gateway::a_gateway_is_shown_a_token_and_a_tenant,
        credentials::a_secret_is_read_by_a_role_that_its_owner_binds,
        autoscalers::every_answer_of_prometheus_has_its_reason,
        autoscalers::modes_bounds_and_rivals_are_kept,
        gateway::a_token_that_was_changed_is_used_within_a_minute,
        workloads::every_kind_of_workload_is_scaled,
        doubts::a_history_that_is_shorter_than_a_query_looks_back_lowers_nothing,
        autoscalers::windows_and_rates_go_on_after_a_restart_of_the_scaler,
        adapter::pods_objects_and_external_metrics_are_read_as_the_hpa_reads_them,
        resources::cpu_and_memory_are_what_the_kubelet_says,
        strays::pods_of_somebody_else_do_not_count,
        scaling::an_unreachable_prometheus_holds_the_count,
        install::samples_survive_a_restart_of_prometheus,
        removal::kept_data_is_used_again,
        removal::all_that_was_used_leaves_nothing,
        // The last: its kubelet takes the same image for absent from now on, where it is brought by another name.
        pull::a_kubelet_pulls_what_was_pushed,
    ];
    steps.to_vec()
}

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::open().await;
        println!("\ncluster: {}", world.name());
        let told = env::var("STORY").ok();
        let stories = stories().into_iter().filter(|(name, _)| told.as_deref().is_none_or(|told| told == *name));
        let steps: Vec<_> = stories.flat_map(|(_, steps)| steps).collect();
        run(&world, &steps).await
    })
}

//! The binary without a cluster: what it says, where it says it, and with which exit code it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

#[path = "cli/access.rs"]
mod access;
#[path = "cli/astray.rs"]
mod astray;
#[path = "cli/home.rs"]
mod home;
#[path = "cli/rendering.rs"]
mod rendering;
#[path = "cli/servers.rs"]
mod servers;

use std::{collections::BTreeSet, fs::OpenOptions, path::Path};

use home::{Home, RENDER, Ran};
use kube::core::DynamicObject;
use rstest::rstest;
use scalekit::yaml;
use serde_json::Value;

#[rstest]
#[case::program("")]
#[case::up("up")]
#[case::plan("plan")]
#[case::status("status")]
#[case::explain("explain")]
#[case::pause("pause")]
#[case::resume("resume")]
#[case::check("check")]
#[case::down("down")]
#[case::render("render")]
#[case::open("open")]
#[case::alert("alert")]
#[case::alert_test("alert test")]
#[case::alert_explain("alert explain")]
#[case::images("images")]
#[case::images_list("images list")]
#[case::images_lock("images lock")]
#[case::images_save("images save")]
#[case::images_load("images load")]
#[case::images_push("images push")]
#[case::support_bundle("support-bundle")]
#[case::demo("demo")]
#[case::demo_list("demo list")]
#[case::demo_up("demo up")]
#[case::demo_load("demo load")]
#[case::demo_down("demo down")]
#[case::run("run")]
#[case::run_controller("run controller")]
#[case::run_watcherbot("run watcherbot")]
#[case::completions("completions")]
#[case::man("man")]
fn help_says_what_can_be_asked(#[case] verb: &str) {
    let ran = Home::new().run(verb.split_whitespace().chain(["--help"])).exits(0);
    assert_eq!(ran.stderr, "");
    insta::assert_snapshot!(
        format!("help_{}", if verb.is_empty() { "scalekit" } else { verb }).replace(' ', "_"),
        ran.stdout
    );
}

#[test]
fn every_verb_has_a_help_that_is_looked_at() {
    let help = Home::new().run(["--help"]).exits(0).stdout;
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        // What is said of a verb may take more than one line.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    for verb in &verbs {
        let snapshot = snapshots.join(format!("cli__help_{verb}.snap"));
        assert!(snapshot.exists(), "{verb} is not among the cases of help_says_what_can_be_asked");
    }
    assert!(verbs.contains(&"up"), "{verbs:?}");
}

#[test]
fn the_version_is_the_packages() {
    let ran = Home::new().run(["--version"]).exits(0);
    assert_eq!(ran.stdout, format!("scalekit {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_verb_it_shows_the_help() {
    Home::new().run([]).exits(2).says("Usage: scalekit").prints_nothing();
}

#[rstest]
#[case::verb(&["upp"], "'up'")]
#[case::flag(&["up", "--namspace", "x"], "--namespace")]
#[case::value_of_a_choice(&["open", "kibana"], "grafana, prometheus")]
#[case::duration(&["up", "--timeout", "soon"], "`soon` is not a duration such as 15s")]
#[case::component(&["up", "--image", "grafna=x"], "grafna")]
#[case::image_without_reference(&["up", "--image", "grafana"], "COMPONENT=REF")]
#[case::platform(&["render", "--platform", "openstack"], "openstack")]
#[case::quiet_and_verbose(&["-q", "-v", "up"], "cannot be used with")]
#[case::namespace_of_a_sample(&["demo", "up", "watcherbot", "-n", "Demo"], "lower-case")]
#[case::image_reference(&["up", "--image", "grafana=https://x/y"], "scheme")]
#[case::platform_of_images(&["images", "save", "x.tar", "--platform", "linux/riscv64"], "linux/arm64")]
#[case::registry(&["images", "push", "https://reg.example"], "without a scheme")]
#[case::keep_and_purge(&["down", "--keep-data", "--purge-data"], "cannot be used with")]
#[case::no_load(&["demo", "load", "watcherbot"], "--tasks")]
#[case::two_loads(&["demo", "load", "watcherbot", "--tasks", "1", "--set", "2"], "cannot be used with")]
#[case::unknown_alert(&["alert", "explain", "CrashLoop"], "is it PodCrashLooping?")]
#[case::negative_load(&["demo", "load", "watcherbot", "--tasks=-1"], "-1")]
#[case::namespace(&["render", "--platform", "kind", "--storage-class", "x", "-n", "Monitoring"], "lower-case")]
fn what_cannot_be_asked_is_refused_with_the_way_out(#[case] arguments: &[&str], #[case] expected: &str) {
    Home::new().run(arguments.iter().copied()).exits(2).says(expected).prints_nothing();
}

#[test]
fn a_bad_value_in_the_environment_is_named() {
    let home = Home::new();
    home.run_with("SCALEKIT_TIMEOUT", "soon", ["up"]).exits(2).says("soon").says("--timeout");
}

#[rstest]
#[case::unknown_key("namespace: a\nstorage:\n  sise: 5Gi\n", "3", "sise")]
#[case::wrong_type("namespace: a\nimages: 7\n", "2", "images")]
#[case::not_yaml("namespace: a\nimages: {b\n", "", "scalekit.yaml")]
#[case::twice("namespace: a\nnamespace: b\n", "2", "namespace")]
fn a_broken_settings_file_says_where(#[case] content: &str, #[case] line: &str, #[case] what: &str) {
    let home = Home::new();
    home.file("scalekit.yaml", content);
    let ran = home.run(RENDER).exits(2).says("scalekit.yaml").says(what).prints_nothing();
    let named = ran.stderr.contains(&format!("line {line}"))
        || ran.stderr.contains(&format!(":{line}:"))
        || ran.stderr.contains(&format!("{line} |"));
    assert!(named, "line {line} is not named in:\n{}", ran.stderr);
}

#[rstest]
#[case::keys("namespace: a\nimages: 7\n", "2:9", "expected keys and values here")]
#[case::a_list("dropMetrics: up\n", "1:14", "expected a list here")]
#[case::a_single_value("namespace: a\nstorage:\n  class: [a]\n", "3:10", "expected a single value here")]
fn a_value_of_the_wrong_type_is_told_with_line_and_column(
    #[case] content: &str,
    #[case] place: &str,
    #[case] expected: &str,
) {
    let home = Home::new();
    home.file("scalekit.yaml", content);
    let (line, column) = place.split_once(':').unwrap();
    home.run(RENDER)
        .exits(2)
        .says(&format!("scalekit.yaml is not a settings file:\nline {line} column {column}: {expected}\n"))
        .says(&format!(" --> scalekit.yaml:{place}\n"))
        .prints_nothing();
}

#[rstest]
#[case::at_the_top("namespce: a\n", "1:1", "namespce", "namespace")]
#[case::below("storage:\n  promethues: 5Gi\n", "2:3", "promethues", "storage.prometheus")]
fn an_unknown_key_is_told_with_its_place_and_the_one_that_was_meant(
    #[case] content: &str,
    #[case] place: &str,
    #[case] key: &str,
    #[case] meant: &str,
) {
    let home = Home::new();
    home.file("scalekit.yaml", content);
    home.run(RENDER)
        .exits(2)
        .says(&format!("unknown field `{key}`\n --> scalekit.yaml:{place}\n"))
        .says(&format!("\nhint: did you mean `{meant}`?\n"))
        .prints_nothing();
}

#[test]
fn a_value_that_cannot_be_used_is_told_with_its_place() {
    let home = Home::new();
    home.file("scalekit.yaml", "namespace: a\nscrapeInterval: 5\n");
    let told = "error: scalekit.yaml:2:17: scrapeInterval: `5` is not a duration such as 15s, 5m or 1h30m\n";
    home.run(RENDER).exits(2).says(told).prints_nothing();
}

#[test]
fn a_limit_of_the_scaler_that_is_none_is_told_with_its_key() {
    let home = Home::new();
    home.file("scalekit.yaml", "autoscaling: {mostDownShare: 30}\n");
    let told =
        "scalekit.yaml:1:30: autoscaling.mostDownShare: `30` is not a share such as 0.5: more than 0, and 1 at most";
    home.run(RENDER).exits(2).says(told).prints_nothing();
}

#[test]
fn a_settings_file_that_was_named_has_to_be_there() {
    Home::new().run(["--config", "mine.yaml", "up"]).exits(2).says("mine.yaml").prints_nothing();
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let home = Home::new();
    home.file("scalekit.yaml", "namespace: from-file\nregistry: registry.example.org\n");
    let namespaces = |ran: Ran| -> BTreeSet<String> {
        let objects: Vec<DynamicObject> = yaml::parse_all(&ran.exits(0).stdout).unwrap();
        objects.into_iter().filter_map(|object| object.metadata.namespace).collect()
    };
    assert!(namespaces(home.run(RENDER)).contains("from-file"));
    assert!(namespaces(home.run_with("SCALEKIT_NAMESPACE", "from-environment", RENDER)).contains("from-environment"));
    let both = home.run_with("SCALEKIT_NAMESPACE", "from-environment", RENDER.into_iter().chain(["-n", "from-flag"]));
    let found = namespaces(both);
    assert!(found.contains("from-flag") && !found.contains("from-environment"), "{found:?}");
}

const SCALER: [&str; 2] = ["--image", "scaler=127.0.0.1:9/scalekit:1"];

#[test]
fn images_are_listed_without_a_cluster() {
    let home = Home::new();
    home.file("scalekit.yaml", "registry: reg.example:5000/mirror\nimages: {grafana: 'grafana/grafana:1'}\n");
    let listed = home.run(["images", "list", "-o", "json"].into_iter().chain(SCALER)).exits(0);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let references: Vec<&str> =
        listed.as_array().unwrap().iter().map(|image| image["reference"].as_str().unwrap()).collect();
    assert!(references.contains(&"reg.example:5000/mirror/prometheus/prometheus:v3.14.0"), "{references:?}");
    assert!(references.contains(&"grafana/grafana:1") && references.contains(&"127.0.0.1:9/scalekit:1"));
    let table = home.run(["images", "list"].into_iter().chain(SCALER)).exits(0).stdout;
    assert!(references.iter().all(|reference| table.contains(reference)), "{table}");
}

#[test]
fn an_image_whose_registry_does_not_answer_stays_as_it_is_and_is_named() {
    let home = Home::new();
    let digest = format!("quay.io/a/b:1@sha256:{}", "0".repeat(64));
    let components = ["prometheus", "node-exporter", "kube-state-metrics", "grafana"];
    let fixed = components.map(|component| format!("{component}={digest}"));
    let mut arguments = vec!["images", "lock"];
    arguments.extend(SCALER);
    for image in &fixed {
        arguments.extend(["--image", image]);
    }
    let ran = home.run(arguments).exits(1).says("127.0.0.1:9/scalekit:1 is not fixed").says("refused");
    let block: serde_json::Value = yaml::parse(&ran.stdout).unwrap();
    assert_eq!(block["images"]["scaler"], "127.0.0.1:9/scalekit:1");
    assert_eq!(block["images"]["grafana"], digest.as_str());
}

#[rstest]
#[case::no_file("nowhere.tar", 1, "nowhere.tar")]
#[case::no_archive("scalekit.yaml", 2, "is no archive of `scalekit images save`")]
fn an_archive_that_is_none_is_named(#[case] file: &str, #[case] code: i32, #[case] why: &str) {
    let home = Home::new();
    home.file("scalekit.yaml", "namespace: monitoring\n");
    home.run(["images", "push", "--archive", file, "127.0.0.1:9"]).exits(code).says(why);
}

#[test]
fn a_full_disk_is_an_error() {
    let home = Home::new();
    // assert_cmd takes stdout for itself.
    let output =
        home.scalekit().args(RENDER).stdout(OpenOptions::new().write(true).open("/dev/full").unwrap()).output();
    let output = output.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("could not be written"), "{}: {stderr}", output.status);
}

#[rstest]
#[case::bash(&["completions", "bash"], "_scalekit()")]
#[case::zsh(&["completions", "zsh"], "#compdef scalekit")]
#[case::fish(&["completions", "fish"], "complete -c scalekit")]
#[case::man(&["man"], ".TH scalekit")]
#[case::man_of_a_command(&["man", "images", "load"], ".TH scalekit-images-load")]
#[case::samples(&["demo", "list"], "watcherbot")]
#[case::alerts(&["alert", "explain"], "PodCrashLooping")]
#[case::an_alert(&["alert", "explain", "podcrashlooping"], "--previous`")]
fn what_needs_no_cluster_works_without_one(#[case] arguments: &[&str], #[case] expected: &str) {
    let ran = Home::new().run(arguments.iter().copied()).exits(0);
    assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn every_command_has_a_manual_page() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    home.run(["man", "--output-dir", folder.path().to_str().unwrap()]).exits(0);
    for page in ["scalekit.1", "scalekit-up.1", "scalekit-images-load.1"] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
    let ran = home.run(["man", "images", "lode"]).exits(2);
    assert!(ran.stderr.contains("there is no command `images lode`"), "{}", ran.stderr);
}

#[test]
fn an_error_reads_without_colour() {
    let home = Home::new();
    let path = home.kubeconfig("https://127.0.0.1:9", None);
    let ran = home.run(["--kubeconfig", path.to_str().unwrap(), "up"]).exits(4);
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
}

#[test]
fn an_error_is_an_event_where_events_are_asked_for() {
    let home = Home::new();
    let path = home.kubeconfig("https://127.0.0.1:9", None);
    for verb in [&["up"][..], &["plan"], &["down", "--yes"], &["check"]] {
        let arguments = [&["--kubeconfig", path.to_str().unwrap(), "--events", "ndjson"], verb].concat();
        let ran = home.run(arguments).exits(4);
        let told: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let error = told.last().unwrap();
        assert_eq!((&error["event"], &error["code"]), (&"error".into(), &4.into()), "{error}");
        assert!(error["message"].as_str().unwrap().contains("127.0.0.1:9") && error["hint"].is_string(), "{error}");
    }
}

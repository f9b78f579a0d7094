use rstest::rstest;
use serde_json::Value;

use super::*;
use crate::platform;

fn kind() -> Platform {
    platform::assume("kind".parse().unwrap(), &[], &[])
}

fn find<'a>(objects: &'a [DynamicObject], kind: &str, name: &str) -> &'a DynamicObject {
    objects
        .iter()
        .find(|object| edit::kind(object) == kind && edit::name(object) == name)
        .unwrap_or_else(|| panic!("{kind} {name}"))
}

fn webhook() -> Alerting {
    Alerting::Receivers { slack: None, webhook: Some(SecretText::new("https://hook.example/hunter")) }
}

#[test]
fn the_same_settings_give_the_same_objects() {
    let text = |objects: &[DynamicObject]| serde_json::to_string(objects).unwrap();
    assert_eq!(text(&stack(&test_options(), &kind())), text(&stack(&test_options(), &kind())));
}

#[test]
fn definitions_come_first() {
    let ranks: Vec<u8> = stack(&test_options(), &kind()).iter().map(edit::rank).collect();
    assert!(ranks.is_sorted(), "{ranks:?}");
}

#[test]
fn another_namespace_leaves_no_trace_of_the_default_one() {
    let options = Options { namespace: "observability".to_owned(), ..test_options() };
    for object in stack(&options, &kind()) {
        let text = serde_json::to_string(&object).unwrap();
        let in_a_query = r#"\"monitoring\"#;
        for trace in ["\"monitoring\"", "monitoring-nodes", "monitoring.svc", "- monitoring\\n", in_a_query] {
            assert!(!text.contains(trace), "{trace} in {text}");
        }
    }
    let objects = stack(&options, &kind());
    find(&objects, "Namespace", "observability");
    find(&objects, "Namespace", "observability-nodes");
    let binding = find(&objects, "ClusterRoleBinding", "scalekit-prometheus");
    assert_eq!(binding.data["subjects"][0]["namespace"], "observability");
    let args = &find(&objects, "Deployment", "scaler").data["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(args[2], "--prometheus-url=http://prometheus.observability.svc:9090");
}

#[rstest]
#[case::default(None, None, "quay.io/prometheus/prometheus:v3.14.0")]
#[case::registry(Some("reg.example:5000"), None, "reg.example:5000/prometheus/prometheus:v3.14.0")]
#[case::registry_with_a_path(Some("reg.example/mirror/"), None, "reg.example/mirror/prometheus/prometheus:v3.14.0")]
#[case::own_image(Some("reg.example"), Some("x/y:1"), "x/y:1")]
fn images(#[case] registry: Option<&str>, #[case] own: Option<&str>, #[case] expected: &str) {
    let mut options = Options { registry: registry.map(str::to_owned), ..test_options() };
    options.images.extend(own.map(|image| (Component::Prometheus, image.to_owned())));
    let objects = stack(&options, &kind());
    let pod = &find(&objects, "StatefulSet", "prometheus").data["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], expected);
}

#[rstest]
#[case::platform(None, StorageChoice::Class("standard".into()), Some("standard"))]
#[case::asked_for(Some("fast"), StorageChoice::Class("standard".into()), Some("fast"))]
#[case::none(None, StorageChoice::None, None)]
#[case::left_to_the_server(None, StorageChoice::SeveralDefaults(vec!["a".into(), "b".into()]), None)]
fn storage(#[case] asked: Option<&str>, #[case] choice: StorageChoice, #[case] expected: Option<&str>) {
    let mut options = test_options();
    options.storage =
        Storage { class: asked.map(str::to_owned), prometheus: "20Gi".to_owned(), grafana: "2Gi".to_owned() };
    let objects = stack(&options, &Platform { storage: choice, ..kind() });
    for (name, size) in [("prometheus-data", "20Gi"), ("grafana-data", "2Gi")] {
        let spec = &find(&objects, "PersistentVolumeClaim", name).data["spec"];
        assert_eq!(spec["resources"]["requests"]["storage"], size);
        assert_eq!(spec.get("storageClassName").and_then(Value::as_str), expected);
    }
}

#[test]
fn the_password_stands_in_the_secret_and_nowhere_else() {
    let options = Options { grafana_password: "Zn8-hunter".to_owned(), ..test_options() };
    assert!(!format!("{options:?}").contains("hunter"));
    let objects = stack(&options, &kind());
    let secret = find(&objects, "Secret", ADMIN_SECRET);
    assert_eq!(secret.data["data"][PASSWORD_KEY], "Wm44LWh1bnRlcg==");
    assert_eq!(secret.metadata.annotations.as_ref().unwrap()[CREATE_ONCE], "true");
    for object in objects.iter().filter(|object| edit::kind(object) != "Secret") {
        let text = serde_json::to_string(object).unwrap();
        assert!(!text.contains("hunter") && !text.contains("Wm44LWh1bnRlcg"), "{text}");
    }
}

fn config_hash(options: &Options) -> String {
    let objects = stack(options, &kind());
    let template = &find(&objects, "Deployment", "grafana").data["spec"]["template"];
    template["metadata"]["annotations"][CONFIG_HASH].as_str().unwrap().to_owned()
}

#[test]
fn grafana_restarts_when_its_configuration_changes_and_only_then() {
    let usual = config_hash(&test_options());
    assert_eq!(usual, config_hash(&Options { grafana_password: "other".to_owned(), ..test_options() }));
    assert_eq!(usual, config_hash(&Options { version: "9.9.9".to_owned(), ..test_options() }));
    assert_ne!(usual, config_hash(&Options { scrape_interval_seconds: 5, ..test_options() }));
}

/// It answers when it has read its log of the last hours, which takes minutes on a slow disk: killed meanwhile, it begins anew.
#[test]
fn prometheus_has_ten_minutes_to_read_its_log() {
    let objects = stack(&test_options(), &kind());
    let pod = &find(&objects, "StatefulSet", "prometheus").data["spec"]["template"]["spec"];
    let probe = &pod["containers"][0]["startupProbe"];
    let number = |key: &str| probe[key].as_u64().unwrap_or_else(|| panic!("{key} of {probe}"));
    assert_eq!(probe["httpGet"]["path"], "/-/ready");
    assert!(number("failureThreshold") * number("periodSeconds") >= 600, "{probe}");
}

/// All of it is in files that Prometheus reads again when it is told to.
#[test]
fn prometheus_does_not_restart_for_what_it_can_load() {
    let template = |options: &Options| {
        let objects = stack(options, &kind());
        find(&objects, "StatefulSet", "prometheus").data["spec"]["template"].clone()
    };
    let file = |name: &str, text: &str| crate::additions::File { name: name.to_owned(), text: text.to_owned() };
    let additions = crate::additions::Additions {
        rules: vec![file("mine.yml", "groups: []")],
        scrapes: vec![file("mine.yml", "scrape_configs: []")],
    };
    let retention = Retention { time: "3d".to_owned(), size: "2GB".to_owned() };
    let usual = template(&test_options());
    for changed in [
        Options { scrape_interval_seconds: 5, ..test_options() },
        Options { additions, ..test_options() },
        Options { retention, ..test_options() },
        Options { drop_metrics: vec!["a_metric".to_owned()], ..test_options() },
        Options { alerting: Some(webhook()), ..test_options() },
    ] {
        assert_eq!(template(&changed), usual, "{changed:?}");
    }
}

#[test]
fn a_new_version_restarts_nothing() {
    let templates = |version: &str| -> Vec<Value> {
        let objects = stack(&Options { version: version.to_owned(), ..test_options() }, &kind());
        objects.iter().filter_map(|object| object.data.pointer("/spec/template").cloned()).collect()
    };
    assert_eq!(templates("1.0.0"), templates("1.0.1"));
}

#[test]
fn components_are_known_by_their_labels() {
    let objects = stack(&test_options(), &kind());
    assert_eq!(component_of(find(&objects, "DaemonSet", "node-exporter")), Some(Component::NodeExporter));
    assert_eq!(component_of(find(&objects, "Namespace", "monitoring")), None);
}

#[test]
fn a_component_runs_where_and_as_what_it_says() {
    let objects = stack(&Options { alerting: Some(webhook()), ..test_options() }, &kind());
    for component in Component::ALL {
        let workload = find(&objects, component.workload(), component.name());
        assert_eq!(workload.metadata.namespace, Some(component.namespace("monitoring")), "{component}");
    }
}

#[test]
fn without_a_receiver_there_is_no_alertmanager() {
    let text = serde_json::to_string(&stack(&test_options(), &kind())).unwrap();
    assert!(!text.contains("quay.io/prometheus/alertmanager") && !text.contains("alertmanager.monitoring.svc"));
    let objects = stack(&Options { alerting: Some(webhook()), ..test_options() }, &kind());
    let config = find(&objects, "ConfigMap", "prometheus-config").data["data"]["prometheus.yml"].as_str().unwrap();
    assert!(config.contains("alertmanager.monitoring.svc:9093"), "{config}");
    assert!(
        expected_jobs(&Options { alerting: Some(webhook()), ..test_options() }, &kind())
            .contains(&"alertmanager".to_owned())
    );
}

#[test]
fn a_receivers_url_stands_in_the_secret_and_nowhere_else() {
    let options = Options { alerting: Some(webhook()), ..test_options() };
    assert!(!format!("{options:?}").contains("hunter"));
    let objects = stack(&options, &kind());
    let secret = find(&objects, "Secret", RECEIVERS_SECRET);
    assert_eq!(secret.data["data"], serde_json::json!({"webhook-url": "aHR0cHM6Ly9ob29rLmV4YW1wbGUvaHVudGVy"}));
    for object in objects.iter().filter(|object| edit::kind(object) != "Secret") {
        let text = serde_json::to_string(object).unwrap();
        assert!(!text.contains("hunter") && !text.contains("aHVudGVy"), "{text}");
    }
    let config = find(&objects, "ConfigMap", "alertmanager-config").data["data"]["alertmanager.yml"].as_str().unwrap();
    assert!(config.contains("webhook-url") && !config.contains("slack"), "{config}");
}

#[rstest]
#[case::another_url(webhook(), Alerting::Receivers { slack: None, webhook: Some(SecretText::new("https://other")) }, false)]
#[case::another_receiver(webhook(), Alerting::Receivers { slack: Some(SecretText::new("https://s")), webhook: None }, true)]
#[case::another_configuration(
    Alerting::Config(SecretText::new("a: 1")),
    Alerting::Config(SecretText::new("a: 2")),
    true
)]
fn alertmanager_restarts_for_what_it_reads_at_its_start(
    #[case] one: Alerting,
    #[case] other: Alerting,
    #[case] expected: bool,
) {
    let pods = |alerting| {
        let objects = stack(&Options { alerting: Some(alerting), ..test_options() }, &kind());
        find(&objects, "Deployment", "alertmanager").data["spec"]["template"].clone()
    };
    assert_eq!(pods(one) != pods(other), expected);
}

#[test]
fn a_given_configuration_is_mounted_from_the_secret_alone() {
    let options = Options { alerting: Some(Alerting::Config(SecretText::new("route: {}"))), ..test_options() };
    let objects = stack(&options, &kind());
    let volume = &find(&objects, "Deployment", "alertmanager").data["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(volume["projected"]["sources"], serde_json::json!([{"secret": {"name": RECEIVERS_SECRET}}]));
    assert!(!objects.iter().any(|object| edit::name(object) == "alertmanager-config"));
}

/// What is not set is no argument, so an installation of before does not restart for it, and the environment holds.
#[rstest]
#[case::neither(None, None, &[])]
#[case::the_share(Some(0.3), None, &["--most-down-share=0.3"])]
#[case::the_step(None, Some(100), &["--largest-step=100"])]
#[case::no_limits(Some(1.0), Some(0), &["--most-down-share=1", "--largest-step=0"])]
fn the_scaler_is_told_the_limits_that_are_set(
    #[case] most_down_share: Option<f64>,
    #[case] largest_step: Option<i32>,
    #[case] expected: &[&str],
) {
    let there = |secret: Option<&str>| ExternalPrometheus {
        url: "http://thanos.example".to_owned(),
        secret: secret.map(str::to_owned),
    };
    for external in [None, Some(there(None)), Some(there(Some("access")))] {
        let arguments = |options: Options| -> Vec<String> {
            let objects = stack(&options, &kind());
            let pod = &find(&objects, "Deployment", "scaler").data["spec"]["template"]["spec"];
            serde_json::from_value(pod["containers"][0]["args"].clone()).unwrap()
        };
        let usual = Options { external, ..test_options() };
        let mut all = arguments(usual.clone());
        all.extend(expected.iter().map(|&argument| argument.to_owned()));
        assert_eq!(arguments(Options { most_down_share, largest_step, ..usual }), all);
    }
}

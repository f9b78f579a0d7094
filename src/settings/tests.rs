use std::path::Path;

use rstest::rstest;

use super::{settings_file::parse, *};

fn file(text: &str) -> Result<FileSettings, SettingsError> {
    parse(Path::new("scalekit.yaml"), text)
}

fn resolved(flags: StackFlags, text: &str) -> Result<StackSettings, SettingsError> {
    resolve(Connection::default(), flags, file(text)?)
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let text = "namespace: from-file\nscrapeInterval: 5s\nimages: {grafana: from-file, prometheus: from-file}\n";
    let flags = StackFlags {
        namespace: Some("from-flag".to_owned()),
        images: vec![(Component::Grafana, "from-flag".to_owned())],
        ..StackFlags::default()
    };
    let settings = resolved(flags, text).unwrap();
    assert_eq!(settings.options.namespace, "from-flag");
    assert_eq!(settings.options.scrape_interval_seconds, 5);
    assert_eq!(settings.options.image(Component::Grafana), "from-flag");
    assert_eq!(settings.options.image(Component::Prometheus), "from-file");
    assert_eq!(settings.timeout, DEFAULT_TIMEOUT);
}

#[rstest]
#[case::the_volume_alone("storage: {prometheus: 10Gi}\n", "8192MB")]
#[case::both("storage: {prometheus: 10Gi}\nretention: {size: 3GB}\n", "3GB")]
fn what_prometheus_keeps_follows_its_volume(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(resolved(StackFlags::default(), text).unwrap().options.retention.size, expected);
}

#[test]
fn a_profile_sets_what_is_not_set_by_itself() {
    let settings = resolved(StackFlags::default(), "profile: team\nretention: {time: 30d}\n").unwrap();
    let options = settings.options;
    assert_eq!((options.retention.time.as_str(), options.retention.size.as_str()), ("30d", "16GB"));
    assert_eq!(options.storage.prometheus, "20Gi");
    let edge = StackFlags { profile: Some(Profile::Edge), ..StackFlags::default() };
    assert_eq!(resolved(edge, "profile: team\n").unwrap().options.scrape_interval_seconds, 30);
}

#[test]
fn an_empty_file_is_no_settings() {
    assert_eq!(file("# nothing yet\n").unwrap(), FileSettings::default());
}

#[rstest]
#[case::unknown_key("namespce: x\n", "namespce")]
#[case::wrong_type("images: [a]\n", "1:")]
#[case::not_yaml("a: b: c\n", "1:")]
fn a_broken_file_says_where(#[case] text: &str, #[case] expected: &str) {
    let error = file(text).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[rstest]
#[case::slip("namespce: x\n", Some("did you mean `namespace`?"))]
#[case::below("storage:\n  promethues: 5Gi\n", Some("did you mean `storage.prometheus`?"))]
#[case::case("scrapeinterval: 5s\n", Some("did you mean `scrapeInterval`?"))]
#[case::nothing_like_it(
    "zzz: 1\n",
    Some(
        "known keys: namespace, profile, images, registry, prometheusUrl, prometheusSecret, scrapeInterval, retention, storage, rules, scrapeConfigs, dropMetrics, runbooks, alerting, autoscaling, platform, containerdSocket, timeout"
    )
)]
#[case::in_autoscaling("autoscaling: {largestStpe: 5}\n", Some("did you mean `autoscaling.largestStep`?"))]
#[case::nothing_like_it_below("retention: {zzz: 1}\n", Some("known keys of retention: time, size"))]
#[case::another_mistake("images: [a]\n", None)]
fn an_unknown_key_is_answered_with_the_one_that_was_meant(#[case] text: &str, #[case] expected: Option<&str>) {
    assert_eq!(file(text).unwrap_err().hint().as_deref(), expected);
}

#[rstest]
#[case::numbers("autoscaling: {mostDownShare: 0.3, largestStep: 100}\n", Some(0.3), Some(100))]
#[case::no_limits("autoscaling: {mostDownShare: 1, largestStep: 0}\n", Some(1.0), Some(0))]
#[case::one_of_them("autoscaling: {largestStep: 1}\n", None, Some(1))]
#[case::beside_another_prometheus("prometheusUrl: 'http://p'\nautoscaling: {mostDownShare: 0.3}\n", Some(0.3), None)]
#[case::neither("namespace: a\n", None, None)]
fn the_scaler_has_the_limits_that_are_set(#[case] text: &str, #[case] share: Option<f64>, #[case] step: Option<i32>) {
    let options = resolved(StackFlags::default(), text).unwrap().options;
    assert_eq!((options.most_down_share, options.largest_step), (share, step));
}

#[test]
fn a_size_is_written_as_the_api_server_keeps_it() {
    let settings = resolved(StackFlags::default(), "storage: {prometheus: 5120Mi, grafana: 0.5Gi}\n").unwrap();
    assert_eq!(settings.options.storage.prometheus, "5Gi");
    assert_eq!(settings.options.storage.grafana, "512Mi");
}

#[rstest]
#[case::namespace("namespace: Monitoring\n", "namespace: `Monitoring`")]
#[case::profile("profile: huge\n", "profile: `huge`")]
#[case::metric("dropMetrics: ['a b']\n", "dropMetrics: `a b`")]
#[case::page("runbooks: {baseUrl: docs/x}\n", "runbooks.baseUrl: `docs/x`")]
#[case::no_share("autoscaling: {mostDownShare: 0}\n", "autoscaling.mostDownShare: `0` is not a share")]
#[case::too_large_a_share("autoscaling: {mostDownShare: 1.5}\n", "autoscaling.mostDownShare: `1.5` is not")]
#[case::not_a_number("autoscaling: {mostDownShare: .nan}\n", "autoscaling.mostDownShare: `.nan` is not")]
#[case::part_of_a_replica("autoscaling: {largestStep: 1.5}\n", "autoscaling.largestStep: `1.5` is not a number of")]
#[case::negative_step("autoscaling: {largestStep: -1}\n", "autoscaling.largestStep: `-1` is not a number of")]
#[case::component("images: {grafna: x}\n", "images.grafna")]
#[case::interval("scrapeInterval: soon\n", "scrapeInterval")]
#[case::too_short("scrapeInterval: 500ms\n", "scrapeInterval: between")]
#[case::too_long("scrapeInterval: 2m\n", "scrapeInterval: between")]
#[case::platform("platform: minikube\n", "platform")]
#[case::image("images: {grafana: ''}\n", "images.grafana")]
#[case::registry("registry: https://r.example\n", "registry")]
#[case::url("prometheusUrl: prometheus:9090\n", "prometheusUrl")]
#[case::url_with_a_password("prometheusUrl: 'http://me:secret@p/x'\n", "prometheusUrl: a user and a password")]
#[case::secret_alone("prometheusSecret: prom\n", "prometheusSecret")]
#[case::secret("prometheusUrl: 'http://p'\nprometheusSecret: 'a b'\n", "prometheusSecret")]
#[case::age("retention: {time: 7 days}\n", "retention.time")]
#[case::size("retention: {size: 4Gi}\n", "retention.size")]
#[case::more_than_the_volume("retention: {size: 10GB}\n", "retention.size")]
#[case::class("storage: {class: 'a b'}\n", "storage.class")]
#[case::volume("storage: {prometheus: 5GB}\n", "storage.prometheus")]
#[case::other_volume("storage: {grafana: lots}\n", "storage.grafana")]
fn a_bad_value_names_its_key(#[case] text: &str, #[case] expected: &str) {
    let error = resolved(StackFlags::default(), text).unwrap_err().to_string();
    let (place, told) = error.split_once(": ").unwrap();
    assert!(place.starts_with("scalekit.yaml") && told.starts_with(expected), "{error}");
}

#[rstest]
#[case::at_the_top("namespace: a\nscrapeInterval: 5\n", "scalekit.yaml:2:17: scrapeInterval: `5` is not a duration")]
#[case::below("storage:\n  prometheus: 5GB\n", "scalekit.yaml:2:15: storage.prometheus: ")]
#[case::a_component("images: {grafana: g,\n  grafna: x}\n", "scalekit.yaml:2:11: images.grafna: ")]
fn a_bad_value_says_where(#[case] text: &str, #[case] expected: &str) {
    let error = resolved(StackFlags::default(), text).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_bad_value_of_a_flag_is_not_the_file_s() {
    let flags = StackFlags { registry: Some("https://r.example".to_owned()), ..StackFlags::default() };
    let error = resolved(flags, "namespace: a\nregistry: b\n").unwrap_err().to_string();
    assert!(error.starts_with("--registry: "), "{error}");
}

#[rstest]
#[case::unknown_key("foo: 1\n", "scalekit.yaml:1:1", "expected one of")]
#[case::twice("namespace: a\nnamespace: b\n", "this key is there already: namespace", "DuplicateKeyPolicy")]
#[case::no_map("images: foo\n", "expected keys and values here", "mapping")]
#[case::no_list("dropMetrics: foo\n", "expected a list here", "sequence")]
#[case::no_single_value("namespace: [a]\n", "expected a single value here", "scalar")]
fn a_broken_file_is_told_in_plain_words(#[case] text: &str, #[case] expected: &str, #[case] unwanted: &str) {
    let error = file(text).unwrap_err().to_string();
    assert!(error.contains(expected) && !error.contains(unwanted), "{error}");
}

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    platform::{Part, detect},
    prometheus::{Target, TargetHealth},
};

fn stack() -> Vec<DynamicObject> {
    catalog::stack(&catalog::Options::new("secret", "0.1.0"), &detect(&[], &[]))
}

fn scraped(jobs: &[String], health: TargetHealth) -> Vec<Target> {
    let target = |job: &String| Target {
        scrape_pool: job.clone(),
        scrape_url: format!("http://{job}/metrics"),
        last_error: "connection refused".to_owned(),
        health,
        node: None,
    };
    jobs.iter().map(target).collect()
}

fn observed(live: Vec<DynamicObject>, targets: Result<Vec<Target>, Silence>) -> Observed {
    Observed {
        platform: "kind".to_owned(),
        kubernetes: "v1.37.2".to_owned(),
        namespace: "monitoring".to_owned(),
        elsewhere: None,
        desired: stack(),
        live,
        around: Surroundings::default(),
        scraping: Scraping::of(&detect(&[], &[])),
        unscraped: vec![],
        targets: Some(targets),
        server: None,
        refused: None,
        expected_jobs: vec!["kubelet".to_owned(), "coredns".to_owned()],
        autoscalers: vec![],
        series: None,
    }
}

fn messages(status: &Status) -> Vec<&str> {
    status.findings.iter().map(|finding| finding.message.as_str()).collect()
}

#[test]
fn an_empty_cluster_is_not_healthy_and_says_so_once() {
    let status = status(&observed(vec![], Err(Silence::NoAnswer("no pod".to_owned()))), Timestamp::UNIX_EPOCH);
    assert!(!status.healthy && !status.installed);
    assert_eq!(messages(&status), ["nothing is installed"]);
}

#[test]
fn a_stack_in_another_namespace_is_not_called_nothing() {
    let nothing = observed(vec![], Err(Silence::NoAnswer("no pod".to_owned())));
    let observed = Observed { namespace: "demo".to_owned(), elsewhere: Some("monitoring".to_owned()), ..nothing };
    let status = status(&observed, Timestamp::UNIX_EPOCH);
    assert!(!status.healthy && !status.installed);
    assert_eq!(messages(&status), ["the stack is in namespace monitoring, not in demo"]);
    assert_eq!(status.findings[0].hint.as_deref(), Some("scalekit status -n monitoring"));
}

#[test]
fn the_scaler_alone_is_not_a_stack_of_which_most_is_missing() {
    let url = "http://prometheus.theirs:9090";
    let external = catalog::ExternalPrometheus { url: url.to_owned(), secret: None };
    let options =
        catalog::Options { external: Some(external), ..catalog::Options::new("secret", env!("CARGO_PKG_VERSION")) };
    let live = catalog::stack(&options, &detect(&[], &[]));
    let of_stack = observed(live.clone(), Err(Silence::NoAnswer("no pod".to_owned())));
    let found = status(&of_stack, Timestamp::UNIX_EPOCH).findings;
    let [finding] =
        &found.iter().filter(|found| found.check != "drift" && found.check != "ready").collect::<Vec<_>>()[..]
    else {
        panic!("{found:#?}");
    };
    assert_eq!(
        finding.message,
        "the scaler alone is installed, on top of http://prometheus.theirs:9090, and these settings are the whole stack's"
    );
    assert!(finding.hint.as_deref().is_some_and(|hint| hint.contains(&format!("`--prometheus-url {url}`"))));
    // With that flag nothing is.
    let of_scaler = Observed { desired: live.clone(), targets: None, ..observed(live, Ok(vec![])) };
    let found = status(&of_scaler, Timestamp::UNIX_EPOCH).findings;
    assert!(found.iter().all(|found| found.check != "missing"), "{found:#?}");
}

#[rstest]
#[case::it_answers(Ok(None), None)]
#[case::it_does_not(Ok(Some("connection refused")), Some(Severity::Error))]
#[case::nobody_may_ask(Err("not permitted"), Some(Severity::Warning))]
fn a_prometheus_that_gives_the_scaler_no_answer_is_found(
    #[case] told: Result<Option<&str>, &str>,
    #[case] expected: Option<Severity>,
) {
    let server = told.map_err(|why| Silence::NotPermitted(why.to_owned())).map(|why| Server {
        address: "http://theirs:9090".to_owned(),
        why: why.map(str::to_owned),
        hint: why.map(|_| "see whether it runs".to_owned()),
    });
    let (answered, observed) =
        (server.is_ok(), Observed { server: Some(server), targets: None, ..observed(stack(), Ok(vec![])) });
    let status = status(&observed, Timestamp::UNIX_EPOCH);
    let found = status.findings.iter().find(|found| found.check == "prometheus");
    assert_eq!(found.map(|found| found.severity), expected, "{found:?}");
    assert!(found.is_none_or(|found| found.message.contains("connection refused") || found.message.contains("not permitted")));
    assert_eq!(status.prometheus.is_some(), answered);
}

/// A claim that a stack has left is no part of what is installed now.
#[test]
fn a_claim_of_a_former_stack_that_is_not_bound_is_shown_and_nothing_wrong() {
    let external = catalog::ExternalPrometheus { url: "http://theirs:9090".to_owned(), secret: None };
    let options = catalog::Options { external: Some(external), ..catalog::Options::new("secret", "0.1.0") };
    let desired = catalog::stack(&options, &detect(&[], &[]));
    let claim = stack().into_iter().find(|object| ObjectRef::of(object).kind == "PersistentVolumeClaim").unwrap();
    let live: Vec<DynamicObject> = desired.iter().cloned().chain([claim.clone()]).collect();
    let of_scaler = Observed { desired, targets: None, ..observed(live, Ok(vec![])) };
    let found = status(&of_scaler, Timestamp::UNIX_EPOCH);
    let named = |text: &str| text.contains(&ObjectRef::of(&claim).to_string());
    assert!(found.components.iter().any(|component| named(&component.object.to_string())));
    assert!(!found.findings.iter().any(|finding| named(&finding.message)), "{:#?}", found.findings);
    let of_stack = status(&observed(vec![claim.clone()], Ok(vec![])), Timestamp::UNIX_EPOCH);
    assert!(of_stack.findings.iter().any(|finding| named(&finding.message)), "{:#?}", of_stack.findings);
}

#[test]
fn a_configuration_that_prometheus_refuses_is_found_with_its_words() {
    let observed = Observed {
        refused: Some(vec!["mine.yml: bad_template".to_owned()]),
        ..observed(stack(), Ok(scraped(&["kubelet".to_owned(), "coredns".to_owned()], TargetHealth::Up)))
    };
    let status = status(&observed, Timestamp::UNIX_EPOCH);
    let found = status.findings.iter().find(|finding| finding.check == "configuration").expect("a finding");
    assert_eq!(found.severity, Severity::Error);
    assert!(found.message.ends_with("goes on with the one before: mine.yml: bad_template"), "{}", found.message);
}

#[test]
fn a_right_that_was_taken_away_is_named_beside_the_jobs_it_empties() {
    let mut live = stack();
    for object in &mut live {
        if catalog::component_of(object) == Some(catalog::Component::Prometheus)
            && object.types.as_ref().is_some_and(|types| types.kind == "ClusterRole")
        {
            object.data["rules"] =
                json!([{"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list", "watch"]}]);
        }
    }
    let status = status(&observed(live, Ok(scraped(&["kubelet".to_owned()], TargetHealth::Up))), Timestamp::UNIX_EPOCH);
    let finding = status.findings.iter().find(|finding| finding.check == "targets").unwrap();
    assert!(finding.message.starts_with("no target at all for coredns"), "{}", finding.message);
    assert!(finding.message.contains("services") && finding.message.contains("endpointslices"), "{}", finding.message);
    assert!(finding.hint.as_ref().unwrap().contains("scalekit up"));
}

#[test]
fn a_service_that_is_gone_is_named_beside_the_jobs_it_empties() {
    let name = |object: &DynamicObject| object.metadata.name.clone().unwrap_or_default();
    let is_it = |object: &DynamicObject| {
        name(object) == "grafana" && object.types.as_ref().is_some_and(|types| types.kind == "Service")
    };
    let live = stack().into_iter().filter(|object| !is_it(object)).collect();
    let jobs = ["kubelet".to_owned(), "coredns".to_owned()];
    let mut observed = observed(live, Ok(scraped(&jobs, TargetHealth::Up)));
    observed.expected_jobs.push("grafana".to_owned());
    let status = status(&observed, Timestamp::UNIX_EPOCH);
    let finding = status.findings.iter().find(|finding| finding.check == "targets").unwrap();
    assert_eq!(finding.message, "no target at all for grafana: there is no service/grafana -n monitoring");
    assert_eq!(finding.hint.as_deref(), Some("`scalekit up` makes it anew"));
}

/// What was assumed of kubelets that could not be asked is put right by a run that can ask them.
#[test]
fn a_kubelet_that_cannot_be_verified_is_found_with_the_way_out() {
    let failed = |job: &str| {
        let mut targets = scraped(&["kubelet".to_owned(), "coredns".to_owned()], TargetHealth::Up);
        let target = targets.iter_mut().find(|target| target.scrape_pool == job).unwrap();
        target.health = TargetHealth::Down;
        target.last_error =
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned();
        let status = status(&observed(stack(), Ok(targets)), Timestamp::UNIX_EPOCH);
        let found = status.findings.iter().find(|finding| finding.check == "targets").unwrap();
        (found.message.contains("x509"), found.hint.clone().unwrap_or_default())
    };
    let (told, hint) = failed("kubelet");
    assert!(told && hint.contains("`scalekit up`") && hint.contains("10250"), "{hint}");
    assert_eq!(failed("coredns"), (true, String::new()));
}

#[test]
fn what_is_not_scraped_is_said_of_a_prometheus_that_is_ours() {
    let own = observed(stack(), Ok(scraped(&[], TargetHealth::Up)));
    let scraping = status(&own, Timestamp::UNIX_EPOCH).scraping.unwrap();
    let jobs: Vec<_> = scraping.not_scraped.iter().map(|left_out| left_out.job).collect();
    assert_eq!(jobs, ["scheduler", "controller-manager", "kube-proxy", "etcd"]);
    let of_others = Observed { targets: None, ..observed(stack(), Err(Silence::NoAnswer(String::new()))) };
    assert_eq!(status(&of_others, Timestamp::UNIX_EPOCH).scraping, None);
    assert_eq!(status(&observed(vec![], Err(Silence::NoAnswer(String::new()))), Timestamp::UNIX_EPOCH).scraping, None);
}

#[test]
fn what_could_be_scraped_since_is_said_and_nothing_is_wrong() {
    let all_up = || Ok(scraped(&["kubelet".to_owned(), "coredns".to_owned()], TargetHealth::Up));
    let opened = Observed { unscraped: vec![Part::Scheduler, Part::Etcd], ..observed(stack(), all_up()) };
    let found: Vec<_> = status(&opened, Timestamp::UNIX_EPOCH).findings;
    let found = found.iter().find(|finding| finding.check == "targets").expect("a finding");
    assert_eq!(found.severity, Severity::Warning);
    assert_eq!(found.message, "scheduler, etcd can be reached by pods now, and is not scraped there yet");
}

#[test]
fn who_may_not_ask_prometheus_is_told_what_it_takes_and_nothing_is_wrong() {
    let why = "this user may not create pods/portforward".to_owned();
    let blind = status(&observed(stack(), Err(Silence::NotPermitted(why.clone()))), Timestamp::UNIX_EPOCH);
    let finding = blind.findings.iter().find(|finding| finding.check == "targets").unwrap();
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.message.contains("unknown") && finding.message.contains(&why), "{}", finding.message);
    assert!(finding.hint.as_ref().unwrap().contains("services/proxy of prometheus:9090"));
    let silent = status(&observed(stack(), Err(Silence::NoAnswer(why))), Timestamp::UNIX_EPOCH);
    assert_eq!(silent.findings.iter().find(|finding| finding.check == "targets").unwrap().severity, Severity::Error);
}

#[test]
fn a_target_that_is_down_comes_with_prometheus_error() {
    let jobs = ["kubelet".to_owned(), "coredns".to_owned()];
    let status = status(&observed(stack(), Ok(scraped(&jobs, TargetHealth::Down))), Timestamp::UNIX_EPOCH);
    assert_eq!(status.targets.as_ref().map(|targets| (targets.up, targets.total, targets.down.len())), Some((0, 2, 2)));
    assert!(messages(&status).iter().any(|message| message.contains("job coredns is down: connection refused")));
}

#[test]
fn a_target_that_is_down_with_its_node_is_no_failure_of_the_stack() {
    let jobs = ["kubelet".to_owned(), "coredns".to_owned()];
    let mut targets = scraped(&jobs, TargetHealth::Up);
    let lost = Target {
        health: TargetHealth::Down,
        node: Some("lost".to_owned()),
        ..scraped(&jobs[..1], TargetHealth::Down).remove(0)
    };
    targets.push(lost);
    let mut observed = observed(stack(), Ok(targets));
    let found = |observed: &Observed| {
        let findings = status(observed, Timestamp::UNIX_EPOCH).findings;
        let found = findings.into_iter().find(|finding| finding.check == "targets").unwrap();
        (found.severity, found.message)
    };
    let down = "http://kubelet/metrics of job kubelet is down: connection refused";
    assert_eq!(found(&observed), (Severity::Error, down.to_owned()));
    observed.around.nodes = vec![serde_json::from_value(json!({"metadata": {"name": "lost"}})).unwrap()];
    let down = "1 target is down with node lost, which is not ready: kubelet";
    assert_eq!(found(&observed), (Severity::Warning, down.to_owned()));
}

#[test]
fn what_is_missing_is_an_error_and_what_was_changed_a_warning() {
    let mut live = stack();
    let gone =
        live.iter().position(|object| object.types.as_ref().is_some_and(|types| types.kind == "Service")).unwrap();
    let name = ObjectRef::of(&live.remove(gone));
    let changed =
        live.iter_mut().find(|object| object.types.as_ref().is_some_and(|types| types.kind == "Deployment")).unwrap();
    let wanted = changed.data["spec"]["revisionHistoryLimit"].take();
    changed.data["spec"]["revisionHistoryLimit"] = json!(99);
    let name_of_changed = ObjectRef::of(changed);
    changed.metadata.managed_fields = serde_json::from_value(json!([{"manager": "kubectl-edit", "operation": "Update",
        "fieldsV1": {"f:spec": {"f:revisionHistoryLimit": {}}}}]))
    .unwrap();
    let status = status(&observed(live, Ok(vec![])), Timestamp::UNIX_EPOCH);
    let of = |check: &str| status.findings.iter().find(|finding| finding.check == check).unwrap();
    assert_eq!(
        (of("missing").severity, of("missing").message.clone()),
        (Severity::Error, format!("{name} is not there"))
    );
    assert_eq!(of("drift").severity, Severity::Warning);
    let words =
        format!("{name_of_changed} was changed: spec.revisionHistoryLimit is 99, should be {wanted} (by kubectl-edit)");
    assert_eq!(of("drift").message, words);
    assert!(of("drift").hint.as_ref().unwrap().contains("--force-conflicts"));
    let drift = serde_json::to_value(&status.drift).unwrap();
    let field = json!({"field": "spec.revisionHistoryLimit", "live": 99, "desired": wanted,
        "by": [{"manager": "kubectl-edit", "operation": "Update"}]});
    assert_eq!(drift, json!([{"object": serde_json::to_value(&name_of_changed).unwrap(), "fields": [field]}]));
}

/// What an installation with another profile looks like to who does not name the profile.
#[test]
fn what_scalekit_itself_wrote_was_not_changed_but_installed_with_other_settings() {
    let found = |manager: Option<&str>| {
        let mut live = stack();
        let prometheus = live
            .iter_mut()
            .find(|object| object.types.as_ref().is_some_and(|types| types.kind == "StatefulSet"))
            .unwrap();
        let spec = &mut prometheus.data["spec"]["template"]["spec"];
        match manager {
            Some(_) => spec["containers"][0]["resources"]["limits"]["memory"] = json!("7Gi"),
            None => drop(spec["containers"][0]["resources"]["limits"].as_object_mut().unwrap().remove("memory")),
        }
        let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"prometheus\"}": {
            ".": {}, "f:resources": {"f:limits": {"f:memory": {}}}}}}}}});
        let entry = |manager| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
        prometheus.metadata.managed_fields =
            Some(serde_json::from_value(manager.map(entry).into_iter().collect()).unwrap());
        let status = status(&observed(live, Ok(vec![])), Timestamp::UNIX_EPOCH);
        let finding = status.findings.into_iter().find(|finding| finding.check == "drift").unwrap();
        (finding.message, finding.hint.unwrap())
    };
    for (message, hint) in [found(Some("scalekit")), found(None)] {
        assert!(
            message.contains("statefulset.apps/prometheus -n monitoring is not as these settings have it: "),
            "{message}"
        );
        assert!(hint.starts_with("was it installed with other flags or another --config?"), "{hint}");
        assert!(hint.contains("`scalekit plan`") && !hint.contains("sets it back"), "{hint}");
    }
    let (message, hint) = found(Some("helm"));
    assert!(message.contains("statefulset.apps/prometheus -n monitoring was changed: "), "{message}");
    assert_eq!(hint, "`scalekit up --force-conflicts` sets it back");
}

#[rstest::rstest]
#[case::by_other_settings("grafana", "0.1.0", "scalekit", "Apply", true)]
#[case::by_another_build("grafana", "0.0.9", "scalekit", "Apply", false)]
#[case::by_a_manifest("grafana", "0.0.9", "kubectl-client-side-apply", "Update", false)]
#[case::by_hand("grafana", "0.0.9", "kubectl-set", "Update", true)]
#[case::our_own("scaler", "0.1.0", "scalekit", "Apply", false)]
#[case::our_own_by_hand("scaler", "0.1.0", "kubectl-set", "Update", true)]
fn an_image_is_drift_where_no_other_build_explains_it(
    #[case] component: &str,
    #[case] version: &str,
    #[case] manager: &str,
    #[case] operation: &str,
    #[case] told: bool,
) {
    let mut live = stack();
    let changed = live.iter_mut().find(|object| {
        catalog::component_of(object).is_some_and(|found| found.to_string() == component)
            && object.types.as_ref().is_some_and(|types| types.kind == "Deployment")
    });
    let changed = changed.unwrap();
    changed.metadata.labels.as_mut().unwrap().insert(catalog::VERSION.to_owned(), version.to_owned());
    let container = &mut changed.data["spec"]["template"]["spec"]["containers"][0];
    container["image"] = json!("example.org/image:theirs");
    let key = format!("k:{}", json!({"name": container["name"]}));
    let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        key: {".": {}, "f:image": {}}}}}}});
    changed.metadata.managed_fields =
        serde_json::from_value(json!([{"manager": manager, "operation": operation, "fieldsV1": fields}])).unwrap();
    let status = status(&observed(live, Ok(vec![])), Timestamp::UNIX_EPOCH);
    let fields: Vec<&str> =
        status.drift.iter().flat_map(|drifted| &drifted.fields).map(|change| change.field.as_str()).collect();
    assert_eq!(fields, if told { vec!["spec.template.spec.containers[0].image"] } else { vec![] });
}

#[test]
fn an_autoscaler_that_cannot_see_its_metric_is_a_finding() {
    let mut observed = observed(stack(), Ok(vec![]));
    observed.autoscalers = vec![serde_json::from_value(json!({"apiVersion": "scalekit.dev/v1alpha1", "kind": "Autoscaler",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 5},
        "status": {"currentReplicas": 2, "desiredReplicas": 2, "conditions": [
            {"type": "ScalingActive", "status": "False", "reason": "FailedGetPrometheusMetric", "message": "no answer"}]}}))
    .unwrap()];
    let status = status(&observed, Timestamp::UNIX_EPOCH);
    assert_eq!(status.autoscalers[0].target, "deployment/web");
    assert!(messages(&status).contains(&"shop/web: FailedGetPrometheusMetric: no answer"));
}

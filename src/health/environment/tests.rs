use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    catalog::{MANAGED_BY, SCALEKIT},
    health::{BeforeWriting, Facts, Listener, before_writing, of_cluster},
    platform::detect,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn platform(name: &str) -> Platform {
    crate::platform::assume(name.parse().unwrap(), &[], &[])
}

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A Lease into which a node wrote `renewed` by its own clock, when it was `written` by the API server's.
fn lease(renewed: i64, written: i64) -> Lease {
    of(json!({"metadata": {"name": "n1", "managedFields": [{"manager": "kubelet", "operation": "Update",
        "time": at(written).to_string()}]}, "spec": {"renewTime": format!("{:.6}", at(renewed))}}))
}

#[rstest]
#[case::together(0, 0, 0, Severity::Ok, "this machine, the API server and 1 node are within 10 s")]
#[case::an_old_lease_of_a_right_clock(0, -600, -600, Severity::Ok, "within")]
#[case::the_server_is_ahead(90, 0, 0, Severity::Warning, "the API server is 90 s ahead of this machine")]
#[case::this_machine_is_ahead(-90, 0, 0, Severity::Warning, "the API server is 89 s behind this machine")]
#[case::a_node_is_behind(0, -3600, 0, Severity::Warning, "node n1 is 3600 s behind the API server")]
fn clocks_that_differ_are_named(
    #[case] server: i64,
    #[case] renewed: i64,
    #[case] written: i64,
    #[case] severity: Severity,
    #[case] said: &str,
) {
    let clock = Clock { server: at(server), here: at(0), took: Duration::from_millis(20) };
    let finding = clocks(&Ok(clock), &Ok(vec![lease(renewed, written)]));
    assert_eq!(finding.severity, severity, "{finding:?}");
    assert!(finding.message.contains(said), "{}", finding.message);
    assert_eq!(finding.hint.is_some(), severity == Severity::Warning);
}

#[test]
fn a_clock_that_cannot_be_read_hides_none_that_can() {
    let finding = clocks(&Err("no date".to_owned()), &Ok(vec![lease(-60, 0)]));
    assert!(finding.message.contains("node n1 is 60 s behind"), "{}", finding.message);
    let finding = clocks(&Err("no date".to_owned()), &Ok(vec![]));
    assert_eq!(
        (finding.severity, finding.message.as_str()),
        (Severity::Info, "the API server's clock cannot be seen: no date")
    );
}

fn slice(ready: &[Option<bool>]) -> EndpointSlice {
    let endpoints: Vec<Value> =
        ready.iter().map(|ready| json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}})).collect();
    of(json!({"metadata": {}, "addressType": "IPv4", "endpoints": endpoints}))
}

#[rstest]
#[case::ready(true, &[Some(true), Some(false)], Severity::Ok, "1 pod of the cluster's DNS is ready")]
#[case::readiness_is_not_said(true, &[None], Severity::Ok, "1 pod of")]
#[case::none_is_ready(true, &[Some(false)], Severity::Warning, "no pod of the cluster's DNS is ready")]
#[case::no_service(false, &[], Severity::Warning, "no Service")]
fn dns_is_as_good_as_its_endpoints(
    #[case] service: bool,
    #[case] ready: &[Option<bool>],
    #[case] severity: Severity,
    #[case] said: &str,
) {
    let services = if service { vec![of(json!({"metadata": {"name": "kube-dns"}}))] } else { vec![] };
    let finding = dns(&Ok((services, vec![slice(ready)])), &platform("microk8s"));
    assert_eq!(finding.severity, severity, "{finding:?}");
    assert!(finding.message.contains(said), "{}", finding.message);
    assert_eq!(finding.hint.as_deref(), (severity == Severity::Warning).then_some("microk8s enable dns"));
}

fn class(provisioner: &str) -> StorageClass {
    of(json!({"metadata": {"name": "c"}, "provisioner": provisioner}))
}

fn deployment(name: &str, ready: i32) -> Deployment {
    of(json!({"metadata": {"name": name, "namespace": "kube-system"}, "status": {"readyReplicas": ready}}))
}

fn node_with(driver: &str) -> CSINode {
    of(json!({"metadata": {"name": "n"}, "spec": {"drivers": [{"name": driver, "nodeID": "n"}]}}))
}

#[rstest]
#[case::runs("rancher.io/local-path", vec![deployment("local-path-provisioner", 1)], vec![], Severity::Ok, "kube-system is ready")]
#[case::has_no_pod("rancher.io/local-path", vec![deployment("local-path-provisioner", 0)], vec![], Severity::Warning, "has no ready pod")]
#[case::is_gone("microk8s.io/hostpath", vec![deployment("local-path-provisioner", 1)], vec![], Severity::Warning, "hostpath-provisioner, which makes the volumes of microk8s.io/hostpath, is not there")]
#[case::a_driver_on_a_node("ebs.csi.aws.com", vec![], vec![node_with("ebs.csi.aws.com")], Severity::Ok, "is on 1 node")]
#[case::a_driver_on_no_node("ebs.csi.aws.com", vec![], vec![node_with("other")], Severity::Info, "cannot be seen")]
#[case::by_hand("kubernetes.io/no-provisioner", vec![], vec![], Severity::Warning, "makes no volumes")]
fn what_makes_the_volumes_has_to_run(
    #[case] name: &str,
    #[case] deployments: Vec<Deployment>,
    #[case] nodes: Vec<CSINode>,
    #[case] severity: Severity,
    #[case] said: &str,
) {
    let finding = provisioner(&Ok((deployments, nodes)), &detect(&[], &[]), Some(&class(name)));
    assert_eq!(finding.severity, severity, "{finding:?}");
    assert!(finding.message.contains(said), "{}", finding.message);
}

fn api_service(name: &str, available: &str) -> APIService {
    of(json!({"metadata": {"name": name}, "spec": {"groupPriorityMinimum": 1, "versionPriority": 1,
        "service": {"name": "metrics-server", "namespace": "kube-system"}},
        "status": {"conditions": [{"type": "Available", "status": available, "reason": "MissingEndpoints",
            "message": "endpoints for service/metrics-server have no addresses"}]}}))
}

#[test]
fn an_aggregated_api_without_endpoints_is_named_with_the_fix() {
    let services = vec![api_service("v1.apps", "True"), api_service("v1beta1.metrics.k8s.io", "False")];
    let finding = api_services(&Ok(services));
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(
        finding.message,
        "APIService v1beta1.metrics.k8s.io does not answer, so no namespace can be deleted: endpoints for \
         service/metrics-server have no addresses"
    );
    let hint = finding.hint.unwrap();
    assert!(
        hint.contains("service/metrics-server in kube-system")
            && hint.contains("kubectl delete apiservice v1beta1.metrics.k8s.io"),
        "{hint}"
    );
}

#[test]
fn several_of_them_are_one_finding() {
    let services = vec![api_service("a", "False"), api_service("b", "Unknown")];
    let finding = api_services(&Ok(services));
    assert!(finding.message.contains("APIService a ") && finding.message.contains("APIService b "), "{finding:?}");
    assert_eq!(api_services(&Ok(vec![api_service("a", "True")])).severity, Severity::Ok);
}

fn pod(namespace: &str, image: &str) -> Pod {
    of(
        json!({"metadata": {"name": "p", "namespace": namespace}, "spec": {"containers": [{"name": "c", "image": image}]}}),
    )
}

#[rstest]
#[case::none("kind", vec![pod("shop", "docker.io/library/nginx:1")], false, Severity::Ok, "no other")]
#[case::the_addon("microk8s", vec![pod("observability", "quay.io/prometheus/prometheus:v3")], true, Severity::Warning, "observability/p")]
#[case::by_digest("kind", vec![pod("m", "quay.io/prometheus/node-exporter@sha256:abc")], false, Severity::Warning, "m/p")]
#[case::only_its_definitions("kind", vec![], true, Severity::Warning, "Prometheus Operator")]
#[case::an_adapter_is_none("kind", vec![pod("m", "registry.k8s.io/prometheus-adapter/prometheus-adapter:v1")], false, Severity::Ok, "no other")]
fn another_monitoring_is_named(
    #[case] on: &str,
    #[case] pods: Vec<Pod>,
    #[case] operator: bool,
    #[case] severity: Severity,
    #[case] said: &str,
) {
    let finding = other_monitoring(&Ok(pods), &Ok(operator), &platform(on));
    assert_eq!(finding.severity, severity, "{finding:?}");
    assert!(finding.message.contains(said), "{}", finding.message);
    assert_eq!(finding.hint.as_deref() == Some("microk8s disable observability"), on == "microk8s");
}

#[test]
fn another_installation_of_scalekit_is_named_with_the_way_to_one() {
    let mut theirs = pod("monitoring", "quay.io/prometheus/prometheus:v3");
    theirs.metadata.labels = Some([(MANAGED_BY.to_owned(), SCALEKIT.to_owned())].into());
    let finding = other_monitoring(&Ok(vec![theirs]), &Ok(false), &platform("kind"));
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.message.ends_with("monitoring/p"), "{}", finding.message);
    assert_eq!(finding.hint.as_deref(), Some(plan::ONE_A_CLUSTER));
}

fn no<T>() -> Looked<T> {
    Err("not permitted: no".to_owned())
}

fn unseen_around() -> Environment {
    Environment {
        clock: no(),
        heartbeats: no(),
        dns: no(),
        provisioners: no(),
        api_services: no(),
        others: no(),
        operator: no(),
    }
}

#[test]
fn what_may_not_be_looked_at_is_said_and_stops_nothing() {
    let findings = environment(&unseen_around(), &platform("kind"), None, Extent::Stack);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Info), "{findings:#?}");
    assert!(
        findings.iter().all(|finding| finding.message.ends_with("cannot be seen: not permitted: no")),
        "{findings:#?}"
    );
}

/// Where there is somebody else's node-exporter on the port, his Prometheus, and no StorageClass.
#[test]
fn the_scaler_alone_needs_neither_volumes_nor_a_port_and_another_monitoring_is_what_it_is_for() {
    let others = Ok(vec![pod("theirs", "quay.io/prometheus/node-exporter:v1")]);
    let before = BeforeWriting {
        permissions: Vec::new(),
        rbac: true,
        environment: Environment { others, ..unseen_around() },
        listeners: vec![("n".to_owned(), Listener::Something)],
        node_exporter: false,
        absent_secrets: Vec::new(),
    };
    let said = |extent| {
        let (facts, platform) = (Facts::default(), platform("kind"));
        let mut findings = of_cluster(&facts, &platform, None, None, extent);
        findings.extend(before_writing(&before, &platform, None, extent));
        findings.into_iter().map(|finding| finding.check).collect::<Vec<_>>()
    };
    let alone = said(Extent::ScalerAlone);
    let more: Vec<_> = said(Extent::Stack).into_iter().filter(|check| !alone.contains(check)).collect();
    assert_eq!(more, ["storage-class", "port-9100", "provisioner", "other-monitoring"]);
}

#[test]
fn many_are_cut_short() {
    let names: Vec<String> = (0..5).map(|number| format!("n{number}")).collect();
    assert_eq!(shortened(&names), "n0, n1, n2 and 2 more");
    assert_eq!(shortened(&names[..2]), "n0, n1");
}

use rstest::rstest;

use super::*;

const REFERENCE: &str = "scalekit.local/scalekit:0.1.0-0123456789ab";

fn node(name: &str) -> Node {
    Node {
        name: name.into(),
        provider_id: format!("kind://docker/dev/{name}"),
        container_runtime: "containerd://2.1.4".into(),
        images: vec!["docker.io/library/busybox:1.37".into()],
    }
}

fn with_image(name: &str) -> Node {
    Node { images: vec![REFERENCE.into()], ..node(name) }
}

fn cluster(kind: ClusterKind, nodes: &[Node]) -> Cluster {
    Cluster { kind, nodes: nodes.to_vec(), containerd_socket: None }
}

/// A host that has everything.
fn host(name: &str) -> Host {
    Host {
        name: name.into(),
        programs: Program::ALL.map(|program| (program, PathBuf::from(format!("/bin/{program}")))).into(),
        containerd_socket: Some("/run/containerd/containerd.sock".into()),
        microk8s_folder: Some("/sideload".into()),
        k3s_folder: Some("/images".into()),
    }
}

fn without(mut host: Host, programs: &[Program]) -> Host {
    host.programs.retain(|program, _| !programs.contains(program));
    host
}

fn send(route: Route, lacking: &[&str], unreached: &[&str]) -> Choice {
    let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Choice { route: Some(route), lacking: strings(lacking), unreached: strings(unreached) }
}

#[test]
fn no_way_is_needed_where_every_node_has_the_image() {
    let present = Choice { route: None, lacking: Vec::new(), unreached: Vec::new() };
    for kind in [ClusterKind::Kind, ClusterKind::MicroK8s, ClusterKind::K3s, ClusterKind::Other] {
        let with = cluster(kind, &[with_image("a"), with_image("b")]);
        assert_eq!(choose(&with, &Host::default(), REFERENCE), Ok(present.clone()));
        let named = Cluster { containerd_socket: Some("/x.sock".into()), ..with };
        assert_eq!(choose(&named, &Host::default(), REFERENCE), Ok(present.clone()));
        assert_eq!(choose(&cluster(kind, &[]), &Host::default(), REFERENCE), Ok(present.clone()), "no node at all");
    }
}

#[test]
fn another_build_of_the_same_version_is_another_image() {
    let old = Node { images: vec!["scalekit.local/scalekit:0.1.0-ba9876543210".into()], ..node("a") };
    assert_eq!(choose(&cluster(ClusterKind::Kind, &[old]), &host("x"), REFERENCE).unwrap().lacking, ["a"]);
}

#[test]
fn kind_leads_into_every_node() {
    let cluster = cluster(ClusterKind::Kind, &[with_image("dev-control-plane"), node("dev-worker")]);
    let container = |name: &str| NodeContainer { node: name.into(), container: name.into() };
    let containers = vec![container("dev-control-plane"), container("dev-worker")];
    let route = Route::Kind { program: "/bin/docker".into(), containers };
    assert_eq!(choose(&cluster, &host("laptop"), REFERENCE), Ok(send(route, &["dev-worker"], &[])));
}

#[rstest]
#[case::docker("kind://docker/dev/dev-worker", Some((Program::Docker, "dev-worker")))]
#[case::podman("kind://podman/dev/dev-worker", Some((Program::Podman, "dev-worker")))]
#[case::nerdctl("kind://nerdctl/dev/n", Some((Program::Nerdctl, "n")))]
#[case::another_provider("kind://finch/dev/n", None)]
#[case::no_node("kind://docker/dev", None)]
#[case::empty_node("kind://docker/dev/", None)]
#[case::too_long("kind://docker/dev/n/x", None)]
#[case::not_a_flag("kind://docker/dev/--privileged", None)]
#[case::cloud("aws:///eu-central-1a/i-0123", None)]
#[case::none("", None)]
fn reads_kinds_provider_id(#[case] id: &str, #[case] expected: Option<(Program, &str)>) {
    assert_eq!(kind_container(id), expected);
}

#[test]
fn microk8s_sends_it_to_all_its_nodes() {
    let cluster = cluster(ClusterKind::MicroK8s, &[node("edge-1"), node("edge-2")]);
    let nodes = vec!["edge-1".into(), "edge-2".into()];
    let route = Route::MicroK8s { microk8s: "/bin/microk8s".into(), nodes };
    assert_eq!(choose(&cluster, &host("edge-1"), REFERENCE), Ok(send(route, &["edge-1", "edge-2"], &[])));
}

#[test]
fn the_microk8s_folder_reaches_this_node_only() {
    let cluster = cluster(ClusterKind::MicroK8s, &[node("edge-1"), node("edge-2")]);
    let host = without(host("Edge-1.example.org"), &[Program::MicroK8s]);
    let route = Route::MicroK8sFolder { folder: "/sideload".into(), node: "edge-1".into() };
    assert_eq!(choose(&cluster, &host, REFERENCE), Ok(send(route, &["edge-1", "edge-2"], &["edge-2"])));
}

#[test]
fn k3s_is_asked_first_and_its_folder_is_second() {
    let cluster = cluster(ClusterKind::K3s, &[node("pi"), with_image("pi-2")]);
    let asked = Route::K3s { k3s: "/bin/k3s".into(), node: "pi".into() };
    assert_eq!(choose(&cluster, &host("pi"), REFERENCE), Ok(send(asked, &["pi"], &[])));
    let folder = Route::K3sFolder { folder: "/images".into(), node: "pi".into() };
    assert_eq!(choose(&cluster, &without(host("pi"), &[Program::K3s]), REFERENCE), Ok(send(folder, &["pi"], &[])));
}

#[test]
fn a_containerd_of_this_host_is_used_where_this_host_is_a_node() {
    let cluster = cluster(ClusterKind::Other, &[node("a"), node("b")]);
    let route = Route::Containerd {
        ctr: "/bin/ctr".into(),
        socket: "/run/containerd/containerd.sock".into(),
        node: Some("b".into()),
    };
    assert_eq!(choose(&cluster, &host("b"), REFERENCE), Ok(send(route, &["a", "b"], &["a"])));
}

#[rstest]
#[case::one_node(&["only"], Some("only"), &[])]
#[case::which_of_two_is_not_known(&["a", "b"], None, &[])]
#[case::this_host_is_one_of_two(&["a", "laptop"], Some("laptop"), &["a"])]
fn a_socket_that_was_named_is_used_whatever_the_cluster_is(
    #[case] names: &[&str],
    #[case] known: Option<&str>,
    #[case] unreached: &[&str],
) {
    let nodes: Vec<_> = names.iter().map(|name| node(name)).collect();
    for kind in [ClusterKind::Kind, ClusterKind::MicroK8s, ClusterKind::K3s, ClusterKind::Other] {
        let cluster = Cluster { containerd_socket: Some("/x.sock".into()), ..cluster(kind, &nodes) };
        let route =
            Route::Containerd { ctr: "/bin/ctr".into(), socket: "/x.sock".into(), node: known.map(str::to_owned) };
        assert_eq!(choose(&cluster, &host("laptop"), REFERENCE), Ok(send(route, names, unreached)));
    }
}

#[rstest]
#[case::kind_without_docker(ClusterKind::Kind, "laptop", &[Program::Docker], "docker is not on PATH")]
#[case::microk8s_elsewhere(ClusterKind::MicroK8s, "laptop", &[], "this host (laptop) is not a node of the cluster")]
#[case::k3s_elsewhere(ClusterKind::K3s, "laptop", &[], "this host (laptop) is not a node of the cluster")]
#[case::remote(ClusterKind::Other, "laptop", &[], "this host (laptop) is not a node of the cluster")]
#[case::other_domain(ClusterKind::Other, "a.two.example.org", &[], "this host (a.two.example.org) is not a node of the cluster")]
#[case::no_ctr(ClusterKind::Other, "a.example.org", &[Program::Ctr], "ctr is not on PATH")]
fn no_way_says_why_and_what_else(
    #[case] kind: ClusterKind,
    #[case] name: &str,
    #[case] missing: &[Program],
    #[case] why: &str,
) {
    let error = choose(&cluster(kind, &[node("a.example.org")]), &without(host(name), missing), REFERENCE).unwrap_err();
    assert_eq!(error.to_string(), format!("no way to bring the image {REFERENCE} to the nodes: {why}"));
    assert!(error.hint().contains("--image scaler=REF"));
}

#[test]
fn every_closed_way_is_named() {
    let host = Host { microk8s_folder: None, ..without(host("a"), &[Program::MicroK8s]) };
    let error = choose(&cluster(ClusterKind::MicroK8s, &[node("a")]), &host, REFERENCE).unwrap_err();
    let closed = [Obstacle::CommandMissing { program: Program::MicroK8s }, Obstacle::NoFolder];
    assert_eq!(error.obstacles, closed);
}

#[test]
fn dockers_containerd_is_not_the_cluster_s() {
    let node = Node { container_runtime: "docker://28.1.0".into(), ..node("a") };
    let error = choose(&cluster(ClusterKind::Other, &[node]), &host("a"), REFERENCE).unwrap_err();
    assert!(error.to_string().ends_with("node a does not use containerd (docker://28.1.0)"), "{error}");
}

#[test]
fn a_node_that_is_no_container_is_named() {
    let node = Node { provider_id: String::new(), ..node("a") };
    let error = choose(&cluster(ClusterKind::Kind, &[node]), &host("a"), REFERENCE).unwrap_err();
    assert!(error.to_string().ends_with("node a is not a container of kind (its provider ID is \"\")"), "{error}");
}

#[test]
fn a_node_out_of_reach_is_named_even_when_the_reachable_one_has_the_image() {
    let cluster = cluster(ClusterKind::K3s, &[with_image("pi"), node("pi-2")]);
    let route = Route::K3s { k3s: "/bin/k3s".into(), node: "pi".into() };
    assert_eq!(choose(&cluster, &host("pi"), REFERENCE), Ok(send(route, &["pi-2"], &["pi-2"])));
}

//! Gathers the facts that `health` judges. Reads only; a review of rights is a POST that writes nothing.

mod environment;
mod ports;

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::Node,
    rbac::v1::ClusterRole,
    storage::v1::StorageClass,
};
use kube::{
    Api,
    api::{DynamicObject, ListParams, PostParams},
};

use environment::{absent_secrets, listeners};
pub use environment::{api_services, environment};

use crate::{
    catalog::{self, Component},
    cluster::{CONCURRENCY, Cluster, Error, INSTALLED, Kind, answered},
    health::{BeforeWriting, Facts, Permission},
    object::ObjectRef,
    platform::{PlatformKind, Seen, api_port_of_k3s},
};

/// What is done to every object in the course of its life. That it may be listed and read has been seen by then.
const WRITTEN: [&str; 3] = ["create", "patch", "delete"];

/// Kinds whose objects are watched until they work.
const WATCHED: [&str; 5] =
    ["Deployment", "StatefulSet", "DaemonSet", "PersistentVolumeClaim", "CustomResourceDefinition"];

/// What is done with pods and events, whose first list nobody has asked for before the wait.
const SEEN: [&str; 2] = ["list", "watch"];

/// What is done to the lock.
const LOCKED: [&str; 4] = ["get", "create", "update", "delete"];

/// A right to ask for; `*` stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right<'a> {
    namespace: Option<&'a str>,
    group: &'a str,
    resource: &'a str,
    subresource: Option<&'a str>,
    verb: &'a str,
}

/// All that there is: who may do that need not be asked any further.
const EVERYTHING: Right<'_> = Right { namespace: None, group: "*", resource: "*", subresource: None, verb: "*" };

/// Where there is to be what: namespace, group, plural and kind of these objects, and of the inventory in `namespace`.
fn kinds<'a>(
    namespace: &'a str,
    desired: &'a [DynamicObject],
) -> BTreeSet<(Option<&'a str>, &'static str, &'static str, &'static str)> {
    let inventory = ObjectRef::new("v1", "ConfigMap", None, "");
    let mut kinds: BTreeSet<(Option<&str>, &str, &str, &str)> =
        Kind::of(&inventory).map(|kind| (Some(namespace), kind.group, kind.plural, kind.kind)).into_iter().collect();
    kinds.extend(desired.iter().filter_map(|object| {
        let kind = Kind::of(&ObjectRef::of(object))?;
        Some((object.metadata.namespace.as_deref(), kind.group, kind.plural, kind.kind))
    }));
    kinds
}

/// The rights that installing these objects takes, their lock and inventory in `namespace` included.
fn needed<'a>(namespace: &'a str, desired: &'a [DynamicObject]) -> BTreeSet<Right<'a>> {
    let right = |namespace, group, resource, verb| Right { namespace, group, resource, subresource: None, verb };
    let mut rights = BTreeSet::new();
    for (namespace, group, plural, kind) in kinds(namespace, desired) {
        rights.extend(WRITTEN.map(|verb| right(namespace, group, plural, verb)));
        if WATCHED.contains(&kind) {
            // One watch for all namespaces.
            rights.insert(right(None, group, plural, "watch"));
        }
        if let Some(namespace) = namespace {
            // The wait ends where it may not look.
            for resource in ["pods", "events"] {
                rights.extend(SEEN.map(|verb| right(Some(namespace), "", resource, verb)));
            }
        }
    }
    rights.extend(LOCKED.map(|verb| right(Some(namespace), "coordination.k8s.io", "leases", verb)));
    // Prometheus is asked for its targets through a port-forward.
    if desired.iter().any(|object| catalog::component_of(object) == Some(Component::Prometheus)) {
        rights.insert(Right { subresource: Some("portforward"), ..right(Some(namespace), "", "pods", "create") });
        // The kubelet is told of a new configuration.
        rights.insert(right(Some(namespace), "", "pods", "patch"));
    }
    rights
}

/// Version, nodes and storage classes.
///
/// # Errors
///
/// The first request that fails: the first contact with the cluster, most often.
pub async fn facts(cluster: &Cluster) -> Result<Facts, Error> {
    let nodes: Api<Node> = Api::all(cluster.client().clone());
    let classes: Api<StorageClass> = Api::all(cluster.client().clone());
    let all = ListParams::default();
    let (version, nodes, classes) =
        futures::try_join!(cluster.version(), answered(nodes.list(&all)), answered(classes.list(&all)))?;
    Ok(Facts { version, nodes: nodes.items, classes: classes.items, seen: Seen::default() })
}

/// The same with what the ports of the control plane show: what Prometheus is to scrape depends on it.
///
/// # Errors
///
/// As of [`facts`]. That a port cannot be looked at is no failure.
pub async fn facts_and_ports(cluster: &Cluster) -> Result<Facts, Error> {
    let (facts, one_process) = futures::join!(facts_and_kubelets(cluster), one_process(cluster));
    let facts = facts?;
    Ok(Facts { seen: Seen { one_process, ..facts.seen }, ..facts })
}

/// The same with what the kubelets' ports show, and where the parts of the control plane that are pods answer.
///
/// # Errors
///
/// As of [`facts`].
pub async fn facts_and_kubelets(cluster: &Cluster) -> Result<Facts, Error> {
    let facts = facts(cluster).await?;
    let kind = PlatformKind::of(&facts.nodes);
    if kind.kubelets_may_verify() && kind.may_have_pods_of_the_control_plane() && ports::is_kubeadms(&facts.nodes) {
        return Ok(Facts { seen: ports::of_kubeadm(cluster, &facts.nodes).await, ..facts });
    }
    let control_plane =
        async { if kind.may_have_pods_of_the_control_plane() { ports::control_plane(cluster).await } else { None } };
    let verifies =
        async { if kind.kubelets_may_verify() { ports::kubelets_verify(cluster, &facts.nodes).await } else { None } };
    let (kubelet_verifies, control_plane) = futures::join!(verifies, control_plane);
    let control_plane = control_plane.unwrap_or_default();
    let api_port = control_plane.api_port.or_else(|| api_port_of_k3s(&facts.nodes));
    Ok(Facts { seen: Seen { kubelet_verifies, api_port, ..control_plane }, ..facts })
}

/// Whether the API server's process is the kubelet's too. The page that says so takes the API server a quarter of a
/// second to make.
pub async fn one_process(cluster: &Cluster) -> Option<bool> {
    ports::one_process(cluster).await
}

/// Rights, RBAC and what is around the stack: asked only when something is going to be written, or by `check`.
///
/// `desired` is what is to be installed, and `namespace` where its lock and its inventory lie. Who may do everything
/// is asked once; else each right that the installation takes is asked for by itself. Where node-exporter is to run and is
/// not among what is `live`, its port is tried on each of the nodes. Of a Secret of the user's it is only looked whether it is
/// there, and not what is in it.
///
/// # Errors
///
/// The first request about rights that fails. That a user may not look around is no failure.
pub async fn before_writing(
    cluster: &Cluster,
    namespace: &str,
    desired: &[DynamicObject],
    live: &[DynamicObject],
    nodes: &[Node],
) -> Result<BeforeWriting, Error> {
    let roles: Api<ClusterRole> = Api::all(cluster.client().clone());
    let rbac = async {
        match roles.get_metadata_opt("cluster-admin").await.map_err(Error::from) {
            // The API server makes this role when, and only when, it enforces RBAC.
            Ok(found) => Ok(found.is_some()),
            Err(Error::Forbidden { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    };
    let of_nodes = |object: &DynamicObject| ObjectRef::of(object).kind == "DaemonSet";
    let node_exporter = live.iter().any(|object| catalog::is_ours(object) && of_nodes(object));
    let tried = if desired.iter().any(of_nodes) && !node_exporter { nodes } else { &[] };
    let around = async {
        Ok(futures::join!(environment(cluster, namespace), listeners(tried), absent_secrets(cluster, desired)))
    };
    let (permissions, rbac, (environment, listeners, absent_secrets)) =
        futures::try_join!(permissions(cluster, namespace, desired), rbac, around)?;
    Ok(BeforeWriting { permissions, rbac, environment, listeners, node_exporter, absent_secrets })
}

/// The rights of the user that these objects take, each with whether there is one.
///
/// # Errors
///
/// The first request that fails.
pub async fn permissions(
    cluster: &Cluster,
    namespace: &str,
    desired: &[DynamicObject],
) -> Result<Vec<Permission>, Error> {
    reviewed(cluster, needed(namespace, desired)).await
}

/// The same with the rights to look at what is there: for who was refused at the first look.
///
/// # Errors
///
/// The first request that fails.
pub async fn permissions_from_the_first_look(
    cluster: &Cluster,
    namespace: &str,
    desired: &[DynamicObject],
) -> Result<Vec<Permission>, Error> {
    let mut rights = needed(namespace, desired);
    rights.extend(seen_first(namespace, desired));
    reviewed(cluster, rights).await
}

/// What is listed before anything is decided, everywhere, and what is read by its name.
fn seen_first<'a>(namespace: &'a str, desired: &'a [DynamicObject]) -> impl Iterator<Item = Right<'a>> {
    let right = |namespace, group, resource, verb| Right { namespace, group, resource, subresource: None, verb };
    let around = [("", "nodes"), ("storage.k8s.io", "storageclasses")];
    let ours = INSTALLED.iter().filter(|kind| !kind.is_rare()).map(|kind| (kind.group, kind.plural));
    let listed = around.into_iter().chain(ours).map(move |(group, plural)| right(None, group, plural, "list"));
    let read = kinds(namespace, desired).into_iter();
    listed.chain(read.map(move |(namespace, group, plural, _)| right(namespace, group, plural, "get")))
}

async fn reviewed(cluster: &Cluster, rights: BTreeSet<Right<'_>>) -> Result<Vec<Permission>, Error> {
    let everything = review(cluster, EVERYTHING).await?;
    if everything.allowed {
        return Ok(vec![everything]);
    }
    stream::iter(rights).map(|right| review(cluster, right)).buffered(CONCURRENCY).try_collect().await
}

async fn review(cluster: &Cluster, right: Right<'_>) -> Result<Permission, Error> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client().clone());
    let Right { namespace, group, resource, subresource, verb } = right;
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: subresource.map(str::to_owned),
                verb: Some(verb.to_owned()),
                namespace: namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    let below = subresource.map(|subresource| format!("/{subresource}")).unwrap_or_default();
    Ok(Permission {
        verb: verb.to_owned(),
        resource: format!("{resource}{below}"),
        namespace: namespace.map(str::to_owned),
        allowed: answer.status.is_some_and(|status| status.allowed),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kube::{Client, client::Body};
    use serde_json::{Value, json};

    use super::*;
    use crate::{catalog::Options, platform};

    fn stack() -> Vec<DynamicObject> {
        let platform = platform::assume("kind".parse().unwrap(), &[], &[]);
        catalog::stack(&Options::new("secret", "0.1.0"), &platform)
    }

    fn words(rights: &BTreeSet<Right<'_>>) -> Vec<String> {
        let word = |right: &Right<'_>| {
            let below = right.subresource.map(|below| format!("/{below}")).unwrap_or_default();
            format!("{} {}{below} {}", right.verb, right.resource, right.namespace.unwrap_or("-"))
        };
        rights.iter().map(word).collect()
    }

    #[test]
    fn every_object_of_the_stack_is_asked_for_where_it_lies() {
        let desired = stack();
        let rights = words(&needed("monitoring", &desired));
        for object in &desired {
            let plural = Kind::of(&ObjectRef::of(object)).unwrap().plural;
            for verb in ["create", "patch", "delete"] {
                let right = format!("{verb} {plural} {}", object.metadata.namespace.as_deref().unwrap_or("-"));
                assert!(rights.contains(&right), "{right} in {rights:#?}");
            }
        }
        for right in [
            "watch daemonsets -",
            "watch pods monitoring-nodes",
            "list events monitoring",
            "watch events monitoring-nodes",
            "update leases monitoring",
            "create pods/portforward monitoring",
        ] {
            assert!(rights.contains(&right.to_owned()), "{right} in {rights:#?}");
        }
        assert!(rights.len() <= 72, "{} questions", rights.len());
    }

    #[test]
    fn a_sample_takes_no_rights_of_the_stack() {
        let options = catalog::DemoOptions {
            namespace: "demo".to_owned(),
            image: "x".to_owned(),
            pull_policy: "Never".to_owned(),
            version: "0.1.0".to_owned(),
        };
        let desired = catalog::demo("watcherbot", &options).unwrap();
        let rights = words(&needed("demo", &desired));
        assert!(rights.contains(&"create autoscalers demo".to_owned()), "{rights:#?}");
        assert!(rights.contains(&"patch configmaps demo".to_owned()), "the inventory: {rights:#?}");
        for never in ["clusterroles", "secrets", "portforward", "monitoring"] {
            assert!(!rights.iter().any(|right| right.contains(never)), "{never} in {rights:#?}");
        }
    }

    /// A cluster that answers reviews by a rule, and whose roles and pods may not be looked at.
    fn cluster(allows: fn(&Value) -> bool) -> (Cluster, Arc<Mutex<usize>>) {
        let asked = Arc::new(Mutex::new(0));
        let count = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let count = Arc::clone(&count);
            async move {
                let (status, answer) = if request.uri().path().ends_with("/selfsubjectaccessreviews") {
                    *count.lock().unwrap() += 1;
                    let body = request.into_body().collect_bytes().await.unwrap();
                    let mut review: Value = serde_json::from_slice(&body).unwrap();
                    let allowed = allows(&review["spec"]["resourceAttributes"]);
                    review["status"] = json!({"allowed": allowed});
                    (201, review)
                } else {
                    let refused = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": "no", "reason": "Forbidden", "code": 403});
                    (403, refused)
                };
                let body = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, std::convert::Infallible>(http::Response::builder().status(status).body(body).unwrap())
            }
        });
        (Cluster::new(Client::new(service, "default"), "https://x", "x", "default"), asked)
    }

    #[tokio::test]
    async fn who_may_do_everything_is_asked_once() {
        let (cluster, asked) = cluster(|_| true);
        let found = before_writing(&cluster, "monitoring", &stack(), &[], &[]).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), 1);
        assert!(found.permissions.iter().all(|permission| permission.allowed));
        assert!(found.rbac, "who may not read roles sees RBAC at work");
        assert!(found.environment.others.is_err(), "it may not list pods");
    }

    #[tokio::test]
    async fn a_right_that_is_missing_is_found_among_the_others() {
        let (cluster, _) = cluster(|asked| asked["verb"] != "*" && asked["resource"] != "clusterroles");
        let found = before_writing(&cluster, "monitoring", &stack(), &[], &[]).await.unwrap();
        let missing: Vec<_> = found
            .permissions
            .iter()
            .filter(|permission| !permission.allowed)
            .map(|permission| format!("{} {}", permission.verb, permission.resource))
            .collect();
        assert_eq!(missing, ["create clusterroles", "delete clusterroles", "patch clusterroles"]);
    }
}

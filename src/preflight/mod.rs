//! Gathers the facts that `health` judges. Reads only; a review of rights is a POST that writes nothing.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::{Node, Pod},
    rbac::v1::ClusterRole,
    storage::v1::StorageClass,
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};

use crate::{
    catalog::{MANAGED_BY, SCALEKIT},
    cluster::{CONCURRENCY, Cluster, Error, answered},
    health::{BeforeWriting, Facts, Permission},
};

/// The rights that stand for all that `up` needs: group, resource, namespaced.
const NEEDED: [(&str, &str, bool); 6] = [
    ("", "namespaces", false),
    ("apiextensions.k8s.io", "customresourcedefinitions", false),
    ("rbac.authorization.k8s.io", "clusterroles", false),
    ("rbac.authorization.k8s.io", "clusterrolebindings", false),
    ("apps", "deployments", true),
    ("", "secrets", true),
];

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
    Ok(Facts { version, nodes: nodes.items, classes: classes.items })
}

/// Rights, RBAC and ports: asked only when something is going to be written.
///
/// # Errors
///
/// The first request that fails.
pub async fn before_writing(cluster: &Cluster, namespace: &str) -> Result<BeforeWriting, Error> {
    let permissions = stream::iter(NEEDED)
        .map(|(group, resource, namespaced)| review(cluster, group, resource, namespaced.then_some(namespace)))
        .buffered(CONCURRENCY)
        .try_collect();
    let roles: Api<ClusterRole> = Api::all(cluster.client().clone());
    let pods: Api<Pod> = Api::all(cluster.client().clone());
    let others = ListParams::default().labels(&format!("{MANAGED_BY}!={SCALEKIT}"));
    // The API server makes this role when, and only when, it enforces RBAC.
    let rbac = async { Ok(roles.get_metadata_opt("cluster-admin").await?.is_some()) };
    let host_pods = async { Ok(pods.list(&others).await?.items) };
    let (permissions, rbac, host_pods) = futures::try_join!(permissions, rbac, host_pods)?;
    Ok(BeforeWriting { permissions, host_pods, rbac })
}

async fn review(cluster: &Cluster, group: &str, resource: &str, namespace: Option<&str>) -> Result<Permission, Error> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client().clone());
    let verb = "create";
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some(verb.to_owned()),
                namespace: namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(Permission { right: format!("{verb} {resource}"), allowed: answer.status.is_some_and(|status| status.allowed) })
}

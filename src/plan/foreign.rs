//! Objects of others that stand where ours would go: how they are told, and what can be done about them.

use kube::core::DynamicObject;

use crate::{
    catalog::{MANAGED_BY, SCALEKIT},
    object::ObjectRef,
};

/// Of how many objects of one owner the names are told: `plan` names them all.
const NAMED: usize = 5;

/// Who owns what carries the label of another installation.
pub const OTHER_INSTALLATION: &str = "another installation of scalekit";

/// What to do where another installation is in the way, in whatever namespace it is.
pub const ONE_A_CLUSTER: &str = "scalekit is installed in another namespace; there is one installation a cluster: use that \
    one (without -n, or with its own -n), or take it away first with `scalekit down`";

/// By who manages them, where that is said.
pub fn foreign_in_words<'a>(foreign: impl IntoIterator<Item = (&'a ObjectRef, Option<&'a str>)>) -> String {
    let mut owners: Vec<(Option<&str>, Vec<String>)> = Vec::new();
    for (object, owner) in foreign {
        match owners.iter_mut().find(|(known, _)| *known == owner) {
            Some((_, objects)) => objects.push(object.to_string()),
            None => owners.push((owner, vec![object.to_string()])),
        }
    }
    let told = owners.into_iter().map(|(owner, objects)| {
        let rest = objects.len().saturating_sub(NAMED);
        let named = objects[..objects.len() - rest].join(", ");
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let whose = owner.map(|owner| format!(" (managed by {owner})")).unwrap_or_default();
        format!("{named}{more}{whose}")
    });
    told.collect::<Vec<_>>().join(", ")
}

/// The ways out. Another namespace is none where an object in the way has no namespace: its name is the same in each. A
/// namespace that nobody says to manage, made to put a Secret into it, is handed over by its label. Nothing else is: what is in
/// it would be made anew as ours.
pub fn foreign_hint<'a>(foreign: impl IntoIterator<Item = (&'a ObjectRef, Option<&'a str>)>) -> String {
    let (other_installation, others): (Vec<_>, Vec<_>) =
        foreign.into_iter().partition(|(_, owner)| *owner == Some(OTHER_INSTALLATION));
    let mut ways = Vec::new();
    if !other_installation.is_empty() {
        ways.push(ONE_A_CLUSTER);
    }
    if others.iter().any(|(object, _)| object.namespace.is_none() && object.kind != "Namespace") {
        ways.push(
            "remove these objects first: they have no namespace, so they are in the way of an installation into any",
        );
    } else if !others.is_empty() {
        ways.push("install into another namespace with -n NAME, or remove these objects first");
    }
    let mut hint = ways.join("; ");
    let nobodys: Vec<String> = others
        .into_iter()
        .filter(|(object, owner)| object.kind == "Namespace" && owner.is_none())
        .map(|(object, _)| format!("kubectl label {object} {MANAGED_BY}={SCALEKIT}"))
        .collect();
    if !nobodys.is_empty() {
        hint.push_str(
            "; a namespace of your own with nothing else in it can be handed over, which gives it our NetworkPolicies and Pod \
             Security level, and goes with `scalekit down` then: ",
        );
        hint.push_str(&nobodys.join("; "));
    }
    hint
}

/// Marks of tools, labels or annotations, with whose they are. The first that is there says most.
const MARKS: [(&str, &str); 5] = [
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
    ("app.kubernetes.io/part-of", ""),
];

/// Who says that it manages an object. Helm annotates what it makes with its release, which is what one would uninstall.
pub(super) fn owner(object: &DynamicObject) -> Option<String> {
    let label = |name: &str| object.metadata.labels.as_ref()?.get(name).cloned();
    let annotation = |name: &str| object.metadata.annotations.as_ref()?.get(name).cloned();
    if let Some(owner) = label(MANAGED_BY) {
        let release = (annotation("meta.helm.sh/release-name"), annotation("meta.helm.sh/release-namespace"));
        return Some(match release {
            (Some(release), Some(namespace)) => format!("{owner}, release {release} -n {namespace}"),
            _ => owner,
        });
    }
    let marked = |(name, tool): &(&str, &str)| {
        let value = label(name).or_else(|| annotation(name))?;
        Some(format!("{tool} {}", value.split(':').next().unwrap_or_default()).trim_start().to_owned())
    };
    MARKS.iter().find_map(marked)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_namespace_that_nobody_manages_can_be_handed_over_and_nothing_else() {
        let namespace = ObjectRef::new("v1", "Namespace", None, "monitoring");
        let grafana = ObjectRef::new("apps/v1", "Deployment", Some("monitoring"), "grafana");
        let all = || [(&namespace, None), (&grafana, Some("Helm")), (&grafana, None)];
        let deployment = "deployment.apps/grafana -n monitoring";
        let told = format!("namespace/monitoring, {deployment}, {deployment} (managed by Helm)");
        assert_eq!(foreign_in_words(all()), told);
        let hint = foreign_hint(all());
        assert!(hint.ends_with("kubectl label namespace/monitoring app.kubernetes.io/managed-by=scalekit"), "{hint}");
        for tools in [[(&grafana, None)], [(&namespace, Some("Argo CD prom"))]] {
            assert!(!foreign_hint(tools).contains("label"));
        }
    }

    #[test]
    fn another_namespace_is_no_way_around_what_has_none() {
        let role = ObjectRef::new("rbac.authorization.k8s.io/v1", "ClusterRole", None, "scalekit-prometheus");
        let grafana = ObjectRef::new("apps/v1", "Deployment", Some("monitoring"), "grafana");
        let namespace = ObjectRef::new("v1", "Namespace", None, "monitoring");
        for foreign in [vec![(&role, Some("Helm"))], vec![(&role, None), (&grafana, None)]] {
            let hint = foreign_hint(foreign);
            assert!(hint.starts_with("remove these objects first") && !hint.contains("-n"), "{hint}");
        }
        for foreign in [vec![(&grafana, Some("Helm"))], vec![(&namespace, Some("Helm")), (&grafana, None)]] {
            let hint = foreign_hint(foreign);
            assert!(hint.starts_with("install into another namespace with -n NAME"), "{hint}");
        }
    }

    #[test]
    fn of_another_installation_nothing_is_to_be_removed_by_hand() {
        let role = ObjectRef::new("rbac.authorization.k8s.io/v1", "ClusterRole", None, "scalekit-prometheus");
        assert_eq!(foreign_hint([(&role, Some(OTHER_INSTALLATION))]), ONE_A_CLUSTER);
        let hint = foreign_hint([(&role, Some(OTHER_INSTALLATION)), (&role, Some("Helm"))]);
        assert!(hint.contains(ONE_A_CLUSTER) && hint.contains("; remove these objects first"), "{hint}");
    }

    #[test]
    fn of_many_objects_of_one_owner_some_are_named() {
        let all: Vec<ObjectRef> =
            (0..7).map(|number| ObjectRef::new("v1", "Secret", None, &format!("s{number}"))).collect();
        let told = foreign_in_words(all.iter().map(|object| (object, Some("Helm"))));
        assert_eq!(told, "secret/s0, secret/s1, secret/s2, secret/s3, secret/s4 and 2 more (managed by Helm)");
    }

    #[rstest]
    #[case::a_label(json!({"labels": {(MANAGED_BY): "Helm"}}), Some("Helm"))]
    #[case::a_release(
        json!({"labels": {(MANAGED_BY): "Helm"},
            "annotations": {"meta.helm.sh/release-name": "prom", "meta.helm.sh/release-namespace": "obs"}}),
        Some("Helm, release prom -n obs")
    )]
    #[case::argo(
        json!({"annotations": {"argocd.argoproj.io/tracking-id": "prom:apps/Deployment:monitoring/grafana"}}),
        Some("Argo CD prom")
    )]
    #[case::flux(json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "infra"}}), Some("Flux infra"))]
    #[case::applied_as_a_whole(
        json!({"labels": {"app.kubernetes.io/part-of": "kube-prometheus"}}),
        Some("kube-prometheus")
    )]
    #[case::nobody(json!({"labels": {"a": "b"}}), None)]
    fn whose_it_is_says_what_is_on_it(#[case] metadata: Value, #[case] expected: Option<&str>) {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        assert_eq!(owner(&serde_json::from_value(object).unwrap()).as_deref(), expected);
    }
}

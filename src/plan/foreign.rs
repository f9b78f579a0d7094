//! Objects of others that stand where ours would go: how they are told, and what can be done about them.

use kube::core::DynamicObject;

use crate::{
    catalog::{MANAGED_BY, SCALEKIT},
    object::ObjectRef,
};

/// Of how many objects of one owner the names are told: `plan` names them all.
const NAMED: usize = 5;

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

/// The ways out. A namespace that nobody says to manage, made to put a Secret into it, is handed over by its label. Nothing
/// else is: what is in it would be made anew as ours.
pub fn foreign_hint<'a>(foreign: impl IntoIterator<Item = (&'a ObjectRef, Option<&'a str>)>) -> String {
    let mut hint = "install into another namespace with -n NAME, or remove these objects first".to_owned();
    let nobodys: Vec<String> = foreign
        .into_iter()
        .filter(|(object, owner)| object.kind == "Namespace" && owner.is_none())
        .map(|(object, _)| format!("kubectl label {object} {MANAGED_BY}={SCALEKIT}"))
        .collect();
    if !nobodys.is_empty() {
        hint.push_str("; a namespace of your own can be handed over, and goes with `scalekit down` then: ");
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

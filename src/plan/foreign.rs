//! Objects of others that stand where ours would go: how they are told, and what can be done about them.

use crate::{
    catalog::{MANAGED_BY, SCALEKIT},
    object::ObjectRef,
};

/// Each with who manages it, where that is said.
pub fn foreign_in_words<'a>(foreign: impl IntoIterator<Item = (&'a ObjectRef, Option<&'a str>)>) -> String {
    let told = foreign.into_iter().map(|(object, owner)| match owner {
        Some(owner) => format!("{object} (managed by {owner})"),
        None => object.to_string(),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// The ways out. What nobody says to manage, such as a namespace that was made to put a Secret into it, is handed over by
/// its label; from a tool nothing is taken.
pub fn foreign_hint<'a>(foreign: impl IntoIterator<Item = (&'a ObjectRef, Option<&'a str>)>) -> String {
    let mut hint = "install into another namespace with -n NAME, or remove these objects first".to_owned();
    let nobodys: Vec<String> = foreign
        .into_iter()
        .filter(|(_, owner)| owner.is_none())
        .map(|(object, _)| format!("kubectl label {object} {MANAGED_BY}={SCALEKIT}"))
        .collect();
    if !nobodys.is_empty() {
        hint.push_str("; what no tool manages can be handed over, and goes with `scalekit down` then: ");
        hint.push_str(&nobodys.join("; "));
    }
    hint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_manages_can_be_handed_over_and_from_a_tool_nothing_is_taken() {
        let namespace = ObjectRef::new("v1", "Namespace", None, "monitoring");
        let grafana = ObjectRef::new("apps/v1", "Deployment", Some("monitoring"), "grafana");
        let both = || [(&namespace, None), (&grafana, Some("Helm"))];
        assert_eq!(
            foreign_in_words(both()),
            "namespace/monitoring, deployment.apps/grafana -n monitoring (managed by Helm)"
        );
        let hint = foreign_hint(both());
        assert!(hint.ends_with("kubectl label namespace/monitoring app.kubernetes.io/managed-by=scalekit"), "{hint}");
        assert!(!foreign_hint([(&grafana, Some("Helm"))]).contains("label"));
    }
}

//! Where the volumes come from, and where they then are.

use k8s_openapi::api::storage::v1::StorageClass;

use super::{Facts, Finding, Severity};
use crate::platform::{Platform, PlatformKind, StorageChoice};

/// Provisioners whose volumes are folders or disks of one node, and stay there: those of k3s and kind, MicroK8s, minikube and
/// Docker Desktop, `OpenEBS`' local ones, `TopoLVM`, and Kubernetes' example of a CSI driver.
const OF_ONE_NODE: [&str; 9] = [
    "rancher.io/local-path",
    "microk8s.io/hostpath",
    "k8s.io/minikube-hostpath",
    "docker.io/hostpath",
    "openebs.io/local",
    "local.csi.openebs.io",
    "zfs.csi.openebs.io",
    "topolvm.io",
    "hostpath.csi.k8s.io",
];

/// Judges where the volumes come from. `class` is the StorageClass that was asked for by name.
pub(super) fn storage(facts: &Facts, platform: &Platform, class: Option<&str>) -> Finding {
    let names: Vec<&str> = facts.classes.iter().filter_map(|class| class.metadata.name.as_deref()).collect();
    let known =
        || if names.is_empty() { "there is none".to_owned() } else { format!("there are: {}", names.join(", ")) };
    if let Some(class) = class {
        return if names.contains(&class) {
            Finding::new("storage-class", Severity::Ok, format!("volumes are made by StorageClass {class}"))
        } else {
            // Not an error: the claim fails with the same words, and someone may be about to make the class.
            Finding::new("storage-class", Severity::Warning, format!("there is no StorageClass `{class}`"))
                .hint(format!("{}; name one with --storage-class", known()))
        };
    }
    match &platform.storage {
        StorageChoice::Class(class) => {
            Finding::new("storage-class", Severity::Ok, format!("volumes are made by StorageClass {class}"))
        }
        StorageChoice::None => {
            let fix = match platform.kind {
                PlatformKind::MicroK8s => "microk8s enable hostpath-storage",
                _ => "install a storage provisioner, and name its class with --storage-class",
            };
            Finding::new("storage-class", Severity::Error, format!("no StorageClass to take volumes from: {}", known()))
                .hint(fix)
        }
        StorageChoice::SeveralDefaults(defaults) => Finding::new(
            "storage-class",
            Severity::Error,
            format!("several StorageClasses are the default one: {}", defaults.join(", ")),
        )
        .hint("name one with --storage-class, or take the annotation storageclass.kubernetes.io/is-default-class off the others"),
    }
}

/// That the pods with a volume stay on one of several nodes, by what makes it.
pub(super) fn bound_to_a_node(facts: &Facts, platform: &Platform, class: Option<&str>) -> Option<Finding> {
    let class = chosen_class(facts, platform, class)?;
    let bound = facts.nodes.len() > 1 && OF_ONE_NODE.contains(&class.provisioner.as_str());
    bound.then(|| {
        let message = format!(
            "{} makes each volume on one of the {} nodes: Prometheus and Grafana run there and nowhere else, and not while \
             that node is away",
            class.provisioner,
            facts.nodes.len()
        );
        Finding::new("storage-class", Severity::Warning, message)
            .hint("where that is too little, name a class whose volumes can follow a pod: --storage-class NAME")
    })
}

/// The StorageClass that the volumes are taken from: the one that was named, else the platform's.
pub fn chosen_class<'a>(facts: &'a Facts, platform: &Platform, named: Option<&str>) -> Option<&'a StorageClass> {
    let name = match (named, &platform.storage) {
        (Some(name), _) => name,
        (None, StorageChoice::Class(name)) => name,
        (None, StorageChoice::None | StorageChoice::SeveralDefaults(_)) => return None,
    };
    facts.classes.iter().find(|class| class.metadata.name.as_deref() == Some(name))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::platform::detect;

    fn classes(names: &[(&str, bool)]) -> Vec<StorageClass> {
        names
            .iter()
            .map(|(name, default)| {
                serde_json::from_value(json!({"metadata": {"name": name,
                    "annotations": {"storageclass.kubernetes.io/is-default-class": default.to_string()}}, "provisioner": "x"}))
                .unwrap()
            })
            .collect()
    }

    #[rstest]
    #[case::the_default(&[("a", true)], None, Severity::Ok)]
    #[case::the_one_named(&[("a", false)], Some("a"), Severity::Ok)]
    #[case::one_that_is_not_there(&[("a", true)], Some("b"), Severity::Warning)]
    #[case::none_at_all(&[], None, Severity::Error)]
    #[case::two_defaults(&[("a", true), ("b", true)], None, Severity::Error)]
    fn judges_the_storage(#[case] names: &[(&str, bool)], #[case] class: Option<&str>, #[case] expected: Severity) {
        let facts = Facts { classes: classes(names), ..Facts::default() };
        let platform = detect(&facts.nodes, &facts.classes);
        let finding = storage(&facts, &platform, class);
        assert_eq!(finding.severity, expected, "{finding:?}");
        assert_eq!(finding.hint.is_some(), expected != Severity::Ok);
    }

    #[rstest]
    #[case::one_node(1, "rancher.io/local-path", false)]
    #[case::of_a_node(3, "rancher.io/local-path", true)]
    #[case::of_the_network(3, "rbd.csi.ceph.com", false)]
    fn who_is_bound_to_a_node_is_told(#[case] nodes: usize, #[case] provisioner: &str, #[case] told: bool) {
        let mut classes = classes(&[("a", true)]);
        classes[0].provisioner = provisioner.to_owned();
        let facts = Facts { classes, nodes: vec![Node::default(); nodes], ..Facts::default() };
        let platform = detect(&facts.nodes, &facts.classes);
        let finding = bound_to_a_node(&facts, &platform, None);
        assert_eq!(finding.map(|finding| finding.severity), told.then_some(Severity::Warning));
    }

    #[test]
    fn the_class_is_the_one_that_was_named_else_the_platforms() {
        let facts = Facts { classes: classes(&[("a", true), ("b", false)]), ..Facts::default() };
        let platform = detect(&facts.nodes, &facts.classes);
        let name = |named| chosen_class(&facts, &platform, named).and_then(|class| class.metadata.name.clone());
        assert_eq!(name(None).as_deref(), Some("a"));
        assert_eq!(name(Some("b")).as_deref(), Some("b"));
        assert_eq!(name(Some("c")), None);
    }
}

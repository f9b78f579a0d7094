//! Which StorageClass the volumes get.

use k8s_openapi::api::storage::v1::StorageClass;

use super::PlatformKind;

/// Where volumes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageChoice {
    /// From this class.
    Class(String),
    /// There is neither the platform's own class nor a default one: volumes would wait for ever.
    None,
    /// Several classes are marked as default, and none of them is the platform's own.
    SeveralDefaults(Vec<String>),
}

/// The annotation of the default class, and the one that Kubernetes still reads beside it.
const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// The class of the platform's own provisioner, else the default class.
///
/// The platform's own comes first since what it does is known: it works without a cloud, and its
/// volumes need no resizing. Of several of its classes the default one is taken, else the first by name.
pub(super) fn storage_class_for(kind: &PlatformKind, classes: &[StorageClass]) -> StorageChoice {
    if let Some(provisioner) = provisioner(kind) {
        let own = classes.iter().filter(|class| class.provisioner == provisioner);
        if let Some(class) = own.min_by_key(|class| (!is_default_class(class), name(class))) {
            return StorageChoice::Class(name(class));
        }
    }
    let mut defaults: Vec<String> = classes.iter().filter(|class| is_default_class(class)).map(name).collect();
    defaults.sort_unstable();
    match defaults.len() {
        0 => StorageChoice::None,
        1 => StorageChoice::Class(defaults.remove(0)),
        _ => StorageChoice::SeveralDefaults(defaults),
    }
}

/// The provisioner that comes with the platform.
fn provisioner(kind: &PlatformKind) -> Option<&'static str> {
    match kind {
        PlatformKind::Kind { .. } | PlatformKind::K3s => Some("rancher.io/local-path"),
        PlatformKind::MicroK8s => Some("microk8s.io/hostpath"),
        PlatformKind::Generic => None,
    }
}

fn name(class: &StorageClass) -> String {
    class.metadata.name.clone().unwrap_or_default()
}

/// Whether a class says that it is the cluster's default, as Kubernetes reads it: by the annotation of now, or by that of beta.
pub fn is_default_class(class: &StorageClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    IS_DEFAULT.iter().any(|key| annotations.and_then(|all| all.get(*key)).is_some_and(|value| value == "true"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const LOCAL_PATH: &str = "rancher.io/local-path";
    const HOSTPATH: &str = "microk8s.io/hostpath";

    fn class((name, provisioner, default): &(&str, &str, bool)) -> StorageClass {
        let annotations = if *default { json!({(IS_DEFAULT[0]): "true"}) } else { json!({(IS_DEFAULT[0]): "false"}) };
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": annotations}, "provisioner": provisioner,
        }))
        .unwrap()
    }

    fn chosen(name: &str) -> StorageChoice {
        StorageChoice::Class(name.to_owned())
    }

    #[rstest]
    #[case::kind("kind", &[("standard", LOCAL_PATH, true)], chosen("standard"))]
    #[case::microk8s("microk8s", &[("microk8s-hostpath", HOSTPATH, true)], chosen("microk8s-hostpath"))]
    #[case::own_class_that_is_no_default("microk8s", &[("microk8s-hostpath", HOSTPATH, false)], chosen("microk8s-hostpath"))]
    #[case::own_class_before_a_default("microk8s", &[("ceph", "rbd.csi.ceph.com", true), ("microk8s-hostpath", HOSTPATH, false)], chosen("microk8s-hostpath"))]
    #[case::own_default_before_own("k3s", &[("a", LOCAL_PATH, false), ("local-path", LOCAL_PATH, true)], chosen("local-path"))]
    #[case::own_by_name("k3s", &[("b", LOCAL_PATH, false), ("a", LOCAL_PATH, false)], chosen("a"))]
    #[case::addon_off_but_a_default("microk8s", &[("ceph", "rbd.csi.ceph.com", true)], chosen("ceph"))]
    #[case::addon_off("microk8s", &[], StorageChoice::None)]
    #[case::no_default("generic", &[("gp2", "kubernetes.io/aws-ebs", false)], StorageChoice::None)]
    #[case::another_platforms_class("generic", &[("standard", LOCAL_PATH, false)], StorageChoice::None)]
    #[case::default("generic", &[("gp3", "ebs.csi.aws.com", true)], chosen("gp3"))]
    #[case::two_defaults("generic", &[("b", "x", true), ("a", "y", true)], StorageChoice::SeveralDefaults(vec!["a".into(), "b".into()]))]
    #[case::two_defaults_one_of_them_our_own("kind", &[("a", "x", true), ("standard", LOCAL_PATH, true)], chosen("standard"))]
    fn chooses(#[case] platform: &str, #[case] classes: &[(&str, &str, bool)], #[case] expected: StorageChoice) {
        let classes: Vec<_> = classes.iter().map(class).collect();
        assert_eq!(storage_class_for(&platform.parse().unwrap(), &classes), expected);
    }

    #[test]
    fn the_older_annotation_still_marks_a_default() {
        let mut old = class(&("old", "x", false));
        old.metadata.annotations = Some([(IS_DEFAULT[1].to_owned(), "true".to_owned())].into());
        assert_eq!(storage_class_for(&PlatformKind::Generic, &[old]), chosen("old"));
    }
}

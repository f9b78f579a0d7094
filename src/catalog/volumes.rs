//! Volumes that are there already: a profile's sizes give way to theirs.

use k8s_openapi::api::storage::v1::StorageClass;
use kube::core::DynamicObject;
use serde_json::Value;

use super::{Options, edit, retention};
use crate::quantity::Quantity;

/// A volume that does not get the size that is wanted for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSize {
    /// Its claim.
    pub claim: &'static str,
    /// The size that it has, a quantity.
    pub has: String,
    /// The one that is wanted.
    pub wanted: String,
    /// Why it cannot be changed.
    pub why: String,
    /// Whether the size was asked for by itself, and is not only the profile's.
    pub asked: bool,
}

/// The claims of the stack.
pub const DATA_CLAIMS: [&str; 2] = ["prometheus-data", "grafana-data"];

/// Fits the sizes of volumes, and how much Prometheus keeps, to the claims that are there: none shrinks, and one grows only
/// where its class lets it. What the profile would have gives way to what there is; a size that was asked for is left as it
/// is, and said to be impossible.
pub fn fit_volumes(options: &mut Options, live: &[DynamicObject], classes: &[StorageClass]) -> Vec<OtherSize> {
    if options.external.is_some() {
        return Vec::new();
    }
    let usual = options.profile.storage();
    let namespace = options.namespace.clone();
    let [prometheus, grafana] = DATA_CLAIMS;
    let sizes = [
        (prometheus, &mut options.storage.prometheus, usual.prometheus),
        (grafana, &mut options.storage.grafana, usual.grafana),
    ];
    let mut others = Vec::new();
    for (claim, size, usual) in sizes {
        let found = live.iter().find(|object| {
            edit::kind(object) == "PersistentVolumeClaim"
                && object.metadata.name.as_deref() == Some(claim)
                && object.metadata.namespace.as_ref() == Some(&namespace)
        });
        let Some((has, why)) = found.and_then(|found| keeps(found, size, classes)) else { continue };
        let asked = *size != usual;
        others.push(OtherSize { claim, has: has.clone(), wanted: size.clone(), why, asked });
        if !asked {
            *size = has;
        }
    }
    let kept = &mut options.retention.size;
    if *kept == options.profile.retention().size
        && !retention::leaves_room(kept, &options.storage.prometheus)
        && let Some(fitting) = retention::size_for(&options.storage.prometheus)
    {
        *kept = fitting;
    }
    others
}

/// The size that a claim keeps, and why, where it cannot get the wanted one.
fn keeps(claim: &DynamicObject, wanted: &str, classes: &[StorageClass]) -> Option<(String, String)> {
    let has = claim.data.pointer("/spec/resources/requests/storage").and_then(Value::as_str)?;
    let class = claim.data.pointer("/spec/storageClassName").and_then(Value::as_str).unwrap_or_default();
    let class = classes.iter().find(|known| known.metadata.name.as_deref() == Some(class));
    let bound = claim.data.pointer("/status/phase").and_then(Value::as_str) == Some("Bound");
    let (from, to) = (has.parse::<Quantity>().ok()?, wanted.parse::<Quantity>().ok()?);
    let why = if from == to {
        return None;
    } else if !bound {
        // One that waits for a class that is not there holds nothing, and is made anew.
        class?;
        "it is not bound yet".to_owned()
    } else if to < from {
        "a volume does not shrink".to_owned()
    } else {
        match class {
            Some(class) if class.allow_volume_expansion == Some(true) => return None,
            Some(class) => {
                format!("StorageClass `{}` lets none grow", class.metadata.name.as_deref().unwrap_or_default())
            }
            None => "its StorageClass is not there".to_owned(),
        }
    };
    Some((has.to_owned(), why))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::catalog::{Profile, test_options};

    fn claim(size: &str, class: &str, phase: &str) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "prometheus-data", "namespace": "monitoring"},
            "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}, "status": {"phase": phase}}))
        .unwrap()
    }

    fn classes() -> Vec<StorageClass> {
        let class = |name: &str, grows: Option<bool>| {
            serde_json::from_value(
                json!({"metadata": {"name": name}, "provisioner": "x", "allowVolumeExpansion": grows}),
            )
            .unwrap()
        };
        vec![class("grows", Some(true)), class("stays", None)]
    }

    #[rstest]
    #[case::shrinks(Profile::Edge, &claim("5Gi", "grows", "Bound"), "5Gi", "1GB", Some("a volume does not shrink"))]
    #[case::grows(Profile::Team, &claim("5Gi", "grows", "Bound"), "20Gi", "16GB", None)]
    #[case::cannot_grow(Profile::Team, &claim("5Gi", "stays", "Bound"), "5Gi", "4096MB", Some("StorageClass `stays` lets none grow"))]
    #[case::of_an_unknown_class(Profile::Team, &claim("5Gi", "gone", "Bound"), "5Gi", "4096MB", Some("its StorageClass is not there"))]
    #[case::not_bound(Profile::Team, &claim("5Gi", "grows", "Pending"), "5Gi", "4096MB", Some("it is not bound yet"))]
    #[case::made_anew(Profile::Team, &claim("5Gi", "gone", "Pending"), "20Gi", "16GB", None)]
    #[case::the_same(Profile::Laptop, &claim("5120Mi", "stays", "Bound"), "5Gi", "4GB", None)]
    fn a_profile_gives_way_to_what_there_is(
        #[case] profile: Profile,
        #[case] claim: &DynamicObject,
        #[case] volume: &str,
        #[case] kept: &str,
        #[case] why: Option<&str>,
    ) {
        let mut options = test_options().sized(profile);
        let others = fit_volumes(&mut options, std::slice::from_ref(claim), &classes());
        assert_eq!(others.first().map(|other| other.why.as_str()), why);
        assert!(others.iter().all(|other| !other.asked));
        assert_eq!((options.storage.prometheus.as_str(), options.retention.size.as_str()), (volume, kept));
    }

    #[test]
    fn a_size_that_was_asked_for_is_not_changed_in_silence() {
        let mut options = test_options();
        options.storage.prometheus = "3Gi".to_owned();
        let others = fit_volumes(&mut options, &[claim("5Gi", "grows", "Bound")], &classes());
        assert!(others[0].asked);
        assert_eq!(options.storage.prometheus, "3Gi");
    }

    #[test]
    fn the_claims_of_another_installation_say_nothing() {
        let mut options = test_options().sized(Profile::Edge);
        options.namespace = "elsewhere".to_owned();
        assert_eq!(fit_volumes(&mut options, &[claim("5Gi", "grows", "Bound")], &classes()), []);
        assert_eq!(options.storage.prometheus, "2Gi");
    }
}

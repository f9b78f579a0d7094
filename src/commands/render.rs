//! `scalekit render`: the manifests that `up` would apply, for a folder under version control.

use std::{collections::BTreeSet, fs, io, path::Path};

use kube::core::DynamicObject;

use super::{CommandError, image};
use crate::{
    catalog,
    cluster::Cluster,
    object::ObjectRef,
    plan,
    platform::{Platform, PlatformKind, StorageChoice, assume},
    preflight,
    settings::StackSettings,
    yaml,
};

/// The objects in an order in which they can be applied, without the password's Secret, which must not lie in a
/// repository.
///
/// The cluster says what platform it is; without one, the platform has to be named and the class with it. The image of
/// our own pods is one that nodes can pull: who applies manifests sends none to them.
///
/// # Errors
///
/// When the cluster is needed and cannot be read.
pub async fn render(
    settings: StackSettings,
    image: String,
    cluster: Option<&Cluster>,
) -> Result<Vec<DynamicObject>, CommandError> {
    let StackSettings { mut options, platform, .. } = settings;
    let platform = match (platform, cluster) {
        (platform, Some(cluster)) => {
            let facts =
                preflight::facts_and_ports(cluster).await.map_err(|source| super::up::unusable(cluster, source))?;
            facts.platform(platform)
        }
        (Some(kind), None) => without_cluster(kind),
        (None, None) => without_cluster(PlatformKind::Generic),
    };
    image::use_in(&mut options, &image::named(image));
    let objects = catalog::stack(&options, &platform);
    let order = plan::in_order(&plan::dependencies(&objects));
    Ok(order
        .into_iter()
        .map(|position| objects[position].clone())
        .filter(|object| ObjectRef::of(object).kind != "Secret")
        .collect())
}

fn without_cluster(kind: PlatformKind) -> Platform {
    Platform { storage: StorageChoice::None, ..assume(kind, &[], &[]) }
}

/// What was done in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many manifests are in it now, one a file.
    pub files: usize,
    /// Files of an earlier `render` whose objects are not among them any more, and which are gone.
    pub removed: Vec<String>,
}

/// Writes the objects into a folder, one a file, so that it holds them and no other of ours. The preface, comments of
/// YAML, stands in the file of the first one.
///
/// A `.yaml` file that was there and holds nothing but objects with our label is what an earlier version left: it is
/// removed, or whoever applies the folder would go on applying it. Every other file stays as it is.
///
/// # Errors
///
/// [`CommandError::Io`]. What was written until then stays.
pub fn write_manifests(folder: &Path, preface: &str, objects: &[DynamicObject]) -> Result<Written, CommandError> {
    let failed = |what: String| move |source| CommandError::Io { what, source };
    let unread = || failed(format!("cannot read {}", folder.display()));
    fs::create_dir_all(folder).map_err(failed(format!("cannot make {}", folder.display())))?;
    let mut written = BTreeSet::new();
    for object in objects {
        let name = file_name(&ObjectRef::of(object));
        let path = folder.join(&name);
        let failed = || failed(format!("cannot write {}", path.display()));
        let text = yaml::to_string(object).map_err(|error| failed()(io::Error::other(error)))?;
        let preface = if written.is_empty() { preface } else { "" };
        fs::write(&path, format!("{preface}{text}")).map_err(failed())?;
        written.insert(name);
    }
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder).map_err(unread())? {
        let entry = entry.map_err(unread())?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !written.contains(&name) && is_rendered(&entry.path()) {
            fs::remove_file(entry.path()).map_err(failed(format!("cannot remove {}", entry.path().display())))?;
            removed.push(name);
        }
    }
    removed.sort();
    Ok(Written { files: written.len(), removed })
}

fn file_name(ObjectRef { kind, namespace, name, .. }: &ObjectRef) -> String {
    let scope = namespace.as_ref().map(|namespace| format!("{namespace}-")).unwrap_or_default();
    format!("{scope}{}-{name}.yaml", kind.to_lowercase()).replace(':', "-")
}

/// Whether a file holds objects, and all of them are ours.
fn is_rendered(path: &Path) -> bool {
    let yaml = path.extension().is_some_and(|extension| extension == "yaml");
    let Some(text) = yaml.then(|| fs::read_to_string(path).ok()).flatten() else { return false };
    yaml::parse_all::<DynamicObject>(&text)
        .is_ok_and(|objects| !objects.is_empty() && objects.iter().all(catalog::is_ours))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name,
            "namespace": "monitoring", "labels": {"app.kubernetes.io/managed-by": "scalekit"}}, "data": {"a": "1"}}))
        .unwrap()
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_holds_what_was_rendered_last_and_what_others_put_there() {
        let folder = tempfile::tempdir().unwrap();
        write_manifests(folder.path(), "# first\n", &[object("a"), object("b")]).unwrap();
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text("monitoring-configmap-a.yaml").starts_with("# first\n"));
        assert!(!text("monitoring-configmap-b.yaml").contains('#'));
        let others = [
            ("kustomization.yaml", "resources: []\n"),
            ("mine.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"),
            ("broken.yaml", "a: b: c\n"),
            ("empty.yaml", ""),
            ("README.md", "app.kubernetes.io/managed-by: scalekit"),
        ];
        for (name, text) in others {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mixed = format!("{}---\n{}", yaml::to_string(&object("c")).unwrap(), others[1].1);
        fs::write(folder.path().join("mixed.yaml"), mixed).unwrap();

        let written = write_manifests(folder.path(), "# first\n", &[object("b")]).unwrap();
        assert_eq!(written, Written { files: 1, removed: vec!["monitoring-configmap-a.yaml".to_owned()] });
        assert_eq!(
            files(folder.path()),
            [
                "README.md",
                "broken.yaml",
                "empty.yaml",
                "kustomization.yaml",
                "mine.yaml",
                "mixed.yaml",
                "monitoring-configmap-b.yaml"
            ]
        );
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = write_manifests(&file.path().join("below"), "", &[object("a")]).unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
    }
}

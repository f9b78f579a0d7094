//! The manifests, configurations and dashboards that are compiled in, as `build.rs` has prepared them: JSON under the names
//! of their files.
//!
//! All of them are parsed by the tests; that an embedded file does not parse cannot happen in a
//! program that was built from tested sources.

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use include_dir::{Dir, include_dir};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::object::Written;

static ASSETS: Dir<'_> = include_dir!("$OUT_DIR/assets");
static DASHBOARDS: Dir<'_> = include_dir!("$OUT_DIR/dashboards");

/// The documents of every YAML file by its path in `assets/`: a run makes the stack more than once.
static DOCUMENTS: LazyLock<BTreeMap<&Path, Vec<Value>>> = LazyLock::new(|| {
    let mut documents = BTreeMap::new();
    let mut folders = vec![&ASSETS];
    while let Some(folder) = folders.pop() {
        folders.extend(folder.dirs());
        for file in folder.files() {
            let parsed = serde_json::from_slice(file.contents()).unwrap_or_else(|error| broken(file.path(), &error));
            documents.insert(file.path(), parsed);
        }
    }
    documents
});

/// Reads all of it, so that it need not be waited for later.
pub(super) fn read() {
    LazyLock::force(&DOCUMENTS);
}

/// Every object of the YAML files that lie directly in a folder of `assets/`, by file name.
pub(super) fn manifests(folder: &str) -> Vec<DynamicObject> {
    let files = DOCUMENTS.iter().filter(|(path, _)| {
        path.parent() == Some(Path::new(folder)) && path.extension().is_some_and(|extension| extension == "yaml")
    });
    files
        .flat_map(|(path, documents)| documents.iter().map(|document| (*path, document.clone())))
        .map(|(path, document)| {
            let Written(object) = serde_json::from_value(document).unwrap_or_else(|error| broken(path, &error));
            object
        })
        .collect()
}

/// One configuration file of a component, as a value that can be changed.
pub(super) fn config(component: &str, name: &str) -> Value {
    let path = Path::new(component).join("config").join(name);
    let document = DOCUMENTS.get(path.as_path()).and_then(|documents| documents.first());
    document.unwrap_or_else(|| panic!("assets/{} is compiled in", path.display())).clone()
}

/// The text of every dashboard by file name.
pub(super) fn dashboards() -> impl Iterator<Item = (&'static str, &'static str)> {
    DASHBOARDS.files().filter_map(|file| Some((file.path().file_name()?.to_str()?, file.contents_utf8()?)))
}

/// Names of the sample workloads that have manifests.
pub(super) fn demos() -> Vec<&'static str> {
    let folders = ASSETS.get_dir("demo").into_iter().flat_map(Dir::dirs);
    let mut names: Vec<_> = folders.filter_map(|dir| dir.path().file_name()?.to_str()).collect();
    names.sort_unstable();
    names
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> ! {
    panic!("{} was tested when this program was built: {error}", path.display())
}

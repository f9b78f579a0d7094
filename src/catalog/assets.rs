//! The manifests, configurations and dashboards that are compiled in.
//!
//! All of them are parsed by the tests; that an embedded file does not parse cannot happen in a
//! program that was built from tested sources.

use include_dir::{Dir, include_dir};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::yaml;

static ASSETS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets");
static DASHBOARDS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/dashboards");

/// Every object of the YAML files that lie directly in a folder of `assets/`, by file name.
pub(super) fn manifests(folder: &str) -> Vec<DynamicObject> {
    files(&ASSETS, folder)
        .filter(|(name, _)| has_extension(name, "yaml"))
        .flat_map(|(name, text)| {
            let documents: Vec<Value> = yaml::parse_all(text).unwrap_or_else(|error| broken(folder, name, &error));
            documents.into_iter().map(move |document| {
                serde_json::from_value(document).unwrap_or_else(|error| broken(folder, name, &error))
            })
        })
        .collect()
}

/// One configuration file of a component, as a value that can be changed.
pub(super) fn config(component: &str, name: &str) -> Value {
    let folder = format!("{component}/config");
    let text = files(&ASSETS, &folder)
        .find_map(|(file, text)| (file == name).then_some(text))
        .unwrap_or_else(|| panic!("assets/{folder}/{name} is compiled in"));
    yaml::parse(text).unwrap_or_else(|error| broken(&folder, name, &error))
}

/// Every dashboard by file name, compact.
pub(super) fn dashboards() -> Vec<(&'static str, Value)> {
    DASHBOARDS
        .files()
        .filter_map(|file| Some((file.path().file_name()?.to_str()?, file.contents_utf8()?)))
        .filter(|(name, _)| has_extension(name, "json"))
        .map(|(name, text)| {
            (name, serde_json::from_str(text).unwrap_or_else(|error| broken("../dashboards", name, &error)))
        })
        .collect()
}

/// Names of the sample workloads that have manifests.
pub(super) fn demos() -> Vec<&'static str> {
    let folders = ASSETS.get_dir("demo").into_iter().flat_map(Dir::dirs);
    let mut names: Vec<_> = folders.filter_map(|dir| dir.path().file_name()?.to_str()).collect();
    names.sort_unstable();
    names
}

fn files(root: &'static Dir<'_>, folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut files: Vec<_> = root
        .get_dir(folder)
        .into_iter()
        .flat_map(Dir::files)
        .filter_map(|file| Some((file.path().file_name()?.to_str()?, file.contents_utf8()?)))
        .collect();
    files.sort_unstable();
    files.into_iter()
}

fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

fn broken(folder: &str, name: &str, error: &dyn std::fmt::Display) -> ! {
    panic!("assets/{folder}/{name} was tested when this program was built: {error}")
}

//! What the documentation says about the product is so.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use scalekit::{
    catalog::{self, Options},
    cluster::Connection,
    platform,
    settings::{self, StackFlags},
};
use serde_json::Value;

fn page(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of Rust in a folder, however deep.
fn sources(folder: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The rows of the first table under a heading, without its head.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, below) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    below
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.split('|').skip(1).map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// `list, watch endpointslices.discovery.k8s.io`, `get leases.coordination.k8s.io named scalekit-scaler`.
fn words(rule: &Value) -> String {
    let list = |key: &str| -> Vec<String> {
        rule[key].as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let mut named = list("nonResourceURLs");
    for group in list("apiGroups") {
        let dot = if group.is_empty() { "" } else { "." };
        named.extend(list("resources").iter().map(|resource| format!("{resource}{dot}{group}")));
    }
    let only = list("resourceNames").join(", ");
    let only = if only.is_empty() { only } else { format!(" named {only}") };
    format!("{} {}{only}", list("verbs").join(", "), named.join(", "))
}

#[test]
fn the_table_of_rights_is_what_the_manifests_give() {
    let platform = platform::assume("kind".parse().unwrap(), &[], &[]);
    let mut given = Vec::new();
    for role in catalog::stack(&Options::new("secret", "0.1.0"), &platform) {
        if role.types.as_ref().unwrap().kind.ends_with("Role") {
            for rule in role.data["rules"].as_array().unwrap() {
                given.push((role.metadata.name.clone().unwrap(), words(rule)));
            }
        }
    }
    let mut role = String::new();
    let mut told: Vec<(String, String)> = table(&page("docs/architecture.md"), "### Rights")
        .into_iter()
        .map(|row| {
            if !row[0].is_empty() {
                role = row[0].split('`').nth(1).unwrap().to_owned();
            }
            (role.clone(), row[2].clone())
        })
        .collect();
    given.sort();
    told.sort();
    assert_eq!(told, given);
}

#[test]
fn as_many_alerts_are_told_of_as_there_are() {
    let rules: Value = scalekit::yaml::parse(&page("assets/prometheus/config/alerts.rules.yml")).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let count: usize = groups.map(|group| group["rules"].as_array().unwrap().len()).sum();
    for (name, told) in [("README.md", "alerts"), ("README.md", "rules"), ("CHANGELOG.md", "alerts")] {
        assert!(page(name).contains(&format!(" {count} {told}")), "{name} does not tell of {count} {told}");
    }
}

#[test]
fn the_settings_file_of_the_documentation_holds_the_defaults() {
    let page = page("docs/settings.md");
    let (_, example) = page.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["slack-webhook", "webhook-url"] {
        fs::write(folder.path().join(name), "https://receiver.example").unwrap();
    }
    for name in ["rules", "jobs"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("rules/mine.yml"), "groups: []").unwrap();
    fs::write(folder.path().join("jobs/mine.yml"), "scrape_configs: []").unwrap();
    let resolve = |text: &str| {
        let path = folder.path().join("scalekit.yaml");
        fs::write(&path, text).unwrap();
        let file = settings::read_file(Some(&path)).unwrap();
        let settings = settings::resolve(Connection::default(), StackFlags::default(), file).unwrap();
        format!("{:?}", settings.with_files().unwrap())
    };
    assert!(example.contains("retention"), "{example}");
    assert_eq!(resolve(example), resolve(""));
    // What is commented out is a key too.
    let shown = |line: &str| match line.trim_start().strip_prefix("# ") {
        Some(key) if !key.starts_with("scalekit.yaml") => line.replacen("# ", "", 1),
        _ => line.to_owned(),
    };
    let all = example.lines().map(shown).collect::<Vec<_>>().join("\n");
    assert_ne!(resolve(&all), resolve(""), "{all}");
}

#[test]
fn every_page_that_is_linked_is_there() {
    let mut pages = vec!["README.md".to_owned()];
    for entry in fs::read_dir("docs").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path.display().to_string());
        }
    }
    for name in pages {
        let text = page(&name);
        // What is commented out is not there yet.
        let text: String =
            text.split("<!--").map(|part| part.split_once("-->").map_or(part, |(_, rest)| rest)).collect();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = Path::new(&name).parent().unwrap().join(target);
            assert!(path.exists(), "{name} links to {target}");
        }
    }
}

#[test]
fn every_check_has_its_section_and_no_section_is_of_none() {
    let page = page("docs/checks.md");
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let known: Vec<&str> = scalekit::health::CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(sections, known);
    for check in scalekit::health::CHECKS {
        let row = format!("| [`{0}`](#{0}) | {1} |", check.id, check.asks);
        assert!(page.contains(&row), "{row}");
    }
}

/// By the literals in the sources: the names by which findings are made.
#[test]
fn every_finding_is_of_a_check_that_is_known() {
    let known: Vec<&str> = scalekit::health::CHECKS.iter().map(|check| check.id).collect();
    let mut found = 0;
    for path in sources("src") {
        if path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for start in ["Finding::new(", "const CHECK: &str ="] {
            let names = code.split(start).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
            for name in names.filter_map(|rest| rest.split('"').next()) {
                found += 1;
                assert!(known.contains(&name), "{}: `{name}` is not in CHECKS", path.display());
            }
        }
    }
    assert!(found > 20, "only {found} are found");
}

/// A test is named by its function and one or more of the modules that it is in.
#[test]
fn every_test_that_the_failure_modes_name_exists() {
    let page = page("docs/failure-modes.md");
    let sources: Vec<(PathBuf, String)> = sources("src")
        .into_iter()
        .chain(sources("tests"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.with_extension(""), text)
        })
        .collect();
    let mut found = 0;
    for named in page.split('`').skip(1).step_by(2) {
        if named.starts_with("tests/") {
            assert!(Path::new(named).exists(), "{named}");
        }
        let Some((modules, function)) = named.rsplit_once("::") else { continue };
        let start = format!("fn {function}(");
        let is_in = |path: &Path| modules.split("::").all(|module| path.iter().any(|part| part == module));
        assert!(sources.iter().any(|(path, text)| is_in(path) && text.contains(&start)), "there is no test {named}");
        found += 1;
    }
    assert!(found > 100, "only {found} are found");
}

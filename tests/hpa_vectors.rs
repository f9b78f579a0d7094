//! The decision against vectors of the Kubernetes HPA: see `tests/hpa_vectors/README.md`.
//!
//! Runs every `*.jsonl` of that folder, or of the one that the environment variable `HPA_VECTORS` names,
//! prints the id of each vector that fails with what was wrong, and the counts.

#[path = "hpa_vectors/form.rs"]
mod form;
#[path = "hpa_vectors/run.rs"]
mod run;

use std::{env, fs, path::PathBuf};

#[test]
#[expect(clippy::print_stdout, reason = "the list of what fails is what this test is for")]
fn every_vector_is_answered_as_the_hpa_answers_it() {
    let folder = env::var_os("HPA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hpa_vectors"), PathBuf::from);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort();

    let (mut total, mut failed) = (0, 0);
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            total += 1;
            let (id, wrong) = match serde_json::from_str::<form::Vector>(line) {
                Ok(vector) => (vector.id.clone(), run::differences(&vector)),
                Err(error) => (format!("{}:{}", file.display(), number + 1), vec![error.to_string()]),
            };
            if !wrong.is_empty() {
                failed += 1;
                println!("FAILED {id}: {}", wrong.join("; "));
            }
        }
    }
    println!("{total} vectors, {failed} failed");
    assert!(total > 0, "no vector in {}", folder.display());
    assert_eq!(failed, 0, "of {total} vectors");
}

//! Prepares what is compiled in: the YAML of `assets/` and the dashboards become compact JSON under the same names.
//!
//! Reading YAML takes ten times as long as reading JSON, and every run reads all of it. A file that does not parse ends
//! the build.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

// The library's own reader: what is shipped is what a test reads from the file.
#[allow(dead_code, reason = "a build writes no YAML and asks for no places")]
#[path = "src/yaml.rs"]
mod yaml;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for folder in ["assets", "dashboards"] {
        println!("cargo::rerun-if-changed={folder}");
        let to = out.join(folder);
        // A file that is gone from the sources must be gone from the program.
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        prepare(Path::new(folder), &to)?;
    }
    Ok(())
}

/// Writes the JSON of every file of a folder, folders in it included: of YAML the list of its documents, of a dashboard
/// itself.
fn prepare(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let to = to.join(name);
        if path.is_dir() {
            prepare(&path, &to)?;
            continue;
        }
        let json = match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => {
                let documents: Result<Vec<Value>, _> = yaml::parse_all(&fs::read_to_string(&path)?);
                Value::from(documents.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            Some("json") => serde_json::from_str(&fs::read_to_string(&path)?)
                .map_err(|error| format!("{}: {error}", path.display()))?,
            _ => continue,
        };
        fs::write(to, json.to_string())?;
    }
    Ok(())
}

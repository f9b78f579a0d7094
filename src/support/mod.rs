//! A bundle for a bug report: texts of bounded size in a tar.gz, with what is not in it and why.

pub mod redaction;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use flate2::{Compression, GzBuilder};

use self::redaction::SecretValues;

/// Longest file; of a longer one the end is kept, which is what happened last.
const LONGEST_FILE: usize = 1024 * 1024;
/// Longest bundle, before it is compressed.
const LONGEST: usize = 24 * 1024 * 1024;
/// The folder that it unpacks into.
const FOLDER: &str = "scalekit-support";

/// What goes into a bundle. Every text is redacted on its way in.
pub struct Bundle {
    secrets: SecretValues,
    files: BTreeMap<String, String>,
    left_out: Vec<String>,
    size: usize,
}

impl Bundle {
    /// An empty one, in which none of these values will be.
    pub fn new(secrets: SecretValues) -> Self {
        Self { secrets, files: BTreeMap::new(), left_out: Vec::new(), size: 0 }
    }

    /// Adds a text. Of one that is too long the end is kept; one that does not fit any more is left out, and told.
    pub fn add(&mut self, name: &str, text: &str) {
        let mut text = self.secrets.hide(text);
        if text.len() > LONGEST_FILE {
            let mut from = text.len() - LONGEST_FILE;
            while !text.is_char_boundary(from) {
                from += 1;
            }
            text.drain(..from);
            self.left_out(name, "the beginning: it is too long");
        }
        if self.size + text.len() > LONGEST {
            self.left_out(name, "the bundle is full");
            return;
        }
        self.size += text.len();
        self.files.insert(safe(name), text);
    }

    /// Notes that something is not there, or not all of it.
    pub fn left_out(&mut self, what: &str, why: &str) {
        let why = self.secrets.hide(why);
        self.left_out.push(format!("{what}: {why}"));
    }

    /// What is in it: name and size.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        self.files.iter().map(|(name, text)| (name.as_str(), text.len()))
    }

    /// What is not.
    pub fn missing(&self) -> &[String] {
        &self.left_out
    }

    /// Writes it, with a README that says what is in it, readable by the user alone. `written` is the time in seconds
    /// since 1970.
    ///
    /// # Errors
    ///
    /// Nothing is left at `path` but what was there before.
    pub fn write(mut self, path: &Path, readme: &str, written: u64) -> io::Result<u64> {
        let mut text = format!("{readme}\nIn it:\n");
        for (name, size) in self.files() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {name} ({size} bytes)");
        }
        if !self.left_out.is_empty() {
            text.push_str("\nNot in it:\n");
            for line in &self.left_out {
                let _ = writeln!(text, "  {line}");
            }
        }
        self.files.insert("README.txt".to_owned(), text);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let done = pack(&self.files, &partial, written).and_then(|size| fs::rename(&partial, path).map(|()| size));
        if done.is_err() {
            // The reason is in hand already.
            let _gone = fs::remove_file(&partial);
        }
        done
    }
}

fn pack(files: &BTreeMap<String, String>, path: &Path, written: u64) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut tar = tar::Builder::new(GzBuilder::new().write(file, Compression::default()));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(text.len() as u64);
        header.set_mtime(written);
        tar.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes())?;
    }
    let file = tar.into_inner()?.finish()?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// A name that stays below the folder on every system.
fn safe(name: &str) -> String {
    name.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect::<Vec<_>>().join("/").replace(':', "-")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    fn unpacked(path: &Path) -> BTreeMap<String, String> {
        let file = fs::File::open(path).unwrap();
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(flate2::read::GzDecoder::new(file)).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            io::Read::read_to_string(&mut entry, &mut text).unwrap();
            files.insert(name, text);
        }
        files
    }

    #[test]
    fn a_bundle_says_what_it_holds_and_what_it_does_not() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "aHVudGVyMi1odW50ZXIy"}});
        let mut bundle = Bundle::new(SecretValues::of(&[serde_json::from_value(secret).unwrap()]));
        bundle.add("logs/../a:b.log", "it is hunter2-hunter2");
        bundle.add("logs/long.log", &format!("{}end", "é".repeat(LONGEST_FILE)));
        bundle.left_out("logs/c.log", "forbidden, says hunter2-hunter2");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar.gz");
        let size = bundle.write(&path, "what it is", 0).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let files = unpacked(&path);
        assert_eq!(files["scalekit-support/logs/a-b.log"], "it is [hidden]");
        assert!(files["scalekit-support/logs/long.log"].ends_with("éend"));
        assert!(files["scalekit-support/logs/long.log"].len() <= LONGEST_FILE);
        let readme = &files["scalekit-support/README.txt"];
        for expected in
            ["what it is", "logs/a-b.log (14 bytes)", "long.log: the beginning", "c.log: forbidden, says [hidden]"]
        {
            assert!(readme.contains(expected), "{expected} is not in {readme}");
        }
    }

    #[test]
    fn a_bundle_that_is_full_takes_no_more() {
        let mut bundle = Bundle::new(SecretValues::default());
        for number in 0..30 {
            bundle.add(&format!("{number:02}"), &"x".repeat(LONGEST_FILE));
        }
        assert_eq!(bundle.files().count(), LONGEST / LONGEST_FILE);
        assert!(bundle.missing().last().unwrap().contains("29: the bundle is full"));
    }
}

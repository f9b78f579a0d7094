//! Commands made up for tests: small scripts that record what they are given.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

/// A folder with a fake program in it, that logs its arguments, keeps its input, and then does `script`.
pub(super) struct Fake {
    folder: TempDir,
    name: &'static str,
}

impl Fake {
    pub(super) fn new(name: &'static str, script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        let here = folder.path().display();
        let text = format!("#!/bin/sh\necho \"$*\" >>'{here}/log'\nimport() {{ cat >>'{here}/input'; }}\n{script}\n");
        fs::write(&source, text).unwrap();
        // Not written by this process: a thread that starts a child meanwhile would hand it the open file,
        // and a file that is open for writing cannot be executed.
        let installed = std::process::Command::new("install")
            .args(["-m", "755"])
            .args([&source, &folder.path().join(name)])
            .status()
            .unwrap();
        assert!(installed.success());
        Self { folder, name }
    }

    /// One that behaves like a `ctr`, whoever calls it.
    pub(super) fn good(name: &'static str, reference: &str) -> Self {
        let list = format!("*'images ls'*) echo {reference};;");
        Self::new(name, &format!("case \"$*\" in *'images import'*) import;; {list} esac"))
    }

    pub(super) fn program(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    /// How long a file is that it has written.
    pub(super) fn size(&self, file: &str) -> u64 {
        fs::metadata(self.folder.path().join(file)).map_or(0, |metadata| metadata.len())
    }

    pub(super) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }
}

//! The binary in a home of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// What a run came to.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stderr:\n{}\nstdout:\n{}", self.stderr, self.stdout);
        self
    }

    /// stderr holds the text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` is not in:\n{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn prints_nothing(self) -> Self {
        assert_eq!(self.stdout, "");
        self
    }
}

/// A home of its own, in which nothing is but what a test puts there.
pub struct Home(pub TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The binary, with an environment that holds nothing of this machine's.
    pub fn scalekit(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scalekit"));
        command
            .env_clear()
            .env("HOME", self.0.path())
            .env("COLUMNS", "100")
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        let mut command = self.scalekit();
        command.args(arguments);
        run(command)
    }

    pub fn run_with<'a>(&self, name: &str, value: &str, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        let mut command = self.scalekit();
        command.env(name, value).args(arguments);
        run(command)
    }

    /// A kubeconfig for a server, and what it takes for a good authority.
    pub fn kubeconfig(&self, server: &str, authority: Option<&Path>) -> PathBuf {
        let authority =
            authority.map(|path| format!(", certificate-authority: {}", path.display())).unwrap_or_default();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\nclusters:\n- {{name: c, cluster: {{server: '{server}'{authority}}}}}\n\
             users:\n- {{name: u, user: {{token: t}}}}\ncontexts:\n- {{name: here, context: {{cluster: c, user: u}}}}\n\
             - {{name: there, context: {{cluster: c, user: u}}}}\n"
        );
        self.file("config", &text)
    }
}

/// No run takes longer than this, or a test that hangs would say nothing.
const LIMIT: Duration = Duration::from_secs(60);

pub fn run(command: Command) -> Ran {
    let began = Instant::now();
    let output = assert_cmd::Command::from_std(command).timeout(LIMIT).output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: began.elapsed(),
    }
}

/// What needs no cluster.
pub const RENDER: [&str; 7] =
    ["render", "--platform", "kind", "--storage-class", "standard", "--image", "scaler=example.org/scalekit:1"];

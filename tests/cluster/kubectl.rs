//! Ways to look at the cluster, and to change it, as somebody else does: by kubectl.

use std::{
    ffi::{OsStr, OsString},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::world::{ANSWERED_WITHIN, Ran, World};

/// What kubectl says of a server that was away for a moment.
const AWAY: [&str; 7] = [
    "timeout",
    "deadline exceeded",
    "EOF",
    "connection re",
    "ServiceUnavailable",
    "unable to handle",
    "Unable to connect",
];

/// What it says of a kind whose definition the API server has only just been given.
const NOT_SERVED_YET: &str = "no matches for kind";

impl World {
    /// Runs kubectl and gives what it printed. What only reads is run again where the server was away.
    #[track_caller]
    pub fn kubectl<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> String {
        let arguments: Vec<OsString> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let verbs: Vec<&str> = arguments.iter().take(2).filter_map(|argument| argument.to_str()).collect();
        let reads =
            matches!(verbs[..], ["get" | "logs" | "api-resources" | "describe" | "top", ..] | ["rollout", "status"]);
        self.kubectl_past(&arguments, if reads { &AWAY[..] } else { &[] }).exits(0).stdout
    }

    /// Runs kubectl on what it has to refuse, and gives what it said against it.
    #[track_caller]
    pub fn kubectl_fails<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> String {
        let arguments: Vec<OsString> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        self.kubectl_past(&arguments, &[]).exits(1).stderr
    }

    /// Runs kubectl, and again for a while where it failed with any of these words.
    fn kubectl_past(&self, arguments: &[OsString], passing: &[&str]) -> Ran {
        let began = Instant::now();
        loop {
            let mut command = Command::new(self.state().join("bin/kubectl"));
            command.env_remove("KUBECONFIG").arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
            let ran = Self::run(&mut command);
            let passes = ran.code != 0 && passing.iter().any(|words| ran.stderr.contains(*words));
            if !passes || began.elapsed() > ANSWERED_WITHIN {
                return ran;
            }
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// What the API server has at a path; `None` where that is no JSON, or nothing, for whoever asks again.
    pub fn raw(&self, path: &str) -> Option<Value> {
        let ran = self.kubectl_past(&["get".into(), "--raw".into(), path.into()], &[]);
        if ran.code == 0 { serde_json::from_str(&ran.stdout).ok() } else { None }
    }

    /// Has kubectl apply a manifest, of YAML or JSON, and again where it did not get to the server with that.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        let file = manifest_file(manifest);
        let passing = [&AWAY[..], &[NOT_SERVED_YET]].concat();
        self.kubectl_past(&["apply".into(), "-f".into(), file.path().into()], &passing).exits(0);
    }

    /// Has kubectl apply a manifest that has to be refused, and gives what it said against it.
    #[track_caller]
    pub fn apply_fails(&self, manifest: &str) -> String {
        let file = manifest_file(manifest);
        self.kubectl_fails([OsStr::new("apply"), OsStr::new("-f"), file.path().as_os_str()])
    }

    /// Gives the names of the pods with a label that run in a namespace, for other threads.
    pub fn pods_by_label(&self, namespace: &'static str) -> impl Fn(&str) -> Vec<String> + Clone + Send + 'static {
        let (kubectl, kubeconfig) = (self.state().join("bin/kubectl"), self.kubeconfig());
        move |selector| {
            let mut command = Command::new(&kubectl);
            command.arg("--kubeconfig").arg(&kubeconfig).args(["get", "pods", "-n", namespace, "-l", selector]);
            let pods = Self::run(command.args(["--field-selector=status.phase=Running", "-o", "name"])).exits(0);
            pods.stdout.lines().filter_map(|line| Some(line.strip_prefix("pod/")?.to_owned())).collect()
        }
    }
}

fn manifest_file(manifest: &str) -> NamedTempFile {
    let file = NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), manifest).unwrap();
    file
}

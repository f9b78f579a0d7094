//! The API server of a node of `dev/cluster`, which is a process of this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// How the command lines of the processes begin that are an API server: alone, or with the rest of Kubernetes.
const PROGRAMS: [&[u8]; 2] = [b"kube-apiserver\0", b"kubelite\0"];

/// Where the node's first process is on record, for clusters that run in this machine's own namespaces.
pub fn record(state: &Path) -> PathBuf {
    state.join("init")
}

/// Stops it for so long. It is not ended: connections stay and nothing is answered, which is harder to notice.
pub async fn is_away(state: &Path, time: Duration) {
    let stopped = Stopped::new(process(state));
    tokio::time::sleep(time).await;
    drop(stopped);
}

/// The number of its process.
pub fn process(state: &Path) -> String {
    found(state).expect("an API server runs in the node")
}

/// The same where it may be that none runs: the node starts another one when it has ended.
pub fn found(state: &Path) -> Option<String> {
    let init = first_process(state);
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let own = network(&init).expect("the node's first process lives");
    let mut processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    processes.find(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        PROGRAMS.iter().any(|program| command.starts_with(program)) && network(pid).as_ref() == Some(&own)
    })
}

/// The number of the node's first process.
pub fn first_process(state: &Path) -> String {
    let record = fs::read_to_string(record(state)).unwrap();
    record.split_whitespace().next().unwrap().to_owned()
}

/// A process that goes on when this is dropped, whatever became of the step.
struct Stopped(String);

impl Stopped {
    fn new(process: String) -> Self {
        signal("STOP", &process);
        Self(process)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

pub fn signal(name: &str, process: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), process]).status().unwrap();
    assert!(status.success(), "kill -{name} {process}");
}

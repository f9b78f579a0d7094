//! What can be asked, and in what words: the doc comments are the help.
//!
//! The structs of a verb's flags have none of their own, for clap would take it for the verb's.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{
    images::ImagesCommand,
    sub_verbs::{AlertCommand, DemoCommand, RunCommand},
};
use crate::{
    catalog::{Component, Profile},
    platform::PlatformKind,
    settings::{At, Named, parse_duration, parse_image, parse_namespace},
};

/// Monitoring and autoscaling for a Kubernetes cluster, explained, and removable without a trace
#[derive(Debug, Parser)]
#[command(name = "scalekit", version, propagate_version = true, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// What is the same for every command.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
First steps:
  scalekit up                                 install the stack
  scalekit demo up watcherbot                 a workload that scales on its own metric
  scalekit demo load watcherbot --set 25      25 tasks, 10 per replica: 3 replicas
  scalekit status                             what works and what does not
  scalekit down                               take everything away, and prove it

Exit codes: 0 done, 1 unexpected error, 2 usage, 3 pre-flight failed, 4 cluster unreachable or not permitted,
5 conflict, 6 not ready, 7 another run is at work, 8 objects left behind, 10 `plan` has changes, 130 interrupted.";

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// Kubeconfig file; else $KUBECONFIG, ~/.kube/config, MicroK8s', k3s'
    #[arg(long, global = true, value_name = "FILE", help_heading = "Common options")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, env = "SCALEKIT_CONTEXT", value_name = "NAME", help_heading = "Common options")]
    pub context: Option<String>,
    /// Settings file; else ./scalekit.yaml if it is there
    #[arg(long, global = true, env = "SCALEKIT_CONFIG", value_name = "FILE", help_heading = "Common options")]
    pub config: Option<PathBuf>,
    /// Say nothing but errors and what was asked for
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common options")]
    pub quiet: bool,
    /// Say more: every object; twice: every request
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Common options")]
    pub verbose: u8,
    /// Progress as one JSON object a line, on stderr
    #[arg(long, global = true, value_name = "FORMAT", help_heading = "Common options")]
    pub events: Option<EventFormat>,
}

/// How `--events` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventFormat {
    /// One JSON object a line
    Ndjson,
}

/// What to do.
#[derive(Debug, Subcommand)]
// The arguments of a verb are put together when it is that verb: the program in the cluster has no use for the others.
#[command(defer = true)]
pub enum Command {
    /// Install the stack, or bring it up to date
    Up(UpArgs),
    /// Show what `up` would create, change and delete; writes nothing
    Plan(PlanArgs),
    /// Say what works and what does not
    Status(StatusArgs),
    /// Say why a workload has as many replicas as it has
    Explain(ExplainArgs),
    /// Stop all Autoscalers from scaling, for an incident; they go on deciding and reporting
    Pause(PauseArgs),
    /// Let the Autoscalers scale again that `pause` has stopped
    Resume,
    /// Check whether this cluster is one to install on, and what ails what is installed
    Check(CheckArgs),
    /// Remove what was installed, and prove that nothing is left
    Down(DownArgs),
    /// Print the manifests that `up` would apply; needs --image scaler=REF
    Render(RenderArgs),
    /// Open Grafana, Prometheus or Alertmanager in the browser
    Open(OpenArgs),
    /// See whether alerts arrive
    #[command(subcommand)]
    Alert(AlertCommand),
    /// The images of the stack: list, fix by digest, save, load, push
    #[command(subcommand)]
    Images(ImagesCommand),
    /// Collect what a bug report needs, without secrets, in one file
    SupportBundle(SupportBundleArgs),
    /// Sample workloads to see it scale
    #[command(subcommand)]
    Demo(DemoCommand),
    /// Programs that run inside the cluster
    #[command(subcommand)]
    Run(RunCommand),
    /// Print shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of the program or of one of its commands
    Man {
        /// The command, as in: images load
        command: Vec<String>,
        /// Folder to write the pages of all commands into, instead of stdout
        #[arg(long, value_name = "DIR", conflicts_with = "command")]
        output_dir: Option<PathBuf>,
    },
}

// What the stack is made of. The same for `up`, `plan`, `render`, `status` and `check`.
#[derive(Clone, Debug, Default, Args)]
pub struct StackArgs {
    /// Namespace of the stack [default: monitoring]
    #[arg(short, long, env = "SCALEKIT_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Size: edge, laptop or team; sets requests, limits, retention, volumes and interval [default: laptop]
    #[arg(long, env = "SCALEKIT_PROFILE", value_name = "NAME")]
    pub profile: Option<Profile>,
    /// Image of a component, as in grafana=registry/grafana:13.2.2; repeatable
    #[arg(long = "image", value_name = "COMPONENT=REF", value_parser = parse_image)]
    pub images: Vec<(Component, String)>,
    /// Registry in place of the images' own
    #[arg(long, env = "SCALEKIT_REGISTRY", value_name = "HOST")]
    pub registry: Option<String>,
    /// A Prometheus that is there already: install the scaler alone, which asks that one
    #[arg(long, env = "SCALEKIT_PROMETHEUS_URL", value_name = "URL")]
    pub prometheus_url: Option<String>,
    /// Secret in the stack's namespace with ca.crt, token, username and password, tls.crt and tls.key, or headers, for
    /// that one
    #[arg(long, env = "SCALEKIT_PROMETHEUS_SECRET", value_name = "NAME")]
    pub prometheus_secret: Option<String>,
    /// Time between two scrapes [default: 15s]
    #[arg(long, env = "SCALEKIT_SCRAPE_INTERVAL", value_name = "DURATION", value_parser = parse_duration)]
    pub scrape_interval: Option<Duration>,
    /// StorageClass of the volumes; else the platform's own
    #[arg(long, env = "SCALEKIT_STORAGE_CLASS", value_name = "NAME")]
    pub storage_class: Option<String>,
    /// Folder of rule files of your own, which Prometheus evaluates too
    #[arg(long, env = "SCALEKIT_RULES", value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// Folder of scrape configurations of your own
    #[arg(long, env = "SCALEKIT_SCRAPE_CONFIGS", value_name = "DIR")]
    pub scrape_configs: Option<PathBuf>,
    /// File with the URL of a Slack webhook that is told of alerts; without a receiver there is no Alertmanager
    #[arg(long, env = "SCALEKIT_SLACK_WEBHOOK_FILE", value_name = "FILE")]
    pub slack_webhook_file: Option<PathBuf>,
    /// kind, microk8s, k3s or generic; else detected
    #[arg(long, env = "SCALEKIT_PLATFORM", value_name = "NAME")]
    pub platform: Option<PlatformKind>,
    /// Socket of the containerd on this host that runs the cluster's pods
    #[arg(long, env = "SCALEKIT_CONTAINERD_SOCKET", value_name = "FILE")]
    pub containerd_socket: Option<PathBuf>,
    /// Longest time for the whole run [default: 5m]
    #[arg(long, env = "SCALEKIT_TIMEOUT", value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

// Flags of `up`.
#[derive(Clone, Debug, Args)]
pub struct UpArgs {
    /// The stack.
    #[command(flatten)]
    pub stack: StackArgs,
    /// Take over fields that somebody else manages
    #[arg(long)]
    pub force_conflicts: bool,
    /// Return when everything is written, without waiting until it works
    #[arg(long)]
    pub no_wait: bool,
}

// Flags of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// The stack.
    #[command(flatten)]
    pub stack: StackArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: OutputFormat,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// For scripts
    Json,
}

// Flags of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// The stack.
    #[command(flatten)]
    pub stack: StackArgs,
    /// Go on showing it as it changes, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
    /// Show how many series each job has, and the three largest metrics
    #[arg(long)]
    pub series: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: OutputFormat,
}

// Flags of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A workload or its Autoscaler, as in deploy/watcherbot or as/watcherbot
    #[arg(value_name = "TARGET")]
    pub target: Named,
    /// Namespace of the workload [default: the context's]
    #[arg(short, long, value_name = "NAME", value_parser = parse_namespace)]
    pub namespace: Option<String>,
    /// A past time: 2026-11-25T14:05:00Z, or how long ago, 10m or 1d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub at: Option<At>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: OutputFormat,
}

// Flags of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The stack.
    #[command(flatten)]
    pub stack: StackArgs,
    /// Only what matters before an installation, also where there is one
    #[arg(long)]
    pub pre: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: OutputFormat,
}

// Flags of `pause`.
#[derive(Clone, Copy, Debug, Args)]
pub struct PauseArgs {
    /// Every Autoscaler of the cluster
    #[arg(long, required = true)]
    pub all: bool,
}

// Flags of `support-bundle`.
#[derive(Clone, Debug, Args)]
pub struct SupportBundleArgs {
    /// The file to write [default: scalekit-support-TIME.tar.gz]
    pub file: Option<PathBuf>,
    /// The stack.
    #[command(flatten)]
    pub stack: StackArgs,
}

// Flags of `down`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct DownArgs {
    /// Namespace of the stack, to be sure: it is found by its labels, and left alone where it is in another one
    #[arg(short, long, env = "SCALEKIT_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Keep the volumes, their claims and Grafana's password; the default without a terminal
    #[arg(long, conflicts_with = "purge_data")]
    pub keep_data: bool,
    /// Delete the volumes too
    #[arg(long)]
    pub purge_data: bool,
    /// Take finalizers of others off our objects when nobody does what they are for
    #[arg(long)]
    pub force_finalizers: bool,
    /// Take workloads that were scaled back to the lower bound of their Autoscaler
    #[arg(long)]
    pub reset_replicas: bool,
    /// Do not ask before deleting
    #[arg(short, long)]
    pub yes: bool,
    /// Longest time for the whole run [default: 5m]
    #[arg(long, env = "SCALEKIT_TIMEOUT", value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

// Flags of `render`.
#[derive(Clone, Debug, Args)]
pub struct RenderArgs {
    /// The stack.
    #[command(flatten)]
    pub stack: StackArgs,
    /// Folder to write one file per object into, instead of stdout
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
}

/// What can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Opened {
    /// Dashboards
    Grafana,
    /// Queries
    Prometheus,
    /// Alerts that fire, and silences
    Alertmanager,
}

// Flags of `open`.
#[derive(Clone, Debug, Args)]
pub struct OpenArgs {
    /// Which
    pub what: Opened,
    /// Namespace of the stack [default: monitoring]
    #[arg(short, long, env = "SCALEKIT_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Local port [default: any free one]
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "PORT")]
    pub port: u16,
    /// Give Grafana's user `admin` a new random password first
    #[arg(long)]
    pub reset_password: bool,
    /// Only print the address
    #[arg(long)]
    pub no_browser: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

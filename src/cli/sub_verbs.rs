//! What can be asked of the verbs that have verbs of their own, but for `images`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::args::OutputFormat;
use crate::{
    catalog::Component,
    settings::{parse_duration, parse_image, parse_namespace, parse_share, parse_step},
};

/// Alerts.
#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// Send one alert to every receiver that it is routed to, and say whether they took it
    Test(AlertTestArgs),
    /// Say what an alert means and what mends it; without a name, which alerts there are
    Explain(AlertExplainArgs),
}

/// Flags of `alert explain`.
#[derive(Clone, Debug, Args)]
pub struct AlertExplainArgs {
    /// Name of the alert, as messages and dashboards have it
    #[arg(value_name = "ALERT")]
    pub name: Option<String>,
}

/// Flags of `alert test`.
#[derive(Clone, Debug, Args)]
pub struct AlertTestArgs {
    /// Namespace of the stack [default: monitoring]
    #[arg(short, long, env = "SCALEKIT_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Severity of the alert, for configurations that route by it
    #[arg(long, default_value = "warning", value_name = "NAME")]
    pub severity: String,
    /// Longest wait for the receivers: a configuration of your own may hold messages back
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Duration,
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: OutputFormat,
}

/// Sample workloads.
#[derive(Debug, Subcommand)]
pub enum DemoCommand {
    /// What samples there are
    List,
    /// Install a sample
    Up(DemoUpArgs),
    /// Send load to a sample
    Load(DemoLoadArgs),
    /// Remove a sample
    Down(DemoDownArgs),
}

/// Which sample, and where.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Name of the sample: see `scalekit demo list`
    pub name: String,
    /// Namespace of the sample [default: demo]
    #[arg(short, long, env = "SCALEKIT_DEMO_NAMESPACE", value_name = "NAME", value_parser = parse_namespace)]
    pub namespace: Option<String>,
}

/// Flags of `demo up`.
#[derive(Clone, Debug, Args)]
pub struct DemoUpArgs {
    /// Which.
    #[command(flatten)]
    pub demo: DemoArgs,
    /// Image of scalekit, which the sample runs, as in scaler=REF
    #[arg(long = "image", value_name = "COMPONENT=REF", value_parser = parse_image)]
    pub images: Vec<(Component, String)>,
    /// Socket of the containerd on this host that runs the cluster's pods
    #[arg(long, env = "SCALEKIT_CONTAINERD_SOCKET", value_name = "FILE")]
    pub containerd_socket: Option<PathBuf>,
    /// Longest time for the whole run [default: 5m]
    #[arg(long, env = "SCALEKIT_TIMEOUT", value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

/// Flags of `demo load`.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("load").required(true).args(["tasks", "set", "finish"])))]
pub struct DemoLoadArgs {
    /// Which.
    #[command(flatten)]
    pub demo: DemoArgs,
    /// Start this many tasks more
    #[arg(long, value_name = "N")]
    pub tasks: Option<u32>,
    /// Start or finish tasks until there are this many
    #[arg(long, value_name = "N")]
    pub set: Option<u32>,
    /// Finish this many tasks
    #[arg(long, value_name = "N")]
    pub finish: Option<u32>,
}

/// Flags of `demo down`.
#[derive(Clone, Debug, Args)]
pub struct DemoDownArgs {
    /// Which.
    #[command(flatten)]
    pub demo: DemoArgs,
    /// Longest time for the whole run [default: 5m]
    #[arg(long, env = "SCALEKIT_TIMEOUT", value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

/// In-cluster programs.
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// The autoscaler
    Controller {
        /// Prometheus for Autoscalers that name none
        #[arg(long, env = "SCALEKIT_PROMETHEUS_URL", value_name = "URL")]
        prometheus_url: String,
        /// Folder with what it wants to see: ca.crt, token, username, password, tls.crt, tls.key, headers
        #[arg(long, env = "SCALEKIT_PROMETHEUS_CREDENTIALS", value_name = "DIR")]
        prometheus_credentials: Option<PathBuf>,
        /// Address of /livez, /readyz and /metrics
        #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
        listen: SocketAddr,
        /// Largest share of the Autoscalers of one source that may begin to want fewer replicas at once; 1 for no limit
        #[arg(long, env = "SCALEKIT_MOST_DOWN_SHARE", default_value = "0.5", value_name = "SHARE", value_parser = parse_share)]
        most_down_share: f64,
        /// Most replicas by which one decision changes a count; 0 for no limit
        #[arg(long, env = "SCALEKIT_LARGEST_STEP", default_value = "0", value_name = "REPLICAS", value_parser = parse_step)]
        largest_step: i32,
    },
    /// The sample workload WatcherBot
    Watcherbot {
        /// Address to listen on
        #[arg(long, default_value = "0.0.0.0:8088", value_name = "ADDRESS")]
        listen: SocketAddr,
    },
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(subcommand)]
        run: RunCommand,
    }

    fn controller(flag: &str) -> Result<(f64, i32), String> {
        let url = "--prometheus-url=http://prometheus";
        match Program::try_parse_from(["run", "controller", url, flag]).map(|program| program.run) {
            Ok(RunCommand::Controller { most_down_share, largest_step, .. }) => Ok((most_down_share, largest_step)),
            Ok(RunCommand::Watcherbot { .. }) => unreachable!("another program"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[rstest]
    #[case::a_share("--most-down-share=0.25", 0.25, 0)]
    #[case::no_limit_of_the_share("--most-down-share=1", 1.0, 0)]
    #[case::a_step("--largest-step=1", 0.5, 1)]
    #[case::no_limit_of_the_step("--largest-step=0", 0.5, 0)]
    fn what_makes_a_limit_is_taken(#[case] flag: &str, #[case] share: f64, #[case] step: i32) {
        let (most_down_share, largest_step) = controller(flag).expect("a limit");
        assert!((most_down_share - share).abs() < f64::EPSILON, "{most_down_share}");
        assert_eq!(largest_step, step);
    }

    #[rstest]
    fn what_makes_no_share_is_refused(#[values("NaN", "-0.1", "0", "-0", "1.1", "inf", "50%")] share: &str) {
        let error = controller(&format!("--most-down-share={share}")).expect_err("no share");
        assert!(error.contains("--most-down-share <SHARE>"), "{error}");
        assert!(error.contains("more than 0, and 1 at most, which is no limit"), "{error}");
    }

    #[rstest]
    fn what_makes_no_step_is_refused(#[values("-1", "1.5", "NaN", "2147483648")] step: &str) {
        let error = controller(&format!("--largest-step={step}")).expect_err("no step");
        assert!(error.contains("--largest-step <REPLICAS>"), "{error}");
        assert!(error.contains("1 or more, or 0, which is no limit"), "{error}");
    }
}

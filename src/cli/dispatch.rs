//! From parsed arguments to a command, and from its end to an exit code.

use std::{io, path::Path, pin::pin, process::ExitCode, sync::Arc, time::Duration};

use clap::{CommandFactory, Parser, error::ErrorKind};
use tokio_util::sync::CancellationToken;

use super::{
    args::{
        CheckArgs, Cli, Command, CommonArgs, EventFormat, ExplainArgs, OpenArgs, Opened, OutputFormat, PauseArgs,
        PlanArgs, RenderArgs, StackArgs, StatusArgs, SupportBundleArgs, UpArgs,
    },
    demo::demo,
    down::down,
    images::images,
    logs,
    sub_verbs::{AlertCommand, AlertExplainArgs, AlertTestArgs, RunCommand},
};
use crate::{
    catalog::{self, Component},
    cluster::{Cluster, ConnectError, Connection, Interruption, connect},
    commands::{self, CommandError, ControllerSettings, Service, WatchError},
    event::{Event, Reporter},
    report::{self, Ndjson, Phases, Terminal, Verbosity},
    settings::{self, StackFlags, StackSettings},
};

/// Runs the program.
pub fn main() -> ExitCode {
    report::settle_colours();
    let Cli { common, command } = Cli::parse();
    // Everything that speaks TLS takes its provider from here; it is the only one that is compiled in.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let events = common.events;
    match run(common, command) {
        Ok(code) => code,
        Err(error) => {
            match events {
                Some(EventFormat::Ndjson) => report::failed(&error),
                None => report::error(&error),
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(common: CommonArgs, command: Command) -> Result<ExitCode, CommandError> {
    logs::trace(common.verbose, matches!(command, Command::Run(_)));
    let ends_when_told = matches!(command, Command::Status(StatusArgs { watch: true, .. }) | Command::Open(_));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CommandError::Io { what: "cannot start".to_owned(), source })?;
    let ended = runtime.block_on(async {
        if let Command::Run(program) = command {
            let stop = CancellationToken::new();
            let told = stop.clone();
            tokio::spawn(async move {
                signals().await;
                told.cancel();
            });
            return self::program(&common, program, stop).await;
        }
        let interruption = Interruption::default();
        let mut running = pin!(dispatch(common, command, &interruption));
        tokio::select! {
            ended = &mut running => return ended,
            () = signals() => interruption.stop(),
        }
        // Whoever comes next need not wait for a lock that is given back.
        tokio::select! {
            _ended = &mut running => {}
            () = interruption.released() => {}
            () = tokio::time::sleep(LET_GO_WITHIN) => {}
        }
        // How a watch or a port-forward ends is no error; its exit code says that it was told to.
        if ends_when_told { Ok(ExitCode::from(130)) } else { Err(CommandError::Interrupted) }
    });
    // A port-forward that is being closed is not waited for.
    runtime.shutdown_background();
    ended
}

/// How long an interrupted run may take to give back what it holds.
const LET_GO_WITHIN: Duration = Duration::from_secs(1);

async fn dispatch(common: CommonArgs, command: Command, interruption: &Interruption) -> Result<ExitCode, CommandError> {
    let reporter = reporter(&common);
    match command {
        Command::Up(UpArgs { stack, force_conflicts, no_wait }) => {
            let (settings, cluster) = stack_settings(&common, stack, force_conflicts).await?;
            let cluster = cluster.interrupted_by(interruption);
            let reporter = Phases::around(reporter);
            let done = commands::up(settings, !no_wait, &cluster, &reporter).await;
            reporter.report(Event::Requests { count: cluster.requests() });
            let done = done?;
            report::upped(&done, &reporter.into_words());
        }
        Command::Plan(PlanArgs { stack, output }) => {
            let (settings, cluster) = stack_settings(&common, stack, false).await?;
            let plan = commands::plan(settings, &cluster, reporter.as_ref()).await;
            reporter.report(Event::Requests { count: cluster.requests() });
            drop(reporter);
            let plan = plan?;
            match output {
                OutputFormat::Text => report::plan(&plan),
                OutputFormat::Json => report::json(&plan),
            }
            .map_err(unprintable)?;
            if plan.changes {
                return Ok(ExitCode::from(10));
            }
        }
        Command::Status(StatusArgs { stack, watch: true, series, output }) => {
            let (settings, cluster) = stack_settings(&common, stack, false).await?;
            let mut view = report::StatusView::new(output == OutputFormat::Json);
            commands::watch_status(settings, series, &cluster, &mut |round| view.show(round)).await.map_err(
                |error| match error {
                    WatchError::Command(error) => *error,
                    WatchError::Shown(error) => unprintable(error),
                },
            )?;
        }
        Command::Status(StatusArgs { stack, watch: false, series, output }) => {
            let (settings, cluster) = stack_settings(&common, stack, false).await?;
            let status = commands::status(settings, series, &cluster).await?;
            match output {
                OutputFormat::Text => report::status(&status),
                OutputFormat::Json => report::json(&status),
            }
            .map_err(unprintable)?;
            if !status.healthy {
                return Ok(ExitCode::from(6));
            }
        }
        Command::Pause(PauseArgs { all: _ }) => {
            let cluster = connect(&connection(&common)).await?;
            let done = commands::pause(&cluster).await?;
            report::modes_changed(&done, "recommend only", "had another mode already");
        }
        Command::Resume => {
            let cluster = connect(&connection(&common)).await?;
            let done = commands::resume(&cluster).await?;
            report::modes_changed(&done, "scale again", "were not stopped by `scalekit pause`");
        }
        Command::Explain(args) => explain(&common, args).await?,
        Command::Check(CheckArgs { stack, pre, output }) => {
            let (settings, cluster) = stack_settings(&common, stack, false).await?;
            let report = commands::check(settings, pre, &cluster).await?;
            match output {
                OutputFormat::Text => report::checked(&report, common.quiet),
                OutputFormat::Json => report::json(&report),
            }
            .map_err(unprintable)?;
            if !report.passed {
                return Ok(ExitCode::from(3));
            }
        }
        Command::Down(args) => down(&common, args, reporter, interruption).await?,
        Command::Render(RenderArgs { stack, output_dir }) => render(&common, stack, output_dir.as_deref()).await?,
        Command::Open(args) => open(&common, args).await?,
        Command::Alert(AlertCommand::Test(args)) => return alert_test(&common, args).await,
        Command::Alert(AlertCommand::Explain(AlertExplainArgs { name })) => {
            report::alert_explained(&commands::alert_explain(name.as_deref())?).map_err(unprintable)?;
        }
        Command::SupportBundle(SupportBundleArgs { file, stack }) => {
            let (settings, cluster) = stack_settings(&common, stack, false).await?;
            let bundled = commands::support_bundle(settings, &cluster, file.as_deref()).await?;
            report::bundled(&bundled);
        }
        Command::Images(command) => images(&common, command, reporter).await?,
        Command::Demo(command) => demo(&common, command, reporter, interruption).await?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "scalekit", &mut script);
            report::document(&String::from_utf8_lossy(&script)).map_err(unprintable)?;
        }
        Command::Man { command, output_dir } => man(&command, output_dir.as_deref())?,
        Command::Run(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The manual page of a command, or those of all in a folder.
fn man(command: &[String], folder: Option<&Path>) -> Result<(), CommandError> {
    let mut root = Cli::command();
    if let Some(folder) = folder {
        let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(root, folder));
        return written.map_err(|source| CommandError::Io {
            what: format!("the pages could not be written into {}", folder.display()),
            source,
        });
    }
    root.build();
    let mut found = &root;
    for name in command {
        let Some(next) = found.find_subcommand(name) else {
            let message = format!("there is no command `{}`", command.join(" "));
            root.error(ErrorKind::InvalidSubcommand, message).exit();
        };
        found = next;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(found.clone()).render(&mut page).map_err(unprintable)?;
    report::document(&String::from_utf8_lossy(&page)).map_err(unprintable)
}

async fn program(common: &CommonArgs, program: RunCommand, stop: CancellationToken) -> Result<ExitCode, CommandError> {
    match program {
        RunCommand::Controller { prometheus_url, prometheus_credentials, listen, most_down_share, largest_step } => {
            let settings = ControllerSettings {
                prometheus_url,
                prometheus_credentials,
                listen,
                most_down_share,
                largest_step: Some(largest_step).filter(|step| *step > 0),
            };
            commands::run_controller(&connection(common), settings, stop).await?;
        }
        RunCommand::Watcherbot { listen } => commands::run_watcherbot(listen, stop).await?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn stack_settings(
    common: &CommonArgs,
    stack: StackArgs,
    force_conflicts: bool,
) -> Result<(StackSettings, Cluster), CommandError> {
    let settings = resolved(common, stack, force_conflicts)?.with_files()?;
    // While a connection is made there is nothing else to do. Without a thread they are read when they are needed.
    let _reads = std::thread::Builder::new().spawn(catalog::read);
    let cluster = connect(&settings.connection).await?;
    Ok((settings, cluster))
}

pub(super) fn resolved(
    common: &CommonArgs,
    stack: StackArgs,
    force_conflicts: bool,
) -> Result<StackSettings, CommandError> {
    let StackArgs {
        namespace,
        profile,
        images,
        registry,
        scrape_interval,
        storage_class,
        rules,
        scrape_configs,
        slack_webhook_file,
        prometheus_url,
        prometheus_secret,
        platform,
        containerd_socket,
        timeout,
    } = stack;
    let flags = StackFlags {
        namespace,
        profile,
        images,
        registry,
        prometheus_url,
        prometheus_secret,
        scrape_interval,
        storage_class,
        rules,
        scrape_configs,
        slack_webhook_file,
        platform,
        containerd_socket,
        timeout,
        force_conflicts,
    };
    let file = settings::read_file(common.config.as_deref())?;
    Ok(settings::resolve(connection(common), flags, file)?)
}

async fn render(common: &CommonArgs, stack: StackArgs, folder: Option<&Path>) -> Result<(), CommandError> {
    let settings = resolved(common, stack, false)?.with_files()?;
    let options = settings.options.clone();
    let image = options.images.get(&Component::Scaler).cloned().ok_or(CommandError::ImageUnnamed)?;
    // With the platform and the class named, there is nothing to ask a cluster for; the scaler alone has no volume.
    let volumes_known = options.storage.class.is_some() || options.external.is_some();
    let cluster = if settings.platform.is_some() && volumes_known {
        None
    } else {
        Some(connect(&settings.connection).await.map_err(|error| unasked(error.into()))?)
    };
    let objects = commands::render(settings, image, cluster.as_ref()).await.map_err(unasked)?;
    let preface = report::preface(&options);
    match folder {
        None => report::manifests(&preface, &objects).map_err(unprintable)?,
        Some(folder) => report::written(&commands::write_manifests(folder, &preface, &objects)?, folder, common.quiet),
    }
    if !common.quiet {
        report::left_out(&options);
    }
    Ok(())
}

/// `render` can do without the cluster that it could not ask.
fn unasked(error: CommandError) -> CommandError {
    match error {
        CommandError::Connect(
            ConnectError::NoKubeconfig { .. } | ConnectError::Unreadable { .. } | ConnectError::Server { .. },
        )
        | CommandError::Cluster { .. } => CommandError::Unasked { source: Box::new(error) },
        other => other,
    }
}

async fn explain(common: &CommonArgs, args: ExplainArgs) -> Result<(), CommandError> {
    let ExplainArgs { target, namespace, at, output } = args;
    let cluster = connect(&connection(common)).await?;
    let namespace = namespace.unwrap_or_else(|| cluster.default_namespace().to_owned());
    let explained = commands::explain(&cluster, &namespace, &target, at).await?;
    match output {
        OutputFormat::Text => report::explained(&explained),
        OutputFormat::Json => report::json(&explained),
    }
    .map_err(unprintable)
}

async fn open(common: &CommonArgs, args: OpenArgs) -> Result<(), CommandError> {
    let OpenArgs { what, namespace, port, reset_password, no_browser } = args;
    if reset_password && what != Opened::Grafana {
        return Err(CommandError::NoPassword);
    }
    let stack = StackArgs { namespace, ..StackArgs::default() };
    let settings = resolved(common, stack, false)?;
    let cluster = connect(&settings.connection).await?;
    let service = match what {
        Opened::Grafana => Service::Grafana,
        Opened::Prometheus => Service::Prometheus,
        Opened::Alertmanager => Service::Alertmanager,
    };
    if reset_password {
        commands::reset_grafana_password(&settings.options.namespace, &cluster).await?;
    }
    let opening = commands::open(service, &settings.options.namespace, port, &cluster).await?;
    report::opened(&opening.url, opening.credentials.as_ref());
    if !no_browser && let Err(error) = open::that_detached(&opening.url) {
        report::note(&format!("no browser could be started ({error}): open the address by hand"));
    }
    opening.serve.await.map_err(|source| CommandError::Io { what: "the port-forward ended".to_owned(), source })
}

async fn alert_test(common: &CommonArgs, args: AlertTestArgs) -> Result<ExitCode, CommandError> {
    let AlertTestArgs { namespace, severity, timeout, output } = args;
    let settings = resolved(common, StackArgs { namespace, ..StackArgs::default() }, false)?;
    let cluster = connect(&settings.connection).await?;
    let tested = commands::alert_test(&settings.options.namespace, &severity, timeout, &cluster).await?;
    match output {
        OutputFormat::Text => report::alert_tested(&tested),
        OutputFormat::Json => report::json(&tested),
    }
    .map_err(unprintable)?;
    Ok(if tested.delivered { ExitCode::SUCCESS } else { ExitCode::from(6) })
}

pub(super) fn connection(common: &CommonArgs) -> Connection {
    Connection { kubeconfig: common.kubeconfig.clone(), context: common.context.clone() }
}

fn reporter(common: &CommonArgs) -> Arc<dyn Reporter> {
    match (common.events, common.quiet, common.verbose) {
        (Some(EventFormat::Ndjson), ..) => Arc::new(Ndjson::default()),
        (None, true, _) => Arc::new(Terminal::new(Verbosity::Quiet)),
        (None, false, 0) => Arc::new(Terminal::new(Verbosity::Normal)),
        (None, false, _) => Arc::new(Terminal::new(Verbosity::Verbose)),
    }
}

/// Ends when the process is told to stop.
async fn signals() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            // Without a handler the signal ends the process by itself.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

pub(super) fn unprintable(error: impl std::error::Error + Send + Sync + 'static) -> CommandError {
    CommandError::Io { what: "the result could not be written".to_owned(), source: io::Error::other(error) }
}

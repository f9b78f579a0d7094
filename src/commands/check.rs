//! `scalekit check`: every check that applies, before an installation or to one that is there. Reads only; what it
//! sends as dry runs and reviews of rights stores nothing.

use kube::core::DynamicObject;

use super::{
    CommandError,
    image::{self, OwnImage},
    status,
    up::{now, stack_release, unusable},
};
use crate::{
    catalog::{self, Component},
    cluster::{self, Cluster},
    event::Silent,
    health::{self, Extent, Observed, Report, Severity, Stage},
    install::{InstallError, Installer},
    object::{ByName, ObjectRef},
    plan,
    platform::{self, PlatformKind},
    preflight,
    settings::StackSettings,
};

/// Checks the cluster. `before` leaves what is installed out of account.
///
/// # Errors
///
/// Only when the cluster cannot be read; what is wrong with it is in the answer. Who may not read it is told every right that
/// is missing: [`CommandError::Preflight`].
pub async fn check(settings: StackSettings, before: bool, cluster: &Cluster) -> Result<Report, CommandError> {
    let (options, asked) = (settings.options.clone(), settings.platform.clone());
    match look(settings, before, cluster).await {
        Err(refused) if is_refused(&refused) => Err(missing_rights(refused, cluster, &options, asked).await),
        report => report,
    }
}

/// Whether the API server said no, and not what it was asked for.
fn is_refused(error: &CommandError) -> bool {
    let (CommandError::Cluster { source, .. }
    | CommandError::Install(InstallError::Read(source) | InstallError::Inventory { source, .. })) = error
    else {
        return false;
    };
    matches!(source, cluster::Error::Forbidden { .. })
}

/// Every right that is missing to who was refused one; what was refused, where the others cannot be told.
async fn missing_rights(
    refused: CommandError,
    cluster: &Cluster,
    options: &catalog::Options,
    asked: Option<PlatformKind>,
) -> CommandError {
    // What the cluster is cannot be seen. Of what is installed little depends on it, and no right.
    let platform = platform::assume(asked.unwrap_or(PlatformKind::Generic), &[], &[]);
    let desired = catalog::stack(options, &platform);
    let rights = preflight::permissions_from_the_first_look(cluster, &options.namespace, &desired).await;
    let finding = rights.map(|rights| health::permissions(&rights));
    match finding {
        Ok(finding) if finding.severity == Severity::Error => CommandError::Preflight { findings: vec![finding] },
        _ => refused,
    }
}

async fn look(settings: StackSettings, before: bool, cluster: &Cluster) -> Result<Report, CommandError> {
    let StackSettings {
        connection: _,
        mut options,
        files: _,
        platform: asked,
        containerd_socket,
        timeout,
        force_conflicts: _,
    } = settings;
    let failed = |source| unusable(cluster, source);
    let facts = preflight::facts_and_ports(cluster).await.map_err(failed)?;
    let own = image::own(options.images.get(&Component::Scaler));
    if let Ok(own) = &own {
        image::use_in(&mut options, own);
    }
    let platform = facts.platform(asked);
    let installer = Installer::new(cluster, &Silent, timeout);
    let state = installer.read(&stack_release(&options.namespace), &catalog::stack(&options, &platform)).await?;
    let installed = catalog::scraped_as(&state.live);
    let unscraped = catalog::unscraped(&facts.seen, &installed, &options);
    let platform = platform.seen(facts.seen.clone().of_installation(installed));
    let others = catalog::fit_volumes(&mut options, &state.live, &facts.classes);
    let mut desired = catalog::stack(&options, &platform);
    plan::adapt_claims(&mut desired, &state.live, &facts.classes);
    plan::yield_replicas(&mut desired, &state.live);
    let changes = plan::plan(&desired, &state.live, &state.inventory);
    let stage = if !before && state.live.iter().any(is_our_workload) { Stage::Installed } else { Stage::BeforeInstall };

    let namespaces: Vec<DynamicObject> = desired.iter().filter(|object| kind(object) == "Namespace").cloned().collect();
    let live = ByName::of(&state.live);
    let (facts_to_write, tried, around) = futures::join!(
        preflight::before_writing(cluster, &options.namespace, &desired, &state.live, &facts.nodes),
        installer.dry_run(&namespaces, &changes, &live),
        async {
            match stage {
                Stage::Installed => Some(status::look_around(cluster, &options).await),
                Stage::BeforeInstall => None,
            }
        },
    );
    let facts_to_write = facts_to_write.map_err(failed)?;

    let class = options.storage.class.as_deref();
    let extent = Extent::of(&options);
    let carried = own.as_ref().ok().and_then(OwnImage::carries);
    let mut findings = health::of_cluster(&facts, &platform, class, carried, extent);
    findings
        .extend(facts_to_write.environment.clock.iter().map(|clock| health::api_server(cluster.server(), clock.took)));
    findings.push(health::room(&facts.nodes, &desired, options.profile));
    findings.extend(health::volumes(&options, &others));
    findings.extend(health::dropped_metrics(&options));
    findings.push(health::platform(&platform, facts.nodes.len()));
    let chosen = health::chosen_class(&facts, &platform, class);
    findings.extend(health::before_writing(&facts_to_write, &platform, chosen, extent));
    findings.push(health::pod_security(&desired, &state.live, &tried));
    findings.push(health::ownership(&changes));
    let mut source = image::source(&own, &facts.nodes, &platform, containerd_socket.as_deref());
    if let Some(Ok(around)) = &around {
        source = source.known_by(&around.pods, now());
    }
    findings.push(health::image(&source, stage == Stage::Installed));
    let (name, kubernetes) = (platform.kind.to_string(), facts.version.clone());
    if let Some(around) = around {
        findings.extend(health::installed_version(state.version.as_deref(), env!("CARGO_PKG_VERSION")));
        let around = around.map_err(failed)?;
        let observed = status::observed(facts, &platform, &options, desired, state.live, around);
        let observed = Observed { unscraped, ..observed };
        findings.extend(health::of_status(&health::status(&observed, now())));
    }
    Ok(Report::new(stage, name, kubernetes, options.namespace, findings))
}

/// Whether it is part of a stack that runs: data that was kept is not.
fn is_our_workload(object: &DynamicObject) -> bool {
    ["Deployment", "StatefulSet", "DaemonSet"].iter().any(|kind| is_ours(object, kind))
}

fn is_ours(object: &DynamicObject, wanted: &str) -> bool {
    catalog::is_ours(object) && kind(object) == wanted
}

fn kind(object: &DynamicObject) -> String {
    ObjectRef::of(object).kind
}

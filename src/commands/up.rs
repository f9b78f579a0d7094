//! `scalekit up`: look, plan, send the image, write, wait until it works.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::core::DynamicObject;
use tokio::task::spawn_blocking;

use super::{
    CommandError,
    carry_out::{until_ready, write},
    down,
    image::{self, OwnImage},
    reload, scaler, targets,
};
use crate::{
    catalog::{self, Component},
    cluster::{self, Cluster, Kind},
    event::{Event, Reporter, Step},
    health::{self, Extent, Facts, Finding, Severity},
    install::{InstallError, Installer, Release, State},
    plan::{self, ChangeSet},
    platform::{Platform, PlatformKind},
    preflight,
    readiness::{self, Surroundings},
    settings::StackSettings,
};

/// What `up` did.
#[derive(Clone, Debug)]
pub struct Upped {
    /// What the cluster is.
    pub platform: Platform,
    /// Namespace of the stack.
    pub namespace: String,
    /// Whether anything was written.
    pub changed: bool,
    /// The change set in words.
    pub changes: String,
    /// Component and image.
    pub components: Vec<(Component, String)>,
    /// Scrape targets that are up; `None` when nothing was asked: nothing was written, or it was not waited for.
    pub targets: Option<usize>,
    /// Whether what was written was waited for.
    pub waited: bool,
    /// How long it took.
    pub took: Duration,
}

/// Everything that is known before the first write: what `plan` shows and `up` carries out.
pub(super) struct Prepared {
    pub(super) facts: Facts,
    pub(super) platform: Platform,
    pub(super) options: catalog::Options,
    /// What our pods run.
    pub(super) own: OwnImage,
    /// As the settings have it.
    pub(super) desired: Vec<DynamicObject>,
    /// What was asked for, before the sizes were fitted to the volumes that are there.
    pub(super) asked: catalog::Options,
    /// The same, fitted to what is there.
    pub(super) adapted: Vec<DynamicObject>,
    pub(super) release: Release,
    pub(super) state: State,
    pub(super) changes: ChangeSet,
}

/// Looks at the cluster and compares. Writes nothing.
pub(super) async fn prepare(
    mut options: catalog::Options,
    asked: Option<PlatformKind>,
    cluster: &Cluster,
    installer: &Installer<'_>,
    reporter: &dyn Reporter,
) -> Result<Prepared, CommandError> {
    let step = Instant::now();
    reporter.report(Event::StepStarted { step: Step::Preflight, total: None });
    let release = stack_release(&options.namespace);
    let reference = options.images.get(&Component::Scaler).cloned();
    // Its digest takes a moment, and so do the answers.
    let own = spawn_blocking(move || image::own(reference.as_ref()));
    let intended = async {
        let facts = preflight::facts_and_kubelets(cluster).await.map_err(|source| unusable(cluster, source))?;
        let platform = facts.platform(asked);
        let own = own.await.map_err(|error| CommandError::Io {
            what: "cannot read this program".to_owned(),
            source: std::io::Error::other(error),
        })??;
        if let Some(message) = options.unused_in_words() {
            reporter.report(Event::Note { message });
        }
        let (class, extent) = (options.storage.class.as_deref(), Extent::of(&options));
        tell(&health::of_cluster(&facts, &platform, class, own.carries(), extent), reporter)?;
        let summary = format!("Kubernetes {} on {}", facts.version, platform.kind);
        reporter.report(Event::StepFinished { step: Step::Preflight, took: step.elapsed(), summary });
        image::use_in(&mut options, &own);
        options.grafana_password = password()?;
        // What nobody can see now is as the installation has it, which is not read yet: mostly that is the same.
        let looked_at = platform.clone().seen(facts.seen.clone());
        let desired = catalog::stack(&options, &looked_at);
        Ok::<_, CommandError>((facts, platform, own, looked_at, desired))
    };
    // What is installed can be read before it is known what is to be: the answers come while that is made.
    let (intended, labelled) = futures::join!(intended, installer.labelled(&release, Vec::new()));
    let (facts, platform, own, looked_at, mut desired) = intended?;

    let step = Instant::now();
    reporter.report(Event::StepStarted { step: Step::Plan, total: None });
    tell(&[health::room(&facts.nodes, &desired, options.profile)], reporter)?;
    let state = installer.complete(&release, &desired, labelled?).await?;
    let remembered = if catalog::is_scraped_alike(&state.live, &desired) {
        looked_at.clone()
    } else {
        // A cluster with an installation in it does not change its make: that need not be looked at again.
        let mut before = catalog::scraped_as(&state.live);
        if before.one_process.is_none() && options.external.is_none() && platform.kind.may_be_one_process() {
            before.one_process = preflight::one_process(cluster).await;
        }
        platform.seen(facts.seen.clone().or(before))
    };
    let asked = options.clone();
    let others = catalog::fit_volumes(&mut options, &state.live, &facts.classes);
    tell(&health::volumes(&options, &others), reporter)?;
    tell(&health::dropped_metrics(&options), reporter)?;
    let fitted = options.storage != asked.storage || options.retention != asked.retention;
    if remembered != looked_at || fitted {
        desired = catalog::stack(&options, &remembered);
    }
    let platform = remembered;
    let version = health::installed_version(state.version.as_deref(), env!("CARGO_PKG_VERSION"));
    tell(&version.into_iter().collect::<Vec<_>>(), reporter)?;
    let adapted = plan::adapted(&desired, &state.live, &facts.classes);
    let changes = plan::plan(&adapted, &state.live, &state.inventory);
    reporter.report(Event::StepFinished { step: Step::Plan, took: step.elapsed(), summary: changes.summary() });
    Ok(Prepared { facts, platform, options, own, desired, asked, adapted, release, state, changes })
}

/// Installs the stack or brings it up to date; returns when everything is ready and every target is scraped, or, where
/// that is not to be waited for, when everything is written.
///
/// # Errors
///
/// See [`CommandError`]. Until the pre-flight checks have passed nothing is written.
pub async fn up(
    settings: StackSettings,
    wait: bool,
    cluster: &Cluster,
    reporter: &dyn Reporter,
) -> Result<Upped, CommandError> {
    let StackSettings { connection: _, options, files: _, platform, containerd_socket, timeout, force_conflicts } =
        settings;
    let began = Instant::now();
    let installer = Installer::new(cluster, reporter, timeout).force_conflicts(force_conflicts);
    let prepared = prepare(options, platform, cluster, &installer, reporter).await?;
    let Prepared { facts, platform, mut options, own, mut desired, asked, adapted, release, state, changes } = prepared;
    let mut done = Upped {
        namespace: options.namespace.clone(),
        changed: changes.has_changes(),
        changes: changes.summary(),
        components: options.components().map(|component| (component, options.image(component))).collect(),
        targets: None,
        waited: wait,
        took: began.elapsed(),
        platform,
    };
    let sent = own.executable.is_some();
    let around = Surroundings { nodes: facts.nodes.clone(), classes: facts.classes.clone(), ..Surroundings::default() };
    let refused = |changes: &ChangeSet| changes.foreign().next().is_some();
    // A namespace on its way out is as it should be until it is gone.
    let stays = state.live.iter().all(|object| object.metadata.deletion_timestamp.is_none() || !is_namespace(object));
    if !done.changed && !refused(&changes) && stays && (!wait || all_current(&state.live, &around)) {
        // A node that came since has no image, and its pods would not start.
        if let Some(executable) = own.executable
            && image::is_lacked(&facts.nodes, &own.reference)
            && let Err(error) =
                image::provide(executable, &facts.nodes, &done.platform, containerd_socket.as_deref(), reporter).await
        {
            reporter.report(Event::Note { message: error.to_string() });
        }
        // Ours are right. Those of the user's own may be refused, and still are when nothing is written.
        if wait && options.external.is_none() && !options.additions.is_empty() {
            reload::is_loaded(cluster, &options.namespace).await?;
        }
        if wait && options.external.is_some() {
            scaler::until_answered(cluster, &options.namespace, began + timeout, reporter).await?;
        }
        return Ok(done);
    }

    let settled = match installer.until_settled(&state.live).await {
        Err(error @ InstallError::NotGone { .. }) => {
            return Err(down::named(error, &down::blocking(cluster).await).into());
        }
        settled => settled?,
    };
    let (state, adapted, changes) = if settled {
        // What was read, and fitted to, belonged to an installation that is gone now.
        let state = installer.read(&release, &desired).await?;
        options = asked;
        catalog::fit_volumes(&mut options, &state.live, &facts.classes);
        desired = catalog::stack(&options, &done.platform);
        let adapted = plan::adapted(&desired, &state.live, &facts.classes);
        let changes = plan::plan(&adapted, &state.live, &state.inventory);
        (done.changed, done.changes) = (changes.has_changes(), changes.summary());
        (state, adapted, changes)
    } else {
        (state, adapted, changes)
    };
    if let Some(message) = unfinished(&state) {
        reporter.report(Event::Note { message });
    }
    let foreign = refused(&changes);
    if !foreign {
        let rights = preflight::before_writing(cluster, &options.namespace, &desired, &state.live, &facts.nodes)
            .await
            .map_err(|source| unusable(cluster, source))?;
        let class = health::chosen_class(&facts, &done.platform, options.storage.class.as_deref());
        tell(&health::before_writing(&rights, &done.platform, class, Extent::of(&options)), reporter)?;
        if let Some(executable) = own.executable {
            image::provide(executable, &facts.nodes, &done.platform, containerd_socket.as_deref(), reporter).await?;
        }
    }
    // What another Prometheus loads and scrapes is not ours to wait for.
    let before = if wait && options.external.is_none() {
        Some(reload::before(&adapted, &changes, &state.live, cluster, &options.namespace).await)
    } else {
        None
    };
    let version = write(&installer, &release, &desired, &facts.classes, &changes, state, reporter).await?;
    if wait {
        until_ready(&installer, &release, &desired, reporter).await?;
        if let Some(before) = before {
            reload::after((before, version), &installer, &release, cluster, began + timeout, reporter).await?;
            let expected = catalog::expected_jobs(&options, &done.platform);
            done.targets =
                Some(targets::wait(cluster, &options.namespace, &expected, began + timeout, reporter).await?);
        } else {
            scaler::until_answered(cluster, &options.namespace, began + timeout, reporter).await?;
        }
    }
    // While the old pods may still run, their image is needed.
    if wait && done.changed && sent {
        retire_images(&own.reference, &facts.nodes, &done.platform, containerd_socket.as_deref(), cluster).await;
    }
    done.took = began.elapsed();
    Ok(done)
}

/// Images of earlier versions are pinned on the nodes, so nobody else takes them away. They stay while a sample still
/// runs one: it could not start a pod without it.
async fn retire_images(
    reference: &str,
    nodes: &[Node],
    platform: &Platform,
    containerd_socket: Option<&Path>,
    cluster: &Cluster,
) {
    let Some(deployments) = Kind::named("apps", "Deployment") else { return };
    let selector = format!("{}={}", catalog::MANAGED_BY, catalog::SCALEKIT);
    match cluster.list_kind(deployments, None, &selector).await {
        Ok(running) if !running.iter().any(|object| image::runs_another(object, reference)) => {
            let removed = image::remove(nodes, platform, containerd_socket, Some(reference)).await;
            tracing::debug!("{} old images are gone, left: {:?}", removed.count, removed.left);
        }
        // An old image more is no reason to call an installation that works a failure.
        Ok(_) => {}
        Err(error) => tracing::debug!("old images stay: {error}"),
    }
}

/// The stack as one release.
pub(super) fn stack_release(namespace: &str) -> Release {
    Release {
        inventory: catalog::INVENTORY.to_owned(),
        namespace: namespace.to_owned(),
        applyset: catalog::applyset_id(catalog::INVENTORY, namespace, "ConfigMap", ""),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Reports the findings, and stops at the ones that stand in the way.
pub(super) fn tell(findings: &[Finding], reporter: &dyn Reporter) -> Result<(), CommandError> {
    let (errors, rest): (Vec<Finding>, Vec<Finding>) =
        findings.iter().cloned().partition(|finding| finding.severity == Severity::Error);
    for finding in rest {
        reporter.report(Event::Finding(finding));
    }
    if errors.is_empty() { Ok(()) } else { Err(CommandError::Preflight { findings: errors }) }
}

/// A cluster whose first answers are no answers.
pub(super) fn unusable(cluster: &Cluster, source: cluster::Error) -> CommandError {
    CommandError::Cluster { server: cluster.server().to_owned(), source }
}

/// That an earlier run stopped before it was done, by what it had noted of its intentions.
fn unfinished(state: &State) -> Option<String> {
    let version = state.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    let is_open = state.inventory.entries().any(|entry| entry.hash.is_empty());
    is_open.then(|| format!("going on where a run of scalekit{version} stopped"))
}

/// The clock, read once a decision: the rules take the time from here.
#[expect(clippy::disallowed_methods, reason = "the edge: the rules take the time from here")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

fn is_namespace(object: &DynamicObject) -> bool {
    object.types.as_ref().is_some_and(|types| types.kind == "Namespace")
}

fn all_current(live: &[DynamicObject], around: &Surroundings) -> bool {
    let now = now();
    live.iter().all(|object| readiness::of(object, around, now).is_current())
}

/// Characters of a password: 144 bits at six each.
const PASSWORD_LENGTH: usize = 24;

/// A password for Grafana, drawn anew at every run and used only where there is none yet.
pub(super) fn password() -> Result<String, CommandError> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0u8; PASSWORD_LENGTH];
    getrandom::fill(&mut random).map_err(|error| CommandError::Io {
        what: "no random bytes for a password".to_owned(),
        source: std::io::Error::other(error),
    })?;
    Ok(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect())
}

//! `scalekit demo`: sample workloads, installed by the same engine, each with an inventory of its own.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use kube::core::DynamicObject;

use super::{
    CommandError, Consent, Downed,
    carry_out::{until_ready, write},
    image, targets,
    up::{tell, unusable},
    whereabouts,
};
use crate::{
    catalog::{self, DemoOptions},
    cluster::{Cluster, ForwardError, Kind, PodTunnel},
    event::{Event, Reporter, Step},
    health::{self, Facts},
    install::{InstallError, Installer, Release},
    object::ObjectRef,
    plan::{self, Data, teardown},
    platform::detect,
    preflight,
    samples::load::{Change, PodLoad, Share, requests, share_out},
};

pub use crate::samples::load::Wish;

/// What `demo up` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoUp {
    /// Name of the sample.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The change set in words.
    pub changes: String,
    /// How long it took.
    pub took: Duration,
}

/// What `demo load` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoLoaded {
    /// Tasks before, over all pods.
    pub before: u64,
    /// Tasks now, over all pods, as the pods answered.
    pub after: u64,
    /// Pods that the tasks are spread over.
    pub pods: usize,
}

/// Installs a sample, or brings it up to date, and waits until it is ready.
///
/// # Errors
///
/// [`CommandError::NotInstalled`] when the stack is not there: the sample needs its Autoscaler.
pub async fn demo_up(
    name: &str,
    namespace: &str,
    named_image: Option<String>,
    containerd_socket: Option<PathBuf>,
    timeout: Duration,
    cluster: &Cluster,
    reporter: &dyn Reporter,
) -> Result<DemoUp, CommandError> {
    known(name)?;
    let began = Instant::now();
    let installer = Installer::new(cluster, reporter, timeout);
    let facts: Facts = preflight::facts(cluster).await.map_err(|source| unusable(cluster, source))?;
    let platform = detect(&facts.nodes, &facts.classes);
    needs_the_stack(cluster).await?;
    let own = image::own(named_image.as_ref())?;
    let options = DemoOptions {
        namespace: namespace.to_owned(),
        image: own.reference.clone(),
        pull_policy: own.pull_policy.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut desired = catalog::demo(name, &options).ok_or_else(|| unknown(name))?;
    let release = demo_release(name, namespace);
    let mut state = installer.read(&release, &desired).await?;
    if installer.until_settled(&state.live).await? {
        state = installer.read(&release, &desired).await?;
    }
    // A namespace that somebody else made is used, and not taken: who owns it deletes it.
    desired.retain(|object| ObjectRef::of(object).kind != "Namespace" || !is_anothers(object, &state.live));
    let changes = plan::plan(&desired, &state.live, &state.inventory);
    if changes.has_changes() {
        let rights =
            preflight::permissions(cluster, namespace, &desired).await.map_err(|source| unusable(cluster, source))?;
        tell(&[health::permissions(&rights)], reporter)?;
    }
    if let Some(executable) = own.executable {
        image::provide(executable, &facts.nodes, &platform, containerd_socket.as_deref(), reporter).await?;
    }
    write(&installer, &release, &desired, &facts.classes, &changes, state, reporter).await?;
    until_ready(&installer, &release, &desired, reporter).await?;
    let stack = whereabouts::stacks(cluster).await.unwrap_or_default().into_iter().next();
    if let Some(stack) = stack
        && let Some(url) = whereabouts::prometheus_of_others(cluster, &stack).await
    {
        let message = format!(
            "the scaler asks {url} for its metrics: that one has to scrape pods by their annotations prometheus.io/scrape and \
             prometheus.io/port, which those of {name} have; else the Autoscaler finds no sample"
        );
        reporter.report(Event::Note { message });
    }
    Ok(DemoUp {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        changes: changes.summary(),
        took: began.elapsed(),
    })
}

/// Removes a sample and waits until it is gone.
///
/// # Errors
///
/// [`CommandError::LeftBehind`] when something of it is still there.
pub async fn demo_down(
    name: &str,
    namespace: &str,
    Consent::Given: Consent,
    timeout: Duration,
    cluster: &Cluster,
    reporter: &dyn Reporter,
) -> Result<Downed, CommandError> {
    known(name)?;
    let began = Instant::now();
    let installer = Installer::new(cluster, reporter, timeout);
    let release = demo_release(name, namespace);
    let of_release = |objects: Vec<DynamicObject>| {
        objects
            .into_iter()
            .filter(|object| {
                let labels = object.metadata.labels.as_ref();
                labels.and_then(|labels| labels.get(catalog::APPLYSET_PART_OF)) == Some(&release.applyset)
                    || ObjectRef::of(object) == release.inventory_object()
            })
            .collect::<Vec<_>>()
    };
    let look_and_decide = async || {
        let survey = installer.survey().await?;
        let ours = of_release(survey.ours);
        let decided = teardown(&ours, &survey.foreign, &[], Data::Purge);
        Ok::<_, InstallError>((ours, decided, survey.recorded))
    };
    let (ours, decided, _) = look_and_decide().await?;
    if ours.is_empty() {
        return Ok(downed(false, began.elapsed()));
    }
    reporter.report(Event::StepStarted { step: Step::Delete, total: Some(decided.delete.len()) });
    let lock = installer.lock_for_removal(&release).await?;
    let work = async {
        // Another run may have written until then.
        let (ours, decided, recorded) = look_and_decide().await?;
        installer.tear_down(&decided, &[]).await?;
        Ok((ours, decided, recorded))
    };
    let (ours, decided, recorded) = match lock {
        Some(lock) => lock.hold(work).await?,
        None => work.await?,
    };
    let summary = format!("{name} is deleted");
    reporter.report(Event::StepFinished { step: Step::Delete, took: began.elapsed(), summary });
    let left: Vec<_> = installer
        .left(&decided, &recorded)
        .await?
        .into_iter()
        .filter(|left| ours.iter().any(|object| ObjectRef::of(object) == left.object))
        .collect();
    if !left.is_empty() {
        return Err(CommandError::LeftBehind { left });
    }
    Ok(downed(true, began.elapsed()))
}

fn is_anothers(namespace: &DynamicObject, live: &[DynamicObject]) -> bool {
    let release = |object: &DynamicObject| {
        object.metadata.labels.as_ref().and_then(|labels| labels.get(catalog::APPLYSET_PART_OF)).cloned()
    };
    let reference = ObjectRef::of(namespace);
    live.iter().any(|found| ObjectRef::of(found) == reference && release(found) != release(namespace))
}

fn downed(anything: bool, took: Duration) -> Downed {
    Downed { anything, kept: Vec::new(), images: 0, images_left: Vec::new(), took }
}

/// Starts or finishes tasks in the pods of a sample, through port-forwards.
///
/// Tasks live in the memory of a pod and go with it: a pod that is scaled away takes its tasks along.
///
/// # Errors
///
/// [`CommandError::Load`] when more is to be finished than there is: nothing is done then.
pub async fn demo_load(
    name: &str,
    namespace: &str,
    wish: Wish,
    cluster: &Cluster,
    reporter: &dyn Reporter,
) -> Result<DemoLoaded, CommandError> {
    known(name)?;
    reporter.report(Event::StepStarted { step: Step::Load, total: None });
    let began = Instant::now();
    let selector = format!("{}={name}", catalog::NAME);
    let pods = targets::ready_pods(cluster, namespace, &selector).await.map_err(|source| unusable(cluster, source))?;
    if pods.is_empty() {
        return Err(CommandError::NotInstalled {
            what: format!("a ready pod of {name} in namespace {namespace}"),
            fix: format!("scalekit demo up {name}"),
        });
    }
    let tunnels: Vec<PodTunnel> =
        pods.iter().map(|pod| PodTunnel::new(cluster, namespace, pod, WATCHERBOT_PORT)).collect();
    let before = loads(&tunnels).await?;
    let shares = share_out(&before, wish)?;
    let changed: Vec<PodLoad> = stream::iter(shares)
        .map(|share| {
            let tunnel = tunnels.iter().find(|tunnel| tunnel.pod() == share.pod);
            async move {
                let Some(tunnel) = tunnel else { return Ok(None) };
                Ok::<_, CommandError>(Some(change(tunnel, &share).await?))
            }
        })
        .buffered(8)
        .try_filter_map(|load| async move { Ok(load) })
        .try_collect()
        .await?;
    let after = before
        .iter()
        .map(|load| {
            changed.iter().find(|changed| changed.pod == load.pod).map_or(load.active, |changed| changed.active)
        })
        .sum();
    let loaded = DemoLoaded { before: before.iter().map(|load| load.active).sum(), after, pods: pods.len() };
    let summary = format!("tasks: {} before, {} now", loaded.before, loaded.after);
    reporter.report(Event::StepFinished { step: Step::Load, took: began.elapsed(), summary });
    Ok(loaded)
}

const WATCHERBOT_PORT: u16 = 8088;
/// One request through a port-forward.
const REQUEST: Duration = Duration::from_secs(10);

async fn loads(tunnels: &[PodTunnel]) -> Result<Vec<PodLoad>, CommandError> {
    stream::iter(tunnels)
        .map(|tunnel| async move {
            let path = "/metrics";
            let text = ask(tunnel, http::Method::GET, path).await?;
            let active = text
                .lines()
                .find_map(|line| line.strip_prefix("watcherBot_active_tasks ")?.trim().parse::<f64>().ok())
                .ok_or_else(|| CommandError::UnexpectedAnswer {
                    pod: tunnel.pod().to_owned(),
                    status: 200,
                    path: path.to_owned(),
                    answer: "no watcherBot_active_tasks in it".to_owned(),
                })?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count of tasks, written by us"
            )]
            let active = active as u64;
            Ok(PodLoad { pod: tunnel.pod().to_owned(), active })
        })
        .buffered(8)
        .try_collect()
        .await
}

async fn change(tunnel: &PodTunnel, share: &Share) -> Result<PodLoad, CommandError> {
    let (verb, count) = match share.change {
        Change::Start(count) => ("start_task", count),
        Change::Finish(count) => ("finish_task", count),
    };
    let mut active = 0;
    for count in requests(count) {
        let path = format!("/{verb}?count={count}");
        let answer = ask(tunnel, http::Method::POST, &path).await?;
        active = serde_json::from_str::<serde_json::Value>(&answer)
            .ok()
            .and_then(|answer| answer["active_tasks"].as_u64())
            .ok_or_else(|| CommandError::UnexpectedAnswer {
                pod: tunnel.pod().to_owned(),
                status: 200,
                path,
                answer,
            })?;
    }
    Ok(PodLoad { pod: tunnel.pod().to_owned(), active })
}

async fn ask(tunnel: &PodTunnel, method: http::Method, path: &str) -> Result<String, CommandError> {
    let answered = tokio::time::timeout(REQUEST, tunnel.request(method, path)).await.unwrap_or_else(|_| {
        Err(ForwardError::Http {
            pod: tunnel.pod().to_owned(),
            port: WATCHERBOT_PORT,
            cause: format!("no answer within {} s", REQUEST.as_secs()),
        })
    });
    let (status, body) = answered?;
    let answer = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        return Ok(answer);
    }
    Err(CommandError::UnexpectedAnswer {
        pod: tunnel.pod().to_owned(),
        status: status.as_u16(),
        path: path.to_owned(),
        answer,
    })
}

async fn needs_the_stack(cluster: &Cluster) -> Result<(), CommandError> {
    let crd = ObjectRef::new("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "autoscalers.scalekit.dev");
    debug_assert!(Kind::of(&crd).is_some());
    match cluster.get(&crd).await.map_err(|source| unusable(cluster, source))? {
        Some(_) => Ok(()),
        None => Err(CommandError::NotInstalled { what: "the stack".to_owned(), fix: "scalekit up".to_owned() }),
    }
}

fn demo_release(name: &str, namespace: &str) -> Release {
    let inventory = catalog::demo_inventory(name);
    Release {
        applyset: catalog::applyset_id(&inventory, namespace, "ConfigMap", ""),
        inventory,
        namespace: namespace.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn known(name: &str) -> Result<(), CommandError> {
    if catalog::demos().contains(&name) { Ok(()) } else { Err(unknown(name)) }
}

fn unknown(name: &str) -> CommandError {
    CommandError::UnknownDemo {
        name: name.to_owned(),
        known: catalog::demos().iter().map(ToString::to_string).collect(),
    }
}

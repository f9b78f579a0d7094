//! `scalekit down`: survey, decide, delete, prove.

use std::{path::Path, time::Duration};

use kube::{ResourceExt, core::DynamicObject};

use super::{CommandError, image, up::stack_release};
use crate::{
    catalog,
    cluster::Cluster,
    event::{Claim, Event, Fate, Reporter, Step},
    health::{self, Finding},
    images::Removed,
    install::{InstallError, Installer, Left, Release, Survey},
    object::ObjectRef,
    plan::{self, Data, KEPT, Scaled, Teardown, teardown},
    platform::detect,
    preflight,
};

/// A removal that is decided and not begun: what a user is asked about.
#[derive(Clone, Debug)]
pub struct PlannedRemoval {
    /// What goes and what stays.
    pub teardown: Teardown,
    /// Every claim with its size, class and reclaim policy.
    pub claims: Vec<Claim>,
    /// Whether anything of ours is there at all, other than data that was kept before.
    pub anything: bool,
    /// Workloads that stay, at the count that their Autoscaler gave them.
    pub scaled: Vec<Scaled>,
    /// What keeps every namespace of the cluster from being deleted, with the way out.
    pub blocked: Vec<Finding>,
    data: Data,
    /// What the inventories list.
    recorded: Vec<(ObjectRef, Option<String>)>,
    /// The stack, whose lock is taken; `None` when neither its namespace nor its inventory is there any more.
    release: Option<Release>,
    /// Whether an image was sent to the nodes, which is not needed any more.
    side_loaded: bool,
}

/// Proof that somebody agreed to a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// By `--yes`, or on the terminal.
    Given,
}

/// How a removal is carried out.
#[derive(Clone, Copy, Debug)]
pub struct RemovalOptions<'a> {
    /// Socket of the containerd on this host that has our image.
    pub containerd_socket: Option<&'a Path>,
    /// Longest time for all of it.
    pub timeout: Duration,
    /// Whether finalizers of others are taken off our objects.
    pub force_finalizers: bool,
    /// Whether workloads that were scaled go back to their lower bound.
    pub reset_replicas: bool,
}

/// What `down` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downed {
    /// Whether anything was there.
    pub anything: bool,
    /// What was kept as data.
    pub kept: Vec<ObjectRef>,
    /// Images of ours that are gone from the nodes.
    pub images: usize,
    /// Images of ours that may still be on a node, and why: no object of the cluster, but worth a word.
    pub images_left: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Looks at everything of ours and decides what a removal would do. Writes nothing. `namespace` is where the stack has to be,
/// if that was said.
///
/// # Errors
///
/// When the cluster cannot be read; [`CommandError::Elsewhere`].
pub async fn plan_removal(
    cluster: &Cluster,
    namespace: Option<&str>,
    data: Data,
    reporter: &dyn Reporter,
) -> Result<PlannedRemoval, CommandError> {
    let installer = Installer::new(cluster, reporter, Duration::from_secs(30));
    let planned = look_and_decide(&installer, cluster, data).await?;
    let installed = planned.release.as_ref().map(|release| release.namespace.as_str());
    match namespace {
        Some(asked) if planned.anything && installed != Some(asked) => {
            let fix = match installed {
                Some(installed) => format!("`scalekit down -n {installed}`, or without -n"),
                None => "`scalekit down` without -n shows all of scalekit's that is there, and asks".to_owned(),
            };
            Err(CommandError::Elsewhere { asked: asked.to_owned(), installed: installed.map(str::to_owned), fix })
        }
        _ => Ok(planned),
    }
}

async fn look_and_decide(
    installer: &Installer<'_>,
    cluster: &Cluster,
    data: Data,
) -> Result<PlannedRemoval, InstallError> {
    let (survey, blocked) = futures::join!(installer.survey(), blocking(cluster));
    Ok(decide(&survey?, data, blocked))
}

/// What keeps every namespace from going: aggregated APIs that do not answer. Who may not look at them sees none.
pub(super) async fn blocking(cluster: &Cluster) -> Vec<Finding> {
    preflight::api_services(cluster).await.map(|services| health::unavailable(&services)).unwrap_or_default()
}

fn decide(survey: &Survey, data: Data, blocked: Vec<Finding>) -> PlannedRemoval {
    let theirs: Vec<ObjectRef> = survey.foreign_autoscalers.iter().map(ObjectRef::of).collect();
    let decided = teardown(&survey.ours, &survey.foreign, &theirs, data);
    let is_autoscaler = |object: &&DynamicObject| ObjectRef::of(object).kind == "Autoscaler";
    let autoscalers: Vec<DynamicObject> =
        survey.ours.iter().filter(is_autoscaler).chain(&survey.foreign_autoscalers).cloned().collect();
    let scaled = plan::scaled(&autoscalers, &decided);
    let claims = survey
        .ours
        .iter()
        .filter(|object| object.types.as_ref().is_some_and(|types| types.kind == "PersistentVolumeClaim"))
        .map(|object| {
            let reference = ObjectRef::of(object);
            let text =
                |path: &str| object.data.pointer(path).and_then(serde_json::Value::as_str).unwrap_or("-").to_owned();
            let volume = survey.volumes.iter().find(|volume| {
                let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
                claim.is_some_and(|claim| claim.uid.as_deref() == object.metadata.uid.as_deref())
            });
            Claim {
                size: text("/spec/resources/requests/storage"),
                class: text("/spec/storageClassName"),
                policy: volume
                    .and_then(|volume| volume.spec.as_ref()?.persistent_volume_reclaim_policy.clone())
                    .unwrap_or_else(|| "-".to_owned()),
                fate: if decided.delete.iter().any(|target| target.object == reference) {
                    Fate::Deleted
                } else {
                    Fate::Kept
                },
                object: reference,
            }
        })
        .collect();
    let anything = survey.ours.iter().any(|object| data == Data::Purge || !object.labels().contains_key(KEPT.0));
    let deletes_namespace = decided.delete.iter().any(|target| target.object.kind == "Namespace");
    PlannedRemoval {
        teardown: decided,
        claims,
        anything,
        scaled,
        // Where no namespace goes, nothing is in the way.
        blocked: if deletes_namespace { blocked } else { Vec::new() },
        data,
        recorded: survey.recorded.clone(),
        release: survey.ours.iter().find_map(stack_of),
        side_loaded: survey.ours.iter().any(image::runs_side_loaded),
    }
}

/// The same error, with what to do about the namespaces that wait for an API that does not answer.
pub(super) fn named(error: InstallError, blocked: &[Finding]) -> InstallError {
    let InstallError::NotGone { mut waiting } = error else { return error };
    let fixes: Vec<&str> = blocked.iter().filter_map(|finding| finding.hint.as_deref()).collect();
    if !fixes.is_empty() {
        for failure in waiting.iter_mut().filter(|failure| failure.object.kind == "Namespace") {
            failure.hint = Some(fixes.join("; "));
        }
    }
    InstallError::NotGone { waiting }
}

/// The stack, by its namespace or by its inventory: a removal that died may have taken either already, and its lock
/// lies there as long as the namespace does.
fn stack_of(object: &DynamicObject) -> Option<Release> {
    let reference = ObjectRef::of(object);
    let namespace = match reference.kind.as_str() {
        "Namespace" => reference.name,
        "ConfigMap" if reference.name == catalog::INVENTORY => {
            return reference.namespace.as_deref().map(stack_release);
        }
        _ => return None,
    };
    let release = stack_release(&namespace);
    (object.labels().get(catalog::APPLYSET_PART_OF) == Some(&release.applyset)).then_some(release)
}

/// Carries a planned removal out, waits until everything is gone, and looks for what is left. Where nothing is there to be
/// removed, that is proved all the same: an earlier removal may have left what no label tells of.
///
/// # Errors
///
/// [`CommandError::LeftBehind`] when something of ours is still there that was not kept as data.
pub async fn down(
    planned: &PlannedRemoval,
    Consent::Given: Consent,
    options: RemovalOptions<'_>,
    cluster: &Cluster,
    reporter: &dyn Reporter,
) -> Result<Downed, CommandError> {
    let RemovalOptions { containerd_socket, timeout, force_finalizers, reset_replicas } = options;
    let began = std::time::Instant::now();
    let kept =
        |teardown: &Teardown| teardown.keep.iter().filter(|kept| kept.data).map(|kept| kept.object.clone()).collect();
    let installer = Installer::new(cluster, reporter, timeout).force_finalizers(force_finalizers);
    if !planned.anything {
        let left = installer.left_before(&planned.teardown).await?;
        let kept = kept(&planned.teardown);
        // What a removal that was cut short has left may be on the nodes only.
        let removed = ended(left, cluster, containerd_socket, false, reporter).await?;
        let (images, images_left) = (removed.count, removed.left);
        return Ok(Downed { anything: false, kept, images, images_left, took: began.elapsed() });
    }
    reporter.report(Event::StepStarted { step: Step::Delete, total: Some(planned.teardown.delete.len()) });
    let lock = match &planned.release {
        Some(release) => installer.lock_for_removal(release).await?,
        None => None,
    };
    let work = async {
        // Between the question and the answer somebody may have put something into our namespaces.
        let planned = look_and_decide(&installer, cluster, planned.data).await?;
        for finding in &planned.blocked {
            reporter.report(Event::Finding(finding.clone()));
        }
        for Scaled { target, replicas, .. } in planned.scaled.iter().filter(|_| !reset_replicas) {
            reporter.report(Event::Note { message: format!("{target} stays at {replicas} replicas") });
        }
        installer.tear_down(&planned.teardown, if reset_replicas { &planned.scaled } else { &[] }).await?;
        Ok(planned)
    };
    let deleted = match lock {
        Some(lock) => lock.hold(work).await,
        None => work.await,
    };
    let planned = match deleted {
        Ok(planned) => planned,
        Err(error) => return Err(named(error, &blocking(cluster).await).into()),
    };
    let summary = match planned.data {
        Data::Keep => "everything but the data is deleted",
        Data::Purge => "everything is deleted, the data too",
    };
    reporter.report(Event::StepFinished { step: Step::Delete, took: began.elapsed(), summary: summary.to_owned() });
    let proof = std::time::Instant::now();
    reporter.report(Event::StepStarted { step: Step::Proof, total: None });
    let left = installer.left(&planned.teardown, &planned.recorded).await?;
    if left.is_empty() {
        let but = if planned.teardown.keep.iter().any(|kept| kept.data) { " but the data that was kept" } else { "" };
        let summary = format!(
            "nothing is left with scalekit's label or fields, of its inventory, in its namespaces, or of its volumes{but}"
        );
        reporter.report(Event::StepFinished { step: Step::Proof, took: proof.elapsed(), summary });
    }
    let removed = ended(left, cluster, containerd_socket, planned.side_loaded, reporter).await?;
    Ok(Downed {
        anything: true,
        kept: kept(&planned.teardown),
        images: removed.count,
        images_left: removed.left,
        took: began.elapsed(),
    })
}

/// The end of a removal: the images go, unless what is left may run one, and what is left is the error.
async fn ended(
    left: Vec<Left>,
    cluster: &Cluster,
    containerd_socket: Option<&Path>,
    ran: bool,
    reporter: &dyn Reporter,
) -> Result<Removed, CommandError> {
    if left.iter().any(|left| left.object.group == "apps" || left.object.kind == "Pod") {
        return Err(CommandError::LeftBehind { left });
    }
    let removed = take_off_the_nodes(cluster, containerd_socket, ran, reporter).await;
    if left.is_empty() {
        return Ok(removed);
    }
    // The next run may end here too, by what somebody else has to take away: the images do not wait for that.
    tracing::debug!("{} images are gone, left: {:?}", removed.count, removed.left);
    Err(CommandError::LeftBehind { left })
}

/// Takes our images off the nodes, where our workloads ran one of them, or a node says that it has one: a removal that was
/// cut short leaves it, pinned, with nothing in the cluster that knows of it.
async fn take_off_the_nodes(
    cluster: &Cluster,
    containerd_socket: Option<&Path>,
    ran: bool,
    reporter: &dyn Reporter,
) -> Removed {
    let facts = match preflight::facts(cluster).await {
        Ok(facts) => facts,
        Err(error) if ran => return Removed { count: 0, left: vec![error.to_string()] },
        Err(_) => return Removed::default(),
    };
    let known = ran || image::is_on_a_node(&facts.nodes);
    if !known && !image::lists_are_cut(&facts.nodes) {
        return Removed::default();
    }
    let platform = detect(&facts.nodes, &facts.classes);
    let step = std::time::Instant::now();
    if known {
        reporter.report(Event::StepStarted { step: Step::Unload, total: None });
    }
    let removed = image::remove(&facts.nodes, &platform, containerd_socket, None).await;
    if known {
        let summary = match removed.count {
            1 => "1 image taken off the nodes".to_owned(),
            count => format!("{count} images taken off the nodes"),
        };
        reporter.report(Event::StepFinished { step: Step::Unload, took: step.elapsed(), summary });
    }
    // Where nothing says that there is one, a node that cannot be reached is no news.
    if known { removed } else { Removed { left: Vec::new(), ..removed } }
}

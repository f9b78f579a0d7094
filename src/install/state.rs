//! Reading what is there, before a decision; keeping the inventory.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, PersistentVolume};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;

use super::{InstallError, Installer, Release, lock::LOCK, retry::passes};
use crate::{
    catalog::{APPLYSET_ID, APPLYSET_PART_OF, FIELD_MANAGER, MANAGED_BY, NAME, PART_OF, SCALEKIT},
    cluster::{self, CONCURRENCY, INSTALLED, Kind, LEASE},
    object::{ByName, ObjectRef},
    plan::{self, Inventory},
};

/// What a release has in the cluster.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Its objects, and any other that has the name of a desired one.
    pub live: Vec<DynamicObject>,
    /// Its inventory; empty when there is none.
    pub inventory: Inventory,
    /// The version of scalekit that wrote the inventory last.
    pub version: Option<String>,
    /// The inventory's resource version; `None` when there is none.
    pub recorded: Option<String>,
}

/// What carries the label of a release, and its inventory: the first half of its [`State`].
pub struct Labelled {
    live: Vec<DynamicObject>,
    recorded: Recorded,
    /// Which of the rare kinds were asked for.
    rare: Vec<&'static str>,
}

/// An inventory as it is stored.
#[derive(Default)]
struct Recorded {
    inventory: Inventory,
    /// The version of scalekit that wrote it.
    by: Option<String>,
    resource_version: Option<String>,
}

/// What is there of ours in the whole cluster, and what of others stands in its way.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Every object with our label.
    pub ours: Vec<DynamicObject>,
    /// Objects of others in our namespaces.
    pub foreign: Vec<ObjectRef>,
    /// Autoscalers of others, anywhere.
    pub foreign_autoscalers: Vec<DynamicObject>,
    /// Volumes that were made for claims in our namespaces.
    pub volumes: Vec<PersistentVolume>,
    /// What the inventories of our installations list, with the UID of each where it is known.
    pub recorded: Vec<(ObjectRef, Option<String>)>,
}

/// The annotation by which ApplySets say what wrote them: `scalekit/0.1.0`.
const TOOLING: &str = "applyset.kubernetes.io/tooling";

const DATA_KEY: &str = "inventory.json";
const AUTOSCALER: &str = "Autoscaler";
const CONFIG_MAP: &str = "ConfigMap";

impl Installer<'_> {
    /// Reads the objects and the inventory of a release: one LIST per kind, and a GET for each desired object
    /// that carries no label of ours, so that somebody else's is seen before it is taken.
    ///
    /// # Errors
    ///
    /// [`InstallError::Read`], [`InstallError::Inventory`].
    pub async fn read(&self, release: &Release, desired: &[DynamicObject]) -> Result<State, InstallError> {
        let wanted = |kind: &str| desired.iter().any(|object| ObjectRef::of(object).kind == kind);
        // Who wants nothing asks for whatever scales.
        let asked =
            |kind: &&Kind| kind.is_rare() && (wanted(kind.kind) || (desired.is_empty() && kind.kind == AUTOSCALER));
        let rare = INSTALLED.iter().filter(asked).map(|kind| kind.kind).collect();
        let labelled = self.labelled(release, rare).await?;
        self.complete(release, desired, labelled).await
    }

    /// The same for who holds the lock already: what fails because of something that passes is read again until the
    /// deadline.
    ///
    /// # Errors
    ///
    /// As [`Installer::read`].
    pub(super) async fn read_again(&self, release: &Release, desired: &[DynamicObject]) -> Result<State, InstallError> {
        let read = || async {
            match self.read(release, desired).await {
                Err(InstallError::Read(error) | InstallError::Inventory { source: error, .. }) if passes(&error) => {
                    Err(error)
                }
                read => Ok(read),
            }
        };
        self.looking(read).await?
    }

    /// Reads what carries the label of a release, and its inventory: what can be asked for before it is known what is to be
    /// installed. Of the rare kinds only those that are named.
    ///
    /// # Errors
    ///
    /// As [`Installer::read`].
    pub async fn labelled(&self, release: &Release, rare: Vec<&'static str>) -> Result<Labelled, InstallError> {
        let (config_maps, kinds): (Vec<Kind>, Vec<Kind>) = INSTALLED
            .into_iter()
            .filter(|kind| !kind.is_rare() || rare.contains(&kind.kind))
            .partition(|kind| kind.kind == CONFIG_MAP);
        // The inventory is no member of the release that it lists. This label it shares with the rest.
        let (members, ours) = (release.selector(), format!("{MANAGED_BY}={SCALEKIT}"));
        let (live, config_maps) =
            futures::try_join!(self.cluster.list(&kinds, &members), self.cluster.list(&config_maps, &ours))
                .map_err(InstallError::Read)?;
        let inventory = release.inventory_object();
        let recorded = match config_maps.iter().find(|found| ObjectRef::of(found).same_object(&inventory)) {
            Some(found) => release.recorded(found)?,
            // Somebody may have taken its label.
            None => match self.cluster.get(&inventory).await {
                Ok(found) => found.as_ref().map(|found| release.recorded(found)).transpose()?.unwrap_or_default(),
                Err(source) => return Err(InstallError::Inventory { object: inventory, source }),
            },
        };
        let is_member = |object: &DynamicObject| {
            object.metadata.labels.as_ref().and_then(|labels| labels.get(APPLYSET_PART_OF)) == Some(&release.applyset)
        };
        let live = live.into_iter().chain(config_maps.into_iter().filter(is_member)).collect();
        Ok(Labelled { live, recorded, rare })
    }

    /// Reads what is there beside it: what was installed of other kinds, and what has the name of a desired object.
    ///
    /// # Errors
    ///
    /// As [`Installer::read`].
    pub async fn complete(
        &self,
        release: &Release,
        desired: &[DynamicObject],
        labelled: Labelled,
    ) -> Result<State, InstallError> {
        let Labelled { mut live, recorded, rare } = labelled;
        let Recorded { inventory, by: version, resource_version: recorded } = recorded;
        let installed = |kind: &Kind| inventory.entries().any(|entry| entry.object.kind == kind.kind);
        for kind in INSTALLED.iter().filter(|kind| kind.is_rare() && !rare.contains(&kind.kind) && installed(kind)) {
            let more = self.cluster.list_kind(kind, None, &release.selector()).await.map_err(InstallError::Read)?;
            live.extend(more);
        }
        // Whose label somebody has taken is still what was installed.
        let there = ByName::of(&live);
        let unlabelled = inventory.entries().map(|entry| &entry.object);
        let unlabelled = unlabelled.filter(|object| object.kind == CONFIG_MAP && there.get(object).is_none());
        let unlabelled = unlabelled.cloned().collect();
        live.extend(self.get_all(unlabelled).await.map_err(InstallError::Read)?);
        let present: BTreeSet<ObjectRef> = live.iter().map(ObjectRef::of).collect();
        // What is to lie in a namespace that is not there need not be asked for.
        let (inside, first): (Vec<ObjectRef>, Vec<ObjectRef>) = desired
            .iter()
            .map(ObjectRef::of)
            .filter(|object| !present.contains(object))
            .partition(|object| object.namespace.is_some());
        live.extend(self.get_all(first).await.map_err(InstallError::Read)?);
        let absent: BTreeSet<String> = desired
            .iter()
            .map(ObjectRef::of)
            .filter(|object| object.kind == "Namespace" && !live.iter().any(|it| ObjectRef::of(it).same_object(object)))
            .map(|object| object.name)
            .collect();
        let inside =
            inside.into_iter().filter(|object| object.namespace.as_ref().is_none_or(|it| !absent.contains(it)));
        live.extend(self.get_all(inside.collect()).await.map_err(InstallError::Read)?);
        self.with_content(desired, &mut live, &inventory).await?;
        Ok(State { live, inventory, version, recorded })
    }

    /// Reads the content of those Secrets that may be about to change, so that it can be said which keys do, and put back as
    /// it was. Who may not read it is told less.
    async fn with_content(
        &self,
        desired: &[DynamicObject],
        live: &mut [DynamicObject],
        inventory: &Inventory,
    ) -> Result<(), InstallError> {
        let secrets = desired.iter().map(|wanted| (wanted, ObjectRef::of(wanted)));
        for (wanted, object) in secrets.filter(|(_, object)| object.kind == "Secret") {
            let found = live.iter_mut().find(|found| ObjectRef::of(found).same_object(&object));
            let may_change = |found: &&mut DynamicObject| !plan::is_created_once(found) && !inventory.knows(wanted);
            let Some(found) = found.filter(may_change) else { continue };
            match self.cluster.get(&object).await {
                Ok(Some(whole)) => *found = whole,
                Ok(None) | Err(cluster::Error::Forbidden { .. }) => {}
                Err(error) => return Err(InstallError::Read(error)),
            }
        }
        Ok(())
    }

    /// Those of the objects that are there.
    pub(super) async fn get_all(&self, objects: Vec<ObjectRef>) -> Result<Vec<DynamicObject>, cluster::Error> {
        let found: Vec<Option<DynamicObject>> = stream::iter(objects)
            .map(|object| async move { self.cluster.get(&object).await })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Whether no run has written since this was read: each notes what it is going to write before it does.
    ///
    /// # Errors
    ///
    /// [`InstallError::Inventory`].
    pub(super) async fn is_current(&self, release: &Release, state: &State) -> Result<bool, InstallError> {
        let recorded = self.recorded(release).await?;
        // Without an inventory a removal leaves no trace.
        let traceable = state.recorded.is_some() || state.live.is_empty();
        Ok(traceable && recorded == state.recorded)
    }

    /// The resource version of a release's inventory; `None` when there is none.
    pub(super) async fn recorded(&self, release: &Release) -> Result<Option<String>, InstallError> {
        let object = release.inventory_object();
        let found = self
            .retrying(&object, || async { Ok(self.inventories(release).get_metadata_opt(&release.inventory).await?) })
            .await
            .map_err(|source| InstallError::Inventory { object: object.clone(), source })?;
        Ok(found.and_then(|inventory| inventory.metadata.resource_version))
    }

    /// Writes the inventory of a release. Gives its resource version.
    ///
    /// # Errors
    ///
    /// [`InstallError::Inventory`].
    pub async fn write_inventory(
        &self,
        release: &Release,
        inventory: &Inventory,
    ) -> Result<Option<String>, InstallError> {
        let failed = |source| InstallError::Inventory { object: release.inventory_object(), source };
        let text =
            inventory.to_json().map_err(|error| failed(cluster::Error::Unreadable { cause: error.to_string() }))?;
        let kinds: BTreeSet<String> = inventory
            .entries()
            .map(|entry| match entry.object.group.as_str() {
                "" => entry.object.kind.clone(),
                group => format!("{}.{group}", entry.object.kind),
            })
            .collect();
        let elsewhere: BTreeSet<&str> = inventory
            .entries()
            .filter_map(|entry| entry.object.namespace.as_deref())
            .filter(|namespace| *namespace != release.namespace)
            .collect();
        let stored = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": release.inventory,
                "namespace": release.namespace,
                "labels": {
                    NAME: "inventory",
                    PART_OF: SCALEKIT,
                    MANAGED_BY: SCALEKIT,
                    APPLYSET_ID: release.applyset,
                },
                "annotations": {
                    (TOOLING): format!("scalekit/{}", release.version),
                    "applyset.kubernetes.io/contains-group-kinds": kinds.into_iter().collect::<Vec<_>>().join(","),
                    "applyset.kubernetes.io/additional-namespaces": elsewhere.into_iter().collect::<Vec<_>>().join(","),
                },
            },
            "data": {DATA_KEY: text},
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.retrying_overtaken(&release.inventory_object(), || async {
            self.inventories(release)
                .patch(&release.inventory, &params, &Patch::Apply(&stored))
                .await
                .map(|written| written.metadata.resource_version)
                .map_err(cluster::Error::from)
        })
        .await
        .map_err(failed)
    }

    fn inventories(&self, release: &Release) -> Api<ConfigMap> {
        Api::namespaced(self.cluster.client().clone(), &release.namespace)
    }

    /// Reads everything of ours, whatever release it belongs to, and what of others is mixed with it.
    ///
    /// # Errors
    ///
    /// [`InstallError::Read`].
    pub async fn survey(&self) -> Result<Survey, InstallError> {
        let selector = format!("{MANAGED_BY}={SCALEKIT}");
        let (installed, leases) = futures::try_join!(
            self.looking(|| self.cluster.list(&INSTALLED, &selector)),
            self.looking(|| self.cluster.list_kind(&LEASE, None, &selector))
        )?;
        // The lock of this very run is no object of the installation.
        let leases = leases.into_iter().filter(|lease| lease.metadata.name.as_deref() != Some(LOCK));
        let ours: Vec<DynamicObject> = installed.into_iter().chain(leases).collect();
        let namespaces: Vec<String> = ours
            .iter()
            .filter(|object| object.types.as_ref().is_some_and(|types| types.kind == "Namespace"))
            .filter_map(|object| object.metadata.name.clone())
            .collect();
        let others = format!("{MANAGED_BY}!={SCALEKIT}");
        let inside = if namespaces.is_empty() {
            Vec::new()
        } else {
            self.looking(|| self.cluster.list_everything(&namespaces, &others)).await?
        };
        let foreign = somebodys(&inside, &ours);
        let mut foreign_autoscalers = Vec::new();
        if let Some(kind) = Kind::named("scalekit.dev", AUTOSCALER) {
            foreign_autoscalers.extend(self.looking(|| self.cluster.list_kind(kind, None, &others)).await?);
        }
        let in_ours = |claim: &ObjectReference| claim.namespace.as_ref().is_some_and(|it| namespaces.contains(it));
        let volumes = self.volumes_of(in_ours).await?;
        let recorded = ours.iter().filter_map(recorded).flatten().collect();
        Ok(Survey { ours, foreign, foreign_autoscalers, volumes, recorded })
    }
}

/// What an object lists, if it is an inventory that can be read.
fn recorded(object: &DynamicObject) -> Option<Vec<(ObjectRef, Option<String>)>> {
    object.metadata.labels.as_ref()?.get(APPLYSET_ID)?;
    let inventory = Inventory::from_json(listed(object)?).ok()?;
    Some(inventory.entries().map(|entry| (entry.object.clone(), entry.uid.clone())).collect())
}

/// The text of an inventory.
fn listed(object: &DynamicObject) -> Option<&str> {
    object.data.get("data")?.get(DATA_KEY)?.as_str()
}

impl Release {
    /// What its inventory says.
    fn recorded(&self, stored: &DynamicObject) -> Result<Recorded, InstallError> {
        let tooling = stored.metadata.annotations.as_ref().and_then(|all| all.get(TOOLING));
        let by = tooling.and_then(|tooling| Some(tooling.strip_prefix("scalekit/")?.to_owned()));
        let inventory = listed(stored).map(Inventory::from_json).transpose().map_err(|error| {
            let source = cluster::Error::Unreadable { cause: error.to_string() };
            InstallError::Inventory { object: self.inventory_object(), source }
        })?;
        let resource_version = stored.metadata.resource_version.clone();
        Ok(Recorded { inventory: inventory.unwrap_or_default(), by, resource_version })
    }

    /// By what its objects are found.
    fn selector(&self) -> String {
        format!("{APPLYSET_PART_OF}={}", self.applyset)
    }

    /// The ConfigMap that holds the inventory.
    pub fn inventory_object(&self) -> ObjectRef {
        ObjectRef::new("v1", "ConfigMap", Some(&self.namespace), &self.inventory)
    }
}

/// What Kubernetes' own controllers make objects for. One of these that is gone takes what it owns with it, a little later.
const CONTROLLERS: [&str; 7] =
    ["CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"];

/// Which of the objects without our label somebody has put there.
pub(super) fn somebodys(inside: &[DynamicObject], ours: &[DynamicObject]) -> Vec<ObjectRef> {
    let counted: BTreeSet<&str> =
        ours.iter().chain(inside).filter_map(|object| object.metadata.uid.as_deref()).collect();
    inside.iter().filter(|object| is_somebodys(object, &counted)).map(ObjectRef::of).collect()
}

/// Whether an object without our label was put there by somebody: not what Kubernetes makes in every
/// namespace, and not what a controller made for an object that is counted itself, by its UID. What belongs to an object
/// elsewhere, a cluster-scoped one say, would go with the namespace while its owner lives: it is somebody's.
fn is_somebodys(object: &DynamicObject, counted: &BTreeSet<&str>) -> bool {
    let reference = ObjectRef::of(object);
    let made_by_kubernetes = matches!(
        (reference.kind.as_str(), reference.name.as_str()),
        ("ConfigMap", "kube-root-ca.crt" | "openshift-service-ca.crt") | ("ServiceAccount", "default")
    );
    let made_for_another = object.metadata.owner_references.iter().flatten().any(|owner| {
        counted.contains(owner.uid.as_str()) || CONTROLLERS.contains(&owner.kind.as_str()) || owner.kind == "Service"
    });
    !made_by_kubernetes && !made_for_another
}

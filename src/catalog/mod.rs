//! The objects of the stack and of the sample workloads, for these settings on this platform.
//!
//! They are read from `assets/`, plain manifests as a user would write them, and changed field by
//! field. The same input gives the same objects in the same order. Nothing here knows what is in the
//! cluster: comparing and writing is for others.

mod alertmanager;
mod api_server;
mod assets;
mod component;
mod control_plane;
mod demo;
mod edit;
mod external;
mod grafana;
mod labels;
mod objects;
mod one_process;
mod profile;
mod prometheus;
mod readers;
pub mod retention;
mod secret_text;
mod volumes;

use std::collections::BTreeMap;

use kube::core::{DynamicObject, Resource};

pub use alertmanager::{Alerting, RECEIVERS_SECRET, TEST_ALERT};
pub use component::{Component, UnknownComponent};
pub use demo::{DemoOptions, demo, demo_inventory, demos};
pub use external::{ExternalPrometheus, prometheus_of_scaler};
pub use grafana::{ADMIN_SECRET, PASSWORD_KEY};
pub use labels::{
    APPLYSET_ID, APPLYSET_PART_OF, AUTOSCALER_FIELD_MANAGER, COMPONENT, CONFIG_HASH, CREATE_ONCE, FIELD_MANAGER,
    MANAGED_BY, NAME, PART_OF, SCALEKIT, VERSION, applyset_id,
};
pub use objects::ContentDigest;
pub use profile::{Profile, Resources, UnknownProfile};
pub use prometheus::{
    SCRAPES_SECRET, alert_rule, content_mark, expected_jobs, is_of_the_kubelet, is_optional, is_scraped_alike, jobs,
    optional_jobs, scrape_file, scraped_as, unscraped,
};
pub use readers::alerts_reading;
pub use secret_text::SecretText;
pub use volumes::{DATA_CLAIMS, OtherSize, fit_volumes};

use self::{edit::Namespaces, labels::Labels};
use crate::{
    additions::Additions,
    platform::{Platform, StorageChoice},
};

/// Name of the ConfigMap, in the stack's namespace, that lists what was installed.
pub const INVENTORY: &str = "scalekit-inventory";
/// The namespace of the stack where no other is asked for.
pub const DEFAULT_NAMESPACE: &str = "monitoring";

/// How long Prometheus keeps samples: whichever limit is reached first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// By age, in Prometheus' notation: `7d`.
    pub time: String,
    /// By size on disk, in Prometheus' notation: `4GB`. Must leave room on the volume for the
    /// write-ahead log.
    pub size: String,
}

impl Default for Retention {
    fn default() -> Self {
        Profile::default().retention()
    }
}

/// The volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// StorageClass; `None` takes the platform's.
    pub class: Option<String>,
    /// Size of Prometheus' volume, a quantity in canonical form (`5Gi`, not `5120Mi`).
    pub prometheus: String,
    /// Size of Grafana's volume, likewise.
    pub grafana: String,
}

impl Default for Storage {
    fn default() -> Self {
        Profile::default().storage()
    }
}

/// What can be chosen about the stack.
#[derive(Clone)]
pub struct Options {
    /// Namespace of everything but node-exporter, which gets `<namespace>-nodes`.
    pub namespace: String,
    /// Requests and limits of every container.
    pub profile: Profile,
    /// Images by component, as they are; the others have their default.
    pub images: BTreeMap<Component, String>,
    /// Registry, with a path if need be, that takes the place of the default images' own.
    pub registry: Option<String>,
    /// Pull policy of our own image: `Never` where it was sent to the nodes, else `IfNotPresent`.
    pub scaler_pull_policy: String,
    /// A Prometheus that is there already: then nothing but the scaler is installed.
    pub external: Option<ExternalPrometheus>,
    /// Seconds between two scrapes of a target, and between two evaluations of the rules; at least 1.
    pub scrape_interval_seconds: u32,
    /// How long samples are kept.
    pub retention: Retention,
    /// The volumes.
    pub storage: Storage,
    /// Address of the page of runbooks; without it the alerts name it as it lies in scalekit's repository.
    pub runbooks: Option<String>,
    /// Metrics that no job of ours keeps, by name.
    pub drop_metrics: Vec<String>,
    /// Rules and scrape configurations of the user's own.
    pub additions: Additions,
    /// Who is told of alerts; without it there is no Alertmanager.
    pub alerting: Option<Alerting>,
    /// Largest share of the Autoscalers of one source that may begin to want fewer replicas at once, more than 0 and 1 at
    /// most; `None` leaves it to the scaler, which may have it from its environment.
    pub most_down_share: Option<f64>,
    /// Most replicas by which one decision changes a count, 0 for no limit; `None` likewise.
    pub largest_step: Option<i32>,
    /// Password of Grafana's `admin`. Stands nowhere but in the data of [`ADMIN_SECRET`].
    pub grafana_password: String,
    /// Version of scalekit, for the label.
    pub version: String,
}

/// Without the password.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("namespace", &self.namespace)
            .field("profile", &self.profile)
            .field("images", &self.images)
            .field("registry", &self.registry)
            .field("scaler_pull_policy", &self.scaler_pull_policy)
            .field("external", &self.external)
            .field("scrape_interval_seconds", &self.scrape_interval_seconds)
            .field("retention", &self.retention)
            .field("storage", &self.storage)
            .field("runbooks", &self.runbooks)
            .field("drop_metrics", &self.drop_metrics)
            .field("additions", &self.additions)
            .field("alerting", &self.alerting)
            .field("most_down_share", &self.most_down_share)
            .field("largest_step", &self.largest_step)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults of everything that has one.
    pub fn new(grafana_password: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            namespace: DEFAULT_NAMESPACE.to_owned(),
            profile: Profile::default(),
            images: BTreeMap::new(),
            registry: None,
            scaler_pull_policy: "Never".to_owned(),
            external: None,
            scrape_interval_seconds: Profile::default().scrape_interval_seconds(),
            retention: Retention::default(),
            storage: Storage::default(),
            runbooks: prometheus::repository_runbooks(),
            drop_metrics: Vec::new(),
            additions: Additions::default(),
            alerting: None,
            most_down_share: None,
            largest_step: None,
            grafana_password: grafana_password.into(),
            version: version.into(),
        }
    }

    /// The same in another size: everything that a profile sets, as it sets it.
    #[must_use]
    pub fn sized(self, profile: Profile) -> Self {
        Self {
            profile,
            scrape_interval_seconds: profile.scrape_interval_seconds(),
            retention: profile.retention(),
            storage: profile.storage(),
            ..self
        }
    }

    /// The components that this stack has.
    pub fn components(&self) -> impl Iterator<Item = Component> {
        let (alone, alerting) = (self.external.is_some(), self.alerting.is_some());
        Component::ALL.into_iter().filter(move |component| match component {
            Component::Scaler => true,
            Component::Alertmanager => alerting && !alone,
            _ => !alone,
        })
    }

    /// The image of a component: the one asked for, else the default one, from the registry asked for.
    pub fn image(&self, component: Component) -> String {
        if let Some(image) = self.images.get(&component) {
            return image.clone();
        }
        let image = component.default_image();
        self.registry.as_ref().map_or_else(|| image.to_owned(), |registry| in_registry(registry, image))
    }
}

/// The name of an image in another registry: that takes the place of the host.
pub fn in_registry(registry: &str, image: &str) -> String {
    let path = image.split_once('/').map_or(image, |(_, path)| path);
    format!("{}/{path}", registry.trim_end_matches('/'))
}

/// Namespace of node-exporter, the one part that the strictest Pod Security level does not allow.
pub fn nodes_namespace(namespace: &str) -> String {
    format!("{namespace}-nodes")
}

/// Where Prometheus answers inside the cluster.
pub fn prometheus_url(namespace: &str) -> String {
    format!("http://prometheus.{namespace}.svc:9090")
}

/// Whether an object carries our label, of whatever installation it is.
pub fn is_ours<K: Resource>(object: &K) -> bool {
    object.meta().labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|value| value == SCALEKIT)
}

/// The component that an object of the stack belongs to, by its labels; `None` for what all of them
/// share, such as the namespaces.
pub fn component_of(object: &DynamicObject) -> Option<Component> {
    object.metadata.labels.as_ref()?.get(NAME)?.parse().ok()
}

/// Reads the manifests that are compiled in, for [`stack`] to find them read: they are most of its work.
pub fn read() {
    assets::read();
}

/// Every object of the stack: definitions first, then component by component.
pub fn stack(options: &Options, platform: &Platform) -> Vec<DynamicObject> {
    let namespaces = Namespaces::new([
        (DEFAULT_NAMESPACE, options.namespace.clone()),
        ("monitoring-nodes", nodes_namespace(&options.namespace)),
    ]);
    let applyset = applyset_id(INVENTORY, &options.namespace, "ConfigMap", "");
    let labels = |name, component| Labels { name, component, version: &options.version, applyset: &applyset };

    let mut objects: Vec<DynamicObject> = assets::manifests("stack");
    if options.external.is_some() {
        objects.retain(external::is_shared);
    }
    for object in &mut objects {
        labels(SCALEKIT, "stack").put_on(object);
    }
    for component in options.components() {
        for mut object in component_objects(component, options, platform, &namespaces) {
            labels(component.name(), component.role()).put_on(&mut object);
            objects.push(object);
        }
    }
    for object in &mut objects {
        namespaces.apply(object);
    }
    objects.sort_by_key(edit::rank);
    objects
}

fn component_objects(
    component: Component,
    options: &Options,
    platform: &Platform,
    namespaces: &Namespaces<'_>,
) -> Vec<DynamicObject> {
    let mut objects = assets::manifests(component.name());
    let image = options.image(component);
    for object in &mut objects {
        edit::set_image(object, &image);
        edit::set_resources(object, options.profile.resources(component));
        if edit::kind(object) == "NetworkPolicy" {
            api_server::let_out(object, platform);
        }
        if edit::kind(object) == "PersistentVolumeClaim" {
            let size = match component {
                Component::Grafana => &options.storage.grafana,
                _ => &options.storage.prometheus,
            };
            edit::set_storage(object, size, storage_class(options, platform));
        }
    }
    match component {
        Component::Prometheus => {
            for object in objects.iter_mut().filter(|object| edit::kind(object) == "NetworkPolicy") {
                control_plane::let_out(object, platform);
            }
            let files = prometheus::files(options, platform, namespaces);
            let texts = files.into_iter().map(|(name, value)| (name, objects::yaml_text(&value)));
            let Additions { rules, scrapes } = &options.additions;
            let rules = rules.iter().map(|file| (prometheus::rule_file(file), file.text.clone()));
            objects.push(objects::config_map(prometheus::CONFIG_MAP, texts.chain(rules)));
            if !scrapes.is_empty() {
                let files = scrapes.iter().map(|file| (prometheus::scrape_file(file), file.text.as_str()));
                objects.push(objects::secret(SCRAPES_SECRET, files));
            }
        }
        Component::Grafana => {
            let [_, limit] = options.profile.resources(component).limits;
            for object in &mut objects {
                grafana::set_memory_limit(object, limit);
            }
            let mounted = grafana::mounted(options, namespaces);
            for object in &mut objects {
                grafana::set_config_hash(object, &mounted);
            }
            objects.extend(mounted);
        }
        Component::Alertmanager => {
            if let Some(alerting) = &options.alerting {
                let mounted = alertmanager::mounted(alerting);
                for object in &mut objects {
                    alertmanager::adapt(object, alerting, &mounted);
                }
                objects.extend(mounted);
            }
        }
        Component::Scaler => {
            for object in &mut objects {
                edit::set_pull_policy(object, &options.scaler_pull_policy);
                match &options.external {
                    Some(external) => external::adapt(object, external),
                    None => edit::set_argument(object, "--prometheus-url", &prometheus_url(&options.namespace)),
                }
                if let Some(share) = options.most_down_share {
                    edit::add_argument(object, &format!("--most-down-share={share}"));
                }
                if let Some(step) = options.largest_step {
                    edit::add_argument(object, &format!("--largest-step={step}"));
                }
            }
        }
        Component::NodeExporter | Component::KubeStateMetrics => {}
    }
    objects
}

fn storage_class<'a>(options: &'a Options, platform: &'a Platform) -> Option<&'a str> {
    match (&options.storage.class, &platform.storage) {
        (Some(class), _) | (None, StorageChoice::Class(class)) => Some(class),
        (None, StorageChoice::None | StorageChoice::SeveralDefaults(_)) => None,
    }
}

#[cfg(test)]
pub(crate) fn test_options() -> Options {
    Options::new("secret", "0.1.0")
}

#[cfg(test)]
mod tests;

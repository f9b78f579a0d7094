//! Grafana's provisioning, dashboards and password.

use kube::core::DynamicObject;
use serde_json::json;

use super::{
    Options, assets,
    edit::{self, Namespaces},
    labels,
    objects::{self, ContentDigest},
};

/// The Secret that holds the password of `admin`, under the key [`PASSWORD_KEY`].
pub const ADMIN_SECRET: &str = "grafana-admin";
/// The key of the password in [`ADMIN_SECRET`].
pub const PASSWORD_KEY: &str = "password";

/// Each ConfigMap, and the Secret, that the pod mounts.
pub(super) fn mounted(options: &Options, namespaces: &Namespaces<'_>) -> Vec<DynamicObject> {
    let mut datasources = assets::config("grafana", "datasources.yaml");
    for datasource in edit::items(&mut datasources, "/datasources") {
        datasource["url"] = json!(super::prometheus_url(&namespaces.of("monitoring")));
        // Grafana draws no finer than this: steps below the scrape interval would be gaps.
        datasource["jsonData"]["timeInterval"] = json!(format!("{}s", options.scrape_interval_seconds));
    }
    let provisioning = [
        ("datasources.yaml", objects::yaml_text(&datasources)),
        ("dashboards.yaml", objects::yaml_text(&assets::config("grafana", "dashboards.yaml"))),
    ];
    let dashboards = assets::dashboards().map(|(name, dashboard)| (name, namespaces.in_queries(dashboard)));
    vec![
        objects::config_map("grafana-provisioning", provisioning),
        objects::config_map("grafana-dashboards", dashboards),
        admin_secret(&options.grafana_password),
    ]
}

/// Grafana reads the password only when its database is empty. One that is written later would lock
/// people out of what they believe is the password, so the Secret is never changed.
fn admin_secret(password: &str) -> DynamicObject {
    let mut secret = objects::secret(ADMIN_SECRET, [(PASSWORD_KEY, password)]);
    secret.metadata.annotations = Some([(labels::CREATE_ONCE.to_owned(), "true".to_owned())].into());
    secret
}

/// Go's garbage collector works harder from a tenth below the memory limit on.
pub(super) fn set_memory_limit(deployment: &mut DynamicObject, limit: &str) {
    let mebibytes = match (limit.strip_suffix("Mi"), limit.strip_suffix("Gi")) {
        (Some(number), _) => number.parse::<u32>().unwrap_or_default(),
        (None, Some(number)) => number.parse::<u32>().unwrap_or_default() * 1024,
        (None, None) => return,
    };
    edit::set_variable(deployment, "GOMEMLIMIT", &format!("{}MiB", mebibytes * 9 / 10));
}

/// Makes the pod start anew when what it reads at its start has changed. The password does not count:
/// it is read once in the life of the database.
pub(super) fn set_config_hash(deployment: &mut DynamicObject, mounted: &[DynamicObject]) {
    let config = mounted.iter().filter(|object| edit::kind(object) == "ConfigMap");
    let hash = config.fold(ContentDigest::default(), |digest, map| digest.with(&map.data)).finish();
    if let Some(template) = edit::pod_template(deployment) {
        template["metadata"]["annotations"][labels::CONFIG_HASH] = json!(labels::base64(&hash[..12]));
    }
}

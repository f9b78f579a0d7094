//! `scalekit render`: the manifests that `up` would apply, for a folder under version control.

use super::{CommandError, image};
use crate::{
    catalog,
    cluster::Cluster,
    object::ObjectRef,
    plan,
    platform::{Platform, PlatformKind, StorageChoice, assume, detect},
    preflight,
    settings::StackSettings,
};
use kube::core::DynamicObject;

/// The objects in an order in which they can be applied, without the password's Secret, which must not lie in a
/// repository.
///
/// The cluster says what platform it is; without one, the platform has to be named and the class with it.
///
/// # Errors
///
/// When the cluster is needed and cannot be read.
pub async fn render(settings: StackSettings, cluster: Option<&Cluster>) -> Result<Vec<DynamicObject>, CommandError> {
    let StackSettings { mut options, platform, .. } = settings;
    let platform = match (platform, cluster) {
        (platform, Some(cluster)) => {
            let facts = preflight::facts(cluster).await.map_err(|source| super::up::unusable(cluster, source))?;
            match platform {
                Some(kind) => assume(kind, &facts.nodes, &facts.classes),
                None => detect(&facts.nodes, &facts.classes),
            }
        }
        (Some(kind), None) => without_cluster(kind),
        (None, None) => without_cluster(PlatformKind::Generic),
    };
    let own = image::own(options.images.get(&catalog::Component::Scaler))?;
    image::use_in(&mut options, &own);
    let objects = catalog::stack(&options, &platform);
    let order = plan::in_order(&plan::dependencies(&objects));
    Ok(order
        .into_iter()
        .map(|position| objects[position].clone())
        .filter(|object| ObjectRef::of(object).name != catalog::ADMIN_SECRET)
        .collect())
}

fn without_cluster(kind: PlatformKind) -> Platform {
    Platform { storage: StorageChoice::None, ..assume(kind, &[], &[]) }
}

//! The sample workloads.

use kube::core::DynamicObject;

use super::{
    assets,
    edit::{self, Namespaces},
    labels::{self, Labels},
};

/// What can be chosen about a sample workload.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Where it goes.
    pub namespace: String,
    /// Our own image, from which the workloads run.
    pub image: String,
    /// Pull policy of that image: `Never` where it was sent to the nodes.
    pub pull_policy: String,
    /// Version of scalekit, for the label.
    pub version: String,
}

/// Names of the sample workloads.
pub fn demos() -> Vec<&'static str> {
    assets::demos()
}

/// Name of the ConfigMap, in the workload's namespace, that lists what was installed of it.
pub fn demo_inventory(name: &str) -> String {
    format!("scalekit-demo-{name}")
}

/// The objects of a sample workload, definitions first; `None` where there is none of that name.
///
/// The namespace is among them, unless it is one that every cluster has: whoever owns an object
/// deletes it in the end.
pub fn demo(name: &str, options: &DemoOptions) -> Option<Vec<DynamicObject>> {
    if !demos().contains(&name) {
        return None;
    }
    let namespaces = Namespaces::new([("demo", options.namespace.clone())]);
    let applyset = labels::applyset_id(&demo_inventory(name), &options.namespace, "ConfigMap", "");
    let labels = Labels { name, component: "demo", version: &options.version, applyset: &applyset };
    let mut objects = assets::manifests(&format!("demo/{name}"));
    objects.retain(|object| edit::kind(object) != "Namespace" || !is_everybodys(&options.namespace));
    for object in &mut objects {
        namespaces.apply(object);
        edit::set_image(object, &options.image);
        edit::set_pull_policy(object, &options.pull_policy);
        labels.put_on(object);
    }
    objects.sort_by_key(edit::rank);
    Some(objects)
}

fn is_everybodys(namespace: &str) -> bool {
    namespace == "default" || namespace.starts_with("kube-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(namespace: &str) -> DemoOptions {
        DemoOptions {
            namespace: namespace.to_owned(),
            image: "r/scalekit:1".to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
            version: "1".to_owned(),
        }
    }

    #[test]
    fn watcherbot_goes_where_it_is_told() {
        let objects = demo("watcherbot", &options("elsewhere")).unwrap();
        let kinds: Vec<_> = objects.iter().map(edit::kind).collect();
        assert_eq!(kinds, ["Namespace", "Autoscaler", "Service", "Deployment"]);
        assert_eq!(edit::name(&objects[0]), "elsewhere");
        assert!(objects[1..].iter().all(|object| object.metadata.namespace.as_deref() == Some("elsewhere")));
        let container = &objects[3].data["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            (container["image"].as_str(), container["imagePullPolicy"].as_str()),
            (Some("r/scalekit:1"), Some("IfNotPresent"))
        );
        assert!(objects[3].data["spec"].get("replicas").is_none(), "the Autoscaler holds the count");
    }

    #[test]
    fn a_namespace_that_everybody_has_is_not_taken() {
        let objects = demo("watcherbot", &options("default")).unwrap();
        assert!(objects.iter().all(|object| edit::kind(object) != "Namespace"));
    }

    #[test]
    fn an_unknown_name_is_none() {
        assert!(demo("../prometheus", &options("demo")).is_none());
    }
}

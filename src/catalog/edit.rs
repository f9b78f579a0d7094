//! Changes to manifests, each by the field that it concerns. No text is ever replaced in a manifest.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::Resources;

/// The namespaces as the manifests are written, and as they are wanted.
pub(super) struct Namespaces<'a> {
    renamed: Vec<(&'a str, String)>,
}

impl<'a> Namespaces<'a> {
    pub(super) fn new(renamed: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        Self { renamed: renamed.into_iter().collect() }
    }

    /// Where something of `namespace` goes; a namespace that is not ours stays.
    pub(super) fn of(&self, namespace: &str) -> String {
        let renamed = self.renamed.iter().find(|(from, _)| *from == namespace);
        renamed.map_or_else(|| namespace.to_owned(), |(_, to)| to.clone())
    }

    /// Moves an object and what it refers to.
    pub(super) fn apply(&self, object: &mut DynamicObject) {
        if let Some(namespace) = &mut object.metadata.namespace {
            *namespace = self.of(namespace);
        }
        match kind(object) {
            "Namespace" => {
                if let Some(name) = &mut object.metadata.name {
                    *name = self.of(name);
                }
            }
            "ClusterRoleBinding" | "RoleBinding" => {
                for subject in items(&mut object.data, "/subjects") {
                    self.apply_to(subject, "/namespace");
                }
            }
            _ => {}
        }
    }

    /// A query, or JSON with queries in it, that asks about what is in these namespaces by their names.
    pub(super) fn in_queries(&self, text: &str) -> String {
        let selector = |quote: &str, namespace: &str| format!("namespace={quote}{namespace}{quote}");
        let moved = |text: String, (from, to): &(&str, String)| {
            ["\"", "\\\""].iter().fold(text, |text, quote| text.replace(&selector(quote, from), &selector(quote, to)))
        };
        self.renamed.iter().filter(|(from, to)| from != to).fold(text.to_owned(), moved)
    }

    /// Moves the namespace that a value holds at a pointer, where it holds one.
    pub(super) fn apply_to(&self, value: &mut Value, pointer: &str) {
        if let Some(field) = value.pointer_mut(pointer)
            && let Some(namespace) = field.as_str()
        {
            *field = json!(self.of(namespace));
        }
    }
}

/// The kind of an object; empty where it has none.
pub(super) fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

/// The name of an object; empty where it has none.
pub(super) fn name(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

/// The pod template of a workload.
pub(super) fn pod_template(object: &mut DynamicObject) -> Option<&mut Value> {
    matches!(kind(object), "Deployment" | "StatefulSet" | "DaemonSet")
        .then(|| object.data.pointer_mut("/spec/template"))
        .flatten()
}

/// Sets the image of every container of a workload.
pub(super) fn set_image(object: &mut DynamicObject, image: &str) {
    for container in containers(object) {
        container["image"] = json!(image);
    }
}

/// Sets what every container of a workload asks for and may have.
pub(super) fn set_resources(object: &mut DynamicObject, resources: Resources) {
    let Resources { requests: [cpu, memory], limits: [most_cpu, most_memory] } = resources;
    for container in containers(object) {
        container["resources"] = json!({
            "requests": {"cpu": cpu, "memory": memory},
            "limits": {"cpu": most_cpu, "memory": most_memory},
        });
    }
}

/// Sets a variable that a container has.
pub(super) fn set_variable(object: &mut DynamicObject, name: &str, value: &str) {
    for container in containers(object) {
        for variable in items(container, "/env").filter(|variable| variable["name"] == name) {
            variable["value"] = json!(value);
        }
    }
}

/// Sets the pull policy of every container of a workload.
pub(super) fn set_pull_policy(object: &mut DynamicObject, policy: &str) {
    for container in containers(object) {
        container["imagePullPolicy"] = json!(policy);
    }
}

/// Sets the value of an argument `<flag>=<value>` wherever a container has it.
pub(super) fn set_argument(object: &mut DynamicObject, flag: &str, value: &str) {
    for container in containers(object) {
        for argument in items(container, "/args") {
            if argument.as_str().and_then(|text| text.split_once('=')).is_some_and(|(name, _)| name == flag) {
                *argument = json!(format!("{flag}={value}"));
            }
        }
    }
}

/// Gives every container of a workload that has arguments one more.
pub(super) fn add_argument(object: &mut DynamicObject, argument: &str) {
    for container in containers(object) {
        if let Some(arguments) = container["args"].as_array_mut() {
            arguments.push(json!(argument));
        }
    }
}

/// Sets size and class of a claim; without a class the API server takes its default one.
pub(super) fn set_storage(object: &mut DynamicObject, size: &str, class: Option<&str>) {
    object.data["spec"]["resources"]["requests"]["storage"] = json!(size);
    if let Some(class) = class {
        object.data["spec"]["storageClassName"] = json!(class);
    }
}

fn containers(object: &mut DynamicObject) -> impl Iterator<Item = &mut Value> {
    pod_template(object).into_iter().flat_map(|template| items(template, "/spec/containers"))
}

/// The items of a list at a pointer; none where there is no such list.
pub(super) fn items<'a>(value: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    value.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Where a definition stands in the order of creation: what others need comes first.
pub(super) fn rank(object: &DynamicObject) -> u8 {
    match kind(object) {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        _ => 2,
    }
}

//! Which object has to be there before which. Edges between objects, not barriers between kinds: an object
//! goes as soon as what it needs is there.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::DynamicObject;
use serde_json::Value;

use crate::object::ObjectRef;

/// For each object, the positions of the objects that must be applied before it.
///
/// Edges: namespace → what lies in it; CRD → its custom resources; `ServiceAccount`, `ConfigMap`, `Secret` and
/// `PersistentVolumeClaim` → the workload whose pods name them; role → the binding that names it; `Service` → the
/// `APIService` that is answered by it: until then no namespace of the cluster could be deleted.
/// References to objects outside the set are not edges.
pub fn dependencies(objects: &[DynamicObject]) -> Vec<Vec<usize>> {
    let references: Vec<ObjectRef> = objects.iter().map(ObjectRef::of).collect();
    let mut by_name: BTreeMap<(&str, Option<&str>, &str), Vec<usize>> = BTreeMap::new();
    let mut definitions: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (position, (object, reference)) in objects.iter().zip(&references).enumerate() {
        let name = (reference.kind.as_str(), reference.namespace.as_deref(), reference.name.as_str());
        by_name.entry(name).or_default().push(position);
        if let Some(defined) = defined(object, reference) {
            definitions.entry(defined).or_default().push(position);
        }
    }
    objects
        .iter()
        .zip(&references)
        .map(|(object, reference)| {
            let needs = needs(object, reference);
            let named = needs
                .iter()
                .filter_map(|(kind, namespace, name)| by_name.get(&(*kind, namespace.as_deref(), name.as_str())));
            let definition = definitions.get(&(reference.group.as_str(), reference.kind.as_str()));
            named.chain(definition).flatten().copied().collect::<BTreeSet<usize>>().into_iter().collect()
        })
        .collect()
}

/// Group and kind of what an object defines.
fn defined<'a>(object: &'a DynamicObject, reference: &ObjectRef) -> Option<(&'a str, &'a str)> {
    let text = |path| object.data.pointer(path).and_then(Value::as_str);
    (reference.kind == "CustomResourceDefinition").then_some(())?;
    Some((text("/spec/group")?, text("/spec/names/kind")?))
}

type Need = (&'static str, Option<String>, String);

fn needs(object: &DynamicObject, reference: &ObjectRef) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    if let Some(namespace) = &reference.namespace {
        needs.push(("Namespace", None, namespace.clone()));
    }
    if let Some(role) = object.data.pointer("/roleRef/name").and_then(Value::as_str) {
        match object.data.pointer("/roleRef/kind").and_then(Value::as_str) {
            Some("Role") => needs.push(("Role", reference.namespace.clone(), role.to_owned())),
            _ => needs.push(("ClusterRole", None, role.to_owned())),
        }
    }
    if reference.kind == "APIService" {
        let named = |path| object.data.pointer(path).and_then(Value::as_str).map(str::to_owned);
        needs.extend(named("/spec/service/name").map(|name| ("Service", named("/spec/service/namespace"), name)));
    }
    if let Some(pod) = object.data.pointer("/spec/template/spec") {
        let mut named = |kind: &'static str, name: Option<&Value>| {
            if let Some(name) = name.and_then(Value::as_str) {
                needs.push((kind, reference.namespace.clone(), name.to_owned()));
            }
        };
        named("ServiceAccount", pod.get("serviceAccountName"));
        for volume in pod.get("volumes").and_then(Value::as_array).into_iter().flatten() {
            named("ConfigMap", volume.pointer("/configMap/name"));
            named("PersistentVolumeClaim", volume.pointer("/persistentVolumeClaim/claimName"));
            for source in volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten() {
                named("ConfigMap", source.pointer("/configMap/name"));
            }
        }
        for (name, _) in mounted_secrets(pod) {
            named("Secret", Some(name));
        }
    }
    needs
}

/// The names of the Secrets that a pod mounts, each with whether it starts without it, too.
fn mounted_secrets(pod: &Value) -> impl Iterator<Item = (&Value, bool)> {
    let volumes = pod.get("volumes").and_then(Value::as_array).into_iter().flatten();
    volumes.flat_map(|volume| {
        let whole = volume.get("secret").map(|secret| (secret, "secretName"));
        let sources = volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten();
        let parts = sources.filter_map(|source| Some((source.get("secret")?, "name")));
        whole.into_iter().chain(parts).filter_map(|(secret, key)| Some((secret.get(key)?, secret["optional"] == true)))
    })
}

/// The Secrets without which pods of these objects do not start, and that are not among them: their user's.
pub fn secrets_of_others(objects: &[DynamicObject]) -> BTreeSet<ObjectRef> {
    let references: BTreeSet<ObjectRef> = objects.iter().map(ObjectRef::of).collect();
    let needed = objects.iter().flat_map(|object| {
        let pod = object.data.pointer("/spec/template/spec");
        let names = pod.into_iter().flat_map(mounted_secrets).filter(|(_, optional)| !optional);
        let namespace = object.metadata.namespace.as_deref();
        names.filter_map(move |(name, _)| Some(ObjectRef::new("v1", "Secret", namespace, name.as_str()?)))
    });
    needed.filter(|secret| !references.contains(secret)).collect()
}

/// Which objects are to go first, among those that may go: pods take the longest, so what makes them, with all that it waits
/// for, comes before the rest. Rules of who may talk to whom are there when the pods are.
pub fn first(objects: &[DynamicObject], dependencies: &[Vec<usize>]) -> Vec<bool> {
    let is_rule = |object: &DynamicObject| object.types.as_ref().is_some_and(|types| types.kind == "NetworkPolicy");
    let makes_pods = |object: &DynamicObject| object.data.pointer("/spec/template/spec").is_some();
    let mut first = vec![false; objects.len()];
    let of_their_own =
        (0..objects.len()).filter(|&position| makes_pods(&objects[position]) || is_rule(&objects[position]));
    let mut found: Vec<usize> = of_their_own.collect();
    while let Some(position) = found.pop() {
        if !std::mem::replace(&mut first[position], true) {
            found.extend(&dependencies[position]);
        }
    }
    first
}

/// The positions in an order in which each object comes after what it needs; ties keep the given order.
///
/// Objects on a cycle come last, in the given order: there is none in what scalekit ships, and to refuse
/// here would only hide which objects they are.
pub fn in_order(dependencies: &[Vec<usize>]) -> Vec<usize> {
    let mut done = vec![false; dependencies.len()];
    let mut order = Vec::with_capacity(dependencies.len());
    loop {
        let ready: Vec<usize> = (0..dependencies.len())
            .filter(|&position| !done[position] && dependencies[position].iter().all(|&needed| done[needed]))
            .collect();
        if ready.is_empty() {
            order.extend((0..dependencies.len()).filter(|&position| !done[position]));
            return order;
        }
        for position in ready {
            done[position] = true;
            order.push(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects() -> Vec<DynamicObject> {
        [
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "g", "namespace": "m"}, "spec": {"template": {"spec": {
                "serviceAccountName": "g", "volumes": [{"configMap": {"name": "c"}}, {"secret": {"secretName": "elsewhere"}}]}}}}),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "g", "namespace": "m"}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "m"}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "m"}}),
            json!({"apiVersion": "scalekit.dev/v1alpha1", "kind": "Autoscaler", "metadata": {"name": "a", "namespace": "m"}}),
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "autoscalers.scalekit.dev"},
                "spec": {"group": "scalekit.dev", "names": {"kind": "Autoscaler"}}}),
        ]
        .into_iter()
        .map(|value| serde_json::from_value(value).unwrap())
        .collect()
    }

    #[test]
    fn an_object_needs_its_namespace_its_definition_and_what_its_pods_name() {
        assert_eq!(dependencies(&objects()), vec![vec![1, 2, 3], vec![3], vec![3], vec![], vec![3, 5], vec![]]);
    }

    #[test]
    fn a_secret_that_is_mounted_and_not_among_the_objects_is_somebody_elses() {
        let mut objects = objects();
        let named =
            |objects: &[DynamicObject]| secrets_of_others(objects).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(named(&objects), ["secret/elsewhere -n m"]);
        objects[0].data["spec"]["template"]["spec"]["volumes"][1]["secret"]["optional"] = json!(true);
        assert_eq!(named(&objects), [""; 0]);
        let volumes = json!([{"name": "p", "projected": {"sources": [{"secret": {"name": "part"}}]}}]);
        objects[0].data["spec"]["template"]["spec"]["volumes"] = volumes;
        assert_eq!(named(&objects), ["secret/part -n m"]);
        let part = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "part", "namespace": "m"}});
        objects.push(serde_json::from_value(part).unwrap());
        assert_eq!(named(&objects), [""; 0]);
    }

    #[test]
    fn an_aggregated_api_needs_its_service() {
        let object = |value: Value| serde_json::from_value::<DynamicObject>(value).unwrap();
        let service = |namespace: &str| {
            object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": namespace}}))
        };
        let api = object(
            json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.x"},
            "spec": {"service": {"name": "s", "namespace": "m"}}}),
        );
        assert_eq!(dependencies(&[api, service("other"), service("m")]), vec![vec![2], vec![], vec![]]);
    }

    #[test]
    fn nothing_comes_before_what_it_needs() {
        let edges = dependencies(&objects());
        let order = in_order(&edges);
        for (place, position) in order.iter().enumerate() {
            assert!(edges[*position].iter().all(|needed| order[..place].contains(needed)), "{order:?}");
        }
    }

    #[test]
    fn what_makes_pods_goes_first_with_what_it_waits_for() {
        let object = |kind: &str, name: &str, spec: serde_json::Value| {
            serde_json::from_value(json!({"apiVersion": "v1", "kind": kind, "spec": spec,
                "metadata": {"name": name, "namespace": "m"}}))
            .unwrap()
        };
        let pods = json!({"template": {"spec": {"volumes": [{"configMap": {"name": "wanted"}}]}}});
        let objects: Vec<DynamicObject> = vec![
            object("Service", "a", json!({})),
            object("ConfigMap", "unwanted", json!({})),
            object("ConfigMap", "wanted", json!({})),
            object("NetworkPolicy", "a", json!({})),
            object("Deployment", "a", pods),
        ];
        assert_eq!(first(&objects, &dependencies(&objects)), [false, false, true, true, true]);
    }

    #[test]
    fn a_cycle_loses_nobody() {
        assert_eq!(in_order(&[vec![1], vec![0], vec![]]), vec![2, 0, 1]);
    }
}

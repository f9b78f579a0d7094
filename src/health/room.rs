//! Is there room on the nodes for what is to be installed, by what it requests.

use k8s_openapi::api::core::v1::Node;
use kube::core::DynamicObject;
use serde_json::Value;

use super::{Finding, Severity};
use crate::{catalog::Profile, quantity::Quantity};

/// CPU in thousandths of a core, memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    cpu: i64,
    memory: i64,
}

/// Compares what the pods request with what the nodes have to give. What other pods have taken of that already is not
/// counted: the scheduler says so when it comes to it.
pub fn room(nodes: &[Node], desired: &[DynamicObject], profile: Profile) -> Finding {
    let open: Vec<&Node> = nodes.iter().filter(|node| takes_pods(node)).collect();
    if open.is_empty() {
        return Finding::new("room", Severity::Warning, "every node has a taint that keeps pods away");
    }
    let known: Option<Vec<Amount>> = open.iter().map(|node| allocatable(node)).collect();
    let Some(open) = known else {
        return Finding::new("room", Severity::Warning, "a node has not said yet what it can give to pods")
            .hint("kubectl describe nodes: its kubelet reports that when it has started");
    };
    let (everywhere, somewhere) = requested(desired);
    // A pod of a DaemonSet is on every node; the rest is wherever it fits.
    let left: Vec<Amount> = open
        .iter()
        .map(|node| Amount { cpu: node.cpu - everywhere.cpu, memory: node.memory - everywhere.memory })
        .collect();
    let fits = |pod: &Amount| left.iter().any(|node| pod.cpu <= node.cpu && pod.memory <= node.memory);
    let sum = |amounts: &[Amount]| {
        amounts
            .iter()
            .fold(Amount::default(), |sum, one| Amount { cpu: sum.cpu + one.cpu, memory: sum.memory + one.memory })
    };
    let (wanted, have) = (sum(&somewhere), sum(&left));
    if somewhere.iter().all(fits) && wanted.cpu <= have.cpu && wanted.memory <= have.memory {
        let all = sum(&[wanted, everywhere]);
        let message =
            format!("profile {profile} requests {} of CPU and {} of memory", cores(all.cpu), mebibytes(all.memory));
        return Finding::new("room", Severity::Ok, message);
    }
    let all = sum(&open);
    let requested =
        sum(&[wanted, Amount { cpu: everywhere.cpu * count(&open), memory: everywhere.memory * count(&open) }]);
    let message = format!(
        "profile {profile} is too big for this cluster: it requests {} of CPU and {} of memory, and {} can give {} and {}",
        cores(requested.cpu),
        mebibytes(requested.memory),
        if open.len() == 1 { "the node".to_owned() } else { format!("{} nodes together", open.len()) },
        cores(all.cpu),
        mebibytes(all.memory)
    );
    Finding::new("room", Severity::Error, message).hint(match profile.smaller() {
        Some(smaller) => format!("--profile {smaller}, or a larger node"),
        None => "a larger node: there is no smaller profile".to_owned(),
    })
}

fn count(nodes: &[Amount]) -> i64 {
    i64::try_from(nodes.len()).unwrap_or(i64::MAX)
}

fn takes_pods(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let tainted = spec.and_then(|spec| spec.taints.as_ref()).is_some_and(|taints| {
        taints.iter().any(|taint| {
            // What comes and goes with the node's health is not its size.
            matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") && !taint.key.starts_with("node.kubernetes.io/")
        })
    });
    !tainted
}

/// None before a kubelet has reported it: such a node is of unknown size, not of none.
fn allocatable(node: &Node) -> Option<Amount> {
    let quantities = node.status.as_ref()?.allocatable.as_ref()?;
    let of = |name: &str| Some(milli(&quantities.get(name)?.0));
    Some(Amount { cpu: of("cpu")?, memory: of("memory")? / 1000 })
}

/// What the pods of each DaemonSet request together, and each other pod by itself.
fn requested(desired: &[DynamicObject]) -> (Amount, Vec<Amount>) {
    let (mut everywhere, mut somewhere) = (Amount::default(), Vec::new());
    for object in desired {
        let Some(containers) = object.data.pointer("/spec/template/spec/containers").and_then(Value::as_array) else {
            continue;
        };
        let mut pod = Amount::default();
        for container in containers {
            let of = |name: &str| container["resources"]["requests"][name].as_str().map_or(0, milli);
            pod.cpu += of("cpu");
            pod.memory += of("memory") / 1000;
        }
        if object.types.as_ref().is_some_and(|types| types.kind == "DaemonSet") {
            everywhere.cpu += pod.cpu;
            everywhere.memory += pod.memory;
        } else {
            somewhere.push(pod);
        }
    }
    (everywhere, somewhere)
}

/// A quantity in thousandths; 0 where it is none.
fn milli(text: &str) -> i64 {
    text.parse::<Quantity>().ok().and_then(|quantity| quantity.milli().ok()).unwrap_or_default()
}

fn cores(milli: i64) -> String {
    format!("{milli}m")
}

fn mebibytes(bytes: i64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::{
        catalog::{self, Options},
        platform,
    };

    fn node(cpu: &str, memory: &str, taint: Option<&str>) -> Node {
        let taints: Vec<Value> = taint.iter().map(|key| json!({"key": key, "effect": "NoSchedule"})).collect();
        serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": taints},
            "status": {"allocatable": {"cpu": cpu, "memory": memory}}}))
        .unwrap()
    }

    fn judged(profile: Profile, nodes: &[Node]) -> Finding {
        let platform = platform::assume("kind".parse().unwrap(), &[], &[]);
        let options = Options { profile, ..Options::new("secret", "0.1.0") };
        room(nodes, &catalog::stack(&options, &platform), profile)
    }

    #[rstest]
    #[case::fits(Profile::Team, &[node("2", "4Gi", None)], Severity::Ok)]
    #[case::memory(Profile::Team, &[node("2", "1Gi", None)], Severity::Error)]
    #[case::cpu(Profile::Team, &[node("200m", "4Gi", None)], Severity::Error)]
    #[case::small_one_for_small(Profile::Edge, &[node("200m", "512Mi", None)], Severity::Ok)]
    #[case::together(Profile::Team, &[node("500m", "1200Mi", None), node("500m", "1200Mi", None)], Severity::Ok)]
    #[case::no_node_for_the_largest_pod(Profile::Team, &[node("2", "800Mi", None), node("2", "800Mi", None), node("2", "800Mi", None)], Severity::Error)]
    #[case::closed(Profile::Edge, &[node("8", "32Gi", Some("node-role.kubernetes.io/control-plane"))], Severity::Warning)]
    #[case::not_ready(Profile::Edge, &[node("8", "32Gi", Some("node.kubernetes.io/not-ready"))], Severity::Ok)]
    fn a_profile_fits_or_does_not(#[case] profile: Profile, #[case] nodes: &[Node], #[case] expected: Severity) {
        let finding = judged(profile, nodes);
        assert_eq!(finding.severity, expected, "{finding:?}");
    }

    #[test]
    fn a_node_that_has_not_reported_its_size_refuses_nothing() {
        let silent: Node =
            serde_json::from_value(json!({"metadata": {"name": "new"}, "spec": {}, "status": {}})).unwrap();
        let finding = judged(Profile::Laptop, &[silent]);
        assert_eq!(finding.severity, Severity::Warning, "{finding:?}");
    }

    #[test]
    fn the_numbers_and_the_way_out_are_said() {
        let finding = judged(Profile::Team, &[node("2", "1Gi", None)]);
        assert_eq!(
            finding.message,
            "profile team is too big for this cluster: it requests 520m of CPU and 1504 MiB of memory, and the node can give 2000m and 1024 MiB"
        );
        assert_eq!(finding.hint.as_deref(), Some("--profile laptop, or a larger node"));
    }
}

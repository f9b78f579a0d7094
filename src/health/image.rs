//! Whether our own image gets to the nodes, and which of them lack it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{Finding, Severity, environment::shortened};

/// How the pods of our own program get their image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// The user named it, and the nodes pull it.
    Pulled {
        /// Which.
        reference: String,
    },
    /// It is brought to the nodes.
    Sent {
        /// Which.
        reference: String,
        /// The way, in words; `None` where none is open and none is needed.
        way: Option<String>,
        /// Nodes that do not list it.
        lacking: Vec<String>,
        /// Those of `lacking` to which the way does not lead.
        unreached: Vec<String>,
    },
    /// It can neither be made nor brought.
    Blocked {
        /// Why.
        why: String,
        /// The ways out.
        hint: Option<String>,
    },
}

/// A kubelet looks at its images every half a minute, and tells the API server within ten seconds more: until then the
/// list of a node says nothing about an image that was only just brought.
const LISTED_AFTER: SignedDuration = SignedDuration::from_mins(2);

impl ImageSource {
    /// The same without the nodes that have the image all the same: a pod runs it there, or it came only just now, as the
    /// start of the pods that run it says.
    #[must_use]
    pub fn known_by(mut self, pods: &[Pod], now: Timestamp) -> Self {
        if let Self::Sent { reference, lacking, unreached, .. } = &mut self {
            let runs = |pod: &&Pod| {
                let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
                statuses.filter(|status| !status.image_id.is_empty()).any(|status| {
                    status.image == *reference
                        || pod.spec.iter().flat_map(|spec| &spec.containers).any(|container| {
                            container.name == status.name && container.image.as_deref() == Some(reference)
                        })
                })
            };
            let started = |pod: &Pod| pod.status.as_ref()?.start_time.as_ref().map(|time| time.0);
            let running: Vec<&Pod> = pods.iter().filter(runs).collect();
            let newest = running.iter().filter_map(|pod| started(pod)).max();
            if newest.is_some_and(|newest| now.duration_since(newest) < LISTED_AFTER) {
                lacking.clear();
            }
            let nodes: Vec<&str> = running.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()).collect();
            lacking.retain(|node| !nodes.contains(&node.as_str()));
            unreached.retain(|node| lacking.contains(node));
        }
        self
    }
}

/// A kubelet lists this many images of its node, the largest first (`nodeStatusMaxImages`). Ours is small: on a node
/// that lists as many, its absence from the list says nothing.
pub const LISTED_IMAGES: usize = 50;

/// Judges it. Before an installation a node that lacks the image is no matter: it is brought then.
pub fn image(source: &ImageSource, installed: bool) -> Finding {
    const CHECK: &str = "image";
    match source {
        ImageSource::Pulled { reference } => {
            Finding::new(CHECK, Severity::Ok, format!("the nodes pull {reference}, which was named"))
        }
        ImageSource::Blocked { why, hint } => {
            let finding = Finding::new(CHECK, Severity::Error, why.clone());
            match hint {
                Some(hint) => finding.hint(hint.clone()),
                None => finding,
            }
        }
        ImageSource::Sent { unreached, way, .. } if !unreached.is_empty() => {
            let way = way.as_ref().map(|way| format!(" ({way} does not lead there)")).unwrap_or_default();
            let message = format!(
                "{} not have scalekit's image and cannot be reached from here{way}: a pod placed there does not start",
                do_not(unreached)
            );
            Finding::new(CHECK, Severity::Warning, message)
                .hint("name an image that all nodes can pull: --image scaler=REF")
        }
        ImageSource::Sent { lacking, reference, .. } if installed && !lacking.is_empty() => {
            let message = format!("{} not have {reference}: a pod placed there does not start", do_not(lacking));
            Finding::new(CHECK, Severity::Warning, message).hint("`scalekit up` brings it there")
        }
        ImageSource::Sent { lacking, .. } if lacking.is_empty() => {
            Finding::new(CHECK, Severity::Ok, "every node has scalekit's image")
        }
        ImageSource::Sent { way, lacking, .. } => {
            let way = way.as_deref().unwrap_or("hand");
            Finding::new(
                CHECK,
                Severity::Ok,
                format!("scalekit's image gets to {} by {way}", super::count(lacking.len(), "node")),
            )
        }
    }
}

fn do_not(nodes: &[String]) -> String {
    let (word, verb) = if nodes.len() == 1 { ("node", "does") } else { ("nodes", "do") };
    format!("{word} {} {verb}", shortened(nodes))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn sent(lacking: &[&str], unreached: &[&str]) -> ImageSource {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        ImageSource::Sent {
            reference: "scalekit.local/scalekit:1".to_owned(),
            way: Some("containerd".to_owned()),
            lacking: owned(lacking),
            unreached: owned(unreached),
        }
    }

    fn pod(node: &str, started: i64) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "scaler-1"},
            "spec": {"nodeName": node, "containers": [{"name": "scaler", "image": "scalekit.local/scalekit:1"}]},
            "status": {"startTime": Timestamp::from_second(started).unwrap().to_string(), "containerStatuses": [
                {"name": "scaler", "image": "sha256:x", "imageID": "sha256:x", "ready": true, "restartCount": 0}]}}))
        .unwrap()
    }

    #[rstest]
    #[case::nobody_runs_it(&[], &["a", "b"])]
    #[case::it_runs_there(&[pod("a", 0)], &["b"])]
    #[case::it_came_just_now(&[pod("a", 990)], &[])]
    fn a_list_that_is_behind_is_not_believed(#[case] pods: &[Pod], #[case] expected: &[&str]) {
        let known = sent(&["a", "b"], &["b"]).known_by(pods, Timestamp::from_second(1000).unwrap());
        let ImageSource::Sent { lacking, unreached, .. } = known else { unreachable!() };
        assert_eq!(lacking, expected);
        assert!(unreached.iter().all(|node| lacking.contains(node)));
    }

    #[rstest]
    #[case::before(sent(&["a"], &[]), false, Severity::Ok, "gets to 1 node by containerd")]
    #[case::everywhere(sent(&[], &[]), true, Severity::Ok, "every node")]
    #[case::a_new_node(sent(&["a"], &[]), true, Severity::Warning, "node a does not have scalekit.local")]
    #[case::out_of_reach(sent(&["a", "b"], &["b"]), false, Severity::Warning, "node b does not have scalekit's image")]
    #[case::no_way(ImageSource::Blocked { why: "no way".to_owned(), hint: None }, false, Severity::Error, "no way")]
    fn judges(#[case] source: ImageSource, #[case] installed: bool, #[case] severity: Severity, #[case] said: &str) {
        let finding = image(&source, installed);
        assert_eq!(finding.severity, severity, "{finding:?}");
        assert!(finding.message.contains(said), "{}", finding.message);
    }
}

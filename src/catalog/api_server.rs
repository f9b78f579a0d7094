//! The port of the API server: a NetworkPolicy sees the one behind its Service, which is the API server's own.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::edit;
use crate::platform::Platform;

/// The ports in every policy that lets out to it: of the Service, of kubeadm, kind and k3s, and of MicroK8s.
const USUAL: [u16; 3] = [443, 6443, 16443];

/// The policy by which the port of an installation is known: every installation has it.
const KNOWN_BY: &str = "scaler";

/// The ports of a rule; none where it has none.
fn ports(rule: &Value) -> impl Iterator<Item = u16> {
    let ports = rule["ports"].as_array().into_iter().flatten();
    ports.filter_map(|entry| u16::try_from(entry["port"].as_u64()?).ok())
}

/// Whether a rule lets out to the API server, wherever it is.
fn is_to_it(rule: &Value) -> bool {
    USUAL.iter().all(|usual| ports(rule).any(|port| port == *usual))
}

/// Lets out to it where it answers on a port of its own.
pub(super) fn let_out(policy: &mut DynamicObject, platform: &Platform) {
    let Some(port) = platform.api_port.filter(|port| !USUAL.contains(port)) else { return };
    for rule in edit::items(&mut policy.data, "/spec/egress").filter(|rule| is_to_it(rule)) {
        if let Some(ports) = rule["ports"].as_array_mut() {
            ports.push(json!({"port": port, "protocol": "TCP"}));
        }
    }
}

/// The port of its own that an installation lets out to.
pub(super) fn port(live: &[DynamicObject]) -> Option<u16> {
    let is_it = |object: &&DynamicObject| edit::kind(object) == "NetworkPolicy" && edit::name(object) == KNOWN_BY;
    let rules = live.iter().find(is_it)?.data["spec"]["egress"].as_array()?;
    rules.iter().filter(|rule| is_to_it(rule)).flat_map(ports).find(|port| !USUAL.contains(port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::{stack, test_options},
        platform::{self, Seen},
    };

    fn installed(api_port: Option<u16>) -> Vec<DynamicObject> {
        let seen = Seen { api_port, ..Seen::default() };
        stack(&test_options(), &platform::assume("generic".parse().unwrap(), &[], &[]).seen(seen))
    }

    /// The policies that let out to this port, by name.
    fn open_to(objects: &[DynamicObject], port: u16) -> Vec<&str> {
        let opens = |object: &&DynamicObject| {
            let rules = object.data["spec"]["egress"].as_array().into_iter().flatten();
            rules.flat_map(|rule| rule["ports"].as_array().into_iter().flatten()).any(|known| known["port"] == port)
        };
        objects.iter().filter(|object| edit::kind(object) == "NetworkPolicy").filter(opens).map(edit::name).collect()
    }

    #[test]
    fn who_asks_it_is_let_out_to_its_port_and_the_installation_tells_it() {
        let asking = open_to(&installed(None), 6443).len();
        assert!(asking >= 3, "{asking}");
        let own = installed(Some(8443));
        let open = open_to(&own, 8443);
        assert_eq!(open.len(), asking, "{open:?}");
        assert_eq!((port(&own), port(&installed(None)), port(&[])), (Some(8443), None, None));
    }

    #[test]
    fn a_usual_port_changes_nothing() {
        let same = |port: u16| installed(Some(port)) == installed(None);
        assert!(USUAL.iter().all(|usual| same(*usual)) && !same(8443));
    }
}

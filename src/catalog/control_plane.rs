//! Parts of the control plane that pods can reach, each with a job of its own.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{assets, edit, one_process};
use crate::{
    additions::{Additions, job_names},
    platform::{Exposure, Part, Platform},
};

/// The file with a job for each part.
const FILE: &str = "control-plane.yml";

/// The ports of the parts that are scraped here, each by itself.
fn ports(platform: &Platform) -> BTreeMap<Part, u16> {
    let open = |(part, exposure): (&Part, &Exposure)| match exposure {
        Exposure::Port(port) if !platform.one_process => Some((*part, *port)),
        Exposure::Port(_) | Exposure::Loopback | Exposure::Differs => None,
    };
    platform.exposed.iter().filter_map(open).collect()
}

/// Every job that there may be.
fn jobs() -> Vec<Value> {
    assets::config("prometheus", FILE)["scrape_configs"].as_array().cloned().unwrap_or_default()
}

/// The part that a job scrapes.
fn part(job: &Value) -> Option<Part> {
    Part::of_job(job["job_name"].as_str()?)
}

/// Whether the user has a job of this name already.
pub(super) fn is_theirs(part: Part, additions: &Additions) -> bool {
    additions.scrapes.iter().flat_map(job_names).any(|name| name == part.job())
}

/// Adds a job for each part that can be reached. Where the user has a job of that name already, theirs it is.
pub(super) fn scrape(config: &mut Value, platform: &Platform, additions: &Additions) {
    let ports = ports(platform);
    let kept = one_process::kept_of_others();
    let ours = |job: &Value| part(job).filter(|part| !is_theirs(*part, additions));
    let reached = jobs().into_iter().filter_map(|job| Some((ports.get(&ours(&job)?)?, job)));
    let jobs = reached.map(|(port, mut job)| {
        for rule in edit::items(&mut job, "/relabel_configs").filter(|rule| rule["target_label"] == "__address__") {
            rule["replacement"] = json!(format!("{}:{port}", rule["replacement"].as_str().unwrap_or_default()));
        }
        if let Some(list) = job["job_name"].as_str().and_then(|name| kept.get(name)) {
            job["metric_relabel_configs"] = json!([{"source_labels": ["__name__"], "regex": list, "action": "keep"}]);
        }
        job
    });
    if let Some(all) = config["scrape_configs"].as_array_mut() {
        all.extend(jobs);
    }
}

/// An expression that names the parts by their jobs, each with a bar behind it, without the names that jobs of the user's have:
/// what passes over our parts does not pass over those, and what looks at ours leaves them to it.
pub(super) fn with_theirs(expression: &str, additions: &Additions) -> String {
    let theirs = Part::ALL.into_iter().filter(|part| is_theirs(*part, additions));
    theirs.fold(expression.to_owned(), |expression, part| expression.replace(&format!("{}|", part.job()), ""))
}

/// Lets Prometheus out to the ports of these jobs: they are on addresses of nodes.
pub(super) fn let_out(policy: &mut DynamicObject, platform: &Platform) {
    let ports = ports(platform).into_values().map(|port| json!({"port": port, "protocol": "TCP"}));
    if let Some(known) = policy.data.pointer_mut("/spec/egress/1/ports").and_then(Value::as_array_mut) {
        known.extend(ports);
    }
}

/// The parts that an installed configuration scrapes, with their ports.
pub(super) fn scraped(config: &Value) -> BTreeMap<Part, Exposure> {
    let port = |job: &Value| {
        let rules = job["relabel_configs"].as_array()?;
        let address = rules.iter().find(|rule| rule["target_label"] == "__address__")?["replacement"].as_str()?;
        address.rsplit_once(':')?.1.parse().ok()
    };
    let configs = config["scrape_configs"].as_array().into_iter().flatten();
    configs.filter_map(|job| Some((part(job)?, Exposure::Port(port(job)?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        additions::File,
        catalog::{stack, test_options},
        platform::{self, Seen},
    };

    fn reached() -> BTreeMap<Part, Exposure> {
        BTreeMap::from([
            (Part::Scheduler, Exposure::Port(11259)),
            (Part::ControllerManager, Exposure::Loopback),
            (Part::Etcd, Exposure::Port(2381)),
        ])
    }

    fn platform(one_process: bool) -> Platform {
        let seen = Seen { exposed: Some(reached()), one_process: Some(one_process), ..Seen::default() };
        platform::assume("generic".parse().unwrap(), &[], &[]).seen(seen)
    }

    fn names(config: &Value) -> Vec<&str> {
        config["scrape_configs"].as_array().unwrap().iter().filter_map(|job| job["job_name"].as_str()).collect()
    }

    fn own(jobs: &[Part]) -> Additions {
        let file = |part: &Part| File {
            name: format!("{}.yml", part.job()),
            text: format!("scrape_configs:\n- job_name: {}\n  static_configs: [{{targets: [\"a:1\"]}}]\n", part.job()),
        };
        Additions { scrapes: jobs.iter().map(file).collect(), ..Additions::default() }
    }

    #[test]
    fn each_part_that_can_be_reached_has_a_job_at_its_port() {
        let mut config = json!({"scrape_configs": []});
        scrape(&mut config, &platform(false), &Additions::default());
        assert_eq!(names(&config), ["scheduler", "etcd"]);
        let addresses: Vec<&str> = config["scrape_configs"][0]["relabel_configs"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|rule| rule["target_label"] == "__address__")
            .filter_map(|rule| rule["replacement"].as_str())
            .collect();
        assert_eq!(addresses, ["$1:11259", "[$1]:11259"]);
        for job in config["scrape_configs"].as_array().unwrap() {
            let keep = &job["metric_relabel_configs"][0];
            assert_eq!(keep["action"], "keep", "{job}");
            assert!(keep["regex"].as_str().is_some_and(|list| !list.is_empty()), "{job}");
        }
        let ports = BTreeMap::from([(Part::Scheduler, Exposure::Port(11259)), (Part::Etcd, Exposure::Port(2381))]);
        assert_eq!(scraped(&config), ports);
    }

    #[test]
    fn a_job_of_the_users_own_comes_before_ours() {
        let mut config = json!({"scrape_configs": []});
        scrape(&mut config, &platform(false), &own(&[Part::Etcd]));
        assert_eq!(names(&config), ["scheduler"]);
    }

    #[test]
    fn a_target_of_the_users_own_job_is_missed_whatever_its_name() {
        let rule = crate::catalog::alert_rule("TargetDown").unwrap();
        let all = rule["expr"].as_str().unwrap();
        assert_eq!(with_theirs(all, &Additions::default()), all);
        for part in Part::ALL {
            let left: Vec<&str> = Part::ALL.into_iter().filter(|other| *other != part).map(Part::job).collect();
            let expression = with_theirs(all, &own(&[part]));
            assert!(left.iter().all(|job| expression.contains(job)), "{expression}");
            assert!(!expression.contains(part.job()), "{expression}");
        }
        let expected = r#"up{job!~"annotated-(pods|services)"} == 0 and max_over_time(up[90s]) == 0"#;
        assert_eq!(with_theirs(all, &own(&Part::ALL)), expected);

        let options = crate::catalog::Options { additions: own(&[Part::Etcd]), ..test_options() };
        let objects = stack(&options, &platform(false));
        let config = objects.iter().find(|object| edit::name(object) == "prometheus-config").unwrap();
        let alerts = config.data["data"]["alerts.rules.yml"].as_str().unwrap();
        assert!(
            alerts.contains(r#"up{job!~"controller-manager|kube-proxy|scheduler|annotated-(pods|services)"}"#),
            "{alerts}"
        );
    }

    #[test]
    fn a_target_of_the_users_own_job_is_not_told_of_as_a_part_too() {
        let rule = crate::catalog::alert_rule("ControlPlanePartDown").unwrap();
        let all = rule["expr"].as_str().unwrap();
        for (theirs, left) in [
            (vec![], "controller-manager|etcd|kube-proxy|scheduler|"),
            (vec![Part::Etcd], "controller-manager|kube-proxy|scheduler|"),
            (Part::ALL.to_vec(), ""),
        ] {
            let expression = with_theirs(all, &own(&theirs));
            assert_eq!(expression.matches(&format!("up{{job=~\"{left}\"}}")).count(), 2, "{expression}");
        }
    }

    #[test]
    fn one_process_is_scraped_by_one_job() {
        let mut config = json!({"scrape_configs": []});
        scrape(&mut config, &platform(true), &Additions::default());
        assert_eq!(names(&config), Vec::<&str>::new());
    }

    #[test]
    fn prometheus_is_let_out_to_what_it_scrapes() {
        let ports = |platform: &Platform| -> Vec<u64> {
            let objects = stack(&test_options(), platform);
            let is_it =
                |object: &&DynamicObject| edit::kind(object) == "NetworkPolicy" && edit::name(object) == "prometheus";
            let policy = objects.iter().find(is_it).unwrap();
            let rules = policy.data["spec"]["egress"].as_array().unwrap();
            rules
                .iter()
                .flat_map(|rule| rule["ports"].as_array().into_iter().flatten())
                .filter_map(|port| port["port"].as_u64())
                .collect()
        };
        let (without, with) = (ports(&platform(true)), ports(&platform(false)));
        assert!(!without.contains(&11259) && !without.contains(&2381), "{without:?}");
        let more: Vec<&u64> = with.iter().filter(|port| !without.contains(port)).collect();
        assert_eq!(more, [&11259, &2381]);
    }
}

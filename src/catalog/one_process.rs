//! Clusters whose control plane and kubelet are one process, MicroK8s and k3s: each of its ports has the metrics of all.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::assets;

/// The job that goes: what it would keep is on the kubelet's page.
pub(super) const API_SERVER: &str = "apiserver";
const KUBELET: &str = "kubelet";
/// What each job keeps of that page beyond what those two do.
const MORE: &str = "one-process.yml";

/// Lets the job of the kubelet, whose page is there on every node, scrape for all, and split what it keeps by name into
/// the jobs that the metrics would have elsewhere. So the page, which is long, is made and read once, nothing is counted
/// twice, and dashboards and rules need not know.
pub(super) fn scrape_once(config: &mut Value) {
    let Some(jobs) = config["scrape_configs"].as_array_mut() else { return };
    let Some(position) = jobs.iter().position(|job| job["job_name"] == API_SERVER) else { return };
    let api_server = jobs.remove(position);
    let Some(kubelet) = jobs.iter_mut().find(|job| job["job_name"] == KUBELET) else { return };
    let more = kept_of_others();
    let of_others: Vec<(&str, &str)> = [(API_SERVER, kept(&api_server))]
        .into_iter()
        .chain(more.iter().map(|(job, list)| (job.as_str(), list.as_str())))
        .collect();
    let lists: Vec<&str> = [kept(kubelet)].into_iter().chain(of_others.iter().map(|(_, list)| *list)).collect();

    let mut rules = vec![json!({"source_labels": ["__name__"], "regex": lists.join("|"), "action": "keep"})];
    // Each of them names the metrics that it drops.
    rules.extend(dropped(&api_server).chain(dropped(kubelet)).cloned());
    rules.extend(of_others.iter().map(
        |(job, list)| json!({"source_labels": ["__name__"], "regex": list, "target_label": "job", "replacement": job}),
    ));
    kubelet["metric_relabel_configs"] = json!(rules);
    for key in ["scrape_interval", "sample_limit"] {
        kubelet[key] = api_server[key].clone();
    }
}

/// By job, the metrics that are kept of the rest of the control plane: of that one page, or of a page of its own.
pub(super) fn kept_of_others() -> BTreeMap<String, String> {
    let lists = assets::config("prometheus", MORE);
    let lists = lists.as_object().into_iter().flatten();
    lists.filter_map(|(job, list)| Some((job.clone(), list.as_str()?.to_owned()))).collect()
}

/// The allow-list of a job, its first rule.
fn kept(job: &Value) -> &str {
    job.pointer("/metric_relabel_configs/0/regex").and_then(Value::as_str).unwrap_or_default()
}

/// What a job drops of its allow-list.
fn dropped(job: &Value) -> impl Iterator<Item = &Value> {
    job["metric_relabel_configs"].as_array().into_iter().flatten().skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_keeps_for_all_and_each_metric_gets_the_job_that_it_has_elsewhere() {
        let mut config = assets::config("prometheus", "prometheus.yml");
        let lists = ["apiserver", "kubelet"].map(|name| {
            let job = config["scrape_configs"].as_array().unwrap().iter().find(|job| job["job_name"] == name).unwrap();
            assert_eq!(job["metric_relabel_configs"][0]["action"], "keep", "{name}");
            kept(job).to_owned()
        });
        scrape_once(&mut config);
        let jobs = config["scrape_configs"].as_array().unwrap();
        assert!(jobs.iter().all(|job| job["job_name"] != API_SERVER));
        let kubelet = jobs.iter().find(|job| job["job_name"] == KUBELET).unwrap();
        let rules = kubelet["metric_relabel_configs"].as_array().unwrap();
        let keep = rules[0]["regex"].as_str().unwrap();
        assert!(lists.iter().all(|list| keep.contains(list.as_str())), "{keep}");
        let named: Vec<_> = rules.iter().filter(|rule| rule["target_label"] == "job").collect();
        let names: Vec<_> = named.iter().map(|rule| rule["replacement"].as_str().unwrap()).collect();
        assert_eq!(names, ["apiserver", "controller-manager", "kube-proxy", "scheduler"]);
        assert!(named.iter().all(|rule| keep.contains(rule["regex"].as_str().unwrap())));
        assert_eq!((&kubelet["scrape_interval"], &kubelet["sample_limit"]), (&json!("20s"), &json!(20000)));
    }
}

#!/usr/bin/env python3
"""Reads what a soak has to say.

report.py memory FLAVOUR <summary.json      what each pod takes, from the kubelet's summary
report.py idle FLAVOUR MINUTES STATE        fails where an alert fired, or not all rules were evaluated; prints series by job
"""

import json
import subprocess
import sys
import urllib.parse
from pathlib import Path

RULES = Path(__file__).parents[2] / "assets/prometheus/config"
MEBIBYTE = 1 << 20
MOST_SERIES = 3000


def query(state, expression):
    """The samples of an instant query to the Prometheus of the cluster."""
    path = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/query?query=" + urllib.parse.quote(expression)
    command = [f"{state}/bin/kubectl", "--kubeconfig", f"{state}/kubeconfig", "get", "--raw", path]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return answer["data"]["result"]


def memory(flavour):
    print(f"{flavour}: pod, resident MiB, working set MiB, CPU in thousandths of a core")
    for pod in sorted(json.load(sys.stdin)["pods"], key=lambda pod: pod["podRef"]["name"]):
        if not pod["podRef"]["namespace"].startswith("monitoring"):
            continue
        resident = sum(container["memory"]["rssBytes"] for container in pod["containers"]) / MEBIBYTE
        working = sum(container["memory"]["workingSetBytes"] for container in pod["containers"]) / MEBIBYTE
        cpu = sum(container["cpu"].get("usageNanoCores", 0) for container in pod["containers"]) / 1e6
        print(f"  {pod['podRef']['name']:40} {resident:6.1f} {working:6.1f} {cpu:6.1f}")


def idle(flavour, minutes, state):
    by_job = query(state, 'sort_desc(sum by (job) (scrape_samples_post_metric_relabeling))')
    jobs = ", ".join(f"{sample['metric']['job']} {sample['value'][1]}" for sample in by_job)
    [head] = query(state, "prometheus_tsdb_head_series")
    print(f"{flavour}: {head['value'][1]} series in the head; by job: {jobs}")
    for sample in query(state, "sum by (job) (process_resident_memory_bytes)"):
        # With the pages of its executable, which the kernel takes back when it needs them.
        print(f"{flavour}: {sample['metric']['job']} says that {float(sample['value'][1]) / MEBIBYTE:.1f} MiB are resident")
    complaints = []
    if float(head["value"][1]) >= MOST_SERIES:
        complaints.append(f"{flavour}: {head['value'][1]} series, {MOST_SERIES} are too many")
    for alert in query(state, f'max by (alertname, alertstate) (max_over_time(ALERTS[{minutes}m]))'):
        name, alert_state = alert["metric"]["alertname"], alert["metric"]["alertstate"]
        print(f"{flavour}: {name} was {alert_state} at some time")
        if alert_state == "firing":
            complaints.append(f"{flavour}: {name} fired on an idle cluster")
    groups = sum(line.startswith("- name: ") for file in RULES.glob("*.rules.yml") for line in file.read_text().splitlines())
    evaluated = len(query(state, "prometheus_rule_group_last_duration_seconds > 0"))
    print(f"{flavour}: {evaluated} of {groups} groups of rules were evaluated for {minutes} minutes")
    if evaluated != groups:
        complaints.append(f"{flavour}: {groups - evaluated} groups of rules were never evaluated")
    sys.exit("\n".join(complaints) or 0)


{"memory": memory, "idle": idle}[sys.argv[1]](*sys.argv[2:])

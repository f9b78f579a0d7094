#!/usr/bin/env python3
"""Kills Prometheus of a test cluster, and watches it come back: kill.py STATE

Fails where it is not ready within a minute, is killed for its memory, or needs more than 80 % of its limit.
"""

import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

MEBIBYTE = 1 << 20
SECONDS = 60
SHARE = 0.8

state = sys.argv[1]


def kubectl(*arguments):
    command = [f"{state}/bin/kubectl", "--kubeconfig", f"{state}/kubeconfig", "-n", "monitoring", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def pod():
    return json.loads(kubectl("get", "pod", "prometheus-0", "-o", "json"))


def resident(uid):
    """Memory of the pod's processes without page cache, by cgroup of version 1 or 2."""
    total = 0
    for file in glob.glob(f"/sys/fs/cgroup/**/*pod{uid}/*/memory.stat", recursive=True):
        try:
            stat = dict(line.split() for line in open(file))
        except OSError:  # the container has just gone
            continue
        total += int(stat.get("anon", stat.get("rss", 0)))
    return total


def processes(uid):
    """Process ids of the pod's containers, its sandbox aside."""
    for file in glob.glob(f"/sys/fs/cgroup/**/*pod{uid}/*/cgroup.procs", recursive=True):
        for pid in open(file).read().split():
            if os.readlink(f"/proc/{pid}/exe").endswith("/prometheus"):
                yield int(pid)


before = pod()
uid = before["metadata"]["uid"]
limit = before["spec"]["containers"][0]["resources"]["limits"]["memory"]
limit = int(limit.removesuffix("Mi")) * MEBIBYTE
steady = resident(uid)
[pid] = set(processes(uid))
os.kill(pid, signal.SIGKILL)
killed = time.monotonic()
peak = 0
ready = None
# A while longer than until it is ready: it compacts what it finds.
while ready is None or time.monotonic() < ready + 120:
    peak = max(peak, resident(uid))
    if ready is None:
        container = pod()["status"]["containerStatuses"][0]
        if container["restartCount"] > before["status"]["containerStatuses"][0]["restartCount"] and container["ready"]:
            ready = time.monotonic()
        elif time.monotonic() > killed + SECONDS:
            sys.exit(f"not ready {SECONDS} s after it was killed")
    time.sleep(0.05 if ready is None else 0.5)

container = pod()["status"]["containerStatuses"][0]
reason = container["lastState"]["terminated"]
restarts = container["restartCount"] - before["status"]["containerStatuses"][0]["restartCount"]
log = kubectl("logs", "prometheus-0")
replay = re.search(r'msg="WAL replay completed".*', log)
print(f"ready {ready - killed:.1f} s after it was killed; {replay.group(0) if replay else 'its log says nothing of a replay'}")
print(f"resident: {steady / MEBIBYTE:.0f} MiB before, {peak / MEBIBYTE:.0f} MiB at most after, limit {limit / MEBIBYTE:.0f} MiB")
if restarts != 1 or reason["reason"] == "OOMKilled":
    sys.exit(f"{restarts} restarts, the last because of {reason['reason']}")
if peak > SHARE * limit:
    sys.exit(f"more than {SHARE:.0%} of its limit")

#!/usr/bin/env python3
"""Two hours of samples, every 15 s, of the series that /api/v1/series answers: day.py HOURS_AGO <series.json >openmetrics"""

import json
import random
import sys
import time

INTERVAL = 15
HOURS = 2

# On the hours that blocks begin at, so that one file is one block.
start = (int(time.time()) - int(sys.argv[1]) * 3600) // (HOURS * 3600) * HOURS * 3600
out = sys.stdout


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


families = {}
for series in json.load(sys.stdin)["data"]:
    families.setdefault(series.pop("__name__"), []).append(series)
for name, all_series in families.items():
    # Of no declared type: OpenMetrics has rules for names of each type that Prometheus' own do not keep.
    out.write(f"# TYPE {name} unknown\n")
    for labels in all_series:
        selector = name + "{" + ",".join(f"{label}={quoted(value)}" for label, value in labels.items()) + "}"
        value = random.randrange(1_000_000)
        for at in range(start, start + HOURS * 3600, INTERVAL):
            value += random.randrange(50)
            out.write(f"{selector} {value} {at}\n")
out.write("# EOF\n")

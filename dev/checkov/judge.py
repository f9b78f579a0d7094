"""Compares what checkov found with the exceptions: judge.py EXCEPTIONS <report.json"""

import json
import sys
import tomllib

MOST_EXCEPTIONS = 6

report = json.load(sys.stdin)
with open(sys.argv[1], "rb") as file:
    exceptions = tomllib.load(file)

found = {(finding["check_id"], finding["resource"]): finding for finding in report["results"]["failed_checks"]}
excepted = {(check, resource) for check, entry in exceptions.items() for resource in entry["objects"]}

complaints = [
    f"{check} ({found[check, resource]['check_name']}): {resource}" for check, resource in sorted(found.keys() - excepted)
]
complaints += [f"{check}: {resource} is an exception that finds nothing" for check, resource in sorted(excepted - found.keys())]
complaints += [f"{check} has no reason" for check, entry in exceptions.items() if not entry["reason"].strip()]
if len(exceptions) > MOST_EXCEPTIONS:
    complaints.append(f"{len(exceptions)} exceptions; {MOST_EXCEPTIONS} at most")
if report["summary"]["parsing_errors"]:
    complaints.append(f"{report['summary']['parsing_errors']} files that it cannot read")
# An empty folder has no finding either.
if report["summary"]["passed"] < 400:
    complaints.append(f"only {report['summary']['passed']} checks passed: were all manifests there?")

if complaints:
    sys.exit("\n".join(complaints))
print(f"checkov: {report['summary']['passed']} checks passed, {len(found)} findings of {len(exceptions)} checks are exceptions, none else")

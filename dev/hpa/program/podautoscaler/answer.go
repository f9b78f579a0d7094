// Package podautoscaler is upstream's, changed by differences.patch; these files put vectors to it.
package podautoscaler

import (
	"fmt"
	"regexp"
	"time"

	"scalekit.test/hpa/vector"
)

// instant is where the clock stands: what lies on an edge has its answer only so.
var instant = time.Unix(1_800_000_000, 0).UTC()

// clock is what dev/hpa/run puts in the place of time.Now.
func clock() time.Time { return instant }

func ago(seconds int64) time.Time { return instant.Add(-time.Duration(seconds) * time.Second) }

func age(of time.Time) int64 { return int64(instant.Sub(of) / time.Second) }

// Answer is what upstream says to a vector and, of a whole decision, what that leaves behind.
func Answer(v *vector.Vector) (vector.Answer, *vector.After) {
	switch v.Kind + v.Stage {
	case "replicas":
		return replicas(v), nil
	case "group_pods":
		return groups(v), nil
	case "calculate_requests":
		return requests(v), nil
	case "per_pod_usage":
		return perPodUsage(v), nil
	case "rate", "rate_no_behavior":
		return rate(v), nil
	case "scale_up_limit", "scale_down_limit":
		return limit(v), nil
	case "stabilize", "stabilize_no_behavior":
		return stabilized(v), nil
	case "store_event":
		return storedEvent(v), nil
	case "default_rules":
		return defaultedRules(v), nil
	case "reconcile":
		return reconciled(v)
	}
	panic(fmt.Sprintf("nobody knows what %s is", v.Kind+v.Stage))
}

// What of an error's text is told; the rest is upstream's own way to put it.
var told = regexp.MustCompile(`no metrics returned matched known pods` +
	`|did not receive metrics for targeted pods \(pods might be unready\)` +
	`|no pods returned by selector while calculating replica count` +
	`|missing request for \S+ in container \S+ of Pod [^\s,]+` +
	`|container \S+ not found in Pod \S+` +
	`|no metrics returned from (resource|custom|external) metrics API` +
	`|unknown metric source type` +
	`|fetch failed [0-9]+`)

// errorOf is null for no error, and "" for one of which the text does not matter.
func errorOf(err error) any {
	if err == nil {
		return nil
	}
	return told.FindString(err.Error())
}

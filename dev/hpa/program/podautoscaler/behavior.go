package podautoscaler

import (
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	autoscalingapiv2 "k8s.io/kubernetes/pkg/apis/autoscaling/v2"

	"scalekit.test/hpa/vector"
)

const (
	name = "hpa"
	key  = namespace + "/" + name
)

// controllerOf has what is remembered of one HPA, and of what it works with nothing yet.
func controllerOf(v *vector.Vector) *HorizontalController {
	a := &HorizontalController{
		recommendations:              map[string][]timestampedRecommendation{},
		scaleUpEvents:                map[string][]timestampedScaleEvent{key: eventsOf(v.Ups)},
		scaleDownEvents:              map[string][]timestampedScaleEvent{key: eventsOf(v.Downs)},
		downscaleStabilisationWindow: time.Duration(vector.Or(v.DownscaleWindow, 300)) * time.Second,
	}
	if v.Recommendations != nil {
		// One that was never looked at has no log, which is not an empty one.
		log := []timestampedRecommendation{}
		for _, r := range *v.Recommendations {
			log = append(log, timestampedRecommendation{r.Replicas, ago(r.Age)})
		}
		a.recommendations[key] = log
	}
	return a
}

func eventsOf(events []vector.Event) (list []timestampedScaleEvent) {
	for _, e := range events {
		list = append(list, timestampedScaleEvent{e.Change, ago(e.Age), e.Outdated})
	}
	return list
}

func rulesOf(r *vector.Rules) *autoscalingv2.HPAScalingRules {
	if r == nil {
		return nil
	}
	rules := &autoscalingv2.HPAScalingRules{
		StabilizationWindowSeconds: r.Window,
		SelectPolicy:               (*autoscalingv2.ScalingPolicySelect)(r.Select),
	}
	if r.Tolerance != nil {
		rules.Tolerance = &r.Tolerance.Quantity
	}
	if r.Policies != nil {
		rules.Policies = []autoscalingv2.HPAScalingPolicy{}
		for _, p := range *r.Policies {
			rules.Policies = append(rules.Policies, autoscalingv2.HPAScalingPolicy{
				Type: autoscalingv2.HPAScalingPolicyType(p.Type), Value: p.Value, PeriodSeconds: p.Period,
			})
		}
	}
	return rules
}

// behaviorOf is nil for none, else with the API server's defaults.
func behaviorOf(b *vector.Behavior) *autoscalingv2.HorizontalPodAutoscalerBehavior {
	if b == nil {
		return nil
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{}
	hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: rulesOf(b.Up), ScaleDown: rulesOf(b.Down)}
	autoscalingapiv2.SetDefaults_HorizontalPodAutoscaler(hpa)
	return hpa.Spec.Behavior
}

func rate(v *vector.Vector) vector.Answer {
	least, most := vector.Or(v.Min, 1), vector.Or(v.Max, math.MaxInt32)
	var count int32
	var reason string
	if b := behaviorOf(v.Behavior); b == nil {
		count, reason, _ = convertDesiredReplicasWithRules(*v.CurrentReplicas, *v.DesiredReplicas, least, most)
	} else {
		count, reason, _ = controllerOf(v).convertDesiredReplicasWithBehaviorRate(NormalizationArg{
			Key: key, ScaleUpBehavior: b.ScaleUp, ScaleDownBehavior: b.ScaleDown, MinReplicas: least, MaxReplicas: most,
			CurrentReplicas: *v.CurrentReplicas, DesiredReplicas: *v.DesiredReplicas,
		})
	}
	return vector.Answer{"replicas": count, "reason": reason, "error": nil}
}

func limit(v *vector.Vector) vector.Answer {
	b, ups, downs := behaviorOf(v.Behavior), eventsOf(v.Ups), eventsOf(v.Downs)
	var count int32
	if v.Stage == "scale_up_limit" {
		count = calculateScaleUpLimitWithScalingRules(*v.CurrentReplicas, ups, downs, b.ScaleUp)
	} else {
		count = calculateScaleDownLimitWithBehaviors(*v.CurrentReplicas, ups, downs, b.ScaleDown)
	}
	return vector.Answer{"replicas": count, "error": nil}
}

func stabilized(v *vector.Vector) vector.Answer {
	a := controllerOf(v)
	var count int32
	if v.Stage == "stabilize" {
		within := func(window int64) *autoscalingv2.HPAScalingRules {
			seconds := int32(window)
			return &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &seconds}
		}
		count, _, _ = a.stabilizeRecommendationWithBehaviors(NormalizationArg{
			Key: key, ScaleUpBehavior: within(*v.UpWindow), ScaleDownBehavior: within(*v.DownWindow),
			CurrentReplicas: *v.CurrentReplicas, DesiredReplicas: *v.DesiredReplicas,
		})
	} else {
		count = a.stabilizeRecommendation(key, *v.DesiredReplicas)
	}
	log := logOf(a)
	return vector.Answer{"replicas": count, "recommendations": log, "recommendations_len": len(log), "error": nil}
}

func logOf(a *HorizontalController) []int32 {
	log := []int32{}
	for _, r := range a.recommendations[key] {
		log = append(log, r.recommendation)
	}
	return log
}

func storedEvent(v *vector.Vector) vector.Answer {
	a, before := controllerOf(v), eventsOf(v.Events)
	events := a.scaleDownEvents
	if v.Direction == "up" {
		events = a.scaleUpEvents
	}
	change := getReplicasChangePerPeriod(60, before)
	events[key] = before
	a.storeScaleEvent(behaviorOf(v.Behavior), key, *v.Prev, *v.New)
	after := []map[string]any{}
	for _, e := range events[key] {
		after = append(after, map[string]any{"change": e.replicaChange, "outdated": e.outdated})
	}
	return vector.Answer{"change_in_last_60s": change, "events": after, "error": nil}
}

func defaultedRules(v *vector.Vector) vector.Answer {
	generate := autoscalingapiv2.GenerateHPAScaleDownRules
	if v.Direction == "up" {
		generate = autoscalingapiv2.GenerateHPAScaleUpRules
	}
	rules := generate(rulesOf(v.Rules))
	policies := []vector.Policy{}
	for _, p := range rules.Policies {
		policies = append(policies, vector.Policy{Type: string(p.Type), Value: p.Value, Period: p.PeriodSeconds})
	}
	return vector.Answer{"error": nil, "rules": map[string]any{
		"stabilization_window_s": rules.StabilizationWindowSeconds, "select_policy": rules.SelectPolicy, "policies": policies,
	}}
}

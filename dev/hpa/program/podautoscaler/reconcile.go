package podautoscaler

import (
	"context"
	"math"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
	autoscalingapiv2 "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	consistencyutil "k8s.io/kubernetes/pkg/controller/util/consistency"
	"k8s.io/kubernetes/pkg/controller/util/selectors"

	"scalekit.test/hpa/vector"
)

// before marks a condition that was there: the reason in an answer is of one that the decision set.
const before = "of before"

// reconciled is a whole decision, by reconcileAutoscaler itself.
func reconciled(v *vector.Vector) (vector.Answer, *vector.After) {
	setGate("PodLevelResources", true)
	for name, unset := range map[string]bool{"HPAScaleToZero": false, "HPAConfigurableTolerance": true} {
		value, said := v.Gates[name]
		setGate(name, said && value || !said && unset)
	}
	hpa, target, watched, status := hpaOf(v), targetOf(v), &watcher{}, &statuses{}
	of := answersTo(v, hpa, watched)
	autoscalingapiv2.SetDefaults_HorizontalPodAutoscaler(hpa)

	a := controllerOf(v)
	a.scaleNamespacer, a.hpaNamespacer, a.mapper, a.monitor = target, status, mapper{}, watched
	a.eventRecorder = &record.FakeRecorder{}
	a.consistencyStore = consistencyutil.NewNoopConsistencyStore()
	a.selectorTracker = newHPASelectorStore()
	a.selectorTracker.PutIfAbsent(namespace, selectors.Key{Namespace: namespace, Name: name}, labels.Nothing())
	a.tolerance = vector.Or(v.Tolerance, 0.1)
	pods := lister{podsOf(v.Pods, resourceOf(v))}
	a.podLister, a.replicaCalc = pods, calculatorOf(of, pods)

	err := a.reconcileAutoscaler(context.Background(), hpa, key)

	told := hpa.Status
	if status.written != nil {
		told = *status.written
	}
	after := afterOf(a, target, told)
	log := logOf(a)
	return vector.Answer{
		"replicas": after.Replicas, "scale_updated": target.updated, "action": watched.action,
		"utilization": utilizationOf(told), "conditions": after.Conditions, "reason": reasonOf(told),
		"recommendations": log, "recommendations_len": len(log), "error": errorOf(err),
	}, after
}

func hpaOf(v *vector.Vector) *autoscalingv2.HorizontalPodAutoscaler {
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: "u"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "target"},
			MinReplicas:    v.Min,
			MaxReplicas:    vector.Or(v.Max, math.MaxInt32),
			Behavior:       behaviorOf(v.Behavior),
		},
	}
	for _, c := range v.Conditions {
		hpa.Status.Conditions = append(hpa.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
			Type:   autoscalingv2.HorizontalPodAutoscalerConditionType(c.Type),
			Status: v1.ConditionStatus(c.Status), Reason: c.Reason, Message: before,
		})
	}
	return hpa
}

func targetOf(v *vector.Vector) *scaled {
	return &scaled{scale: &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "target", Namespace: namespace},
		Spec:       autoscalingv1.ScaleSpec{Replicas: *v.CurrentReplicas},
		Status:     autoscalingv1.ScaleStatus{Replicas: vector.Or(v.StatusReplicas, *v.CurrentReplicas), Selector: "app=x"},
	}}
}

// resourceOf is what the pods of a vector request.
func resourceOf(v *vector.Vector) string {
	for _, m := range v.Metrics {
		if m.Resource != "" {
			return m.Resource
		}
	}
	return "cpu"
}

func afterOf(a *HorizontalController, target *scaled, told autoscalingv2.HorizontalPodAutoscalerStatus) *vector.After {
	after := &vector.After{Replicas: target.scale.Spec.Replicas, Conditions: []vector.Condition{}}
	for _, r := range a.recommendations[key] {
		after.Recommendations = append(after.Recommendations, vector.Recommendation{Replicas: r.recommendation, Age: age(r.timestamp)})
	}
	events := func(list []timestampedScaleEvent) (events []vector.Event) {
		for _, e := range list {
			events = append(events, vector.Event{Change: e.replicaChange, Age: age(e.timestamp), Outdated: e.outdated})
		}
		return events
	}
	after.Ups, after.Downs = events(a.scaleUpEvents[key]), events(a.scaleDownEvents[key])
	for _, c := range told.Conditions {
		after.Conditions = append(after.Conditions, vector.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason})
	}
	return after
}

func reasonOf(told autoscalingv2.HorizontalPodAutoscalerStatus) any {
	for _, c := range told.Conditions {
		if c.Type == autoscalingv2.ScalingLimited && c.Message != before {
			return c.Reason
		}
	}
	return nil
}

// utilizationOf is that of the first metric that has one.
func utilizationOf(told autoscalingv2.HorizontalPodAutoscalerStatus) any {
	for _, m := range told.CurrentMetrics {
		var current autoscalingv2.MetricValueStatus
		switch {
		case m.Resource != nil:
			current = m.Resource.Current
		case m.ContainerResource != nil:
			current = m.ContainerResource.Current
		}
		if current.AverageUtilization != nil {
			return *current.AverageUtilization
		}
	}
	return nil
}

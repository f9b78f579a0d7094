package podautoscaler

import (
	"context"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"

	metricsclient "scalekit.test/hpa/podautoscaler/metrics"
	"scalekit.test/hpa/vector"
)

// What the vectors say of the periods in which a pod starts is what upstream's own tests have.
func calculatorOf(of func(name string) *served, pods lister) *ReplicaCalculator {
	return NewReplicaCalculator(clientOf(of), pods, defaultTestingCPUInitializationPeriod, defaultTestingDelayOfInitialReadinessStatus)
}

func replicas(v *vector.Vector) vector.Answer {
	setGate("PodLevelResources", true)
	common := vector.Or(v.Tolerance, 0.1)
	tolerances := Tolerances{scaleDown: vector.Or(v.ToleranceDown, common), scaleUp: vector.Or(v.ToleranceUp, common)}
	current, target, name := vector.Or(v.CurrentReplicas, 0), v.Target.Value, v1.ResourceName(v.Resource)
	ctx, everything := context.Background(), labels.Everything()
	object := &autoscalingv2.CrossVersionObjectReference{Kind: "Service", Name: "s", APIVersion: "v1"}

	var answered *served
	switch v.MetricType {
	case "Resource", "ContainerResource":
		answered = resourceSamples(samplesOf(v.Pods, v.ExtraMetrics), v.Resource, v.Container)
	case "Pods":
		answered = customSamples(samplesOf(v.Pods, v.ExtraMetrics))
	default:
		answered = series(v.MetricValues)
	}
	c := calculatorOf(func(string) *served { return answered }, lister{podsOf(v.Pods, v.Resource)})

	var (
		count       int32
		usage       int64
		utilization any
		err         error
	)
	switch v.MetricType {
	case "Resource", "ContainerResource":
		if v.Target.Type == "Utilization" {
			var percent int32
			count, percent, usage, _, err = c.GetResourceReplicas(ctx, current, int32(target), name, tolerances, namespace, everything, v.Container)
			utilization = percent
		} else {
			count, usage, _, err = c.GetRawResourceReplicas(ctx, current, target, name, tolerances, namespace, everything, v.Container)
		}
	case "Pods":
		count, usage, _, err = c.GetMetricReplicas(current, target, "metric", tolerances, namespace, everything, everything)
	case "Object":
		count, usage, _, err = c.GetObjectMetricReplicas(current, target, "metric", tolerances, namespace, object, everything, everything)
	case "ObjectPerPod":
		count, usage, _, err = c.GetObjectPerPodMetricReplicas(current, target, "metric", tolerances, namespace, object, everything)
	case "External":
		count, usage, _, err = c.GetExternalMetricReplicas(current, target, "metric", tolerances, namespace, &metav1.LabelSelector{}, everything)
	case "ExternalPerPod":
		count, usage, _, err = c.GetExternalPerPodMetricReplicas(current, target, "metric", tolerances, namespace, &metav1.LabelSelector{})
	}
	if err != nil {
		return vector.Answer{"replicas": nil, "error": errorOf(err)}
	}
	return vector.Answer{"replicas": count, "usage": usage, "utilization": utilization, "error": nil}
}

func groups(v *vector.Vector) vector.Answer {
	samples := metricsclient.PodMetricsInfo{}
	for _, s := range samplesOf(v.Pods) {
		samples[s.pod] = metricsclient.PodMetric{Value: s.value, Timestamp: ago(s.age), Window: time.Duration(s.window) * time.Second}
	}
	ready, unready, missing, ignored := groupPods(podsOf(v.Pods, "cpu"), samples, v1.ResourceName(v.Resource),
		defaultTestingCPUInitializationPeriod, defaultTestingDelayOfInitialReadinessStatus)
	sorted := func(names sets.Set[string]) []string {
		list := names.UnsortedList()
		slices.Sort(list)
		return list
	}
	return vector.Answer{
		"ready_count": ready, "unready": sorted(unready), "missing": sorted(missing), "ignored": sorted(ignored), "error": nil,
	}
}

func requests(v *vector.Vector) vector.Answer {
	setGate("PodLevelResources", v.PodLevelGate)
	requests, err := calculateRequests(podsOf(v.Pods, v.Resource), v.Container, v1.ResourceName(v.Resource))
	if err != nil {
		return vector.Answer{"requests_milli": nil, "error": errorOf(err)}
	}
	return vector.Answer{"requests_milli": requests, "error": nil}
}

// perPodUsage asks for a metric of one series, since 1.37 has no function of its own for its share.
func perPodUsage(v *vector.Vector) vector.Answer {
	c := calculatorOf(func(string) *served { return series([]int64{*v.Usage}) }, lister{})
	_, usage, _, err := c.GetExternalPerPodMetricReplicas(vector.Or(v.StatusReplicas, 0), 1000, "metric", Tolerances{}, namespace, &metav1.LabelSelector{})
	return vector.Answer{"usage": usage, "error": errorOf(err)}
}

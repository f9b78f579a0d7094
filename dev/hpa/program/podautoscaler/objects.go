package podautoscaler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	autoscalingclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	scaleclient "k8s.io/client-go/scale"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/monitor"

	"scalekit.test/hpa/vector"
)

// scaled is the one target that there is.
type scaled struct {
	scaleclient.ScaleInterface
	scale   *autoscalingv1.Scale
	updated bool
}

func (s *scaled) Scales(string) scaleclient.ScaleInterface { return s }

func (s *scaled) Get(context.Context, schema.GroupResource, string, metav1.GetOptions) (*autoscalingv1.Scale, error) {
	return s.scale.DeepCopy(), nil
}

func (s *scaled) Update(_ context.Context, _ schema.GroupResource, scale *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	s.updated = true
	s.scale = scale.DeepCopy()
	return scale, nil
}

// statuses keeps the status that was written.
type statuses struct {
	autoscalingclient.HorizontalPodAutoscalerInterface
	written *autoscalingv2.HorizontalPodAutoscalerStatus
}

func (s *statuses) HorizontalPodAutoscalers(string) autoscalingclient.HorizontalPodAutoscalerInterface {
	return s
}

func (s *statuses) UpdateStatus(_ context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, _ metav1.UpdateOptions) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	s.written = hpa.Status.DeepCopy()
	return hpa, nil
}

type mapper struct{ apimeta.RESTMapper }

func (mapper) RESTMappings(kind schema.GroupKind, _ ...string) ([]*apimeta.RESTMapping, error) {
	return []*apimeta.RESTMapping{{Resource: schema.GroupVersionResource{Group: kind.Group, Version: "v1", Resource: "deployments"}}}, nil
}

// watcher sees what was done, and how many metrics are done with.
type watcher struct {
	monitor.Monitor
	action  string
	metrics int
}

func (w *watcher) ObserveReconciliationResult(action monitor.ActionLabel, _ monitor.ErrorLabel, _ time.Duration) {
	w.action = string(action)
}

func (w *watcher) ObserveMetricComputationResult(monitor.ActionLabel, monitor.ErrorLabel, time.Duration, autoscalingv2.MetricSourceType) {
	w.metrics++
}

func (w *watcher) ObserveDesiredReplicas(string, string, int32) {}

// answersTo gives the HPA the metrics of a vector, and says what the metrics APIs answer to each. One without a name is the
// one that is looked at now.
func answersTo(v *vector.Vector, hpa *autoscalingv2.HorizontalPodAutoscaler, w *watcher) func(name string) *served {
	byName := map[string]*served{}
	byPlace := make([]*served, len(v.Metrics))
	for i, m := range v.Metrics {
		name := fmt.Sprintf("metric-%d", i)
		spec := specOf(m, name)
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, spec)
		byPlace[i] = servedOf(m, spec)
		byName[name] = byPlace[i]
	}
	return func(name string) *served {
		if name == "" {
			return byPlace[w.metrics]
		}
		return byName[name]
	}
}

func specOf(m vector.Metric, name string) autoscalingv2.MetricSpec {
	identifier, target := autoscalingv2.MetricIdentifier{Name: name}, metricTargetOf(m.Target)
	spec := autoscalingv2.MetricSpec{Type: autoscalingv2.MetricSourceType(strings.TrimSuffix(m.MetricType, "PerPod"))}
	switch spec.Type {
	case autoscalingv2.ResourceMetricSourceType:
		spec.Resource = &autoscalingv2.ResourceMetricSource{Name: v1.ResourceName(m.Resource), Target: target}
	case autoscalingv2.ContainerResourceMetricSourceType:
		spec.ContainerResource = &autoscalingv2.ContainerResourceMetricSource{Name: v1.ResourceName(m.Resource), Container: m.Container, Target: target}
	case autoscalingv2.PodsMetricSourceType:
		spec.Pods = &autoscalingv2.PodsMetricSource{Metric: identifier, Target: target}
	case autoscalingv2.ObjectMetricSourceType:
		object := autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "s"}
		spec.Object = &autoscalingv2.ObjectMetricSource{Metric: identifier, Target: target, DescribedObject: object}
	case autoscalingv2.ExternalMetricSourceType:
		spec.External = &autoscalingv2.ExternalMetricSource{Metric: identifier, Target: target}
	}
	return spec
}

func metricTargetOf(t *vector.Target) (target autoscalingv2.MetricTarget) {
	if t == nil {
		return target
	}
	target.Type = autoscalingv2.MetricTargetType(t.Type)
	quantity, percent := milli(t.Value), int32(t.Value)
	switch target.Type {
	case autoscalingv2.UtilizationMetricType:
		target.AverageUtilization = &percent
	case autoscalingv2.AverageValueMetricType:
		target.AverageValue = &quantity
	case autoscalingv2.ValueMetricType:
		target.Value = &quantity
	}
	return target
}

func servedOf(m vector.Metric, spec autoscalingv2.MetricSpec) *served {
	var samples []sample
	for pod, value := range vector.Or(m.PodMetrics, nil) {
		samples = append(samples, sample{pod, value, vector.Or(m.MetricAge, 0), vector.Or(m.MetricWindow, 60)})
	}
	switch {
	case m.FetchError != nil:
		return &served{err: errors.New(*m.FetchError)}
	case spec.Resource != nil:
		return resourceSamples(samples, m.Resource, "")
	case spec.ContainerResource != nil:
		return resourceSamples(samples, m.Resource, m.Container)
	case spec.Pods != nil:
		return customSamples(samples)
	default:
		return series(vector.Or(m.MetricValues, nil))
	}
}

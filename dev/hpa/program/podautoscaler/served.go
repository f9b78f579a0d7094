package podautoscaler

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	cmapi "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	emapi "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	metricsapi "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	resourceclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
	customclient "k8s.io/metrics/pkg/client/custom_metrics"
	externalclient "k8s.io/metrics/pkg/client/external_metrics"

	metricsclient "scalekit.test/hpa/podautoscaler/metrics"
	"scalekit.test/hpa/vector"
)

// served is what a metrics API answers to one question. Upstream's own client reads it.
type served struct {
	pods     *metricsapi.PodMetricsList
	custom   *cmapi.MetricValueList
	object   []cmapi.MetricValue
	external *emapi.ExternalMetricValueList
	err      error
}

// apis are all three, by the name of the metric. The API for resources is not told which metric asks: it has no name.
type apis struct{ of func(name string) *served }

func clientOf(of func(name string) *served) metricsclient.MetricsClient {
	a := apis{of}
	return metricsclient.NewRESTMetricsClient(a, customAPI{a}, externalAPI{a})
}

type podMetrics struct {
	resourceclient.PodMetricsInterface
	apis
}

func (a apis) PodMetricses(string) resourceclient.PodMetricsInterface { return podMetrics{apis: a} }

func (p podMetrics) List(context.Context, metav1.ListOptions) (*metricsapi.PodMetricsList, error) {
	s := p.of("")
	return s.pods, s.err
}

type customAPI struct{ apis }

func (c customAPI) RootScopedMetrics() customclient.MetricsInterface { return customMetrics(c) }

func (c customAPI) NamespacedMetrics(string) customclient.MetricsInterface { return customMetrics(c) }

type customMetrics struct{ apis }

func (c customMetrics) GetForObjects(_ schema.GroupKind, _ labels.Selector, name string, _ labels.Selector) (*cmapi.MetricValueList, error) {
	s := c.of(name)
	return s.custom, s.err
}

func (c customMetrics) GetForObject(_ schema.GroupKind, _ string, name string, _ labels.Selector) (*cmapi.MetricValue, error) {
	s := c.of(name)
	if s.err != nil {
		return nil, s.err
	}
	if len(s.object) != 1 {
		return nil, fmt.Errorf("the custom metrics API server returned %d results when we asked for exactly one", len(s.object))
	}
	return &s.object[0], nil
}

type externalAPI struct{ apis }

func (e externalAPI) NamespacedMetrics(string) externalclient.MetricsInterface {
	return externalMetrics(e)
}

type externalMetrics struct{ apis }

func (e externalMetrics) List(name string, _ labels.Selector) (*emapi.ExternalMetricValueList, error) {
	s := e.of(name)
	return s.external, s.err
}

// sample is of one pod.
type sample struct {
	pod         string
	value       int64
	age, window int64
}

func samplesOf(lists ...[]vector.Pod) (samples []sample) {
	for _, pods := range lists {
		for _, p := range pods {
			if p.Metric != nil {
				samples = append(samples, sample{p.Name, *p.Metric, vector.Or(p.MetricAge, 0), vector.Or(p.MetricWindow, 60)})
			}
		}
	}
	return samples
}

func milli(value int64) resource.Quantity {
	return *resource.NewMilliQuantity(value, resource.DecimalSI)
}

func resourceSamples(samples []sample, name, container string) *served {
	list := &metricsapi.PodMetricsList{}
	for _, s := range samples {
		item := metricsapi.PodMetrics{
			ObjectMeta: metav1.ObjectMeta{Name: s.pod, Namespace: namespace},
			Timestamp:  metav1.NewTime(ago(s.age)),
			Window:     metav1.Duration{Duration: time.Duration(s.window) * time.Second},
		}
		use := func(container string, value int64) {
			usage := v1.ResourceList{v1.ResourceName(name): milli(value)}
			item.Containers = append(item.Containers, metricsapi.ContainerMetrics{Name: container, Usage: usage})
		}
		if container == "" {
			use("one", s.value/2)
			use("other", s.value-s.value/2)
		} else {
			// What another container uses does not matter.
			use("before-"+container, 987_654_321)
			use(container, s.value)
			use("behind-"+container, 123_456_789)
		}
		list.Items = append(list.Items, item)
	}
	return &served{pods: list}
}

func customSamples(samples []sample) *served {
	list := &cmapi.MetricValueList{}
	for _, s := range samples {
		list.Items = append(list.Items, cmapi.MetricValue{
			DescribedObject: v1.ObjectReference{Name: s.pod, Namespace: namespace},
			Timestamp:       metav1.NewTime(ago(s.age)),
			WindowSeconds:   &s.window,
			Value:           milli(s.value),
		})
	}
	return &served{custom: list}
}

func series(values []int64) *served {
	s := &served{external: &emapi.ExternalMetricValueList{}}
	at := metav1.NewTime(instant)
	for _, value := range values {
		s.object = append(s.object, cmapi.MetricValue{Value: milli(value), Timestamp: at})
		s.external.Items = append(s.external.Items, emapi.ExternalMetricValue{Value: milli(value), Timestamp: at})
	}
	return s
}

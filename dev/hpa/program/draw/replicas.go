package draw

import (
	"fmt"

	"scalekit.test/hpa/vector"
)

// replicas draws from pods and samples to a count.
func (g *Generator) replicas(metricType, targetType string) *vector.Vector {
	v := &vector.Vector{Kind: "replicas", MetricType: metricType}
	g.succeeded = g.chance(12)
	tol := g.tolerate(v)
	l := g.load(tol)
	perPod := metricType == "Resource" || metricType == "ContainerResource" || metricType == "Pods"
	if metricType == "Resource" || metricType == "ContainerResource" {
		v.Resource = pick(g, "cpu", "cpu", "cpu", "cpu", "memory", "memory", "example.com/gpu")
	}
	if metricType == "ContainerResource" {
		v.Container = "app"
	}
	v.Target = &vector.Target{Type: targetType}
	if targetType == "Utilization" {
		v.Target.Value = g.percent()
	} else {
		v.Target.Value = g.targetValue()
	}
	n := g.size()
	s := g.style(v.Resource, v.Container)
	for i := range n {
		p, request := g.pod(fmt.Sprintf("p%d", i), s)
		if perPod && !g.chance(s.silent) {
			base := float64(v.Target.Value)
			if targetType == "Utilization" {
				base = float64(request) * float64(v.Target.Value) / 100
			}
			p.Metric = new(g.value(base, l))
			g.sampleTimes(&p)
		}
		v.Pods = append(v.Pods, p)
	}
	current := int32(n)
	switch g.Intn(4) {
	case 0:
		current = g.near(current)
	case 1:
		current = g.count()
	}
	v.CurrentReplicas = new(current)
	if perPod && g.chance(12) {
		for i := range 1 + g.Intn(2) {
			p := vector.Pod{Name: fmt.Sprintf("gone%d", i), Metric: new(g.value(float64(v.Target.Value), l))}
			g.sampleTimes(&p)
			v.ExtraMetrics = append(v.ExtraMetrics, p)
		}
	}
	if !perPod {
		series := 1
		if metricType == "External" || metricType == "ExternalPerPod" {
			series = pick(g, 1, 1, 1, 2, 3, 5)
		}
		if g.chance(2) {
			series = 0
		}
		total := float64(v.Target.Value)
		if metricType == "ObjectPerPod" || metricType == "ExternalPerPod" {
			total *= float64(max(current, 1))
			if g.chance(25) {
				total = float64(v.Target.Value) * float64(g.Intn(30))
			}
		}
		for range series {
			v.MetricValues = append(v.MetricValues, g.value(total/float64(series), l))
		}
		if g.chance(50) {
			for i := range v.Pods {
				v.Pods[i] = withoutRequests(v.Pods[i])
			}
		}
	}
	return v
}

func (g *Generator) groupPods() *vector.Vector {
	v := &vector.Vector{Kind: "group_pods", Resource: pick(g, "cpu", "cpu", "cpu", "memory", "")}
	g.succeeded = g.chance(12)
	s := g.style("cpu", "")
	s.healthy = false
	for i := range g.size() {
		p, _ := g.pod(fmt.Sprintf("p%d", i), s)
		p = withoutRequests(p)
		if g.chance(80) {
			p.Metric = new(int64(g.Intn(100)))
			g.sampleTimes(&p)
		}
		v.Pods = append(v.Pods, p)
	}
	return v
}

func (g *Generator) calculateRequests() *vector.Vector {
	v := &vector.Vector{Kind: "calculate_requests", Resource: pick(g, "cpu", "memory"), PodLevelGate: g.chance(50)}
	if g.chance(40) {
		v.Container = pick(g, "app", "app", "other", "init0", "nobody")
	}
	style := v.Container
	if g.chance(50) || style == "init0" || style == "other" {
		style = ""
	}
	s := g.style(v.Resource, style)
	s.shape = pick(g, 1, 2, 2, 2, 3)
	for i := range g.Intn(4) {
		p, _ := g.pod(fmt.Sprintf("p%d", i), s)
		if p.Request == nil && p.ContainerRequests == nil && p.Containers == nil {
			p.Containers = &[]vector.Container{}
		}
		v.Pods = append(v.Pods, p)
	}
	return v
}

func (g *Generator) perPodUsage() *vector.Vector {
	v := &vector.Vector{Kind: "per_pod_usage", StatusReplicas: new(g.count()), Usage: new(int64(g.Intn(1_000_000)))}
	if g.extreme || g.chance(30) {
		v.Usage = new(g.edge64())
	}
	if !g.negative && *v.Usage < 0 {
		v.Usage = new(-(*v.Usage + 1))
	}
	return v
}

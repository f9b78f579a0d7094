package draw

import (
	"fmt"

	"scalekit.test/hpa/vector"
)

// metric draws the metric at a place, of pods with such requests.
func (g *Generator) metric(i int, v *vector.Vector, resource string, requests map[string]int64, tol []float64) vector.Metric {
	kind := pick(g, "Resource", "Resource", "Resource", "ContainerResource", "Pods", "Pods", "Object", "ObjectPerPod", "External", "ExternalPerPod")
	if g.chance(4) {
		return vector.Metric{MetricType: "CheddarCheese"}
	}
	if *v.CurrentReplicas == 0 && g.chance(70) {
		kind = pick(g, "Object", "ObjectPerPod", "External", "ExternalPerPod")
	}
	m := vector.Metric{MetricType: kind}
	l := g.load(tol)
	perPod := false
	switch kind {
	case "Resource", "ContainerResource":
		perPod = true
		m.Resource = resource
		if i > 0 && g.chance(10) {
			m.Resource = pick(g, "cpu", "memory")
		}
		if kind == "ContainerResource" {
			m.Container = "app"
		}
		m.Target = &vector.Target{Type: "Utilization", Value: g.percent()}
		if g.chance(30) {
			m.Target = &vector.Target{Type: "AverageValue", Value: g.targetValue()}
		}
		if g.chance(2) {
			m.Target = &vector.Target{Type: "Value", Value: g.targetValue()}
		}
	case "Pods":
		perPod = true
		m.Target = &vector.Target{Type: "AverageValue", Value: g.targetValue()}
	case "Object", "External":
		m.Target = &vector.Target{Type: "Value", Value: g.targetValue()}
		if g.chance(2) {
			m.Target = &vector.Target{Type: "Utilization", Value: g.percent()}
		}
	default:
		m.Target = &vector.Target{Type: "AverageValue", Value: g.targetValue()}
	}
	if kind != "Pods" && g.chance(3) {
		m.Target = nil
	}
	if g.chance(12) {
		m.FetchError = new(fmt.Sprintf("fetch failed %d", i))
		return m
	}
	base := 1000.0
	if m.Target != nil {
		base = float64(m.Target.Value)
	}
	if perPod {
		values := map[string]int64{}
		silent := pick(g, 0, 0, 0, 20, 60)
		for name, request := range requests {
			if g.chance(silent) {
				continue
			}
			b := base
			if m.Target != nil && m.Target.Type == "Utilization" {
				b = float64(request) * base / 100
			}
			values[name] = g.value(b, l)
		}
		if g.chance(6) {
			values["gone"] = g.value(base, l)
		}
		if g.chance(3) {
			values = map[string]int64{}
		}
		m.PodMetrics = &values
		if g.chance(60) {
			m.MetricAge = new(g.age())
		}
		if g.chance(20) {
			m.MetricWindow = new(pick(g, int64(0), 15, 30, 60, 120))
		}
		return m
	}
	series := 1
	if kind == "External" || kind == "ExternalPerPod" {
		series = pick(g, 1, 1, 1, 2, 3)
	}
	if g.chance(4) {
		series = 0
	}
	total := base
	if kind == "ObjectPerPod" || kind == "ExternalPerPod" {
		total *= float64(max(1, vector.Or(v.StatusReplicas, *v.CurrentReplicas)))
	}
	values := []int64{}
	for range series {
		values = append(values, g.value(total/float64(series), l))
	}
	m.MetricValues = &values
	return m
}

// reconcile draws a whole decision, or one about a target that has no replicas or is to have none.
func (g *Generator) reconcile(zero bool) *vector.Vector {
	v := &vector.Vector{Stage: "reconcile", Gates: map[string]bool{}}
	g.succeeded = g.chance(10)
	n := g.size()
	current := int32(n)
	switch g.Intn(6) {
	case 0:
		current = g.near(current)
	case 1:
		current = g.count()
	}
	if zero {
		current = pick(g, int32(0), 0, 0, 0, 1, 1, 2, 5)
		if g.chance(70) {
			n = int(min(current, 50))
		}
		v.Gates["HPAScaleToZero"] = g.chance(75)
	} else if g.chance(50) {
		v.Gates["HPAScaleToZero"] = g.chance(50)
	}
	if g.chance(20) {
		v.Gates["HPAConfigurableTolerance"] = g.chance(50)
	}
	v.CurrentReplicas = new(current)
	switch g.Intn(6) {
	case 0:
		v.StatusReplicas = new(g.near(current))
	case 1:
		v.StatusReplicas = new(current)
	}
	v.Min, v.Max = g.bounds(current)
	if zero && g.chance(50) {
		v.Min = new(int32(0))
	}
	if g.chance(35) {
		// Well within.
		v.Min, v.Max = new(min(vector.Or(v.Min, 1), 1)), new(max(*v.Max, 1000))
	}
	if g.chance(60) {
		v.Behavior = g.behavior()
	}
	if g.chance(40) {
		v.Tolerance = new(pick(g, tolerances...))
	}
	if g.chance(40) {
		v.DownscaleWindow = new(pick(g, int64(0), 15, 60, 300, 600))
	}
	tol := []float64{vector.Or(v.Tolerance, 0.1)}
	if v.Behavior != nil {
		for _, r := range []*vector.Rules{v.Behavior.Up, v.Behavior.Down} {
			if r != nil && r.Tolerance != nil {
				tol = append(tol, r.Tolerance.Fraction())
			}
		}
	}
	resource := pick(g, "cpu", "cpu", "cpu", "memory")
	container := ""
	if g.chance(30) {
		container = "app"
	}
	s := g.style(resource, container)
	s.healthy = g.chance(65)
	if g.chance(70) {
		s.missing = 0
	}
	requests := map[string]int64{}
	for i := range n {
		p, request := g.pod(fmt.Sprintf("p%d", i), s)
		v.Pods = append(v.Pods, p)
		requests[p.Name] = request
	}
	for i := range pick(g, 1, 1, 1, 2, 2, 3, 4) {
		v.Metrics = append(v.Metrics, g.metric(i, v, resource, requests, tol))
	}
	ages := g.times(v.Behavior, vector.Or(v.DownscaleWindow, 300))
	if g.chance(75) {
		v.Recommendations = new(g.recommendations(current, ages))
	}
	if g.chance(25) {
		v.Recommendations = &[]vector.Recommendation{}
	}
	if v.Behavior != nil || g.chance(10) {
		v.Ups, v.Downs = g.events(ages), g.events(ages)
	}
	kinds := []string{"AbleToScale", "ScalingActive", "ScalingLimited", "ScaledToZero"}
	g.Shuffle(4, func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for _, kind := range kinds {
		likely := 35
		if kind == "ScaledToZero" && zero {
			likely = 85
		}
		if g.chance(likely) {
			v.Conditions = append(v.Conditions, vector.Condition{Type: kind, Status: pick(g, "True", "True", "False"), Reason: "OfBefore"})
		}
	}
	return v
}

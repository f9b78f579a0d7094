package draw

import (
	"fmt"
	"slices"
	"strings"

	"scalekit.test/hpa/vector"
)

// story is one target, looked at again and again.
type story struct {
	now   *vector.Vector
	ticks int   // how often it is looked at yet
	step  int64 // seconds between two looks, most often
}

// tick draws the next look of a story, at what the one before left behind, or the first one of another story.
func (g *Generator) tick(after *vector.After) *vector.Vector {
	s := &g.story
	if s.ticks == 0 {
		*s = story{g.first(), 8 + g.Intn(25), pick(g, int64(1), 5, 15, 15, 15, 30, 60)}
	} else {
		s.now = g.later(s.now, after)
	}
	s.ticks--
	return s.now
}

// first draws a target that was never looked at, whose metrics are there.
func (g *Generator) first() *vector.Vector {
	for {
		v := g.reconcile(g.chance(15))
		v.Max = new(max(*v.Max, int32(20+g.Intn(100))))
		fine := *v.Max <= 200 && *v.CurrentReplicas <= *v.Max
		for _, m := range v.Metrics {
			fine = fine && m.Target != nil && m.FetchError == nil && m.MetricType != "CheddarCheese"
		}
		if fine {
			v.Recommendations, v.Ups, v.Downs = nil, nil, nil
			return v
		}
	}
}

// later is the same target a while later: what is remembered is older, pods came, went and got ready, and the load is another.
func (g *Generator) later(v *vector.Vector, after *vector.After) *vector.Vector {
	elapsed := g.story.step
	if g.chance(12) {
		elapsed = 1 + int64(g.Intn(400))
	}
	replicas := after.Replicas
	// Somebody else scales it; a target at 0 is woken by nobody else, often.
	if g.Intn(40) == 0 || replicas == 0 && g.chance(33) {
		replicas = int32(g.Intn(int(*v.Max) + 3))
	}
	next := *v
	log := []vector.Recommendation{}
	for _, r := range after.Recommendations {
		r.Age += elapsed
		log = append(log, r)
	}
	aged := func(list []vector.Event) (events []vector.Event) {
		for _, e := range list {
			e.Age += elapsed
			events = append(events, e)
		}
		return events
	}
	next.Recommendations, next.Conditions = &log, after.Conditions
	next.Ups, next.Downs = aged(after.Ups), aged(after.Downs)
	next.CurrentReplicas, next.StatusReplicas = new(replicas), nil
	next.Pods = g.laterPods(v.Pods, int(min(replicas, 40)), elapsed)
	next.Metrics = g.laterMetrics(v.Metrics, next.Pods, replicas)
	return &next
}

func (g *Generator) laterPods(before []vector.Pod, count int, elapsed int64) []vector.Pod {
	lately := func() *int64 { return new(int64(g.Intn(int(elapsed) + 1))) }
	older := func(age *int64) *int64 {
		if age == nil {
			return nil
		}
		return new(*age + elapsed)
	}
	// The oldest go first.
	pods := slices.Clone(before[max(0, len(before)-count):])
	for i := range pods {
		p := &pods[i]
		p.StartAge, p.TransitionAge = older(p.StartAge), older(p.TransitionAge)
		if p.Phase == "Pending" && g.chance(60) {
			p.Phase, p.StartAge = "Running", new(elapsed)
		}
		ready := vector.Or(p.Ready, false)
		if !ready && g.chance(50) || ready && g.chance(4) {
			p.Ready, p.TransitionAge = new(!ready), lately()
		}
	}
	for i := 0; len(pods) < count; i++ {
		p := vector.Pod{
			Name: fmt.Sprintf("n%d-%d", g.Intn(1<<30), i), Phase: pick(g, "Pending", "Running", "Running"),
			Ready: new(false), StartAge: new(elapsed), TransitionAge: new(elapsed),
			ContainerRequests: map[string]*int64{"app": new(int64(1000))},
		}
		if p.Phase == "Running" && g.chance(60) {
			p.Ready, p.TransitionAge = new(true), lately()
		}
		pods = append(pods, p)
	}
	return pods
}

func (g *Generator) laterMetrics(before []vector.Metric, pods []vector.Pod, replicas int32) []vector.Metric {
	metrics := slices.Clone(before)
	l := load{factor: g.Float64() * pick(g, 1.0, 2, 2, 5), jitter: 0.1}
	if g.chance(15) {
		l.factor = 0
	}
	for i := range metrics {
		m := &metrics[i]
		m.FetchError = nil
		if g.chance(5) {
			m.FetchError = new(fmt.Sprintf("fetch failed %d", i))
		}
		base := float64(m.Target.Value)
		switch {
		case m.PodMetrics != nil:
			if m.Target.Type == "Utilization" {
				// Per cent of the 1000 that a pod requests, most often.
				base *= 10
			}
			values := map[string]int64{}
			for _, p := range pods {
				if !g.chance(5) {
					values[p.Name] = g.value(base, l)
				}
			}
			m.PodMetrics, m.MetricAge = &values, new(int64(g.Intn(30)))
		case m.MetricValues != nil:
			if strings.HasSuffix(m.MetricType, "PerPod") {
				base *= float64(max(replicas, 1))
			}
			values := make([]int64, len(*m.MetricValues))
			for n := range values {
				values[n] = g.value(base, l)
			}
			m.MetricValues = &values
		}
	}
	return metrics
}

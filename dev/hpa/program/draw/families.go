package draw

import "scalekit.test/hpa/vector"

// Family is what vectors have in common. A draw is told what the one before left behind, if it was a whole decision.
type Family struct {
	Name string
	Draw func(g *Generator, after *vector.After) *vector.Vector
}

type drawn = func(*Generator) *vector.Vector

// Families are all that there are.
func Families() []Family {
	families := []Family{{"story", (*Generator).tick}}
	add := func(name string, draw drawn) {
		families = append(families, Family{name, func(g *Generator, _ *vector.After) *vector.Vector { return draw(g) }})
	}
	extreme := func(name string, draw drawn) {
		add("extreme-"+name, func(g *Generator) *vector.Vector { g.extreme = true; return draw(g) })
	}
	negative := func(name string, draw drawn) {
		add("negative-"+name, func(g *Generator) *vector.Vector { g.negative = true; return draw(g) })
		add("extreme-negative-"+name, func(g *Generator) *vector.Vector { g.extreme, g.negative = true, true; return draw(g) })
	}
	future := func(name string, draw drawn) {
		add("future-"+name, func(g *Generator) *vector.Vector { g.future = true; return draw(g) })
	}
	for _, of := range []struct{ metric, target string }{
		{"Resource", "Utilization"}, {"Resource", "AverageValue"},
		{"ContainerResource", "Utilization"}, {"ContainerResource", "AverageValue"},
		{"Pods", "AverageValue"},
		{"Object", "Value"}, {"ObjectPerPod", "AverageValue"},
		{"External", "Value"}, {"ExternalPerPod", "AverageValue"},
	} {
		name := "replicas-" + of.metric + "-" + of.target
		draw := func(g *Generator) *vector.Vector { return g.replicas(of.metric, of.target) }
		add(name, draw)
		extreme(name, draw)
		negative(name, draw)
		if of.target == "Utilization" {
			future(name, draw)
		}
	}
	add("group_pods", (*Generator).groupPods)
	future("group_pods", (*Generator).groupPods)
	for _, of := range []struct {
		name  string
		timed bool
		draw  drawn
	}{
		{"calculate_requests", false, (*Generator).calculateRequests},
		{"per_pod_usage", false, (*Generator).perPodUsage},
		{"rate", true, func(g *Generator) *vector.Vector { return g.rate(true) }},
		{"rate_no_behavior", false, func(g *Generator) *vector.Vector { return g.rate(false) }},
		{"scale_up_limit", true, func(g *Generator) *vector.Vector { return g.limit("scale_up_limit") }},
		{"scale_down_limit", true, func(g *Generator) *vector.Vector { return g.limit("scale_down_limit") }},
		{"stabilize", true, func(g *Generator) *vector.Vector { return g.stabilize(true) }},
		{"stabilize_no_behavior", true, func(g *Generator) *vector.Vector { return g.stabilize(false) }},
		{"store_event", true, (*Generator).storeEvent},
		{"default_rules", false, (*Generator).defaultRules},
		{"reconcile", true, func(g *Generator) *vector.Vector { return g.reconcile(false) }},
		{"reconcile-zero", true, func(g *Generator) *vector.Vector { return g.reconcile(true) }},
	} {
		add(of.name, of.draw)
		extreme(of.name, of.draw)
		if of.timed {
			future(of.name, of.draw)
		}
	}
	return families
}

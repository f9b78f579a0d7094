package draw

import (
	"sort"

	"k8s.io/apimachinery/pkg/api/resource"

	"scalekit.test/hpa/vector"
)

// periods of policies, in seconds.
var periods = []int32{1, 2, 15, 30, 60, 61, 120, 300, 1800}

func (g *Generator) period() int32 {
	if g.chance(10) {
		return 1 + int32(g.Intn(1800))
	}
	return pick(g, periods...)
}

func (g *Generator) rules() *vector.Rules {
	if g.chance(22) {
		return nil
	}
	r := &vector.Rules{}
	if g.chance(65) {
		r.Window = new(pick(g, int32(0), 0, 0, 0, 1, 15, 60, 180, 300, 600, 3600))
	}
	if g.chance(70) {
		r.Select = new(pick(g, "Max", "Max", "Min", "Min", "Disabled"))
	}
	if g.chance(75) {
		list := []vector.Policy{}
		for range 1 + g.Intn(3) {
			p := vector.Policy{Type: pick(g, "Pods", "Percent"), Period: g.period()}
			if p.Type == "Pods" {
				p.Value = pick(g, int32(1), 2, 3, 4, 5, 10, 1+int32(g.Intn(100)))
			} else {
				p.Value = pick(g, int32(1), 5, 7, 10, 33, 50, 90, 99, 100, 100, 101, 200, 1+int32(g.Intn(1000)))
			}
			if g.extreme && g.chance(40) {
				if e := g.edge32(); e > 0 {
					p.Value = e
				}
			}
			list = append(list, p)
		}
		r.Policies = &list
	}
	if g.chance(30) {
		quantity := pick(g, "0", "0.01", "10m", "0.05", "50m", "0.1", "100m", "0.15", "0.2", "0.25", "0.3", "0.5", "1", "2", "33m")
		r.Tolerance = &vector.Tolerance{Quantity: resource.MustParse(quantity)}
	}
	return r
}

func (g *Generator) behavior() *vector.Behavior {
	return &vector.Behavior{Up: g.rules(), Down: g.rules()}
}

// times are ages that lie on and beside the edges of a behavior and of windows.
func (g *Generator) times(b *vector.Behavior, windows ...int64) []int64 {
	ages := []int64{0, 1, 14, 15, 16, 60, 300}
	for _, w := range windows {
		ages = append(ages, w-1, w, w+1)
	}
	if b != nil {
		for _, r := range []*vector.Rules{b.Up, b.Down} {
			if r == nil {
				continue
			}
			if r.Window != nil {
				ages = append(ages, int64(*r.Window)-1, int64(*r.Window), int64(*r.Window)+1)
			}
			if r.Policies != nil {
				for _, p := range *r.Policies {
					ages = append(ages, int64(p.Period)-1, int64(p.Period), int64(p.Period)+1)
				}
			}
		}
	}
	return ages
}

func (g *Generator) when(ages []int64) int64 {
	a := pick(g, ages...)
	if g.chance(15) {
		a = int64(g.Intn(4000))
	}
	if g.future && g.chance(35) {
		return -a
	}
	return max(a, 0)
}

func (g *Generator) events(ages []int64) (list []vector.Event) {
	for range pick(g, 0, 0, 1, 2, 3, 5) {
		e := vector.Event{Change: int32(g.Intn(8)), Age: g.when(ages), Outdated: g.chance(12)}
		if g.extreme && g.chance(40) {
			e.Change = g.edge32()
		}
		list = append(list, e)
	}
	if g.chance(70) {
		sort.SliceStable(list, func(i, j int) bool { return list[i].Age > list[j].Age })
	}
	return
}

func (g *Generator) recommendations(around int32, ages []int64) []vector.Recommendation {
	list := []vector.Recommendation{}
	for range pick(g, 0, 1, 1, 2, 3, 5, 8) {
		list = append(list, vector.Recommendation{Replicas: g.near(around), Age: g.when(ages)})
	}
	if g.chance(70) {
		sort.SliceStable(list, func(i, j int) bool { return list[i].Age > list[j].Age })
	}
	return list
}

func (g *Generator) bounds(around int32) (*int32, *int32) {
	var least *int32
	if g.chance(90) {
		least = new(pick(g, int32(0), 1, 1, 2, 3, min(around, 1<<20), int32(g.Intn(10))))
	}
	low := vector.Or(least, 1)
	most := max(low, 1, g.near(max(around, low)))
	if g.chance(30) {
		most = max(low, 1, g.count())
	}
	if g.chance(20) {
		most = max(low, 1000)
	}
	return least, new(most)
}

func (g *Generator) rate(withBehavior bool) *vector.Vector {
	v := &vector.Vector{Stage: "rate_no_behavior", CurrentReplicas: new(g.count())}
	v.DesiredReplicas = new(g.near(*v.CurrentReplicas))
	if g.negative && g.chance(30) {
		v.DesiredReplicas = new(-*v.DesiredReplicas)
	}
	v.Min, v.Max = g.bounds(*v.CurrentReplicas)
	if g.chance(3) {
		v.Max = nil
	}
	if withBehavior {
		v.Stage, v.Behavior = "rate", g.behavior()
		ages := g.times(v.Behavior)
		v.Ups, v.Downs = g.events(ages), g.events(ages)
	}
	return v
}

func (g *Generator) limit(stage string) *vector.Vector {
	v := &vector.Vector{Stage: stage, CurrentReplicas: new(g.count()), Behavior: g.behavior()}
	ages := g.times(v.Behavior)
	v.Ups, v.Downs = g.events(ages), g.events(ages)
	return v
}

func (g *Generator) stabilize(withBehavior bool) *vector.Vector {
	windows := []int64{0, 0, 1, 15, 60, 180, 300, 600, 3600}
	v := &vector.Vector{CurrentReplicas: new(g.count())}
	v.DesiredReplicas = new(g.near(*v.CurrentReplicas))
	var ages []int64
	if withBehavior {
		v.Stage, v.UpWindow, v.DownWindow = "stabilize", new(pick(g, windows...)), new(pick(g, windows...))
		ages = g.times(nil, *v.UpWindow, *v.DownWindow)
	} else {
		v.Stage = "stabilize_no_behavior"
		window := int64(300)
		if g.chance(60) {
			window = pick(g, windows...)
			v.DownscaleWindow = new(window)
		}
		ages = g.times(nil, window)
	}
	v.Recommendations = new(g.recommendations(*v.DesiredReplicas, ages))
	return v
}

func (g *Generator) storeEvent() *vector.Vector {
	v := &vector.Vector{Stage: "store_event", Prev: new(g.count())}
	v.New = new(g.near(*v.Prev))
	v.Direction = "down"
	if *v.New > *v.Prev {
		v.Direction = "up"
	}
	if g.chance(88) {
		v.Behavior = g.behavior()
	}
	v.Events = g.events(g.times(v.Behavior))
	return v
}

func (g *Generator) defaultRules() *vector.Vector {
	v := &vector.Vector{Stage: "default_rules", Direction: pick(g, "up", "down"), Rules: g.rules()}
	return v
}

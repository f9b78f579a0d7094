package draw

import (
	"fmt"
	"math"

	"scalekit.test/hpa/vector"
)

// style is what the pods of a vector have in common.
type style struct {
	resource  string
	container string // the one that is asked for, if one is
	same      *int64 // what each requests, or each something else
	missing   int    // per cent that request nothing
	silent    int    // per cent without a sample
	shape     int    // how a request is written
	healthy   bool
}

func (g *Generator) style(res, container string) style {
	s := style{resource: res, container: container, shape: g.Intn(4), silent: pick(g, 0, 0, 10, 30, 70)}
	if g.chance(50) {
		s.same = new(g.request())
		if *s.same == 0 && g.chance(80) {
			*s.same = 1000
		}
	}
	if g.chance(10) {
		s.missing = 20
	}
	s.healthy = g.chance(30)
	return s
}

// pod draws a pod, and says what it requests.
func (g *Generator) pod(name string, s style) (vector.Pod, int64) {
	p := vector.Pod{Name: name}
	if s.healthy && g.chance(90) {
		p.Ready, p.StartAge, p.TransitionAge = new(true), new(int64(86400)), new(int64(86400))
	} else {
		g.state(&p)
	}
	return p, g.requests(&p, s)
}

// state draws where a pod is between its start and its end.
func (g *Generator) state(p *vector.Pod) {
	switch n := g.Intn(100); {
	case n < 8:
		p.Phase = "Pending"
	case n < 15:
		p.Phase = "Failed"
	case n < 25 && g.succeeded:
		p.Phase = "Succeeded"
	case n < 60:
		p.Phase = "Running"
	}
	switch n := g.Intn(100); {
	case n < 70:
		p.Ready = new(true)
	case n < 92:
		p.Ready = new(false)
	}
	if g.chance(94) {
		p.StartAge = new(g.age())
	}
	if g.chance(90) {
		p.TransitionAge = new(g.age())
		if p.StartAge != nil && g.chance(50) {
			p.TransitionAge = new(*p.StartAge - pick(g, int64(0), 1, 9, 10, 11, 60))
			if *p.TransitionAge < 0 && !g.future {
				p.TransitionAge = new(int64(0))
			}
		}
	}
	p.Deletion = g.chance(7)
}

// requests draws what a pod requests, in one of the shapes that a vector has for it.
func (g *Generator) requests(p *vector.Pod, s style) int64 {
	request := g.request()
	if s.same != nil {
		request = *s.same
	}
	lacks := g.chance(s.missing)
	one := func(v int64) *int64 {
		if lacks && g.chance(60) {
			return nil
		}
		return new(v)
	}
	shape := s.shape
	if g.chance(5) {
		shape = g.Intn(4)
	}
	other := "other"
	target := s.container
	if target == "" {
		target = "app"
	}
	switch shape {
	case 0:
		if s.container == "" || g.chance(15) {
			p.Request = one(request)
			break
		}
		p.ContainerRequests = map[string]*int64{target: one(request)}
	case 1:
		rest := int64(0)
		if s.container == "" {
			rest = request / 3
		}
		p.ContainerRequests = map[string]*int64{target: one(request - rest), other: one(rest)}
		if s.container != "" && g.chance(15) {
			p.ContainerRequests[other] = nil
		}
		if s.container != "" && g.chance(2) {
			delete(p.ContainerRequests, target)
		}
	case 2:
		list := []vector.Container{{Name: target, Request: one(request)}}
		if g.chance(40) {
			list = append(list, vector.Container{Name: other, Request: one(int64(g.Intn(500)))})
			if s.container == "" && list[1].Request != nil {
				request += *list[1].Request
			}
		}
		if g.chance(3) {
			list = list[:0]
		}
		p.Containers = &list
		named := false
		for i := 0; g.chance(30) && i < 3; i++ {
			c := vector.Container{Name: fmt.Sprintf("init%d", i), Request: one(int64(g.Intn(500)))}
			if s.container != "" && len(list) == 0 && !named && g.chance(50) {
				c.Name, named = target, true
			}
			if g.chance(10) {
				c.Request = nil
			}
			if g.chance(60) {
				c.RestartPolicy = new(pick(g, "Always", "Always", "Always", "Never", "OnFailure"))
			}
			if s.container == "" && c.Request != nil && c.RestartPolicy != nil && *c.RestartPolicy == "Always" {
				request += *c.Request
			}
			p.InitContainers = append(p.InitContainers, c)
		}
	case 3:
		p.Request = one(request)
		if s.container != "" {
			p.Request, p.ContainerRequests = nil, map[string]*int64{target: one(request)}
		}
		if (s.resource == "cpu" || s.resource == "memory") && g.chance(60) {
			level := g.request()
			if s.same != nil {
				level = *s.same * 2
			}
			if level < 0 {
				level = math.MaxInt64
			}
			p.PodLevel = new(level)
			if s.container == "" {
				request = level
			}
		}
	}
	return request
}

func withoutRequests(p vector.Pod) vector.Pod {
	p.Request, p.ContainerRequests, p.Containers, p.InitContainers, p.PodLevel = nil, nil, nil, nil, nil
	return p
}

// sampleTimes draws when the sample of a pod was taken.
func (g *Generator) sampleTimes(p *vector.Pod) {
	if g.chance(70) {
		p.MetricAge = new(g.age())
		if p.TransitionAge != nil && g.chance(50) {
			// Around the edge of one window since the last transition.
			w := vector.Or(p.MetricWindow, 60)
			p.MetricAge = new(*p.TransitionAge - w + pick(g, int64(-1), 0, 1))
			if *p.MetricAge < 0 && !g.future {
				p.MetricAge = new(int64(0))
			}
		}
	}
	if g.chance(30) {
		p.MetricWindow = new(pick(g, int64(0), 1, 15, 30, 60, 61, 120))
	}
}

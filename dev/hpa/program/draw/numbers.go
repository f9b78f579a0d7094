// Package draw draws inputs of the HPA: plausible ones, around the edges where an answer changes, and extremes.
package draw

import (
	"math"
	"math/rand"

	"scalekit.test/hpa/vector"
)

// Generator draws one vector after the other.
type Generator struct {
	*rand.Rand

	extreme  bool // values and counts up to the largest
	negative bool // values below 0
	future   bool // times after now

	succeeded bool // this vector may have pods that succeeded
	story     story
}

// New draws from a source.
func New(source *rand.Rand) *Generator { return &Generator{Rand: source} }

func pick[T any](g *Generator, of ...T) T { return of[g.Intn(len(of))] }

// chance is true in so many of a hundred cases.
func (g *Generator) chance(percent int) bool { return g.Intn(100) < percent }

// The last numbers whose sum, double or product by 100 fits, that a float has exactly, and that are counts in milli-units.
var edges64 = []int64{
	0, 1, 2, 99, 100,
	math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 / 2, math.MaxInt64/2 + 1, math.MaxInt64 / 100, math.MaxInt64/100 + 1,
	1 << 53, 1<<53 + 1,
	math.MaxInt32, math.MaxInt32 + 1, math.MaxInt32 * 1000, math.MaxInt32*1000 + 1000,
}

var edges32 = []int32{
	0, 1, 2, 4, 5, 100,
	math.MaxInt32, math.MaxInt32 - 1, math.MaxInt32 / 2, math.MaxInt32/2 + 1, math.MaxInt32/2 + 2, math.MaxInt32 / 3,
}

func (g *Generator) edge64() int64 {
	v := pick(g, edges64...)
	switch g.Intn(4) {
	case 0:
		v = g.Int63()
	case 1:
		v = g.Int63() >> g.Intn(62)
	}
	if g.negative && g.chance(40) {
		v = -v
		if g.chance(5) {
			v = math.MinInt64
		}
	}
	return v
}

func (g *Generator) edge32() int32 {
	if g.chance(40) {
		return int32(g.Int63() >> (32 + g.Intn(31)))
	}
	return pick(g, edges32...)
}

// count is a number of replicas.
func (g *Generator) count() int32 {
	if g.extreme && g.chance(60) {
		return g.edge32()
	}
	switch g.Intn(10) {
	case 0:
		return int32(g.Intn(1001))
	case 1, 2:
		return int32(g.Intn(101))
	}
	return int32(g.Intn(13))
}

// near is a count not far from another one, most often.
func (g *Generator) near(v int32) int32 {
	switch g.Intn(4) {
	case 0:
		return g.count()
	case 1:
		if v < math.MaxInt32/4 {
			return max(v*2+int32(g.Intn(3))-1, 0)
		}
	}
	return int32(max(0, min(math.MaxInt32, int64(v)+int64(g.Intn(9))-4)))
}

// Around the periods in which a pod starts, 10 s and 120 s, and the window of a sample, 60 s.
var podAges = []int64{0, 1, 5, 9, 10, 11, 30, 59, 60, 61, 65, 109, 110, 111, 119, 120, 121, 129, 130, 131, 180, 86400}

func (g *Generator) age() int64 {
	a := pick(g, podAges...)
	if g.chance(25) {
		a = int64(g.Intn(200))
	}
	if g.future && g.chance(35) {
		a = -a
	}
	return a
}

var tolerances = []float64{0, 0, 0.01, 0.05, 0.1, 0.1, 0.15, 0.2, 0.25, 0.3, 0.333, 0.5, 0.75, 0.9, 1, 2}

// load is where the values of a vector lie, as a multiple of their targets.
type load struct {
	factor, jitter float64
}

// load lies at the target, at an edge of a tolerance, or anywhere.
func (g *Generator) load(tol []float64) load {
	l := load{}
	switch g.Intn(10) {
	case 0:
		l.factor = 1
	case 1, 2, 3:
		l.factor = 1 + pick(g, tol...)
	case 4, 5:
		l.factor = 1 - pick(g, tol...)
	case 6:
		l.factor = 0
	default:
		l.factor = g.Float64() * pick(g, 1.0, 2, 6)
	}
	l.jitter = pick(g, 0, 0, 0, 0.005, 0.02, 0.2, 1)
	return l
}

// value is where a load lies above or below a base. Above the largest base, its multiples are no numbers any more.
func (g *Generator) value(base float64, l load) int64 {
	const largest = 9e17
	if base > largest || g.extreme && g.chance(50) {
		return g.edge64()
	}
	v := int64(math.Round(base * (l.factor + (g.Float64()*2-1)*l.jitter)))
	v += int64(pick(g, 0, 0, 0, 1, -1))
	if g.negative && g.chance(15) {
		v = -v
	}
	if v < 0 && !g.negative {
		v = 0
	}
	return v
}

func (g *Generator) request() int64 {
	if g.extreme && g.chance(30) {
		v := g.edge64()
		if v < 0 {
			v = -(v + 1)
		}
		return v
	}
	switch g.Intn(12) {
	case 0:
		return 0
	case 1:
		return int64(g.Intn(10))
	case 2:
		return int64(1+g.Intn(64)) << 30 * 1000 // memory
	}
	return pick(g, int64(100), 250, 300, 500, 700, 1000, 1000, 1500, 2000, int64(1+g.Intn(3000)))
}

func (g *Generator) percent() int64 {
	if g.extreme && g.chance(30) {
		if v := g.edge32(); v > 0 {
			return int64(v)
		}
	}
	return pick(g, int64(30), 50, 50, 60, 80, 100, 100, 150, 1, 7, 33, 300, 1+int64(g.Intn(400)))
}

func (g *Generator) targetValue() int64 {
	if g.extreme && g.chance(40) {
		v := g.edge64()
		if v < 0 {
			v = -(v + 1)
		}
		if v > 0 {
			return v
		}
	}
	return pick(g, int64(1), 7, 100, 500, 1000, 1000, 2500, 3333, 10000, 15000, 1<<30*1000, 1+int64(g.Intn(50000)))
}

// size is a number of pods.
func (g *Generator) size() int {
	switch g.Intn(20) {
	case 0:
		return 0
	case 1:
		return 10 + g.Intn(40)
	}
	return 1 + g.Intn(8)
}

// tolerate gives a vector tolerances, and says which.
func (g *Generator) tolerate(v *vector.Vector) []float64 {
	var all []float64
	if g.chance(70) {
		v.Tolerance = new(pick(g, tolerances...))
	}
	if g.chance(35) {
		v.ToleranceUp = new(pick(g, tolerances...))
		all = append(all, *v.ToleranceUp)
	}
	if g.chance(35) {
		v.ToleranceDown = new(pick(g, tolerances...))
		all = append(all, *v.ToleranceDown)
	}
	return append(all, vector.Or(v.Tolerance, 0.1))
}

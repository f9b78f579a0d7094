// Package vector is the form of a vector, as tests/hpa_vectors/README.md has it: ages are in seconds, values in milli-units.
package vector

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Vector is an input, and in Expect the answer to it. What is nil is not written.
type Vector struct {
	ID              string   `json:"id"`
	Kind            string   `json:"kind,omitempty"`
	Stage           string   `json:"stage,omitempty"`
	MetricType      string   `json:"metric_type,omitempty"`
	Resource        string   `json:"resource,omitempty"`
	Container       string   `json:"container,omitempty"`
	CurrentReplicas *int32   `json:"current_replicas,omitempty"`
	StatusReplicas  *int32   `json:"status_replicas,omitempty"`
	DesiredReplicas *int32   `json:"desired_replicas,omitempty"`
	Min             *int32   `json:"min,omitempty"`
	Max             *int32   `json:"max,omitempty"`
	Pods            []Pod    `json:"pods,omitempty"`
	ExtraMetrics    []Pod    `json:"extra_metrics,omitempty"`
	MetricValues    []int64  `json:"metric_values,omitempty"`
	Target          *Target  `json:"target,omitempty"`
	Tolerance       *float64 `json:"tolerance,omitempty"`
	ToleranceUp     *float64 `json:"tolerance_up,omitempty"`
	ToleranceDown   *float64 `json:"tolerance_down,omitempty"`
	PodLevelGate    bool     `json:"pod_level_resources_gate,omitempty"`
	Usage           *int64   `json:"usage,omitempty"`

	Behavior  *Behavior `json:"behavior,omitempty"`
	Rules     *Rules    `json:"rules,omitempty"`
	Direction string    `json:"direction,omitempty"`
	Prev      *int32    `json:"prev_replicas,omitempty"`
	New       *int32    `json:"new_replicas,omitempty"`
	Events    []Event   `json:"events,omitempty"`
	Ups       []Event   `json:"scale_up_events,omitempty"`
	Downs     []Event   `json:"scale_down_events,omitempty"`

	Recommendations *[]Recommendation `json:"recommendations,omitempty"`
	UpWindow        *int64            `json:"scale_up_stabilization_window_s,omitempty"`
	DownWindow      *int64            `json:"scale_down_stabilization_window_s,omitempty"`
	DownscaleWindow *int64            `json:"downscale_stabilization_window_s,omitempty"`
	Metrics         []Metric          `json:"metrics,omitempty"`
	Gates           map[string]bool   `json:"gates,omitempty"`
	Conditions      []Condition       `json:"conditions,omitempty"`

	Expect Answer `json:"expect"`
}

// Answer is everything that upstream says to a vector, by the keys of `expect`.
type Answer map[string]any

// After is what a decision leaves behind, from which the next one starts.
type After struct {
	Replicas        int32
	Recommendations []Recommendation
	Ups, Downs      []Event
	Conditions      []Condition
}

type Pod struct {
	Name              string            `json:"name"`
	Phase             string            `json:"phase,omitempty"`
	Ready             *bool             `json:"ready,omitempty"`
	StartAge          *int64            `json:"start_age_s,omitempty"`
	TransitionAge     *int64            `json:"ready_transition_age_s,omitempty"`
	Deletion          bool              `json:"deletion,omitempty"`
	Request           *int64            `json:"request_milli,omitempty"`
	ContainerRequests map[string]*int64 `json:"container_requests_milli,omitempty"`
	Metric            *int64            `json:"metric,omitempty"`
	MetricAge         *int64            `json:"metric_age_s,omitempty"`
	MetricWindow      *int64            `json:"metric_window_s,omitempty"`
	PodLevel          *int64            `json:"pod_level_request_milli,omitempty"`
	Containers        *[]Container      `json:"containers,omitempty"`
	InitContainers    []Container       `json:"init_containers,omitempty"`
}

type Container struct {
	Name          string  `json:"name"`
	Request       *int64  `json:"request_milli,omitempty"`
	RestartPolicy *string `json:"restart_policy,omitempty"`
}

type Target struct {
	Type  string `json:"type"`
	Value int64  `json:"value"`
}

type Behavior struct {
	Up   *Rules `json:"scale_up,omitempty"`
	Down *Rules `json:"scale_down,omitempty"`
}

type Rules struct {
	Window    *int32     `json:"stabilization_window_s,omitempty"`
	Select    *string    `json:"select_policy,omitempty"`
	Policies  *[]Policy  `json:"policies,omitempty"`
	Tolerance *Tolerance `json:"tolerance,omitempty"`
}

// Tolerance is a quantity for upstream, and a fraction in a vector.
type Tolerance struct{ resource.Quantity }

// Fraction is the number that upstream makes of it.
func (t Tolerance) Fraction() float64 { return t.AsApproximateFloat64() }

// MarshalJSON writes the fraction.
func (t Tolerance) MarshalJSON() ([]byte, error) { return json.Marshal(t.Fraction()) }

type Policy struct {
	Type   string `json:"type"`
	Value  int32  `json:"value"`
	Period int32  `json:"period_s"`
}

type Event struct {
	Change   int32 `json:"change"`
	Age      int64 `json:"age_s"`
	Outdated bool  `json:"outdated,omitempty"`
}

type Recommendation struct {
	Replicas int32 `json:"replicas"`
	Age      int64 `json:"age_s"`
}

type Metric struct {
	MetricType   string            `json:"metric_type"`
	Resource     string            `json:"resource,omitempty"`
	Container    string            `json:"container,omitempty"`
	Target       *Target           `json:"target,omitempty"`
	PodMetrics   *map[string]int64 `json:"pod_metrics,omitempty"`
	MetricValues *[]int64          `json:"metric_values,omitempty"`
	FetchError   *string           `json:"fetch_error,omitempty"`
	MetricAge    *int64            `json:"metric_age_s,omitempty"`
	MetricWindow *int64            `json:"metric_window_s,omitempty"`
}

type Condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// Or is what a pointer points at, or what holds where it is unset.
func Or[T any](value *T, unset T) T {
	if value == nil {
		return unset
	}
	return *value
}

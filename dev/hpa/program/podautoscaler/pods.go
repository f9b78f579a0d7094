package podautoscaler

import (
	"errors"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"

	"scalekit.test/hpa/vector"
)

const namespace = "ns"

// lister finds all pods of a vector, whatever the selector.
type lister struct{ pods []*v1.Pod }

func (l lister) List(labels.Selector) ([]*v1.Pod, error)    { return l.pods, nil }
func (l lister) Pods(string) corelisters.PodNamespaceLister { return l }
func (l lister) Get(string) (*v1.Pod, error)                { return nil, errors.New("nobody asks for one pod") }

func podsOf(pods []vector.Pod, resource string) []*v1.Pod {
	list := make([]*v1.Pod, 0, len(pods))
	for _, p := range pods {
		list = append(list, podOf(p, resource))
	}
	return list
}

func podOf(p vector.Pod, resource string) *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: namespace}}
	pod.Status.Phase = v1.PodRunning
	if p.Phase != "" {
		pod.Status.Phase = v1.PodPhase(p.Phase)
	}
	if p.Ready != nil {
		status := v1.ConditionFalse
		if *p.Ready {
			status = v1.ConditionTrue
		}
		since := metav1.NewTime(ago(vector.Or(p.TransitionAge, 86_400)))
		pod.Status.Conditions = []v1.PodCondition{
			{Type: v1.PodScheduled, Status: v1.ConditionTrue},
			{Type: v1.PodReady, Status: status, LastTransitionTime: since},
		}
	}
	if p.StartAge != nil {
		pod.Status.StartTime = &metav1.Time{Time: ago(*p.StartAge)}
	}
	if p.Deletion {
		pod.DeletionTimestamp = &metav1.Time{Time: instant}
	}
	if p.PodLevel != nil {
		pod.Spec.Resources = &v1.ResourceRequirements{Requests: requestOf(resource, p.PodLevel)}
	}
	switch {
	case p.Containers != nil:
		for _, c := range *p.Containers {
			pod.Spec.Containers = append(pod.Spec.Containers, containerOf(c.Name, resource, c.Request))
		}
		for _, c := range p.InitContainers {
			container := containerOf(c.Name, resource, c.Request)
			container.RestartPolicy = (*v1.ContainerRestartPolicy)(c.RestartPolicy)
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, container)
		}
	case p.ContainerRequests != nil:
		// In the order of their names, which is how the test reads them.
		for _, name := range slices.Sorted(maps.Keys(p.ContainerRequests)) {
			pod.Spec.Containers = append(pod.Spec.Containers, containerOf(name, resource, p.ContainerRequests[name]))
		}
	default:
		pod.Spec.Containers = []v1.Container{containerOf("all", resource, p.Request)}
	}
	return pod
}

func containerOf(name, resource string, request *int64) v1.Container {
	return v1.Container{Name: name, Resources: v1.ResourceRequirements{Requests: requestOf(resource, request)}}
}

func requestOf(resource string, request *int64) v1.ResourceList {
	if request == nil {
		return nil
	}
	return v1.ResourceList{v1.ResourceName(resource): milli(*request)}
}

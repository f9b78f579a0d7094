package podautoscaler

import (
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/version"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"
)

func init() {
	klog.SetLogger(logr.Discard())
	// From 1.37 on HPAConfigurableTolerance is locked, and vectors turn it off.
	if err := utilfeature.DefaultMutableFeatureGate.SetEmulationVersion(version.MustParse("1.36")); err != nil {
		panic(err)
	}
	// What depends on PodLevelResources is off before that can be.
	for _, name := range []string{"InPlacePodLevelResourcesVerticalScaling", "PodLevelResourceManagers"} {
		setGate(name, false)
	}
}

// gates are those that were set; setting one is slow.
var gates = map[string]bool{}

func setGate(name string, value bool) {
	if before, known := gates[name]; known && before == value {
		return
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(map[string]bool{name: value}); err != nil {
		panic(err)
	}
	gates[name] = value
}

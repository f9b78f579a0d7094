# Sourced after lib.sh: what else scales on external metrics, on this machine, beside the cluster's controller manager with its
# HPAs: prometheus-adapter, and KEDA. Both get the metrics from the stack's Prometheus.
# shellcheck shell=bash

# shellcheck source=../build.sh
. dev/bench/build.sh

without_peers() {
    kubectl delete --ignore-not-found apiservice v1beta1.external.metrics.k8s.io >/dev/null 2>&1 || true
    kubectl delete --ignore-not-found networkpolicy bench-autoscalers -n monitoring >/dev/null 2>&1 || true
    # KEDA takes its finalizers off as long as it runs.
    kubectl delete --ignore-not-found scaledobjects --all -n "$namespace" --timeout=60s >/dev/null 2>&1 || true
    kubectl get crd -o name 2>/dev/null | grep 'keda\.sh$' |
        xargs -r "$state/bin/kubectl" --kubeconfig "$state/kubeconfig" delete --wait=false >/dev/null 2>&1 || true
    cleanup
}
trap without_peers EXIT

programs=$PWD/dev/bench/autoscalers/programs
kubeconfig=$(realpath "$state/kubeconfig")

hpa() { # NAME METRIC [BEHAVIOR]
    printf 'apis/autoscaling/v2/namespaces/%s/horizontalpodautoscalers\t' "$namespace"
    printf '{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"%s"},"spec":{"scaleTargetRef":{"apiVersion":"bench.scalekit.dev/v1","kind":"Target","name":"%s"},"maxReplicas":5,"behavior":%s,"metrics":[{"type":"External","external":{"metric":{"name":"%s"},"target":{"type":"AverageValue","averageValue":"10"}}}]}}\n' "$1" "$1" "${3:-{\}}" "$2"
}
scaled_object() { # NAME QUERY [BEHAVIOR]
    printf 'apis/keda.sh/v1alpha1/namespaces/%s/scaledobjects\t' "$namespace"
    printf '{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject","metadata":{"name":"%s"},"spec":{"scaleTargetRef":{"apiVersion":"bench.scalekit.dev/v1","kind":"Target","name":"%s"},"pollingInterval":15,"minReplicaCount":1,"maxReplicaCount":5,"advanced":{"horizontalPodAutoscalerConfig":{"behavior":%s}},"triggers":[{"type":"prometheus","metricType":"AverageValue","metadata":{"serverAddress":"http://%s:9090","query":"%s","threshold":"10"}}]}}\n' "$1" "$1" "${3:-{\}}" "$prometheus" "$2"
}

# The stack's policies let nobody ask Prometheus but those who have to.
kubectl apply -f - >/dev/null <<END
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: bench-autoscalers, namespace: monitoring}
spec:
  podSelector: {matchLabels: {app.kubernetes.io/name: prometheus}}
  policyTypes: [Ingress]
  ingress: [{ports: [{port: 9090}]}]
END
prometheus=$(kubectl get pod -n monitoring -l app.kubernetes.io/name=prometheus -o 'jsonpath={.items[0].status.podIP}')

# start NAME COMMAND...: a process in the background, which is in `pids` and ends with the benchmark.
start() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 &
    pids[$name]=$!
    started+=($!)
}

# external_metrics PORT PROCESS: the API server gets external metrics from this port of this machine.
external_metrics() {
    kubectl apply -f - >/dev/null <<END
apiVersion: v1
kind: Service
metadata: {name: metrics, namespace: $namespace}
spec: {ports: [{port: 443, targetPort: $1}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: metrics, namespace: $namespace, labels: {kubernetes.io/service-name: metrics}}
addressType: IPv4
endpoints: [{addresses: [$(sed -n 's/^HOST_IP=//p' "$state/settings")]}]
ports: [{port: $1}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.external.metrics.k8s.io}
spec:
  group: external.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: metrics, namespace: $namespace}
END
    until_true 60 kubectl get --raw /apis/external.metrics.k8s.io/v1beta1
    kill -0 "${pids[$2]}" || { tail "$work/$2.log" >&2; exit 1; }
}
rights=(--lister-kubeconfig="$kubeconfig" --authentication-kubeconfig="$kubeconfig" --authorization-kubeconfig="$kubeconfig")

# adapter PORT: prometheus-adapter with metrics as lines `NAME<tab>QUERY`.
adapter() {
    local name query
    built prometheus-adapter "$programs/prometheus-adapter" sigs.k8s.io/prometheus-adapter/cmd/adapter
    {
        echo externalRules:
        while IFS=$'\t' read -r name query; do
            printf -- '- {seriesQuery: up, resources: {namespaced: false}, name: {as: "%s"}, metricsQuery: "%s"}\n' "$name" "$query"
        done
    } >"$work/rules.yaml"
    start adapter target/bench/bin/prometheus-adapter --secure-port="$1" --cert-dir="$work/adapter" \
        --config="$work/rules.yaml" --prometheus-url="http://$prometheus:9090" --metrics-relist-interval=1m "${rights[@]}"
}

without_definitions() { ! kubectl get crd -o name | grep -q 'keda\.sh$'; }
# keda PORT: its operator and its metrics server, which believe each other by a certificate of both.
keda() {
    local source
    built keda-operator "$programs/keda" github.com/kedacore/keda/v2/cmd/operator
    built keda-adapter "$programs/keda" github.com/kedacore/keda/v2/cmd/adapter
    source=$(cd "$programs/keda" && GOWORK=off go list -m -f '{{.Dir}}' github.com/kedacore/keda/v2)
    # What an earlier run has left may be on its way out, and would take what is applied to it along.
    until_true 60 without_definitions
    kubectl apply --server-side -f "$source/config/crd/bases" >/dev/null
    # `wait` fails on a definition that has no conditions yet.
    until_true 30 kubectl wait --for=condition=Established crd/scaledobjects.keda.sh --timeout=30s
    mkdir -p "$work/keda"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout "$work/keda/tls.key" -out "$work/keda/tls.crt" 2>/dev/null
    cp "$work/keda/tls.crt" "$work/keda/ca.crt"
    # With the 20 requests a second that it allows itself by default, three hundred objects that are looked at every 15 s take
    # all of them, and the rest gets its HPA at four a minute.
    start operator env KUBECONFIG="$kubeconfig" POD_NAMESPACE="$namespace" WATCH_NAMESPACE="$namespace" \
        KEDA_CLUSTER_OBJECT_NAMESPACE="$namespace" target/bench/bin/keda-operator --cert-dir="$work/keda" \
        --enable-webhook-patching=false --enable-apiservice-patching=false --metrics-bind-address=127.0.0.1:16080 \
        --health-probe-bind-address=127.0.0.1:16081 --metrics-service-bind-address=127.0.0.1:16666 \
        --kube-api-qps="${KEDA_QPS:-200}" --kube-api-burst="$((2 * ${KEDA_QPS:-200}))"
    start adapter env KUBECONFIG="$kubeconfig" POD_NAMESPACE="$namespace" WATCH_NAMESPACE="$namespace" \
        target/bench/bin/keda-adapter --cert-dir="$work/keda" --secure-port="$1" --port=16082 \
        --metrics-service-address=localhost:16666 "${rights[@]}"
}

# stop NAME: ends a process that `start` began.
stop() {
    kill "${pids[$1]}"
    wait "${pids[$1]}" 2>/dev/null || true
}

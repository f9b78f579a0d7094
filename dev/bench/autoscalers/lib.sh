# Sourced by the benchmarks of the scaler: a kind with /scale and nothing behind it, many requests at once, and what processes
# took. The cluster is one that is up and has the stack, on this machine: processes are read from /proc.
# shellcheck shell=bash

state=${CLUSTER_STATE:-target/cluster}
namespace=bench-autoscalers
work=$(mktemp -d)
started=()
kubectl() { "$state/bin/kubectl" --kubeconfig "$state/kubeconfig" "$@"; }

cleanup() {
    local pid
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    kubectl delete --ignore-not-found --wait=false -f dev/bench/autoscalers/kind.yaml >/dev/null 2>&1 || true
    kubectl delete --ignore-not-found namespace "$namespace" --wait=false >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

# What an earlier one has left may be on its way out. No namespace goes while an API does not answer.
kubectl delete --ignore-not-found apiservice v1beta1.external.metrics.k8s.io >/dev/null
kubectl delete --ignore-not-found namespace "$namespace" --timeout=600s >/dev/null
kubectl delete --ignore-not-found -f dev/bench/autoscalers/kind.yaml --timeout=600s >/dev/null
kubectl apply -f dev/bench/autoscalers/kind.yaml >/dev/null
kubectl wait --for=condition=Established crd/targets.bench.scalekit.dev --timeout=30s >/dev/null
kubectl create namespace "$namespace" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
"$state/bin/kubectl" --kubeconfig "$state/kubeconfig" proxy --port=0 --disable-filter=true >"$work/proxy" 2>/dev/null &
started+=($!)
# until_true SECONDS COMMAND...: waits until it succeeds, or ends the benchmark.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { echo "waited in vain: $*" >&2; exit 1; }
        sleep 0.1
    done
}
until_true 30 grep -q 'Starting to serve on' "$work/proxy"
api=http://$(sed -n 's/^Starting to serve on //p' "$work/proxy")

# One curl process, many requests: kubectl makes ten a second. Lines of PATH<tab>OBJECT.
post() {
    local path object number=0
    mkdir -p "$work/bodies"
    while IFS=$'\t' read -r path object; do
        echo "$object" >"$work/bodies/$number"
        printf 'next\nurl="%s/%s"\nheader="Content-Type: application/json"\ndata="@%s/bodies/%s"\noutput="/dev/null"\nsilent\nfail\nretry=5\n' \
            "$api" "$path" "$work" "$number"
        number=$((number + 1))
    done | sed '1d' >"$work/requests"
    [ -s "$work/requests" ] || return 0
    curl --no-progress-meter --fail-early --parallel --parallel-max 16 --config "$work/requests"
    rm -rf "$work/bodies"
}
# What is scaled: three replicas, in both senses.
target() { # NAME
    printf 'apis/bench.scalekit.dev/v1/namespaces/%s/targets\t' "$namespace"
    printf '{"apiVersion":"bench.scalekit.dev/v1","kind":"Target","metadata":{"name":"%s"},"spec":{"replicas":3},"status":{"replicas":3,"selector":"app=%s"}}\n' "$1" "$1"
}
autoscaler() { # NAME QUERY
    printf 'apis/scalekit.dev/v1alpha1/namespaces/%s/autoscalers\t' "$namespace"
    printf '{"apiVersion":"scalekit.dev/v1alpha1","kind":"Autoscaler","metadata":{"name":"%s"},"spec":{"scaleTargetRef":{"apiVersion":"bench.scalekit.dev/v1","kind":"Target","name":"%s"},"maxReplicas":5,"metrics":[{"type":"Prometheus","prometheus":{"name":"load","query":"%s","target":{"type":"AverageValue","averageValue":"10"}}}]}}\n' "$1" "$1" "$2"
}
# The query of this number. All of them say 25: three replicas. With MOVES=1 another value at each look, which calls for as many.
query() { echo "count(up) * 0 + 25 + 0 * $1${MOVES:+ + time() % 4}"; }

# The process of this name (or with this argument) that belongs to this cluster: it, or one that made it, is in the node's
# namespace of processes.
node=$(readlink "/proc/$(cut -d' ' -f1 "$state/init")/ns/pid_for_children")
process() { # pgrep's arguments
    local pid up
    for pid in $(pgrep "$@"); do
        up=$pid
        while [ "${up:-0}" -gt 1 ]; do
            if [ "$(readlink "/proc/$up/ns/pid")" = "$node" ]; then
                echo "$pid"
                return
            fi
            up=$(awk '/^PPid/ {print $2}' "/proc/$up/status" 2>/dev/null || true)
        done
    done
}
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
rss() { awk '/^VmRSS/ {printf "%.1f", $2 / 1024}' "/proc/$1/status"; }
metrics() { kubectl get --raw "/api/v1/namespaces/monitoring/services/scaler:8080/proxy/metrics"; }
# A percentile of what was added to a histogram between two pages, in milliseconds: the upper edge of its bucket. – where there
# is no such histogram, or nothing was added. SERIES is what its lines begin with.
percentile() { # before after share [SERIES]
    awk -v share="$3" -v series="${4:-scalekit_autoscaler_tick_lateness_seconds_bucket}" '
        index($0, series) == 1 {
            edge = $1; sub(/.*le="/, "", edge); sub(/".*/, "", edge)
            if (FNR == NR) before[edge] = $2; else { edges[++n] = edge; added[edge] = $2 - before[edge] }
        }
        END {
            if (!n || !added[edges[n]]) { print "–"; exit }
            for (i = 1; i <= n; i++) if (added[edges[i]] >= share * added[edges[n]]) break
            print edges[i] == "+Inf" ? "> last" : edges[i] * 1000
        }' "$1" "$2"
}
# percentiles [SERIES]: p50 / p95 / p99 / max of a histogram.
percentiles() {
    local share all=''
    for share in 0.5 0.95 0.99 1; do all+=" / $(percentile "$work/before" "$work/after" "$share" "$@")"; done
    echo "${all# / }"
}
sum() { awk -v name="$2" 'index($1, name) == 1 {sum += $2} END {printf "%d", sum}' "$1"; }

# measured SECONDS NAME...: the cores that each of these took in that time, and its memory in MiB, as `cpu` and `memory`. What is
# in `pids`.
measured() {
    local seconds=$1 name start
    local -A began=()
    shift
    for name in "$@"; do began[$name]=$(ticks "${pids[$name]}"); done
    start=$EPOCHREALTIME
    sleep "$seconds"
    took=$(echo "$EPOCHREALTIME $start" | awk '{print $1 - $2}')
    cpu='' memory=''
    for name in "$@"; do
        cpu+=" / $(echo "$(ticks "${pids[$name]}") ${began[$name]} $(getconf CLK_TCK) $took" | awk '{printf "%.3f", ($1 - $2) / $3 / $4}')"
        memory+=" / $(rss "${pids[$name]}")"
    done
    cpu=${cpu# / } memory=${memory# / }
}
# know NAME...: their processes, in `pids`.
declare -A pids=()
know() {
    local name
    for name in "$@"; do
        case $name in
            scaler) pids[$name]=$(process -f 'run controller') ;;
            *) pids[$name]=$(process -f "^([^ ]*/)?$name( |\$)") ;;
        esac
        [ -n "${pids[$name]}" ] || { echo "no process of $name is to be seen here" >&2; exit 1; }
    done
}

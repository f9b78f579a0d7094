# Sourced by run: what is scaled by what, and what has to come of it.
# shellcheck shell=bash disable=SC2154 # sourced; its variables come from there

# scaled NAME REPLICAS QUERY [PROMETHEUS [SPEC]]: an object of a kind with /scale and nothing behind it, with so many replicas,
# and an Autoscaler of it: a replica takes 10. Further fields as JSON with a comma before.
scaled() {
  kubectl create -n "$namespace" -f - >/dev/null <<END
{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"bench.scalekit.dev/v1","kind":"Target","metadata":{"name":"$1"},
 "spec":{"replicas":$2},"status":{"replicas":$2,"selector":"app=$1"}},
{"apiVersion":"scalekit.dev/v1alpha1","kind":"Autoscaler","metadata":{"name":"$1"},"spec":{"interval":"5s","maxReplicas":5,
 "scaleTargetRef":{"apiVersion":"bench.scalekit.dev/v1","kind":"Target","name":"$1"},
 "behavior":{"scaleUp":{"tolerance":"0"},"scaleDown":{"tolerance":"0","stabilizationWindowSeconds":${window:-0}}},
 "metrics":[{"type":"Prometheus","prometheus":{"name":"load","query":"$3",
  "target":{"type":"AverageValue","averageValue":"10"}${4-}}}]${5-}}}]}
END
}

# seen: `NAME REPLICAS REASON` of each, the reason that of ScalingActive, and ShortHistory where that holds it back.
seen() {
  LC_ALL=C join <(kubectl get targets -n "$namespace" -o go-template="$replicas" | LC_ALL=C sort) \
    <(kubectl get autoscalers -n "$namespace" -o go-template="$reasons" | LC_ALL=C sort)
}
replicas='{{range .items}}{{.metadata.name}} {{.spec.replicas}}{{"\n"}}{{end}}'
of_active='{{range .status.conditions}}{{if eq .type "ScalingActive"}}'
reasons="{{range .items}}{{.metadata.name}}$of_active"' {{.reason}}{{end}}{{if eq .reason "ShortHistory"}} {{.reason}}{{end}}'
reasons+='{{end}}{{"\n"}}{{end}}'
messages="{{range .items}}{{.metadata.name}}: $of_active"'{{.message}}{{end}}{{end}}{{"\n"}}{{end}}'
as_expected() { seen >"$work/seen" && diff "$work/expected" "$work/seen" >"$work/diff"; }
# expect [LESS]: the lines of stdin are what is seen of these Autoscalers, within a minute and after two more looks.
expect() {
  LC_ALL=C sort >"$work/expected"
  until_true 300 as_expected 2>/dev/null || {
    fail "expected (<) and seen (>):"$'\n'"$(cat "$work/diff")"
    kubectl get autoscalers -n "$namespace" -o go-template="$messages" >&2
    return
  }
  sleep 11
  as_expected || fail "it does not stay so: expected (<) and seen (>):"$'\n'"$(cat "$work/diff")"
  echo "$server: $(wc -l <"$work/expected") Autoscalers as expected"
}
# explained NAME AGO WORDS...: what is said of the decision about this one so many seconds ago, which nobody remembers.
explained() {
  local said at words
  at=$(date -u -d "@$(($(date +%s) - $2))" +%FT%TZ)
  said=$(curl -s -m 20 "http://127.0.0.1:18080/explain/$namespace/$1?at=$at")
  for words in "${@:3}"; do
    [[ $said == *"$words"* ]] || { fail "explain --at $at of $1 does not say \`$words\`: $said"; return; }
  done
  echo "$server: the decision about $1 of $(($2 / 60)) minutes ago is explained"
}

common() {
  scaled value 2 load
  scaled scalar 2 'scalar(load)'
  scaled several 2 several
  scaled sum 2 several ',"reduce":"Sum"'
  scaled largest 3 several ',"reduce":"Max"'
  scaled nothing 2 no_such_series
  scaled zero 2 no_such_series ',"onAbsent":"Zero"'
  scaled syntax 2 'sum(load'
  scaled range 2 'load[5m]'
  scaled text 2 '\"25\"'
  scaled not-a-number 2 '0 * load / 0'
  scaled infinite 2 'load / 0'
  scaled negative 2 '0 - load'
  scaled fresh 2 load ',"maxAge":"1m"'
  scaled stale 2 old ',"maxAge":"1m"'
  scaled late 2 old
  scaled remark 2 'sum(rate(requests[2m]))'
  scaled covered 3 'sum(rate(calm_total[10m]))'
  scaled short 3 'sum(rate(young_total[10m]))'
  window=1800 scaled windowed 2 load
  "expected_of_$server" | expect
  explained value 1800 'load is 15' 'calls for 2'
  explained windowed 1800 'load is 15' 'within the stabilization window holds it at 5'
}

expected_of_prometheus() {
  cat <<END
value 3 ValidMetricFound
scalar 3 ValidMetricFound
several 2 SeveralSeries
sum 3 ValidMetricFound
largest 2 ValidMetricFound
nothing 2 MetricAbsent
zero 1 ValidMetricFound
syntax 2 InvalidQuery
range 2 WrongResultType
text 2 WrongResultType
not-a-number 2 NotANumber
infinite 2 InfiniteValue
negative 2 NegativeValue
fresh 3 ValidMetricFound
stale 2 StaleSample
late 3 ValidMetricFound
remark 3 ValidMetricFound
covered 1 ValidMetricFound
short 3 ValidMetricFound ShortHistory
windowed 3 ValidMetricFound
END
}

# VictoriaMetrics drops what is no number, text among it.
expected_of_victoria-metrics() {
  expected_of_prometheus | sed 's/NotANumber/MetricAbsent/; s/^text .*/text 2 MetricAbsent/'
}
of_victoria-metrics() {
  local began
  scaled unauthorized 2 load ",\"serverAddress\":\"$url\""
  scaled pushed 2 pushed
  {
    expected_of_victoria-metrics
    echo unauthorized 2 PrometheusUnauthorized
    echo pushed 2 ValidMetricFound
  } | expect
  began=$SECONDS
  pushed 45
  until_true 300 has_replicas pushed 5 || fail 'what is pushed is not seen'
  echo "$server: what is pushed is scaled on after $((SECONDS - began)) s"
  ((SECONDS - began < 20)) || fail 'it answers about half a minute ago'
}
has_replicas() { [[ $(kubectl get targets "$1" -n "$namespace" -o 'jsonpath={.spec.replicas}') == "$2" ]]; }

expected_of_mimir() { expected_of_prometheus; }
# Who sends no tenant is let to nothing, and another's has nothing.
of_mimir() {
  kubectl delete autoscalers,targets --all -n "$namespace" >/dev/null
  scaled of-nobody 2 load ",\"serverAddress\":\"$url\""
  scaled of-another 2 load ",\"serverAddress\":\"$url\",\"auth\":{\"headers\":[{\"name\":\"X-Scope-OrgID\",\"value\":\"other\"}]}"
  printf '%s\n' 'of-nobody 2 PrometheusUnauthorized' 'of-another 2 MetricAbsent' | expect
}

expected_of_thanos() { expected_of_prometheus; }
of_thanos() {
  local lenient=",\"serverAddress\":\"${url%0}1\",\"auth\":{\"headers\":[{\"name\":\"THANOS-TENANT\",\"value\":\"shop\"}]}"
  kubectl delete autoscalers,targets --all -n "$namespace" >/dev/null
  scaled of-nobody 2 load ",\"serverAddress\":\"$url\""
  scaled whole 2 'sum(part)'
  scaled lenient 2 'sum(part)' "$lenient"
  printf '%s\n' 'of-nobody 2 MetricAbsent' 'whole 5 ValidMetricFound' 'lenient 5 ValidMetricFound' | expect
  # What is left is 30.
  stop sidecar-2
  scaled more 1 'sum(part)'
  printf '%s\n' 'of-nobody 2 MetricAbsent' 'whole 5 PartialAnswer' 'more 3 PartialAnswer' 'lenient 3 ValidMetricFound' | expect
}

# Sourced by run: the servers, each on ports of its own of the loopback address, with samples, ready to be asked.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced; some variables come from there, others are read there

# shellcheck source=../bench/build.sh
. dev/bench/build.sh
built_by_up=$PWD/target/cluster-build/bin
programs=$PWD/dev/compatible/programs
declare -A pids=()

# start NAME COMMAND...: a process in the background, which ends with the run.
start() {
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 &
  pids[$name]=$!
}
stop() {
  kill "${pids[$1]}" || fail "$1 had ended"
  wait "${pids[$1]}" || true
  unset "pids[$1]"
}
# until_true SECONDS COMMAND...: waits until it succeeds.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || { echo "waited in vain: $*" >&2; tail -n 5 "$work"/*.log >&2; return 1; }
    sleep 0.2
  done
}
# samples UNIT [HALF]
samples() {
  awk -v now="$(date +%s)" -v unit="$1" -v half="${2:-1}" -v namespace="$namespace" -f dev/compatible/samples.awk
}
says() { curl -sf -m 5 "${@:2}" | grep -q "$1"; }

# a_prometheus NAME PORT HALF: one whose samples are blocks, and that is one of two.
a_prometheus() {
  local folder=$work/$1
  mkdir -p "$folder"
  samples 1 "$3" >"$folder/samples"
  "$built_by_up/promtool" tsdb create-blocks-from openmetrics "$folder/samples" "$folder/data" >"$folder/promtool.log"
  printf 'global: {external_labels: {replica: %s, tenant_id: shop}}\n' "$3" >"$folder/prometheus.yml"
  start "$1" "$built_by_up/prometheus" --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/data" \
    --web.listen-address="127.0.0.1:$2" --storage.tsdb.min-block-duration=2h --storage.tsdb.max-block-duration=2h
  until_true 300 curl -sf "http://127.0.0.1:$2/-/ready"
}

prometheus() {
  a_prometheus prometheus 19090 1
  url=http://127.0.0.1:19090
}

victoria_metrics=github.com/VictoriaMetrics/VictoriaMetrics
victoria-metrics() {
  url=http://127.0.0.1:18428 access=(username=scaler password=secret)
  start victoria-metrics target/bench/bin/victoria-metrics -storageDataPath="$work/victoria-metrics" \
    -httpListenAddr=127.0.0.1:18428 -httpAuth.username=scaler -httpAuth.password=secret
  until_true 300 says OK -u scaler:secret "$url/health"
  samples 1000 | curl -sf -u scaler:secret --data-binary @- "$url/api/v1/import/prometheus"
  pushed 15
  until_true 300 says '"value"' -u scaler:secret "$url/api/v1/query?query=load"
}
pushed() { echo "pushed $1" | curl -sf -u scaler:secret --data-binary @- "$url/api/v1/import/prometheus"; }

mimir() {
  local folder=$work/mimir tenant='X-Scope-OrgID: shop'
  mkdir "$folder"
  url=http://127.0.0.1:19300/prometheus access=("headers=$tenant")
  sed "s:FOLDER:$folder:" dev/compatible/mimir.yaml >"$folder/mimir.yaml"
  start mimir target/bench/bin/mimir -config.file="$folder/mimir.yaml"
  until_true 300 curl -sf http://127.0.0.1:19300/ready
  samples 1000 >"$folder/samples"
  "$built_by_up/promtool" push metrics --header="${tenant/: /=}" --remote-write.path=/api/v1/push http://127.0.0.1:19300 \
    "$folder/samples" >"$folder/promtool.log"
  until_true 300 says '"value"' -H "$tenant" "$url/api/v1/query?query=load"
}

# Two of Prometheus, each with its sidecar, and two queriers: of the second the stores are not strict.
thanos() {
  local place name strict
  url=http://127.0.0.1:19190 access=('headers=THANOS-TENANT: shop')
  for place in 1 2; do
    name=prometheus-$place
    a_prometheus "$name" $((19090 + place)) "$place"
    start "sidecar-$place" target/bench/bin/thanos sidecar --prometheus.url="http://127.0.0.1:$((19090 + place))" \
      --tsdb.path="$work/$name/data" --grpc-address="127.0.0.1:$((19200 + place))" --http-address="127.0.0.1:$((19210 + place))"
  done
  for place in 1 2; do
    strict=$( ((place == 1)) && echo true || echo false)
    printf 'endpoints:\n- {address: "127.0.0.1:19201", strict: %s}\n- {address: "127.0.0.1:19202", strict: %s}\n' \
      "$strict" "$strict" >"$work/endpoints-$place"
    start "query-$place" target/bench/bin/thanos query --endpoint.sd-config-file="$work/endpoints-$place" \
      --query.replica-label=replica --query.enforce-tenancy --http-address="127.0.0.1:$((19189 + place))" \
      --grpc-address="127.0.0.1:$((19220 + place))"
    until_true 300 says '"value"' -H 'THANOS-TENANT: shop' "http://127.0.0.1:$((19189 + place))/api/v1/query?query=load"
  done
}

# shellcheck shell=bash
# Clusters that do not run in namespaces of ours: kind's, and any that exists.

boot_kind() {
  say "Docker and kind are here: a real kind cluster"
  save_settings
  kind create cluster --name "$CLUSTER" --kubeconfig "$STATE/kubeconfig" --wait 120s
  client_tools
}

use_existing() {
  local nodes
  [[ -r $CLUSTER_KUBECONFIG ]] || die "CLUSTER_KUBECONFIG=$CLUSTER_KUBECONFIG cannot be read"
  save_settings
  # A copy: later changes of the original cannot lead the tests elsewhere.
  install -m 600 "$CLUSTER_KUBECONFIG" "$STATE/kubeconfig"
  client_tools
  nodes=$(kubectl get nodes -o name --request-timeout=10s) || die "the cluster of $CLUSTER_KUBECONFIG cannot be reached"
  nodes=$(wc -l <<<"$nodes")
  ((nodes <= 3)) || die "the cluster of $CLUSTER_KUBECONFIG has $nodes nodes: a test cluster has three at most"
  [[ -z $(kubectl get namespaces,clusterroles -l app.kubernetes.io/part-of=scalekit -o name) ]] ||
    die "the cluster of $CLUSTER_KUBECONFIG has a scalekit install, which tests would change"
}

# client_tools gives $STATE/bin what tests call, from the machine where it can.
client_tools() {
  if command -v kubectl >/dev/null; then
    ln -sf "$(command -v kubectl)" "$STATE/bin/kubectl"
  else
    require_go
    program kubernetes
    ln -sf "$BUILD/bin/kubernetes" "$STATE/bin/kubectl"
  fi
}

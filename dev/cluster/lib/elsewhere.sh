# shellcheck shell=bash
# Clusters that do not run in namespaces of ours: kind's, and any that exists.

boot_kind() {
  say "Docker and kind are here: a real kind cluster"
  save_settings
  kind create cluster --name "$CLUSTER" --kubeconfig "$STATE/kubeconfig" --wait 120s
  client_tools
}

# use_existing checks that the cluster is one to test on, before anything is done to it.
use_existing() {
  local nodes installed
  save_settings
  client_tools
  # A copy, with the files it names inside it: later changes of the original
  # cannot lead the tests elsewhere.
  (umask 077 && "$STATE/bin/kubectl" --kubeconfig "$CLUSTER_KUBECONFIG" config view --raw --flatten --minify >"$STATE/kubeconfig") ||
    die "CLUSTER_KUBECONFIG=$CLUSTER_KUBECONFIG is not a kubeconfig with a current context"
  nodes=$(kubectl get nodes -o name --request-timeout=10s) || die "the cluster of $CLUSTER_KUBECONFIG cannot be reached"
  nodes=$(wc -l <<<"$nodes")
  ((nodes <= 3)) || die "the cluster of $CLUSTER_KUBECONFIG has $nodes nodes: a test cluster has three at most"
  installed=$(kubectl get namespaces,clusterroles -l app.kubernetes.io/part-of=scalekit -o name) ||
    die "what the cluster of $CLUSTER_KUBECONFIG has cannot be listed"
  [[ -z $installed ]] || die "the cluster of $CLUSTER_KUBECONFIG has a scalekit install, which tests would change: ${installed//$'\n'/, }"
}

# client_tools gives $STATE/bin what tests call, from the machine where it can.
client_tools() {
  local found
  if found=$(type -P kubectl); then
    ln -sf "$found" "$STATE/bin/kubectl"
  else
    require_go
    program kubernetes
    ln -sf "$BUILD/bin/kubernetes" "$STATE/bin/kubectl"
  fi
}

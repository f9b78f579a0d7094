# shellcheck shell=bash disable=SC2034 # sourced; its variables are read elsewhere
# What a cluster is called, and everything that follows from it. Sourced by
# up, down and test/works; the node gets the result as $STATE/settings.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=$(cd "$HERE/../.." && pwd)

: "${CLUSTER:=scalekit}"  # its name; every other cluster on this machine needs another
: "${FLAVOUR:=kind}"      # kind | microk8s: which of the two it imitates
: "${RBAC:=}"             # 1 | 0; by default as the flavour has it
: "${METRICS_SERVER:=}"   # 1: with metrics-server, for kubectl top and resource metrics
: "${KUBELET:=}"          # 0: only etcd, the API server and the controller manager; no pod ever runs

BUILD=$ROOT/target/cluster-build # programs and images, shared by all clusters
STATE=$ROOT/target/cluster       # all that one cluster keeps
[[ $CLUSTER == scalekit ]] || STATE=$ROOT/target/clusters/$CLUSTER

# A cluster that everybody has must not be touched by mistake.
unset KUBECONFIG

die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 1
}

STARTED=${EPOCHREALTIME/./}
say() {
  local ms=$(((${EPOCHREALTIME/./} - STARTED) / 1000))
  printf '[%3d.%02ds] %s\n' $((ms / 1000)) $((ms % 1000 / 10)) "$*"
}

# flavour sets what a user of the imitated platform would find. All of it can be
# seen through the API, which is what the product goes by.
flavour() {
  PAUSE_IMAGE=registry.k8s.io/pause:3.10
  case $FLAVOUR in
    kind)
      : "${RBAC:=1}"
      NODE=$CLUSTER-control-plane
      CONTEXT=kind-$CLUSTER
      PROVIDER_ID=kind://docker/$CLUSTER/$NODE
      NODE_LABELS=
      STORAGE_CLASS=standard
      PROVISIONER=rancher.io/local-path
      PROVISIONER_NAMESPACE=local-path-storage
      PROVISIONER_NAME=local-path-provisioner
      VOLUMES=/var/local-path-provisioner
      KUBELET_ROOT=/var/lib/kubelet
      API_PORT=6443
      METRICS_SERVER_TLS=--kubelet-insecure-tls # its kubelet signs its own certificate
      BIND=127.0.0.1 # where the controller manager and the scheduler serve their metrics
      ;;
    microk8s)
      : "${RBAC:=0}"
      NODE=$CLUSTER
      CONTEXT=microk8s
      PROVIDER_ID=
      NODE_LABELS=microk8s.io/cluster=true,node.kubernetes.io/microk8s-controlplane=microk8s-controlplane
      STORAGE_CLASS=microk8s-hostpath
      PROVISIONER=microk8s.io/hostpath
      PROVISIONER_NAMESPACE=kube-system
      PROVISIONER_NAME=hostpath-provisioner
      VOLUMES=/var/snap/microk8s/common/default-storage
      KUBELET_ROOT=/var/snap/microk8s/common/var/lib/kubelet
      API_PORT=16443
      METRICS_SERVER_TLS=--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt
      BIND=0.0.0.0
      ;;
    *) die "FLAVOUR=$FLAVOUR: there is kind, and there is microk8s" ;;
  esac
  [[ $RBAC == [01] ]] || die "RBAC=$RBAC: it is 1 or 0"
  [[ $KUBELET == ?(0|1) ]] || die "KUBELET=$KUBELET: it is 1 or 0"
  [[ $METRICS_SERVER == ?(0|1) ]] || die "METRICS_SERVER=$METRICS_SERVER: it is 1 or 0"
  [[ $CLUSTER =~ ^[a-z][a-z0-9-]{0,30}$ ]] || die "CLUSTER=$CLUSTER: lower case letters, digits and dashes, 31 at most"
  # Its own cgroup, under a name that no cluster of another checkout has.
  CGROUP=scalekit-$CLUSTER-$(sha256sum <<<"$STATE" | cut -c1-8)
  # Where the machine reaches containerd. A socket's path has 107 bytes at most:
  # in a checkout that is too deep for that, it gets a short one beside it.
  SOCKET=$STATE/containerd.sock
  (($(wc -c <<<"$SOCKET") <= 108)) || SOCKET=/run/$CGROUP.sock # wc counts the line's end
}

# addresses sets the networks of the flavour's Nth slot. The first has those that
# the platform really uses; two clusters of a flavour at once need different ones,
# because the machine has routes to both.
addresses() {
  local slot=$1
  case $FLAVOUR in
    kind)
      LINK=scalekit-kind$slot
      NODE_NET=172.18.$slot
      POD_CIDR=10.$((244 - slot)).0.0/16
      SERVICE_CIDR=10.$((96 + slot)).0.0/16
      ;;
    microk8s)
      LINK=scalekit-mk8s$slot
      NODE_NET=172.30.$slot
      POD_CIDR=10.$((1 + slot)).0.0/16
      SERVICE_CIDR=10.152.$((183 + slot)).0/24
      ;;
  esac
  HOST_IP=$NODE_NET.1
  NODE_IP=$NODE_NET.2
  SERVICE_IP=${SERVICE_CIDR%.*}.1
  DNS_IP=${SERVICE_CIDR%.*}.10
}

# save_settings writes what the node, down and test/works need to know.
save_settings() {
  local name
  for name in ENGINE CLUSTER_KUBECONFIG CLUSTER FLAVOUR RBAC NODE CONTEXT PROVIDER_ID NODE_LABELS STORAGE_CLASS PROVISIONER \
    PROVISIONER_NAMESPACE PROVISIONER_NAME METRICS_SERVER KUBELET VOLUMES KUBELET_ROOT API_PORT BIND CGROUP SOCKET PAUSE_IMAGE \
    LINK POD_CIDR SERVICE_CIDR HOST_IP NODE_IP SERVICE_IP DNS_IP; do
    printf '%s=%q\n' "$name" "${!name-}"
  done >"$STATE/settings"
}

# identity prints a process id with its start time, which together name one
# process for ever; a bare id may be somebody else's by the time it is used.
identity() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) } # the name may hold spaces
  # shellcheck disable=SC2086 # the 20th word after the name is the start time
  set -- $1 $stat
  printf '%s %s %s\n' "$1" "${21}" "$(cat /proc/sys/kernel/random/boot_id)"
}

# running says whether the cluster's node lives, and sets INIT to its first process.
running() {
  [[ -s $STATE/init ]] || return 1
  read -r INIT _ <"$STATE/init"
  [[ $(identity "$INIT") == "$(<"$STATE/init")" ]]
}

# The kubectl of the cluster, which never reads another kubeconfig.
kubectl() { "$STATE/bin/kubectl" --kubeconfig "$STATE/kubeconfig" "$@"; }

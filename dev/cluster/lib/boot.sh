# shellcheck shell=bash
# Boots a node in namespaces of this machine, and waits until it is Ready.

boot() {
  claim_link
  make_state
  make_cgroups
  start_node
  wait_until 240 "the API server did not get ready" kubectl get --raw /readyz --request-timeout=2s
  say "API server ready"
  if [[ $KUBELET == 0 ]]; then
    control_plane_alone
    return
  fi
  apply_manifests
  wait_until 240 "the node did not register" kubectl get node "$NODE"
  if [[ $FLAVOUR == kind ]]; then
    kubectl label node "$NODE" node-role.kubernetes.io/control-plane= >/dev/null
  fi
  kubectl wait "node/$NODE" --for=condition=Ready --timeout=240s >/dev/null
  say "node Ready"
  kubectl -n kube-system rollout status deployment/coredns --timeout=240s >/dev/null
  kubectl -n "$PROVISIONER_NAMESPACE" rollout status "deployment/$PROVISIONER_NAME" --timeout=240s >/dev/null
  on_demand
  # Pods need it, and it comes a moment after its namespace.
  wait_until 120 "the default service account was not made" kubectl -n default get serviceaccount default
  say "DNS and storage Ready"
}

# control_plane_alone gives a cluster without a kubelet what scalekit looks for: a
# node, which will never be Ready, and a StorageClass, of which no volume comes.
control_plane_alone() {
  apply <<END
apiVersion: v1
kind: Node
metadata: {name: $NODE, labels: {kubernetes.io/os: linux}}
spec: {providerID: "$PROVIDER_ID"}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: $STORAGE_CLASS, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: $PROVISIONER
volumeBindingMode: WaitForFirstConsumer
END
  if [[ -n $NODE_LABELS ]]; then
    # shellcheck disable=SC2086 # several labels
    kubectl label node "$NODE" ${NODE_LABELS//,/ } >/dev/null
  fi
  # With it the controller manager is at work.
  wait_until 120 "the default service account was not made" kubectl -n default get serviceaccount default
  say "controller manager at work"
}

# claim_link takes the flavour's first free slot. Making the link claims it for
# this machine, over all checkouts; the link's alias says whose it is. The
# node's end moves into the node later, and with the node the link goes.
claim_link() {
  local slot
  for slot in {0..9}; do
    addresses "$slot"
    free "$NODE_NET.0/24" "$POD_CIDR" "$SERVICE_CIDR" || continue
    ip link add "$LINK" type veth peer name "${LINK}n" 2>/dev/null || continue
    ip link set "$LINK" alias "$STATE"
    return
  done
  die "all ten networks for clusters of this flavour are taken (ip link, ip route)"
}

# free says that no route of this machine leads into or covers these networks.
free() {
  local network
  for network; do
    [[ -z $(ip -4 route show root "$network") ]] || return 1
    ! ip -4 route show match "$network" | grep -qv ^default || return 1
  done
}

make_state() {
  mkdir -p "$STATE"/{bin,log,run,pki,node/containerd}
  save_settings
  seed_store "$STATE/node/containerd"
  "$BUILD/bin/cluster-tool" pki "$STATE/pki" "$NODE" "$NODE_IP" "$SERVICE_IP" "$API_PORT" "$CONTEXT"
  cp -p "$STATE/pki/admin.conf" "$STATE/kubeconfig"
  ln -s run/containerd.sock "$STATE/containerd.sock"
  [[ $SOCKET == "$STATE"/* ]] || ln -sfn "$STATE/run/containerd.sock" "$SOCKET"
  ln -s "$BUILD/bin/kubernetes" "$STATE/bin/kubectl"
  ln -s "$BUILD/bin/promtool" "$STATE/bin/promtool"
  ln -s "$BUILD/debian/containerd/usr/bin/ctr" "$STATE/bin/ctr"
}

# make_cgroups makes the node's cgroup, below which the kubelet makes its own, and in it one for what is no pod, as systemd
# has it in system.slice: in the unified hierarchy, or in each hierarchy of version 1. Threads of the API server that were
# beside the group of all pods would count as much as that whole group.
make_cgroups() {
  local dir
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    mkdir -p "/sys/fs/cgroup/$CGROUP"
    sed 's/\([a-z]\+\)/+\1/g' /sys/fs/cgroup/cgroup.subtree_control >"/sys/fs/cgroup/$CGROUP/cgroup.subtree_control"
    mkdir -p "/sys/fs/cgroup/$CGROUP/system"
    weigh "/sys/fs/cgroup/$CGROUP/cpu.weight" 100
    return
  fi
  for dir in /sys/fs/cgroup/*/; do
    [[ -L ${dir%/} ]] || mkdir -p "$dir$CGROUP"
  done
  for dir in cpus mems; do # a new cpuset has none, and takes no process
    cat /sys/fs/cgroup/cpuset/cpuset.$dir >"/sys/fs/cgroup/cpuset/$CGROUP/cpuset.$dir"
  done
  mkdir -p "/sys/fs/cgroup/cpu/$CGROUP/system" "/sys/fs/cgroup/memory/$CGROUP/system"
  weigh "/sys/fs/cgroup/cpu/$CGROUP/cpu.shares" 1024
}

# weigh FILE ONE: the node counts as much as one busy thread for each processor, up to a hundred, in the units of the file.
weigh() {
  local threads
  threads=$(nproc)
  echo $(($2 * (threads < 100 ? threads : 100))) >"$1"
}

# no_pod puts the shell, and what it begins, into the cgroup of what is no pod.
no_pod() {
  local dir
  for dir in /sys/fs/cgroup/{,cpu/,memory/}"$CGROUP/system"; do
    [[ ! -d $dir ]] || echo "$BASHPID" >"$dir/cgroup.procs"
  done
}

start_node() {
  local unshare
  (
    no_pod
    exec setsid unshare --mount --pid --net --uts --ipc --fork --kill-child --mount-proc --propagation private \
      "$HERE/node/init" "$STATE" "$BUILD" "$HERE"
  ) >"$STATE/log/node.log" 2>&1 </dev/null &
  unshare=$!
  wait_until 60 "the node's first process did not start" first_child "$unshare"
  identity "$INIT" >"$STATE/init"
  ip link set "${LINK}n" netns "$INIT" name eth0-new
  ip address add "$HOST_IP/24" dev "$LINK"
  ip link set "$LINK" up
  ip route add "$POD_CIDR" via "$NODE_IP"
  ip route add "$SERVICE_CIDR" via "$NODE_IP"
  say "node started"
}

first_child() {
  read -r INIT _ < <(cat "/proc/$1/task/$1/children" && echo) && [[ -n $INIT ]]
}

apply_manifests() {
  local name expressions=()
  for name in DNS_IP STORAGE_CLASS PROVISIONER PROVISIONER_NAMESPACE PROVISIONER_NAME VOLUMES; do
    expressions+=(-e "s#@$name@#${!name}#g")
  done
  sed "${expressions[@]}" -s -e '$a---' "$HERE"/manifests/{dns,storage}.yaml | apply
}
apply() { kubectl apply --server-side --field-manager=cluster-up -f - >/dev/null; }

# on_demand installs what a cluster has only where it is asked for.
on_demand() {
  ((METRICS_SERVER)) || return 0
  sed "s#@METRICS_SERVER_TLS@#$METRICS_SERVER_TLS#" "$HERE/manifests/metrics-server.yaml" | apply
  kubectl -n kube-system rollout status deployment/metrics-server --timeout=240s >/dev/null
  kubectl wait apiservice/v1beta1.metrics.k8s.io --for=condition=Available --timeout=240s >/dev/null
  say "metrics-server Ready"
}

# wait_until SECONDS COMPLAINT COMMAND...: tries the command until it succeeds.
wait_until() {
  local limit=$((SECONDS + $1)) complaint=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS > limit)) || { [[ -s $STATE/init ]] && ! running; }; then
      tail -n 3 "$STATE"/log/*.log >&2 || true
      say "$complaint"
      exit 1
    fi
    sleep 0.1
  done
}

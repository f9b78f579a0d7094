# shellcheck shell=bash disable=SC2154 # sourced by init; its variables come from there
# shellcheck disable=SC2054,SC2206 # arguments hold commas, and no path in them a space
# etcd and Kubernetes, configured as the imitated platform does it.

start_kubernetes() {
  local name
  mkdir -p /run/bin /etc/kubernetes
  for name in etcd kubectl kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubelite; do
    ln -s /run/build/bin/kubernetes "/run/bin/$name"
  done
  PATH=/run/bin:$PATH
  cp -a pki /etc/kubernetes/pki
  write_audit_policy
  write_kubelet_config
  write_proxy_config

  supervise etcd etcd "${etcd[@]}"
  if [[ ${KUBELET-} == 0 ]]; then
    supervise kube-apiserver kube-apiserver "${apiserver[@]}"
    until api_ready; do sleep 0.1; done
    supervise kube-controller-manager kube-controller-manager "${controller_manager[@]}"
    return
  fi
  if [[ $FLAVOUR == microk8s ]]; then
    write_kubelite_arguments
    supervise kubelite kubelite "$kubelite_arguments" $pki/admin.conf
    until api_ready; do sleep 0.1; done
    start_network_policies
    return
  fi
  supervise kube-apiserver kube-apiserver "${apiserver[@]}"
  supervise kubelet kubelet "${kubelet[@]}"
  # The others would wait for the API server too, but seconds longer than needed:
  # they look again less and less often.
  until api_ready; do sleep 0.1; done
  supervise kube-controller-manager kube-controller-manager "${controller_manager[@]}"
  supervise kube-scheduler kube-scheduler "${scheduler[@]}"
  supervise kube-proxy kube-proxy "${proxy[@]}"
  start_network_policies
}

api_ready() { kubectl --kubeconfig $pki/admin.conf get --raw /readyz >/dev/null 2>&1; }

pki=/etc/kubernetes/pki

# Without fsync: the data need not outlive the machine's power.
etcd=(
  --name=node --data-dir=/var/lib/etcd/data --unsafe-no-fsync --log-level=warn
  --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379
  --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380
  --initial-cluster=node=http://127.0.0.1:2380 --listen-metrics-urls=http://127.0.0.1:2381
)

authorization=Node,RBAC
((RBAC)) || authorization=AlwaysAllow

apiserver=(
  --advertise-address="$NODE_IP" --secure-port="$API_PORT"
  --etcd-servers=http://127.0.0.1:2379
  --allow-privileged=true --authorization-mode=$authorization --enable-admission-plugins=NodeRestriction
  --service-cluster-ip-range="$SERVICE_CIDR"
  --client-ca-file=$pki/ca.crt --tls-cert-file=$pki/apiserver.crt --tls-private-key-file=$pki/apiserver.key
  --kubelet-preferred-address-types=InternalIP,Hostname
  --kubelet-client-certificate=$pki/apiserver-kubelet-client.crt --kubelet-client-key=$pki/apiserver-kubelet-client.key
  --service-account-issuer=https://kubernetes.default.svc.cluster.local
  --service-account-key-file=$pki/sa.pub --service-account-signing-key-file=$pki/sa.key
  --requestheader-client-ca-file=$pki/front-proxy-ca.crt --requestheader-allowed-names=front-proxy-client
  --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group
  --requestheader-username-headers=X-Remote-User
  --proxy-client-cert-file=$pki/front-proxy-client.crt --proxy-client-key-file=$pki/front-proxy-client.key
  --audit-policy-file=/etc/kubernetes/audit-policy.yaml --audit-log-path=/run/cluster/log/audit.log
  --audit-log-maxsize=200 --audit-log-maxbackup=2
)

# The volume plugin directory's default would be made on the machine, in /usr. With
# the default rate of requests it would take the controllers 5 s to get started.
controller_manager=(
  --kubeconfig=$pki/controller-manager.conf --authentication-kubeconfig=$pki/controller-manager.conf
  --authorization-kubeconfig=$pki/controller-manager.conf --bind-address="$BIND"
  --leader-elect=false --use-service-account-credentials=true --controllers='*'
  --root-ca-file=$pki/ca.crt --client-ca-file=$pki/ca.crt --requestheader-client-ca-file=$pki/front-proxy-ca.crt
  --service-account-private-key-file=$pki/sa.key
  --cluster-signing-cert-file=$pki/ca.crt --cluster-signing-key-file=$pki/ca.key
  --cluster-name="$CLUSTER" --allocate-node-cidrs=true --cluster-cidr="$POD_CIDR" --service-cluster-ip-range="$SERVICE_CIDR"
  --flex-volume-plugin-dir=/var/lib/volume-plugins --kube-api-qps=500 --kube-api-burst=1000
)

scheduler=(
  --kubeconfig=$pki/scheduler.conf --authentication-kubeconfig=$pki/scheduler.conf
  --authorization-kubeconfig=$pki/scheduler.conf --bind-address="$BIND" --leader-elect=false
)

kubelet=(
  --config=/etc/kubernetes/kubelet.yaml --kubeconfig=$pki/kubelet.conf --root-dir="$KUBELET_ROOT"
  --hostname-override="$NODE" --node-ip="$NODE_IP" ${NODE_LABELS:+"--node-labels=$NODE_LABELS"}
)

proxy=(--config=/etc/kubernetes/kube-proxy.yaml)

# What MicroK8s sets otherwise: its kubelet lets in everybody whom it knows and has a
# certificate that the cluster's authority signed, where kind's signs its own; and
# its events are gone after minutes.
kubelet_authorization=Webhook
kubelet_certificate=
if [[ $FLAVOUR == microk8s ]]; then
  kubelet_authorization=AlwaysAllow
  kubelet_certificate="tlsCertFile: $pki/kubelet.crt
tlsPrivateKeyFile: $pki/kubelet.key"
  apiserver+=(--event-ttl=5m --kubelet-certificate-authority=$pki/ca.crt)
fi

# MicroK8s runs them all in one process, and keeps the arguments of each here.
kubelite_arguments=/var/snap/microk8s/current/args
write_kubelite_arguments() {
  mkdir -p $kubelite_arguments
  printf '%s\n' "${apiserver[@]}" >$kubelite_arguments/kube-apiserver
  printf '%s\n' "${controller_manager[@]}" >$kubelite_arguments/kube-controller-manager
  printf '%s\n' "${scheduler[@]}" >$kubelite_arguments/kube-scheduler
  printf '%s\n' "${kubelet[@]}" >$kubelite_arguments/kubelet
  printf '%s\n' "${proxy[@]}" >$kubelite_arguments/kube-proxy
}

# Who asked for what, without what was sent: tests prove with it what the product
# reads and writes.
write_audit_policy() {
  cat >/etc/kubernetes/audit-policy.yaml <<'END'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
END
}

# Nothing is evicted and no image collected: the disk is the machine's, and an
# image that is lost here cannot be pulled again. A pull that hangs must not hold
# up the others, as it would by default.
write_kubelet_config() {
  cat >/etc/kubernetes/kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $pki/ca.crt}
authorization: {mode: $kubelet_authorization}
$kubelet_certificate
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failCgroupV1: false
failSwapOn: false
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
providerID: "$PROVIDER_ID"
resolvConf: /run/resolv.conf
volumePluginDir: /var/lib/volume-plugins
serializeImagePulls: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "100Mi", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
END
}

# The connection tracking limits are the machine's: they stay as they are.
write_proxy_config() {
  cat >/etc/kubernetes/kube-proxy.yaml <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $pki/kube-proxy.conf}
mode: iptables
clusterCIDR: $POD_CIDR
hostnameOverride: $NODE
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END
}

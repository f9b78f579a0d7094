# shellcheck shell=bash disable=SC2154,SC2086,SC2206 # sourced by init; its variables come from there
# NetworkPolicies are enforced, as kind and MicroK8s do: kube-network-policies decides on the first packet of each
# connection.

# The queue in which the kernel lays packets before it.
QUEUE=98

# Its own rules need CONFIG_NFT_QUEUE, which not every kernel has; these need xt_NFQUEUE. What the node itself sends
# (probes, the API server's proxy) is let through, as by every network of pods; what nobody looks at, too, so that pods
# can talk before it is up. The pods' source addresses are still their own here, and the address of a Service is
# already that of a pod.
start_network_policies() {
  local queue=(-j NFQUEUE --queue-num $QUEUE --queue-bypass)
  mangle -N POLICIES
  mangle -A POLICIES -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
  mangle -A POLICIES -m addrtype --src-type LOCAL -j RETURN
  mangle -A POLICIES -s "$POD_CIDR" "${queue[@]}"
  mangle -A POLICIES -d "$POD_CIDR" "${queue[@]}"
  mangle -A INPUT -j POLICIES
  mangle -A POSTROUTING -j POLICIES
  supervise kube-network-policies network_policies
}

# containerd is too old to tell it of a pod (NRI): it hears of one from the API server. That it cannot write its own
# rules, where it cannot, it says ten lines long every second.
network_policies() {
  /run/build/bin/kube-network-policies --kubeconfig=$pki/admin.conf --hostname-override="$NODE" \
    --nfqueue-id=$QUEUE --disable-nri --strict-mode=false --metrics-bind-address=127.0.0.1:9080 2>&1 |
    grep --line-buffered -v 'nftables-sync\|netlink receive: no such file or directory\|^ >$'
}
mangle() { iptables --wait --table mangle "$@"; }

# shellcheck shell=bash disable=SC2154 # sourced by init; its variables come from there
# containerd, the pod network, and the registry that has no images.

REGISTRY=127.0.0.1:5000

start_runtime() {
  mkdir -p /etc/containerd/certs.d/_default /etc/cni/net.d

  # Every registry's name leads to the one that fails as registries fail.
  cat >/etc/containerd/certs.d/_default/hosts.toml <<END
server = "http://$REGISTRY"
[host."http://$REGISTRY"]
  capabilities = ["pull", "resolve"]
END
  supervise registry /run/build/bin/cluster-tool registry $REGISTRY

  # restrict_oom_score_adj: where root lacks CAP_SYS_RESOURCE, no pod would start.
  # disable_apparmor: containerd would load a profile into the machine's kernel.
  cat >/etc/containerd/config.toml <<END
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/run/build/debian/containernetworking-plugins/usr/lib/cni"
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
END

  # A point-to-point link for each pod, as kind's network has it: all that pods
  # say to each other is routed, and needs no bridge filtering in the kernel.
  cat >/etc/cni/net.d/10-pods.conflist <<END
{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni",
        "ranges": [[{"subnet": "${POD_CIDR%.*.*}.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
END
  supervise containerd containerd --log-level warn
}

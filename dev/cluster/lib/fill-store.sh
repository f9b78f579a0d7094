#!/bin/bash
# fill-store.sh STORE [DIGEST TAR]...: imports images with a containerd that
# lives for as long as that takes.
set -euo pipefail
store=$1
shift

# The socket's path may not be longer than 107 bytes; a tmpfs at /run is short.
mount -t tmpfs tmpfs /run
cat >/run/config.toml <<END
version = 2
root = "$store/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "/run/containerd.sock"
END
containerd --config /run/config.toml --log-level warn &
containerd=$!
ctr() { command ctr -a /run/containerd.sock -n k8s.io "$@"; }
for _ in {1..100}; do
  ctr version >/dev/null 2>&1 && break
  sleep 0.05
done
while (($#)); do
  ctr images import "$2"
  touch "$store/imported/$1"
  shift 2
done
kill "$containerd" # writes its databases
wait "$containerd" || true

#!/bin/bash
# fill-store.sh STORE KEEP [DIGEST TAR]...: imports images with a containerd that
# lives for as long as that takes. KEEP are the digests of all that are in use.
set -euo pipefail
store=$1
keep=$2
shift 2

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
# The stand-in's images of the past: each has a name of its own.
ctr images ls | awk '$1 ~ /^scalekit.local\// {print $1, $3}' | while read -r name digest; do
  [[ " $keep " == *" $digest "* ]] || { ctr images rm --sync "$name" && rm -f "$store/imported/$digest"; }
done
kill "$containerd" # writes its databases
wait "$containerd" || true

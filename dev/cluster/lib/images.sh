# shellcheck shell=bash
# Makes the images, and a containerd store that holds them.

# What every cluster has, and what those have that are asked to. An image's
# recipe is images/NAME.json.
images() {
  echo pause busybox coredns local-path-provisioner prometheus alertmanager node-exporter kube-state-metrics
  ((!METRICS_SERVER)) || echo metrics-server
}

image_programs() { # the programs that the images hold
  echo cluster-tool coredns local-path-provisioner prometheus promtool alertmanager amtool node-exporter kube-state-metrics grafana-stand-in
  ((!METRICS_SERVER)) || echo metrics-server
}

# make_images writes the tars that are out of date, and $BUILD/images/list: a
# line "name digest tar" for each.
make_images() {
  local name recipes=()
  mkdir -p "$BUILD/images"
  for name in $(images); do recipes+=("$HERE/images/$name.json"); done
  stand_in_recipe
  recipes+=("$BUILD/images/grafana-stand-in.json")
  "$BUILD/bin/cluster-tool" images "$BUILD" "$BUILD/images" "${recipes[@]}" >"$BUILD/images/list.new"
  mv "$BUILD/images/list.new" "$BUILD/images/list"
}

# The stand-in's tag names its content, so that a new one is a new image to the
# cluster that runs the old one.
stand_in_recipe() {
  STAND_IN=scalekit.local/grafana-stand-in:$(sha256sum "$BUILD/bin/grafana-stand-in" | cut -c1-12)
  sed "s#@NAME@#$STAND_IN#" "$HERE/images/grafana-stand-in.json.in" >"$BUILD/images/grafana-stand-in.json.new"
  cmp -s "$BUILD/images/grafana-stand-in.json"{.new,} || mv "$BUILD/images/grafana-stand-in.json"{.new,}
}

# fill_store imports what the store lacks. containerd never changes the files of
# an image once it is unpacked, so a new cluster starts with hard links to this
# store and has every image at once (see seed_store).
fill_store() {
  local name digest tar missing=() keep=
  mkdir -p "$BUILD/store/imported"
  while read -r name digest tar; do
    keep+=" $digest"
    [[ -e $BUILD/store/imported/$digest ]] || missing+=("$digest" "$tar")
  done <"$BUILD/images/list"
  ((${#missing[@]})) || return 0
  say "importing $((${#missing[@]} / 2)) images into the store"
  # In namespaces of its own: whatever happens, its mounts and processes end with it.
  PATH=$NODE_PATH unshare --mount --pid --fork --kill-child --mount-proc \
    bash "$HERE/lib/fill-store.sh" "$BUILD/store" "$keep" "${missing[@]}" >"$BUILD/log/store.log" 2>&1 ||
    die "the images could not be imported; see $BUILD/log/store.log"
}

# import_changed gives the cluster that is up the images that were made anew since
# it booted. Pods that run go on with what they have.
import_changed() {
  local name digest tar has
  has=$(in_containerd images ls | awk '{print $1, $3}') || die "the node's containerd does not answer; see $STATE/log/containerd.log"
  while read -r name digest tar; do
    grep -qxF "$name $digest" <<<"$has" && continue
    say "importing $name"
    in_containerd images import "$tar" >"$BUILD/log/import.log" 2>&1 || die "$name could not be imported; see $BUILD/log/import.log"
  done <"$BUILD/images/list"
}
in_containerd() { "$BUILD/debian/containerd/usr/bin/ctr" -a "$SOCKET" -n k8s.io "$@"; }

# seed_store DIR gives a cluster its containerd root directory.
seed_store() {
  cp -al "$BUILD/store/root/." "$1"
  # The databases are changed in place, so they must be copies.
  find "$1" -name '*.db' -exec cp --remove-destination --preserve=mode {} {}.copy \; -exec mv {}.copy {} \;
}

# shellcheck shell=bash
# Builds programs from the wrapper modules. Each is kept in $BUILD/bin with a key
# of all that went into it; where that is the same, it is not built again. In a
# fresh checkout Go's own build cache leaves nothing to do but to link.

# ldflags that give programs the version they would report upstream.
kubernetes_version() {
  local package=k8s.io/component-base/version version
  version=$(version_of kubernetes k8s.io/kubernetes)
  echo "-X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$version")" \
    "-X $package.gitTreeState=clean -X $package.gitCommit=unknown -X $package.buildDate=1970-01-01T00:00:00Z"
}
prometheus_version() { echo "-X github.com/prometheus/common/version.Version=$1"; }

# version_of MODULE_DIR MODULE prints the version that go.mod pins.
version_of() { awk -v module="$2" '$1 == module {print $2; exit} $2 == module {print $3; exit}' "$HERE/programs/$1/go.mod"; }

# program NAME builds one program, by its name in $BUILD/bin.
program() {
  case $1 in
    cluster-tool) go_build "$HERE/tool" . "$1" ;;
    kubernetes) go_build "$HERE/programs/kubernetes" . "$1" "$(kubernetes_version)" ;;
    coredns) go_build "$HERE/programs/coredns" . "$1" ;;
    local-path-provisioner) wrapped "$1" github.com/rancher/local-path-provisioner "-X main.VERSION=v0.0.30" ;;
    metrics-server) wrapped "$1" sigs.k8s.io/metrics-server/cmd/metrics-server ;;
    # Without the tags, every cloud's service discovery and its SDK would be linked.
    prometheus | promtool)
      wrapped prometheus "github.com/prometheus/prometheus/cmd/$1" "$(prometheus_version 3.14.0)" remove_all_sd,enable_kubernetes_sd,enable_dns_sd "$1" ;;
    node-exporter) wrapped "$1" github.com/prometheus/node_exporter "$(prometheus_version 1.12.1)" ;;
    kube-state-metrics) wrapped "$1" k8s.io/kube-state-metrics/v2 "$(prometheus_version v2.20.0)" ;;
    alertmanager | amtool) wrapped alertmanager "github.com/prometheus/alertmanager/cmd/$1" "$(prometheus_version 0.31.1)" "" "$1" ;;
    kube-network-policies) wrapped "$1" sigs.k8s.io/kube-network-policies/cmd/kube-network-policies/standard ;;
    grafana-stand-in) go_build "$ROOT/dev/grafana-stand-in" . "$1" ;;
    *) die "no program is called $1" ;;
  esac
}

# wrapped MODULE PACKAGE [LDFLAGS [TAGS [NAME]]] builds a package of a wrapper module.
wrapped() { go_build "$HERE/programs/$1" "$2" "${5:-$1}" "${3-}" "${4-}"; }

# go_build DIR PACKAGE NAME [LDFLAGS [TAGS]]
go_build() {
  local dir=$1 package=$2 name=$3 ldflags="-s -w ${4-}" tags=${5-} key out=$BUILD/bin/$3
  key=$({
    echo "$(go env GOVERSION) $package $ldflags $tags"
    cd "$dir" && find . -type f ! -name '*_test.go' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum)
  [[ -x $out && $(cat "$out.key" 2>/dev/null) == "$key" ]] && return
  say "building $name"
  (cd "$dir" && CGO_ENABLED=0 GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off \
    go build -trimpath -ldflags "$ldflags" -tags "$tags" -o "$out" "$package") >"$BUILD/log/build-$name.log" 2>&1 || {
    tail -20 "$BUILD/log/build-$name.log" >&2
    die "building $name failed; all that it said: $BUILD/log/build-$name.log"
  }
  echo "$key" >"$out.key"
}

require_go() {
  local why
  ! why=$(go_missing) || die "$why"
}

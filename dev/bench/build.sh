# Sourced by benchmarks and soaks: Go programs that nothing else needs, and what they are given.
# shellcheck shell=bash

# built NAME MODULE PACKAGE [LDFLAGS [TAGS]]: the program of this package, from a Go module of its own, as
# target/bench/bin/NAME; built once for each version.
built() {
  local name=$1 module=$2 bin=$PWD/target/bench/bin key
  mkdir -p "$bin"
  key=$(cat "$module"/go.{mod,sum} | sha256sum)
  [[ -x $bin/$name && $(cat "$bin/$name.key" 2>/dev/null) == "$key" ]] && return
  echo "building $name, which takes minutes" >&2
  (cd "$module" && CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=readonly \
    go build -trimpath -tags "${5-}" -ldflags "-s -w ${4-}" -o "$bin/$name" "$3")
  echo "$key" >"$bin/$name.key"
}

# pinned PROGRAM MODULE: the version of a module that dev/bench/install/programs/PROGRAM wants.
pinned() { awk -v module="$2" '$1 == module {print $2}' "dev/bench/install/programs/$1/go.mod"; }

built_helm() {
  local module=helm.sh/helm/v4
  built helm dev/bench/install/programs/helm $module/cmd/helm "-X $module/internal/version.version=$(pinned helm $module)"
}

# chart MANIFESTS FOLDER: a chart that holds the objects of a file word for word: what looks like a template in them is for
# Prometheus.
chart() {
  mkdir -p "$2"/{templates,files}
  cp "$1" "$2/files/all.yaml"
  printf 'apiVersion: v2\nname: stack\nversion: 0.1.0\n' >"$2/Chart.yaml"
  echo '{{ .Files.Get "files/all.yaml" }}' >"$2/templates/all.yaml"
}

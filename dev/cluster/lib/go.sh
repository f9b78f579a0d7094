# shellcheck shell=bash
# Which Go builds the cluster's programs, what their go.mod files ask for. Debian 12's own is older.
OLDEST_GO=1.26

# go_missing says why there is no such Go, and is false where there is one.
go_missing() {
  if ! command -v go >/dev/null; then
    echo "Go $OLDEST_GO or newer is missing, which builds the test cluster: https://go.dev/dl"
  elif [[ $(printf '%s\n' "go$OLDEST_GO" "$(go env GOVERSION)" | sort -V | head -1) != "go$OLDEST_GO" ]]; then
    echo "Go $OLDEST_GO or newer is needed, which builds the test cluster; this is $(go env GOVERSION): https://go.dev/dl"
  else
    return 1
  fi
}

# shellcheck shell=bash
# What the tests of the cluster share.

passed=0
failed=0

# check WHAT COMMAND...: one line for each check; what it printed only if it failed.
# A function is ended by its first command that fails, which needs a shell of its
# own: in a condition, bash would go on.
check() {
  local what=$1 output status=0 start=$EPOCHREALTIME
  shift
  set +e
  output=$(set -e && "$@" 2>&1)
  status=$?
  set -e
  if ((status == 0)); then
    passed=$((passed + 1))
    printf 'ok     %5ds  %s\n' $(((${EPOCHREALTIME/./} - ${start/./}) / 1000000)) "$what"
  else
    failed=$((failed + 1))
    printf 'FAILED         %s\n%s\n' "$what" "               ${output//$'\n'/$'\n               '}"
  fi
}

summary() {
  printf '%d passed, %d failed\n' $passed $failed
  ((failed == 0))
}

# eventually SECONDS COMMAND...: tries until it succeeds; prints the last try.
eventually() {
  local limit=$((SECONDS + $1)) output
  shift
  until output=$("$@" 2>&1); do
    ((SECONDS < limit)) || {
      printf '%s\n' "$output"
      return 1
    }
    sleep 0.2
  done
}

# grep_in [OPTION] PATTERN COMMAND...: looks in all of what the command prints.
grep_in() {
  local options=() output
  while [[ $1 == -* ]]; do
    options+=("$1")
    shift
  done
  output=$("${@:2}")
  grep "${options[@]}" -- "$1" <<<"$output" || {
    printf 'not in its output: %s\n' "$1"
    head -20 <<<"$output"
    return 1
  }
}

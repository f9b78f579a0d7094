# Several commands at once, which most of the time wait. To be sourced.
# shellcheck shell=bash

declare -A at_once_pids at_once_logs

# at_once FOLDER NAME COMMAND...: begins a command, with its output in FOLDER/NAME.log and, line by line under its name, here.
at_once() {
  local log=$1/$2.log name=$2
  mkdir -p "$1"
  "${@:3}" > >(tee "$log" | sed -u "s/^/$name: /") 2>&1 &
  at_once_pids[$name]=$! at_once_logs[$name]=$log
}

# all_ended waits for all that were begun, whatever happens to the others. Where one failed, this does, and says the end of
# its output again, which what the others printed since would bury.
all_ended() {
  local name failed=()
  for name in "${!at_once_pids[@]}"; do
    wait "${at_once_pids[$name]}" || failed+=("$name")
  done
  for name in "${failed[@]}"; do
    echo "== $name failed; the end of ${at_once_logs[$name]}:"
    tail -n 100 "${at_once_logs[$name]}"
  done
  return $((${#failed[@]} > 0))
}

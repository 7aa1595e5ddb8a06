# part idle      what 4 idle listeners and 10k far-future events cost in 60 s
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
part_idle() {
  use idle
  sample empty idle evsched idle --listeners=4 --join="SELECT evsched.join()" \
    --settle="$idle_settle" --seconds="$idle_seconds"
}

# part lateness  from due_at to the listener's hands: 50, 1000, 5000 a second, idle ears
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
post_at_sql='SELECT evsched.post_at($1::jsonb, $2::timestamptz, max_retries => 3)'

# What this machine can do at best from a client: a timer of its own and a NOTIFY.
notify_sql="SELECT pg_notify('bench', '[{\"id\":1,\"payload\":' || \$1 || ',\"due_at\":\"'
  || \$2 || '\"}]')"

part_lateness() {
  local state
  for ((round = 1; round <= lateness_rounds; round++)); do
    for state in "${states[@]}"; do
      ready "$state"
      lateness "$state"
    done
  done
}

lateness() {
  local state=$1 rate
  lateness_ahead "$state" sparse "$sparse_events" "$sparse_rate"
  lateness_floor "$state" sparse "$sparse_events" "$sparse_rate"
  for rate in 1000 5000; do
    lateness_ahead "$state" "ahead/$rate" "$(events_at "$rate")" "$rate"
    lateness_floor "$state" "ahead/$rate" "$(events_at "$rate")" "$rate"
    lateness_live "$state" "live/$rate" "$rate"
    lateness_floor "$state" "live/$rate" "$(events_at "$rate")" "$rate"
  done
  lateness_ahead "$state" ears "$(events_at 1000)" 1000 \
    --idle=50 --idle-join="SELECT evsched.join(queue => 'idle')"
  lateness_floor "$state" ears "$(events_at 1000)" 1000 --idle=50 --idle-join='LISTEN idle'
}

events_at() {
  echo $(($1 * rate_seconds))
}

# start_listener COUNT OPTION...: in the background, writes to listen.out; returns when it
# has joined.
start_listener() {
  local count=$1
  shift
  rm -f "$scratch/ready"
  mkfifo "$scratch/ready"
  PGOPTIONS=${LISTENER_SYNC:+-c synchronous_commit=$LISTENER_SYNC} run_load listen \
    --expect="$count" --ready="$scratch/ready" "$@" >"$scratch/listen.out" &
  listener=$!
  read -r -t 20 _ <>"$scratch/ready"
}

# end_listener STATE ROW SIDE
end_listener() {
  if wait "$listener"; then keep "$1" "$2" "$3" "$scratch/listen.out"; else
    keep_failure "$1" "$2" "$3"
  fi
}

# All posted beforehand, due at random microseconds from two seconds on.
lateness_ahead() {
  local state=$1 row=$2 count=$3 rate=$4
  shift 4
  start_listener "$count" --join="$join_sql" --confirm="$confirm_sql" "$@"
  fill evsched.event "$count" "now() + interval '2 seconds'
    + random() * $count / $rate * interval '1 second'"
  end_listener "$state" "$row" evsched
}

# Each posted 0.2 s before it is due, one a transaction.
lateness_live() {
  local state=$1 row=$2 rate=$3
  start_listener "$(events_at "$rate")" --join="$join_sql" --confirm="$confirm_sql"
  run_load stream --rate="$rate" --seconds="$rate_seconds" --sql="$post_at_sql" \
    >"$scratch/stream.out"
  end_listener "$state" "$row" evsched
}

# The floor does not depend on the table: measured in one state only.
lateness_floor() {
  local state=$1 row=$2 count=$3 rate=$4
  shift 4
  [ "$state" = empty ] || return 0
  start_listener "$count" --join='LISTEN bench' "$@"
  run_load stream --rate="$rate" --seconds=$((count / rate)) --lead=0 \
    --sql="$notify_sql" >"$scratch/stream.out"
  end_listener "$state" "$row" plain
}

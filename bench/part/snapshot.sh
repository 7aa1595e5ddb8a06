# part snapshot  1000 a second for 3 minutes under an open transaction: first and last 30 s
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
insert_event_sql="INSERT INTO evsched.event (queue, due_at, payload, max_retries)
  VALUES ('default', \$2::timestamptz, \$1::jsonb, 3)"
insert_plain_sql="INSERT INTO bench.event (queue, due_at, payload, max_retries, owner)
  VALUES ('default', \$2::timestamptz, \$1::jsonb, 3, 1)"

part_snapshot() {
  under_snapshot post evsched "$post_at_sql" notify
  under_snapshot insert evsched "$insert_event_sql" notify
  under_snapshot take evsched "$post_at_sql" "SELECT * FROM evsched.take('default', 1000)"
  under_snapshot delete plain "$insert_plain_sql" \
    "${delete_sql[any]//\$1/\'default\'}"
}

# under_snapshot ROW SIDE POST-SQL CONSUMER: the consumer is `notify`, or a statement that
# is run every millisecond.
under_snapshot() {
  local row=$1 side=$2 post=$3 consumer=$4
  local count=$((1000 * snapshot_seconds))
  use held
  let_go
  settle
  hold
  if [ "$consumer" = notify ]; then
    start_listener "$count" --window="$snapshot_window" --join="$join_sql" \
      --confirm="$confirm_sql"
  else
    run_load poll --sql="$consumer" --full=1000 --expect="$count" \
      --window="$snapshot_window" >"$scratch/listen.out" &
    listener=$!
  fi
  run_load stream --rate=1000 --seconds="$snapshot_seconds" --sql="$post" \
    >"$scratch/stream.out"
  end_listener held "snapshot/$row" "$side"
  let_go
}

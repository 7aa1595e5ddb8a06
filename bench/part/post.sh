# part post      single posts, 1, 4 and 16 connections, one per transaction, against INSERT
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
post_sql='SELECT evsched.post($1::jsonb, $2::interval)'
insert_sql="INSERT INTO bench.event (queue, due_at, payload, max_retries, owner)
  VALUES ('default', now() + \$2::interval, \$1::jsonb, 0, 1) RETURNING id"

part_post() {
  local state connections
  for ((round = 1; round <= rounds; round++)); do
    for connections in 1 4 16; do
      for state in "${states[@]}"; do
        ready "$state"
        compare "$state" "post/$connections" "$post_sql" "$insert_sql" repeat \
          --connections="$connections" --seconds="$post_seconds" --param=payload \
          --delay='1 day'
      done
    done
  done
}

# part many      post_many of 1000 against INSERT … SELECT FROM unnest of the same arrays
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
many_sql='SELECT evsched.post_many($1::jsonb[], $2::interval[])'
unnest_sql="INSERT INTO bench.event (queue, due_at, payload, max_retries, owner)
  SELECT 'default', now() + delay, payload, 0, 1
  FROM unnest(\$1::jsonb[], \$2::interval[]) AS u (payload, delay) RETURNING id"

part_many() {
  local state
  for ((round = 1; round <= rounds; round++)); do
    for state in "${states[@]}"; do
      ready "$state"
      compare "$state" many "$many_sql" "$unnest_sql" repeat \
        --seconds="$post_seconds" --param=batch --batch=1000 --delay='1 day'
    done
  done
}

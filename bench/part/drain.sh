# part drain     100k due events: by NOTIFY + confirm, by take, by plain DELETE … RETURNING
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
take_sql='SELECT * FROM evsched.take($1, 1000)'

# The ways to take 1000 in plain SQL; the fastest of them is the yardstick.
locked="FROM bench.event WHERE queue = \$1 AND due_at <= now()
  ORDER BY due_at, id LIMIT 1000 FOR UPDATE SKIP LOCKED"
returning='e.id, e.recurring, e.key, e.queue, e.payload, e.due_at, e.max_retries,
  e.num_retries'
declare -A delete_sql=(
  [any]="DELETE FROM bench.event e WHERE ctid = ANY (ARRAY(SELECT ctid $locked))
    RETURNING $returning"
  [ctid]="DELETE FROM bench.event e USING (SELECT ctid $locked) d
    WHERE e.ctid = d.ctid RETURNING $returning"
  [id]="DELETE FROM bench.event e USING (SELECT id, queue $locked) d
    WHERE e.id = d.id AND e.queue = d.queue RETURNING $returning"
)

part_drain() {
  local state way n
  for ((round = 1; round <= rounds; round++)); do
    for n in 1 4; do
      for state in "${states[@]}"; do
        # Each held run starts by 300k events coming and going: the four will do.
        [ "$state" != held ] || [ $n = 4 ] || continue
        for way in $(by_turns drain lifted take any ctid id); do
          drain "$state" "$way" "$n"
        done
      done
    done
  done
}

# drain STATE WAY CONNECTIONS
drain() {
  local state=$1 way=$2 n=$3
  ready "$state"
  case $way in
  drain | lifted)
    fill_due evsched.event "$due_events"
    drain_by_notify "$state" "$way/$n" "$n" "$way"
    ;;
  take)
    fill_due evsched.event "$due_events"
    drain_by_asking "$state" "take/$n" evsched "$n" "$take_sql"
    ;;
  *)
    fill_due bench.event "$due_events"
    drain_by_asking "$state" "delete_$way/$n" plain "$n" "${delete_sql[$way]}"
    ;;
  esac
}

drain_by_notify() {
  local state=$1 row=$2 n=$3 way=$4
  [ "$way" != lifted ] || set_server evsched.max_unconfirmed_bytes 2147483647
  sample "$state" "$row" evsched listen --listeners="$n" --join="$join_sql" \
    --confirm="$confirm_sql" --expect="$due_events" && keep_wal "$state" "$row" evsched
  [ "$way" != lifted ] || set_server evsched.max_unconfirmed_bytes
}

drain_by_asking() {
  local state=$1 row=$2 side=$3 n=$4 statement=$5
  sample "$state" "$row" "$side" repeat --connections="$n" --until-empty --param=queue \
    --warm --sql="$statement" && keep_wal "$state" "$row" "$side"
}

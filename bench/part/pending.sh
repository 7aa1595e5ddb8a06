# part pending   random cancel and change_delay out of 1 million, against DELETE and UPDATE
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
cancel_sql='SELECT evsched.cancel($1::bigint)'
delete_one_sql='DELETE FROM bench.event WHERE id = $1::bigint'
change_sql='SELECT evsched.change_delay($1::bigint, $2::interval)'
update_one_sql='UPDATE bench.event SET due_at = now() + $2::interval, num_retries = 0
  WHERE id = $1::bigint'

# No checkpoint between the runs: full-page images of random pages would hide the rest.
part_pending() {
  use pending
  for ((round = 1; round <= rounds; round++)); do
    touch_pending cancel "$cancel_sql" "$delete_one_sql"
    touch_pending change "$change_sql" "$update_one_sql" --delay='30 years'
    vacuum
  done
}

# touch_pending ROW EVSCHED-SQL PLAIN-SQL [OPTION...]: rows that no run has touched yet.
touch_pending() {
  local row=$1 side
  local -A statement=([evsched]=$2 [plain]=$3) table=([evsched]=evsched [plain]=bench)
  shift 3
  for side in $(by_turns evsched plain); do
    sql "$PGDATABASE" -c "SELECT id FROM ${table[$side]}.event
      WHERE due_at < now() + interval '25 years'
      ORDER BY random() LIMIT $pending_sample" >"$scratch/ids"
    sample empty "$row" "$side" repeat --connections=4 --param=id --ids="$scratch/ids" \
      --sql="${statement[$side]}" "$@"
  done
}

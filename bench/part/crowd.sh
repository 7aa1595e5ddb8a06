# part crowd     200 a second beside 500 idle or deaf listeners, 2,000 queues, takers, an open post
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
poll_sql="SELECT * FROM evsched.take('polled', 10)"
idle_join_sql="SELECT evsched.join('idle-' || \$1, 'idle')"
deaf_join_sql="SELECT evsched.join('deaf-' || \$1, 'deaf', 100)"
# 20 sessions on the first half of the queues; the others have takers.
some_join_sql="SELECT count(evsched.join('some-' || \$1,
  'q' || (\$1::int * $crowd_queues / 40 + g))) FROM generate_series(1, $crowd_queues / 40) AS g"
some_post_sql="SELECT evsched.post_at(\$1::jsonb, \$2::timestamptz,
  'q' || (random() * ($crowd_queues - 1))::int)"
some_take_sql="SELECT * FROM evsched.take('q' || (($crowd_queues / 2) +
  random() * ($crowd_queues / 2 - 1))::int, 10)"

part_crowd() {
  local kind
  use empty
  if [ "$(sql postgres -c "SHOW max_connections")" -lt $((crowd_sessions + 100)) ] ||
    [ "$(sql postgres -c "SHOW evsched.max_listeners")" -le $((crowd_queues / 2)) ]; then
    echo "bench: crowd wants more connections and listeners" >&2
    return
  fi
  # Who does not read would be ended before all is measured.
  set_server evsched.write_timeout "'10min'"
  for ((round = 1; round <= crowd_rounds; round++)); do
    for kind in "${crowds[@]}"; do
      [ "$kind" = open ] || beside_crowd "$kind"
    done
  done
  set_server evsched.write_timeout
  [[ " ${crowds[*]} " != *' open '* ]] || beside_open_post
}

# beside_crowd KIND: the same, before and while the crowd is there, of evsched and of a
# client's own timer and NOTIFY.
beside_crowd() {
  local kind=$1
  ready empty
  crowd_lateness "alone/$kind"
  make_crowd "$kind"
  crowd_lateness "crowd/$kind"
  end_crowd
  keep_times "$kind" evsched
  keep_times "$kind" plain
}

crowd_lateness() {
  local row=$1 side
  for side in $(by_turns evsched plain); do
    if [ "$side" = evsched ]; then
      start_listener "$crowd_events" --join="$join_sql" --confirm="$confirm_sql" \
        --patience=60
      run_load stream --rate="$crowd_rate" --seconds="$crowd_seconds" \
        --sql="$post_at_sql" >"$scratch/stream.out"
      end_listener empty "$row" evsched
    else
      lateness_floor empty "$row" "$crowd_events" "$crowd_rate" --patience=60
    fi
  done
}

# keep_times KIND SIDE: how many times later than before the crowd came, in this round.
keep_times() {
  awk -F'\t' -v OFS='\t' -v kind="$1" -v side="$2" '
    $3 == side && $4 ~ /^p(50|99)$/ {last[$2, $4] = $5}
    END {
      for (m = 50; m <= 99; m += 49) {
        alone = last["alone/" kind, "p" m]
        crowd = last["crowd/" kind, "p" m]
        if (alone > 0 && crowd > 0)
          print "empty", "crowd/" kind, side, "times" m, crowd / alone
      }
    }' "$results" >"$scratch/times"
  cat "$scratch/times" >>"$results"
}

make_crowd() {
  crowd=()
  case $1 in
  idle) join_crowd --begin --sql="$idle_join_sql" ;;
  deaf)
    join_crowd --deaf --sql="$deaf_join_sql"
    feed_deaf
    ;;
  far_*)
    use other
    make_crowd "${1#far_}"
    use empty
    ;;
  queues)
    open_queues
    join_crowd --sessions=20 --sql="$some_join_sql"
    join_crowd --sessions=20 --ask="$some_take_sql" --period=0.2
    "$load" stream --role="$role" --rate=100 --seconds=3600 --sql="$some_post_sql" &
    crowd+=($!)
    ;;
  still)
    open_queues
    join_crowd --sessions=20 --sql="$some_join_sql"
    ;;
  takers) join_crowd --sessions="$crowd_takers" --ask="$poll_sql" --period=0.5 ;;
  esac
  sleep "$crowd_settle"
}

# join_crowd OPTION...: returns when all are there.
join_crowd() {
  rm -f "$scratch/ready"
  mkfifo "$scratch/ready"
  # Not by run_load: to be killed, it must be the process in the background itself.
  "$load" crowd --role="$role" --sessions="$crowd_sessions" --ready="$scratch/ready" \
    "$@" &
  crowd+=($!)
  read -r -t 60 _ <>"$scratch/ready"
}

# More than each may hold unread, and some to be confirmed.
feed_deaf() {
  sql_as_role "$PGDATABASE" -c "INSERT INTO evsched.event (queue, due_at, payload, max_retries)
    SELECT 'deaf', now(), to_jsonb(repeat('x', 6000)), 0
    FROM generate_series(1, $crowd_sessions * 11)" -c "
    INSERT INTO evsched.event (queue, due_at, payload, max_retries)
    SELECT 'deaf', now(), '1', -1 FROM generate_series(1, $crowd_sessions * 4)"
  # Every session that listens reads it all.
  sleep 1
  until [ "$(sql postgres -c 'SELECT pg_notification_queue_usage() = 0')" = t ]; do
    sleep 0.5
  done
}

# Something of the far future in each of the queues.
open_queues() {
  sql_as_role "$PGDATABASE" -c "SELECT count(evsched.post('1', '1 year', 'q' || n))
    FROM generate_series(0, $crowd_queues - 1) AS n" >/dev/null
}

end_crowd() {
  kill "${crowd[@]}"
  wait "${crowd[@]}" 2>/dev/null
  until [ "$(sql postgres -c "SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'bench'")" = 0 ]; do sleep 0.1; done
  use other
  settle
  use empty
}

# The first tenth against the last, while a transaction that has posted is open.
beside_open_post() {
  local pid
  ready empty
  coproc POSTER { psql -XqAt -c 'BEGIN ISOLATION LEVEL REPEATABLE READ' \
    -c "SELECT count(*) FROM evsched.post_many((SELECT array_agg('1'::jsonb)
      FROM generate_series(1, 10000)), max_retries => 3)" -f - 2>&1; }
  pid=$POSTER_PID
  read -r _ <&"${POSTER[0]}"
  start_listener $((crowd_rate * open_seconds)) --window=$((open_seconds / 10)) \
    --join="$join_sql" --confirm="$confirm_sql" --patience=60
  run_load stream --rate="$crowd_rate" --seconds="$open_seconds" --sql="$post_at_sql" \
    >"$scratch/stream.out"
  end_listener empty crowd/open evsched
  eval "exec ${POSTER[1]}>&-"
  wait "$pid" 2>/dev/null
}

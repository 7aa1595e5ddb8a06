# part jobs      jobs per second, how soon they start, what they cost while they wait or sleep
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
enqueue_sql="SELECT count(evsched.enqueue('select 1')) FROM generate_series(1, %d)"
insert_jobs_sql="INSERT INTO bench.event (queue, due_at, command, max_retries, owner)
  SELECT 'passive', now(), 'select 1', 0, 1 FROM generate_series(1, %d)"
worked_off_sql="SELECT NOT EXISTS (SELECT FROM evsched.event WHERE queue = 'passive'
  AND due_at <= now())"
# The time is taken after the job was posted, and just before that commits.
enqueue_one_sql="WITH job AS MATERIALIZED (
    SELECT evsched.enqueue('select 1', payload => \$1::jsonb) AS id, \$2::timestamptz AS at)
  INSERT INTO bench.posted SELECT id, clock_timestamp() FROM job"

# As evsched has it in its own sessions: a plan made while the table is empty serves later.
plan_options='-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off'

part_jobs() {
  local sync cron=
  set_server evsched.pools "'passive:4'"
  for sync in off on; do make_jobs "$sync"; done
  ! wants_jobs cron || ! make_cron || cron=1
  for ((round = 1; round <= jobs_rounds; round++)); do
    for sync in off on; do ! wants_jobs rate || jobs_rate "$sync"; done
    if [ -n "$cron" ]; then
      cron_rate pg_cron_connections cron.use_background_workers=off "$cron_jobs"
      cron_rate pg_cron_workers cron.use_background_workers=on "$cron_jobs"
    fi
    use jobs_off
    ! wants_jobs start || start_lateness
    ! wants_jobs sleepers || beside_sleepers
  done
  [ -z "$cron" ] || start_minute
  ! wants_jobs idle || jobs_idle
  [ -z "$cron" ] || end_minute pg_cron_minute
  set_server evsched.pools
}

# wants_jobs KIND: is it among those to be measured?
wants_jobs() {
  [[ " ${jobs[*]} " == *" $1 "* ]]
}

# make_jobs SYNC: the database whose sessions, and so workers, commit that way.
make_jobs() {
  use "jobs_$1"
  sql postgres -c "ALTER DATABASE bench_jobs_$1 SET synchronous_commit = $1"
  sql "bench_jobs_$1" -f "$here/jobs.sql"
}

jobs_rate() {
  local sync=$1 way count=$lazy_jobs
  [ "$sync" = off ] || count=$sync_jobs
  use "jobs_$sync"
  for way in $(by_turns jobs procedure function client); do
    settle_jobs
    case $way in
    jobs) rate_of_workers "$sync" "$count" ;;
    client) rate_of_clients "$sync" "$count" ;;
    function)
      rate_of_sessions "$sync" "$count" function 'SELECT bench.work_off_one()'
      ;;
    procedure)
      rate_of_sessions "$sync" "$count" procedure 'CALL bench.work_off_all()'
      ;;
    esac
  done
}

rate_of_workers() {
  local sync=$1 count=$2
  warm_up 4
  # shellcheck disable=SC2059  # it is the format
  sample empty "jobs/$sync" evsched until --sql="$(printf "$enqueue_sql" "$count")" \
    --done="$worked_off_sql" --events="$count" --period=0.005 || return
  keep_wal empty "jobs/$sync" evsched
  # For the line that compares it with pg_cron.
  keep empty "cron/$sync" evsched <(grep '^rate ' "$scratch/sample.out")
}

rate_of_sessions() {
  local sync=$1 count=$2 way=$3 statement=$4
  # shellcheck disable=SC2059
  PGOPTIONS=$plan_options sample empty "$way/$sync" plain repeat --connections=4 --until-empty --events="$count" \
    --before="$(printf "$insert_jobs_sql" "$count")" --sql="$statement" &&
    keep_wal empty "$way/$sync" plain
}

# By statements of pgbench, which tells their rate; how long the post takes comes on top.
rate_of_clients() {
  local sync=$1 count=$2 begun posted
  begun=$EPOCHREALTIME
  # shellcheck disable=SC2059
  sql_as_role "$PGDATABASE" -c "$(printf "$insert_jobs_sql" "$count")"
  posted=$EPOCHREALTIME
  PGOPTIONS=$plan_options PGUSER=$role pgbench -n -c 4 -j 1 -t $((count / 4)) -f "$here/part/jobs.pgbench" \
    >"$scratch/pgbench.out" 2>&1 || { keep_failure empty "client/$sync" plain; return; }
  awk -v count="$count" -v begun="$begun" -v posted="$posted" \
    '$1 == "tps" {print "rate", count / (posted - begun + count / $3)}' \
    "$scratch/pgbench.out" >"$scratch/client.out"
  keep empty "client/$sync" plain "$scratch/client.out"
}

# As it was before the last measurement.
settle_jobs() {
  settle
  sql "$PGDATABASE" -c 'TRUNCATE bench.run, bench.posted' -c 'VACUUM ANALYZE evsched.run_record'
}

# warm_up COUNT: so many workers are there.
warm_up() {
  sql_as_role "$PGDATABASE" -c "SELECT count(evsched.enqueue('select pg_sleep(0.2)'))
    FROM generate_series(1, $1)" >/dev/null
  until_worked_off
}

until_worked_off() {
  until [ "$(sql "$PGDATABASE" -c "$worked_off_sql")" = t ]; do sleep 0.05; done
}

# No worker is there.
send_home() {
  set_server evsched.worker_idle_timeout 0
  # They hear of it when the next job is done.
  until [ "$(sql postgres -c "SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'evsched worker'")" = 0 ]; do sleep 0.1; done
}

# From the commit of enqueue, or from the due time, to the start of the run.
start_lateness() {
  settle_jobs
  warm_up 4
  run_load stream --rate=50 --seconds="$start_seconds" --lead=0 --sql="$enqueue_one_sql" \
    >"$scratch/stream.out"
  keep_starts start
  lateness_floor empty start $((50 * start_seconds)) 50
  due_lateness due/50 50
  due_lateness due/1000 1000
  send_home
  run_load stream --rate=4 --seconds="$start_seconds" --lead=0 --sql="$enqueue_one_sql" \
    >"$scratch/stream.out"
  set_server evsched.worker_idle_timeout
  keep_starts cold
}

# due_lateness ROW RATE
due_lateness() {
  local row=$1 rate=$2 count=$(($2 * due_seconds))
  settle_jobs
  warm_up 4
  sql_as_role "$PGDATABASE" -c "SELECT count(evsched.after('2 s'::interval
      + random() * $due_seconds * interval '1 s', 'select 1')) FROM generate_series(1, $count)" \
    >/dev/null
  sql "$PGDATABASE" -c "INSERT INTO bench.posted SELECT id, due_at FROM evsched.event
    WHERE queue = 'passive'"
  sleep $((due_seconds + 2))
  keep_starts "$row"
  lateness_floor empty "$row" "$count" "$rate"
}

# keep_starts ROW: how long after bench.posted.at the runs have started.
keep_starts() {
  until_worked_off
  sql "$PGDATABASE" -c "$(percentiles_sql "SELECT r.started_at - p.at AS late
    FROM bench.posted p JOIN evsched.run_record r ON r.event_id = p.id")" \
    >"$scratch/starts.out"
  keep empty "$1" evsched "$scratch/starts.out"
  sql "$PGDATABASE" -c 'TRUNCATE bench.posted'
}

# percentiles_sql QUERY: of its column late, an interval; lines as `load` prints them.
percentiles_sql() {
  echo "WITH l AS (SELECT extract(epoch FROM late) * 1000 AS ms FROM ($1) AS l),
    f AS (SELECT percentile_disc(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY ms) AS p,
      count(*) FILTER (WHERE ms < 0) AS early FROM l)
    SELECT unnest(ARRAY['p50 ' || round(p[1], 3), 'p99 ' || round(p[2], 3),
      'max ' || round(p[3], 3), 'early ' || early]) FROM f"
}

# Messages while 100 jobs sleep in 10 workers; the plain side: the same without the jobs.
beside_sleepers() {
  local side
  set_server evsched.pools "'passive:10'"
  for side in $(by_turns evsched plain); do
    settle_jobs
    [ "$side" = plain ] ||
      sql_as_role "$PGDATABASE" -c "SELECT count(evsched.enqueue(
        'select pg_sleep($sleep_seconds)')) FROM generate_series(1, 100)" >/dev/null
    start_listener $((200 * due_seconds)) --join="$join_sql" --confirm="$confirm_sql"
    fill evsched.event $((200 * due_seconds)) "now() + interval '1 second'
      + random() * $due_seconds * interval '1 second'"
    end_listener empty sleepers "$side"
    # Were there jobs to the end?
    [ "$side" = plain ] || [ "$(sql "$PGDATABASE" -c "$worked_off_sql")" = f ] ||
      keep_failure empty sleepers "$side"
    until_worked_off
  done
  set_server evsched.pools "'passive:4'"
}

# Jobs of the far future, or series when there are series.
jobs_idle() {
  local post="after('1 day'"
  settle_jobs
  send_home
  set_server evsched.worker_idle_timeout
  [ -z "$(sql "$PGDATABASE" -c "SELECT 1 FROM pg_proc
    WHERE pronamespace = 'evsched'::regnamespace AND proname = 'every'")" ] ||
    post="every('1 day'"
  sql_as_role "$PGDATABASE" -c "SELECT count(evsched.$post, 'select 1', key => 'job ' || n))
    FROM generate_series(1, $job_series) AS n" >/dev/null
  vacuum
  sample empty jobs/idle evsched idle --listeners=1 --join="SELECT evsched.join()" \
    --settle="$idle_settle" --seconds="$jobs_idle_seconds"
}

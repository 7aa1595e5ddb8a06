# The databases, one for each state of the event tables, and what is in them. Each has
# evsched.event and bench.event, and both are always brought into the same state.
#
# state empty  nothing but what is measured
# state far    1 million events of the far future lie there, after VACUUM ANALYZE
# state held   300k events have come and gone while an older transaction is still open
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
tables='evsched.event bench.event'
some_payload="jsonb_build_object('order', n, 'action', 'remind', 'customer', 'c-4711')"
# Later than this: part of the state, not of a measurement.
far_from="now() + interval '5 years'"

# sql DATABASE PSQL-ARGUMENT...: as superuser; ends the bench when it fails.
sql() {
  local database=$1
  shift
  PGOPTIONS='-c client_min_messages=warning' \
    psql -XqAt -v ON_ERROR_STOP=1 -v role="$role" -d "$database" "$@" ||
    { echo "bench: psql failed: $*" >&2; kill -TERM $$; exit 1; }
}

# The same, as the role that posts and consumes.
sql_as_role() {
  PGUSER=$role sql "$@"
}

make_role() {
  [ -n "$(sql postgres -c "SELECT 1 FROM pg_roles WHERE rolname = '$role'")" ] ||
    sql postgres -c "CREATE ROLE \"$role\" LOGIN"
}

drop_databases() {
  local state
  for state in empty far held pending idle other jobs_off jobs_on; do
    sql postgres -c "DROP DATABASE IF EXISTS bench_$state WITH (FORCE)"
  done
}

# use STATE: makes its database if it is not there, and the one that `load` goes to.
use() {
  export PGDATABASE=bench_$1
  [ -z "$(sql postgres -c "SELECT 1 FROM pg_database WHERE datname = 'bench_$1'")" ] ||
    return 0
  sql postgres -c "CREATE DATABASE bench_$1"
  sql "bench_$1" -c 'CREATE EXTENSION IF NOT EXISTS evsched'
  give_rights "bench_$1"
  sql "bench_$1" -f "$here/schema.sql"
  # Before the fill, so that the pages of the filled table need no full-page images.
  sql postgres -c CHECKPOINT
  case $1 in
  far) fill_far "$far_events" ;;
  pending) fill_far "$pending_events" ;;
  idle) fill_far "$idle_events" ;;
  esac
  vacuum
}

# An evsched that cannot give rights is used by the superuser.
give_rights() {
  if [ -n "$(sql "$1" -c "SELECT 1 FROM pg_proc WHERE proname = 'grant_usage'")" ]; then
    sql "$1" -c "SELECT evsched.grant_usage('$role', bulk => true)" >/dev/null
  else
    role=$PGUSER
  fi
}

# fill TABLE COUNT DUE-EXPRESSION: events of max_retries 3, one transaction. In the
# expression n is the number of the event.
fill() {
  local owner_column='' owner_value=''
  [ "$1" = evsched.event ] || { owner_column=', owner' owner_value=', 1'; }
  sql_as_role "$PGDATABASE" -c "INSERT INTO $1
      (queue, due_at, payload, max_retries$owner_column)
    SELECT 'default', $3, $some_payload, 3$owner_value FROM generate_series(1, $2) AS n"
}

fill_far() {
  local table
  for table in $tables; do
    fill "$table" "$1" "now() + interval '10 years' + random() * interval '10 years'"
  done
}

# All due a while ago, a microsecond apart.
fill_due() {
  fill "$1" "$2" "now() - interval '10 seconds' + n * interval '1 microsecond'"
  sql "$PGDATABASE" -c "ANALYZE $1"
}

# Removes what measurements have left. The checkpoint comes first: what VACUUM touches
# then has its full-page images written before anything is measured.
settle() {
  local table
  for table in $tables; do
    sql "$PGDATABASE" -c "DELETE FROM $table WHERE due_at < $far_from"
  done
  sql "$PGDATABASE" -c CHECKPOINT
  vacuum
}

vacuum() {
  local table
  for table in $tables; do
    sql "$PGDATABASE" -c "VACUUM ANALYZE $table"
  done
}

# ready STATE: uses its database, with both tables as the state says.
ready() {
  use "$1"
  let_go
  settle
  [ "$1" != held ] || come_and_go
}

# hold: a transaction with a snapshot stays open in this database, until let_go.
hold() {
  coproc HOLDER { psql -XqAt -c 'BEGIN ISOLATION LEVEL REPEATABLE READ' \
    -c "SELECT count(*) FROM pg_class" -f - 2>&1; }
  # shellcheck disable=SC2034
  read -r _ <&"${HOLDER[0]}"
}

let_go() {
  [ -n "${HOLDER_PID:-}" ] || return 0
  local pid=$HOLDER_PID
  eval "exec ${HOLDER[1]}>&-"
  wait "$pid" 2>/dev/null
  unset HOLDER_PID
}

# Under a transaction that stays open, events are posted, consumed and gone.
come_and_go() {
  local table
  hold
  for table in $tables; do fill_due "$table" "$gone_events"; done
  run_load listen --listeners=4 --join="$join_sql" --confirm="$confirm_sql" \
    --expect="$gone_events" >"$scratch/gone.out"
  sql "$PGDATABASE" -c "DELETE FROM bench.event WHERE due_at < $far_from"
  for table in $tables; do sql "$PGDATABASE" -c "ANALYZE $table"; done
}

# set_server NAME VALUE: a setting of the whole server, without restart; no value: back.
set_server() {
  if [ $# = 2 ]; then sql postgres -c "ALTER SYSTEM SET $1 = $2"; else
    sql postgres -c "ALTER SYSTEM RESET $1"
  fi
  sql postgres -c 'SELECT pg_reload_conf()' >/dev/null
  sleep 0.2
}

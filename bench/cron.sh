# A server of its own with pg_cron, to compare jobs with: most of the time it is not
# running. Debian's package postgresql-NN-cron brings pg_cron; scripts/bench fetches it.
# shellcheck shell=bash disable=SC2034,SC2154
cron_folder=

# make_cron: false, with a line that says so, when there is no pg_cron.
make_cron() {
  if [ ! -e "$("${PG_CONFIG:-pg_config}" --pkglibdir)/pg_cron.so" ]; then
    echo "bench: without pg_cron: no package postgresql-${PGV:-15}-cron"
    return 1
  fi
  cron_folder=$scratch/cron
  mkdir "$cron_folder"
  initdb -D "$cron_folder/data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 --no-sync \
    >"$cron_folder/initdb.log"
  cat >>"$cron_folder/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$cron_folder'
shared_preload_libraries = 'pg_cron'
cron.host = '$cron_folder'
cron.max_running_jobs = 16
cron.log_statement = off
max_worker_processes = 24
shared_buffers = 256MB
max_wal_size = 4GB
timezone = UTC
synchronous_commit = off
CONF
  start_cron
  cron_sql -c 'CREATE EXTENSION pg_cron'
  stop_cron
}

# start_cron [SETTING]
start_cron() {
  pg_ctl -s -D "$cron_folder/data" -l "$cron_folder/log" -w \
    ${1:+-o "-c $1"} start
}

stop_cron() {
  [ ! -e "$cron_folder/data/postmaster.pid" ] || pg_ctl -s -D "$cron_folder/data" -m fast -w stop
}

cron_sql() {
  PGHOST=$cron_folder PGPORT=5432 PGUSER=postgres sql postgres "$@"
}

# cron_until SQL: waits, up to 90 s, until that is true.
cron_until() {
  local i
  for ((i = 0; i < 900; i++)); do
    [ "$(cron_sql -c "$1")" != t ] || return 0
    sleep 0.1
  done
  return 1
}

# cron_rate ROW SETTING COUNT: so many jobs all at once, from the first start to the last
# end. A minute is the least that pg_cron can wait; what it does at its start needs no waiting.
cron_rate() {
  local row=$1 setting=$2 count=$3
  start_cron 'cron.max_running_jobs=0'
  cron_sql -c 'TRUNCATE cron.job, cron.job_run_details' -c "
    SELECT count(cron.schedule('job ' || n, '@reboot', 'select 1'))
    FROM generate_series(1, $count) AS n" >/dev/null
  stop_cron
  start_cron "$setting"
  cron_until "SELECT count(*) = $count FROM cron.job_run_details WHERE end_time IS NOT NULL"
  cron_sql -c "SELECT 'rate', count(*) / extract(epoch FROM max(end_time) - min(start_time))
    FROM cron.job_run_details WHERE status = 'succeeded' HAVING count(*) > 0" -F ' ' \
    >"$scratch/cron.out"
  keep empty "$row" plain "$scratch/cron.out"
  stop_cron
}

# Ten jobs of each minute, until one has come; what is then running may go on meanwhile.
start_minute() {
  start_cron
  cron_sql -c 'TRUNCATE cron.job, cron.job_run_details' -c "
    SELECT count(cron.schedule('job ' || n, '* * * * *', 'select 1'))
    FROM generate_series(1, 10) AS n" >/dev/null
}

# end_minute ROW: how late they started.
end_minute() {
  cron_until "SELECT count(*) >= 10 FROM cron.job_run_details WHERE end_time IS NOT NULL"
  cron_sql -c "$(percentiles_sql "
    SELECT start_time - date_trunc('minute', start_time) AS late FROM cron.job_run_details")" \
    >"$scratch/cron.out"
  keep empty "$1" plain "$scratch/cron.out"
  stop_cron
}

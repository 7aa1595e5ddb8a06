# Runs the load generator and keeps what it has measured: lines of
# state, row, side (evsched or plain), metric, value. The n-th line of the same kind is of
# round n.
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
join_sql="SELECT evsched.join(\$1, 'default', 2000)"
confirm_sql='SELECT evsched.confirm($1::bigint[])'

run_load() {
  local command=$1
  shift
  "$load" "$command" --role="$role" "$@"
}

# keep STATE ROW SIDE FILE
keep() {
  awk -v OFS='\t' -v state="$1" -v row="$2" -v side="$3" \
    '{print state, row, side, $1, $2}' "$4" >>"$results"
}

# sample STATE ROW SIDE COMMAND OPTION...: one measurement.
sample() {
  local state=$1 row=$2 side=$3
  shift 3
  if run_load "$@" >"$scratch/sample.out"; then
    keep "$state" "$row" "$side" "$scratch/sample.out"
  else
    keep_failure "$state" "$row" "$side"
    return 1
  fi
}

# keep_failure STATE ROW SIDE: the row is then printed, and its bars have no result.
keep_failure() {
  echo "bench: no result for $*" >&2
  printf '%s\t%s\t%s\tfailed\t1\n' "$@" >>"$results"
}

# compare STATE ROW EVSCHED-SQL PLAIN-SQL COMMAND OPTION...: the same load with either
# statement, whichever first by turns.
compare() {
  local state=$1 row=$2 side
  local -A statement=([evsched]=$3 [plain]=$4)
  shift 4
  for side in $(by_turns evsched plain); do
    sample "$state" "$row" "$side" "$@" --sql="${statement[$side]}"
  done
}

# Prints its arguments, in reverse every other round.
by_turns() {
  if [ $((round % 2)) = 1 ]; then echo "$@"; else printf '%s\n' "$@" | tac; fi
}

# keep_wal STATE ROW SIDE: WAL per event of the last sample, by pg_waldump, without
# full-page images.
keep_wal() {
  local events start stop folder
  events=$(value_of events) start=$(value_of start_lsn) stop=$(value_of stop_lsn)
  folder=$(sql postgres -c 'SHOW data_directory')/pg_wal
  pg_waldump --path="$folder" --start="$start" --end="$stop" --stats 2>/dev/null |
    awk -v events="$events" '$1 == "Total" {printf "wal_records %.1f\n", $3 / events}' \
      >"$scratch/wal.out"
  keep "$1" "$2" "$3" "$scratch/wal.out"
}

# A value of the last sample.
value_of() {
  awk -v name="$1" '$1 == name {print $2}' "$scratch/sample.out"
}

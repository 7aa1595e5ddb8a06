# part rules     run_rules with 10 rules, none of them due, and with one that rewrites each response
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
part_rules() {
  use empty
  sql bench_empty -f "$here/rules.sql"
  sql bench_empty -c "SET ROLE $role" -c "SELECT evsched.load_rules((
      SELECT jsonb_agg(jsonb_build_object('identifier', g::text, 'period', '1 day', 'command', 'SELECT 1'))
      FROM generate_series(1, 10) g), 'still')" -c "SELECT evsched.load_rules('[{\"identifier\": \"rewrite\",
      \"period\": \"1 microsecond\", \"mode\": \"each\", \"command\": \"SELECT \$1 || ''{\\\"b\\\": 2}''\"}]', 'rewrite')" >/dev/null
  for ((round = 1; round <= rounds; round++)); do
    compare empty rules/still "SELECT evsched.run_rules('{\"a\": 1}', 'still')" \
      "SELECT bench.run_rules('{\"a\": 1}')" repeat --seconds="$post_seconds"
    compare empty rules/rewrite "SELECT evsched.run_rules('{\"a\": 1}', 'rewrite')" \
      "SELECT bench.rewrite('{\"a\": 1}')" repeat --seconds="$post_seconds"
  done
}

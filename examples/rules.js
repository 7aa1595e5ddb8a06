#!/usr/bin/env node
/*
 * rules.js - a web server that lets evsched's rules rewrite its responses, in
 * Node, on the package pg (npm install)
 *
 *   node rules.js [port [URI]]
 *
 * Loads its rules when it starts, prints its address, and answers every request
 * with JSON: what answer() builds, after the rules that are due have had it.
 * Port 0, the default: one that is free. The URI is of the form
 * postgres://user@host/database; without one, PGHOST, PGPORT, ... are used.
 *
 * The rules are there for all servers that use the set: of any number of them
 * one runs a rule of mode once, whichever serves the first request of its
 * period. They may be changed meanwhile, from anywhere:
 *
 *   SELECT evsched.add_rule('hello', '1 min', $$SELECT $1 || '{"hello": true}'$$,
 *                           rule_set => 'web');
 *
 * until a server starts and loads its own. A rule of mode each counts for a
 * connection, of which the server has up to CONNECTIONS, and not for a visitor.
 */
'use strict';

const { createServer } = require('node:http');
const { Pool } = require('pg');

const CONNECTIONS = 4;
const RULE_SET = 'web';

const [port = '0', uri] = process.argv.slice(2);
const pool = new Pool({
  connectionString: uri || undefined,
  max: CONNECTIONS,
  fallback_application_name: 'evsched rules',
  statement_timeout: 10000, // what takes longer is a job's: a rule may post one
});

/* ---- Your code goes here. ------------------------------------------------ */

/* $1 is the response. A command that returns a JSON value has rewritten it. */
const rules = [
  { // once in an hour, and says nothing in the response
    identifier: 'forget old visits',
    period: '1 hour',
    command: "DELETE FROM visit WHERE last_at < now() - interval '30 days'",
  },
  { // the first request of each day, by UTC
    identifier: 'first of the day',
    period: '1 day',
    command: `SELECT $1 || '{"first": true}'`,
  },
  { // every request for that page: its period is over at each call
    identifier: 'notice',
    period: '1 microsecond',
    mode: 'each',
    filter: "$1->>'page' = '/old'",
    command: `SELECT $1 || '{"notice": "This page has moved to /new."}'`,
  },
];

async function prepare() {
  await pool.query(`CREATE TABLE IF NOT EXISTS visit
    (page text PRIMARY KEY, visits bigint NOT NULL, last_at timestamptz NOT NULL)`);
}

/* The response to a request, before the rules. */
async function answer(page) {
  const { rows: [visit] } = await pool.query(
    `INSERT INTO visit VALUES ($1, 1, now())
     ON CONFLICT (page) DO UPDATE SET visits = visit.visits + 1, last_at = now()
     RETURNING page, visits::float8`, [page]);
  return visit;
}

/* ---- The rest can stay as it is. ----------------------------------------- */

/*
 * The body as the rules want it. As text: to take it apart and put it together
 * again would only cost it its large numbers. A rule that fails is found in
 * evsched.run and changes nothing; when the call itself does, the response goes
 * out as it was built.
 */
async function rewrite(response) {
  const body = JSON.stringify(response);
  try {
    const { rows } = await pool.query(
      'SELECT evsched.run_rules($1, $2)::text AS body', [body, RULE_SET]);
    return rows[0].body;
  } catch (error) {
    console.error(`rules: ${error.message}`);
    return body;
  }
}

async function handle(request, response) {
  response.setHeader('content-type', 'application/json');
  try {
    response.end(await rewrite(await answer(request.url)));
  } catch (error) {
    console.error(`${request.url}: ${error.message}`);
    response.statusCode = 500;
    response.end('{"error": "internal error"}');
  }
}

async function main() {
  const server = createServer(handle);
  const stop = () => server.close(() => pool.end()); // what is under way is answered
  pool.on('error', (error) => console.error(`rules: ${error.message}`)); // the pool replaces it
  await prepare();
  await pool.query('SELECT evsched.load_rules($1, $2)', [JSON.stringify(rules), RULE_SET]);
  process.once('SIGTERM', stop); // a second one ends the process at once
  process.once('SIGINT', stop);
  server.listen(Number(port), '127.0.0.1', () => {
    console.log(`http://127.0.0.1:${server.address().port}`);
  });
}

main().catch((error) => {
  console.error(`rules: ${error.message}`);
  process.exit(1);
});

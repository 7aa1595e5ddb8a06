#!/usr/bin/env node
/*
 * listener.js - an evsched listener in Node, on the package pg (npm install)
 *
 *   node listener.js [URI [queue [node [max_events]]]]
 *
 * Joins the queue, hands each event to handle(), confirms what is done, and
 * comes back when the connection ends. SIGTERM or SIGINT: the event in hand is
 * finished, the others go back to the queue at once. The URI is of the form
 * postgres://user@host/database; without one, PGHOST, PGPORT, ... are used.
 *
 * A node name may join a queue only once: a second listener of the same name
 * replaces the first. max_events 0: the listener is only told that something
 * is due, and takes it, each event and the work on it in one transaction.
 *
 * pg does not know target_session_attrs. A standby refuses join, so a listener
 * that reaches one tries again until the address leads to the primary.
 */
'use strict';

const { on } = require('node:events');
const { setTimeout: pause } = require('node:timers/promises');
const { Client } = require('pg');

const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 30000;

const [uri, queue = 'default', node = `listener-${process.pid}`, maxEvents = '8'] =
  process.argv.slice(2);
const stop = new AbortController();

/*
 * ---- Your code goes here. ------------------------------------------------
 * The event is done when this returns; when it throws, the event is tried
 * again as long as it has retries left. It may come twice (the connection can
 * end before the confirmation arrives), so either make the work harmless to
 * repeat, or do it in this database and confirm in the same transaction. What
 * takes longer than conf_timeout has to call evsched.extend() in between.
 */
async function handle(event, client) {
  const lateMs = Date.now() - dueMs(event); // by this machine's clock
  console.log([node, event.id, event.queue, event.num_retries, lateMs,
    JSON.stringify(event.payload)].join('\t'));
}

/* ---- The rest can stay as it is. ---------------------------------------- */

/*
 * JSON.parse makes a double of every number, which is exact only up to 2^53,
 * and ids are bigint. So whole numbers of 16 digits and more become strings
 * first; strings are matched too, to leave alone the digits in them. (pg hands
 * out bigint columns as strings for the same reason.)
 */
function parse(json) {
  return JSON.parse(json.replace(
    /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g,
    (token) => (/^-?\d{16,}$/.test(token) ? `"${token}"` : token)));
}

function dueMs(event) {
  return event.due_at === '-infinity' ? -Infinity : Date.parse(event.due_at);
}

/* Events from fetch or take, as text of the form that notifications have. */
async function events(client, source, values) {
  const result = await client.query(`SELECT to_json(e)::text AS event FROM ${source} AS e`, values);
  return result.rows.map((row) => parse(row.event));
}

async function reject(client, event, error) {
  console.error(`${node}: event ${event.id}: ${error.message}`);
  await client.query('SELECT evsched.reject($1, error => $2)', [event.id, error.message]);
}

/* Handles what a notification brought, and confirms by id all that was done
 * with one statement. (Not by key: another event may have it by now.) */
async function handleAll(client, told) {
  const large = told.filter((event) => event.fetch).map((event) => event.id);
  const fetched = large.length > 0
    ? await events(client, 'evsched.fetch($1::bigint[])', [large]) : [];
  const done = [];
  for (const short of told) {
    if (stop.signal.aborted) break;
    const event = short.fetch ? fetched.find(({ id }) => id === short.id) : short;
    if (!event) continue; // too late: its lease was over before it was fetched
    try {
      await handle(event, client);
      done.push(event.id);
    } catch (error) {
      await reject(client, event, error);
    }
  }
  if (done.length > 0) await client.query('SELECT evsched.confirm($1::bigint[])', [done]);
}

/* Takes one event and handles it in the same transaction; false if there was none. */
async function takeOne(client) {
  await client.query('BEGIN');
  const [event] = await events(client, 'evsched.take($1, 1)', [queue]);
  try {
    if (event) await handle(event, client);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    await reject(client, event, error);
  }
  return event !== undefined;
}

/* Joins and handles notifications until the connection ends (throws) or a signal says stop. */
async function serve(client, joined) {
  const notifications = on(client, 'notification', { signal: stop.signal, close: ['end'] });
  try {
    await client.query(
      "SELECT evsched.join($1, $2, max_events => $3, conf_timeout => '10 s')",
      [node, queue, maxEvents]);
    joined();
    for await (const [{ payload }] of notifications) {
      const told = parse(payload);
      if (told.length > 0) await handleAll(client, told);
      else while (!stop.signal.aborted && await takeOne(client));
      if (stop.signal.aborted) break;
    }
  } catch (error) {
    if (error.name !== 'AbortError') throw error;
  } finally {
    await notifications.return();
  }
  if (stop.signal.aborted) {
    await client.query('SELECT evsched.leave($1, release => true)', [queue]);
  }
}

async function main() {
  let pauseMs = FIRST_PAUSE_MS;
  while (!stop.signal.aborted) {
    const client = new Client({
      connectionString: uri || undefined,
      fallback_application_name: 'evsched listener',
      connectionTimeoutMillis: 10000,
      keepAlive: true, // an idle listener would not notice that the server's host has gone
      keepAliveInitialDelayMillis: 10000,
    });
    client.on('error', () => {}); // serve() gets it too; unheard it would end the process
    try {
      await client.connect();
      await serve(client, () => { pauseMs = FIRST_PAUSE_MS; });
    } catch (error) {
      console.error(`${node}: ${error.message}`);
    }
    await client.end().catch(() => {});
    await pause(pauseMs, undefined, { signal: stop.signal }).catch(() => {});
    pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS);
  }
}

process.once('SIGTERM', () => stop.abort()); // a second one ends the process at once
process.once('SIGINT', () => stop.abort());
main();

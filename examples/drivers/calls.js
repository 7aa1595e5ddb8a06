/*
 * calls.js - every case of calls.json through the package pg, in TAP
 *
 *   node calls.js        (PGHOST, PGPORT, PGUSER, PGDATABASE: a database of its own)
 *
 * Values go over the wire as text without a type, as pg sends them; a cast in
 * the statement gives the type. Then what only JavaScript has: objects,
 * BigInt, arrays and Date as parameters.
 */
'use strict';

const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Client } = require('pg');

const { setups, cases } = JSON.parse(readFileSync(join(__dirname, 'calls.json'), 'utf8'));
const asText = { getTypeParser: () => (value) => value };
const bare = new Set(['int', 'bigint', 'boolean']);
const quote = (value) => (value === null ? 'NULL' : `'${value.replaceAll("'", "''")}'`);
const eachParameter = (sql, replace) => sql.replace(/\$(\d+)/g, (_, n) => replace(Number(n) - 1));
let statements = 0; // prepared ones, each of a name of its own

async function query(client, text, values, name) {
  return (await client.query({ text, values, name, rowMode: 'array' })).rows;
}

/* Whether a literal shows its type; a string in quotes and NULL do not. */
const hasType = (value, type) => value !== null && (bare.has(type) || type === 'bigint[]');

function literal(value, type) {
  if (!hasType(value, type)) return quote(value);
  return bare.has(type) ? value : `ARRAY[${value.slice(1, -1)}]::bigint[]`;
}

async function prepared(client, sql, types, values) {
  const name = `p${statements++}`;
  await query(client, `PREPARE ${name}(${types}) AS ${sql}`);
  return query(client, `EXECUTE ${name}(${values.map(quote)})`);
}

/* How a call can be sent; the untyped ones leave it to the server to find the types. */
const forms = {
  literal: {
    run: (client, { sql, types, values }) =>
      query(client, eachParameter(sql, (i) => literal(values[i], types[i]))),
  },
  'quoted literal': {
    untyped: true,
    run: (client, { sql, values }) => query(client, eachParameter(sql, (i) => quote(values[i]))),
  },
  'typed parameters': {
    run: (client, { sql, types, values }) =>
      query(client, eachParameter(sql, (i) => `$${i + 1}::${types[i]}`), values),
  },
  'untyped parameters': {
    untyped: true,
    run: (client, { sql, values }) => query(client, sql, values),
  },
  'untyped, prepared by name': {
    untyped: true,
    run: (client, { sql, values }) => query(client, sql, values, `s${statements++}`),
  },
  'typed PREPARE': {
    run: (client, { sql, types, values }) => prepared(client, sql, types, values),
  },
  'untyped PREPARE': {
    untyped: true,
    run: (client, { sql, types, values }) =>
      prepared(client, sql, types.map(() => 'unknown'), values),
  },
};

/* Fills in <queue>, <id>, <20kB>, ... in all strings of a value. */
function fill(value, names) {
  if (Array.isArray(value)) return value.map((part) => fill(part, names));
  if (typeof value !== 'string') return value;
  return value
    .replace(/<20kB>/g, 'x'.repeat(20000))
    .replace(/<(\d+)(x|é)>/g, (_, n, letter) => letter.repeat(Number(n)))
    .replace(/<(\w+)>/g, (whole, name) => names[name] ?? whole);
}

function matches(got, want) {
  if (Array.isArray(want)) {
    return Array.isArray(got) && got.length === want.length
      && want.every((part, i) => matches(got[i], part));
  }
  if (want === null || got === null) return got === want;
  if (want === '*') return true;
  return want.startsWith('~') ? new RegExp(want.slice(1)).test(got) : got === want;
}

function shorten(value) {
  const text = JSON.stringify(value);
  return text.length > 300 ? `${text.slice(0, 300)}...` : text;
}

const countEvents = async (client) =>
  (await query(client, 'SELECT count(*) FROM evsched.event'))[0][0];

/* Null, or what is wrong with a case in a form. */
async function problem(client, wanted, form, queue) {
  const names = { queue };
  for (const [name, sql] of wanted.setup ? setups[wanted.setup] : []) {
    names[name] = (await query(client, fill(sql, names)))[0]?.[0];
  }
  const call = { ...wanted, values: fill(wanted.values, names), sql: fill(wanted.sql, names) };
  const untyped = form.untyped
    || (form === forms.literal && !call.values.every((value, i) => hasType(value, call.types[i])));
  const { rows, sqlstate, hint } = untyped && wanted.untyped ? wanted.untyped : wanted;
  const before = await countEvents(client);
  let got;
  try {
    got = await form.run(client, call);
  } catch (error) {
    if (error.code !== sqlstate) return `${error.code}: ${error.message}`;
    if (sqlstate === '22023' && !error.hint) return `no hint: ${error.message}`;
    if (hint && !new RegExp(hint).test(error.hint)) return `hint: ${error.hint}`;
    const after = await countEvents(client);
    return after === before ? null : `${before} events became ${after}`;
  }
  if (sqlstate) return `got ${shorten(got)} instead of ${sqlstate}`;
  const want = fill(rows, names);
  if (!matches(got, want)) return `got ${shorten(got)} instead of ${shorten(want)}`;
  if (!wanted.then) return null;
  got = await query(client, fill(wanted.then.sql, names));
  const then = fill(wanted.then.rows, names);
  return matches(got, then) ? null : `then got ${shorten(got)} instead of ${shorten(then)}`;
}

async function cleanUp(client, queue) {
  await query(client, 'SELECT evsched.cancel(id) FROM evsched.event');
  await query(client, "SELECT evsched.leave($1), evsched.leave('default')", [queue]);
}

/* What JavaScript's own types become. */
async function nativeCases(client, report) {
  const check = async (name, want, sql, values) => {
    const got = await query(client, sql, values);
    report(name, matches(got, want) ? [] : [`got ${shorten(got)}`]);
  };
  const posted = 'SELECT payload FROM evsched.take($1)';
  for (const [name, payload, want] of [
    ['an object is a payload', { a: [1, { b: null }] }, '{"a": [1, {"b": null}]}'],
    ['an array is a payload as JSON.stringify writes it', JSON.stringify([]), '[]'],
    ['an array itself is not: pg makes a PostgreSQL array of it', [], '{}'],
  ]) {
    await query(client, 'SELECT evsched.post($1, queue => $2)', [payload, 'native']);
    await check(name, [[want]], posted, ['native']);
  }
  const ids = (await query(client, 'SELECT evsched.post_many($1::jsonb[], queue => $2)',
    [['{"n": 1}', '[2]'], 'native'])).flat();
  await check('a BigInt is an id', [['f']], 'SELECT evsched.cancel($1)', [2n ** 62n]);
  await check('an array of strings is an array of ids', [['2']],
    'SELECT evsched.confirm($1::bigint[])', [ids]);
  await check('an empty array is an empty array of ids', [['0']],
    'SELECT evsched.confirm($1::bigint[])', [[]]);
  await query(client, "SELECT evsched.post_at('1', $1, $2)", [new Date(1500), 'native']);
  await check('a Date is a time, to the millisecond', [['t']],
    'SELECT extract(epoch FROM due_at) = 1.5 FROM evsched.take($1)', ['native']);
}

async function main() {
  const client = new Client({ types: asText });
  let tests = 0;
  let failed = 0;
  const report = (name, problems) => {
    if (problems.length > 0) failed++;
    console.log(`${problems.length > 0 ? 'not ok' : 'ok'} ${++tests} - node: ${name}`);
    for (const text of problems) console.log(`#   ${text}`);
  };
  await client.connect();
  for (const wanted of cases) {
    const problems = [];
    for (const [name, form] of Object.entries(forms)) {
      const queue = `node ${tests} ${name}`;
      const text = await problem(client, wanted, form, queue).catch((error) => error.message);
      if (text) problems.push(`${name}: ${text}`);
      await cleanUp(client, queue);
    }
    report(wanted.name, problems);
  }
  await nativeCases(client, report);
  console.log(`1..${tests}`);
  await client.end();
  process.exitCode = failed > 0 ? 1 : 0;
}

main();

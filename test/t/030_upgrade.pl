# A new library finds the tables and functions of an older version: it keeps what is
# posted, hands out nothing, and says what to do. After ALTER EXTENSION evsched UPDATE all
# is as after a fresh install, and what was there goes on.
use strict;
use warnings;

use Evsched qw(start_server session listener nothing_early wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $hint = qr/Run ALTER EXTENSION evsched UPDATE/;

# All that makes up the extension, as text.
my $description = <<'SQL';
SELECT string_agg(line, chr(10) ORDER BY line COLLATE "C") FROM (
	SELECT 'function ' || pg_get_functiondef(p.oid) ||
		coalesce((SELECT string_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, ',' ORDER BY a.grantee)
			FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> 'app'::regrole), '') AS line
	FROM pg_proc p WHERE p.pronamespace = 'evsched'::regnamespace
	UNION ALL
	SELECT 'column ' || a.attrelid::regclass || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
		|| ' ' || a.attnotnull || ' ' || a.attidentity::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
	FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE c.relnamespace = 'evsched'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 'i'
	UNION ALL
	SELECT 'relation ' || c.oid::regclass || ' ' || c.relkind::text || ' ' || coalesce(c.reloptions::text, '')
		|| ' ' || coalesce(obj_description(c.oid, 'pg_class'), '')
	FROM pg_class c WHERE c.relnamespace = 'evsched'::regnamespace
	UNION ALL
	SELECT 'view ' || c.oid::regclass || ' ' || pg_get_viewdef(c.oid)
	FROM pg_class c WHERE c.relnamespace = 'evsched'::regnamespace AND c.relkind = 'v'
	UNION ALL
	SELECT 'index ' || pg_get_indexdef(i.indexrelid)
	FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'evsched'::regnamespace
	UNION ALL
	SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
	FROM pg_constraint WHERE connamespace = 'evsched'::regnamespace
	UNION ALL
	SELECT 'trigger ' || t.tgenabled::text || ' ' || pg_get_triggerdef(t.oid)
	FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = 'evsched'::regnamespace AND NOT t.tgisinternal
	UNION ALL
	SELECT 'dumped ' || t::regclass || ' ' || w
	FROM pg_extension, unnest(extconfig, extcondition) AS u(t, w) WHERE extname = 'evsched'
	UNION ALL
	SELECT 'comment ' || p.oid::regprocedure || ' ' || obj_description(p.oid, 'pg_proc')
	FROM pg_proc p WHERE p.pronamespace = 'evsched'::regnamespace
	UNION ALL
	SELECT 'member ' || pg_describe_object(classid, objid, objsubid)
	FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'evsched')
) all_of_it
SQL

my $server = start_server('upgrade');
my $fresh  = session($server, 'fresh');
$fresh->sql('CREATE ROLE app LOGIN');
my $expected = $fresh->sql($description);

for my $script (sort glob 'sql/old/evsched--*.sql')
{
	my ($version) = $script =~ /--([\d.]+)\.sql$/;
	my $database = "from_$version";
	my $logged   = -s $server->logfile;

	$fresh->sql(qq(CREATE DATABASE "$database"));
	my $session = session($server, 'session', dbname => $database);
	$session->sql("CREATE EXTENSION evsched VERSION '$version'");
	$session->sql('GRANT USAGE ON SCHEMA evsched TO app');
	$session->sql('GRANT EXECUTE ON FUNCTION evsched.cancel(bigint) TO app');
	$session->sql('GRANT EXECUTE ON FUNCTION evsched.post(jsonb, interval, text, text, int, text, interval) TO app');
	$session->sql('GRANT SELECT ON evsched.events TO app');
	my $counts = $session->sql(q(SELECT to_regclass('evsched.stat_queue') IS NOT NULL)) eq 't';
	if ($counts)
	{
		$session->sql('GRANT SELECT ON evsched.stat_queue TO app');
		$session->sql('GRANT EXECUTE ON FUNCTION evsched._stat_queue() TO app');
	}
	ok($server->wait_for_log(qr/evsched waits: its extension/, $logged),
		"$version: the scheduler waits");
	my $id = $session->sql(q(SELECT evsched.post('"before"', max_retries => 3)));
	cmp_ok($id, '>', 0, 'posting goes on');
	for my $call ('join()', 'take()', 'receive()')
	{
		my $result = $session->try("SELECT evsched.$call");

		is($result->{sqlstate}, '55000', "$call does not");
	}
	like(slurp_file($server->logfile, $logged), $hint, 'what to do is said');
	is($session->sql('SELECT count(*) FROM evsched.events WHERE node IS NOT NULL'),
		0, 'nothing is handed out');

	my $other = session($server, 'other', dbname => $database);
	$other->sql(q(SELECT evsched.post('"later"', '1 hour', key => 'later')));
	$session->sql('ALTER EXTENSION evsched UPDATE');
	my $listener = listener($server, 'listener', dbname => $database);
	my $event    = $listener->event;
	is($event->{payload},          'before', 'after the update, what was posted comes');
	is($listener->confirm($event), 't',      'and is confirmed');
	is($other->sql(q(SELECT evsched.change_delay('later', '0', 'default'))),
		't', 'a session that was there goes on');
	is($listener->event->{payload}, 'later', 'and is listened to');
	$other->sql(q(SELECT evsched.create_queue('owned')));
	is($other->sql(q(SELECT owner FROM evsched.queues WHERE queue = 'owned')),
		'postgres', 'it has the new functions');

	is($session->sql($description), $expected, 'all is as after a fresh install');
	is($server->safe_psql($database,
			q(SET ROLE app; SELECT succeeded FROM evsched.stat_queue WHERE queue = 'default')),
		'0', 'who could read the counters can read the new ones') if $counts;
	my $dump = $server->safe_psql($database,
			q(SELECT string_agg(privilege_type, ',') FROM pg_proc p, aclexplode(proacl) a )
		  . q(WHERE p.oid = 'evsched.cancel(bigint)'::regprocedure AND a.grantee = 'app'::regrole)
	);
	is($dump, 'EXECUTE', 'a role keeps what it was granted');
	command_like(
		[ 'pg_dump', '-h', $server->host, '-p', $server->port, '-d', $database ],
		qr/GRANT ALL ON FUNCTION evsched\.cancel\(id bigint\) TO app/,
		'in a dump, too');
	command_like(
		[ 'pg_dump', '-h', $server->host, '-p', $server->port, '-d', $database ],
		qr/GRANT ALL ON FUNCTION evsched\.post\(.*every interval.*\) TO app/,
		'also of a function that has got more arguments');
	$_->quit for $session, $other, $listener;
}

nothing_early();
done_testing();

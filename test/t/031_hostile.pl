# A role that owns a database, or listens beside others, gets at nothing that is not its own
# and stops nobody.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time nothing_early scheduler_pid
  new_scheduler wait_until);
use POSIX qw(mkfifo);
use Test::More;
use Time::HiRes qw(time);

my $server = start_server('hostile', create => 0);
my $admin  = session($server, 'admin');
$admin->sql($_)
  for 'CREATE ROLE mallory LOGIN CREATEDB', 'CREATE ROLE alice LOGIN', 'CREATE ROLE weak',
  'CREATE DATABASE hers OWNER mallory', 'CREATE DATABASE last';

# A session of a role in a database.
sub session_of
{
	my ($role, $database) = @_;

	return session(
		$server, "$role-$database",
		dbname   => $database,
		conninfo => "user=$role");
}

# An event of that database comes to a listener of it on time.
sub works
{
	my ($database, $name) = @_;
	my $session = session($server, 'works', dbname => $database);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$session->join(queue => 'works');
	$session->sql(q(SELECT evsched.post('1', '200 ms', 'works')));
	on_time($session->event, $name);
	$session->quit;
	return;
}

#
# A schema evsched that is there before the extension.
#
my $mallory = session_of('mallory', 'hers');
my $super   = session($server, 'super', dbname => 'hers');
$mallory->sql($_)
  for 'CREATE SCHEMA evil', 'CREATE SCHEMA evsched',
  q(CREATE FUNCTION evsched.post(text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint');
my $refused = $super->try('CREATE EXTENSION evsched');
is($refused->{sqlstate}, '42501', 'a schema evsched of another role: no extension');
like($refused->{error}, qr/schema evsched belongs to role mallory/, 'it says so');
like($refused->{error}, qr/HINT: /, 'with a hint');
$super->sql('ALTER SCHEMA evsched OWNER TO CURRENT_USER');
$refused = $super->try('CREATE EXTENSION evsched');
is($refused->{sqlstate}, '55000', 'one that is not empty: no extension');
like($refused->{error}, qr/schema evsched is not empty.*HINT: /s, 'it says so');
is($super->sql(q(SELECT count(*) FROM pg_extension WHERE extname = 'evsched')),
	0, 'nothing is left of it');
$super->sql('DROP SCHEMA evsched CASCADE');

#
# Without the extension: a schema that looks like it, locked for ever.
#
$mallory->sql($_)
  for 'CREATE SCHEMA evsched',
  'CREATE TABLE evsched.event (id int CONSTRAINT event_pkey PRIMARY KEY, n int)',
  'CREATE INDEX event_due ON evsched.event (n)', 'CREATE SEQUENCE evsched.event_id_seq',
  'BEGIN', 'LOCK TABLE evsched.event', q(PREPARE TRANSACTION 'lock');
session($server, 'create', dbname => 'last')->sql('CREATE EXTENSION evsched');
works('last', 'a database is served');
$_->quit for $mallory, $super, $admin;
$server->restart;
works('last', 'after a restart, too, while another holds what looks like the extension');
is($server->safe_psql('hers', q(SELECT count(*) FROM pg_stat_activity
		WHERE backend_type = 'evsched scheduler' AND datname = current_database())),
	0, 'where there is no scheduler');
$server->safe_psql('hers', q(ROLLBACK PREPARED 'lock'));
$server->safe_psql('hers', q(DROP SCHEMA evsched CASCADE));

#
# A database that its owner holds, so that nobody can connect.
#
my $holder = session_of('mallory', 'postgres');
$holder->sql($_)
  for 'BEGIN', 'ALTER DATABASE hers RENAME TO hers2', q(PREPARE TRANSACTION 'hold');
$holder->quit;
$server->restart;
new_scheduler($server, 0, 'last');
works('last', 'another database that is held does not stop the others');
$server->safe_psql('postgres', q(ROLLBACK PREPARED 'hold'));

#
# The owner of a database sets what it may for all who connect, the scheduler among them.
#
$super   = session($server, 'super', dbname => 'hers');
$mallory = session_of('mallory', 'hers');
$mallory->sql(<<'SQL');
DO $$
DECLARE a text; op text; n int := 0;
BEGIN
	FOREACH a IN ARRAY '{text,name,bigint,int,oid,boolean,timestamptz,interval,jsonb,bigint[]}'::text[] LOOP
		FOREACH op IN ARRAY '{=,<>,<,<=,>,>=,||,-}'::text[] LOOP
			n := n + 1;
			EXECUTE format('CREATE FUNCTION evil.trap_%s(%s, %s) RETURNS boolean LANGUAGE plpgsql
				AS $f$ BEGIN RAISE EXCEPTION ''trapped''; END $f$', n, a, a);
			EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.trap_%s)', op, a, a, n);
		END LOOP;
	END LOOP;
	FOREACH a IN ARRAY '{clock_timestamp(),now(),octet_length(text),max(bigint),setval(text&bigint),format(text&text&text),
			has_schema_privilege(name&text&text),current_database(),aclexplode(aclitem[])}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION evil.%s RETURNS text LANGUAGE plpgsql
			AS $f$ BEGIN RAISE EXCEPTION ''trapped''; END $f$', replace(a, '&', ','));
	END LOOP;
END $$
SQL
$mallory->sql("ALTER DATABASE hers SET $_")
  for 'search_path = evil, pg_catalog', 'default_transaction_isolation = serializable',
  'default_transaction_read_only = on', 'default_transaction_deferrable = on',
  q(statement_timeout = '1ms'), q(lock_timeout = '1ms'), q(idle_in_transaction_session_timeout = '1ms'),
  'quote_all_identifiers = on', 'transform_null_equals = on', 'standard_conforming_strings = off',
  'enable_indexscan = off', 'enable_seqscan = off', q(TimeZone = 'Pacific/Auckland'),
  q(DateStyle = 'SQL, DMY'), q(IntervalStyle = 'sql_standard'), 'work_mem = 64',
  'synchronous_commit = on', 'row_security = off';
my $settings = join('; ',
	'SET default_transaction_read_only = off',
	'SET default_transaction_isolation = "read committed"',
	q(SET statement_timeout = 0), q(SET lock_timeout = 0),
	q(SET idle_in_transaction_session_timeout = 0));
$super->quit;
$super = session($server, 'super', dbname => 'hers');
$super->sql($settings);
is($super->try('SELECT 1 = 1')->{error} =~ /trapped/ ? 'trapped' : '', 'trapped', 'traps are set');
is($super->try('CREATE EXTENSION evsched')->{error}, undef, 'none is met by CREATE EXTENSION');
is($super->try(q(SELECT evsched.grant_usage('alice')))->{error}, undef, 'nor by grant_usage');
$super->sql(q(SELECT evsched.join('node', 'hers', conf_timeout => '300 ms')));
$super->sql(q(SELECT evsched.post('{"a": 1}', '100 ms', 'hers', 'key', 1)));
my $event = $super->event;
on_time($event, 'the scheduler meets none');
is($super->event->{num_retries}, 1, 'neither when a lease is over');
wait_until(sub { $super->sql(q(SELECT evsched.discard(ARRAY[id]) FROM evsched.dead_event)) // 0 },
	'it to die');
pass('nor when an event dies');
for my $call (
	q(SELECT evsched.create_queue('mine', 3, '1 s')), q(SELECT evsched.pause_queue('mine')),
	q(SELECT evsched.resume_queue('mine')),           q(SELECT evsched.stop('0')),
	q(SELECT evsched.start()),                        q(SELECT count(*) FROM evsched.events),
	q(SELECT * FROM evsched.queues),                  q(SELECT * FROM evsched.listeners),
	q(SELECT * FROM evsched.dead_event),              q(SELECT evsched.redrive('hers')))
{
	is($super->try($call)->{error}, undef, "nor $call");
}
# Jobs, coroutines, map, rules and watches of a superuser are there what they are elsewhere.
$mallory->sql(q(ALTER DATABASE hers SET statement_timeout = '1min'));
$super->sql(<<'SQL');
CREATE FUNCTION step(given jsonb, OUT state jsonb, OUT sleep interval)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
	state := to_jsonb(given::int + 1);
	IF given < '2' THEN
		sleep := '1 ms';
	END IF;
END
$$
SQL
for my $case (
	[ q(enqueue('SELECT 7 AS n')),                            7 ],
	[ q(every('1 s', 'SELECT 8 AS n')),                       8 ],
	[ q(coroutine('step', '0', 'active')),                    3 ],
	[ q(next('SELECT 9 AS n', 'SELECT $1', key => 'series')), 9 ])
{
	my ($call, $expected) = @$case;
	my $id = $super->sql("SELECT evsched.$call");

	wait_until(
		sub { ($super->sql("SELECT result FROM evsched.result($id)") // '') eq $expected },
		"the result of $call");
	pass("nor $call");
	$super->sql("SELECT evsched.cancel($id)");
}
is($super->sql(q(SELECT result FROM evsched.map('7', 'active', '1 min'))), 7, 'nor map');
$super->sql(q(SELECT evsched.add_rule('r', '1 us', 'SELECT jsonb_build_array($1)', filter => '$1 IS NOT NULL')));
is($super->sql(q(SELECT evsched.run_rules('1'))), '[1]', 'nor rules');
my $pipe = $server->basedir . '/pipe';
mkfifo($pipe, oct 600) || die "mkfifo: $!";
for my $case (
	[ q(watch_channel('news', 'SELECT $1->>''payload''')), sub { $super->sql(q(NOTIFY news, 'said')) } ],
	[
		qq(watch_path('$pipe', 'SELECT \$1->>''data''')),
		sub { open(my $to, '+<', $pipe) || die "$pipe: $!"; print {$to} 'said'; close $to; }
	])
{
	my ($call, $say) = @$case;
	my $id = $super->sql("SELECT evsched.$call");

	wait_until(
		sub { $say->(); ($super->sql("SELECT result FROM evsched.result($id)") // '') =~ /said/ },
		"something said to $call");
	pass("nor $call");
	$super->sql("SELECT evsched.cancel($id)");
}
is($super->sql(q(SELECT count(*) FROM evsched.run WHERE texteq(state, 'failed'))),
	0, 'none has failed');
# The role that it sets is not one that the scheduler needs.
$mallory->sql(q(SET default_transaction_read_only = off));
$mallory->sql('ALTER DATABASE hers SET role = weak');
my $old = scheduler_pid($server, 'hers');
$server->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
new_scheduler($server, $old, 'hers');
$super->sql(q(SELECT evsched.post('"weak"', '100 ms', 'hers')));
$event = $super->event;
is($event->{payload}, 'weak', 'a role set for the database does not stop the scheduler');
on_time($event, 'nor slow it down');
$mallory->sql('ALTER DATABASE hers RESET ALL');
$_->quit for $super, $mallory;

#
# Default privileges of who installs it give nothing to PUBLIC.
#
$admin = session($server, 'admin');
$admin->sql('CREATE DATABASE given');
my $given = session($server, 'given', dbname => 'given');
$given->sql("ALTER DEFAULT PRIVILEGES GRANT ALL ON $_ TO PUBLIC")
  for qw(TABLES SEQUENCES FUNCTIONS TYPES SCHEMAS);
$given->sql('CREATE EXTENSION evsched');
is($given->sql(<<'SQL'), '', 'default privileges: nothing is granted to PUBLIC');
SELECT coalesce(string_agg(name, ', '), '') FROM (
	SELECT p.oid::regprocedure::text AS name FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
	WHERE pronamespace = 'evsched'::regnamespace AND a.grantee = 0
	UNION SELECT c.oid::regclass::text FROM pg_class c, aclexplode(relacl) a
	WHERE relnamespace = 'evsched'::regnamespace AND a.grantee = 0
	UNION SELECT attrelid::regclass || '.' || attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid, aclexplode(attacl) a
	WHERE relnamespace = 'evsched'::regnamespace AND a.grantee = 0
	UNION SELECT t.typname FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid, aclexplode(coalesce(typacl, acldefault('T', typowner))) a
	WHERE typnamespace = 'evsched'::regnamespace AND typtype <> 'b' AND (typrelid = 0 OR relkind = 'c') AND a.grantee = 0
	UNION SELECT 'schema ' || a.privilege_type FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = 'evsched' AND a.grantee = 0) x
SQL
is( session_of('alice', 'given')
	  ->try(q(CREATE FUNCTION evsched.post(text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'))
	  ->{sqlstate},
	'42501', 'nobody puts a function beside ours');
is(session_of('alice', 'given')->try(q(SELECT evsched.post('1')))->{sqlstate},
	'42501', 'nor calls one');

#
# A listener's channel can be neither listed, nor guessed, nor forged.
#
$admin->sql('CREATE EXTENSION evsched');
$admin->sql("SELECT evsched.grant_usage('$_')") for qw(alice mallory);
my $alice = session_of('alice', 'postgres');
$mallory = session_of('mallory', 'postgres');
my $channel = $alice->join(node => 'alice', queue => 'hers', conf_timeout => '1 min');
like($channel, qr/^evsched_[a-z2-7]{26}$/, 'a channel has a random name');
my %channels = ($channel => 1);
for (1 .. 20)
{
	my $one = session($server, 'one');

	$channels{ $one->join(queue => 'many') } = 1;
	$one->quit;
}
is(scalar keys %channels, 21, 'of its own');
is($mallory->sql('SELECT count(*) FROM pg_listening_channels()'), 0, 'it is not listed');
my $like = q('%' || reverse(') . reverse($channel) . q(') || '%');
for my $session ($mallory, $admin)
{
	is($session->sql("SELECT count(*) FROM pg_stat_activity a WHERE a::text LIKE $like"),
		0, 'nor seen in pg_stat_activity');
	my $views = join(' UNION ALL ',
		map { "SELECT x::text FROM evsched.$_ x" }
		  qw(events listeners queues dead_event _leases() _listeners() _queues()));
	is($session->sql("SELECT count(*) FROM ($views) v(x) WHERE x LIKE $like"),
		0, 'nor in what evsched shows');
}
unlike(PostgreSQL::Test::Utils::slurp_file($server->logfile), qr/\Q$channel\E/, 'nor in the log');
$mallory->sql(qq(NOTIFY "$_", '[{"id":1,"payload":"forged","queue":"hers"}]'))
  for 'evsched', 'evsched_', 'hers', 'alice', substr($channel, 0, -1), $channel =~ s/^evsched_//r;
$mallory->sql(q(SELECT evsched.post('"true"', queue => 'hers')));
is($alice->event->{payload}, 'true', 'what others notify does not come');
is_deeply([ $alice->events_so_far ], [], 'nothing else does');
# SQL LISTEN of a session's own does not make it a listener.
$mallory->sql('LISTEN evsched_guess');
is($mallory->sql(q(SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid())),
	0, 'LISTEN does not join');

#
# Names and payloads do not become parts of a notification.
#
my @texts = (
	q("}],{"id":1), q(\\"\\\\), "line\nfeed\ttab\r", q('';--), "\x{e9}\x{4e2d}\x{1f600}",
	'{"id":0,"fetch":true}', '[]', "\x{7f}\x{1}", '</script>');
for my $text (@texts)
{
	my $json = $admin->sql('SELECT to_jsonb($t$' . $text . '$t$::text)');
	my $name = $json =~ s/[^ -~]/./gr;

	$alice->join(node => 'alice', queue => $text, conf_timeout => '1 min');
	$mallory->sql('SELECT evsched.post(jsonb_build_object($t$' . $text . '$t$, $t$' . $text
		  . '$t$::text), queue => $t$' . $text . '$t$, key => $t$' . $text . '$t$, max_retries => 3)');
	my $got = $alice->event;
	is_deeply(
		[ @$got{ 'queue', 'key', 'payload' }, $got->{batch} ],
		[ $text, $text, { $text => $text }, 1 ],
		"$name stays what it is");
	$alice->confirm($got);
}

nothing_early();
done_testing();

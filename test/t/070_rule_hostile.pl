# Rules stand between two roles: the one that has written them and the one that runs them.
# Neither gets at anything of the other's, whatever it has prepared.
use strict;
use warnings;

use Evsched      qw(session wait_until nothing_early);
use Evsched::Job qw(quote);
use Test::More;

my $jobs  = Evsched::Job->new('hostile', roles => [qw(mallory alice)]);
my $admin = $jobs->admin;
my $super = $admin->sql('SELECT current_user');
my ($mallory, $alice) = map { $jobs->session_of($_) } qw(mallory alice);

$admin->sql($_) for 'CREATE SCHEMA mallory AUTHORIZATION mallory',
  'CREATE SCHEMA alice AUTHORIZATION alice', 'CREATE TABLE secret (n int)',
  'CREATE TABLE outcome (place text, attack text, outcome text, who text DEFAULT current_user)',
  'GRANT INSERT ON outcome TO PUBLIC', 'GRANT SELECT ON outcome TO PUBLIC';

# Adds a rule to a set of a session, of which each call is a slot.
sub add
{
	my ($session, $set, $command, $filter) = @_;

	return $session->sql(
		sprintf(
			q{SELECT evsched.add_rule('rule', '1 us', %s, filter => %s, rule_set => '%s')},
			quote($command), quote($filter), $set));
}

sub clear
{
	my ($session, $set) = @_;

	$session->sql("SELECT evsched.load_rules('[]', '$set')");
	return $session->sql("SELECT evsched.set_slot_function(NULL, '$set')");
}

# What a superuser's session is and may, in one word.
my $myself = q{SELECT concat_ws(' ', current_user, session_user, current_setting('role'),
	current_setting('is_superuser'), (SELECT md5(string_agg(name || '=' || setting, ',' ORDER BY name)) FROM pg_settings
		WHERE name NOT IN ('application_name', 'transaction_isolation')),
	coalesce(nullif(current_setting('mallory.behind', true), ''), '-'), to_regclass('pg_temp.left_behind'), to_regtype('pg_temp.left_type'),
	(SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_prepared_statements WHERE from_sql),
	(SELECT count(*) FROM pg_cursors WHERE is_holdable), (SELECT count(*) FROM evsched.listeners))};

#
# The owner is hostile, a superuser runs the rules.
#
# What is loaded at first use has its settings.
$admin->sql('DO $$ BEGIN END $$');

my @attacks = (
	'CREATE ROLE evil SUPERUSER',
	'ALTER ROLE mallory SUPERUSER',
	"GRANT $super TO mallory",
	'INSERT INTO public.secret VALUES (1)',
	'SELECT * FROM public.secret',
	q{SELECT pg_read_file('PG_VERSION')},
	q{COPY (SELECT 1) TO PROGRAM 'true'},
	q{COPY public.outcome FROM '/etc/passwd'},
	q{SELECT pg_terminate_backend(pg_backend_pid())},
	"SET ROLE $super",
	'SET LOCAL ROLE mallory',
	'SET ROLE none',
	'RESET ROLE',
	"SELECT set_config('role', '$super', false)",
	"SELECT set_config('role', 'none', true)",
	"SET SESSION AUTHORIZATION $super",
	'SET SESSION AUTHORIZATION mallory',
	'RESET SESSION AUTHORIZATION',
	"SELECT set_config('session_authorization', '$super', false)",
	'SET session_replication_role = replica',
	q{SET log_statement = 'none'},
	q{SELECT lo_import('/etc/passwd')},
	'CREATE FUNCTION mallory.c() RETURNS int LANGUAGE c AS \'evsched\', \'evsched_sql_owner\'',
	'CREATE TEMP TABLE left_behind (n int)',
	'CREATE TABLE pg_temp.left_behind (n int)',
	'CREATE TEMP VIEW left_behind AS SELECT 1',
	'CREATE TEMP SEQUENCE left_behind',
	'SELECT 1 AS n INTO TEMP left_behind',
	'LISTEN evil',
	'UNLISTEN *',
	'PREPARE evil AS SELECT 1',
	'DEALLOCATE ALL',
	'DISCARD ALL',
	'DECLARE evil CURSOR WITH HOLD FOR SELECT 1',
	'INSERT INTO mallory.late VALUES (1)',
	'SET CONSTRAINTS ALL DEFERRED; INSERT INTO mallory.later VALUES (1)',
	q{SELECT evsched.join('evil')},
	q{SELECT evsched.stop('0')},
	'SELECT evsched.start()',
	q{SELECT evsched.grant_usage('mallory', true)},
	q{SELECT evsched.load_rules('[]', 'supers')},
	q{SELECT evsched.run_rules(NULL, 'supers')},
	q{SELECT evsched.grant_rules('supers', 'mallory')},
	q{SELECT evsched.remove_rule('rule', 'supers')},
	'DELETE FROM evsched.rule',
	'UPDATE evsched.rule_set SET owner = (SELECT n FROM evsched.role LIMIT 1)');

$mallory->sql($_) for 'CREATE TABLE mallory.late (n int)', 'CREATE TABLE mallory.later (n int)',
  <<'SQL', <<'SQL', <<'SQL';
CREATE FUNCTION mallory.late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.outcome VALUES ('trigger', TG_TABLE_NAME, 'called');
	BEGIN
		INSERT INTO public.secret VALUES (1);
	EXCEPTION WHEN insufficient_privilege THEN NULL;
	END;
	RETURN NULL;
END $$
SQL
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON mallory.late DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION mallory.late()
SQL
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON mallory.later DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION mallory.late()
SQL
my $attacks = join(', ', map { quote($_) } @attacks);
$mallory->sql(<<"SQL");
CREATE FUNCTION mallory.attack(place text) RETURNS boolean LANGUAGE plpgsql AS \$\$
DECLARE
	attack text;
	outcome text;
BEGIN
	FOREACH attack IN ARRAY ARRAY[$attacks] LOOP
		BEGIN
			EXECUTE attack;
			outcome := 'done';
		EXCEPTION WHEN OTHERS THEN
			outcome := SQLSTATE;
		END;
		INSERT INTO public.outcome VALUES (place, attack, outcome);
	END LOOP;
	RETURN true;
END \$\$
SQL
$mallory->sql(<<'SQL');
CREATE FUNCTION mallory.slot(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM mallory.attack('slot function');
	slot := extract(epoch FROM at) * 1000000;
END $$
SQL
add($admin, 'supers', q{SELECT '"super"'::jsonb});
$admin->sql('SELECT pg_advisory_lock(1)');

my %place = (
	command => sub { add($mallory, 'evil', q{SELECT mallory.attack('command')}) },
	filter  => sub { add($mallory, 'evil', q{SELECT $1 || '1'}, q{mallory.attack('filter')}) },
	'slot function' => sub {
		add($mallory, 'evil', q{SELECT $1 || '1'});
		$mallory->sql(q{SELECT evsched.set_slot_function('mallory.slot', 'evil')});
	},
	nested => sub {
		add($mallory, 'nested', q{SELECT mallory.attack('nested')});
		add($mallory, 'evil', q{SELECT evsched.run_rules($1, 'nested')});
	});

for my $place (sort keys %place)
{
	$place{$place}->();
	my $before = $admin->sql($myself);
	$admin->sql('BEGIN');
	$admin->sql('SET CONSTRAINTS ALL DEFERRED');
	my $reply = $admin->try(q{SELECT evsched.run_rules('[]', 'evil')});
	is($reply->{error}, undef, "a superuser runs rules with an evil $place");
	is($admin->sql($myself), $before, 'in his transaction he is and may what he did');
	$admin->sql('COMMIT');
	is($admin->sql($myself), $before, 'and after it');
	is_deeply(
		[
			map { "$_->[0] ($_->[1])" } $admin->rows("SELECT attack, who FROM outcome WHERE place = '$place'
				AND (outcome = 'done' OR who <> 'mallory')")
		],
		[],
		'nothing was done, nor as anybody else');
	is( $admin->sql("SELECT count(DISTINCT attack) FROM outcome WHERE place = '$place'"),
		scalar @attacks,
		'all was tried');
	is_deeply([ $admin->rows(q{SELECT * FROM outcome WHERE place = 'trigger' AND who <> 'mallory'}) ],
		[], 'no trigger was called by the superuser');
	clear($mallory, 'evil');
}
is($admin->sql('SELECT count(*) FROM secret'), 0, 'nobody got at the secret');
is($admin->sql(q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}),
	'f', 'nor has become a superuser');
is($admin->sql(q{SELECT evsched.run_rules(NULL, 'supers')}),
	'"super"', 'the rules of others are as they were');
is($admin->sql('SELECT pg_advisory_unlock(1)'), 't', 'so is the session');

# A command of its own for what a function could not do, or what would be seen later.
sub runs
{
	my ($command, $name) = @_;
	my $before = $admin->sql($myself);
	my $id     = add($mallory, 'evil', $command);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$admin->sql('BEGIN');
	my $reply = $admin->try(q{SELECT evsched.run_rules('[]', 'evil')});
	$admin->sql('COMMIT');
	is($reply->{error},      undef,   "$name: run");
	is($admin->sql($myself), $before, 'nothing of it is left in the session');
	clear($mallory, 'evil');
	my ($run) = $jobs->runs($id);
	return $run->{sqlstate} // 'done';
}

for my $command (
	'INSERT INTO mallory.late VALUES (1)',
	'SET CONSTRAINTS ALL DEFERRED; INSERT INTO mallory.later VALUES (1)',
	"SET ROLE $super",
	'CREATE TEMP TABLE left_behind (n int)',
	"BEGIN; SET ROLE $super",
	'COMMIT',
	'ROLLBACK',
	'SAVEPOINT s',
	'ROLLBACK TO s',
	'PREPARE TRANSACTION \'evil\'',
	'DO $$ BEGIN COMMIT; END $$',
	'DO $$ BEGIN ROLLBACK; END $$',
	'COPY mallory.late FROM STDIN',
	'COPY mallory.late TO STDOUT',
	'VACUUM mallory.late',
	'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE')
{
	isnt(runs($command, $command), 'done', 'it is refused');
}
is_deeply([ $admin->rows(q{SELECT * FROM outcome WHERE place = 'trigger' AND who <> 'mallory'}) ],
	[], 'no trigger was called by the superuser');

# A query of hers that would be run by whoever fetches from it.
$mallory->sql(<<'SQL');
CREATE FUNCTION mallory.fetched() RETURNS text LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO public.outcome VALUES ('fetched', '', 'called'); RETURN current_user; END $$
SQL
for my $command (
	'DECLARE evil CURSOR FOR SELECT mallory.fetched()',
	q{DO $$ DECLARE c refcursor := 'evil'; BEGIN OPEN c FOR SELECT mallory.fetched(); END $$})
{
	add($mallory, 'evil', $command);
	$admin->sql('BEGIN');
	$admin->sql(q{SELECT evsched.run_rules('[]', 'evil')});
	my $reply = $admin->try('FETCH evil');
	$admin->sql('COMMIT');
	is($reply->{rows}[0][0] // 'mallory', 'mallory', "$command: is not run by the caller");
	clear($mallory, 'evil');
}
is_deeply([ $admin->rows(q{SELECT * FROM outcome WHERE place = 'fetched' AND who <> 'mallory'}) ],
	[], 'nor is what it calls');

# Settings, by all ways, also of a command that fails.
for my $command (
	q{SET search_path = mallory, public},
	q{SET LOCAL search_path = mallory, public},
	q{SELECT set_config('search_path', 'mallory', false)},
	q{UPDATE pg_settings SET setting = 'mallory' WHERE name = 'search_path'},
	q{SET standard_conforming_strings = off; SET default_transaction_read_only = on},
	q{SET transaction_read_only = on},
	q{SET statement_timeout = 1; SET lock_timeout = 1; SET idle_in_transaction_session_timeout = 1},
	q{SET row_security = off; SET check_function_bodies = off; SET enable_seqscan = off},
	q{SET mallory.behind = 'left'},
	q{SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET client_min_messages = 'error'},
	'RESET ALL',
	'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
	q{CREATE FUNCTION mallory.sets() RETURNS void LANGUAGE plpgsql AS 'BEGIN SET work_mem = 64; END'; SELECT mallory.sets()})
{
	$admin->sql(q{SET work_mem = '5MB'});
	runs($command,                  $command);
	runs("$command; SELECT 1 / 0", "$command, and fails");
}
$admin->sql('RESET work_mem');

# The response: a value, of which nothing is called by the caller.
$mallory->sql($_) for 'CREATE TYPE mallory.thing AS (a int)',
  <<'SQL', 'CREATE CAST (mallory.thing AS jsonb) WITH FUNCTION mallory.cast_thing AS IMPLICIT', <<'SQL';
CREATE FUNCTION mallory.cast_thing(mallory.thing) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO public.outcome VALUES ('cast', '', 'called'); RETURN '1'; END $$
SQL
CREATE FUNCTION mallory.check_thing(jsonb) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO public.outcome VALUES ('domain', '', 'called'); RETURN true; END $$
SQL
$mallory->sql('CREATE DOMAIN mallory.response AS jsonb CHECK (mallory.check_thing(VALUE))');
for my $command ('SELECT ROW(1)::mallory.thing', q{SELECT '1'::mallory.response},
	q{SELECT 1 AS a, mallory.attack('second column')}, q{SELECT NULL::mallory.response})
{
	is(runs($command, $command), 'done', 'a response');
}
is($admin->sql(q{SELECT count(*) FROM outcome WHERE who <> 'mallory' AND place <> 'fetched'}),
	0, 'nothing was called by the superuser');

# What it posts is its own.
add($mallory, 'evil', q{SELECT evsched.post('1', '1 h', 'evil'), evsched.after('1 h', 'SELECT 1')});
$admin->sql(q{SELECT evsched.run_rules(NULL, 'evil')});
is($admin->sql(q{SELECT string_agg(DISTINCT owner, ' ') FROM evsched.events}),
	'mallory', 'what it posts is its own');
clear($mallory, 'evil');

# An error of a slot function, caught by the caller: he is himself again.
$mallory->sql(<<'SQL');
CREATE FUNCTION mallory.fails(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE plpgsql AS $$
BEGIN
	SET work_mem = 77;
	SET search_path = mallory;
	RAISE EXCEPTION 'evil';
END $$
SQL
add($mallory, 'evil', q{SELECT $1 || '1'});
$mallory->sql(q{SELECT evsched.set_slot_function('mallory.fails', 'evil')});
my $before = $admin->sql($myself);
$admin->sql('BEGIN');
$admin->sql(<<'SQL');
DO $$ BEGIN PERFORM evsched.run_rules(NULL, 'evil'); EXCEPTION WHEN raise_exception THEN NULL; END $$
SQL
is($admin->sql($myself), $before, 'after an error of its slot function the caller is himself');
$admin->sql('COMMIT');
like($admin->try(q{SELECT evsched.run_rules(NULL, 'evil')})->{error}, qr/evil/, 'which is told');
is($admin->sql($myself), $before, 'also when nobody has caught it');
clear($mallory, 'evil');

#
# The caller is hostile.
#
$alice->sql($_) for 'CREATE TABLE alice.log (n serial, what text, who text DEFAULT current_user)',
  'CREATE TABLE alice.guarded (what text)', 'ALTER TABLE alice.guarded ENABLE ROW LEVEL SECURITY',
  'ALTER TABLE alice.guarded FORCE ROW LEVEL SECURITY', 'CREATE POLICY all_of_it ON alice.guarded USING (true)',
  q{CREATE FUNCTION alice.mark(text) RETURNS text LANGUAGE sql AS $$ SELECT $1 || '!' $$},
  <<'SQL';
CREATE FUNCTION alice.slot(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE plpgsql AS $$
BEGIN
	slot := (SELECT coalesce(max(n), 0) FROM log) + length(mark('')) - 1;
	name := lower(identifier);
END $$
SQL
$alice->sql('SET search_path = alice, public');
$alice->sql(q{SELECT evsched.set_slot_function('alice.slot', 'alices')});
add(
	$alice, 'alices',
	q{INSERT INTO log (what) SELECT upper(mark($1->>'a')) || '\' || (SELECT count(*) FROM guarded)
		WHERE 1 = 1 AND 'a'::text = 'a'::text AND now() IS NOT NULL RETURNING to_jsonb(concat(what, ' ', who))},
	q{$1 ? 'a' AND ($1->>'a') = lower('A') AND (($1->>'no') = NULL) IS NULL});
$alice->sql(q{SELECT evsched.grant_rules('alices', 'mallory')});
my $expected = $alice->sql(q{SELECT evsched.run_rules('{"a": "a"}', 'alices')});
is($expected, q{"A!\\\\0 alice"}, 'alice runs her rule');

$mallory->sql(<<'SQL');
DO $do$
DECLARE
	place text;
	f text;
	op text;
	a text;
BEGIN
	FOREACH place IN ARRAY '{mallory, pg_temp}'::text[] LOOP
		FOREACH f IN ARRAY '{upper(text), lower(text), mark(text), now(), length(text), to_jsonb(anyelement), concat(text&text&text), int8(int), max(int), count(int)}'::text[] LOOP
			EXECUTE format('CREATE FUNCTION %s.%s RETURNS text LANGUAGE plpgsql COST 0.0001 AS $f$ BEGIN RAISE EXCEPTION ''trapped''; END $f$', place, replace(f, '&', ','));
		END LOOP;
		FOREACH a IN ARRAY '{text, int, jsonb}'::text[] LOOP
			EXECUTE format('CREATE FUNCTION %s.trap(%s, %s) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $f$ BEGIN RAISE EXCEPTION ''trapped''; END $f$', place, a, a);
			FOREACH op IN ARRAY '{=, ||, +, -}'::text[] LOOP
				EXECUTE format('CREATE OPERATOR %s.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %s.trap)', place, op, a, a, place);
			END LOOP;
		END LOOP;
		EXECUTE format('CREATE FUNCTION %s.trap(jsonb, text) RETURNS text LANGUAGE plpgsql COST 0.0001 AS $f$ BEGIN RAISE EXCEPTION ''trapped''; END $f$', place);
		EXECUTE format('CREATE OPERATOR %s.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = %s.trap)', place, place);
		FOREACH a IN ARRAY '{log, guarded, rule, rule_set, rule_slot, pg_proc, pg_class}'::text[] LOOP
			EXECUTE format('CREATE TABLE %s.%I (n int, what text, who text)', place, a);
			EXECUTE format('GRANT ALL ON %s.%I TO PUBLIC', place, a);
		END LOOP;
		EXECUTE format('CREATE DOMAIN %s.int8 AS pg_catalog.text', place);
	END LOOP;
END $do$
SQL

# Everything that a caller can set before.
my @settings = (
	'SET search_path = pg_temp, mallory, pg_catalog, public',
	'SET search_path = mallory, pg_temp, pg_catalog',
	'SET standard_conforming_strings = off',
	'SET backslash_quote = on',
	'SET transform_null_equals = on',
	'SET row_security = off',
	'SET array_nulls = off',
	q{SET DateStyle = 'SQL, DMY'},
	q{SET IntervalStyle = 'sql_standard'},
	q{SET TimeZone = 'Pacific/Auckland'},
	q{SET client_encoding = 'LATIN1'},
	'SET quote_all_identifiers = on',
	'SET default_transaction_deferrable = on',
	q{SET plan_cache_mode = 'force_generic_plan'},
	'SET enable_seqscan = off',
	q{SET client_min_messages = 'debug1'},
	q{SET bytea_output = 'escape'},
	'SET check_function_bodies = off',
	'SET default_tablespace = \'\'',
	q{SET constraint_exclusion = on},
	q{SET escape_string_warning = off},
	q{SET plpgsql.check_asserts = off},
	'SET extra_float_digits = -15',
	'SET work_mem = 64');
for my $setting (@settings)
{
	$mallory->sql($setting);
	my $reply = $mallory->try(q{SELECT evsched.run_rules('{"a": "a"}', 'alices')});
	is($reply->{error} // $reply->{rows}[0][0], $expected, "$setting: alice's rule is what it was");
	like($mallory->sql('SELECT pg_catalog.current_setting(\'search_path\')'),
		$setting =~ /search_path = (.*)/ ? qr/^\Q$1\E$/ : qr/public/,
		'so is what the caller has set');
	$mallory->sql('RESET ALL');
}
$mallory->sql($_) for @settings;
my $reply = $mallory->try(q{SELECT evsched.run_rules('{"a": "a"}', 'alices')});
is($reply->{error} // $reply->{rows}[0][0], $expected, 'all of them');
is($mallory->sql('SELECT pg_catalog.count(*) FROM pg_temp.log'), 0, 'nothing is in what she has put there');
$mallory->sql('RESET ALL');
is($alice->sql(q{SELECT string_agg(DISTINCT who, ' ') FROM alice.log}), 'alice', 'all is done as alice');
is($alice->sql(q{SELECT count(*) FROM evsched.run}), 0, 'nothing has failed');

# A caller that has rights of hers taken away meanwhile, or looks where she may not.
for my $statement (
	'SELECT * FROM alice.log',
	'SELECT * FROM evsched.rule',
	'SELECT * FROM evsched.rule_set',
	'SELECT * FROM evsched.rule_slot',
	'SELECT * FROM evsched.rule_grant',
	q{INSERT INTO evsched.rule_grant VALUES ('alices', 1)},
	q{SELECT evsched.add_rule('rule', '1 us', 'SELECT 1', rule_set => 'alices')},
	q{SELECT evsched.set_slot_function('mallory.slot', 'alices')},
	'SET ROLE alice')
{
	is($mallory->try($statement)->{sqlstate}, '42501', "$statement is not for the caller");
}
is($mallory->sql(q{SELECT count(*) FROM evsched.rules WHERE rule_set = 'alices'}), 0, 'she does not see what she runs');
add($alice, 'alices', q{SELECT 1 / 0 AS confidential});
$mallory->sql(q{SELECT evsched.run_rules('{"a": "a"}', 'alices')});
is($mallory->sql(q{SELECT count(*) FROM evsched.run WHERE owner <> 'mallory'}), 0, 'nor what has failed');
is($alice->sql('SELECT count(*) FROM evsched.run'), 1, 'its owner does');
$alice->sql(q{SELECT evsched.revoke_rules('alices', 'mallory')});
is($mallory->try(q{SELECT evsched.run_rules(NULL, 'alices')})->{sqlstate}, '42501', 'revoked, she runs nothing');

# A job that runs rules is its poster's: they neither see nor move its event.
$mallory->sql(q{CREATE TABLE mallory.seen (id bigint, payload text)});
$mallory->sql(q{SELECT evsched.load_rules('[]', 'spies')});
add($mallory, 'spies', q{INSERT INTO mallory.seen SELECT id, payload FROM evsched.current_event()});
add($mallory, 'spies', q{SELECT evsched._go_on('{"evil": true}', '1 h')});
$mallory->sql(q{SELECT evsched.grant_rules('spies', 'alice')});
my $job = $alice->sql(q{SELECT evsched.after('0', $$SELECT evsched.run_rules(NULL, 'spies')$$, '{"password": "secret"}')});
wait_until(
	sub { ($alice->sql("SELECT state FROM evsched.result($job)") // '') eq 'succeeded' },
	'the job to have run');
is($alice->sql("SELECT count(*) FROM evsched.events WHERE id = $job"), 0, 'its event is done');
is($mallory->sql(q{SELECT string_agg(coalesce(id::text, 'none') || coalesce(payload, ''), ' ') FROM mallory.seen}),
	'none', 'a rule does not see whose job it is in');
is( $mallory->sql(q{SELECT message FROM evsched.run WHERE command LIKE '%_go_on%' ORDER BY run_id DESC LIMIT 1}),
	'evsched._go_on() is called by the steps of coroutines',
	'nor can it move it');

nothing_early();
done_testing();

# A job runs as its owner and as nobody else, leaves nothing behind for the next one, and
# does not run at all while its owner might not do it.
use strict;
use warnings;

use Evsched      qw(session nothing_early wait_until);
use Evsched::Job qw(call quote trace gate_command);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $jobs = Evsched::Job->new(
	'identity',
	roles => [qw(ann bob)],
	conf  => "evsched.worker_idle_timeout = 10min\n");
my $super = $jobs->sql('SELECT current_user');
$jobs->sql('CREATE ROLE band');
$jobs->sql('GRANT band TO ann');
$jobs->sql('GRANT CREATE ON SCHEMA public TO ann, bob');
$jobs->sql('CREATE TABLE secret (n int)');

sub ann_job
{
	my ($command, %options) = @_;
	return $jobs->enqueue(
		$command,
		session => $jobs->session_of('ann'),
		pool    => 'active',
		%options);
}

sub bob_job
{
	my ($command, %options) = @_;
	return $jobs->enqueue(
		$command,
		session => $jobs->session_of('bob'),
		pool    => 'active',
		%options);
}

# A job of ann that is run, and one that fails with that sqlstate.
sub ann_runs
{
	my ($command, $name) = @_;
	my $id = ann_job($command);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$jobs->has_runs($id, 'succeeded', $name)
	  || diag($jobs->last_run($id)->{message} // '');
	return $id;
}

sub ann_fails
{
	my ($command, $sqlstate, $name) = @_;
	my $id = ann_job($command);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$jobs->has_runs($id, 'failed', $name);
	is($jobs->last_run($id)->{sqlstate}, $sqlstate, 'with its sqlstate');
	return $id;
}

my $who =
  q(INSERT INTO trace (what) SELECT current_user || '/' || session_user || '/' || current_setting('is_superuser') || '/' || current_setting('role'));

#
# Who it is.
#
$jobs->story(
	'who a job is',
	sub {
		ann_runs($who, 'a job of ann');
		is($jobs->traces, 'ann/ann/off/none', 'is ann, and nobody else behind her');
		$jobs->sql('TRUNCATE trace');
		$jobs->sql('SET ROLE ann');
		my $id = $jobs->enqueue($who);
		$jobs->sql('RESET ROLE');
		$jobs->has_runs($id, 'succeeded', 'a job that a superuser posts as ann');
		is($jobs->traces, 'ann/ann/off/none', 'is ann\'s');
		is($jobs->sql("SELECT owner FROM evsched.run WHERE event_id = $id"),
			'ann', 'her run, too');
		$jobs->sql('TRUNCATE trace');
		$id = $jobs->enqueue($who);
		$jobs->has_runs($id, 'succeeded', 'a superuser\'s job');
		is($jobs->traces, "$super/$super/on/none", 'is a superuser\'s');
		$jobs->sql('TRUNCATE trace');

		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);

		# The owner of a SECURITY DEFINER function that posts.
		$bob->sql($_)
		  for
		  q(CREATE FUNCTION bobs_posts(c text) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
			AS 'SELECT evsched.enqueue(c)'), 'GRANT EXECUTE ON FUNCTION bobs_posts TO ann';
		$id = $ann->sql('SELECT bobs_posts(' . quote($who) . ')');
		$jobs->has_runs($id, 'succeeded', 'a job that a function of bob\'s has posted');
		is($jobs->traces, 'bob/bob/off/none', 'is bob\'s');
		$jobs->sql('TRUNCATE trace');

		# What a job posts.
		ann_runs(call('enqueue', command => $who, pool => 'active'),
			'a job of ann posts another');
		$jobs->wait_traces(1);
		is($jobs->traces, 'ann/ann/off/none', 'it is hers');
		$jobs->sql('TRUNCATE trace');
		ann_runs('SET ROLE band; ' . $who . '; RESET ROLE; ' . $who,
			'she may be whom she is a member of');
		is($jobs->traces, 'band/ann/off/band ann/ann/off/none', 'and is herself again');
		ann_runs('SET ROLE band', 'she leaves that behind');
		$jobs->sql('TRUNCATE trace');
		ann_runs($who, 'the next job');
		is($jobs->traces, 'ann/ann/off/none', 'is ann\'s again');
	});

$jobs->story(
	'no way to another role',
	sub {
		for my $statement (
			'RESET ROLE',
			'SET ROLE none',
			'SET ROLE ann',
			'RESET SESSION AUTHORIZATION',
			'SET SESSION AUTHORIZATION DEFAULT',
			'SET SESSION AUTHORIZATION ann',
			'RESET ALL')
		{
			$jobs->sql('TRUNCATE trace');
			ann_runs("$statement; $who", $statement);
			like($jobs->traces, qr{^ann/ann/off/(none|ann)$}, 'makes nobody of her');
		}
		for my $role ($super, 'bob')
		{
			ann_fails("SET ROLE $role; $who", '42501', "SET ROLE $role");
			ann_fails(
				"SET SESSION AUTHORIZATION $role; $who",
				'42501',
				"SET SESSION AUTHORIZATION $role");
			ann_fails("RESET SESSION AUTHORIZATION; SET ROLE none; SET ROLE $role; $who",
				'42501', 'after others');
		}
		ann_fails('INSERT INTO secret VALUES (1)', '42501', 'what she may not write');
		ann_fails('SELECT * FROM secret',          '42501', 'or read');
		ann_fails(q(SELECT pg_read_file('PG_VERSION')),
			'42501', 'or only a superuser may');
		ann_fails(q(COPY trace TO PROGRAM 'true'), '42501', 'or do');
		for my $table (
			qw(event dead run_record error_handler recurrence role control queue))
		{
			ann_fails(
				"DELETE FROM evsched.$table",
				'42501',
				"she cannot write evsched.$table");
		}
		ann_fails(q(INSERT INTO evsched.event (command, owner) VALUES ('SELECT 1', 1)),
			'42501', 'nor post for others');
		ann_fails('SET session_replication_role = replica',
			'42501', 'nor turn triggers off');

		my $ann = $jobs->session_of('ann');

		# Code of hers that runs after her command.
		$ann->sql($_)
		  for 'CREATE TABLE ann_table (n int)',
		  <<'SQL', <<'SQL', 'GRANT INSERT ON ann_table TO PUBLIC';
CREATE FUNCTION ann_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO trace (what) VALUES (current_user || '/' || session_user);
	BEGIN
		INSERT INTO secret VALUES (1);
	EXCEPTION WHEN insufficient_privilege THEN NULL;
	END;
	RETURN NULL;
END $$
SQL
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON ann_table DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION ann_trigger()
SQL
		$jobs->sql('TRUNCATE trace');
		ann_runs('INSERT INTO ann_table VALUES (1)',
			'a trigger at the commit of her job');
		is($jobs->traces,                             'ann/ann', 'runs as ann');
		is($jobs->sql('SELECT count(*) FROM secret'), 0,         'with no more rights');
		my $handled = ann_job('INSERT INTO ann_table VALUES (1); SELECT 1 / 0');
		$jobs->has_runs($handled, 'failed', 'and not at all when it fails');

		# A search_path of hers, and what lies on it, kept in her settings.
		$jobs->sql('CREATE SCHEMA evil AUTHORIZATION ann');
		$ann->sql($_)
		  for q(CREATE FUNCTION evil.trap() RETURNS void LANGUAGE plpgsql AS $$
			BEGIN INSERT INTO public.trace (what) VALUES ('trap:' || current_user);
			BEGIN INSERT INTO public.secret VALUES (1); EXCEPTION WHEN OTHERS THEN NULL; END; END $$),
		  q(CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT evil.trap(); SELECT pg_catalog.clock_timestamp()'),
		  q(CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT evil.trap(); SELECT pg_catalog.now()'),
		  q(CREATE FUNCTION evil.eq(bigint, bigint) RETURNS bool LANGUAGE sql AS 'SELECT evil.trap(); SELECT $1 OPERATOR(pg_catalog.=) $2'),
		  q(CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.eq)),
		  q(CREATE FUNCTION evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS 'SELECT evil.trap(); SELECT pg_catalog.to_jsonb($1)'),
		  q(CREATE TABLE evil.event AS SELECT 1 AS id),
		  q(CREATE TABLE evil.pg_class AS SELECT 1 AS oid),
		  'ALTER ROLE ann SET search_path = evil, pg_catalog, public';
		$jobs->sql(
			q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker' AND usename = 'ann')
		);
		$jobs->sql('TRUNCATE trace RESTART IDENTITY');
		my $id = ann_runs('SET search_path = evil, pg_catalog, public; SELECT 7 AS n',
			'a search_path of hers');
		$jobs->gone($id);
		is($jobs->sql("SELECT result FROM evsched.result($id)"), 7, 'changes nothing');
		is($jobs->traces, '', 'nothing that lies on it is run by the worker');
		$id = ann_runs('SHOW search_path', 'settings of the role');
		is( $jobs->sql("SELECT result #>> '{}' FROM evsched.result($id)"),
			'evil, pg_catalog, public',
			'hold in its jobs');
		$id = ann_fails('SELECT 1 / 0', '22012', 'one that fails');
		is($jobs->traces,                             '', 'does not run it either');

		# Nor do steps of coroutines, what is asked of her workers, rules in a job, and watches.
		$ann->sql(<<'SQL');
CREATE FUNCTION evil.step(given jsonb, OUT state jsonb, OUT sleep interval)
LANGUAGE plpgsql AS $$
BEGIN
	state := coalesce(given, '[]') || pg_catalog.to_jsonb(current_user::text);
	IF given IS NULL THEN
		sleep := '1 ms';
	END IF;
END $$
SQL
		$id = $ann->sql(q(SELECT evsched.coroutine('evil.step', NULL, 'active')));
		$jobs->has_runs($id, 'succeeded succeeded', 'a coroutine of hers');
		$jobs->gone($id);
		is($jobs->sql("SELECT result FROM evsched.result($id)"),
			'["ann", "ann"]', 'its steps are ann');
		is($ann->sql(q(SELECT result FROM evsched.map('current_user::text', 'active', '1 min'))),
			'"ann"', 'so is the worker that map asks');
		$ann->sql(q(SELECT evsched.add_rule('r', '1 us', 'SELECT to_jsonb(current_user::text)')));
		$id = ann_runs('SELECT evsched.run_rules()', 'rules of hers in a job');
		$jobs->gone($id);
		is($jobs->sql("SELECT result FROM evsched.result($id)"), '"ann"', 'run as ann');
		$ann->sql(q(SELECT evsched.load_rules('[]')));
		my $watch = $ann->sql(q(SELECT evsched.watch_channel('anns', 'SELECT current_user::text')));
		wait_until(
			sub {
				$jobs->session_of('bob')->sql(q(NOTIFY anns, 'bob'));
				($jobs->sql("SELECT result FROM evsched.result($watch)") // '') eq '"ann"';
			},
			'a job of a watch of hers to run as ann');
		pass('so does what a watch of hers has heard');
		$ann->sql("SELECT evsched.cancel($watch)");
		is($jobs->traces, '', 'nothing that lies there is run by the worker');
		is($jobs->sql('SELECT count(*) FROM secret'), 0,  'nobody has got at anything');
		$jobs->sql('ALTER ROLE ann RESET search_path');
		$jobs->sql(
			q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker' AND usename = 'ann')
		);

		# What is not hers to say.
		for my $statement (
			'SELECT evsched.start()',
			'SELECT evsched.stop()',
			'SELECT evsched.force_stop()',
			q(SELECT evsched.grant_usage('bob')),
			q(SELECT evsched.pause_queue('passive')))
		{
			ann_fails($statement, '42501', "$statement is not for her");
		}
	});

#
# What one job leaves, the next does not find.
#
$jobs->story(
	'a clean session',
	sub {
		my %clean = (
			'SET work_mem = \'77MB\'' =>
			  [ q(current_setting('work_mem')), $jobs->sql('SHOW work_mem') ],
			'SET custom.variable = \'left\'' =>
			  [ q(coalesce(current_setting('custom.variable', true), '')), '' ],
			'SET search_path = pg_catalog' =>
			  [ q(current_setting('search_path')), '"$user", public' ],
			'SET statement_timeout = 1' =>
			  [ q(current_setting('statement_timeout')), '0' ],
			'SET lock_timeout = 1' => [ q(current_setting('lock_timeout')), '0' ],
			'SET default_transaction_read_only = on' =>
			  [ q(current_setting('transaction_read_only')), 'off' ],
			'SET TRANSACTION READ ONLY' =>
			  [ q(current_setting('transaction_read_only')), 'off' ],
			'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE' =>
			  [ q(current_setting('transaction_isolation')), 'read committed' ],
			'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ' =>
			  [ q(current_setting('transaction_isolation')), 'read committed' ],
			q(SET TimeZone = 'Asia/Tokyo') =>
			  [ q(current_setting('TimeZone')), $jobs->sql('SHOW TimeZone') ],
			q(SET client_encoding = 'LATIN1') =>
			  [ q(current_setting('client_encoding')), undef ],
			q(SET application_name = 'mine') =>
			  [ q((current_setting('application_name') = 'mine')::text), 'false' ],
			'SET synchronous_commit = off' =>
			  [ q(current_setting('synchronous_commit')), 'on' ],
			'SET row_security = off' => [ q(current_setting('row_security')), 'on' ],
			'SET jit = off' => [ q(current_setting('jit')), $jobs->sql('SHOW jit') ],
			q(PREPARE left_behind AS SELECT 1) => [
				q((SELECT count(*) FROM pg_prepared_statements WHERE from_sql)::text),
				'0'
			],
			q(CREATE TEMP TABLE left_behind (n int)) =>
			  [ q(coalesce(to_regclass('pg_temp.left_behind')::text, '')), '' ],
			q(CREATE FUNCTION pg_temp.left_behind() RETURNS int LANGUAGE sql AS 'SELECT 1')
			  => [ q(coalesce(to_regproc('pg_temp.left_behind')::text, '')), '' ],
			'SELECT pg_advisory_lock(4711)' => [
				q((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid IN (2, 4711))::text),
				'0'
			],
			'SELECT pg_advisory_lock_shared(1, 2)' => [
				q((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid IN (2, 4711))::text),
				'0'
			],
			'DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1' =>
			  [ q((SELECT count(*) FROM pg_cursors)::text), undef ],
			'SET ROLE band'                 => [ 'current_user::text', 'ann' ],
			'SET SESSION AUTHORIZATION ann' => [ 'session_user::text', 'ann' ],
			q(SELECT set_config('custom.other', 'left', false)) =>
			  [ q(coalesce(current_setting('custom.other', true), '')), '' ],
			q(SET plpgsql.extra_warnings = 'all') =>
			  [ q(coalesce(current_setting('plpgsql.extra_warnings', true), '')), undef ],
		);
		my $look = sub {
			my ($expression) = @_;
			my $id = ann_job("SELECT jsonb_build_array($expression, pg_backend_pid())");

			$jobs->wait_gone($id);
			my $result = $jobs->sql("SELECT result FROM evsched.result($id)");
			return
			  defined $result
			  ? @{ JSON::PP::decode_json($result) }
			  : ($jobs->last_run($id)->{message}, 0);
		};
		my $same = 0;
		for my $command (sort keys %clean)
		{
			my ($expression, $expected) = @{ $clean{$command} };
			my ($before,     $pid)      = $look->($expression);

			is($before, $expected, "$command: $expression before") if defined $expected;
			for my $end ('', '; SELECT 1 / 0')
			{
				my $id = ann_job($command . $end);
				$jobs->wait_gone($id);

				# What a transaction must begin with may come too late.
				like(
					$jobs->states($id),
					$end                             ? qr/^failed$/
					: $command =~ /^SET TRANSACTION/ ? qr/^(succeeded|failed)$/
					: qr/^succeeded$/,
					"$command$end has run"
				) || diag($jobs->last_run($id)->{message} // '');
				my ($after, $pid_after) = $look->($expression);
				is($after, $before, "$command$end: the next job does not see it");
				$same++ if $pid_after == $pid;
			}
		}
		cmp_ok($same, '>', 0, 'and that in the same worker');

		# In a procedure that commits on the way, too.
		ann_runs(
			q(DO $$ BEGIN PERFORM pg_advisory_lock(4711); SET work_mem = '77MB'; COMMIT; END $$),
			'in steps');
		my ($locks) = $look->(
			q((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711))
		);
		is($locks, 0, 'its locks are gone');
		my ($memory) = $look->(q(current_setting('work_mem')));
		is($memory, $jobs->sql('SHOW work_mem'), 'its settings, too');

		# Sequences, and a seed.
		$jobs->session_of('ann')->sql('CREATE SEQUENCE ann_sequence');
		ann_runs(q(SELECT nextval('ann_sequence')), 'a sequence');
		my $none = ann_job('SELECT lastval()');
		$jobs->has_runs($none, 'failed', 'the next job has none');
		ann_runs(q(SELECT nextval('ann_sequence'); SELECT lastval()), 'but of its own');
		ann_runs('SET CONSTRAINTS ALL IMMEDIATE; UNLISTEN *',         'and so on');

		# Between the jobs the worker holds nothing.
		my ($worker) = $jobs->workers('ann');
		$jobs->becomes("SELECT count(*) FROM pg_locks WHERE pid = $worker",
			0, 'an idle worker holds no lock');
		$jobs->becomes(
			"SELECT coalesce(backend_xmin::text, '') || coalesce(backend_xid::text, '') FROM pg_stat_activity WHERE pid = $worker",
			'',
			'and holds back no vacuum');
	});

# What holds for a role in its jobs is no obstacle to what the worker does besides.
$jobs->story(
	'settings of a role',
	sub {
		my $restart = sub {
			$jobs->sql(
				q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker')
			);
		};
		for my $setting (
			q(default_transaction_read_only = 'on'),
			q(statement_timeout = '1ms'),
			q(lock_timeout = '1ms'),
			q(default_transaction_isolation = 'serializable'),
			q(default_transaction_isolation = 'repeatable read'),
			q(row_security = 'off'),
			q(idle_in_transaction_session_timeout = '1ms'),
			q(idle_session_timeout = '1ms'),
			q(role = 'band'),
			q(bytea_output = 'escape'),
			q(DateStyle = 'German'),
			q(IntervalStyle = 'sql_standard'),
			q(TimeZone = 'Asia/Kolkata'),
			q(default_transaction_deferrable = 'on'),
			q(check_function_bodies = 'off'),
			q(enable_seqscan = 'off'),
			q(jit_above_cost = '0'),
			q(client_min_messages = 'debug5'),
			q(temp_tablespaces = ''),
			q(default_tablespace = ''),
			q(backslash_quote = 'off'),
			q(standard_conforming_strings = 'off'),
			q(quote_all_identifiers = 'on'),
			q(array_nulls = 'off'),
			q(plan_cache_mode = 'force_generic_plan'))
		{
			$jobs->sql("ALTER ROLE ann SET $setting");
			$restart->();
			my $id = ann_runs('SELECT 7', $setting);
			$jobs->gone($id);
			is($jobs->sql("SELECT result FROM evsched.result($id)"), 7,
				'its run is told');
			$id = ann_job('SELECT 1 / 0', max_retries => 1, retry_delay => '0');
			$jobs->has_runs($id, 'failed failed', 'one that fails is retried');
			$jobs->becomes("SELECT sqlstate FROM evsched.dead_event WHERE id = $id",
				'22012', 'and dead');
			$jobs->sql('ALTER ROLE ann RESET ALL');
		}
		$jobs->sql(q(ALTER ROLE ann SET default_transaction_isolation = 'serializable'));
		$restart->();
		$jobs->sql('TRUNCATE trace');
		$jobs->session_of('ann')
		  ->sql('SELECT count(evsched.enqueue('
			  . quote(trace('s'))
			  . ')) FROM generate_series(1, 200)');
		$jobs->becomes('SELECT count(*) FROM evsched.event',
			0, 'two hundred serializable jobs');
		is($jobs->sql('SELECT count(*) FROM trace'), 200, 'do not hinder each other');
		$jobs->sql('ALTER ROLE ann RESET ALL');
		$restart->();
	});

# How many workers have failed so far.
my $exits = sub {
	return
	  scalar(() = slurp_file($jobs->server->logfile) =~
		  /"evsched worker" \(PID \d+\) exited with exit code/g);
};

#
# Rights that are taken away and given back.
#
# A job of ann that is due waits; those of bob go on; it runs when that is undone.
sub waits_for
{
	my ($name, $take, $give, %options) = @_;

	$jobs->story(
		$name,
		sub {
			my $warm = ann_job('SELECT 1');
			$jobs->wait_gone($warm);
			my $id = $jobs->after(
				$options{delay} // '200 ms', trace('ann'),
				session => $jobs->session_of('ann'),
				pool    => 'active');
			my $retried = $jobs->after(
				$options{delay} // '200 ms', trace('ann'),
				session     => $jobs->session_of('ann'),
				max_retries => 3);
			(delete $jobs->{sessions}{ann})->quit;
			my $before = $exits->();
			$jobs->sql($_) for @$take;
			my $bobs = $jobs->after(
				'400 ms', trace('bob'),
				session => $jobs->session_of('bob'),
				pool    => 'active');
			$jobs->has_runs($bobs, 'succeeded', "$name: jobs of others go on");
			is($jobs->states($id), '', 'hers does not run');
			is($jobs->sql("SELECT state FROM evsched.events WHERE id = $id"),
				'ready', 'it waits');
			is($jobs->sql('SELECT count(*) FROM evsched.dead_event'),
				0, 'and does not die');
			my $again = $jobs->enqueue(
				trace('bob'),
				session => $jobs->session_of('bob'),
				pool    => 'active');
			$jobs->has_runs($again, 'succeeded', 'still');
			is($jobs->sql(q(SELECT count(*) FROM trace WHERE what = 'ann')),
				0, 'hers do not run');
			cmp_ok($exits->() - $before,
				'<=', 20, 'no worker is started again and again for them');
			$jobs->sql($_) for @$give;
			$jobs->has_runs($id,      'succeeded', "$name: given back, it runs");
			$jobs->has_runs($retried, 'succeeded', 'the other, too');
			$jobs->gone($id);
			is($jobs->sql(q(SELECT count(*) FROM trace WHERE what = 'ann')), 2, 'once');
		});
	return;
}

waits_for(
	'usage of schema evsched',
	['REVOKE USAGE ON SCHEMA evsched FROM ann'],
	['GRANT USAGE ON SCHEMA evsched TO ann']);
waits_for(
	'usage, by grant_usage',
	['REVOKE ALL ON SCHEMA evsched FROM ann'],
	[q(SELECT evsched.grant_usage('ann'))]);
waits_for('LOGIN', ['ALTER ROLE ann NOLOGIN'], ['ALTER ROLE ann LOGIN']);
waits_for(
	'CONNECT',
	[
		'GRANT CONNECT ON DATABASE postgres TO bob',
		'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC'
	],
	['GRANT CONNECT ON DATABASE postgres TO ann']);
$jobs->sql('GRANT CONNECT ON DATABASE postgres TO PUBLIC');

# A worker that cannot start, or dies before it has begun, is not started again and again.
for my $case (
	[
		'no connections',
		'ALTER DATABASE postgres ALLOW_CONNECTIONS false',
		'ALTER DATABASE postgres ALLOW_CONNECTIONS true'
	],
	[
		'no more connections',
		'ALTER DATABASE postgres CONNECTION LIMIT 1',
		'ALTER DATABASE postgres CONNECTION LIMIT -1'
	])
{
	my ($name, $take, $give) = @$case;

	$jobs->story(
		$name,
		sub {
			my @sessions = ($jobs->session_of('ann'), $jobs->session_of('bob'));
			$jobs->sql(
				q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker')
			);
			$jobs->server->safe_psql('template1', $take);
			my $before = $exits->();
			my $id     = $jobs->enqueue(trace('ann'), session => $sessions[0]);
			my $until  = time + 2;
			wait_until(sub { time >= $until }, 'two seconds to pass');
			cmp_ok($exits->() - $before,
				'<=', 20, "$name: workers are not started again and again");
			$jobs->server->safe_psql('template1', $give);
			$jobs->has_runs($id, 'succeeded', "$name: given back, it runs");
		});
}

$jobs->story(
	'a role without LOGIN',
	sub {
		$jobs->sql(q(SELECT evsched.grant_usage('band')));
		my $session = $jobs->session_of('ann');
		$session->sql('SET ROLE band');
		for my $call (
			call('after',   delay   => '0', command => 'SELECT 1'),
			call('enqueue', command => 'SELECT 1'),
			call('next',    op      => 'SELECT 1', body => 'SELECT 1'),
			call('work',    op      => 'SELECT 1', body => 'SELECT 1'))
		{
			is($session->try($call)->{sqlstate},
				'42501', "a role that may not log in: $call");
		}
		$session->sql('RESET ROLE');
		$jobs->sql('CREATE ROLE stranger LOGIN');
		is( $jobs->session_of('stranger')->try('SELECT evsched.enqueue(\'SELECT 1\')')
			  ->{sqlstate},
			'42501', 'nor one without usage');
	});

$jobs->story(
	'a role that is dropped',
	sub {
		$jobs->sql('CREATE ROLE gone LOGIN');
		$jobs->sql(q(SELECT evsched.grant_usage('gone')));
		my $gone = $jobs->session_of('gone');
		my $warm = $jobs->enqueue(trace('warm'), session => $gone);
		$jobs->wait_gone($warm);
		is(scalar($jobs->workers('gone')), 1, 'it has an idle worker');
		my $id = $jobs->after('200 ms', trace('gone'), session => $gone);
		(delete $jobs->{sessions}{gone})->quit;
		$jobs->sql($_) for 'DROP OWNED BY gone', 'DROP ROLE gone';
		my $bobs =
		  $jobs->after('300 ms', trace('bob'), session => $jobs->session_of('bob'));
		$jobs->has_runs($bobs, 'succeeded', 'jobs of others go on');
		is($jobs->states($id), '', 'its job does not run');
		$jobs->sql('CREATE ROLE gone LOGIN');
		$jobs->sql(q(SELECT evsched.grant_usage('gone')));
		my $new = $jobs->enqueue(trace('heir'), session => $jobs->session_of('gone'));
		$jobs->has_runs($new, 'succeeded', 'a new role of that name has jobs of its own');
		is($jobs->sql(q(SELECT who FROM trace WHERE what = 'heir')),
			'gone', 'which run as that role');
		is($jobs->states($id), '', 'and does not inherit the old one');
		$bobs = $jobs->enqueue(trace('bob'), session => $jobs->session_of('bob'));
		$jobs->has_runs($bobs, 'succeeded', 'nor later');
		is($jobs->traces, 'warm bob heir bob', 'that is all that has run');
	});

$jobs->story(
	'a role that is renamed',
	sub {
		my $warm = ann_job('SELECT 1');
		$jobs->wait_gone($warm);
		my $id = $jobs->after(
			'100 ms',
			'INSERT INTO trace (what) VALUES (current_user)',
			session => $jobs->session_of('ann'));
		(delete $jobs->{sessions}{ann})->quit;
		$jobs->sql('ALTER ROLE ann RENAME TO anna');
		$jobs->has_runs($id, 'succeeded', 'its job runs');
		is($jobs->traces, 'anna', 'under its new name');
		$jobs->sql('ALTER ROLE anna RENAME TO ann');
	});

# What is others' is others'.
$jobs->story(
	'jobs of others',
	sub {
		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
		$jobs->close_gate(1);
		my $waits = $jobs->after('1 h', 'SELECT 1', session => $ann, key => 'k');
		my $runs  = $jobs->enqueue(gate_command(1), session => $ann);
		$jobs->wait_at_gate(1);
		my $run_id = $jobs->last_run($runs)->{run_id};
		for my $call (
			"cancel($waits)",                    "cancel($runs)",
			"cancel('k', 'passive')",            "change_delay($waits, '0')",
			"change_delay('k', '0', 'passive')", "reschedule($waits, '0')",
			"confirm($runs)",                    "reject($runs)",
			"stop_run($run_id)")
		{
			is($bob->sql("SELECT evsched.$call"), 'f', "$call by another role: false");
		}
		is( $bob->try(call('after', delay => '1 h', command => 'SELECT 2', key => 'k'))
			  ->{sqlstate},
			'42501',
			'a key of another role\'s job cannot be taken');
		is( $bob->sql("SELECT count(*) FROM evsched.events WHERE id IN ($waits, $runs)"),
			0, 'nor does he see them');
		is($bob->sql('SELECT payload FROM evsched.peek(' . $waits . ')'),
			undef, 'nor by peek');
		is( $jobs->sql("SELECT count(*) FROM evsched.event WHERE id IN ($waits, $runs)"),
			2, 'both are there');
		$jobs->open_gate(1);
		$jobs->has_runs($runs, 'succeeded', 'the one that runs ends');
		is($ann->sql("SELECT evsched.cancel($waits)"),
			't', 'its owner may cancel the other');
	});

nothing_early();
done_testing();

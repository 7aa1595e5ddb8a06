# Jobs: run once, at or after their time, in order; what a command may be; what one that
# fails becomes; and what is told of runs afterwards.
use strict;
use warnings;

use Evsched      qw(session on_time near nothing_early wait_until);
use Evsched::Job qw(call quote trace gate_command);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $jobs = Evsched::Job->new(
	'job',
	roles => [qw(ann bob)],
	conf  => "wal_level = logical\n");

# The trace of one job that was due then, as an event that has come.
sub came
{
	my ($due, $row) = @_;

	return { at => $row->[1], due => $due, late => $row->[1] - $due };
}

sub due_of
{
	my ($id) = @_;

	return $jobs->sql(
		"SELECT extract(epoch FROM due_at) FROM evsched.events WHERE id = $id");
}

#
# Time and order.
#
$jobs->story(
	'after',
	sub {
		my $id = $jobs->after('200 ms', trace('once'));
		is($jobs->sql("SELECT state FROM evsched.events WHERE id = $id"),
			'scheduled', 'a job is posted');
		my $due = due_of($id);
		my ($row) = $jobs->wait_traces(1);
		on_time(came($due, $row), 'it runs at its time, never before');
		$jobs->gone($id, 'then it is gone');
		is($jobs->states($id), 'succeeded', 'it has run once');
		is($jobs->traces,      'once',      'and done once what it is to do');

		# Again, with a worker that is there already.
		for my $delay (30, 60)
		{
			$id  = $jobs->after("$delay ms", trace($delay));
			$due = due_of($id);
			($row) = grep { $_->[0] eq $delay } $jobs->wait_traces(1 + $delay / 30);
			on_time(came($due, $row), "again, after $delay ms") if defined $due;
		}
		my $negative = $jobs->after('-1 s', trace('negative'));
		$jobs->has_runs($negative, 'succeeded', 'a negative delay: at once');
		is( $jobs->try(call('after', delay => undef, command => 'SELECT 1'))->{sqlstate},
			'22023',
			'no delay is refused');
		for my $command (undef, '')
		{
			is($jobs->try(call('enqueue', command => $command))->{sqlstate},
				'22023', 'no command is refused');
		}
		my $never = $jobs->sql(q(SELECT evsched.after('1 h', 'SELECT 1')));
		is($jobs->sql("SELECT evsched.cancel($never)"), 't', 'one is cancelled');
		cmp_ok($jobs->after('1 h', 'SELECT 1'), '>', $never, 'its id is not used again');
	});

$jobs->story(
	'what is not committed',
	sub {
		my $poster = $jobs->session_of('admin', 'poster');
		$poster->sql('BEGIN');
		my $id =
		  $jobs->enqueue(trace('uncommitted'), session => $poster, pool => 'active');
		my $other = $jobs->enqueue(trace('other'), pool => 'active');
		$jobs->has_runs($other, 'succeeded', 'another job runs');
		is($jobs->traces, 'other', 'one that is not committed does not');
		my $commit = $poster->try('COMMIT');
		$jobs->has_runs($id, 'succeeded', 'it does when it is');
		$poster->sql('BEGIN');
		$jobs->enqueue(trace('rolled back'), session => $poster, pool => 'active');
		$poster->sql('ROLLBACK');
		$other = $jobs->enqueue(trace('last'), pool => 'active');
		$jobs->has_runs($other, 'succeeded', 'another job runs');
		is($jobs->traces, 'other uncommitted last',
			'one that was rolled back never does');
		$poster->sql('BEGIN');
		$id = $jobs->enqueue(trace('prepared'), session => $poster, pool => 'active');
		$poster->sql(q(PREPARE TRANSACTION 'job'));
		$other = $jobs->enqueue(trace('beside'), pool => 'active');
		$jobs->has_runs($other, 'succeeded', 'another job runs');
		is($jobs->states($id), '', 'one that is prepared does not');
		$jobs->sql(q(COMMIT PREPARED 'job'));
		$jobs->has_runs($id, 'succeeded', 'it does when that is committed');
	});

$jobs->story(
	'equal due times',
	sub {
		$jobs->sql(<<'SQL');
DO $do$
BEGIN
	FOR i IN REVERSE 30..1 LOOP
		PERFORM evsched.after('1 h', format('INSERT INTO trace (what) VALUES (%L)', i), pool => 'active');
	END LOOP;
	UPDATE evsched.event SET due_at = clock_timestamp() + '100 ms'::interval * (1 + 0 * id)
	WHERE queue = 'active';
	UPDATE evsched.event SET due_at = (SELECT max(due_at) FROM evsched.event) WHERE queue = 'active';
END $do$
SQL
		my $expected = join(' ', reverse 1 .. 30);
		$jobs->wait_traces(30);
		is($jobs->traces, $expected,
			'pool active: jobs due at the same time run in the order of their ids');

		$jobs->sql('TRUNCATE trace RESTART IDENTITY');
		$jobs->sql(<<'SQL');
SELECT count(evsched.after(format('%s ms', 300 - 20 * i)::interval,
		format('INSERT INTO trace (what) VALUES (%L)', i), pool => 'active'))
FROM generate_series(1, 10) i
SQL
		$jobs->wait_traces(10);
		is( $jobs->traces,
			'10 9 8 7 6 5 4 3 2 1',
			'and others in the order of their times');
	});

#
# What a job knows of itself.
#
$jobs->story(
	'current_event',
	sub {
		is_deeply(
			[
				$jobs->rows(
					'SELECT num_nonnulls(id, recurring, run_id, num_retries, due_at, payload)
					   FROM evsched.current_event()')
			],
			[ [0] ],
			'current_event(): nothing outside of a job');
		$jobs->sql(
			'CREATE TABLE known AS SELECT 0 AS fails, e.* FROM evsched.current_event() e LIMIT 0'
		);
		my $id = $jobs->after('50 ms', <<'SQL', payload => '{"a": [1, null]}');
INSERT INTO known SELECT 0, * FROM evsched.current_event()
SQL
		my $due = $jobs->sql("SELECT due_at FROM evsched.events WHERE id = $id");
		$jobs->has_runs($id, 'succeeded', 'a job asks');
		my $run = $jobs->last_run($id);
		is_deeply(
			[
				$jobs->rows(
					'SELECT id, recurring, run_id, num_retries, due_at, payload FROM known'
				)
			],
			[ [ $id, undef, $run->{run_id}, 0, $due, '{"a": [1, null]}' ] ],
			'inside of one it tells event, run, retries, time and payload');
		$jobs->sql('TRUNCATE known');

 # Of a later try, and from within a function; another job of the same worker has its own.
		$jobs->sql(<<'SQL');
CREATE FUNCTION fail_twice() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF (evsched.current_event()).num_retries < 2 THEN RAISE EXCEPTION 'not yet'; END IF;
	INSERT INTO known SELECT 1, * FROM evsched.current_event();
END $$;
SQL
		$id = $jobs->enqueue(
			'SELECT fail_twice()',
			max_retries => 2,
			retry_delay => '20 ms');
		$jobs->has_runs($id, 'failed failed succeeded', 'one that fails twice');
		is($jobs->sql("SELECT num_retries FROM known WHERE id = $id"),
			2, 'the third try is its second retry');
		is($jobs->sql("SELECT payload FROM known WHERE id = $id"),
			undef, 'no payload: none');
	});

$jobs->story(
	'a job that reschedules itself',
	sub {
		$jobs->sql(
			'CREATE TABLE halving (ms int, due float, at float, run_id bigint, num_retries int)'
		);
		$jobs->sql(<<'SQL');
CREATE FUNCTION halve() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	e record := evsched.current_event();
	n int := (SELECT count(*) FROM halving);
	ms int := 400 / 2 ^ (n + 1);
BEGIN
	INSERT INTO halving VALUES (ms * 2, extract(epoch FROM e.due_at),
		extract(epoch FROM clock_timestamp()), e.run_id, e.num_retries);
	RETURN ms >= 50 AND evsched.reschedule(e.id, ms * '1 ms'::interval);
END $$
SQL
		my $posted = time;
		my $id     = $jobs->after('400 ms', 'SELECT halve()');
		$jobs->has_runs(
			$id,
			'succeeded succeeded succeeded succeeded',
			'it runs four times');
		$jobs->gone($id, 'and is gone when it does not do it again');
		my @rows = $jobs->rows('SELECT * FROM halving ORDER BY at');
		is_deeply(
			[ map { $_->[0] } @rows ],
			[ 400, 200, 100, 50 ],
			'an interval that is halved');
		is_deeply([ map { $_->[4] } @rows ], [ 0, 0, 0, 0 ], 'none of it is a retry');
		my %run_ids = map { $_->[3] => 1 } @rows;
		is(scalar keys %run_ids, 4, 'each is a run of its own');

		for my $row (@rows)
		{
			on_time(came($row->[1], [ '', $row->[2] ]), "after $row->[0] ms: on time");
			near($row->[1], $posted + $row->[0] / 1000, 'as far from the one before');
			$posted = $row->[2];
		}

	 # change_delay is the same; its time is absolute to its own clock, its payload stays.
		$id = $jobs->enqueue(<<'SQL', payload => '1', pool => 'active');
INSERT INTO trace (what) SELECT $1::text || (evsched.current_event()).num_retries;
SELECT (SELECT count(*) FROM trace) < 2 AND evsched.change_delay((evsched.current_event()).id, '10 ms');
SQL
		$jobs->has_runs($id, 'succeeded succeeded', 'change_delay does it, too');
		is($jobs->traces, '10 10', 'with the payload it had');

		# Rolled back with the run.
		$id = $jobs->enqueue(<<'SQL', pool => 'active');
SELECT evsched.reschedule((evsched.current_event()).id, '1 h');
SELECT 1 / 0
SQL
		$jobs->has_runs($id, 'failed', 'one that fails after it');
		$jobs->gone($id, 'is not due again: that was rolled back');
		is($jobs->dead($id)->{sqlstate}, '22012', 'it is dead');
	});

$jobs->story(
	'a job that cancels itself',
	sub {
		my $id = $jobs->enqueue(<<'SQL', max_retries => 3, pool => 'active');
INSERT INTO trace (what) SELECT evsched.cancel((evsched.current_event()).id)::text
SQL
		$jobs->has_runs($id, 'succeeded', 'it succeeds');
		$jobs->gone($id);
		is($jobs->traces, 'true',
			'what it has done stays, and it is told that it is cancelled');
		is_deeply($jobs->dead($id), {}, 'it is not dead');

		$id =
		  $jobs->enqueue(<<'SQL', max_retries => 1, retry_delay => '0', pool => 'active');
INSERT INTO trace (what) SELECT evsched.cancel((evsched.current_event()).id)::text;
SELECT 1 / (evsched.current_event()).num_retries
SQL
		$jobs->has_runs(
			$id,
			'failed succeeded',
			'rolled back with the run, it is retried');
		is($jobs->traces, 'true true', 'and cancelled at last');

		# By confirm and reject a job is not ended.
		$id = $jobs->enqueue(<<'SQL', pool => 'active');
INSERT INTO trace (what) SELECT evsched.confirm(e.id)::text || evsched.reject(e.id)::text
FROM evsched.current_event() e
SQL
		$jobs->has_runs($id, 'succeeded', 'confirm and reject in a job');
		is($jobs->traces, 'true true falsefalse', 'are false');
	});

#
# Failing.
#
$jobs->story(
	'retries and death',
	sub {
		my $command = '/* fails */ SELECT 1 / 0';
		my $id      = $jobs->enqueue(
			$command,
			max_retries => 2,
			retry_delay => '100 ms',
			payload     => '{"p": 1}');
		$jobs->has_runs(
			$id,
			'failed failed failed',
			'a job that fails is run again, twice');
		$jobs->gone($id);
		my @runs = $jobs->runs($id);
		for my $n (0, 1)
		{
			my $delay = 0.1 * 2**$n;
			cmp_ok(
				$runs[ $n + 1 ]{began},
				'>=',
				$runs[$n]{ended} + $delay - 0.001,
				"retry after $delay s, not before") if defined $runs[$n]{ended};
			near($runs[ $n + 1 ]{began}, $runs[$n]{ended} + $delay, 'and promptly');
		}
		is_deeply(
			[ map { $_->{sqlstate} } @runs ],
			[ ('22012') x 3 ],
			'each run tells its error');
		like($runs[0]{message}, qr/division by zero/, 'in words');
		my $dead = $jobs->dead($id);
		is_deeply(
			[ @$dead{qw(queue command owner num_retries sqlstate)} ],
			[ 'passive', $command, $jobs->sql('SELECT current_user'), 2, '22012' ],
			'then it is dead, which tells command, owner, retries and error');
		like($dead->{why}, qr/division by zero/, 'and why');
		is_deeply($dead->{payload}, { p => 1 }, 'with its payload');

		# The default: no retry; with retries, after 1 s, doubled.
		$id = $jobs->enqueue('SELECT 1 / 0');
		$jobs->has_runs($id, 'failed', 'without max_retries');
		$jobs->becomes("SELECT count(*) FROM evsched.dead_event WHERE id = $id",
			1, 'it is dead at once');
		my $first = $jobs->enqueue('SELECT 1 / 0', max_retries => 5);
		$jobs->has_runs($first, 'failed', 'a job with the default retry_delay');
		$jobs->becomes("SELECT num_retries FROM evsched.events WHERE id = $first",
			1, 'is counted');
		my ($run) = $jobs->runs($first);
		my ($row) = $jobs->rows(
			"SELECT extract(epoch FROM due_at), state, last_error
							 FROM evsched.events WHERE id = $first");
		near($row->[0], $run->{ended} + 1, 'and due again after 1 s');
		is($row->[1], 'scheduled', 'it waits');
		like($row->[2], qr/division by zero/, 'the view tells why');
		$jobs->has_runs($first, 'failed failed', 'it runs again');
		$jobs->becomes("SELECT num_retries FROM evsched.events WHERE id = $first",
			2, 'counted again');
		near(due_of($first), ($jobs->runs($first))[1]{ended} + 2, 'then after 2 s');
		is($jobs->sql("SELECT evsched.cancel($first)"), 't', 'it can be cancelled');
	});

$jobs->story(
	'nothing stays of a failed run',
	sub {
		my $id = $jobs->enqueue(trace('first') . '; SELECT 1 / 0; ' . trace('second'));
		$jobs->has_runs($id, 'failed', 'the second of three statements fails');
		is($jobs->traces, '', 'nothing of it stays');
		$id =
		  $jobs->enqueue(trace('first')
			  . q(; DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'XY123', MESSAGE = 'own', DETAIL = 'd'; END $$)
		  );
		$jobs->has_runs($id, 'failed', 'an error of its own');
		is($jobs->last_run($id)->{sqlstate}, 'XY123', 'with its own sqlstate');
		is($jobs->last_run($id)->{message},  'own',   'and its own words');
		$jobs->sql('CREATE TABLE deferred (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)');
		$id = $jobs->enqueue('INSERT INTO deferred VALUES (1), (1)');
		$jobs->has_runs($id, 'failed', 'one that fails at its commit');
		is($jobs->last_run($id)->{sqlstate}, '23505', 'is told like any other');
		$jobs->becomes("SELECT sqlstate FROM evsched.dead_event WHERE id = $id",
			'23505', 'and dead');
		is($jobs->sql('SELECT count(*) FROM deferred'), 0, 'nothing of it stays');
	});

$jobs->story(
	'redrive',
	sub {
		my $id = $jobs->enqueue('INSERT INTO not_yet VALUES (1)', key => 'redriven');
		$jobs->has_runs($id, 'failed', 'a job without its table');
		$jobs->becomes("SELECT sqlstate FROM evsched.dead_event WHERE id = $id",
			'42P01', 'is dead');
		$jobs->sql('CREATE TABLE not_yet (n int)');
		is($jobs->sql("SELECT evsched.redrive('{$id}'::bigint[])"), 1, 'it is redriven');
		$jobs->has_runs($id, 'failed succeeded', 'and runs, under the same id');
		$jobs->gone($id);
		is_deeply($jobs->dead($id), {}, 'it is not dead any more');
		is($jobs->sql('SELECT count(*) FROM not_yet'), 1, 'what it does is done');

		my @ids =
		  map { $jobs->enqueue('INSERT INTO still_not VALUES (1)', pool => 'work') }
		  1 .. 3;
		$jobs->becomes(q(SELECT count(*) FROM evsched.dead_event WHERE queue = 'work'),
			3, 'three are dead');
		$jobs->sql('CREATE TABLE still_not (n int)');
		is($jobs->sql(q(SELECT evsched.redrive('work'))), 3, 'a whole pool is redriven');
		$jobs->has_runs($_, 'failed succeeded', 'each runs') for @ids;
		is($jobs->sql('SELECT count(*) FROM still_not'), 3, 'once');
	});

#
# What a command may be.
#
sub succeeds
{
	my ($command, $name, %options) = @_;
	my $id = $jobs->enqueue($command, pool => 'active', %options);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$jobs->has_runs($id, 'succeeded', $name)
	  || diag($jobs->last_run($id)->{message} // '');
	$jobs->wait_gone($id);
	return $id;
}

# It fails with a sqlstate like that.
sub fails
{
	my ($command, $sqlstate, $name, %options) = @_;
	my $id = $jobs->enqueue($command, pool => 'active', %options);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$jobs->has_runs($id, 'failed', $name);
	like($jobs->last_run($id)->{sqlstate} // '', $sqlstate, 'with its sqlstate');
	return $id;
}

$jobs->story(
	'commands',
	sub {
		succeeds(trace('a') . '; ' . trace('b') . ';;', 'several statements');
		is($jobs->traces, 'a b', 'are run in order');
		succeeds(
			'INSERT INTO trace (what) SELECT $1->>\'x\'; INSERT INTO trace (what) SELECT $1->>\'y\'',
			'$1 in several statements',
			payload => '{"x": "c", "y": "d"}');
		is($jobs->traces, 'a b c d', 'is the payload');
		succeeds('INSERT INTO trace (what) SELECT ($1 IS NULL)::text',
			'without a payload');
		is($jobs->traces, 'a b c d true', '$1 is null');
		succeeds('INSERT INTO trace (what) SELECT pg_typeof($1)::text',
			'of type', payload => 'null');
		is($jobs->traces, 'a b c d true jsonb', 'jsonb');
		succeeds('DO $$ BEGIN ' . trace('do') . '; END $$', 'DO');
		succeeds('CREATE TABLE made AS SELECT 1 AS n; INSERT INTO made VALUES (2)',
			'DDL, and what uses it');
		is($jobs->sql('SELECT count(*) FROM made'), 2, 'is done');
		succeeds(
			'SET LOCAL search_path = pg_catalog; ' . trace('x') =~ s/trace/public.trace/r,
			'SET LOCAL');
		succeeds('EXPLAIN ANALYZE SELECT 1', 'EXPLAIN');
		succeeds('SHOW work_mem',            'SHOW');
		succeeds('-- nothing',               'a comment');
		succeeds('SELECT $job$' . 'ä€😀' . '$job$' . ' AS "Ünicode"',
			'letters of any kind');
		succeeds('SELECT 1 WHERE 1 IN (' . join(', ', 1 .. 50000) . ')',
			'a long command');
		succeeds(q(SELECT repeat('x', 20000000)),     'a large result');
		succeeds('SELECT generate_series(1, 200000)', 'many rows');
		succeeds('LOCK TABLE made IN ACCESS EXCLUSIVE MODE; SELECT 1',
			'LOCK, which needs a transaction block');
		succeeds('DECLARE c CURSOR FOR SELECT 1; FETCH c', 'a cursor');
		my $listener = $jobs->session_of('admin', 'listener');
		$listener->sql('LISTEN evsched_of_a_job');
		succeeds(q(NOTIFY evsched_of_a_job, '[{"id": 7}]'), 'NOTIFY');
		is($listener->event->{id}, 7, 'comes');
		succeeds(call('post', payload => '1', queue => 'from_job'),
			'a job posts an event');
		is($jobs->sql(q(SELECT count(*) FROM evsched.take('from_job'))),
			1, 'which is there');
		succeeds(call('enqueue', command => trace('child'), pool => 'active'),
			'a job posts a job');
		$jobs->becomes(q(SELECT count(*) FROM trace WHERE what = 'child'),
			1, 'which runs');
	});

$jobs->story(
	'commands without a transaction block',
	sub {
		$jobs->sql('CREATE TABLE vacuumed AS SELECT generate_series(1, 1000) AS n');
		my $node = $jobs->sql(q(SELECT pg_relation_filenode('vacuumed')));
		succeeds('VACUUM FULL vacuumed', 'VACUUM');
		isnt($jobs->sql(q(SELECT pg_relation_filenode('vacuumed'))), $node, 'is done');
		succeeds('VACUUM (ANALYZE) vacuumed', 'VACUUM ANALYZE');
		succeeds('CREATE INDEX CONCURRENTLY made_by_job ON vacuumed (n)',
			'CREATE INDEX CONCURRENTLY');
		is( $jobs->sql(
				q(SELECT indisvalid FROM pg_index WHERE indexrelid = 'made_by_job'::regclass)
			),
			't',
			'the index is valid');
		succeeds(
			'REINDEX INDEX CONCURRENTLY made_by_job;',
			'REINDEX CONCURRENTLY, with a semicolon');
		succeeds('DROP INDEX CONCURRENTLY made_by_job', 'DROP INDEX CONCURRENTLY');
		succeeds('CREATE DATABASE made_by_job',         'CREATE DATABASE');
		succeeds('DROP DATABASE made_by_job',           'DROP DATABASE');
		fails('VACUUM no_such_table', qr/^42P01$/, 'a VACUUM that fails');

		$jobs->sql(<<'SQL');
CREATE PROCEDURE in_steps(fails boolean) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO trace (what) VALUES ('step1');
	COMMIT;
	INSERT INTO trace (what) SELECT 'running:' || count(*) FROM evsched.run
	WHERE state = 'running' AND event_id = (evsched.current_event()).id;
	COMMIT;
	INSERT INTO trace (what) SELECT 'step2:' || (1 / CASE WHEN fails THEN 0 ELSE 1 END);
END $$
SQL
		succeeds('CALL in_steps(false)', 'a procedure that commits');
		is( $jobs->traces,
			'step1 running:1 step2:1',
			'does all it does, and its run is written before');
		$jobs->sql('TRUNCATE trace RESTART IDENTITY');
		my $id =
		  fails('CALL in_steps(true)', qr/^22012$/, 'one that fails after a commit');
		is($jobs->traces,                 'step1 running:1', 'what was committed stays');
		is($jobs->last_run($id)->{state}, 'failed',          'its run has failed');
		is(scalar($jobs->runs($id)),      1,                 'and is told once');
		$jobs->becomes("SELECT sqlstate FROM evsched.dead_event WHERE id = $id",
			'22012', 'it is dead');
		$jobs->sql('TRUNCATE trace RESTART IDENTITY');
		succeeds('DO $$ BEGIN ' . trace('d1') . '; COMMIT; ' . trace('d2') . '; END $$',
			'DO that commits');
		is($jobs->traces, 'd1 d2', 'does all it does');
		$id = $jobs->enqueue(
			'CALL in_steps(true)',
			pool        => 'active',
			max_retries => 1,
			retry_delay => '0');
		$jobs->has_runs($id, 'failed failed', 'a procedure is retried like any other');
		$id = $jobs->enqueue(<<'SQL', pool => 'active');
DO $$
BEGIN
	INSERT INTO trace (what) VALUES ('again');
	COMMIT;
	PERFORM evsched.reschedule((evsched.current_event()).id, '20 ms')
	WHERE (SELECT count(*) FROM trace WHERE what = 'again') < 3;
	COMMIT;
END $$
SQL
		$jobs->has_runs(
			$id,
			'succeeded succeeded succeeded',
			'one that commits can reschedule itself');
		$jobs->gone($id);
	});

$jobs->story(
	'commands that are refused',
	sub {
		my $refused = qr/^(0A000|2D000|25001|25P01|3B001|22023)$/;
		for my $statement (
			'BEGIN', 'COMMIT', 'ROLLBACK', 'START TRANSACTION',
			'END',   'ABORT',
			'COMMIT AND CHAIN',
			q(PREPARE TRANSACTION 'x'),
			'ROLLBACK TO SAVEPOINT s')
		{
			fails(trace('before') . "; $statement; " . trace('after'),
				$refused, "$statement in a command");
			fails($statement, $refused, "$statement alone");
		}
		is($jobs->traces, '', 'nothing of that stays');
		is($jobs->sql('SELECT count(*) FROM pg_prepared_xacts'), 0,
			'nothing is prepared');
		fails('SELEC 1',           qr/^42601$/, 'a syntax error');
		fails('SELECT 1; SELEC 1', qr/^42601$/, 'one behind another statement');
		fails('SELECT $2',         qr/^42/,     'a parameter that is not there');
		fails('SELECT no_such()',  qr/^42883$/, 'no such function');

		# There is no client; what the server itself reads and writes is nobody's.
		fails('COPY trace FROM STDIN', qr/^\w{5}$/, 'COPY FROM STDIN');
		fails(q(COPY (SELECT 'written by a job') TO STDOUT),
			qr/^\w{5}$/, 'COPY TO STDOUT');
		$jobs->sql(
			q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
				 WHERE backend_type = 'evsched worker'));
		ok(slurp_file($jobs->server->logfile) !~ /^written by a job/m,
			'nothing is written into the log');
		fails(q(SELECT evsched.join()), qr/^\w{5}$/, 'join: a job listens to nothing');
		fails('SELECT ' . '(' x 30000,  qr/^\w{5}$/, 'very bad input');
		succeeds(trace('still'), 'the worker goes on');
	});

#
# What is told afterwards.
#
$jobs->story(
	'result',
	sub {
		my $ask = sub {
			my ($id) = @_;
			return [ map { @$_ }
				  $jobs->rows("SELECT state, result, error FROM evsched.result($id)") ];
		};
		my $id = succeeds('SELECT 42', 'one that returns something');
		is_deeply($ask->($id), [ 'succeeded', 42, undef ], 'result() tells it');
		$id = succeeds(q(SELECT 1 AS a, 'x' AS b, NULL AS c), 'several columns');
		is_deeply(
			JSON::PP::decode_json($ask->($id)->[1]),
			{ a => 1, b => 'x', c => undef },
			'an object');
		$id = succeeds('SELECT 1; SELECT 2', 'several statements');
		is_deeply($ask->($id), [ 'succeeded', 2, undef ], 'the last of them counts');
		$id = succeeds(trace('none'), 'one that returns nothing');
		is($ask->($id)->[0], 'succeeded', 'has succeeded');
		like($ask->($id)->[1] // 'null', qr/^null$/, 'without a result');
		$id = fails('SELECT 1 / 0', qr/^22012$/, 'one that fails');
		is($ask->($id)->[0], 'failed', 'its state');
		is($ask->($id)->[1], undef,    'has no result');
		like($ask->($id)->[2], qr/division by zero/, 'but an error');
		$id = $jobs->after('1 h', 'SELECT 1');
		is_deeply([ grep { defined } @{ $ask->($id) } ],
			[], 'nothing of one that has not run');
		is_deeply([ grep { defined } @{ $ask->(-1) } ], [], 'nor of one that never was');
		$id = $jobs->enqueue(
			'SELECT 1 / (evsched.current_event()).num_retries',
			pool        => 'active',
			max_retries => 1,
			retry_delay => '10 ms');
		$jobs->has_runs($id, 'failed succeeded', 'of several runs');
		is_deeply($ask->($id), [ 'succeeded', 1, undef ], 'the last one counts');
		$jobs->close_gate(1);
		$id = $jobs->enqueue(gate_command(1));
		$jobs->wait_at_gate(1);
		is($ask->($id)->[0],   'running', 'while it runs, that is told');
		is($jobs->states($id), 'running', 'in the view, too');
		my $run = $jobs->last_run($id);
		is($run->{ended_at}, undef, 'without an end');
		$jobs->open_gate(1);
		$jobs->has_runs($id, 'succeeded', 'it ends');
		is($jobs->last_run($id)->{run_id}, $run->{run_id}, 'the same run');
	});

# The last run is the last in time, whichever workers have run the others: here one that has
# run jobs for long runs the second try, after one that is new.
$jobs->story(
	'the last run',
	sub {
		$jobs->close_gate($_) for 1 .. 3;
		$jobs->set('evsched.pools' => 'active:1, passive:2, work:3');
		my $old       = $jobs->enqueue(gate_command(1));
		my ($old_pid) = $jobs->wait_at_gate(1);
		my $new       = $jobs->enqueue(gate_command(2));
		my ($new_pid) = $jobs->wait_at_gate(2);
		$jobs->open_gate(2);
		$jobs->wait_gone($new);
		my $id = $jobs->enqueue(<<'SQL', max_retries => 1, retry_delay => '1 s');
SELECT pg_advisory_xact_lock_shared(3), 1 / num_retries FROM evsched.current_event()
SQL
		my ($first) = $jobs->wait_at_gate(3);
		$jobs->open_gate(3);
		$jobs->has_runs($id, 'failed', 'a run that fails');
		$jobs->open_gate(1);
		$jobs->wait_gone($old);
		$jobs->close_gate(4);

		# The worker that has failed is busy meanwhile: the other one runs the second try.
		my @busy   = map { $jobs->enqueue(gate_command(4)) } 1, 2;
		my @pids   = $jobs->wait_at_gate(4, 2);
		my ($free) = grep { $_ != $first } @pids;
		$jobs->sql(
			"SELECT evsched.stop_run(run_id) FROM evsched.run WHERE event_id = $_ AND state = 'running'"
		  )
		  for grep { $jobs->sql("SELECT pid FROM evsched.events WHERE id = $_") == $free }
		  @busy;
		$jobs->has_runs(
			$id,
			'failed succeeded',
			'another worker runs it again, and succeeds');
		is($jobs->sql("SELECT state FROM evsched.result($id)"),
			'succeeded', 'result() tells the last one');
	});

$jobs->story(
	'history',
	sub {
		my $command =
		  'INSERT INTO trace (what) SELECT n::text FROM generate_series(1, 7) n';
		my $before = time;
		my $id     = succeeds($command, 'a job that writes seven rows', payload => '1');
		my $run    = $jobs->last_run($id);
		is_deeply(
			[
				@$run{
					qw(event_id recurring command state rows sqlstate message pool owner)}
			],
			[
				$id, undef, $command, 'succeeded', 7, undef, undef, 'active',
				$jobs->sql('SELECT current_user')
			],
			'its run tells event, command, state, rows, pool and owner');
		cmp_ok($run->{wal_bytes},   '>',  0, 'the WAL it has written');
		cmp_ok($run->{cpu_ms},      '>=', 0, 'the time it has used');
		cmp_ok($run->{shared_blks}, '>',  0, 'the blocks it has looked at');
		ok( $before <= $run->{began}
			  && $run->{began} <= $run->{ended}
			  && $run->{ended} <= time,
			'when it began and ended');
		ok(defined $run->{worker}, 'and its worker');
		$id = succeeds(
			'INSERT INTO trace (what) SELECT n::text FROM generate_series(1, 7) n; UPDATE trace SET what = what WHERE n <= 3',
			'two statements');
		is($jobs->last_run($id)->{rows}, 3, 'the rows of the last one count');
		$id = succeeds('SELECT count(*) FROM generate_series(1, 3000000) n',
			'one that computes');
		cmp_ok($jobs->last_run($id)->{cpu_ms}, '>', 1, 'uses time');
		is($jobs->last_run($id)->{rows}, 1, 'and returns a row');

		# Who sees what.
		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
		$id = $jobs->enqueue('SELECT 7', session => $ann);
		$jobs->has_runs($id, 'succeeded', 'a job of ann');
		is($ann->sql("SELECT owner FROM evsched.run WHERE event_id = $id"),
			'ann', 'ann sees her run');
		is($bob->sql("SELECT count(*) FROM evsched.run WHERE event_id = $id"),
			0, 'bob does not');
		is($ann->sql('SELECT count(*) FROM evsched.run WHERE owner <> \'ann\''),
			0, 'nor does ann see those of others');
		is($ann->sql("SELECT result FROM evsched.result($id)"), 7, 'ann sees the result');
		my $asked = $bob->try("SELECT result FROM evsched.result($id)");
		ok(defined $asked->{error} || !(grep { defined $_->[0] } @{ $asked->{rows} }),
			'bob does not');
		$jobs->sql('GRANT ann TO bob');
		is($bob->sql("SELECT result FROM evsched.result($id)"),
			7, 'as a member of ann he does');
		is($bob->sql("SELECT count(*) FROM evsched.run WHERE event_id = $id"),
			1, 'the run, too');
		$jobs->sql('REVOKE ann FROM bob');

		# It is bounded.
		$jobs->set('evsched.history_rows' => 20);
		$jobs->sql(
			q(SELECT count(evsched.enqueue('SELECT 1', pool => 'active')) FROM generate_series(1, 60))
		);
		$jobs->becomes('SELECT count(*) FROM evsched.event', 0, 'sixty jobs');
		cmp_ok($jobs->sql('SELECT count(*) FROM evsched.run'),
			'<=', 20, 'leave no more runs than evsched.history_rows');
		cmp_ok($jobs->sql('SELECT count(*) FROM evsched.run'),
			'>=', 10, 'but about as many');
		$id = succeeds('SELECT 1', 'another');
		is($jobs->states($id), 'succeeded', 'the latest are kept');
		$jobs->reset_settings;
	  SKIP:
		{
			skip('there are no series yet', 2)
			  unless $jobs->sql(
				q(SELECT count(*) FROM pg_proc WHERE pronamespace = 'evsched'::regnamespace AND proname = 'every')
			  );
			$jobs->set('evsched.history_keep' => 3);
			my $series = $jobs->sql(
				q(SELECT evsched.every('20 ms', 'INSERT INTO trace (what) VALUES (1)', pool => 'active'))
			);
			$jobs->sql('TRUNCATE trace RESTART IDENTITY');
			$jobs->wait_traces(12);
			cmp_ok(
				$jobs->sql(
					"SELECT count(*) FROM evsched.run WHERE recurring = $series AND state <> 'running'"
				),
				'<=', 3,
				'of a series no more runs than evsched.history_keep');
			cmp_ok(
				$jobs->sql("SELECT count(*) FROM evsched.run WHERE recurring = $series"),
				'>', 0, 'but some');
			$jobs->sql("SELECT evsched.cancel($series)");
		}
	});

nothing_early();
done_testing();

# Coroutines: steps that carry their state and hold nothing while they sleep; each step's
# effect, the next state and the time of the next step commit together, whoever dies.
use strict;
use warnings;

use Evsched qw(blocked_in nothing_early scheduler_pid new_scheduler wait_asleep wait_until);
use Evsched::Job  qw(quote trace);
use Evsched::Stop qw(require_stop_points stop_at wait_stopped crash);
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

require_stop_points();

my $json = JSON::PP->new->canonical;
my $jobs = Evsched::Job->new(
	'coroutine',
	roles => [qw(ann bob)],
	conf  => <<'CONF');
evsched.pools = 'active:1, passive:10, work:3'
evsched.worker_idle_timeout = 10min
synchronous_commit = on
autovacuum = off
CONF
my $server = $jobs->server;

# A walk of as many steps as there are sleeps in its state, and one more. Each step leaves
# a row; where there is a gate in its state it waits there; at step fail_at it divides by
# the divisor.
$jobs->sql(<<'SQL');
CREATE TABLE effect (
	k serial,
	id bigint,
	n int,
	who text DEFAULT current_user,
	at timestamptz DEFAULT clock_timestamp()
);
CREATE TABLE divisor AS SELECT 1 AS n;
CREATE FUNCTION walk(INOUT state jsonb, OUT sleep interval) LANGUAGE plpgsql AS $$
DECLARE
	step int := state->>'n';
BEGIN
	INSERT INTO effect (id, n) SELECT id, step FROM evsched.current_event();
	IF state->'gates'->>step IS NOT NULL THEN
		PERFORM pg_advisory_xact_lock_shared((state->'gates'->>step)::int);
	END IF;
	IF step = (state->>'fail_at')::int THEN
		PERFORM 1 / d.n FROM divisor d;
	END IF;
	sleep := state->'sleeps'->>step;
	state := state || jsonb_build_object('n', step + 1);
END $$;
GRANT ALL ON effect, effect_k_seq, divisor TO PUBLIC;
SQL

# The state of a walk at its beginning; options are gates and fail_at.
sub state
{
	my ($sleeps, %options) = @_;

	return $json->encode({ n => 0, sleeps => $sleeps, %options });
}

# Starts a coroutine; options: step (a function), state (as text), session, pool.
sub start
{
	my (%options) = @_;
	my $session = $options{session} // $jobs->admin;

	return $session->sql('SELECT ' . call_of(%options));
}

sub call_of
{
	my (%options) = @_;

	return sprintf(
		'evsched.coroutine(%s, %s, %s)',
		quote($options{step} // 'walk'),
		quote($options{state}),
		quote($options{pool}));
}

# A walk; options: those of both.
sub walk
{
	my ($sleeps, %options) = @_;
	my %where = map { $_ => delete $options{$_} } grep { exists $options{$_} } qw(session pool);

	return start(state => state($sleeps, %options), %where);
}

# The steps that have left a row, in their order.
sub steps
{
	my ($id) = @_;

	return $jobs->sql(
		"SELECT coalesce(string_agg(n::text, ' ' ORDER BY k), '') FROM effect WHERE id = $id");
}

# Waits until it sleeps before that step; and says whether it came to that.
sub sleeps_before
{
	my ($id, $step, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $jobs->becomes(<<"SQL", $step, $name // "it sleeps before step $step");
SELECT coalesce(max(payload->>'n'), '') FROM evsched.events WHERE id = $id AND state = 'scheduled'
SQL
}

# In the end it is gone, and not dead; and it has done those steps, each once.
sub done
{
	my ($id, $steps, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$jobs->gone($id, "$name: it comes to its end");
	is(steps($id), $steps, "$name: each step is done once");
	is_deeply($jobs->dead($id), {}, "$name: not dead");
	return;
}

# In the end it is dead of that, before that step.
sub dies
{
	my ($id, $sqlstate, $step, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$jobs->becomes("SELECT sqlstate FROM evsched.dead_event WHERE id = $id",
		$sqlstate, "$name: dead");
	is($jobs->sql("SELECT payload->>'n' FROM evsched.dead_event WHERE id = $id"),
		$step, "$name: with the state before the step that failed");
	return;
}

# Runs a job in the pool: what was due before has had its turn.
sub pool_goes_on
{
	my ($pool, $session) = @_;

	return $jobs->wait_gone(
		$jobs->enqueue('SELECT 1', pool => $pool // 'active', session => $session // $jobs->admin));
}

#
# Steps.
#
$jobs->story(
	'eleven steps',
	sub {
		my $id = walk([ ('10 ms') x 10 ]);
		done($id, join(' ', 0 .. 10), 'eleven steps');
		is($jobs->states($id), join(' ', ('succeeded') x 11), 'each is a run');
		is($jobs->sql("SELECT result->>'n' FROM evsched.result($id)"),
			11, 'whose result is the state');
		is( $jobs->sql(<<"SQL"), 't', 'none comes before its sleep is over');
SELECT min(pause) >= '10 ms' FROM (SELECT at - lag(at) OVER (ORDER BY k) AS pause FROM effect WHERE id = $id) s
SQL
		my $one = walk([]);
		done($one, '0', 'no sleep');
		is($jobs->states($one), 'succeeded', 'is one run');
	});

# In a pool of one: what is due first is first, whatever sleeps.
$jobs->story(
	'a sleep delays nobody',
	sub {
		pool_goes_on('active');
		$jobs->sql('BEGIN');
		my $id = walk([ '1 s', '1 s' ], pool => 'active');
		my $after =
		  $jobs->after('100 ms', 'INSERT INTO effect (id, n) VALUES (0, 100)', pool => 'active');
		$jobs->sql('COMMIT');
		$jobs->has_runs($after, 'succeeded', 'a job that is due after 100 ms runs');
		done($id, '0 1 2', 'steps that sleep 1 s');
		is( $jobs->sql(
				"SELECT string_agg(n::text, ' ' ORDER BY k) FROM effect WHERE id IN (0, $id)"),
			'0 100 1 2',
			'after(100 ms) comes before the second step');
		is( $jobs->sql(<<"SQL"), 't', 'no step comes before its second is over');
SELECT min(pause) >= '1 s' FROM (SELECT at - lag(at) OVER (ORDER BY k) AS pause FROM effect WHERE id = $id) s
SQL
	});

$jobs->story(
	'a hundred sleepers',
	sub {
		$jobs->sql('TRUNCATE effect');
		pool_goes_on('work');
		my $call  = call_of(state => state(['100 ms']), pool => 'work');
		my $since = time;
		$jobs->sql("SELECT count($call) FROM generate_series(1, 100)");
		$jobs->becomes('SELECT count(*) FROM evsched.event', 0,
			'a hundred coroutines in a pool of three come to their end');
		is( $jobs->sql(
				q(SELECT count(*) FROM (SELECT id FROM effect GROUP BY id
				  HAVING string_agg(n::text, ' ' ORDER BY k) = '0 1') s)),
			100,
			'each has done its two steps');
		my ($took, $shortest, $asleep) = @{ ($jobs->rows(<<'SQL'))[0] };
WITH sleeper AS (SELECT min(at) AS fell, max(at) AS woke FROM effect GROUP BY id)
SELECT extract(epoch FROM max(woke)), min(woke - fell) >= '100 ms',
	   max((SELECT count(*) FROM sleeper b WHERE b.fell <= a.fell AND b.woke > a.fell))
FROM sleeper a
SQL
		note(sprintf('%.0f ms, %d asleep at once', 1000 * ($took - $since), $asleep));
		is($shortest, 't', 'none has slept less than it wanted');
		cmp_ok($asleep, '>', 10, 'many more sleep at a time than the pool runs at once');
		cmp_ok($took - $since, '<', 5, 'so it takes no time worth mentioning');
		cmp_ok($jobs->sql(<<'SQL'), '<=', 3, 'and no more run at once than the pool is for');
SELECT max((SELECT count(*) FROM evsched.run b WHERE b.started_at <= a.started_at
			AND b.ended_at > a.started_at AND b.pool = 'work'))
FROM evsched.run a WHERE a.pool = 'work'
SQL
	});

# While all sleep nothing is held, by anybody.
$jobs->story(
	'nothing is held',
	sub {
		$jobs->sql('TRUNCATE effect');
		my $call = call_of(state => state(['1 h']), pool => 'work');
		my $ids  = $jobs->sql("SELECT array_agg($call) FROM generate_series(1, 100)");
		$jobs->becomes(<<'SQL', 100, 'a hundred sleep');
SELECT count(*) FROM evsched.events WHERE state = 'scheduled' AND payload->>'n' = '1'
SQL
		$jobs->becomes(q(SELECT count(*) FROM evsched.stat_worker WHERE state <> 'idle'),
			0, 'no worker is busy');
		is($jobs->sql('SELECT count(*) FROM evsched._leases()'), 0, 'nothing is leased');
		is($jobs->sql(q(SELECT count(*) FROM evsched.run WHERE state = 'running')),
			0, 'nothing runs');
		is( $jobs->sql(
				q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'evsched %' AND xact_start IS NOT NULL)
			),
			0, 'no transaction is open');
		$jobs->set('evsched.worker_idle_timeout' => '100ms');
		$jobs->becomes(
			q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evsched worker'),
			0, 'no worker is needed');
		wait_asleep(scheduler_pid($server), 0.3);
		is($jobs->sql('SELECT count(*) FROM effect'), 100, 'nobody goes on');
		$jobs->sql("SELECT evsched.change_delay(id, '0') FROM evsched.events");
		$jobs->becomes('SELECT count(*) FROM evsched.event', 0, 'until they wake up');
		is( $jobs->sql(
				q(SELECT count(*) FROM (SELECT id FROM effect GROUP BY id
				  HAVING string_agg(n::text, ' ' ORDER BY k) = '0 1') s)),
			100,
			'each goes on');
	});

$jobs->story(
	'what is seen of it',
	sub {
		my $before = $jobs->sql('SELECT clock_timestamp()');
		my $id     = walk([ '1 h', '2 h' ], pool => 'work', note => 'x');
		sleeps_before($id, 1);
		is( $jobs->sql("SELECT payload FROM evsched.events WHERE id = $id"),
			$jobs->sql(
				'SELECT ' . quote(state([ '1 h', '2 h' ], note => 'x')) . q(::jsonb || '{"n": 1}')
			),
			'the payload is the state');
		my $seen = sub {
			my ($what) = @_;

			return $jobs->sql("SELECT $what FROM evsched.events WHERE id = $id");
		};
		is($seen->('queue'), 'work',                               'its pool');
		is($seen->('num_retries'), 0,                              'its retries');
		is($seen->('owner'), $jobs->sql('SELECT current_user'),    'its owner');
		like($seen->('command'), qr/\bwalk\b/,                     'its step');
		is($seen->('recurring IS NULL AND key IS NULL'), 't',      'it is an event like any');
		is( $jobs->sql(
				"SELECT due_at BETWEEN r.started_at + interval '1 h' AND r.ended_at + interval '1 h' "
				  . "FROM evsched.events e JOIN evsched.run r ON r.event_id = e.id WHERE e.id = $id"),
			't',
			'due when it has slept');
		is($seen->("due_at > '$before'::timestamptz + interval '1 h'"), 't', 'not before');
		is($jobs->sql("SELECT payload->>'n' FROM evsched.peek($id)"), 1, 'peek tells it');
		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
		my $anns = walk(['1 h'], session => $ann);
		sleeps_before($anns, 1);
		is($ann->sql("SELECT count(*) FROM evsched.events WHERE id = $anns"), 1, 'ann sees hers');
		is($ann->sql("SELECT count(*) FROM evsched.events WHERE id = $id"), 0, 'and no other');
		for my $call ("cancel($anns)", "change_delay($anns, '0')", "run_now($anns)", "pause($anns)")
		{
			is($bob->sql("SELECT evsched.$call"), 'f', "bob cannot $call");
		}
		is($jobs->sql("SELECT who FROM effect WHERE id = $anns"), 'ann', 'it has run as ann');
		is($ann->sql("SELECT evsched.run_now($anns)"), 't', 'but ann can wake it');
		done($anns, '0 1', 'run_now');
	});

#
# Its end.
#
$jobs->story(
	'an error',
	sub {
		$jobs->sql('UPDATE divisor SET n = 0');
		$jobs->sql(q(SELECT evsched.on_error('INSERT INTO trace (what) SELECT $1->>''event_id''')));
		my @others = map { walk([ ('20 ms') x 4 ], pool => 'work') } 1 .. 5;
		my $fails = walk([ '10 ms', '10 ms' ], pool => 'work', fail_at => 1);
		dies($fails, '22012', 1, 'an error in the second step');
		is(steps($fails), '0', 'what the first has done stays, nothing of the second');
		is($jobs->states($fails), 'succeeded failed', 'its runs say so');
		like($jobs->dead($fails)->{why}, qr/division by zero/, 'the dead event tells why');
		done($_, '0 1 2 3 4', 'the others') for @others;
		$jobs->becomes("SELECT count(*) FROM trace WHERE what = '$fails'",
			1, 'the handler of errors is told');
		$jobs->sql('UPDATE divisor SET n = 1');
		is($jobs->sql("SELECT evsched.redrive('{$fails}'::bigint[])"), 1, 'brought back');
		done($fails, '0 1 2', 'brought back, it goes on from there');
	});

$jobs->story(
	'an error at the commit',
	sub {
		$jobs->sql(<<'SQL');
CREATE TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO once VALUES (1);
CREATE FUNCTION deferred(INOUT state jsonb, OUT sleep interval) LANGUAGE sql AS $$
	INSERT INTO once VALUES ((state->>'n')::int);
	SELECT jsonb_build_object('n', (state->>'n')::int + 1), '0'::interval;
$$;
SQL
		my $id = start(step => 'deferred', state => '{"n": 0}');
		dies($id, '23505', 1, 'an error at the commit of the second step');
		is($jobs->sql('SELECT string_agg(n::text, \' \' ORDER BY n) FROM once'),
			'0 1', 'nothing of that step stays');
	});

# However a step says that it is done.
$jobs->story(
	'kinds of steps',
	sub {
		$jobs->sql($_) for <<'SQL',
CREATE FUNCTION as_table(s jsonb) RETURNS TABLE (state jsonb, sleep interval) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO effect (id, n) SELECT id, s::int FROM evsched.current_event();
	IF s::int < 3 THEN
		RETURN QUERY SELECT to_jsonb(s::int + 1), interval '1 ms';
	END IF;
END $$
SQL
		'CREATE TYPE stage AS (what jsonb, rest interval)', <<'SQL',
CREATE FUNCTION as_type(s jsonb) RETURNS stage LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO effect (id, n) SELECT id, s::int FROM evsched.current_event();
	IF s::int < 3 THEN
		RETURN (to_jsonb(s::int + 1), interval '1 ms')::stage;
	END IF;
	RETURN NULL;
END $$
SQL
		<<'SQL';
CREATE FUNCTION as_sql(s jsonb, OUT state jsonb, OUT sleep interval) LANGUAGE sql AS $$
	INSERT INTO effect (id, n) SELECT id, s::int FROM evsched.current_event();
	SELECT to_jsonb(s::int + 1), CASE WHEN s::int < 3 THEN interval '1 ms' END;
$$
SQL
		done(start(step => $_, state => '0'), '0 1 2 3', $_) for qw(as_table as_type as_sql);

		# Nothing is a state, too.
		$jobs->sql(<<'SQL');
CREATE FUNCTION forgets(INOUT state jsonb, OUT sleep interval) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO effect (id, n) SELECT id, coalesce(state::int, -1) FROM evsched.current_event();
	sleep := CASE WHEN state IS NOT NULL THEN '1 ms' END;
	state := NULL;
END $$
SQL
		my $id = start(step => 'forgets', state => '7');
		done($id, '7 -1', 'a state that is null');
		done(start(step => 'forgets'), '-1', 'from the beginning');
		is($jobs->sql("SELECT state || coalesce(result::text, '') FROM evsched.result($id)"),
			'succeedednull', 'its result is null');

		# States are as large as any payload.
		$jobs->sql(<<'SQL');
CREATE FUNCTION grows(INOUT state jsonb, OUT sleep interval) LANGUAGE plpgsql AS $$
BEGIN
	state := (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 10000 * (jsonb_array_length(state) / 10000 + 1)) i);
	INSERT INTO effect (id, n) SELECT id, jsonb_array_length(state) FROM evsched.current_event();
	sleep := CASE WHEN jsonb_array_length(state) < 40000 THEN '1 ms' END;
END $$
SQL
		$id = start(step => 'grows', state => '[]');
		done($id, '10000 20000 30000 40000', 'a large state');
		is( $jobs->sql("SELECT md5(result::text) FROM evsched.result($id)"),
			$jobs->sql(
				'SELECT md5(jsonb_agg(md5(i::text))::text) FROM generate_series(1, 40000) i'),
			'comes whole');
	});

# A sleep of nothing, or less, lets the others go first.
$jobs->story(
	'no time to sleep',
	sub {
		$jobs->sql(<<'SQL');
CREATE FUNCTION until_told(INOUT state jsonb, OUT sleep interval) LANGUAGE plpgsql AS $$
BEGIN
	sleep := CASE WHEN NOT EXISTS (SELECT FROM trace) THEN state->>'sleep' END;
	state := state || jsonb_build_object('n', (state->>'n')::int + 1);
END $$
SQL
		for my $sleep ('0', '-1 hour', '1 microsecond')
		{
			$jobs->sql('TRUNCATE trace');
			my $id = start(
				step  => 'until_told',
				state => $json->encode({ n => 0, sleep => $sleep }),
				pool  => 'active');
			$jobs->becomes("SELECT (max(payload->>'n'))::int > 3 FROM evsched.events WHERE id = $id",
				't', "sleep $sleep: it goes on and on");
			$jobs->has_runs($jobs->enqueue(trace('told'), pool => 'active'),
				'succeeded', "sleep $sleep: the others of its pool are not kept waiting");
			$jobs->gone($id, "sleep $sleep: it ends");
			is($jobs->sql("SELECT count(*) FROM evsched.run WHERE event_id = $id AND state <> 'succeeded'"),
				0, "sleep $sleep: all of its runs are well");
		}

		# Too long a sleep is an error like any other.
		dies(walk([ '1 ms', '300000 years' ]), '22023', 1, 'a sleep out of range');
	});

#
# Who interferes.
#
$jobs->story(
	'cancel',
	sub {
		my $id = walk([ '1 h', '1 ms' ], pool => 'active');
		sleeps_before($id, 1);
		$jobs->sql($_)
		  for 'BEGIN', "SELECT evsched.change_delay($id, '0')", 'SAVEPOINT s';
		is($jobs->sql("SELECT evsched.cancel($id)"), 't', 'one that sleeps is cancelled');
		$jobs->sql('COMMIT');
		pool_goes_on('active');
		done($id, '0', 'cancelled while it sleeps');
		is($jobs->sql("SELECT evsched.cancel($id)"), 'f', 'only once');

		$jobs->close_gate(1);
		$id = walk([ '1 ms', '1 ms', '1 ms' ], pool => 'active', gates => [ undef, 1 ]);
		$jobs->wait_at_gate(1);
		is($jobs->sql("SELECT evsched.cancel($id)"), 't', 'one that runs is cancelled');
		is($jobs->states($id), 'succeeded running', 'the step goes on');
		$jobs->open_gate(1);
		$jobs->has_runs($id, 'succeeded succeeded', 'to its end');
		pool_goes_on('active');
		done($id, '0 1', 'cancelled while it runs');

		# One who has not yet made up his mind.
		for my $end ('ROLLBACK', 'COMMIT')
		{
			my $other = $jobs->session_of('admin', 'other');
			$jobs->close_gate(1);
			$id = walk([ '1 ms', '1 ms', '1 ms' ], pool => 'active', gates => [ undef, 1 ]);
			my $pid = $jobs->wait_at_gate(1);
			$other->sql('BEGIN');
			$other->sql("SELECT evsched.cancel($id)");
			$jobs->open_gate(1);
			$jobs->becomes(
				"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND wait_event = 'transactionid'",
				1, "the step waits for who is cancelling it");
			$other->sql($end);
			pool_goes_on('active');
			done($id, $end eq 'COMMIT' ? '0 1' : '0 1 2 3', "a cancel, then $end");
		}

		# By itself.
		$jobs->sql(<<'SQL');
CREATE FUNCTION cancels(INOUT state jsonb, OUT sleep interval) LANGUAGE sql AS $$
	INSERT INTO effect (id, n) SELECT id, state::int FROM evsched.current_event();
	SELECT evsched.cancel(id) FROM evsched.current_event() WHERE state::int = 1;
	SELECT to_jsonb(state::int + 1), '1 ms'::interval;
$$
SQL
		done(start(step => 'cancels', state => '0'), '0 1', 'one that cancels itself');
	});

$jobs->story(
	'change_delay',
	sub {
		my $id = walk([ '1 h', '1 h', '1 ms' ], pool => 'active', gates => [ undef, undef, 1 ]);
		sleeps_before($id, 1);
		is($jobs->sql("SELECT evsched.change_delay($id, '0')"), 't', 'one that sleeps is woken');
		sleeps_before($id, 2);
		is(steps($id), '0 1', 'it has gone on');
		$jobs->close_gate(1);
		$jobs->sql("SELECT evsched.change_delay($id, '0')");
		$jobs->wait_at_gate(1);
		is($jobs->sql("SELECT evsched.change_delay($id, '2 h')"), 't', 'one that runs is moved');
		$jobs->open_gate(1);
		sleeps_before($id, 3, 'it goes on with its new state');
		is( $jobs->sql(
				"SELECT due_at > clock_timestamp() + interval '1 h' FROM evsched.events WHERE id = $id"
			),
			't',
			'at the time that it was given');
		$jobs->sql("SELECT evsched.change_delay($id, '0')");
		done($id, '0 1 2 3', 'moved here and there');

		# Moved while it runs, and failed: that step again.
		$jobs->sql('UPDATE divisor SET n = 0');
		$jobs->close_gate(1);
		$id = walk([ '1 ms', '1 ms' ], gates => [ undef, 1 ], fail_at => 1);
		$jobs->wait_at_gate(1);
		$jobs->sql("SELECT evsched.change_delay($id, '1 h')");
		$jobs->open_gate(1);
		$jobs->has_runs($id, 'succeeded failed', 'a step that was moved fails');
		sleeps_before($id, 1, 'its state is the one before that step');
		$jobs->sql('UPDATE divisor SET n = 1');
		$jobs->sql("SELECT evsched.change_delay($id, '0')");
		done($id, '0 1 2', 'which is done at the new time');
	});

$jobs->story(
	'pause, stop',
	sub {
		my $id = walk([ '1 h', '1 ms' ], pool => 'active');
		sleeps_before($id, 1);
		is($jobs->sql("SELECT evsched.pause($id)"), 't', 'one that sleeps is paused');
		$jobs->sql("SELECT evsched.change_delay($id, '0')");
		pool_goes_on('active');
		is(steps($id), '0', 'it does not go on');
		is($jobs->sql("SELECT evsched.resume($id)"), 't', 'resumed');
		done($id, '0 1 2', 'resumed');

		$id = walk([ '1 h', '1 ms' ]);
		sleeps_before($id, 1);
		$jobs->becomes(q(SELECT evsched.stop('0')), 't', 'stop() does not wait for who sleeps');
		$jobs->sql("SELECT evsched.change_delay($id, '0')");
		$jobs->becomes("SELECT state FROM evsched.events WHERE id = $id",
			'ready', 'stopped: its time comes');
		wait_asleep(scheduler_pid($server), 0.1);
		is(steps($id), '0', 'and it does not go on');
		$jobs->sql('SELECT evsched.start()');
		done($id, '0 1 2', 'started again');

		$jobs->close_gate(1);
		$id = walk([ '1 ms', '1 ms' ], gates => [ undef, 1 ]);
		$jobs->wait_at_gate(1);
		$jobs->sql('SELECT evsched.force_stop()');
		$jobs->has_runs($id, 'succeeded cancelled', 'force_stop: the step is cut off');
		is($jobs->sql("SELECT payload->>'n' FROM evsched.events WHERE id = $id"),
			1, 'its state is the one before');
		$jobs->open_gate(1);
		$jobs->sql('SELECT evsched.start()');
		done($id, '0 1 2', 'started after force_stop');

		$jobs->close_gate(1);
		$id = walk([ '1 ms', '1 ms' ], gates => [ undef, 1 ]);
		$jobs->wait_at_gate(1);
		is($jobs->sql('SELECT evsched.stop_run(' . $jobs->last_run($id)->{run_id} . ')'),
			't', 'a step is stopped');
		$jobs->has_runs($id, 'succeeded cancelled', 'it ends');
		$jobs->open_gate(1);
		pool_goes_on('passive');
		$jobs->gone($id, 'and with it the coroutine');
		is(steps($id), '0', 'nothing of that step stays');
	});

$jobs->story(
	'the transaction that starts it',
	sub {
		$jobs->sql('BEGIN');
		my $id = walk([ '1 ms', '1 ms' ], pool => 'active');
		my $marker = $jobs->session_of('ann');
		pool_goes_on('active', $marker);
		is(steps($id), '', 'nothing happens before it commits');
		$jobs->sql('ROLLBACK');
		pool_goes_on('active');
		done($id, '', 'rolled back');

		$jobs->sql('BEGIN');
		my $kept = walk(['1 ms']);
		$jobs->sql('SAVEPOINT s');
		my $lost = walk(['1 ms']);
		$jobs->sql($_) for 'ROLLBACK TO s', 'COMMIT';
		done($kept, '0 1', 'before a savepoint');
		done($lost, '',    'after it');

		$jobs->sql('BEGIN');
		$id = walk(['1 ms']);
		$jobs->sql(q(PREPARE TRANSACTION 'p'));
		pool_goes_on('passive', $marker);
		is(steps($id), '', 'prepared: it waits');
		$jobs->sql(q(COMMIT PREPARED 'p'));
		done($id, '0 1', 'prepared');

		# A step starts others.
		$jobs->sql(<<'SQL');
CREATE FUNCTION starts(INOUT state jsonb, OUT sleep interval) LANGUAGE sql AS $$
	INSERT INTO trace (what) VALUES (state::text);
	SELECT evsched.coroutine('starts', to_jsonb(state::int * 2 + i)) FROM generate_series(0, 1) i WHERE state::int < 8;
	SELECT state, NULL::interval;
$$
SQL
		start(step => 'starts', state => '1');
		$jobs->becomes(q(SELECT string_agg(what, ' ' ORDER BY what::int) FROM trace),
			join(' ', 1 .. 15), 'one that starts others');
	});

#
# Functions and rights.
#
$jobs->story(
	'names',
	sub {
		$jobs->sql('CREATE SCHEMA "Odd; schema"');
		my $n = 0;
		for my $name ('Upper', "quote'quote", 'double"double', 'select', 'a.b', '$1', '%s %I', 'ümlaut',
			'back\\slash', 'x' x 63)
		{
			my $quoted = '"' . $name =~ s/"/""/gr . '"';

			$n++;
			$jobs->sql(<<"SQL");
CREATE FUNCTION "Odd; schema".$quoted(INOUT state jsonb, OUT sleep interval) LANGUAGE sql AS \$\$
	INSERT INTO public.effect (id, n) SELECT id, state::int FROM evsched.current_event();
	SELECT to_jsonb(state::int + $n), CASE WHEN state::int = 0 THEN interval '1 ms' END;
\$\$
SQL
			done(start(step => "\"Odd; schema\".$quoted", state => '0'), "0 $n", $name);
		}

		# What the poster's search_path finds, and no other.
		$jobs->sql($_)
		  for 'CREATE SCHEMA first', 'SET search_path = first, public', <<'SQL';
CREATE FUNCTION first.walk(INOUT state jsonb, OUT sleep interval) LANGUAGE sql AS $$
	INSERT INTO public.effect (id, n) SELECT id, 100 FROM evsched.current_event();
	SELECT state, CASE WHEN state::int = 0 THEN interval '1 ms' END;
$$
SQL
		my $id = start(state => '1');
		$jobs->sql('RESET search_path');
		done($id, '100', 'found in the search_path of who starts it');

		# Overloaded ones: the one that takes a jsonb.
		$jobs->sql(<<'SQL');
CREATE FUNCTION walk(state json, OUT state2 jsonb, OUT sleep interval) LANGUAGE sql AS $$ SELECT NULL::jsonb, NULL::interval $$
SQL
		is($jobs->try(q(SELECT evsched.coroutine('walk', '1')))->{sqlstate},
			'42725', 'a name of two functions');
		my $which = $jobs->sql(q(SELECT 'walk(jsonb)'::regprocedure::oid));
		$id = start(step => $which, state => state(['1 ms']));
		done($id, '0 1', 'one of two functions');
		$jobs->sql('DROP FUNCTION walk(json)');
	});

$jobs->story(
	'functions that change',
	sub {
		my $define = sub {
			my ($n, $name) = @_;

			return $jobs->sql(<<"SQL");
CREATE OR REPLACE FUNCTION $name(INOUT state jsonb, OUT sleep interval) LANGUAGE sql AS \$\$
	INSERT INTO effect (id, n) SELECT id, $n FROM evsched.current_event();
	SELECT jsonb_build_object('n', $n), interval '1 h';
\$\$
SQL
		};
		$define->(1, 'changes');
		my $id = start(step => 'changes', state => '{"n": 0}');
		sleeps_before($id, 1);
		$define->(2, 'changes');
		$jobs->sql("SELECT evsched.change_delay($id, '0')");
		sleeps_before($id, 2, 'a function that is replaced');
		$jobs->sql('DROP FUNCTION changes');
		$define->(3, 'changes');
		$jobs->sql("SELECT evsched.change_delay($id, '0')");
		sleeps_before($id, 3, 'or dropped and created again');
		is(steps($id), '1 2 3', 'each time the one that is there');
		$jobs->sql('DROP FUNCTION changes');
		$jobs->sql("SELECT evsched.change_delay($id, '0')");
		dies($id, '42883', 3, 'a function that is dropped');

		$define->(1, 'changes');
		$id = start(step => 'changes', state => '{"n": 0}');
		sleeps_before($id, 1);
		$jobs->sql('DROP FUNCTION changes');
		$jobs->sql('CREATE FUNCTION changes(jsonb) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$');
		$jobs->sql("SELECT evsched.change_delay($id, '0')");
		$jobs->becomes("SELECT count(*) FROM evsched.dead_event WHERE id = $id",
			1, 'a function that returns something else now');
		is($jobs->dead($id)->{payload}{n}, 1, 'dead with its state');
	});

$jobs->story(
	'rights',
	sub {
		my $ann = $jobs->session_of('ann');
		$jobs->sql('CREATE SCHEMA private');
		for my $object ('FUNCTION private.hers(jsonb)', 'SCHEMA private')
		{
			my $what = $object =~ /^FUNCTION/ ? 'EXECUTE' : 'USAGE';

			$jobs->sql(<<'SQL');
CREATE OR REPLACE FUNCTION private.hers(INOUT state jsonb, OUT sleep interval) LANGUAGE sql AS $$
	INSERT INTO public.effect (id, n) SELECT id, (state->>'n')::int FROM evsched.current_event();
	SELECT jsonb_build_object('n', (state->>'n')::int + 1), interval '1 h';
$$;
GRANT USAGE ON SCHEMA private TO ann;
REVOKE ALL ON FUNCTION private.hers(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION private.hers(jsonb) TO ann;
SQL
			my $id = start(step => 'private.hers', state => '{"n": 0}', session => $ann);
			sleeps_before($id, 1);
			$jobs->sql("REVOKE $what ON $object FROM ann");
			$jobs->sql("SELECT evsched.change_delay($id, '0')");
			dies($id, '42501', 1, "ann has lost $what meanwhile");
			is($jobs->sql("SELECT string_agg(who || n, ' ') FROM effect WHERE id = $id"),
				'ann0', 'her first step stays, her second was not done');
		}

		# One who never had them.
		my $id = $jobs->sql(q(SELECT 'private.hers'::regproc::oid));
		my $refused = $ann->try("SELECT evsched.coroutine($id\::oid::regproc, '{\"n\": 0}')");
		if (defined $refused->{error}) { is($refused->{sqlstate}, '42501', 'one without rights is refused'); }
		else { dies($refused->{rows}[0][0], '42501', 0, 'one without rights'); }

		# Nobody starts what cannot run.
		$jobs->sql('CREATE ROLE nobody');
		$jobs->sql(q(SELECT evsched.grant_usage('nobody')));
		$jobs->sql('SET ROLE nobody');
		is($jobs->try(q(SELECT evsched.coroutine('walk', '1')))->{sqlstate},
			'42501', 'a role without LOGIN');
		$jobs->sql('RESET ROLE');
		$jobs->sql('CREATE ROLE stranger LOGIN');
		is( $jobs->session_of('stranger')->try(q(SELECT evsched.coroutine('walk', '1')))->{sqlstate},
			'42501', 'a role without usage');
	});

# What a role sets for its transactions binds its steps, not what goes on with them.
$jobs->story(
	'transactions',
	sub {
		$jobs->sql(<<'SQL');
CREATE FUNCTION looks(INOUT state jsonb, OUT sleep interval) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock_shared(1), (SELECT count(*) FROM divisor);
	sleep := CASE WHEN (state->>'n')::int < 2 THEN interval '1 ms' END;
	state := jsonb_build_object('n', (state->>'n')::int + 1, 'how',
			concat_ws(' ', state->>'how', current_setting('transaction_isolation'), current_setting('transaction_read_only')));
END $$
SQL
		my $ann = $jobs->session_of('ann');
		for my $isolation ('read committed', 'repeatable read', 'serializable')
		{
			for my $read_only ('off', 'on')
			{
				my $name = "$isolation, read only $read_only";

				$jobs->sql("ALTER ROLE ann SET default_transaction_isolation = '$isolation'");
				$jobs->sql("ALTER ROLE ann SET default_transaction_read_only = $read_only");
				$jobs->close_gate(1);
				my $id = start(step => 'looks', state => '{"n": 0}', session => $ann);
				$jobs->wait_at_gate(1);

				# Others write its row meanwhile.
				$jobs->sql("SELECT evsched.change_delay($id, '1 ms')");
				$jobs->open_gate(1);
				$jobs->gone($id, $name);
				is($jobs->states($id), 'succeeded succeeded succeeded', "$name: three steps");
				is($jobs->sql("SELECT result->>'how' FROM evsched.result($id)"),
					join(' ', ("$isolation $read_only") x 3), "$name: each as the role wants");
			}
		}
		$jobs->sql('ALTER ROLE ann RESET ALL');
	});

$jobs->story(
	'what is refused',
	sub {
		$jobs->sql($_)
		  for 'CREATE FUNCTION f1(json, OUT state jsonb, OUT sleep interval) LANGUAGE sql AS $$ SELECT NULL::jsonb, NULL::interval $$',
		  'CREATE FUNCTION f2(jsonb, int, OUT state jsonb, OUT sleep interval) LANGUAGE sql AS $$ SELECT NULL::jsonb, NULL::interval $$',
		  'CREATE FUNCTION f3(OUT state jsonb, OUT sleep interval) LANGUAGE sql AS $$ SELECT NULL::jsonb, NULL::interval $$',
		  'CREATE FUNCTION f4(jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT $1 $$',
		  'CREATE FUNCTION f5(jsonb) RETURNS void LANGUAGE sql AS $$ SELECT $$',
		  'CREATE FUNCTION f6(jsonb, OUT sleep interval, OUT state jsonb) LANGUAGE sql AS $$ SELECT NULL::interval, NULL::jsonb $$',
		  'CREATE FUNCTION f7(jsonb, OUT state jsonb, OUT sleep interval, OUT more int) LANGUAGE sql AS $$ SELECT NULL::jsonb, NULL::interval, 1 $$',
		  'CREATE FUNCTION f8(jsonb, OUT state json, OUT sleep interval) LANGUAGE sql AS $$ SELECT NULL::json, NULL::interval $$',
		  'CREATE FUNCTION f9(jsonb) RETURNS record LANGUAGE sql AS $$ SELECT NULL::jsonb, NULL::interval $$',
		  'CREATE PROCEDURE f10(INOUT jsonb, INOUT interval) LANGUAGE sql AS $$ SELECT NULL::jsonb, NULL::interval $$',
		  'CREATE AGGREGATE f11(jsonb) (sfunc = jsonb_concat, stype = jsonb)',
		  'CREATE FUNCTION f12(VARIADIC jsonb[], OUT state jsonb, OUT sleep interval) LANGUAGE sql AS $$ SELECT NULL::jsonb, NULL::interval $$';
		for my $step (map { "f$_" } 1 .. 12)
		{
			my $refused = $jobs->try("SELECT evsched.coroutine('$step', '1')");
			is($refused->{sqlstate}, '22023', "$step is no step");
			like($refused->{error}, qr/HINT: .*\(state jsonb\)/s, 'the hint tells what one is');
		}
		my $code = sub { return $jobs->try("SELECT evsched.coroutine($_[0])")->{sqlstate}; };
		is($code->(q(NULL, '1')), '22023', 'nothing is no step');
		is($code->(q('no_such', '1')), '42883', 'nor is what is not there');
		is($code->(q(0::regproc, '1')), '42883', 'not even by its number');
		is($code->(q('walk', '1', 'no_such')), '22023', 'a pool that is none');
		is($code->(q('walk', '1', 'default')), '22023', 'a queue is none');
		is($code->(q('walk', '{')), '22P02', 'a state that is no jsonb');
		is($jobs->sql('SELECT count(*) FROM evsched.event'), 0, 'nothing of that was posted');
		my $id = start(state => state([]));
		done($id, '0', 'no pool is pool passive');
		is($jobs->sql("SELECT pool FROM evsched.run WHERE event_id = $id"), 'passive', 'indeed');
		is($jobs->try(q(SELECT evsched._go_on('1', '1 s')))->{sqlstate},
			'55000', 'only a job goes on');
	});

#
# sleep.
#
$jobs->story(
	'sleep',
	sub {
		my $sleeper = $jobs->session_of('admin', 'sleeper');
		is($sleeper->sql(<<'SQL'), 't', 'sleep takes that long');
WITH before AS MATERIALIZED (SELECT clock_timestamp() AS at), slept AS MATERIALIZED (SELECT at, evsched.sleep('120 ms') FROM before)
SELECT clock_timestamp() - at >= interval '120 ms' FROM slept
SQL
		$sleeper->sql(q(SET statement_timeout = '20 s'));
		is($sleeper->try("SELECT evsched.sleep('$_')")->{error}, undef, "sleep $_ does not")
		  for '0', '-1 h', '-100 years', '1 month -30 days';
		is($sleeper->try('SELECT evsched.sleep(NULL)')->{sqlstate}, '22023', 'sleep of nothing is refused');
		for my $delay ('1000 s', '100000 years')
		{
			$sleeper->send("SELECT evsched.sleep('$delay')");
			ok(blocked_in($server, $sleeper, 'PgSleep'), "sleep $delay: it sleeps");
			$jobs->sql('SELECT pg_cancel_backend(' . $sleeper->pid . ')');
			is($sleeper->reply->{sqlstate}, '57014', "sleep $delay: a cancel wakes it");
		}
		$sleeper->sql(q(SET statement_timeout = '50 ms'));
		is($sleeper->try(q(SELECT evsched.sleep('1000 s')))->{sqlstate}, '57014', 'or a timeout');

		my $id = $jobs->enqueue(q(SELECT evsched.sleep('1000 s')));
		$jobs->becomes(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evsched worker' AND wait_event = 'PgSleep'),
			1, 'a job sleeps');
		$jobs->sql('SELECT evsched.stop_run(' . $jobs->last_run($id)->{run_id} . ')');
		$jobs->has_runs($id, 'cancelled', 'stop_run wakes it');
		my $ann = $jobs->session_of('ann');
		is($ann->try(q(SELECT evsched.sleep('1 ms')))->{error}, undef, 'anybody may sleep');
	});

#
# Who dies.
#
# The one worker of pool active, asleep.
sub idle_worker
{
	my @workers;

	$jobs->sql(
		q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
				 WHERE backend_type = 'evsched worker'));
	pool_goes_on('active');
	$jobs->await(
		sub {
			@workers = $jobs->workers;
			return @workers == 1
			  && $jobs->sql(q(SELECT count(*) FROM evsched.run WHERE state = 'running')) == 0;
		},
		'one worker');
	wait_asleep($workers[0], 0.02);
	return $workers[0];
}

for my $point ('run begun', 'run done', 'run recorded', 'run committed', 'run failed')
{
	for my $death ('terminated', 'killed', 'killed with the server')
	{
		my $name = "worker $death at '$point'";

		$jobs->story(
			$name,
			sub {
				my $through = $point eq 'run committed';
				my $id = walk([ '1 h', '300 ms', '1 ms' ], pool => 'active', fail_at => 1);

				$jobs->sql('UPDATE divisor SET n = ' . ($point eq 'run failed' ? 0 : 1));
				sleeps_before($id, 1);
				my $pid = idle_worker();
				stop_at($server, $pid, $point);
				$jobs->sql("SELECT evsched.change_delay($id, '0')");
				wait_stopped($server, $pid);
				is(steps($id), $through ? '0 1' : '0', "$name: so far");
				$jobs->sql('UPDATE divisor SET n = 1');
				my $lost = $jobs->sql(q(SELECT lost FROM evsched.stat_queue WHERE queue = 'active'));
				if ($death eq 'terminated')
				{
					kill('TERM', $pid);
					wait_until(sub { !-e "/proc/$pid" }, "worker $pid to end");
				}
				else
				{
					crash($server, $death eq 'killed' ? $pid : ());
					$jobs->reconnect;
				}
				done($id, '0 1 2 3', $name);
				is($jobs->states($id), join(' ', 'succeeded', $through ? () : 'lost', ('succeeded') x 3),
					"$name: its runs");
				is($jobs->sql(q(SELECT lost FROM evsched.stat_queue WHERE queue = 'active')),
					$through ? $lost : $lost + 1, "$name: counted as it was")
				  if $death eq 'terminated';
				is($jobs->sql(<<"SQL"), 't', "$name: no sleep is cut short");
SELECT bool_and(pause >= '300 ms') FROM (SELECT n, at - lag(at) OVER (ORDER BY k) AS pause FROM effect WHERE id = $id) s
WHERE n = 2
SQL
			});
	}
}

# Lost runs in a row are those of one step.
$jobs->story(
	'lost runs in a row',
	sub {
		$jobs->close_gate($_) for 1 .. 3;
		my $id = walk([ '1 ms', '1 ms' ], gates => [ 1, 2, 3 ]);
		for my $gate (1 .. 3)
		{
			for my $round (1, 2)
			{
				my $pid = $jobs->wait_at_gate($gate);
				$jobs->sql("SELECT pg_terminate_backend($pid)");
				wait_until(sub { !grep { $_ == $pid } $jobs->at_gate($gate); }, 'it to end');
			}
			$jobs->wait_at_gate($gate);
			$jobs->open_gate($gate);
		}
		done($id, '0 1 2', 'lost twice in each step');
		is($jobs->states($id), join(' ', ('lost lost succeeded') x 3), 'its runs say so');
	});

# Between steps there is nothing that could die.
$jobs->story(
	'restarts while it sleeps',
	sub {
		my $id = walk([ ('1 h') x 4 ]);
		my $n  = 0;
		for my $how ('fast', 'immediate', 'crash')
		{
			$n++;
			sleeps_before($id, $n);
			my $due = $jobs->sql("SELECT due_at FROM evsched.events WHERE id = $id");
			if ($how eq 'crash') { crash($server); }
			else
			{
				$server->stop($how);
				$server->start;
			}
			$jobs->reconnect;
			new_scheduler($server, 0);
			is($jobs->sql("SELECT due_at FROM evsched.events WHERE id = $id"), $due, "$how: its time is the same");
			sleeps_before($id, $n, "$how: so is its state");
			pool_goes_on('passive');
			is(steps($id), join(' ', 0 .. $n - 1), "$how: it sleeps on");
			$jobs->sql("SELECT evsched.change_delay($id, '0')");
		}
		sleeps_before($id, 4);
		$jobs->sql("SELECT evsched.change_delay($id, '0')");
		done($id, '0 1 2 3 4', 'through all of that');

		# Its time comes while nobody is there.
		$id = walk([ '1 h', '1 ms' ]);
		sleeps_before($id, 1);
		$jobs->sql("SELECT evsched.change_delay($id, '300 ms')");
		$server->stop('fast');
		$server->start;
		$jobs->reconnect;
		done($id, '0 1 2', 'due about the time of a restart');
	});

# Workers and the server die at any time.
$jobs->story(
	'all at once',
	sub {
		$jobs->set('evsched.max_lost_runs' => 1000);
		$jobs->sql('TRUNCATE effect');
		my $call = call_of(state => state([ ('20 ms') x 9 ]), pool => 'work');
		$jobs->sql("SELECT count($call) FROM generate_series(1, 30)");
		for my $death (1 .. 12)
		{
			$jobs->await(sub { $jobs->sql('SELECT count(*) FROM effect') >= 15 * $death }, 'steps');
			if ($death % 4 == 0)
			{
				crash($server,
					$jobs->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer')));
				$jobs->reconnect;
			}
			else
			{
				$jobs->sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = )
					  . ($death % 4 == 1 ? q('evsched scheduler') : q('evsched worker')));
			}
		}
		$jobs->becomes('SELECT count(*) FROM evsched.event', 0, 'all come to their end');
		is( $jobs->sql(
				q(SELECT count(*) FROM (SELECT id FROM effect GROUP BY id
				  HAVING string_agg(n::text, ' ' ORDER BY k) = '0 1 2 3 4 5 6 7 8 9') s)),
			30,
			'each step of each is done once, in its order');
		is($jobs->sql('SELECT count(*) FROM effect'), 300, 'and no more');
		is($jobs->sql('SELECT count(*) FROM evsched.dead_event'), 0, 'none is dead');
	});

nothing_early();
done_testing();

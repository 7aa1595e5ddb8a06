# A job's effect, the record of its run and its removal commit together: whoever dies, at
# whatever point, it has run once in the end, and what was cut off is told as lost.
use strict;
use warnings;

use Evsched qw(session listener nothing_early scheduler_pid new_scheduler wait_asleep
  wait_until);
use Evsched::Job  qw(call quote trace gate_command);
use Evsched::Stop qw(require_stop_points stop_at wait_stopped go_on crash);
use Test::More;

require_stop_points();

# A worker that is idle stays, so that the next job finds it.
my $jobs = Evsched::Job->new('once', conf => <<'CONF');
evsched.worker_idle_timeout = 10min
synchronous_commit = on
autovacuum = off
CONF
my $server = $jobs->server;

$jobs->sql('CREATE TABLE effect (id bigint)');
$jobs->sql('CREATE TABLE divisor AS SELECT 1 AS n');

# The effect of a job: one row.
my $effect = 'INSERT INTO effect SELECT id FROM evsched.current_event()';

# The worker of pool active, which has nothing to do.
sub idle_worker
{
	my @workers;

	$jobs->sql(
		q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
				 WHERE backend_type = 'evsched worker'));
	$jobs->wait_gone($jobs->enqueue('SELECT 1', pool => 'active'));
	$jobs->await(
		sub {
			@workers = $jobs->workers;
			return @workers == 1
			  && $jobs->sql(q(SELECT count(*) FROM evsched.run WHERE state = 'running'))
			  == 0;
		},
		'one worker');
	wait_asleep($workers[0], 0.02);
	return $workers[0];
}

# A process that has stopped dies: terminated, killed, or killed with the server.
sub dies
{
	my ($pid, $point, $death) = @_;

	if ($death eq 'terminated')
	{
		kill('TERM', $pid);

		# Where it may be through with its transaction, it goes on first.
		go_on($server, $pid) if $point eq 'run committed';
		return wait_until(sub { !-e "/proc/$pid" }, "worker $pid to end");
	}
	crash($server, $death eq 'killed' ? $pid : ());
	return $jobs->reconnect;
}

# In the end it has run once, is gone, and is not dead.
sub once
{
	my ($id, $states, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$jobs->has_runs($id, $states, "$name: runs");
	$jobs->gone($id, "$name: it is gone");
	is($jobs->sql("SELECT count(*) FROM effect WHERE id = $id"), 1, "$name: done once");
	is_deeply($jobs->dead($id), {}, "$name: not dead");
	$jobs->becomes(
		"SELECT count(*) FROM evsched.run WHERE state = 'running' AND event_id = $id",
		0, "$name: no run is told to go on");
	return;
}

# A worker, at a point of a job.
sub dies_at
{
	my ($point, $death, $max_retries) = @_;
	my $name = "worker $death at '$point', max_retries $max_retries";

	$jobs->story(
		$name,
		sub {
			my $pid   = idle_worker();
			my $fails = $point eq 'run failed';

			$jobs->sql('UPDATE divisor SET n = ' . ($fails ? 0 : 1));
			stop_at($server, $pid, $point);
			my $id = $jobs->enqueue(
				"$effect; SELECT 1 / n FROM divisor",
				pool        => 'active',
				max_retries => $max_retries,
				retry_delay => '0');
			wait_stopped($server, $pid);
			$jobs->sql('UPDATE divisor SET n = 1');
			dies($pid, $point, $death);
			once($id, $point eq 'run committed' ? 'succeeded' : 'lost succeeded', $name);
		});
	return;
}

for my $point ('run begun', 'run done', 'run recorded', 'run committed', 'run failed')
{
	for my $death ('terminated', 'killed', 'killed with the server')
	{
		dies_at($point, $death, $_) for 0, 3;
	}
}

# A run that is lost uses no retry.
$jobs->story(
	'lost runs use no retry',
	sub {
		$jobs->close_gate(1);
		my $id = $jobs->enqueue(
			"$effect; INSERT INTO trace (what) SELECT num_retries FROM evsched.current_event(); "
			  . gate_command(1)
			  . '; SELECT 1 / n FROM divisor',
			max_retries => 2,
			retry_delay => '0');
		for my $round (1, 2)
		{
			my $pid = $jobs->wait_at_gate(1);
			$jobs->sql("SELECT pg_terminate_backend($pid)");
			$jobs->has_runs(
				$id,
				'lost ' x ($round - 1) . 'lost running',
				'terminated: lost, and runs again');
			is($jobs->sql("SELECT num_retries FROM evsched.events WHERE id = $id"),
				0, 'uncounted');
		}
		$jobs->sql('UPDATE divisor SET n = 0');
		$jobs->wait_at_gate(1);
		$jobs->open_gate(1);
		$jobs->has_runs(
			$id,
			'lost lost failed failed failed',
			'it has all of its retries');
		$jobs->becomes("SELECT sqlstate FROM evsched.dead_event WHERE id = $id",
			'22012', 'and dies of its error');
		is($jobs->sql("SELECT count(*) FROM effect WHERE id = $id"),
			0, 'nothing of it stays');
		$jobs->sql('UPDATE divisor SET n = 1');
	});

# Only lost runs in a row count.  Each run of the job has a gate of its own.
$jobs->story(
	'lost runs in a row',
	sub {
		$jobs->close_gate($_) for 1, 2;
		my $id = $jobs->enqueue(<<"SQL", max_retries => 0);
SELECT pg_advisory_xact_lock_shared((SELECT 1 + count(*) FROM trace));
INSERT INTO trace (what) VALUES ('run');
SELECT evsched.reschedule((evsched.current_event()).id, '0') WHERE (SELECT count(*) FROM trace) < 2
SQL
		for my $gate (1, 2)
		{
			for my $round (1, 2)
			{
				my $pid = $jobs->wait_at_gate($gate);
				$jobs->sql("SELECT pg_terminate_backend($pid)");
				wait_until(
					sub {
						!grep { $_ == $pid } $jobs->at_gate($gate);
					},
					'it to end');
			}
			$jobs->wait_at_gate($gate);
			$jobs->open_gate($gate);
		}
		$jobs->has_runs(
			$id,
			'lost lost succeeded lost lost succeeded',
			'lost twice, done, lost twice: not dead');
		$jobs->gone($id);
		is_deeply($jobs->dead($id), {}, 'it is not dead');
		is($jobs->traces, 'run run', 'each of its runs is done once');

	});

$jobs->story(
	'lost, failed, lost',
	sub {
		# A run that fails is none that is lost.
		$jobs->close_gate($_) for 4, 5;
		my $id = $jobs->enqueue(
			"SELECT pg_advisory_xact_lock_shared(4 + num_retries), 1 / num_retries FROM evsched.current_event(); $effect",
			max_retries => 1,
			retry_delay => '0');
		for my $gate (4, 5)
		{
			for my $round (1, 2)
			{
				my $pid = $jobs->wait_at_gate($gate);
				$jobs->sql("SELECT pg_terminate_backend($pid)");
				wait_until(
					sub {
						!grep { $_ == $pid } $jobs->at_gate($gate);
					},
					'it to end');
			}
			$jobs->wait_at_gate($gate);
			$jobs->open_gate($gate);
		}
		once(
			$id,
			'lost lost failed lost lost succeeded',
			'lost twice, failed, lost twice');
	});

$jobs->story(
	'three lost runs',
	sub {
		# The third in a row is the last.
		$jobs->close_gate(3);
		my $id = $jobs->enqueue("$effect; " . gate_command(3), max_retries => 5);
		for my $round (1 .. 3)
		{
			my $pid = $jobs->wait_at_gate(3);
			$jobs->sql("SELECT pg_terminate_backend($pid)");
			wait_until(
				sub {
					!grep { $_ == $pid } $jobs->at_gate(3);
				},
				'it to end');
		}
		$jobs->becomes("SELECT count(*) FROM evsched.dead_event WHERE id = $id",
			1, 'lost three times in a row: dead');
		is($jobs->states($id), 'lost lost lost', 'after as many runs');
		$jobs->open_gate(3);
		is($jobs->sql("SELECT evsched.redrive('{$id}'::bigint[])"), 1, 'it is redriven');
		once($id, 'lost lost lost succeeded', 'redriven');
	});

# What was committed on the way stays.
$jobs->story(
	'a procedure that commits is run at least once',
	sub {
		$jobs->sql(<<'SQL');
CREATE PROCEDURE in_steps() LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO trace (what) VALUES ('step1');
	COMMIT;
	PERFORM pg_advisory_xact_lock_shared(1);
	INSERT INTO trace (what) VALUES ('step2');
END $$
SQL
		for my $death ('terminated', 'killed')
		{
			$jobs->sql('TRUNCATE trace RESTART IDENTITY');
			$jobs->close_gate(1);
			my $id  = $jobs->enqueue('CALL in_steps()');
			my $pid = $jobs->wait_at_gate(1);
			is($jobs->states($id), 'running', "$death: it is told as running");
			dies($pid, '', $death);
			if ($death eq 'terminated')
			{
				$jobs->wait_at_gate(1);
				$jobs->open_gate(1);
			}
			$jobs->has_runs(
				$id,
				'lost succeeded',
				"$death after a commit: lost, and run again");
			$jobs->gone($id);
			is( $jobs->traces,
				'step1 step1 step2',
				"$death: what was committed is done again");
		}
	});

# Others die while a job runs.
$jobs->story(
	'the scheduler and the launcher are terminated',
	sub {
		for my $process ('evsched scheduler', 'evsched launcher')
		{
			$jobs->close_gate(1);
			my $id  = $jobs->enqueue("$effect; " . gate_command(1));
			my $pid = $jobs->wait_at_gate(1);
			my $old = $jobs->sql(
				"SELECT pid FROM pg_stat_activity WHERE backend_type = '$process'");
			$jobs->sql("SELECT pg_terminate_backend($old)");
			$jobs->becomes(
				"SELECT count(*) FROM pg_stat_activity WHERE backend_type = '$process' AND pid <> $old",
				1,
				"a new $process");
			my $other = $jobs->enqueue($effect);
			$jobs->has_runs($other, 'succeeded', 'another job runs');
			is(scalar($jobs->at_gate(1)), 1,
				'the one that runs is not run a second time');
			$jobs->open_gate(1);
			$jobs->has_runs($id, 'succeeded', "$process terminated: the job ends");
			$jobs->gone($id);
			is($jobs->sql("SELECT count(*) FROM effect WHERE id = $id"), 1, 'done once');
		}
	});

# Several run when the server goes down.
$jobs->story(
	'restarts',
	sub {
		for my $mode ('fast', 'immediate')
		{
			$jobs->sql('UPDATE divisor SET n = 1');
			my @running = map {
				$jobs->enqueue("$effect; SELECT pg_sleep(1000) FROM divisor WHERE n = 1")
			} 1 .. 3;
			$jobs->await(
				sub {
					$jobs->sql(
						q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep')
					) == 3;
				},
				'three to run');
			$jobs->sql('UPDATE divisor SET n = 2');
			my $later = $jobs->after('1 h',    $effect);
			my $due   = $jobs->after('500 ms', $effect);
			$server->stop($mode);
			$server->start;
			$jobs->reconnect;
			once($_,   'lost succeeded', "a $mode shutdown while it runs") for @running;
			once($due, 'succeeded',      'one that came due meanwhile');
			is($jobs->sql("SELECT state FROM evsched.events WHERE id = $later"),
				'scheduled', 'one for later waits');
			cmp_ok($jobs->enqueue('SELECT 1'), '>', $later, 'ids are not used again');
		}
	});

# One whose run is committed and whose mark is left is not run again, nor is the next of the
# pool, which waits for it.
$jobs->story(
	'a mark that is left',
	sub {
		my $pid = idle_worker();
		stop_at($server, $pid, 'run committed');
		my $id   = $jobs->enqueue($effect, pool => 'active');
		my $next = $jobs->enqueue($effect, pool => 'active');
		wait_stopped($server, $pid);
		is($jobs->sql("SELECT count(*) FROM effect WHERE id = $id"),
			1, 'committed: its effect is seen');
		dies($pid, 'run committed', 'killed with the server');
		once($id,   'succeeded', 'killed after its commit');
		once($next, 'succeeded', 'the next of the pool');
	});

# One that ends its worker each time.
$jobs->story(
	'a job that terminates its worker',
	sub {
		my $id = $jobs->enqueue("$effect; SELECT pg_terminate_backend(pg_backend_pid())",
			max_retries => 5);
		my $other = $jobs->enqueue($effect);
		$jobs->becomes("SELECT count(*) FROM evsched.dead_event WHERE id = $id",
			1, 'a job that terminates its worker each time is dead');
		is($jobs->states($id), 'lost lost lost', 'after three runs');
		is($jobs->sql("SELECT count(*) FROM effect WHERE id = $id"),
			0, 'nothing of it stays');
		once($other, 'succeeded', 'another job');
	});

# One that crashes its worker each time, and with it the server.
$jobs->story(
	'a deadly job',
	sub {
		my $library = Evsched::Job::deadly_library();

		$jobs->sql(
			"CREATE FUNCTION die_now() RETURNS void LANGUAGE C AS '$library', 'die_now'");
		for my $max_retries (0, -1)
		{
			my $message = $jobs->sql(
				q(SELECT evsched.post('"survives"', '1 s', 'survivor', max_retries => 3))
			);
			my $waits  = $jobs->after('2 s', $effect);
			my $deadly = $jobs->after(
				'200 ms',
				"$effect; SELECT die_now()",
				max_retries => $max_retries);
			my $session;

			wait_until(
				sub {
					$session = eval { session($server, 'asks') } or return 0;
					my $asked = $session->try(
						"SELECT count(*) FROM evsched.dead_event WHERE id = $deadly");
					my $found = !defined $asked->{error} && $asked->{rows}[0][0] == 1;
					$session->kill9;
					return $found;
				},
				'it to be dead');
			$jobs->reconnect;
			pass(
				"max_retries $max_retries: a job that crashes its worker each time is dead in the end"
			);
			is($jobs->states($deadly), 'lost lost lost', 'after three lost runs');
			like($jobs->dead($deadly)->{command},
				qr/die_now/, 'the dead event tells the command');
			like($jobs->dead($deadly)->{why}, qr/lost|died/, 'and why');
			$jobs->gone($deadly);
			is($jobs->sql("SELECT count(*) FROM effect WHERE id = $deadly"),
				0, 'nothing of it stays');
			once($waits, 'succeeded', 'a job that waited runs');
			my $listener = listener($server, 'survivor', queue => 'survivor');
			is($listener->event->{payload}, 'survives', 'a message has survived');
			$listener->sql("SELECT evsched.confirm($message)");
			$listener->quit;
			my $pid = scheduler_pid($server);
			wait_asleep($pid, 0.3);
			is(scheduler_pid($server), $pid, 'there is no further crash');
		}
	});

nothing_early();
done_testing();

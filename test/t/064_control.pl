# Jobs that are changed, cancelled, replaced, paused and stopped, waiting or running; and
# what stands in the way of nobody: idle workers, running workers, a restart.
use strict;
use warnings;

use Evsched qw(start_server session on_time near nothing_early scheduler_pid new_scheduler
  wait_asleep wait_until);
use Evsched::Job  qw(call quote trace gate_command);
use Evsched::Stop qw(stop_at wait_stopped go_on);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $jobs = Evsched::Job->new(
	'control',
	roles => [qw(ann bob)],
	conf  => "evsched.worker_idle_timeout = 10min\n");
my $server = $jobs->server;

# A job that says so, waits at gate 1 and then divides by what is in the table.
$jobs->sql('CREATE TABLE divisor AS SELECT 1 AS n');
my $gated = trace('run') . '; ' . gate_command(1) . '; SELECT 1 / n FROM divisor';

sub run_id { my ($id) = @_; return $jobs->last_run($id)->{run_id}; }

# Runs, one after another, jobs of the pool: what was due before has had its turn.
sub pool_goes_on
{
	my ($pool) = @_;
	my $id = $jobs->enqueue('SELECT 1', pool => $pool // 'active');

	return $jobs->wait_gone($id);
}

#
# Waiting.
#
$jobs->story(
	'a job that waits',
	sub {
		my $id = $jobs->after('300 ms', trace('cancelled'), pool => 'active');
		is($jobs->sql("SELECT evsched.cancel($id)"), 't', 'cancelled');
		is($jobs->sql("SELECT evsched.cancel($id)"), 'f', 'only once');
		my $sooner = $jobs->after('1 h', trace('sooner'), pool => 'active');
		my $moved  = $jobs->try("SELECT evsched.change_delay($sooner, '50 ms')");
		is($moved->{rows}[0][0], 't', 'one is due sooner');
		$jobs->has_runs($sooner, 'succeeded', 'it runs');
		near($jobs->last_run($sooner)->{began}, $moved->{ended} + 0.05,
			'at its new time');
		my $later = $jobs->after('100 ms', trace('later'), pool => 'active');
		is($jobs->sql("SELECT evsched.reschedule($later, '500 ms')"),
			't', 'one is due later');
		my $marker = $jobs->after('350 ms', trace('marker'), pool => 'active');
		$jobs->has_runs($marker, 'succeeded', 'another, due before, runs');
		is($jobs->traces, 'sooner marker', 'the cancelled one never does');
		$jobs->has_runs($later, 'succeeded', 'the later one does');
		is($jobs->traces, 'sooner marker later', 'later');

		for my $id ($sooner, -1, 'NULL')
		{
			is($jobs->sql("SELECT evsched.$_"), 'f', "$_: false")
			  for "cancel($id)", "change_delay($id, '0')", "reschedule($id, '0')";
		}
		for my $call ('confirm', 'reject')
		{
			my $waits = $jobs->after('1 h', 'SELECT 1');
			is($jobs->sql("SELECT evsched.$call($waits)"), 'f', "$call of a job: false");
			is($jobs->sql("SELECT count(*) FROM evsched.event WHERE id = $waits"),
				1, 'it is still there');
		}
		is( $jobs->sql(
				q(SELECT count(*) FROM evsched.event e WHERE evsched.confirm(ARRAY[e.id]) > 0)
			),
			0,
			'nor by an array');

		# Due, and waiting for its turn.
		$jobs->close_gate(1);
		my $first = $jobs->enqueue($gated, pool => 'active');
		$jobs->wait_at_gate(1);
		my ($second, $third, $fourth) =
		  map { $jobs->enqueue(trace($_), pool => 'active') } qw(second third fourth);
		is($jobs->sql("SELECT evsched.confirm($third)"),
			'f', 'confirm of a job that is due: false');
		is($jobs->sql("SELECT evsched.reject($third)"), 'f', 'reject, too');
		is($jobs->sql("SELECT evsched.cancel($second)"),
			't', 'one that is due is cancelled');
		is($jobs->sql("SELECT evsched.change_delay($third, '0')"),
			't', 'one is put behind another');
		$jobs->open_gate(1);
		$jobs->has_runs($third, 'succeeded', 'it runs');
		is($jobs->traces, 'sooner marker later run fourth third', 'after the other');
	});

$jobs->story(
	'keys',
	sub {
		my $id =
		  $jobs->after('1 h', trace('old'), key => 'k', pool => 'active', payload => '1');
		is( $jobs->after(
				'2 h', trace('kept'),
				key         => 'k',
				pool        => 'active',
				on_conflict => 'keep'),
			$id,
			'keep: the same');
		is( $jobs->try(
				call(
					'after',
					delay       => '1 h',
					command     => 'SELECT 1',
					key         => 'k',
					pool        => 'active',
					on_conflict => 'error'))->{sqlstate},
			'23505',
			'error: refused');
		isnt($jobs->after('1 h', 'SELECT 1', key => 'k', pool => 'work'),
			$id, 'another pool has keys of its own');
		is($jobs->sql(q(SELECT evsched.change_delay('k', '3 h', 'active'))),
			't', 'by its key it is moved');
		is($jobs->sql(q(SELECT evsched.change_delay('k', '3 h', 'passive'))),
			'f', 'in its pool only');
		is( $jobs->after(
				'50 ms', 'INSERT INTO trace (what) SELECT \'new\' || $1::text',
				key     => 'k',
				pool    => 'active',
				payload => '2'),
			$id,
			'replaced: the same id');
		is($jobs->sql("SELECT key FROM evsched.events WHERE id = $id"), 'k', 'its key');
		$jobs->has_runs($id, 'succeeded', 'it runs');
		is($jobs->traces, 'new2', 'with the new command and payload');
		$jobs->gone($id);
		is($jobs->sql(q(SELECT evsched.cancel('k', 'active'))),
			'f', 'then there is no such key');
		my $new = $jobs->after('1 h', trace('x'), key => 'k', pool => 'active');
		isnt($new, $id, 'a new one has a new id');
		is($jobs->sql(q(SELECT evsched.cancel('k', 'active'))),
			't', 'cancelled by its key');
		is($jobs->sql(q(SELECT evsched.confirm('k', 'work'))),
			'f', 'confirm by key: false');
		is($jobs->sql(q(SELECT evsched.cancel('k', 'work'))),
			't', 'the other was still there');
	});

#
# Running.
#
$jobs->story(
	'cancel of a job that runs',
	sub {
		for my $n (1, 0)
		{
			$jobs->sql('TRUNCATE trace RESTART IDENTITY');
			$jobs->sql("UPDATE divisor SET n = $n");
			$jobs->close_gate(1);
			my $id =
			  $jobs->enqueue($gated, max_retries => 3, retry_delay => '0', key => 'k');
			$jobs->wait_at_gate(1);
			is($jobs->sql("SELECT evsched.cancel($id)"),
				't', 'one that runs is cancelled');
			is($jobs->states($id), 'running', 'it goes on');
			$jobs->open_gate(1);
			$jobs->has_runs(
				$id,
				$n ? 'succeeded'    : 'failed',
				$n ? 'and succeeds' : 'and fails');
			$jobs->gone($id);
			pool_goes_on('passive');
			is($jobs->states($id), $n ? 'succeeded' : 'failed', 'it is not run again');
			is( $jobs->traces,
				$n ? 'run'                    : '',
				$n ? 'what it has done stays' : 'nothing of it stays');
			is_deeply($jobs->dead($id), {}, 'it is not dead');
		}
		$jobs->sql('UPDATE divisor SET n = 1');

		# Cancelled in a transaction that is rolled back: not cancelled.
		$jobs->close_gate(1);
		my $id = $jobs->enqueue($gated, max_retries => 3, retry_delay => '0');
		$jobs->wait_at_gate(1);
		$jobs->sql($_)
		  for 'UPDATE divisor SET n = 0', 'BEGIN', "SELECT evsched.cancel($id)",
		  'ROLLBACK';
		$jobs->open_gate(1);
		$jobs->has_runs(
			$id,
			'failed failed failed failed',
			'a cancel that is rolled back: it is retried');
		$jobs->becomes("SELECT count(*) FROM evsched.dead_event WHERE id = $id",
			1, 'and dies');
		$jobs->sql('UPDATE divisor SET n = 1');

		# Cancelled while it runs, and then lost.
		$jobs->close_gate(1);
		$id = $jobs->enqueue($gated);
		my $pid = $jobs->wait_at_gate(1);
		is($jobs->sql("SELECT evsched.cancel($id)"), 't', 'one that runs is cancelled');
		$jobs->sql("SELECT pg_terminate_backend($pid)");
		$jobs->has_runs($id, 'lost', 'and then lost');
		pool_goes_on('passive');
		is($jobs->states($id), 'lost', 'it is not run again');
		is_deeply($jobs->dead($id), {}, 'nor dead');
	});

$jobs->story(
	'change_delay of a job that runs',
	sub {
		for my $n (1, 0)
		{
			$jobs->sql('TRUNCATE trace RESTART IDENTITY');
			$jobs->sql("UPDATE divisor SET n = $n");
			$jobs->close_gate(1);
			my $id = $jobs->enqueue($gated);
			$jobs->wait_at_gate(1);
			my $moved = $jobs->try("SELECT evsched.change_delay($id, '1 s')");
			is($moved->{rows}[0][0], 't',       'one that runs is due again');
			is($jobs->states($id),   'running', 'it goes on');
			$jobs->open_gate(1);
			my $first = $n ? 'succeeded' : 'failed';
			$jobs->await(sub { $jobs->states($id) !~ /^(running)?$/ }, 'its end');
			$jobs->sql('UPDATE divisor SET n = 1');
			$jobs->has_runs($id, "$first succeeded", "$first, and run again");
			near(($jobs->runs($id))[1]{began}, $moved->{ended} + 1, 'at the new time');
			$jobs->gone($id);
			is($jobs->traces, $n ? 'run run' : 'run', 'each run has its effect');
			is_deeply($jobs->dead($id), {}, 'it is not dead');
		}

		# Due again at once: not twice at a time.
		$jobs->close_gate(1);
		my $id = $jobs->enqueue($gated);
		$jobs->wait_at_gate(1);
		is($jobs->sql("SELECT evsched.change_delay($id, '0')"), 't', 'due again at once');
		pool_goes_on('passive');
		is($jobs->states($id), 'running', 'it does not run beside itself');
		$jobs->open_gate(1);
		$jobs->has_runs($id, 'succeeded succeeded', 'but afterwards');
		$jobs->gone($id);
	});

$jobs->story(
	'the key of a job that runs',
	sub {
		$jobs->close_gate(1);
		my $id = $jobs->enqueue($gated, key => 'k');
		$jobs->wait_at_gate(1);
		is($jobs->after('1 h', trace('kept'), key => 'k', on_conflict => 'keep'),
			$id, 'keep: the one that runs');
		is( $jobs->try(
				call(
					'after',
					delay       => '1 h',
					command     => 'SELECT 1',
					key         => 'k',
					on_conflict => 'error'))->{sqlstate},
			'23505',
			'error: refused');
		my $new = $jobs->enqueue(trace('new'), key => 'k');
		isnt($new, $id, 'replaced: a new one');
		$jobs->has_runs($new, 'succeeded', 'which runs');
		is($jobs->states($id), 'running', 'the old one goes on');
		$jobs->open_gate(1);
		$jobs->has_runs($id, 'succeeded', 'and ends');
		$jobs->gone($id);
	});

$jobs->story(
	'stop_run',
	sub {
		for my $command (
			'SELECT pg_sleep(1000)',
			'DO $$ BEGIN LOOP END LOOP; END $$',
			'SELECT count(*) FROM generate_series(1, 1000000000)',
			'CALL sleeps()')
		{
			$jobs->sql(
				'CREATE OR REPLACE PROCEDURE sleeps() LANGUAGE plpgsql AS $$ BEGIN COMMIT; PERFORM pg_sleep(1000); END $$'
			);
			my $id =
			  $jobs->enqueue(($command =~ /CALL/ ? '' : trace('x') . '; ') . $command,
				pool => 'active');
			$jobs->has_runs($id, 'running', "$command runs");
			is($jobs->sql('SELECT evsched.stop_run(' . run_id($id) . ')'),
				't', 'stop_run');
			$jobs->has_runs($id, 'cancelled', 'ends it');
			is($jobs->sql('SELECT evsched.stop_run(' . run_id($id) . ')'),
				'f', 'only once');
			ok(defined $jobs->last_run($id)->{ended_at}, 'its end is told');
			pool_goes_on();
			is($jobs->states($id), 'cancelled', 'it is not run again');
			is($jobs->sql("SELECT count(*) FROM evsched.event WHERE id = $id"),
				0, 'it is gone');
			is($jobs->traces, '', 'nothing of it stays');
			is($jobs->sql("SELECT state FROM evsched.result($id)"),
				'cancelled', 'result() says so');
		}
		is($jobs->sql('SELECT evsched.stop_run(-1)'),   'f', 'an unknown run: false');
		is($jobs->sql('SELECT evsched.stop_run(NULL)'), 'f', 'none: false');
		my $id = $jobs->enqueue('SELECT 1');
		$jobs->has_runs($id, 'succeeded', 'a job has ended');
		is($jobs->sql('SELECT evsched.stop_run(' . run_id($id) . ')'),
			'f', 'one that has ended: false');

		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
		$id = $jobs->enqueue('SELECT pg_sleep(1000)', session => $ann);
		$jobs->has_runs($id, 'running', 'a job of ann');
		my $run = run_id($id);
		is($bob->sql("SELECT evsched.stop_run($run)"), 'f',       'bob cannot stop it');
		is($jobs->states($id),                         'running', 'it goes on');
		is($ann->sql("SELECT evsched.stop_run($run)"), 't',       'ann can');
		$jobs->has_runs($id, 'cancelled', 'it ends');
	});

# What comes too late, or early, hits no other job.
SKIP:
{
	my $folder = `${\($ENV{PG_CONFIG} // 'pg_config')} --pkglibdir`;
	chomp $folder;
	skip('no stop points', 1) unless slurp_file("$folder/evsched.so") =~ /evsched_stop/;

	for my $point ('run begun', 'run done', 'run recorded', 'run committed')
	{
		$jobs->story(
			"stop_run at '$point'",
			sub {
				my $id = $jobs->enqueue('SELECT 1', pool => 'active');
				$jobs->wait_gone($id);
				$jobs->sql(
					q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker')
				);
				pool_goes_on();
				my @workers = $jobs->workers;
				is(scalar @workers, 1, 'one worker');
				wait_asleep($workers[0], 0.02);
				stop_at($server, $workers[0], $point);
				$id = $jobs->enqueue(trace('stopped'), pool => 'active');
				wait_stopped($server, $workers[0]);
				my $run =
				  $jobs->sql("SELECT max(run_id) FROM evsched.run WHERE event_id = $id");
				my $said =
				  defined $run ? $jobs->sql("SELECT evsched.stop_run($run)") : 'f';
				go_on($server, $workers[0]);
				$jobs->await(sub { $jobs->states($id) =~ /^(succeeded|cancelled)$/ },
					'its end');
				my $state = $jobs->states($id);
				note("at '$point': $said, $state");
				is( $jobs->traces,
					$state eq 'succeeded' ? 'stopped' : '',
					"stop_run at '$point': done, or cancelled");
				isnt("$said $state", 'f cancelled', 'and that is what it has said');
				is($state, 'succeeded', 'committed is committed')
				  if $point eq 'run committed';
				$jobs->gone($id);
				my @next =
				  map { $jobs->enqueue('SELECT pg_sleep(0.05)', pool => 'active') }
				  1 .. 2;
				$jobs->has_runs($_, 'succeeded', 'the next jobs are not hit') for @next;
			});
	}
}

$jobs->story(
	'run_timeout',
	sub {
		my $id = $jobs->enqueue(
			trace('x')
			  . '; SELECT pg_sleep(0.12); SELECT pg_sleep(0.12); SELECT pg_sleep(1000)',
			pool        => 'active',
			run_timeout => '300 ms');
		$jobs->has_runs($id, 'failed', 'a job that takes too long');
		my $run = $jobs->last_run($id);
		is($run->{sqlstate}, '57014', 'its sqlstate');
		near(
			$run->{ended},
			$run->{began} + 0.3,
			'ends when its time is over, however many statements');
		cmp_ok($run->{ended} - $run->{began}, '>=', 0.299, 'not before');
		is($jobs->traces, '', 'nothing of it stays');
		$jobs->becomes("SELECT sqlstate FROM evsched.dead_event WHERE id = $id",
			'57014', 'it is dead');
		$id = $jobs->enqueue('SELECT pg_sleep(0.5)', pool => 'active');
		$jobs->has_runs($id, 'succeeded', 'the next has its own time');
		$id = $jobs->enqueue('SELECT 1', pool => 'active', run_timeout => '200 ms');
		$jobs->has_runs($id, 'succeeded', 'one that ends before');
		$id = $jobs->enqueue('SELECT pg_sleep(0.5)', pool => 'active');
		$jobs->has_runs($id, 'succeeded', 'leaves no timeout behind');
		$id = $jobs->enqueue(
			'SELECT pg_sleep(1000)',
			pool        => 'active',
			run_timeout => '50 ms',
			max_retries => 1,
			retry_delay => '0');
		$jobs->has_runs($id, 'failed failed', 'it is retried like any other');
		$id = $jobs->enqueue('CALL sleeps()', pool => 'active', run_timeout => '50 ms');
		$jobs->has_runs($id, 'failed', 'a procedure that commits');
		is($jobs->last_run($id)->{sqlstate}, '57014', 'ends so, too');

		for my $wrong ('0', '-1 s')
		{
			is( $jobs->try(call('enqueue', command => 'SELECT 1', run_timeout => $wrong))
				  ->{sqlstate},
				'22023',
				"run_timeout $wrong is refused");
		}
	});

#
# stop, force_stop, start, pause_queue.
#
$jobs->story(
	'stop',
	sub {
		$jobs->close_gate(1);
		my $runs   = $jobs->enqueue($gated,          pool => 'active');
		my $second = $jobs->enqueue(trace('second'), pool => 'active');
		my $pid    = $jobs->wait_at_gate(1);
		is($jobs->sql(q(SELECT evsched.stop('100 ms'))),
			'f', 'stop: false while a job runs');
		is($jobs->states($runs),      'running', 'it goes on');
		is(scalar($jobs->at_gate(1)), 1,         'indeed');
		my $new     = $jobs->enqueue(trace('new'));
		my $stopper = $jobs->session_of('admin', 'stopper');
		$stopper->send(q(SELECT evsched.stop('25 s')));
		wait_until(
			sub {
				$jobs->sql(
					'SELECT coalesce(wait_event, \'\') FROM pg_stat_activity WHERE pid = '
					  . $stopper->pid) ne '';
			},
			'it to wait');
		$jobs->open_gate(1);
		is($stopper->reply->{rows}[0][0], 't', 'it waits for the job, which ends');
		is($jobs->states($runs),          'succeeded', 'well');
		$jobs->gone($runs);
		is($jobs->traces, 'run', 'no other was begun');
		is($jobs->states($_), '', 'they wait') for $second, $new;
		is( $jobs->sql(
				"SELECT count(*) FROM evsched.events WHERE id IN ($second, $new) AND state = 'ready'"
			),
			2, 'ready');
		is($jobs->sql(q(SELECT evsched.stop('0'))), 't', 'nothing runs');
		$server->restart;
		$jobs->reconnect;
		new_scheduler($server, 0);
		wait_asleep(scheduler_pid($server), 0.3);
		is($jobs->traces, 'run', 'not after a restart, either');
		$jobs->sql('SELECT evsched.start()');
		$jobs->has_runs($_, 'succeeded', 'start: they run') for $second, $new;
	});

$jobs->story(
	'force_stop',
	sub {
		$jobs->close_gate(1);
		my @running = (
			$jobs->enqueue($gated, pool => 'active'),
			$jobs->enqueue($gated),
			$jobs->enqueue(
				trace('sleeps') . '; SELECT pg_sleep(1000) FROM divisor WHERE n = 1',
				pool => 'work'));
		my $waits = $jobs->enqueue(trace('second'), pool => 'active');
		$jobs->wait_at_gate(1, 2);
		$jobs->has_runs($running[2], 'running', 'three run');
		$jobs->sql('SELECT evsched.force_stop()');
		$jobs->has_runs($_, 'cancelled', 'force_stop: those that run are cancelled')
		  for @running;
		is( $jobs->sql(
				"SELECT count(*) FROM evsched.events WHERE id IN ("
				  . join(', ', @running, $waits) . ")"),
			4,
			'and stay queued');
		is($jobs->sql("SELECT coalesce(sum(num_retries), 0) FROM evsched.events"),
			0, 'uncounted');
		is($jobs->traces, '', 'nothing of them stays');
		$jobs->becomes(q(SELECT evsched.stop('0')), 't', 'nothing runs any more');
		is($jobs->states($waits), '', 'nor is another begun');
		$jobs->open_gate(1);
		$jobs->sql('UPDATE divisor SET n = 2');
		$jobs->sql('SELECT evsched.start()');
		$jobs->has_runs($_,     'cancelled succeeded', 'start: they go on') for @running;
		$jobs->has_runs($waits, 'succeeded',           'with the others');
		$jobs->sql('UPDATE divisor SET n = 1');
		is($jobs->sql('SELECT count(*) FROM evsched.dead_event'), 0, 'none is dead');
	});

$jobs->story(
	'pause_queue',
	sub {
		$jobs->close_gate(1);
		my $runs = $jobs->enqueue($gated);
		$jobs->wait_at_gate(1);
		is($jobs->sql(q(SELECT evsched.pause_queue('passive'))), 't', 'a pool is paused');
		is( $jobs->session_of('ann')->try(q(SELECT evsched.pause_queue('active')))
			  ->{sqlstate},
			'42501', 'not by anybody');
		my @wait = (
			map({ $jobs->enqueue(trace("w$_")) } 1 .. 3),
			$jobs->after('50 ms', trace('later')));
		$jobs->open_gate(1);
		$jobs->has_runs($runs, 'succeeded', 'the one that runs ends');
		my $other = $jobs->after('150 ms', trace('other'), pool => 'work');
		$jobs->has_runs($other, 'succeeded', 'another pool goes on');
		is($jobs->traces, 'run other', 'nothing else runs');
		is($jobs->sql(q(SELECT evsched.pause_queue('passive'))),
			'f', 'it is paused already');
		is($jobs->sql(q(SELECT evsched.resume_queue('passive'))), 't', 'resumed');
		$jobs->has_runs($_, 'succeeded', 'they run') for @wait;
	});

#
# Nobody is in anybody's way.
#
# It succeeds, before the server gives up after 5 s.
sub quick
{
	my ($statement, $name, $session) = @_;
	my $result = ($session // $jobs->admin)->try($statement);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($result->{error}, undef, $name);
	return cmp_ok($result->{ended} - $result->{began}, '<', 5, 'without much ado');
}

$jobs->story(
	'databases',
	sub {
		for my $running (0, 1)
		{
			$jobs->sql('CREATE DATABASE theirs');
			$server->safe_psql('theirs', 'CREATE EXTENSION evsched');
			$jobs->prepare('theirs');
			my $there = session($server, 'theirs', dbname => 'theirs');
			$there->sql(call('enqueue', command => trace('there'), pool => $_))
			  for qw(active passive work);
			wait_until(
				sub {
					$there->sql('SELECT count(*) FROM trace') == 3
					  && $there->sql('SELECT count(*) FROM evsched.event') == 0;
				},
				'jobs of another database');
			$there->quit;
			wait_until(
				sub {
					$jobs->sql(
						q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'theirs' AND backend_type = 'client backend')
					) == 0;
				},
				'its session to end');
			cmp_ok(
				$jobs->sql(
					q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'theirs' AND backend_type = 'evsched worker')
				),
				'>', 0,
				'there are idle workers');
			quick('ALTER DATABASE theirs RENAME TO hers', 'ALTER DATABASE RENAME');
			my $again = session($server, 'hers', dbname => 'hers');
			$again->sql(call('enqueue', command => trace('again')));
			wait_until(
				sub {
					$again->sql('SELECT count(*) FROM trace') == 4
					  && $again->sql('SELECT count(*) FROM evsched.event') == 0;
				},
				'a job of it');
			$again->quit;
			wait_until(
				sub {
					$jobs->sql(
						q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'hers' AND backend_type = 'client backend')
					) == 0;
				},
				'its session to end');
			quick('CREATE DATABASE copy TEMPLATE hers', 'CREATE DATABASE TEMPLATE');
			quick('DROP DATABASE copy',                 'DROP DATABASE of the copy');
			if ($running)
			{
				my $poster = session($server, 'hers', dbname => 'hers');
				$poster->sql(call('enqueue', command => 'SELECT pg_sleep(1000)'));
				wait_until(
					sub {
						$jobs->sql(
							q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'hers' AND wait_event = 'PgSleep')
						) == 1;
					},
					'a job to run');
				$poster->quit;
				quick(
					'DROP DATABASE hers WITH (FORCE)',
					'DROP DATABASE FORCE with a running job');
			}
			else { quick('DROP DATABASE hers', 'DROP DATABASE with idle workers'); }
		}
		pool_goes_on();
		pass('jobs of others go on');
	});

$jobs->story(
	'DROP EXTENSION',
	sub {
		for my $running (0, 1)
		{
			$jobs->sql('CREATE DATABASE theirs');
			my $there = session($server, 'theirs', dbname => 'theirs');
			$there->sql('CREATE EXTENSION evsched');
			$jobs->prepare('theirs');
			$there->sql(call('enqueue', command => trace('there'), pool => $_))
			  for qw(active passive work);
			wait_until(
				sub {
					$there->sql('SELECT count(*) FROM trace') == 3
					  && $there->sql('SELECT count(*) FROM evsched.event') == 0;
				},
				'its jobs');
			if ($running)
			{
				$there->sql(
					call('enqueue', command => trace('x') . '; SELECT pg_sleep(1000)'));
				wait_until(
					sub {
						$jobs->sql(
							q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'theirs' AND wait_event = 'PgSleep')
						) == 1;
					},
					'a job to run');
			}
			my $name = $running ? 'with a running job' : 'with idle workers';
			quick('DROP EXTENSION evsched', "DROP EXTENSION $name", $there);
			$jobs->becomes(
				q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'theirs' AND backend_type = 'evsched worker'),
				0,
				'its workers go');
			$jobs->sql(
				q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = 'theirs' AND backend_type = 'evsched worker')
			);
			is($there->sql(q(SELECT count(*) FROM trace WHERE what = 'x')),
				0, 'nothing stays of what was cut off');
			quick('CREATE EXTENSION evsched', 'it can be created again', $there);
			$there->sql('TRUNCATE trace');
			$there->sql(call('enqueue', command => trace('again')));
			wait_until(sub { $there->sql('SELECT count(*) FROM trace') == 1 },
				'a job of it');
			pass('and its jobs run');
			is( $there->sql(
					q(SELECT count(*) FROM evsched.run WHERE state <> 'succeeded' AND state <> 'running')
				),
				0,
				'no run of the old one is told');
			$there->quit;
			quick('DROP DATABASE theirs WITH (FORCE)', 'its database is dropped');
		}
	});

# Jobs that do what takes their own ground away.
$jobs->story(
	'jobs that control',
	sub {
		my $id = $jobs->enqueue(q(SELECT evsched.stop('50 ms')));
		$jobs->has_runs($id, 'succeeded', 'a job that stops everything');
		is($jobs->sql("SELECT result FROM evsched.result($id)"),
			'false', 'itself goes on');
		my $next = $jobs->enqueue('SELECT 1');
		$jobs->becomes(q(SELECT evsched.stop('0')), 't', 'then nothing runs');
		is($jobs->states($next), '', 'indeed');
		$jobs->sql('SELECT evsched.start()');
		$jobs->has_runs($next, 'succeeded', 'start: the next runs');

		$jobs->sql('CREATE DATABASE theirs');
		my $there = session($server, 'theirs', dbname => 'theirs');
		$there->sql('CREATE EXTENSION evsched');
		$there->sql(call('enqueue', command => 'DROP EXTENSION evsched'));
		wait_until(
			sub {
				my $done = $there->try(
					q(SELECT (SELECT count(*) FROM evsched.event) + (SELECT count(*) FROM evsched.run WHERE state = 'running'))
				);
				return defined $done->{error} || $done->{rows}[0][0] == 0;
			},
			'a job that drops the extension');
		pass('a job that drops the extension ends');
		is($there->try('DROP EXTENSION IF EXISTS evsched')->{error},
			undef, 'one way or the other');
		is($there->try('CREATE EXTENSION evsched')->{error},
			undef, 'and it can be created again');
		$there->sql(call('enqueue', command => 'CREATE TABLE done ()'));
		wait_until(
			sub {
				$there->sql(q(SELECT count(*) FROM pg_class WHERE relname = 'done')) == 1;
			},
			'a job of it');
		pass('with its jobs');
		$there->quit;
		quick('DROP DATABASE theirs WITH (FORCE)', 'its database is dropped');
	});

$jobs->story(
	'a DROP EXTENSION that is rolled back',
	sub {
		my $dropper = $jobs->session_of('admin', 'dropper');
		pool_goes_on();
		$dropper->sql('BEGIN');
		quick('DROP EXTENSION evsched', 'DROP EXTENSION', $dropper);
		$dropper->sql('ROLLBACK');
		pool_goes_on();
		pass('rolled back: jobs go on');
	});

nothing_early();
done_testing();

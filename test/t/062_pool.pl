# Pools and workers: how many jobs run at once, how many workers there are, when they come
# and go, and whom they keep waiting.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early scheduler_pid
  process_state wait_asleep wait_until);
use Evsched::Job qw(call quote trace gate_command);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $jobs = Evsched::Job->new(
	'pool',
	roles => [qw(ann bob)],
	conf  => <<'CONF');
evsched.pools = 'active:1, passive:2, work:3'
evsched.worker_idle_timeout = 10min
max_worker_processes = 24
CONF
my $server = $jobs->server;

# Posts n such commands at once.
sub post_many
{
	my ($n, $command, %options) = @_;
	my $session = delete $options{session} // $jobs->admin;
	my $call =
	  call('after', delay => '0', command => $command, %options) =~ s/^SELECT //r;

	return $session->sql("SELECT count($call) FROM generate_series(1, $n)");
}

sub all_done
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $jobs->becomes('SELECT count(*) FROM evsched.event', 0, $name);
}

#
# How many at once.
#
is(scalar($jobs->workers), 0, 'at first there is no worker');

$jobs->story(
	'sleep sort',
	sub {
		my $warm = $jobs->enqueue('SELECT 1');
		$jobs->wait_gone($warm);
		for my $round (1 .. 3)
		{
			$jobs->sql('TRUNCATE trace RESTART IDENTITY');
			my $since = time;
			$jobs->sql(
				q(SELECT count(evsched.after('300 ms', 'INSERT INTO trace (what) VALUES (1)'))
					 FROM generate_series(1, 20)));
			my $posted = time;
			$jobs->wait_traces(20);
			is($jobs->sql('SELECT count(*) FROM trace'),
				20, 'twenty at a time, two workers: all run');
			my ($first, $last) = @{
				(   $jobs->rows(
						'SELECT extract(epoch FROM min(at)), extract(epoch FROM max(at)) FROM trace'
					))[0]
			};
			cmp_ok($first, '>=', $since + 0.3, 'none before its time');
			cmp_ok($last,  '<=', $posted + 0.3 + 3 * Evsched::prompt(), 'within 600 ms');
			all_done('nothing is left');
		}
		cmp_ok(scalar($jobs->workers), '<=', 2, 'by two workers');
	});

$jobs->story(
	'no more than the size of the pool',
	sub {
		post_many(30, $jobs->span('s', 0.03), pool => 'work');
		all_done('thirty jobs in a pool of three');
		is($jobs->overlap, 3, 'three run at once');
		$jobs->sql('TRUNCATE trace');
		post_many(10, $jobs->span('s', 0.03), pool => 'passive');
		all_done('ten jobs in a pool of two');
		is($jobs->overlap, 2, 'two run at once');
		$jobs->sql('TRUNCATE trace');
		post_many(10, $jobs->span('s', 0.01), pool => 'active');
		all_done('ten jobs in active');
		is($jobs->overlap, 1, 'one runs at once');
		$jobs->sql('TRUNCATE trace');
		post_many(6, $jobs->span($_, 0.03), pool => $_) for qw(active passive work);
		all_done('all pools at a time');

		for my $pool ([ active => 1 ], [ passive => 2 ], [ work => 3 ])
		{
			cmp_ok($jobs->overlap("b.what = '$pool->[0]'"),
				'<=', $pool->[1], "$pool->[0] keeps its size");
		}
		cmp_ok($jobs->overlap, '>', 3, 'and they do not wait for each other');
	});

# A job that fails, is lost, or ends in whatever way leaves its place to the next.
$jobs->story(
	'places are given back',
	sub {
		post_many(10, 'SELECT 1 / 0', pool => 'active');
		$jobs->close_gate(1);
		my $lost = $jobs->enqueue(gate_command(1), pool => 'active');
		my $last = $jobs->enqueue(trace('last'),   pool => 'active');
		my $pid  = $jobs->wait_at_gate(1);
		is($jobs->states($last), '', 'the next waits while one runs');
		is($jobs->sql(q(SELECT evsched.size('active'))),
			1, 'size() counts the one that waits');
		$jobs->sql("SELECT pg_terminate_backend($pid)");
		$jobs->has_runs($lost, 'lost running', 'one that is lost runs again');
		$jobs->open_gate(1);
		$jobs->has_runs($last, 'succeeded', 'then the next one');
		all_done('all are done');
		is($jobs->sql(q(SELECT evsched.size('active'))),           0,  'size() says so');
		is($jobs->sql(q(SELECT count(*) FROM evsched.dead_event)), 10, 'or dead');
	});

$jobs->story(
	'size',
	sub {
		$jobs->close_gate(1);
		$jobs->enqueue(gate_command(1)) for 1 .. 5;
		$jobs->after('1 h', 'SELECT 1') for 1 .. 4;
		$jobs->wait_at_gate(1, 2);
		is($jobs->sql(q(SELECT evsched.size('passive'))),
			3, 'size: what is due and waits, not what runs or is not due');
		is($jobs->sql(q(SELECT evsched.size('work'))), 0, 'of that pool');
		$jobs->sql(q(SELECT evsched.post('1', queue => 'any')));
		is($jobs->sql(q(SELECT evsched.size('any'))),  1, 'or any queue');
		is($jobs->sql(q(SELECT evsched.size('none'))), 0, 'none where there is nothing');
	});

#
# Workers come and go.
#
$jobs->story(
	'workers',
	sub {
		$jobs->set('evsched.worker_idle_timeout' => '100ms');
		$jobs->becomes(
			q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evsched worker'),
			0,
			'idle workers retire');
		$jobs->sql(
			q(SELECT count(evsched.after('1 h', 'SELECT 1')) FROM generate_series(1, 1000))
		);
		my $due = $jobs->after('300 ms', trace('due'));
		is(scalar($jobs->workers), 0, 'a thousand jobs that wait occupy none');
		$jobs->has_runs($due, 'succeeded', 'one is started for one that is due');
		$jobs->becomes(
			q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evsched worker'),
			0,
			'and retires');
		my $scheduler = scheduler_pid($server);
		wait_asleep($scheduler, 0.5);
		my $before = process_state($scheduler);
		my $until  = time + 0.5;
		wait_until(sub { time > $until }, 'half a second to pass');
		is_deeply(process_state($scheduler), $before, 'then nobody is awake');

		# Never in the middle of a job, however short the time.
		$jobs->sql($_) for 'DELETE FROM evsched.event', 'TRUNCATE trace RESTART IDENTITY';
		my $lost = $jobs->sql(q(SELECT count(*) FROM evsched.run WHERE state = 'lost'));
		$jobs->set('evsched.worker_idle_timeout' => '1ms');
		post_many(200, 'INSERT INTO trace (what) VALUES (1)', pool => 'work');
		for my $n (1 .. 20)
		{
			$jobs->enqueue('INSERT INTO trace (what) VALUES (1)');
		}
		all_done('workers that retire at once');
		is($jobs->sql('SELECT count(*) FROM trace'), 220, 'do all of it');
		is($jobs->sql(q(SELECT count(*) FROM evsched.run WHERE state = 'lost')),
			$lost, 'and lose nothing');

		# One that has time is used again.
		$jobs->set('evsched.worker_idle_timeout' => '10min');
		$jobs->sql('TRUNCATE trace RESTART IDENTITY');
		for my $n (1 .. 5)
		{
			my $id = $jobs->enqueue(trace($n), pool => 'active');
			$jobs->wait_gone($id);
		}
		is($jobs->sql('SELECT count(DISTINCT pid) FROM trace'),
			1, 'a worker that is idle is used again');
		my ($pid) = $jobs->workers;
		is( $jobs->sql(
				"SELECT usename || ' ' || datname FROM pg_stat_activity WHERE pid = $pid"
			),
			$jobs->sql(q(SELECT current_user || ' postgres')),
			'it is told whose it is');

		# An idle worker that is terminated is no loss.
		$jobs->sql(
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'evsched worker'"
		);
		my $id = $jobs->enqueue(trace('after'));
		$jobs->has_runs($id, 'succeeded',
			'all workers are terminated: the next job runs');
	});

$jobs->story(
	'two roles',
	sub {
		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
		for my $session ($ann, $bob, $ann)
		{
			post_many(
				8, $jobs->span($session->name, 0.03),
				session => $session,
				pool    => 'work');
		}
		all_done('jobs of two roles in a pool');
		is($jobs->sql(q(SELECT count(*) FROM trace WHERE what = who)),
			24, 'each runs as its own');
		cmp_ok($jobs->overlap, '<=', 3, 'together they keep the pool\'s size');
		is( $jobs->sql(
				'SELECT max(n) FROM (SELECT count(DISTINCT who) AS n FROM trace GROUP BY pid) s'
			),
			1,
			'no worker serves both');

		# Order is kept across roles.
		$jobs->sql('TRUNCATE trace RESTART IDENTITY');
		for my $n (1 .. 6)
		{
			$jobs->enqueue(
				"INSERT INTO trace (what) VALUES ($n)",
				session => $n % 2 ? $ann : $bob,
				pool    => 'active');
		}
		all_done('two roles in active');
		is($jobs->traces, '1 2 3 4 5 6', 'in the order of their times');
	});

# The limits of workers; idle ones of another role give way.
$jobs->story(
	'max_workers',
	sub {
		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
		my $context = $jobs->sql(
			q(SELECT context FROM pg_settings WHERE name = 'evsched.max_workers'));
		my $limit = sub {
			my ($name, $value) = @_;

			return $jobs->set($name => $value) unless $context eq 'postmaster';
			$jobs->sql("ALTER SYSTEM SET $name = $value");
			$server->restart;
			$jobs->reconnect;
			($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
			return;
		};
		$limit->('evsched.max_workers', 2);
		$jobs->sql(
			q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker')
		);
		post_many(4, $jobs->span($_, 0.03), pool => $_, session => $ann)
		  for qw(passive work active);
		my $most = 0;
		$jobs->await(
			sub {
				my $n = $jobs->workers;
				$most = $n if $n > $most;
				return $jobs->sql('SELECT count(*) FROM evsched.event') == 0;
			},
			'twelve jobs');
		cmp_ok($most,          '<=', 2, 'never more workers than evsched.max_workers');
		cmp_ok($jobs->overlap, '<=', 2, 'nor more jobs at once');
		is($jobs->sql('SELECT count(*) FROM trace'), 12, 'all run in the end');
		my $id = $jobs->enqueue(trace('bob'), session => $bob, pool => 'work');
		$jobs->has_runs($id, 'succeeded',
			'where the idle workers are another role\'s, one gives way');

		$server->safe_psql('postgres', 'CREATE DATABASE other');
		$server->safe_psql('other',    'CREATE EXTENSION evsched');
		$jobs->prepare('other');
		my $other = session($server, 'other', dbname => 'other');
		$other->sql(call('enqueue', command => trace('there')));
		wait_until(sub { $other->sql('SELECT count(*) FROM trace') == 1 },
			'the job of another database');
		pass('or another database\'s');
		$other->quit;
		$limit->('evsched.max_workers', 16);
		$jobs->set('evsched.max_role_workers' => 1);
		$jobs->sql('TRUNCATE trace');
		post_many(6, $jobs->span('s', 0.05), pool => 'work', session => $ann);
		post_many(6, $jobs->span('s', 0.05), pool => 'work', session => $bob);
		all_done('with evsched.max_role_workers');
		is($jobs->overlap(q(b.who = 'ann')), 1, 'no more jobs of a role run at once');
		is($jobs->overlap(q(b.who = 'bob')), 1, 'nor of another');
		is($jobs->overlap,                   2, 'but one of each');
		$jobs->set('evsched.max_role_workers' => 0);
		$jobs->sql('TRUNCATE trace');
		post_many(6, $jobs->span('s', 0.05), pool => 'work', session => $ann);
		all_done('0 is no limit');
		is($jobs->overlap, 3, 'then the pool is used');
		$server->safe_psql('postgres', 'DROP DATABASE other');
	});

#
# Pools are changed.
#
$jobs->story(
	'evsched.pools changes',
	sub {
		$jobs->set('evsched.pools' => 'active:1, passive:5, work:3, extra:2');
		post_many(20, $jobs->span('s', 0.05));
		all_done('a pool that is larger now');
		is($jobs->overlap, 5, 'is used');
		post_many(2, trace('extra'), pool => 'extra');
		all_done('a new pool');
		$jobs->sql('TRUNCATE trace');
		my $id = $jobs->after('200 ms', trace('extra'), pool => 'extra');
		$jobs->set('evsched.pools' => 'active:1, passive:2, work:3');
		my $other = $jobs->after('300 ms', trace('other'));
		$jobs->has_runs($other, 'succeeded', 'other pools go on');
		is($jobs->states($id), '', 'a job whose pool is there no more waits');
		is( $jobs->try(call('enqueue', command => 'SELECT 1', pool => 'extra'))
			  ->{sqlstate},
			'22023',
			'none is accepted any more');
		$jobs->set('evsched.pools' => 'active:1, passive:2, work:3, extra:1');
		$jobs->has_runs($id, 'succeeded', 'until it is back');
		$jobs->set('evsched.pools' => 'active:1, passive:2, work:3');
		$jobs->sql('TRUNCATE trace');
		post_many(8, $jobs->span('s', 0.03));
		all_done('a pool that is smaller again');
		is($jobs->overlap, 2, 'keeps its size');
	});

# Names of pools are theirs.
$jobs->story(
	'a pool is for jobs',
	sub {
		my $listed =
		  $jobs->try(call('enqueue', command => 'SELECT 1', pool => 'no_such'));
		is($listed->{sqlstate}, '22023', 'a pool that is not listed');
		like($listed->{error}, qr/HINT: .*passive/s, 'the hint lists them');
		is( $jobs->try(call('enqueue', command => 'SELECT 1', pool => 'default'))
			  ->{sqlstate},
			'22023',
			'nor is a queue one');
		for my $pool (qw(active passive work))
		{
			for my $call (
				"evsched.post('1', queue => '$pool')",
				"evsched.post_at('1', now(), queue => '$pool')",
				"evsched.post_many('{1}', queue => '$pool')",
				"evsched.join(queue => '$pool')",
				"evsched.take('$pool')",
				"evsched.receive('$pool')")
			{
				my $refused = $jobs->try("SELECT $call");
				is($refused->{sqlstate}, '22023', "$call is refused");
				like($refused->{error}, qr/HINT: /, 'with a hint') if $pool eq 'work';
			}
			is($jobs->try("SELECT evsched.create_queue('$pool')")->{sqlstate},
				'42501', "create_queue('$pool') is refused");
		}
		is( $jobs->session_of('ann')->try(q(SELECT evsched.create_queue('work')))
			  ->{sqlstate},
			'42501', 'for anybody');
	});

# A hundred jobs that sleep keep no message waiting; the pool is as large as they need.
$jobs->story(
	'a hundred sleepers',
	sub {
		$jobs->set('evsched.pools' => 'active:1, passive:10, work:3');
		my $listener = listener($server, 'messages', queue => 'messages');
		post_many(100, 'SELECT pg_sleep(0.4)');
		my $sleepers = sub {
			return $jobs->sql(
				q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'));
		};
		my $most = 0;
		$jobs->await(sub { $sleepers->() == 10 }, 'ten sleepers');
		for my $n (1 .. 20)
		{
			$listener->sql(q(SELECT evsched.post('1', '50 ms', 'messages')));
			on_time($listener->event, 'a message is on time');
			my $n = $sleepers->();
			$most = $n if $n > $most;
		}
		cmp_ok($most, '<=', 10, 'ten sleep at a time');
		ok($sleepers->() > 0, 'there are still some');
		all_done('they wake up');
		is( $jobs->sql(
				q(SELECT count(*) FROM evsched.run WHERE state = 'succeeded' AND command = 'SELECT pg_sleep(0.4)')
			),
			100,
			'each has run once');
		$listener->quit;
	});

nothing_early();
$server->stop;

#
# Fewer free worker slots than the pools ask for.
#
# Besides those of evsched, the server has one of its own (logical replication launcher).
for my $slots (4, 6)
{
	my $few = Evsched::Job->new("few$slots", roles => ['ann'], conf => <<"CONF");
max_worker_processes = $slots
max_parallel_workers = 0
evsched.pools = 'active:1, passive:10, work:10'
evsched.worker_idle_timeout = 10min
CONF
	$few->story(
		"$slots worker slots",
		sub {
			for my $pool (qw(passive work active))
			{
				my $call = call(
					'after',
					delay   => '0',
					command => $few->span($pool, 0.02),
					pool    => $pool);

				$few->sql($call =~
					  s/^SELECT (.*)/SELECT count($1) FROM generate_series(1, 10)/rs);
			}
			$few->becomes('SELECT count(*) FROM evsched.event',
				0, "$slots worker slots: all jobs run in the end");
			is($few->sql('SELECT count(*) FROM trace'), 30, 'each once');
			cmp_ok($few->overlap, '<=', $slots - 3, 'as many at once as there are slots');
			my $id = $few->enqueue(trace('ann'), session => $few->session_of('ann'));
			$few->has_runs($id, 'succeeded', 'an idle worker of another role gives way');
			my @rows = $few->rows('SELECT ok, item, detail, fix FROM evsched.check()');
			my @told =
			  grep { $_->[0] eq 'f' && "@{[map { $_ // '' } @$_]}" =~ /worker/ } @rows;
			ok(scalar @told, 'check() says that there are too few')
			  || diag(map { "@{[map { $_ // '' } @$_]}\n" } @rows);
		});

	# None at all, until the scheduler of another database ends.
	$few->story(
		'no worker slot',
		sub {
			$few->sql(
				q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker')
			);
			$few->server->safe_psql('postgres', 'CREATE DATABASE other');
			$few->server->safe_psql('other',    'CREATE EXTENSION evsched');
			$few->becomes(
				q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evsched scheduler'),
				2,
				'two schedulers');
			my @ids = map { $few->after('100 ms', trace($_)) } 1 .. 5;
			wait_asleep(scheduler_pid($few->server), 0.5);
			is($few->traces, '', 'no worker slot is free: jobs wait');
			$few->server->safe_psql('postgres', 'DROP DATABASE other');
			$few->has_runs($_, 'succeeded', 'one is free again: they run') for @ids;
		}) if $slots == 4;
	$few->server->stop;
}

done_testing();

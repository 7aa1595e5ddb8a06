# Workers and their runs, counted: view stat_worker, the rows of pools in stat_queue, the text
# for Prometheus, and what check() says of jobs.
use strict;
use warnings;

use Evsched qw(start_server session nothing_early wait_until);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use constant GATE => 7;

my $json   = JSON::PP->new;
my $server = start_server('stat_worker', conf => <<'CONF');
evsched.pools = 'active:1, passive:2, work:3'
evsched.worker_idle_timeout = 10min
max_worker_processes = 24
CONF
my $admin = session($server, 'admin');
my $gate  = session($server, 'gate');
my $wait  = 'SELECT pg_advisory_xact_lock_shared(' . GATE . ')';

$admin->sql("CREATE ROLE $_ LOGIN") for qw(ann bob);
$admin->sql("SELECT evsched.grant_usage('$_')") for qw(ann bob);
my $ann = session($server, 'ann', conninfo => 'user=ann');
my $bob = session($server, 'bob', conninfo => 'user=bob');

# The rows of a query, as hashes of column and value.
sub rows_of
{
	my ($query, $by) = @_;

	return map { $json->decode($_->[0]) }
	  ($by // $admin)->rows("SELECT to_jsonb(r) FROM ($query) r");
}

sub workers
{
	my ($by) = @_;

	return rows_of('SELECT * FROM evsched.stat_worker ORDER BY started_at', $by);
}

sub pool
{
	my ($name) = @_;
	my ($row) = rows_of("SELECT * FROM evsched.stat_queue WHERE queue = '$name'");

	return $row // {};
}

sub total
{
	my $total = 0;

	$total += $_ for @_;
	return $total;
}

sub item
{
	my ($name) = @_;
	my ($row) = rows_of("SELECT * FROM evsched.check() WHERE item = '$name'");

	return $row;
}

# Waits until there is one worker and it is in that state; its row.
sub worker
{
	my ($state) = @_;
	my @workers;

	wait_until(
		sub {
			@workers = workers();
			return @workers == 1 && $workers[0]{state} eq $state
			  && ($state ne 'busy' || defined $workers[0]{run_id});
		},
		"one worker that is $state");
	return $workers[0];
}

sub close_gate { return $gate->sql('SELECT pg_advisory_lock(' . GATE . ')'); }
sub open_gate  { return $gate->sql('SELECT pg_advisory_unlock(' . GATE . ')'); }

# Posts a job of ann's; its id.
sub enqueue
{
	my ($command, $pool) = @_;

	$pool //= 'passive';
	return $ann->sql("SELECT evsched.enqueue('$command', '$pool')");
}

# Waits until the event is gone and nobody is busy with it any more; the worker's row.
sub done
{
	my ($id) = @_;

	wait_until(
		sub { !$admin->sql("SELECT count(*) FROM evsched.event WHERE id = $id") },
		"event $id to be gone");
	return worker('idle');
}

#
# A worker, from its first run on.
#
is_deeply([ workers() ], [], 'without jobs there is no worker');
like($admin->sql('SELECT evsched.metrics()'),
	qr/^evsched_workers\{state="busy"\} 0\n/m, 'nor is one counted');
is(item('runs')->{detail}, 'none is under way', 'nor is there a run');

close_gate();
my $id     = enqueue($wait);
my $worker = worker('busy');
my $pid    = $worker->{pid};
is( $admin->sql("SELECT backend_type || ' ' || usename FROM pg_stat_activity WHERE pid = $pid"),
	'evsched worker ann',
	'its process');
is_deeply(
	[ @$worker{qw(worker role pool event_id recurring runs failed)} ],
	[ 1, 'ann', 'passive', $id, undef, 0, 0 ],
	'what it runs, and that it has not run anything before');
is($worker->{run_id}, $admin->sql("SELECT run_id FROM evsched.run WHERE event_id = $id"),
	'the run is the one under way');
is( $admin->sql(
		q(SELECT run_started_at BETWEEN started_at AND now() AND started_at > now() - interval '1 min' FROM evsched.stat_worker)
	),
	't',
	'it has begun after its process was started');
is(total(@{ $worker->{lateness_counts} }), 1, 'how late it began is told at once');
is($worker->{lateness_p50}, $worker->{lateness_max}, 'it is the only one');
cmp_ok(worker('busy')->{busy_ms}, '>', $worker->{busy_ms}, 'it is busy for longer and longer');
like($admin->sql('SELECT evsched.metrics()'),
	qr/^evsched_workers\{state="idle"\} 0\nevsched_workers\{state="busy"\} 1\n/m, 'one is busy');
like($admin->sql('SELECT evsched.metrics()'),
	qr/^evsched_worker_slots 1\n(?:#.*\n)*evsched_worker_slots_max 64\n/m, 'of 64 there may be');
like(item('runs')->{detail},
	qr/^run $worker->{run_id} of event $id in pool passive, of ann, for 00:00:\d\d, /,
	'check() names the run');

open_gate();
$worker = done($id);
is_deeply(
	[ @$worker{qw(pid worker pool event_id run_id run_started_at runs failed)} ],
	[ $pid, (undef) x 5, 1, 0 ],
	'idle, it has run one');
is(worker('idle')->{busy_ms}, $worker->{busy_ms}, 'and is not busy any more');

# Who sees it.
is(scalar(workers($ann)), 1, 'its role sees it');
is(scalar(workers($bob)), 0, 'another does not');
unlike($bob->sql('SELECT evsched.metrics()'), qr/^evsched_workers\{.*\} [1-9]/m, 'nor in the metrics');
$admin->sql('GRANT ann TO bob');
is(scalar(workers($bob)), 1, 'a member does');
$admin->sql('REVOKE ann FROM bob');
$admin->sql('GRANT pg_monitor TO bob');
is(scalar(workers($bob)), 1, 'so does who monitors');
$admin->sql('REVOKE pg_monitor FROM bob');
is(scalar(workers($bob)), 0, 'neither any more');

#
# Runs that do not succeed.
#
$worker = done(enqueue('SELECT 1/0'));
is_deeply([ @$worker{qw(pid runs failed)} ], [ $pid, 2, 1 ], 'a run that fails');
close_gate();
$id = enqueue($wait);
$admin->sql('SELECT evsched.stop_run(' . worker('busy')->{run_id} . ')');
$worker = done($id);
is_deeply([ @$worker{qw(pid runs failed)} ], [ $pid, 3, 2 ], 'one that is stopped');
is_deeply(
	[ @{ pool('passive') }{qw(succeeded failed lost dead)} ],
	[ 1, 2, 0, 2 ],
	'the pool has counted the same');

# One whose worker ends is lost, and runs again in another.
$id = enqueue($wait);
worker('busy');
$admin->sql("SELECT pg_terminate_backend($pid)");
wait_until(sub { grep { $_->{pid} && $_->{pid} != $pid && $_->{run_id} } workers() },
	'another worker');
open_gate();
$worker = done($id);
isnt($worker->{pid}, $pid, 'another process');
is($worker->{failed}, 0, 'which has not failed');
is_deeply(
	[ @{ pool('passive') }{qw(succeeded failed lost)} ],
	[ 2, 3, 1 ],
	'the pool has counted a lost run, and one that succeeded');
is($admin->sql(q(SELECT count(*) FROM evsched.run WHERE state = 'lost')), 1, 'so has the history');
my $metrics = $admin->sql('SELECT evsched.metrics()');
like($metrics, qr/^evsched_runs_$_->[0]_total\{queue="passive"\} $_->[1]\n/m, "metrics: $_->[0]")
  for [ succeeded => 2 ], [ lost => 1 ];

#
# Lateness that is known: a job that waited is late by its waiting, not by the turn's.
#
my $before = $worker->{lateness_counts}[15];
my $late   = pool('work')->{lateness_counts}[15] // 0;
done($ann->sql(q(SELECT evsched.after('-3 s', 'SELECT 1', pool => 'work'))));
is(worker('idle')->{lateness_counts}[15] - $before, 1, 'a run that began 3 s late');
is(pool('work')->{lateness_counts}[15] - $late, 1, 'is in the bucket of its pool');
close_gate();
$id = enqueue($wait, 'active');
worker('busy');
my $second = enqueue('SELECT 1', 'active');
wait_until(sub { pool('active')->{delivered} == 2 }, 'the second to be handed out');
is(total(@{ pool('active')->{lateness_counts} }),
	1, 'what is handed out ahead of need has not begun');
wait_until(
	sub {
		$admin->sql("SELECT now() - due_at > '110 ms' FROM evsched.event WHERE id = $second") eq 't';
	},
	'it to have waited');
open_gate();
done($second);
my @active = @{ pool('active')->{lateness_counts} };
is(total(@active), 2, 'now it has');
cmp_ok(total(@active[ 11 .. 19 ]), '>=', 1, 'later by what it waited for the other one');

#
# What a restart keeps, and what it cuts off: the gate stays closed.
#
$gate->sql('BEGIN');
$gate->sql('SELECT pg_advisory_xact_lock(' . GATE . ')');
$gate->sql("PREPARE TRANSACTION 'gate'");
$id = enqueue($wait);
worker('busy');
my %before = map { $_ => pool($_) } qw(active passive work);
$server->restart;
$_->kill9 for $ann, $bob, $gate, $admin;
$admin = session($server, 'admin');
$gate  = session($server, 'gate');
$ann   = session($server, 'ann', conninfo => 'user=ann');
$admin->sql("COMMIT PREPARED 'gate'");
$worker = done($id);
is_deeply([ @$worker{qw(runs failed)} ], [ 1, 0 ], 'workers begin anew');
is_deeply(
	[ @{ pool('passive') }{qw(succeeded lost)} ],
	[ $before{passive}{succeeded} + 1, $before{passive}{lost} + 1 ],
	'pools go on counting');
is_deeply(
	[ @{ pool('active') }{qw(succeeded lateness_counts)} ],
	[ @{ $before{active} }{qw(succeeded lateness_counts)} ],
	'a pool that has run nothing since is as before');

#
# check()
#
is(item($_)->{ok}, JSON::PP::true, "$_: nothing is wrong") for qw(workers pools jobs runs);
like(item('workers')->{detail}, qr/^evsched.pools: 6 jobs at once; room for 2[01] workers here: /,
	'all but the launcher, the scheduler and the server\'s own have room');

sub configure
{
	my ($setting, $value) = @_;

	$admin->sql("ALTER SYSTEM SET $setting = '$value'");
	$admin->sql('SELECT pg_reload_conf()');
	return wait_until(sub { $admin->sql("SHOW $setting") eq $value }, "$setting to be $value");
}
# Not by ALTER DATABASE, for which the scheduler would leave.
sub allow_connections
{
	my ($allowed) = @_;

	return $admin->sql("UPDATE pg_database SET datallowconn = $allowed WHERE datname = 'postgres'");
}

configure('evsched.max_workers', 5);
is(item('workers')->{ok}, JSON::PP::false, 'too few workers for all pools');
like(item('workers')->{detail}, qr/room for 5 workers here: evsched.max_workers = 5, other databases have 0; /,
	'how many there is room for');
configure('evsched.max_workers', 64);

$ann->sql(q(SELECT evsched.after('1 h', 'SELECT 1', pool => 'work')));
$ann->sql(q(SELECT evsched.post('1', '1 h', 'mail')));
configure('evsched.pools', 'passive:2, mail:2');
is(item('pools')->{detail},
	'jobs wait in queues that are no pools: work; messages wait in pools: mail',
	'pools that are none any more, and queues that are');
configure('evsched.pools', 'passive:2, work:3');
is(item('pools')->{ok}, JSON::PP::true, 'changed back');

# No worker can come up: nobody may connect any more.
$admin->sql("SELECT pg_terminate_backend(pid) FROM evsched.stat_worker");
wait_until(sub { !workers() }, 'no worker');
allow_connections('false');
$id = enqueue('SELECT 1');
wait_until(sub { !item('jobs')->{ok} }, 'check() to tell of workers that do not come up');
is(item('jobs')->{detail}, 'workers of these roles do not come up: ann', 'whose do not come up');
allow_connections('true');
done($id);
is(item('jobs')->{ok}, JSON::PP::true, 'they come up again');

nothing_early();
done_testing();

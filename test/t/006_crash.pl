# The scheduler, the launcher and the server die: what is committed and not confirmed is
# delivered, what is confirmed is not delivered again.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early
  scheduler_pid new_scheduler wait_asleep wait_until);
use Evsched::Ledger;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $server = start_server('crash', conf => "synchronous_commit = on\n");

# The pid of the launcher, 0 while there is none.
sub launcher_pid
{
	return $server->safe_psql(
		'postgres',
		q(SELECT coalesce(max(pid), 0) FROM pg_stat_activity
		  WHERE backend_type = 'evsched launcher'));
}

sub schedulers
{
	return $server->safe_psql('postgres',
		q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evsched scheduler')
	);
}

# A new scheduler finds leases, counts and listeners as they were.
my $poster = session($server, 'poster');
my ($ann, $bob) =
  map { listener($server, $_, max_events => 2, conf_timeout => '1 s') } qw(a b);
$bob->sql('SELECT evsched.set_max_events(1)');
$poster->sql(q(SELECT evsched.post('1', max_retries => 3)));
my $first = $ann->event;
my $retry = $bob->event;
is($retry->{num_retries}, 1, 'an event is delivered a second time');
$poster->sql(q(SELECT evsched.post('2', queue => 'pull', max_retries => 3)));
$poster->sql(q(SELECT id FROM evsched.receive('pull', 1, '1.5 s')));
my $received = time;

my $old = scheduler_pid($server);
$poster->sql("SELECT pg_terminate_backend($old)");
new_scheduler($server, $old);
is_deeply(
	[ $poster->rows('SELECT node, unconfirmed FROM evsched.listeners ORDER BY node') ],
	[ [ 'a', 0 ], [ 'b', 1 ] ],
	'a new scheduler: listeners and leases stay');
my $third = $ann->event;
is($third->{num_retries}, 2, 'counts stay');
near($third->{at}, $retry->{at} + 1, 'and deadlines');
is($ann->confirm($third), 't', 'confirmed');
my $puller = listener($server, 'puller', queue => 'pull');
my $pulled = $puller->event;
near($pulled->{at}, $received + 1.5, 'also those of receive');
is($pulled->{num_retries}, 1, 'which are counted');
$puller->quit;

# What falls due while there is none comes as soon as there is one.
$old = scheduler_pid($server);
$poster->sql(q(SELECT evsched.post('3', '20 ms', max_retries => 3)));
$poster->sql("SELECT pg_terminate_backend($old)");
new_scheduler($server, $old);
my $event = (grep { defined } $ann->event_within(0.5), $bob->event_within(0.5))[0];
is($event->{payload}, 3, 'what falls due in between is delivered');
is($poster->sql("SELECT evsched.confirm($event->{id})"), 't', 'confirmed');

# A launcher that dies is started again, and there is still one scheduler.
my $launcher  = launcher_pid();
my $scheduler = scheduler_pid($server);
$poster->sql("SELECT pg_terminate_backend($launcher)");
wait_until(sub { launcher_pid() != 0 && launcher_pid() != $launcher }, 'a new launcher');
wait_asleep(launcher_pid(), 0.1);
is(schedulers(), 1, 'a new launcher: there is one scheduler');
$poster->sql(q(SELECT evsched.post('4', '20 ms', max_retries => 3)));
$event = (grep { defined } $ann->event_within(0.5), $bob->event_within(0.5))[0];
is($event->{payload},                                    4,   'which works');
is($poster->sql("SELECT evsched.confirm($event->{id})"), 't', 'confirmed');
$scheduler = scheduler_pid($server);
$poster->sql("SELECT pg_terminate_backend($scheduler)");
new_scheduler($server, $scheduler);
wait_asleep(launcher_pid(), 0.1);
is(schedulers(), 1, 'and is replaced when it dies, by one');
$_->quit for $ann, $bob;

# Load: four posters, four listeners, each with a ledger of its own.
my $ledger = Evsched::Ledger->new(
	$server->connstr('postgres'),
	p1 => 'post',
	p2 => 'post',
	p3 => 'post',
	p4 => 'post',
	c1 => 'each',
	c2 => 'each',
	c3 => 'batch',
	c4 => 'batch');

# What it looks like when nothing goes on.
sub tell_state
{
	my ($status, $out, $err) = $server->psql('postgres', <<'SQL', on_error_die => 0);
SELECT state, count(*), min(due_at), max(due_at), clock_timestamp()
FROM evsched.events GROUP BY state;
SELECT * FROM evsched.listeners;
SELECT * FROM evsched.queues;
SELECT pid, backend_type, application_name, state, wait_event, backend_xmin, query
FROM pg_stat_activity WHERE backend_type ~ 'client|evsched';
SQL
	diag($out, $err);
	return;
}

sub let_work
{
	return $ledger->let_work(100, \&tell_state);
}

let_work();
for (1 .. 3)
{
	$old = scheduler_pid($server);
	$server->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
	new_scheduler($server, $old);
	let_work();
}
pass('the scheduler is terminated: it goes on');

for (1 .. 2)
{
	$old = scheduler_pid($server);
	kill('KILL', $old);
	wait_until(
		sub {
			# until the postmaster has noticed, and while it recovers, asking may fail
			my $pid = eval { scheduler_pid($server) } // 0;
			return $pid != 0 && $pid != $old;
		},
		'the server to recover');
	let_work();
}
pass('the scheduler is killed: the server recovers, and it goes on');

for (1 .. 2)
{
	my ($postmaster) = split /\n/, slurp_file($server->data_dir . '/postmaster.pid');
	my @processes    = ($postmaster, split ' ', `ps -o pid= --ppid $postmaster`);

	$server->kill9;
	wait_until(
		sub {
			!grep { -e "/proc/$_" } @processes;
		},
		'the processes of the server to end');
	$server->start;
	let_work();
}
pass('the server is killed: it goes on after a start');

is_deeply([ $ledger->stop($ledger->posters) ], [ (0) x 4 ], 'the posters end');
ok( $server->poll_query_until(
		'postgres', q(SELECT count(*) = 0 FROM evsched.event WHERE queue = 'ledger')),
	'everything is confirmed in the end');
is_deeply([ $ledger->stop($ledger->listeners) ], [ (0) x 4 ], 'the listeners end');
cmp_ok($ledger->check_books, '>', 1000, 'there was a load');
is($server->safe_psql('postgres', 'SELECT count(*) FROM evsched.dead_event'),
	0, 'deliveries that a crash cut off are not counted');

nothing_early();
done_testing();

# What was cut off is settled, whoever dies meanwhile; and what a job may not do, who
# brings a dead one back, what waits in memory for a worker.
use strict;
use warnings;

use Evsched       qw(session nothing_early scheduler_pid new_scheduler wait_until);
use Evsched::Job  qw(gate_command);
use Evsched::Stop qw(require_stop_points stop_at wait_stopped go_on crash);
use Test::More;

require_stop_points();

my $jobs = Evsched::Job->new(
	'lost',
	roles => [qw(ann bob)],
	conf  => "evsched.pools = 'active:1, passive:2, work:3'\n");
my $server = $jobs->server;

$jobs->sql('CREATE TABLE effect (id bigint)');
my $effect = 'INSERT INTO effect SELECT id FROM evsched.current_event()';

# The scheduler is settling a lost run, and dies: the next one does it.
for my $death (qw(terminated killed))
{
	$jobs->close_gate(1);
	my $id        = $jobs->enqueue(gate_command(1) . "; $effect");
	my $worker    = $jobs->wait_at_gate(1);
	my $scheduler = scheduler_pid($server);

	stop_at($server, $scheduler, 'run lost');
	kill('TERM', $worker);
	wait_stopped($server, $scheduler);
	if ($death eq 'terminated')
	{
		$jobs->open_gate(1);
		kill('TERM', $scheduler);
		new_scheduler($server, $scheduler);
	}
	else
	{
		crash($server, $scheduler);
		$jobs->reconnect;
	}
	$jobs->has_runs($id, 'lost succeeded', "scheduler $death: lost, and run again");
	$jobs->gone($id, "scheduler $death: it is gone");
	is($jobs->sql("SELECT count(*) FROM effect WHERE id = $id"), 1, "scheduler $death: done once");
}

# A shutdown that cuts a run off is not its fault, however often.
my $cut = $jobs->enqueue(
	"SELECT pg_sleep(1000) WHERE current_setting('evsched.dead_age') = '30d'; $effect");
for my $time (1 .. 4)
{
	$jobs->becomes("SELECT count(*) FROM evsched.run WHERE event_id = $cut AND state = 'running'",
		1, "it runs for the $time. time");
	$server->append_conf('postgresql.conf', 'evsched.dead_age = 29d') if $time == 4;
	$server->stop('fast');
	$server->start;
	$jobs->reconnect;
}
$jobs->gone($cut, 'cut off four times, it runs to its end');
is($jobs->sql("SELECT count(*) FROM effect WHERE id = $cut"), 1, 'once');
is_deeply($jobs->dead($cut), {}, 'and is not dead');

# A job has no client.
for my $command ('COPY effect TO STDOUT', 'COPY effect FROM STDIN', 'SELECT evsched.join()', 'LISTEN x')
{
	my $id = $jobs->enqueue($command);

	$jobs->has_runs($id, 'failed', "$command fails");
	like($jobs->dead($id)->{sqlstate}, qr/^(0A000)$/, 'there is no client');
}

# What is handed out ahead of need waits like the rest.
$jobs->close_gate(2);
$jobs->enqueue(gate_command(2)) for 1 .. 7;
$jobs->wait_at_gate(2, 2);
$jobs->becomes(q(SELECT evsched.size('passive')), 5, 'size counts what waits for a worker');
$jobs->open_gate(2);
$jobs->becomes(q(SELECT evsched.size('passive')), 0, 'in the end nothing waits');

# A dead job is its owner's.
my ($ann, $bob) = map { session($server, $_, conninfo => "user=$_") } qw(ann bob);
my $failing = $jobs->enqueue('SELECT 1/0', session => $ann);
$jobs->becomes("SELECT count(*) FROM evsched.dead_event WHERE id = $failing", 1, 'a job dies');
is($bob->sql("SELECT evsched.redrive(ARRAY[$failing])"), 0, 'another role cannot bring it back');
is($bob->sql("SELECT evsched.discard(ARRAY[$failing])"), 0, 'nor throw it away');
is($ann->sql("SELECT evsched.redrive(ARRAY[$failing])"), 1, 'its owner can');
$jobs->has_runs($failing, 'failed failed', 'it runs again');
$jobs->becomes("SELECT count(*) FROM evsched.dead_event WHERE id = $failing", 1, 'and dies again');
is($ann->sql("SELECT evsched.discard(ARRAY[$failing])"), 1, 'and its owner throws it away');

# What a role sets for its sessions holds for its next jobs, and never for what is written
# down of them; and the bookkeeping of a run is no part of its snapshot.
for my $setting ("default_transaction_read_only = on",
	"default_transaction_isolation = 'repeatable read'",
	"default_transaction_isolation = 'serializable'")
{
	$jobs->sql("ALTER ROLE ann SET $setting");
	my @ids = map { $jobs->enqueue('SELECT 1/0', session => $ann, max_retries => 1, retry_delay => '0') } 1 .. 20;
	my $ids = join(', ', @ids);
	$jobs->becomes("SELECT count(*) FROM evsched.dead_event WHERE id IN ($ids)", 20, "$setting: they die");
	is($jobs->sql("SELECT string_agg(DISTINCT state || sqlstate, ' ') FROM evsched.run WHERE event_id IN ($ids)"),
		'failed22012', 'of their own error');
	$jobs->has_runs($jobs->enqueue('SELECT 1', session => $ann), 'succeeded', 'another one does not');
}
$jobs->sql('ALTER ROLE ann RESET ALL');

# A role is not kept waiting by another that keeps the pool full.
my $long = $jobs->enqueue('SELECT pg_sleep(0.05)', session => $ann, pool => 'active');
my $bobs = $jobs->enqueue('SELECT 1', session => $bob, pool => 'active');
my @anns = map { $jobs->enqueue('SELECT pg_sleep(0.02)', session => $ann, pool => 'active') } 1 .. 40;
$jobs->wait_gone($bobs, @anns);
cmp_ok($jobs->sql("SELECT count(*) FROM evsched.run WHERE event_id > $bobs AND pool = 'active'
		AND started_at < (SELECT started_at FROM evsched.run WHERE event_id = $bobs)"),
	'<=', 20, 'a role that has no worker gets one while another keeps the pool full');

# Nor by one that has all the workers there may be.
$server->append_conf('postgresql.conf', 'evsched.max_workers = 2');
$server->reload;
$jobs->becomes(q(SELECT current_setting('evsched.max_workers')), 2, 'two workers in all');
my @first = map { $jobs->enqueue('SELECT pg_sleep(0.02)', session => $ann, pool => 'work') } 1 .. 10;
$jobs->wait_gone($first[0]);
push @first, map { $jobs->enqueue('SELECT pg_sleep(0.02)', session => $ann, pool => 'work') } 1 .. 150;
my $small = $jobs->enqueue('SELECT 1', session => $bob);
$jobs->wait_gone($small, @first);
cmp_ok($jobs->sql("SELECT count(*) FROM evsched.run WHERE event_id >= $first[0] AND pool = 'work'
		AND started_at > (SELECT started_at FROM evsched.run WHERE event_id = $small)"),
	'>=', 10, 'a role gets a worker while another has all');

# A job is its owner's when its pool is no pool any more.
my $later = $ann->sql(q(SELECT evsched.after('1 hour', 'SELECT 1', pool => 'work', key => 'k')));
$server->append_conf('postgresql.conf', "evsched.pools = 'active:1, passive:2'");
$server->reload;
$jobs->becomes("SELECT current_setting('evsched.pools')", 'active:1, passive:2', 'a pool is gone');
wait_until(sub { $bob->sql("SELECT current_setting('evsched.pools')") eq 'active:1, passive:2' }, 'also for bob');
is($bob->sql("SELECT count(*) FROM evsched.events WHERE id = $later"), 0, 'others do not see its jobs');
is($bob->sql("SELECT evsched.cancel($later)"), 'f', 'nor can they cancel them');
is($bob->try(q(SELECT evsched.post('1', queue => 'work', key => 'k')))->{sqlstate}, '42501', 'nor take their keys');
is($ann->sql("SELECT evsched.cancel($later)"), 't', 'but their owner can');

# A series whose time zone is gone waits; others go on.
my $lost_zone = $jobs->sql(q(SELECT evsched.every('20 ms', 'SELECT 1', key => 'zone')));
$jobs->sql("UPDATE evsched.recurrence SET time_zone = 'Nowhere/Gone' WHERE id = $lost_zone");
my $scheduler = scheduler_pid($server);
wait_until(sub { PostgreSQL::Test::Utils::slurp_file($server->logfile) =~ /time zone "Nowhere.Gone" is not known/ }, 'the log to say so');
$jobs->has_runs($jobs->enqueue('SELECT 1'), 'succeeded', 'a series without its time zone is in nobody\'s way');
is(scheduler_pid($server), $scheduler, 'the scheduler lives');
$jobs->sql("SELECT evsched.cancel($lost_zone)");

# Messages are not for pools, not even plain ones.
$jobs->sql(q(SELECT evsched.grant_usage('ann', bulk => true)));
my $plain = $ann->try(q(INSERT INTO evsched.event (queue, payload) VALUES ('passive', '1')));
is($plain->{sqlstate}, '22023', 'a plain INSERT into a pool is refused');
$ann->sql(q(INSERT INTO evsched.event (queue, payload) VALUES ('other', '1')));
is($jobs->sql(q(SELECT count(*) FROM evsched.event WHERE queue = 'other')), 1, 'elsewhere it is not');

nothing_early();
done_testing();

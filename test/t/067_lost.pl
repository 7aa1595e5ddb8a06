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

# Messages are not for pools, not even plain ones.
$jobs->sql(q(SELECT evsched.grant_usage('ann', bulk => true)));
my $plain = $ann->try(q(INSERT INTO evsched.event (queue, payload) VALUES ('passive', '1')));
is($plain->{sqlstate}, '22023', 'a plain INSERT into a pool is refused');
$ann->sql(q(INSERT INTO evsched.event (queue, payload) VALUES ('other', '1')));
is($jobs->sql(q(SELECT count(*) FROM evsched.event WHERE queue = 'other')), 1, 'elsewhere it is not');

nothing_early();
done_testing();

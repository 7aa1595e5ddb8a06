# Whoever dies, at whatever point, loses no event: doc/design.md, "What if it dies", line by
# line. Terminated, a process cleans up behind it; killed, it takes the others with it, and
# the server starts itself again; or all are killed at once.
use strict;
use warnings;

use Evsched qw(start_server session listener nothing_early new_scheduler wait_asleep
  wait_until);
use Evsched::Stop qw(require_stop_points stop_at wait_stopped go_on crash);
use Test::More;

require_stop_points();

my $server = start_server('stop', conf => <<'CONF');
synchronous_commit = on
bgwriter_lru_maxpages = 0
autovacuum = off
CONF
$server->safe_psql('postgres', 'CREATE DATABASE moving');
$server->safe_psql('moving',   'CREATE EXTENSION evsched');

# Points in callbacks, where a process that is terminated goes on until it is through.
my %held = map { $_ => 1 } 'effects committed', 'leases ended';

# Each case has a queue of its own.
my $queue = 'queue0';

# The process that writes WAL ahead of time, while it is not to.
my @frozen;
END { kill('CONT', @frozen); }

sub sql
{
	my ($sql) = @_;

	return $server->safe_psql('postgres', $sql);
}

sub process_of
{
	my ($type) = @_;

	return sql(
		"SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE backend_type = '$type'");
}

# Until the next crash, what a commit does not wait for is not written.
sub freeze_wal
{
	@frozen = process_of('walwriter');
	kill('STOP', @frozen);
	return;
}

sub scheduler
{
	return new_scheduler($server, 0);
}

# One that joins the queue of the case.
sub someone
{
	my ($name, %options) = @_;

	return listener($server, $name, queue => $queue, max_events => 10, %options);
}

sub post
{
	my (@payloads) = @_;

	return sql(<<"SQL");
SELECT evsched.post_many('{${\join(', ', @payloads)}}', queue => '$queue', max_retries => 3)
SQL
}

# Asks a process to stop, when nothing goes on.
sub ask
{
	my ($pid, $point) = @_;

	wait_asleep(scheduler(), 0.02);
	return stop_at($server, $pid, $point);
}

# A process that has stopped dies: by an error, terminated, killed, or killed with the server.
sub dies
{
	my ($pid, $point, $death) = @_;

	wait_stopped($server, $pid) if $point;
	my @frozen = splice @frozen;
	return crash($server) if $death eq 'killed with the server';
	return crash($server, $pid, @frozen) if $death eq 'killed';
	kill('CONT', @frozen);
	kill($death eq 'failing' ? 'INT' : 'TERM', $pid);
	go_on($server, $pid) if $held{$point};
	return wait_until(sub { !-e "/proc/$pid" }, "process $pid to end");
}

# The next n events of a listener, and what else comes until one that is posted then, as
# "payload:retries ..."; it confirms them. A ! says that there was nothing to confirm.
sub harvest
{
	my ($listener, $n) = @_;
	my @events = $listener->events($n);
	my @words;

	post(0);
	do { push @events, $listener->event; } until $events[-1]{payload} == 0;
	wait_asleep(scheduler(), 0.02);
	for my $event (@events, $listener->events_so_far)
	{
		my $done = $event->{max_retries} == 0 || $listener->confirm($event) eq 't';

		push @words, "$event->{payload}:$event->{num_retries}" . ($done ? '' : '!');
	}
	$listener->quit;
	return join(' ', @words[ 0 .. $#words - 1 ]);
}

# Nothing is left of the case; the next has another queue.
sub ends
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql(<<"SQL"), '0|0|0', "$name: nothing is left");
SELECT (SELECT count(*) FROM evsched.event WHERE queue = '$queue'),
	   (SELECT count(*) FROM evsched._leases()),
	   (SELECT count(*) FROM evsched.dead WHERE queue = '$queue')
SQL
	$queue++;
	return;
}

# The scheduler, in a turn. Before its commit nothing was sent. After it, an event that is
# gone with it comes again only where the server has crashed, which undoes the commit.
sub dies_in_turn
{
	my ($point, $death) = @_;
	my $name     = "scheduler $death at '$point'";
	my $listener = someone('a');
	my $pid      = scheduler();

	ask($pid, $point);
	freeze_wal();
	sql(<<"SQL");
SELECT evsched.post('1', queue => '$queue', max_retries => 3),
	   evsched.post('2', queue => '$queue', max_retries => 0)
SQL
	wait_stopped($server, $pid);
	$listener->pump(sub { @{ $listener->{events} } == 2 }, 'both events')
	  if $point eq 'turn committed';
	dies($pid, $point, $death);
	if ($death =~ /killed/)
	{
		$listener->wait_lost;
		is(join(' ', map { $_->{payload} } $listener->events_so_far),
			$point eq 'turn committed' ? '1 2' : '',
			"$name: what it has sent");
		$listener = someone('b');
	}
	is(harvest($listener, 2), '1:0 2:0', "$name: both come, uncounted");
	return ends($name);
}

# A poster: before its commit nothing has happened, after it the event is there.
sub dies_in_post
{
	my ($point, $death) = @_;
	my $name      = "poster $death at '$point'";
	my $poster    = session($server, 'poster');
	my $listener  = someone('a');
	my $committed = $point ne 'post inserted';

	ask($poster->pid, $point);
	$poster->send("SELECT evsched.post('1', queue => '$queue', max_retries => 3)");
	dies($poster->pid, $point, $death);
	$listener = someone('b') if $death ne 'terminated';
	is(harvest($listener, $committed), $committed ? '1:0' : '', "$name: what comes");
	return ends($name);
}

# One that takes or receives, in the middle of it or, without a point, before its commit:
# everything is there again.
sub dies_in_pull
{
	my ($function, $point, $death) = @_;
	my $name   = "$function $death " . ($point ? "at '$point'" : 'before its commit');
	my $puller = session($server, 'puller');

	post(1, 2, 3);
	ask($puller->pid, $point) if $point;
	$puller->sql('BEGIN');
	$puller->send("SELECT payload FROM evsched.$function('$queue', 2)");
	$puller->reply unless $point;
	dies($puller->pid, $point, $death);
	is(harvest(someone('a'), 3), '1:0 2:0 3:0', "$name: all are there, uncounted");
	return ends($name);
}

# A listener in its confirmation. Uncommitted: what it held is due again, counted unless the
# server crashed. Committed: it is gone, in spite of the lease.
sub dies_in_confirm
{
	my ($point, $death) = @_;
	my $name      = "listener $death at '$point'";
	my $listener  = someone('a');
	my $committed = $point ne 'confirm deleted';

	post(1);
	my $event = $listener->event;
	ask($listener->pid, $point);
	$listener->send("SELECT evsched.confirm($event->{id})");
	dies($listener->pid, $point, $death);
	is(harvest(someone('b'), !$committed),
		$committed ? '' : $death eq 'terminated' ? '1:1' : '1:0',
		"$name: what comes");
	return ends($name);
}

# One that joins, before its commit: it has not joined.
sub dies_in_join
{
	my ($death) = @_;
	my $name    = "joining $death";
	my $session = session($server, 'a');

	ask($session->pid, 'join reserved');
	$session->send($session->join_call(queue => $queue));
	dies($session->pid, 'join reserved', $death);
	is( sql(
			"SELECT coalesce(sum(listeners), 0) FROM evsched.queues WHERE queue = '$queue'"),
		0,
		"$name: nobody has joined");
	post(1);
	is(harvest(someone('a'), 1), '1:0', "$name: another is served");
	return ends($name);
}

# The scheduler, when it counts a lease that is over: counted once, or not at all where the
# server has crashed, which undoes the commit.
sub dies_in_count
{
	my ($point, $death) = @_;
	my $name     = "scheduler $death at '$point' of a lease";
	my $listener = someone('a', conf_timeout => '2 s');
	my $pid      = scheduler();

	post(1);
	$listener->event;
	ask($pid, $point);
	freeze_wal();
	wait_stopped($server, $pid);
	dies($pid, $point, $death);
	$listener = someone('b') if $death ne 'terminated';
	is(harvest($listener, 1), $death eq 'terminated' ? '1:1' : '1:0',
		"$name: what is counted");
	return ends($name);
}

# The launcher, when it has just started a scheduler: in the end there is one.
sub launcher_dies
{
	my ($death) = @_;
	my $name     = "launcher $death";
	my $launcher = process_of('evsched launcher');
	my $old      = scheduler();

	ask($launcher, 'scheduler started');
	kill('TERM', $old);
	wait_stopped($server, $launcher);
	new_scheduler($server, $old);
	post(1);
	is(harvest(someone('a'), 1), '1:0', "$name: while it stands still, events come");
	dies($launcher, 'scheduler started', $death);
	wait_until(
		sub {
			my $new = process_of('evsched launcher');
			return $new != 0 && $new != $launcher;
		},
		'a new launcher');
	wait_asleep(process_of('evsched launcher'), 0.3);
	post(2);
	is(harvest(someone('a'), 1), '2:0', "$name: a new one, and they come");
	is( sql(<<'SQL'), 'moving:1 postgres:1', "$name: from one scheduler for each database");
SELECT string_agg(datname || ':' || n, ' ' ORDER BY datname) FROM (
	SELECT datname, count(*) AS n FROM pg_stat_activity
	WHERE backend_type = 'evsched scheduler' GROUP BY datname) s
SQL
	return ends($name);
}

# The scheduler that is killed comes after those that die alone: a new launcher does not wait
# longer and longer before it starts another.
for my $point ('turn begun', 'turn claimed', 'turn notified', 'effects committed',
	'leases ended', 'turn committed')
{
	dies_in_turn($point, $_)
	  for $held{$point} ? () : 'failing', 'terminated', 'killed',
	  $point =~ /committed/ ? 'killed with the server' : ();
}
for my $point ('post inserted', 'effects committed', 'leases ended')
{
	dies_in_post($point, $_)
	  for 'terminated', 'killed', $point eq 'leases ended' ? 'killed with the server' : ();
}
for my $death ('terminated', 'killed')
{
	for my $function ('take', 'receive')
	{
		dies_in_pull($function, $_, $death) for 'slot found', 'row pulled', '';
	}
	dies_in_join($death);
}
for my $point ('confirm deleted', 'effects committed', 'leases ended')
{
	dies_in_confirm($point, $_)
	  for 'terminated', 'killed', $point ne 'leases ended' ? 'killed with the server' : ();
}
for my $point ('lease collected', 'lease over')
{
	dies_in_count($point, $_) for 'terminated', 'killed';
}
dies_in_count('effects committed', 'killed with the server');
launcher_dies($_) for 'terminated', 'killed';

# A session that has sent the scheduler away, to rename its database: at its end, whichever
# way, the database is let go.
my $moving = new_scheduler($server, 0, 'moving');
my $mover  = session($server, 'mover');
$mover->sql('BEGIN');
$mover->sql('ALTER DATABASE moving RENAME TO moved');
wait_until(sub { !-e "/proc/$moving" }, 'its scheduler to go');
kill('TERM', $mover->pid);
new_scheduler($server, $moving, 'moving');
my $served = listener($server, 'served', dbname => 'moving');
$served->sql(q(SELECT evsched.post('1')));
is($served->event->{payload}, 1,
	'who renames a database is terminated before his commit: it is served');

nothing_early();
done_testing();

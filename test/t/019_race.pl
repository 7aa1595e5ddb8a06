# Races, each led to the one moment at which it matters: a process stops at a point, another
# does something there, and the first one goes on.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near blocked_in nothing_early
  new_scheduler wait_asleep wait_until);
use Evsched::Stop qw(require_stop_points stop_at wait_stopped go_on);
use Test::More;
use Time::HiRes qw(time);

require_stop_points();

my $server = start_server('race');
my $admin  = session($server, 'admin');

# Each story has a queue of its own.
my $queue = 'queue0';

sub scheduler
{
	return new_scheduler($server, 0);
}

sub someone
{
	my ($name, %options) = @_;

	return listener(
		$server, $name,
		queue        => $queue,
		max_events   => 10,
		conf_timeout => '1 h',
		%options);
}

# Posts events that are to be confirmed, or, with another number of retries, that are not.
sub post
{
	my ($payloads, $max_retries) = @_;

	return $admin->sql(<<"SQL");
SELECT evsched.post_many('{$payloads}', queue => '$queue', max_retries => ${\($max_retries // 5)})
SQL
}

# Stops a process there: who is given, or the scheduler.
sub stop_next
{
	my ($point, $session) = @_;
	my $pid = $session ? $session->pid : scheduler();

	wait_asleep(scheduler(), 0.02);
	stop_at($server, $pid, $point);
	return $pid;
}

# The next n events of a listener, and what else has come then, in the order of payloads, as
# "payload:retries ...". With confirm: it confirms them.
sub gets
{
	my ($listener, $n, $confirm) = @_;
	my @events = $listener->events($n);

	wait_asleep(scheduler(), 0.02);
	push @events, $listener->events_so_far;
	if ($confirm)
	{
		$listener->confirm($_) for @events;
	}
	return join(' ', sort map { "$_->{payload}:$_->{num_retries}" } @events);
}

# Nothing is left of the story but what is dead; the next has another queue.
sub ends
{
	my ($name, $dead) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply([ $admin->rows(<<"SQL") ], [ [ 0, 0, $dead // 0 ] ], "$name: the end");
SELECT (SELECT count(*) FROM evsched.event WHERE queue = '$queue'),
	   (SELECT count(*) FROM evsched._leases()),
	   (SELECT count(*) FROM evsched.dead WHERE queue = '$queue')
SQL
	$queue++;
	return;
}

# Committed while a turn is under way, after its snapshot: nobody wakes the scheduler, which
# must find it itself.
for my $point ('turn begun', 'turn notified', 'turn committed')
{
	my $ann       = someone('ann');
	my $scheduler = stop_next($point);

	post('1');
	wait_stopped($server, $scheduler);
	post('2');
	$admin->sql("SELECT evsched.post_at('3', '-infinity', '$queue', max_retries => 5)");
	$admin->sql("SELECT evsched.post('4', '300 ms', '$queue', max_retries => 5)");
	my $since = time;
	go_on($server, $scheduler);
	my @events = $ann->events(4);
	is(join(' ', sort map { $_->{payload} } @events),
		'1 2 3 4', "posted at '$point': all come");
	on_time((grep { $_->{payload} == 4 } @events)[0],
		"posted at '$point' for later: on time", $since);
	$ann->confirm($_) for @events;
	$ann->quit;
	ends("posted at '$point'");
}

# The same for a take, which raises the mark by what it saw.
my $taker = session($server, 'taker');
post('1, 2');
stop_next('row pulled', $taker);
$taker->send("SELECT string_agg(payload::text, ' ') FROM evsched.take('$queue', 9)");
wait_stopped($server, $taker->pid);
$admin->sql("SELECT evsched.post_at('3', '-infinity', '$queue', max_retries => 5)");
go_on($server, $taker->pid);
is($taker->reply->{rows}[0][0], '1 2', 'a take sees what was there when it began');
is($taker->sql("SELECT payload FROM evsched.take('$queue', 9)"),
	3, 'the next one what was posted meanwhile');
ends('posted during a take');

# A listener that a turn has chosen leaves, and another comes, who may get its slot.
for my $how ('leave', 'leave and release', 'be terminated')
{
	for my $point ('turn begun', 'turn claimed')
	{
		my $name      = "chosen to $how at '$point'";
		my $ann       = someone('ann');
		my $scheduler = stop_next($point);
		my $claimed   = $point eq 'turn claimed';

		$admin->sql(<<"SQL");
SELECT evsched.post('1', queue => '$queue', max_retries => 5),
	   evsched.post('2', queue => '$queue', max_retries => 0)
SQL
		wait_stopped($server, $scheduler);
		if ($how eq 'be terminated')
		{
			kill('TERM', $ann->pid);
			$ann->wait_lost;
			wait_until(sub { !-e '/proc/' . $ann->pid }, 'it to end');
		}
		else
		{
			my $release = $how =~ /release/ ? 'true' : 'false';

			is($ann->sql("SELECT evsched.leave('$queue', release => $release)"),
				't', $name);
		}
		my $bob = someone('bob');
		go_on($server, $scheduler);
		if ($claimed && $how eq 'leave')
		{
			is(gets($ann, 1, 1), '1:0', "$name: it gets what was leased to it");
			is(gets($bob, 1, 1), '2:0', "$name: the other gets the rest");
		}
		else
		{
			my $counted = $claimed && $how eq 'be terminated' ? 1 : 0;

			is(gets($bob, 2, 1), "1:$counted 2:0", "$name: the other gets all");
			is(gets($ann, 0), '', "$name: and it nothing")
			  if !$claimed && $how ne 'be terminated';
		}
		$_->quit for $ann, $bob;
		ends($name);
	}
}

# The one that a turn is about to tell leaves.
{
	my $ann       = someone('ann', max_events => 0);
	my $scheduler = stop_next('turn begun');

	post('1');
	wait_stopped($server, $scheduler);
	$ann->sql("SELECT evsched.leave('$queue')");
	my $bob = someone('bob', max_events => 0);
	go_on($server, $scheduler);
	ok($bob->telling, 'chosen to be told, it leaves: another is told');
	is($bob->sql("SELECT payload FROM evsched.take('$queue', 9)"), 1, 'and takes it');
	is_deeply([ $ann->tellings_so_far ], [], 'it is not told');
	$_->quit for $ann, $bob;
	ends('chosen to be told');
}

# A turn that has told somebody fails: nobody was told.
{
	my $ann       = someone('ann', max_events => 0);
	my $scheduler = stop_next('turn notified');

	post('1');
	wait_stopped($server, $scheduler);
	kill('TERM', $scheduler);
	new_scheduler($server, $scheduler);
	ok($ann->telling, 'the scheduler is terminated when it has told somebody: told again');
	wait_asleep(scheduler(), 0.02);
	is_deeply([ $ann->tellings_so_far ], [], 'once');
	is($ann->sql("SELECT payload FROM evsched.take('$queue', 9)"), 1, 'it takes it');
	$ann->quit;
	ends('told again');
}

# A turn that has sent a lot that is not confirmed fails: nothing was sent.
{
	my $ann       = someone('ann', max_events => 100);
	my $scheduler = stop_next('turn notified');

	$admin->sql(<<"SQL");
SELECT evsched.post_many(array_agg(to_jsonb(repeat('x', 7000))), queue => '$queue')
FROM generate_series(1, 9)
SQL
	wait_stopped($server, $scheduler);
	kill('TERM', $scheduler);
	new_scheduler($server, $scheduler);
	is(scalar(() = $ann->events(9)),
		9, 'the scheduler is terminated when it has sent a lot: sent again');
	$ann->quit;
	ends('sent again');
}

# Who moves an event is about to end its lease, when it is given back and leased to another:
# that lease is not his to end.
my %move = (
	reject       => q(SELECT evsched.reject(%d, '0 s')),
	change_delay => q(SELECT evsched.change_delay(%d, '0 s')),
	UPDATE       => q(UPDATE evsched.event SET due_at = now() WHERE id = %d RETURNING true));
for my $how (sort keys %move)
{
	my $ann   = someone('ann');
	my $mover = session($server, 'mover');

	post('1');
	my $event = $ann->event;
	stop_next('effects committed', $mover);
	$mover->send(sprintf $move{$how}, $event->{id});
	wait_stopped($server, $mover->pid);
	$ann->sql("SELECT evsched.leave('$queue', release => true)");
	my $bob = someone('bob');
	is( gets($bob, 1),
		$how eq 'reject' ? '1:1' : '1:0',
		"moved by $how, the lease not yet ended: it is leased to another");
	go_on($server, $mover->pid);
	is($mover->reply->{rows}[0][0], 't', 'who moved it is through');
	is(gets($bob, 0), '', 'it does not come again');
	is($bob->sql("SELECT unconfirmed FROM evsched.listeners WHERE node = 'bob'"),
		1, 'the lease is still there');
	is($bob->confirm($event), 't', 'and is confirmed');
	$_->quit for $ann, $bob, $mover;
	ends("moved by $how");
}

# The lease of an event runs out while it is being confirmed. It runs on; where that is rolled
# back, it is over at once, and where it is committed, that is all.
for my $end ('COMMIT', 'ROLLBACK')
{
	my $ann     = someone('ann', conf_timeout => '1 s');
	my $confirm = session($server, 'confirm');

	$confirm->sql('BEGIN');
	stop_next('confirm deleted', $confirm);
	post('1');
	my $event = $ann->event;
	$confirm->send("SELECT evsched.confirm($event->{id})");
	wait_stopped($server, $confirm->pid);
	my $deadline =
	  $admin->sql('SELECT extract(epoch FROM deadline) FROM evsched._leases()');
	# looked at again and again, at last after pauses of more than half a second
	wait_until(
		sub {
			$admin->sql(<<"SQL") eq 't';
SELECT deadline > to_timestamp($deadline + 1) AND
	   deadline > clock_timestamp() + interval '400 ms'
FROM evsched._leases()
SQL
		},
		'its time to be over for long');
	is($ann->event_within(0), undef, "over while it is confirmed: it does not come");
	go_on($server, $confirm->pid);
	is($confirm->reply->{rows}[0][0], 't', 'confirmed');
	my $ended = time;
	$confirm->sql($end);
	if ($end eq 'ROLLBACK')
	{
		my $again = $ann->event;

		near($again->{at}, $ended, "$end: it comes again at once");
		is("$again->{payload}:$again->{num_retries}", '1:1', 'counted once');
		is($ann->confirm($again), 't', 'and is confirmed');
	}
	is(gets($ann, 0), '', "$end: it does not come again");
	$_->quit for $ann, $confirm;
	ends("confirmed too late, $end");
}

# The scheduler has collected a lease that is over, when it is extended, or ended and granted
# anew: not its to count any more.
my %lease = (
	extend  => sub { $_[0]->sql("SELECT evsched.extend($_[1], '1 h')"); },
	confirm => sub { $_[0]->sql("SELECT evsched.confirm($_[1])"); },
	receive => sub {
		$_[0]->sql("SELECT evsched.leave('$queue', release => true)");
		$_[0]->sql("SELECT id = $_[1] FROM evsched.receive('$queue', 1, '1 h')");
	});
for my $how (sort keys %lease)
{
	my $ann       = someone('ann', conf_timeout => '300 ms');
	my $scheduler = stop_next('lease collected');

	post('1');
	my $event = $ann->event;
	wait_stopped($server, $scheduler);
	is($lease{$how}->($ann, $event->{id}), 't', "$how of an event whose lease is over");
	go_on($server, $scheduler);
	is(gets($ann, 0), '', 'it does not come again');
	is_deeply(
		[   $ann->rows(
				"SELECT state, num_retries FROM evsched.events WHERE queue = '$queue'")
		],
		$how eq 'confirm' ? [] : [ [ 'delivered', 0 ] ],
		"$how: it is not counted");
	$ann->confirm($event);
	$ann->quit;
	ends($how);
}

# The other way round: it is confirmed while the scheduler counts it, or gives it up.
for my $max_retries (5, 1)
{
	my $ann       = someone('ann', conf_timeout => '300 ms');
	my $confirm   = session($server, 'confirm');
	my $dies      = $max_retries == 1;
	my $scheduler = stop_next('lease over');

	post('1', $max_retries);
	my $event = $ann->event;
	if ($dies)
	{
		$ann->sql("SELECT evsched.reject($event->{id}, '0 s')");
		$event = $ann->event;
	}
	wait_stopped($server, $scheduler);
	$confirm->send("SELECT evsched.confirm($event->{id})");
	ok(blocked_in($server, $confirm, 'transactionid'), 'it is confirmed while it is over');
	go_on($server, $scheduler);
	is($confirm->reply->{rows}[0][0],
		$dies ? 'f' : 't', $dies ? 'it is dead: no longer to confirm' : 'counted, and done');
	wait_asleep(scheduler(), 0.02);
	$_->quit for $ann, $confirm;
	ends('confirmed when it is over', $dies ? 1 : 0);
}

nothing_early();
done_testing();

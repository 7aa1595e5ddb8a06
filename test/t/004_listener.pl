# Listeners come and go: who is served then, and what becomes of what they held.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early wait_until);
use Test::More;
use Time::HiRes qw(time);

my $server = start_server('listener');
my $poster = session($server, 'poster');

# Posts an event that is to be confirmed; its id.
sub post
{
	my ($queue, $payload, $delay, $max_retries) = @_;

	$max_retries //= 5;
	return $poster->sql(
		"SELECT evsched.post('$payload', '$delay', queue => '$queue', max_retries => $max_retries)"
	);
}

sub post_numbers
{
	my ($queue, $n, $delay) = @_;

	$poster->sql(<<"SQL");
SELECT evsched.post_many(array_agg(to_jsonb(g)), '{$delay}', '$queue', max_retries => 5)
FROM generate_series(1, $n) g
SQL
	return;
}

sub listeners
{
	my ($queue) = @_;

	return join(
		' ',
		map { $_->[0] } $poster->rows(
			"SELECT node FROM evsched.listeners WHERE queue = '$queue' ORDER BY node"));
}

# The listener next in turn is killed before the due time.
my ($ann, $bob) =
  map { listener($server, $_, queue => 'kill', conf_timeout => '1 min') } qw(a b);
post('kill', 1, '300 ms');
$ann->kill9;
my $event = $bob->event;
on_time($event, 'an event of one killed before comes to another');
is($event->{num_retries}, 0,   'as a first delivery');
is($bob->confirm($event), 't', 'confirmed');

# Killed while it holds an unconfirmed event.
for my $how ('killed', 'terminated', 'gone')
{
	my $held;

	$ann =
	  listener($server, 'a', queue => 'kill', max_events => 3, conf_timeout => '1 min');
	$bob->quit;
	wait_until(sub { listeners('kill') eq 'a' }, 'b to be gone');
	$bob = listener($server, 'b', queue => 'kill', conf_timeout => '1 min');
	post_numbers('kill', 2, '0');
	$held = [ $ann->events(2) ];
	my $since = time;
	if    ($how eq 'killed') { $ann->kill9; }
	elsif ($how eq 'gone')   { $ann->quit; }
	else { $poster->sql("SELECT pg_terminate_backend(${\$ann->pid})"); }
	my @again = $bob->events(2);
	is_deeply(
		[ map { $_->{id} } @again ],
		[ map { $_->{id} } @$held ],
		"what one held that is $how comes to another");
	is_deeply([ map { $_->{num_retries} } @again ], [ 1, 1 ], 'as a failed delivery');
	cmp_ok($again[1]{at} - $since, '<', 0.15, 'at once');
	$bob->confirm($_) for @again;
	is(listeners('kill'), 'b', 'and it is no listener any more');
}

# The last of its deliveries, and its listener is killed: dead.
my $doomed = listener($server, 'doomed', queue => 'doomed', conf_timeout => '1 min');
my $last   = post('doomed', 1, '0', 1);
$doomed->sql("SELECT evsched.reject($last)") if $doomed->event;
is($doomed->event->{num_retries}, 1, 'the last delivery');
my $killed_at = time;
$doomed->kill9;
wait_until(
	sub { $poster->sql("SELECT count(*) FROM evsched.dead_event WHERE id = $last") == 1 },
	'it to die');
cmp_ok(time - $killed_at, '<', 0.5, 'its listener is killed: it is dead at once');

# Nobody listens.
post('nobody', '"waits"', '0');
post('nobody', '"later"', '1 hour');
my $join   = session($server, 'a');
my $joined = $join->try($join->join_call(queue => 'nobody'));
$event = $join->event;
is($event->{payload}, 'waits', 'an event waits for a listener');
cmp_ok($event->{at} - $joined->{ended}, '<', 0.1, 'and is delivered when it has joined');
$join->quit;

# A join counts from its commit on; one that is rolled back does not.
$join = session($server, 'a');
$join->sql('BEGIN');
$join->join(queue => 'rollback');
is(listeners('rollback'), '', 'a join that is not committed is none');
$join->sql('ROLLBACK');
is(listeners('rollback'), '', 'nor one that is rolled back');
$join->sql('BEGIN');
$join->sql('SAVEPOINT s');
$join->join(queue => 'rollback');
$join->sql('ROLLBACK TO s');
$join->sql('COMMIT');
is(listeners('rollback'), '', 'nor one of a savepoint that is rolled back');
$join->sql('BEGIN');
$join->join(queue => 'rollback');
$join->sql('COMMIT');
is(listeners('rollback'), 'a', 'it is with the commit');
$join->sql('BEGIN');
is($join->sql(q(SELECT evsched.leave('rollback'))), 't', 'it leaves');
$join->sql('ROLLBACK');
is(listeners('rollback'), 'a', 'not when that is rolled back');
post('rollback', 1, '0');
is($join->event->{payload}, 1, 'and is served');

# One session, two queues, one channel.
my $channel = $join->join(queue => 'second');
is($join->join(queue => 'third'), $channel, 'a session has one channel');
like($channel, qr/^evsched_\w{20,}$/, 'that cannot be guessed');
post($_, "\"$_\"", '0') for qw(second third);
is_deeply(
	[ sort map { "$_->{queue} $_->{payload}" } $join->events(2) ],
	[ 'second second', 'third third' ],
	'for all its queues');
$join->quit;

# The credit: as many as max_events at a time.
$ann = listener($server, 'a', queue => 'credit', max_events => 3);
post_numbers('credit', 10, '0');
my @events = $ann->events(3);
is_deeply([ $ann->events_so_far ], [], 'it gets as many as max_events');
is($ann->sql(q(SELECT unconfirmed FROM evsched.listeners WHERE queue = 'credit')),
	3, 'which the view counts');
$ann->confirm($_) for @events[ 0, 1 ];
push @events, $ann->events(2);
is_deeply(
	[ map { $_->{payload} } @events ],
	[ 1 .. 5 ],
	'and one for each that it confirms');
is_deeply([ $ann->events_so_far ], [], 'no more');
$ann->sql(q(SELECT evsched.set_max_events(5, 'credit')));
push @events, $ann->events(2);
is_deeply([ $ann->events_so_far ], [], 'a higher max_events gives it more at once');
$ann->sql(q(SELECT evsched.set_max_events(1, 'credit')));
$ann->confirm($_) for @events[ 2 .. 5 ];
is_deeply([ $ann->events_so_far ], [], 'a lower one gives it less');
is($ann->sql(q(SELECT max_events FROM evsched.listeners WHERE queue = 'credit')),
	1, 'one');
$ann->confirm($events[6]);
push @events, $ann->event;
is_deeply([ $ann->events_so_far ], [], 'at a time');
$ann->sql(q(SELECT evsched.set_max_events(0, 'credit')));
push @events, $ann->events(2);
is_deeply([ map { $_->{payload} } @events ], [ 1 .. 10 ], 'and 0 what join was given');

# leave: what it holds stays its own; with release it goes back.
$ann->quit;
$ann = listener($server, 'a', queue => 'leave', conf_timeout => '500 ms');
$bob = listener($server, 'b', queue => 'leave', conf_timeout => '1 min');
post('leave', 1, '0');
my $held = $ann->event;
is($ann->sql(q(SELECT evsched.leave('leave'))), 't', 'a leaves');
is($ann->sql(q(SELECT evsched.leave('leave'))), 'f', 'once');
is(listeners('leave'),                          'b', 'it is no listener any more');
post('leave', 2, '100 ms');
my $new = $bob->event;
is($new->{payload}, 2, 'new events go to another');
on_time($new, 'on time');
$event = $bob->event;
is($event->{payload}, 1, 'what it held does so when its lease is over');
near($event->{at}, $held->{at} + 0.5, 'not before');
is($event->{num_retries}, 1, 'and is counted');
$bob->confirm($_) for $new, $event;

$ann->join(queue => 'leave', conf_timeout => '1 min');
post_numbers('leave', 2, '0');
@events = ($bob->event_within(0.2) // (), $ann->events_so_far);
@events = ($bob->events_so_far, @events);
is(scalar @events, 2, 'two events are delivered');
for my $session ($ann, $bob)
{
	my ($name) = $session->name;
	my ($heir) = grep { $_ != $session } $ann, $bob;

	is($session->sql(q(SELECT evsched.leave('leave', release => true))),
		't', "$name leaves");
	last if $session == $bob;
	$session->join(queue => 'leave', conf_timeout => '1 min');
}
my @released = map { $_->events_so_far } $ann, $bob;
is_deeply([ grep { $_->{num_retries} != 0 } @released ],
	[], 'what is released is not counted');
$_->sql(q(SELECT evsched.leave('leave', true))) for $ann, $bob;
is( $poster->sql(
		q(SELECT count(*) FROM evsched.events WHERE queue = 'leave' AND state = 'ready')),
	2,
	'both are ready again');
$bob->join(queue => 'leave', conf_timeout => '1 min');
@events = $bob->events(2);
is_deeply([ map { $_->{num_retries} } @events ], [ 0, 0 ], 'as if never delivered');
my $released = $bob->try(q(SELECT evsched.leave('leave', true)));
$bob->quit;

# The ways out: each takes the listener out at once.
$ann->quit;
my %way = (
	'DISCARD ALL'             => sub { 'DISCARD ALL' },
	'UNLISTEN *'              => sub { 'UNLISTEN *' },
	'UNLISTEN of its channel' => sub { "UNLISTEN $_[0]" },
	'leave with release'      => sub { q(SELECT evsched.leave('way', release => true)) });
for my $way (sort keys %way)
{
	$ann = session($server, 'a');
	my $channel = $ann->join(queue => 'way', conf_timeout => '1 min');
	$bob = listener($server, 'b', queue => 'way', conf_timeout => '1 min');
	post('way', '"held"', '0');
	is($ann->event->{payload}, 'held', "$way: it holds an event");
	my $out = $ann->try($way{$way}->($channel));
	is($out->{error},    undef, 'it is no error');
	is(listeners('way'), 'b',   'it is out of the ring');
	$event = $bob->event;
	is($event->{payload}, 'held', 'its event goes to another');
	cmp_ok($event->{at} - $out->{ended}, '<', 0.05, 'at once');
	is($event->{num_retries}, $way =~ /release/ ? 0 : 1, 'and is counted, or not');
	$bob->confirm($event);
	post('way', $_, '20 ms') for 1, 2;
	is_deeply(
		[ map { $_->{payload} } $bob->events(2) ],
		[ 1, 2 ],
		'the next go to another, too');
	is_deeply([ $ann->events_so_far ], [], 'not to it');
	is( $poster->sql(
			q(SELECT count(evsched.confirm(id)) FROM evsched.event WHERE queue = 'way')),
		2,
		'confirmed');

	# It may come back.
	$bob->quit;
	$ann->join(queue => 'way');
	post('way', '"back"', '0');
	is($ann->event->{payload}, 'back', 'it may join again');
	is( $poster->sql(
			q(SELECT count(evsched.confirm(id)) FROM evsched.event WHERE queue = 'way')),
		1,
		'confirmed');
	$ann->quit;
	wait_until(sub { listeners('way') eq '' }, 'all to be gone');
}

# The same node again: replaces the older one, at the ring's end.
my $older = listener($server, 'n', queue => 'node', max_events => 1);
$bob = listener($server, 'b', queue => 'node', max_events => 1);
my $newer = listener($server, 'n', queue => 'node', max_events => 1);
is(listeners('node'), 'b n', 'a node joins once');
is($poster->sql(q(SELECT pid FROM evsched.listeners WHERE node = 'n')),
	$newer->pid, 'the newer one');
post_numbers('node', 2, '50 ms');
is($bob->event->{payload},   1, 'it stands at the end of the ring');
is($newer->event->{payload}, 2, 'and is served');
is_deeply([ $older->events_so_far ], [], 'the older one is not');
$older->quit;
is(listeners('node'), 'b n', 'its end does not matter any more');
$newer->join(queue => 'node', max_events => 2);
post_numbers('node', 1, '0');
is($newer->event->{payload}, 1, 'joining again changes the terms');
$_->quit for $bob, $newer;

# A long name survives; no name is one, too.
my $name = "node \x{27} \"" . 'x' x 92;
$ann = session($server, 'a');
$ann->join(node => $name, queue => 'name');
is(listeners('name'), $name, 'a node name of 100 characters survives');
my $unnamed = session($server, 'u');
$unnamed->sql(q(SELECT evsched.join(queue => 'unnamed')));
is( listeners('unnamed'),
	'pid-' . $unnamed->pid,
	'a node without a name is called by its pid');
$_->quit for $ann, $unnamed;

# Eight sessions join at the same instant, a hundred times.
my @eight = map { session($server, "e$_") } 1 .. 8;
my $gate  = session($server, 'gate');
my ($rounds, $served, $twice) = (100, 0, 0);
for my $round (1 .. $rounds)
{
	my $queue = 'join' . $round % 3;

	$gate->sql('SELECT pg_advisory_lock(7)');
	for my $session (@eight)
	{
		my $call =
		  $session->join_call(queue => $queue, max_events => 1, conf_timeout => '1 min');

		$session->send(
			"SELECT pg_advisory_lock_shared(7); SELECT pg_advisory_unlock_shared(7); $call"
		);
	}
	wait_until(
		sub {
			$poster->sql(
				q(SELECT count(*) = 8 FROM pg_locks
						   WHERE locktype = 'advisory' AND NOT granted)) eq 't';
		},
		'eight to wait');

	# Every other time the events are there before them.
	post_numbers($queue, 8, '0') if $round % 2;
	$gate->sql('SELECT pg_advisory_unlock(7)');
	post_numbers($queue, 8, '0') unless $round % 2;
	for my $session (@eight)
	{
		my $reply = $session->reply;

		die $reply->{error} if defined $reply->{error};
	}
	my @events = map { $_->event } @eight;
	$served += grep { $_->{num_retries} == 0 } @events;
	$twice  += grep { $_->events_so_far } @eight;
	$poster->sql('SELECT evsched.confirm(\'{'
		  . join(',', map { $_->{id} } @events)
		  . '}\'::bigint[])');
	$_->sql("SELECT evsched.leave('$queue')") for @eight;
}
is($served, 8 * $rounds, 'eight sessions join at once, a hundred times: each is served');
is($twice,  0,           'none of them twice');
is($poster->sql(q(SELECT count(*) FROM evsched.event WHERE queue LIKE 'join%')),
	0, 'everything is confirmed');

nothing_early();
done_testing();

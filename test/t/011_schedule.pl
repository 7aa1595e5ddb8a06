# Events that wait: posted anew, moved, cancelled; and all that taken back.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early wait_until);
use Test::More;
use Time::HiRes qw(time);

my $server = start_server('schedule');
my $poster = session($server, 'poster');
my $other  = session($server, 'other');
my $ann    = listener($server, 'a', max_events => 1000, conf_timeout => '1 min');

sub events_left
{
	return $poster->sql('SELECT count(*) FROM evsched.event');
}

# Posted twice under one key.
my $id     = $poster->sql(q(SELECT evsched.post('"first"', '300 ms', key => 'x')));
my $posted = $poster->try(q(SELECT evsched.post('"second"', '600 ms', key => 'x')));
is($posted->{rows}[0][0], $id, 'a key posted again is the same event');
my $event = $ann->event;
is($event->{payload}, 'second', 'with the second payload');
near($event->{at}, $posted->{ended} + 0.6, 'at the second time');
on_time($event, 'exactly');
is(events_left(), 0, 'delivered once');

# Postponed and advanced, by id and by key.
for my $change (
	[ '200 ms', '500 ms' ],
	[ '1 hour', '150 ms' ],
	[ '500 ms', '0' ],
	[ '1 hour', '-1 hour' ])
{
	my ($from, $to) = @$change;

	for my $by ('id', 'key')
	{
		my $id      = $poster->sql("SELECT evsched.post('\"$by\"', '$from', key => 'k')");
		my $target  = $by eq 'id' ? "$id, '$to'" : "'k', '$to', 'default'";
		my $changed = $poster->try("SELECT evsched.change_delay($target)");
		my $wait    = $to =~ /^(\d+) ms/ ? $1 / 1000 : 0;

		is($changed->{rows}[0][0], 't', "from $from to $to, by $by");
		my $event = $ann->event;
		near($event->{at}, $changed->{ended} + $wait, 'to that time');
		cmp_ok($event->{at}, '>=', $changed->{began} + $wait, 'not before');
	}
}

# What is unknown.
for my $call (
	'change_delay(-1, \'0\')',
	'change_delay(\'no\', \'0\', \'default\')',
	'confirm(-1)',
	'confirm(\'no\', \'default\')',
	'cancel(-1)',
	'cancel(\'no\', \'default\')',
	'reject(-1)',
	'extend(-1, \'1 s\')',
	"confirm($id)",
	"cancel($id)",
	"change_delay($id, '0')")
{
	is($poster->sql("SELECT evsched.$call"), 'f', "$call: unknown");
}
is($poster->sql("SELECT evsched.confirm('{-1, $id, NULL}'::bigint[])"),
	0, 'confirm of an array: none');
is($poster->sql('SELECT p IS NULL FROM evsched.peek(-1) p'), 't', 'peek: nothing');
is(events_left(),                                            0, 'and nothing is created');
$id = $poster->sql(q(SELECT evsched.post('1', '1 hour')));
is($poster->sql("SELECT evsched.confirm($id)"),
	'f', 'what is not due yet is not confirmed');
is($poster->sql("SELECT evsched.cancel($id)"), 't', 'but cancelled');
is($poster->sql("SELECT evsched.cancel($id)"), 'f', 'once');

# In a savepoint that rolls back, as if never called: the event still comes at its time.
my %call = (
	confirm  => q(SELECT evsched.confirm(ID)),
	cancel   => q(SELECT evsched.cancel(ID)),
	postpone => q(SELECT evsched.change_delay(ID, '1 hour')),
	advance  => q(SELECT evsched.change_delay(ID, '0')),
	post     => q(SELECT evsched.post('"new"', '1 hour', key => 'k')),
	reject   => q(SELECT evsched.reject(ID, '1 hour')),
	take     => q(SELECT count(*) FROM evsched.take('default', 10)));
for my $end ([ 'ROLLBACK TO s', 'COMMIT' ],
	['ROLLBACK'], [ q(PREPARE TRANSACTION 'p'), q(ROLLBACK PREPARED 'p') ])
{
	for my $call (sort keys %call)
	{
		# Those that deal with a delivered event.
		if ($call ne 'take')
		{
			my $id =
			  $poster->sql(q(SELECT evsched.post('"old"', key => 'k', max_retries => 5)));
			my $event = $ann->event;
			$poster->sql('BEGIN');
			$poster->sql('SAVEPOINT s');
			$poster->sql($call{$call} =~ s/ID/$id/r);
			$poster->sql($_) for @$end;
			is($ann->sql('SELECT unconfirmed FROM evsched.listeners'),
				1, "$call, @$end: it is still delivered");
			is($ann->confirm($event), 't', 'and can be confirmed');
		}

		# Those that deal with a scheduled one.
		my $id = $poster->sql(
			q(SELECT evsched.post('"old"', '80 ms', key => 'k', max_retries => 5)));
		$poster->sql('BEGIN');
		$poster->sql('SAVEPOINT s');
		$poster->sql($call{$call} =~ s/ID/$id/r);
		$poster->sql($_) for @$end;
		my $event = $ann->event;
		is($event->{payload}, 'old', "$call, @$end: the event comes");
		on_time($event, 'at its time');
		is($ann->confirm($event), 't', 'once');
	}
}
is(events_left(), 0, 'nothing else was left behind');

# Cancelled before its turn, in an open transaction: not delivered, then or later.
$id = $poster->sql(q(SELECT evsched.post('"cancelled"', '50 ms', max_retries => 1)));
$other->sql('BEGIN');
is($other->sql("SELECT evsched.cancel($id)"), 't', 'cancelled');
$poster->sql(q(SELECT evsched.post('"marker"', '80 ms')));
is($ann->event->{payload}, 'marker', 'it is not delivered while that may yet commit');
$other->sql('COMMIT');
$poster->sql(q(SELECT evsched.post('"marker"', '50 ms')));
is($ann->event->{payload}, 'marker', 'nor afterwards');

# A row that somebody merely locks comes when it is free.
$id = $poster->sql(q(SELECT evsched.post('"locked"', '50 ms', max_retries => 1)));
$other->sql('BEGIN');
$other->sql("SELECT FROM evsched.event WHERE id = $id FOR UPDATE");
$poster->sql(q(SELECT evsched.post('"marker"', '100 ms')));
is($ann->event->{payload}, 'marker', 'a locked row is passed over');
my $free = $other->try('COMMIT');
$event = $ann->event;
is($event->{payload}, 'locked', 'and comes when it is free');
cmp_ok($event->{at} - $free->{ended}, '<', 1.05, 'soon');
is($ann->confirm($event), 't', 'confirmed');

# A poster with a key waits for an open transaction on that key, and for no other.
$other->sql('BEGIN');
$other->sql(q(SELECT evsched.post('"a"', '1 hour', key => 'a')));
is($poster->sql(q(SELECT evsched.post('"b"', '-1 s', key => 'b') > 0)),
	't', 'another key does not wait');
is($ann->event->{payload}, 'b', 'it comes');
$poster->send(q(SELECT evsched.post('"a2"', '0', key => 'a')));
wait_until(
	sub {
		$other->sql(
			q(SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock')) == 1;
	},
	'the same key to wait');
$other->sql('COMMIT');
is($poster->reply->{error}, undef, 'the same key waits');
is($ann->event->{payload},  'a2',  'and replaces what the other posted');
is(events_left(),           0,     'there is one');

# Three hundred events that are moved and cancelled at random.
srand(20261120);
my (%due, %cancelled);
for my $n (1 .. 300)
{
	my $id =
	  $poster->sql(sprintf(q(SELECT evsched.post('%d', '%d ms')), $n, 500 + rand 1500));
	$due{$id} = 1;
}
for my $n (1 .. 400)
{
	my @ids   = sort { $a <=> $b } keys %due;
	my $id    = $ids[ rand @ids ];
	my $delay = int(600 + rand 1500);

	if ($n % 4 == 0)
	{
		delete $due{$id} if $poster->sql("SELECT evsched.cancel($id)") eq 't';
	}
	elsif ($n % 4 == 1)
	{
		$other->sql('BEGIN');
		$other->sql("SELECT evsched.change_delay($id, '1 hour')");
		$other->sql(
			$n % 8 == 1 ? 'ROLLBACK' : "SELECT evsched.change_delay($id, '$delay ms')");
		$other->sql('COMMIT') if $n % 8 != 1;
	}
	else { $poster->sql("SELECT evsched.change_delay($id, '$delay ms')"); }
}
my %expected =
  map { @$_ } $poster->rows('SELECT id, extract(epoch FROM due_at) FROM evsched.event');
my @events = $ann->events_so_far;
delete @expected{ map { $_->{id} } @events };

push @events, $ann->event while grep {
	my $id = $_;
	!grep { $_->{id} == $id } @events
} keys %due;
is_deeply(
	[ sort { $a <=> $b } map { $_->{id} } @events ],
	[ sort { $a <=> $b } keys %due ],
	'those that were not cancelled come, each once');
is_deeply([ grep { $_->{late} > 0.05 } @events ], [], 'on time');
is_deeply(
	[   grep { $expected{ $_->{id} } && abs($expected{ $_->{id} } - $_->{due}) > 1e-5 }
		  @events ],
	[],
	'at the time they were moved to last');
is(events_left(), 0, 'none is left');

nothing_early();
done_testing();

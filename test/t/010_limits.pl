# More queues, leases and listeners than there is room for in shared memory.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $server = start_server('limits', conf => <<'CONF');
evsched.max_queues = 4
evsched.max_leases = 16
evsched.max_listeners = 12
CONF
my $poster = session($server, 'poster');
my @queues = map { "queue$_" } 1 .. 10;

# Queues beyond the limit share a slot: each is served, to its own listeners.
my %listener = map { $_ => listener($server, $_, queue => $_, max_events => 1) } @queues;
for my $round (1, 2)
{
	$poster->sql("SELECT evsched.post('\"$_\"', '200 ms', '$_', max_retries => 3)")
	  for @queues;
	for my $queue (@queues)
	{
		my $event = $listener{$queue}->event;

		is_deeply(
			[ @$event{qw(queue payload)} ],
			[ $queue, $queue ],
			"$queue has its own event");
		on_time($event, 'on time');
		is($listener{$queue}->confirm($event), 't', 'confirmed');
	}
}
$poster->sql('BEGIN');
$poster->sql("SELECT evsched.post_many('{1, 2, 3}', '{50 ms}', '$_', max_retries => 3)")
  for @queues;
$poster->sql('COMMIT');
for my $queue (@queues)
{
	my @payloads;

	for (1 .. 3)
	{
		my $event = $listener{$queue}->event;

		push @payloads, $event->{payload};
		$listener{$queue}->confirm($event);
	}
	is_deeply(\@payloads, [ 1, 2, 3 ], "$queue: one at a time, in order");
}
for my $queue (@queues)
{
	$poster->sql("SELECT evsched.post('\"retry\"', queue => '$queue', max_retries => 3)");
	$listener{$queue}
	  ->sql("SELECT evsched.reject(${\$listener{$queue}->event->{id}}, '100 ms')");
	is($listener{$queue}->confirm($listener{$queue}->event), 't', "$queue: a retry");
}
$_->quit for values %listener;

# They can be taken from, received from, and told of.
my @more = (@queues, map { "more$_" } 1 .. 10);
$poster->sql("SELECT evsched.post(to_jsonb($_), queue => '$more[$_]', max_retries => 3)")
  for 0 .. $#more;
is($poster->sql("SELECT payload FROM evsched.take('$more[$_]', 5)"),
	$_, "take from $more[$_]")
  for 0 .. $#more;
$poster->sql("SELECT evsched.post(to_jsonb($_), queue => '$more[$_]', max_retries => 3)")
  for 0 .. $#more;
for my $i (0 .. $#more)
{
	$poster->sql('BEGIN');
	is($poster->sql("SELECT payload FROM evsched.take('$more[$i]', 5)"),
		$i, "take from $more[$i]");
	$poster->sql('ROLLBACK');
	my $id = $poster->sql("SELECT id FROM evsched.receive('$more[$i]', 5)");
	ok(defined $id, 'rolled back: received');
	is($poster->sql("SELECT count(*) FROM evsched.take('$more[$i]', 5)"), 0, 'not taken');
	is($poster->sql("SELECT evsched.confirm($id)"), 't',                     'confirmed');
}
my $told = session($server, 'told');
$told->join(queue => $_, max_events => 0) for @more[ 0 .. 9 ];
for my $queue (@more[ 0 .. 9 ])
{
	$poster->sql("SELECT evsched.post('1', '20 ms', '$queue')");
	ok($told->telling, "$queue: told");
	is($poster->sql("SELECT payload FROM evsched.take('$queue', 5)"), 1, 'and taken');
}
$told->quit;

# Listeners: the one too many is refused, and nothing else is.
my $many = session($server, 'many');
wait_until(sub { $poster->sql('SELECT count(*) FROM evsched.listeners') == 0 },
	'all to be gone');
$many->join(queue => "l$_") for 1 .. 12;
my $refused = session($server, 'refused');
my $result  = $refused->try($refused->join_call(queue => 'l13'));
is($result->{sqlstate}, '53400', 'a listener too many is refused');
is( $refused->sql(
		q(SELECT evsched.post('"posted"', queue => 'l1', max_retries => 1)) . ' > 0'),
	't',
	'post is not');
is($many->confirm($many->event), 't', 'nor delivery');
$many->sql(q(SELECT evsched.leave('l2')));
$refused->sql('BEGIN');
$refused->join(queue => 'l13');
is($many->try($many->join_call(queue => 'l14'))->{sqlstate},
	'53400', 'a join takes the last place');
$refused->sql('ROLLBACK');
is($many->try($many->join_call(queue => 'l14'))->{error},
	undef, 'and a rollback frees it');
$_->quit for $many, $refused;

# Leases: what is too much waits.
wait_until(sub { $poster->sql('SELECT count(*) FROM evsched.listeners') == 0 },
	'all to be gone');
my ($ann, $bob) =
  map { listener($server, $_, queue => $_, max_events => 100, conf_timeout => '1 min') }
  qw(a b);
$poster->sql(
	q(SELECT evsched.post_many(array_agg(to_jsonb(g)), queue => 'a', max_retries => 3)
			   FROM generate_series(1, 40) g));
my @events = $ann->events(16);
$poster->sql(q(SELECT evsched.post('1', queue => 'b', max_retries => 3)));
$bob->join(queue => 'c');
$poster->sql(q(SELECT evsched.post('2', '50 ms', 'c', max_retries => 0)));
my $event = $bob->event;
is($event->{payload}, 2, 'what needs no lease is delivered');
is_deeply([ map { $_->events_so_far } $ann, $bob ], [], 'the others wait');
is($poster->sql('SELECT sum(unconfirmed) FROM evsched.listeners'),
	16, 'there are no more leases');
ok($server->log_contains('max_leases'), 'the log says so');
my $log = () = slurp_file($server->logfile) =~ /max_leases/g;
my @b_events;

while (@events)
{
	my $result = $ann->confirm(shift @events);

	die 'not confirmed' if $result ne 't';
	wait_until(
		sub {
			push @events,   $ann->events_so_far;
			push @b_events, $bob->events_so_far;
			return @events + @b_events == 16
			  || $poster->sql(
				q(SELECT count(*) FROM evsched.event WHERE queue IN ('a', 'b'))) ==
			  @events + @b_events;
		},
		'the next');
}
is_deeply([ map { $_->{payload} } @b_events ], [1], 'another queue has its share');
is($poster->sql(q(SELECT count(*) FROM evsched.event WHERE queue = 'a')),
	0, 'with each confirmation one goes on, to the last');
is($bob->confirm($b_events[0]), 't', 'confirmed');
is($poster->sql(q(SELECT count(*) FROM evsched.event WHERE queue IN ('a', 'b'))),
	0, 'everything is done');
is(scalar(() = slurp_file($server->logfile) =~ /max_leases/g), $log, 'it is logged once');

# What receive finds no lease for waits, too.
$poster->sql(q(SELECT evsched.post_many((SELECT array_agg('1'::jsonb) FROM generate_series(1, 20)),
	queue => 'pull', max_retries => 3)));
is($poster->sql(q(SELECT count(*) FROM evsched.receive('pull', 20))), 16, 'receive: as many as there are leases');
is($poster->sql(q(SELECT count(*) FROM evsched.receive('pull', 20))), 0,  'then none');
is( $poster->sql(
		q(SELECT evsched.confirm(array_agg(id)) FROM evsched.events WHERE queue = 'pull' AND state = 'delivered')),
	16,
	'confirmed');
is($poster->sql(q(SELECT count(*) FROM evsched.receive('pull', 20))), 4, 'then the rest');

nothing_early();
done_testing();

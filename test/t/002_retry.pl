# What becomes of an event that was delivered: confirmed, rejected, delivered again, dead.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early wait_until);
use Test::More;

my $server = start_server('retry');
my $poster = session($server, 'poster');
my $other  = session($server, 'other');
my $ann    = listener($server, 'a', conf_timeout => '1 s');

# Posts one event to the default queue; its id.
sub post
{
	my ($payload, $options) = @_;

	return $poster->sql("SELECT evsched.post('$payload', $options)");
}

sub events_left
{
	return $poster->sql(q(SELECT count(*) FROM evsched.event WHERE queue = 'default'));
}

# Never confirmed: T, T + 1 s, T + 2 s, then dead.
my $id     = post('"stubborn"', q('100 ms', key => 'k', max_retries => 2));
my @events = $ann->events(3);
is_deeply([ map { $_->{num_retries} } @events ], [ 0, 1, 2 ], 'delivered three times');
on_time($events[0], 'at T');
near($events[1]{at}, $events[0]{at} + 1, 'at T + 1 s');
near($events[2]{at}, $events[0]{at} + 2, 'at T + 2 s');
is_deeply([ map { $_->{id} } @events ], [ $id, $id, $id ], 'under the same id');
is_deeply([ map { $_->{key} } @events ], [ 'k', 'k', 'k' ], 'with its key');
$server->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM evsched.dead_event WHERE id = $id");
near(
	$poster->sql(
		"SELECT extract(epoch FROM died_at) FROM evsched.dead_event WHERE id = $id"),
	$events[0]{at} + 3,
	'it died at T + 3 s');
is(events_left(),                               0,   'it is no longer alive');
is($poster->sql("SELECT evsched.confirm($id)"), 'f', 'nor can it be confirmed');
is_deeply(
	[   $poster->rows(
			'SELECT queue, key, payload, num_retries, why <> \'\' FROM evsched.dead_event'
		) ],
	[ [ 'default', 'k', '"stubborn"', 2, 't' ] ],
	'a dead event tells what it was');
is($ann->sql('SELECT unconfirmed FROM evsched.listeners'), 0, 'and takes no credit');

is($poster->sql(q(SELECT evsched.redrive('default'))), 1, 'it is redriven');
my $again = $ann->event;
is_deeply(
	[ @$again{qw(id key payload num_retries)} ],
	[ $id, 'k', 'stubborn', 0 ],
	'and comes back as it was');
is($ann->confirm($again), 't', 'it can be confirmed then');
is($poster->sql('SELECT count(*) FROM evsched.dead_event'), 0, 'it is not dead any more');

# redrive by id, and discard.
$_ = post('"dies"', q(max_retries => 1)) for my ($one, $two, $three);
for (1 .. 2)
{
	$ann->sql("SELECT evsched.reject($_->{id}, error => 'cannot')") for $ann->events(3);
}
is_deeply(
	[ map { $_->[0] } $poster->rows('SELECT why FROM evsched.dead_event') ],
	[ ('cannot') x 3 ],
	'rejected too often, they are dead for that reason');
is($poster->sql("SELECT evsched.redrive('{$two}'::bigint[])"),
	1, 'one of them is redriven');
is($ann->confirm($ann->event), 't', 'and is done');
is($poster->sql("SELECT evsched.discard('{$one, $two}'::bigint[])"),
	1, 'one is discarded');
is($poster->sql("SELECT evsched.redrive('default', 5)"), 1,      'one is left');
is($ann->event->{id},                                    $three, 'that comes');
is($poster->sql("SELECT evsched.confirm($three)"),       't', 'anybody may confirm it');

# retry_delay: before the first retry, doubled for each further one.
$id = post('"slow"', q(max_retries => 3, retry_delay => '150 ms'));
my $last;
for my $delay (undef, 0.15, 0.3, 0.6)
{
	my $event = $ann->event;

	near($event->{at}, $last + $delay, "a retry after $delay s") if defined $delay;
	$last = $ann->try("SELECT evsched.reject($id)")->{ended};
}
is($poster->sql("SELECT count(*) FROM evsched.dead_event WHERE id = $id"),
	1, 'then it is dead');

# reject with a delay of its own.
post('"later"', q(max_retries => 2, retry_delay => '1 hour'));
my $event = $ann->event;
is($ann->sql("SELECT evsched.reject($event->{id}, '200 ms', 'busy')"), 't', 'rejected');
my $rejected_at = Time::HiRes::time();
is($ann->sql("SELECT evsched.reject($event->{id})"), 'f', 'once is enough');
is($ann->sql("SELECT last_error FROM evsched.events WHERE id = $event->{id}"),
	'busy', 'its error is kept');
is($ann->sql("SELECT unconfirmed FROM evsched.listeners"), 0, 'its credit is back');
$event = $ann->event;
is($event->{num_retries}, 1, 'it comes again');
near($event->{at}, $rejected_at + 0.2, 'after that delay');
on_time($event, 'on its time');
is($ann->confirm($event), 't', 'and is confirmed');

# A take that could not do it is counted with reject.
$id = post('"pulled"', q(queue => 'pull', max_retries => 1));
is($poster->sql("SELECT evsched.reject($id, '0')"),
	't', 'a due, undelivered event is rejected');
is($poster->sql(q(SELECT num_retries FROM evsched.take('pull'))), 1, 'that was counted');

# extend keeps the lease.
post('"long"', q(max_retries => 5));
$event = $ann->event;
my $extended = $ann->try("SELECT evsched.extend($event->{id}, '2 s')");
is($extended->{rows}[0][0], 't', 'extended');
is($ann->sql("SELECT evsched.extend($event->{id}, '1 s')"),
	't', 'a shorter time does not shorten it');
$other->sql('BEGIN');
is($other->sql("SELECT evsched.extend($event->{id}, '1.5 s')"),
	't', 'anybody may extend it');
$other->sql('ROLLBACK');
my $retry = $ann->event;
is($retry->{num_retries}, 1, 'it comes again in the end');
near($retry->{at}, $extended->{ended} + 2, 'when the extended time is over');
$other->sql('BEGIN');
$extended = $other->try("SELECT evsched.extend($event->{id}, '1.4 s')");
$other->sql('ROLLBACK');
$retry = $ann->event;
near($retry->{at}, $extended->{ended} + 1.4, 'a rollback does not undo an extension');
is($ann->confirm($retry), 't', 'confirmed');
is($ann->sql("SELECT evsched.extend($event->{id}, '1 s')"),
	'f', 'what is gone is not extended');
$id = post('"future"', q('1 hour'));
is($ann->sql("SELECT evsched.extend($id, '1 s')"), 'f', 'nor what is not delivered');
is($poster->sql("SELECT evsched.cancel($id)"),     't', 'cancelled');

# A confirmation in an open transaction: the lease does not run out.
post('"slow commit"', q(max_retries => 5));
$event = $ann->event;
$other->sql('BEGIN');
is($other->sql("SELECT evsched.confirm($event->{id})"), 't',
	'confirmed in a transaction');
post('"marker"', q('1.3 s', max_retries => 0));
is($ann->event->{payload}, 'marker', 'the lease does not run out while it is open');
$other->sql('COMMIT');
is(events_left(), 0, 'it is gone with the commit');

post('"no commit"', q(max_retries => 5));
$event = $ann->event;
$other->sql('BEGIN');
is($other->sql("SELECT evsched.confirm($event->{id})"), 't',
	'confirmed in a transaction');
post('"marker"', q('1.3 s', max_retries => 0));
is($ann->event->{payload}, 'marker', 'the lease does not run out while it is open');
my $rollback = $other->try('ROLLBACK');
$retry = $ann->event;
is($retry->{id},          $event->{id}, 'it comes again after a rollback');
is($retry->{num_retries}, 1,            'for its lease is over');
cmp_ok($retry->{at} - $rollback->{ended}, '<=', 1.05, 'soon');

# The same in a savepoint, and in a transaction that ends before the lease.
$other->sql('BEGIN');
$other->sql('SAVEPOINT s');
is($other->sql("SELECT evsched.confirm($event->{id})"), 't', 'confirmed in a savepoint');
$other->sql('ROLLBACK TO s');
$other->sql('COMMIT');
my $third = $ann->event;
is($third->{num_retries}, 2, 'as if it had not been confirmed');
near($third->{at}, $retry->{at} + 1, 'the lease ends when it was to end');

# Cancelled or confirmed after its lease is over: done all the same.
is($other->sql("SELECT evsched.confirm($event->{id})"), 't', 'any session may confirm');
is($ann->confirm($event),                               'f', 'once');
post('"late"', q(max_retries => 5, retry_delay => '10 min'));
$event = $ann->event;
$server->poll_query_until('postgres',
	"SELECT num_retries = 1 FROM evsched.event WHERE id = $event->{id}");
is($ann->confirm($event), 't', 'a late confirmation counts: it waits for its retry');
is(events_left(),         0,   'and is gone');
post('"cancelled"', q(max_retries => 5));
$event = $ann->event;
is($ann->sql("SELECT evsched.cancel($event->{id})"),
	't', 'a delivered event is cancelled');
is($ann->sql('SELECT unconfirmed FROM evsched.listeners'), 0, 'its credit is back');

# change_delay of a delivered event: scheduled anew.
post('"again"', q(max_retries => 5));
$event = $ann->event;
$ann->sql("SELECT evsched.reject($event->{id})");
$event = $ann->event;
is($event->{num_retries}, 1, 'a retry');
my $changed = $other->try("SELECT evsched.change_delay($event->{id}, '200 ms')");
is($changed->{rows}[0][0], 't', 'is given a new time');
$event = $ann->event;
is($event->{num_retries}, 0, 'which starts it anew');
near($event->{at}, $changed->{ended} + 0.2, 'at that time');
is($ann->confirm($event), 't', 'confirmed');

# Posting the key of a delivered event: that one loses its key.
my $old = post('"old"', q(key => 'x', max_retries => 5));
$event = $ann->event;
my $new = post('"new"', q(key => 'x', max_retries => 5));
isnt($new, $old, 'a new event has the key');
my $next = $ann->event;
is_deeply([ @$next{qw(id payload)} ], [ $new, 'new' ], 'and comes at once');
is($ann->sql(q(SELECT evsched.confirm('x', 'default'))), 't',
	'the key is the new one\'s');
is($ann->confirm($next),  'f', 'that was it');
is($ann->confirm($event), 't', 'the old one is confirmed by id');

# max_retries -1: for ever; 0: once.
post('"for ever"', q(max_retries => -1));
for my $n (0 .. 4)
{
	$event = $ann->event;
	is($event->{num_retries}, $n, "delivery $n of what is never given up");
	$ann->sql("SELECT evsched.reject($event->{id})");
}
is($ann->confirm($ann->event), 't', 'confirmed');
$id = post('"once"', q(max_retries => 0));
is($ann->event->{id},                        $id, 'max_retries 0 is delivered');
is($ann->sql("SELECT evsched.confirm($id)"), 'f', 'and gone');
is($ann->sql("SELECT evsched.reject($id)"),  'f', 'not to be rejected');

# Three leases in a row that run out: one at a time until it confirms.
$ann->quit;
my $bob =
  listener($server, 'b', queue => 'three', max_events => 4, conf_timeout => '0.5 s');
$poster->sql(<<'SQL');
SELECT evsched.post_many(array_agg(to_jsonb(g)), queue => 'three', max_retries => 50)
FROM generate_series(1, 4) g
SQL
@events = $bob->events(4);
my @retries = $bob->events(2);
near($retries[1]{at}, $retries[0]{at} + 0.5, 'it gets one event at a time');
is_deeply([ map { $_->{num_retries} } @retries ], [ 1, 1 ], 'after that');
is($bob->confirm($retries[1]), 't', 'it confirms one');
@events = $bob->events(3);
cmp_ok($events[2]{at} - $events[0]{at}, '<', 0.4, 'and gets as many as before');
is( $bob->sql(
		"SELECT evsched.confirm(array_agg(id)) FROM evsched.event WHERE queue = 'three'"),
	3,
	'all are confirmed');

nothing_early();
done_testing();

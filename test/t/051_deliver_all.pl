# Events of which every listener gets a copy.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time nothing_early new_scheduler scheduler_pid
  wait_until wait_asleep);
use Test::More;

my $server = start_server('all');
my $poster = session($server, 'poster');

sub sql
{
	my ($sql) = @_;

	return $server->safe_psql('postgres', $sql);
}

sub post
{
	my ($payload, $rest) = @_;

	return $poster->sql("SELECT evsched.post('\"$payload\"', max_retries => 0, deliver => 'all'"
		  . (defined $rest ? ", $rest)" : ')'));
}

sub gone
{
	my ($id, $name) = @_;

	return wait_until(sub { sql("SELECT count(*) FROM evsched.event WHERE id = $id") == 0 }, "$name to be gone");
}

# Nobody has joined: it waits for its time, and is gone.
my $id = post('nobody', "delay => '300 ms'");
is(sql("SELECT state FROM evsched.events WHERE id = $id"), 'scheduled', 'it waits for its time');
gone($id, 'what nobody hears');
is(sql("SELECT clock_timestamp() > now() AND count(*) = 0 FROM evsched.event"), 't', 'gone without a listener');
gone(post('at once'), 'what is due at once');

# To each, with or without a credit; not to who is told only.
my $ann  = listener($server, 'ann', max_events => 1, conf_timeout => '1 min');
my $bob  = listener($server, 'bob', max_events => 5);
my $eve  = listener($server, 'eve', queue => 'other');
my $told = listener($server, 'told', max_events => 0);
$bob->sql('SELECT evsched.set_max_events(1)');
sql(q(SELECT evsched.post(to_jsonb(n), max_retries => 5) FROM generate_series(1, 4) n));
my @held = ($ann->event, $bob->event);
is(join(' ', sort map { $_->{payload} } @held), '1 2', 'two hold one each, and two wait');
$id = post('all');
for my $session ($ann, $bob)
{
	my $event = $session->event;

	is($event->{payload}, 'all', $session->name . ' gets a copy');
	is($event->{id}, $id, 'of the same event');
	on_time($event, 'at once');
}
gone($id, 'what was handed out');
is($ann->sql("SELECT evsched.confirm($id)"), 'f', 'there is nothing to confirm');
is(sql('SELECT unconfirmed FROM evsched.listeners WHERE node = $$ann$$'), 1, 'no credit was used');
$ann->confirm($held[0]);
$bob->confirm($held[1]);
my @rest = ($ann->event, $bob->event);
$ann->confirm($rest[0]);
$bob->confirm($rest[1]);

# Many, in their order; and what is not for all between them.
sql(q(SELECT evsched.post(to_jsonb(n), '200 ms', max_retries => 0, deliver => 'all') FROM generate_series(1, 150) n));
for my $session ($ann, $bob)
{
	is_deeply([ map { $_->{payload} } $session->events(150) ], [ 1 .. 150 ], 'many, in their order');
}

# Nobody takes them.
sql(q(SELECT evsched.pause_queue('default')));
post('paused queue');
is(sql('SELECT count(*) FROM evsched.take()'), 0, 'nobody takes it');
sql(q(SELECT evsched.resume_queue('default')));
is($_->event->{payload}, 'paused queue', 'it comes when the queue goes on') for $ann, $bob;

# Moved, paused, cancelled; and all that rolled back.
$id = post('moved', "delay => '1 hour'");
sql("SELECT evsched.change_delay($id, '100 ms')");
is($_->event->{payload}, 'moved', 'moved') for $ann, $bob;
$id = post('now', "delay => '1 hour'");
sql("SELECT evsched.run_now($id)");
is($_->event->{payload}, 'now', 'run now') for $ann, $bob;
$poster->sql('BEGIN');
$id = post('held back', "delay => '200 ms'");
$poster->sql("SELECT evsched.pause($id)");
$poster->sql('COMMIT');
post('marker', "delay => '300 ms'");
is($_->event->{payload}, 'marker', 'one that is paused does not come') for $ann, $bob;
sql("SELECT evsched.resume($id)");
is($_->event->{payload}, 'held back', 'until it is resumed') for $ann, $bob;
$id = post('still there', "delay => '300 ms'");
for my $call ("cancel($id)", "change_delay($id, '1 hour')")
{
	$poster->sql('BEGIN');
	is($poster->sql("SELECT evsched.$call"), 't', "$call, in an open transaction");
	$poster->sql('ROLLBACK');
}
is($_->event->{payload}, 'still there', 'rolled back') for $ann, $bob;
$poster->sql('BEGIN');
post('never', "delay => '-1 s'");
$poster->sql('ROLLBACK');
$poster->sql('BEGIN');
$id = post('locked', "delay => '100 ms'");
$poster->sql('COMMIT');
$poster->sql('BEGIN');
$poster->sql("SELECT FROM evsched.event WHERE id = $id FOR UPDATE");
sql("SELECT evsched.post('\"marker\"', '200 ms', max_retries => 0, deliver => 'all')");
is($_->event->{payload}, 'marker', 'what is locked does not come') for $ann, $bob;
$poster->sql('COMMIT');
is($_->event->{payload}, 'locked', 'until it is free') for $ann, $bob;
post('old',  "key => 'k', delay => '1 hour'");
post('new', "key => 'k'");
is($_->event->{payload}, 'new', 'replaced by its key') for $ann, $bob;

# Recurring.
$id = post('tick', "every => '100 ms', missed => 'all'");
for my $session ($ann, $bob)
{
	my @events = $session->events(5);

	is_deeply([ map { sprintf('%.3f', $events[$_]{due} - $events[ $_ - 1 ]{due}) } 1 .. 4 ],
		[ ('0.100') x 4 ], 'each period, to each');
	is($events[0]{recurring}, $id, 'of the series');
}
sql("SELECT evsched.cancel($id)");
post('end');
for my $session ($ann, $bob)
{
	my $event = $session->event;
	$event = $session->event while $event->{payload} eq 'tick';
	is($event->{payload}, 'end', 'until it is cancelled');
}

# Who starts finds what is there.
kill('TERM', my $scheduler = scheduler_pid($server));
new_scheduler($server, $scheduler);
post('new scheduler', "delay => '100 ms'");
is($_->event->{payload}, 'new scheduler', 'with another scheduler') for $ann, $bob;
is_deeply([ $eve->events_so_far, $told->events_so_far ], [], 'nothing in another queue, or to who is only told');
$id = post('after a crash', "delay => '3 s'");
$server->stop('immediate');
$server->start;
gone($id, 'what was there before a crash');

# Idle, with one that waits.
$poster = session($server, 'poster2');
post('later', "delay => '1 hour'");
wait_asleep(scheduler_pid($server), 0.5);
pass('one that waits keeps nobody awake');

# What does not fit is refused.
for my $case ([ "repeat('x', 7600)", 't' ], [ "repeat('x', 7700)", 'f' ], [ "repeat('x', 1000000)", 'f' ], [ "repeat(U&'\\00e4', 4000)", 'f' ])
{
	my $result = $poster->try("SELECT evsched.post(to_jsonb($case->[0]), '1 hour', max_retries => 0, deliver => 'all')");

	is($result->{sqlstate} // '', $case->[1] eq 't' ? '' : '22023', "$case->[0]: " . ($case->[1] eq 't' ? 'fits' : 'is refused'));
}
$ann = listener($server, 'ann2');
sql('SELECT evsched.run_now(id) FROM evsched.events');
is(length(($ann->events(2))[1]{payload}), 7600, 'what fits comes');

nothing_early();
done_testing();

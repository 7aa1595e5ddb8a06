# Two queues and one slot, which is given to whoever needs it: who has found it, and not used
# it yet, looks again; who dies in it, leaves it to others.
use strict;
use warnings;

use Evsched qw(start_server session listener nothing_early new_scheduler wait_asleep
  wait_until);
use Evsched::Stop qw(require_stop_points stop_at wait_stopped go_on);
use Test::More;

require_stop_points();

# The other slot belongs to queue `default`.
my $server = start_server('slot', conf => 'evsched.max_queues = 2');
my $admin  = session($server, 'admin');

sub post
{
	my ($queue, $payload) = @_;

	return $admin->sql(
		"SELECT evsched.post('$payload', '-1 h', '$queue', max_retries => 5)");
}

# Who has a slot of its own.
sub slots
{
	return $admin->sql(
		q(SELECT string_agg(queue, ' ' ORDER BY queue) FROM evsched.queues));
}

# Queue `one` gets the slot, and is empty.
sub one_gets_slot
{
	wait_until(
		sub {
			$admin->sql(q(SELECT count(*) FROM evsched.take('one')));
			slots() eq 'default one';
		},
		'queue one to get the slot');
	wait_asleep(new_scheduler($server, 0), 0.02);
	return;
}

# A listener joins queue `two`, which gets it then.
sub two_gets_slot
{
	my ($name) = @_;
	my $two = listener($server, 'two', queue => 'two');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(slots(), 'default two', "$name: it is given to a listener");
	return $two;
}

# Sends a session off, until it has found the slot of queue `one`.
sub finds_slot
{
	my ($session, $sql) = @_;

	one_gets_slot();
	stop_at($server, $session->pid, 'slot found');
	$session->send($sql);
	wait_stopped($server, $session->pid);
	return;
}

# Each queue's event comes to its listener.
sub are_served
{
	my ($name, %listener) = @_;

	post($_, qq("$_")) for sort keys %listener;
	for my $queue (sort keys %listener)
	{
		my $event = $listener{$queue}->event;

		is("$event->{payload} " . $listener{$queue}->confirm($event),
			"$queue t", "$name: queue $queue is served");
		is_deeply([ $listener{$queue}->events_so_far ], [], 'with nothing else');
	}
	$_->quit for values %listener;
	return;
}

for my $n (1 .. 2)
{
	my $one  = session($server, 'one');
	my $name = $n == 1 ? 'a take has found its slot' : 'again';

	# the second time it remembers where the slot was
	if ($n == 2)
	{
		one_gets_slot();
		$one->sql(q(SELECT count(*) FROM evsched.take('one')));
	}
	finds_slot($one, q(SELECT payload FROM evsched.take('one', 9)));
	my $two = two_gets_slot($name);
	post('one', 1);
	go_on($server, $one->pid);
	is_deeply($one->reply->{rows}, [ [1] ], "$name: it takes what is due all the same");
	$one->quit;
	are_served($name, two => $two);
}

{
	my $one  = session($server, 'one');
	my $name = 'a receive has found its slot';

	finds_slot($one, q(SELECT payload FROM evsched.receive('one', 9)));
	my $two = two_gets_slot($name);
	post('one', 1);
	go_on($server, $one->pid);
	is_deeply($one->reply->{rows}, [ [1] ], "$name: it receives what is due all the same");
	is($one->sql('SELECT evsched.confirm(id) FROM evsched._leases()'), 't', 'confirmed');
	$one->quit;
	are_served($name, two => $two);
}

{
	my $one  = session($server, 'one');
	my $name = 'a join has found its slot';

	finds_slot($one, $one->join_call(queue => 'one'));
	my $two = two_gets_slot($name);
	go_on($server, $one->pid);
	is($one->reply->{error}, undef, "$name: it joins");
	are_served($name, one => $one, two => $two);
}

# The slot is given away before a poster commits, and the one who waits for his event has
# joined in that which the rest share.
{
	my $one    = session($server, 'one');
	my $poster = session($server, 'poster');
	my $name   = 'a post is not committed';

	one_gets_slot();
	$poster->sql('BEGIN');
	$poster->sql(q(SELECT evsched.post('1', queue => 'one', max_retries => 5)));
	my $two = two_gets_slot($name);
	$one->join(queue => 'one');
	wait_asleep(new_scheduler($server, 0), 0.02);
	$poster->sql('COMMIT');
	is($one->confirm($one->event), 't', "$name: then it is, and comes");
	$poster->quit;
	are_served($name, one => $one, two => $two);
}

# Terminated at its rows, nobody keeps the slot.
for my $function ('take', 'receive')
{
	my $one = session($server, 'one');

	one_gets_slot();
	$admin->sql(q(SELECT evsched.post_many('{1, 2}', queue => 'one', max_retries => 5)));
	stop_at($server, $one->pid, 'row pulled');
	$one->send("SELECT evsched.$function('one', 2)");
	wait_stopped($server, $one->pid);
	kill('TERM', $one->pid);
	wait_until(sub { !-e '/proc/' . $one->pid }, 'it to end');
	is($admin->sql(q(SELECT count(*) FROM evsched.take('one', 9))),
		2, "a $function is terminated: both are there");
	my $two = two_gets_slot("a $function is terminated");
	are_served("a $function is terminated", two => $two);
}

# The slot is given away while a turn, which serves nobody, has it: the mark of the queue that
# had it says nothing of the queue that gets it.
{
	my $one       = session($server, 'one');
	my $scheduler = new_scheduler($server, 0);
	my $name      = 'a turn has found nobody';

	one_gets_slot();
	$one->join(queue => 'one', max_events => 0);
	post('two', $_) for 1 .. 3;
	wait_asleep($scheduler, 0.02);
	stop_at($server, $scheduler, 'turn committed');
	$one->sql(q(SELECT evsched.leave('one')));
	wait_stopped($server, $scheduler);
	wait_until(
		sub {
			$admin->sql(q(SELECT evsched.post('4', '1 h', 'two', 'later')));
			slots() eq 'default two';
		},
		'queue two to get the slot');
	go_on($server, $scheduler);
	wait_asleep($scheduler, 0.02);
	is($admin->sql(q(SELECT count(*) FROM evsched.take('two', 9))),
		3, "$name: the other queue is seen from its first event on");
	$one->quit;
}

nothing_early();
done_testing();

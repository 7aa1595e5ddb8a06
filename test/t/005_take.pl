# take and receive: events are pulled, by many sessions at a time, and those who pull
# are told when something is due.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early wait_until);
use Test::More;
use Time::HiRes qw(time);

my $server = start_server('take');
my $poster = session($server, 'poster');
my @takers = map { session($server, "taker$_") } 1 .. 8;
my ($one, $two) = @takers;

sub post_numbers
{
	my ($queue, $n, $delay, $max_retries) = @_;

	$poster->sql(<<"SQL");
SELECT evsched.post_many(array_agg(to_jsonb(g)), '{${\($delay // '0')}}', '$queue',
						 max_retries => ${\($max_retries // 5)})
FROM generate_series(1, $n) g
SQL
	return;
}

# What a session takes: payloads, as "1 2 3".
sub take
{
	my ($session, $queue, $n) = @_;

	return join(' ',
		map { $_->[0] } $session->rows("SELECT payload FROM evsched.take('$queue', $n)"));
}

sub receive
{
	my ($session, $queue, $n, $conf_timeout) = @_;

	return join(
		' ',
		map { $_->[0] } $session->rows(
			"SELECT payload FROM evsched.receive('$queue', $n, '$conf_timeout')"));
}

# Eight sessions drain a queue.
$server->safe_psql('postgres', <<'SQL');
CREATE TABLE taken (id bigint, taker int DEFAULT pg_backend_pid());
CREATE PROCEDURE drain(queue text, n int, receiving bool) LANGUAGE plpgsql AS $$
DECLARE
	got int;
BEGIN
	LOOP
		IF receiving THEN
			INSERT INTO taken (id) SELECT id FROM evsched.receive(queue, n);
			GET DIAGNOSTICS got = ROW_COUNT;
			COMMIT;
			PERFORM evsched.confirm(array_agg(id)) FROM taken WHERE taker = pg_backend_pid();
		ELSE
			INSERT INTO taken (id) SELECT id FROM evsched.take(queue, n);
			GET DIAGNOSTICS got = ROW_COUNT;
		END IF;
		COMMIT;
		EXIT WHEN got = 0;
	END LOOP;
END $$;
SQL

# They take, they receive, they do both.
for my $receiving ([ 0, 'take' ], [ 1, 'receive' ], [ 2, 'take and receive' ])
{
	my ($kind, $name) = @$receiving;
	my $n = 10_000;

	post_numbers('drain', $n, '0', $kind ? 100 : 0);
	for my $i (0 .. 7)
	{
		my $receives = $kind == 2 ? $i % 2 : $kind;

		$takers[$i]
		  ->send("CALL drain('drain', ${\($receives ? 100 : 10)}, $receives = 1)");
	}
	for my $taker (@takers)
	{
		my $reply = $taker->reply;

		is($reply->{error}, undef, "$name: a session is done") if defined $reply->{error};
	}
	is_deeply(
		[ $poster->rows('SELECT count(*), count(DISTINCT id) FROM taken') ],
		[ [ $n, $n ] ],
		"$name: eight sessions drain 10000 events, each exactly once");
	cmp_ok($poster->sql('SELECT count(DISTINCT taker) FROM taken'),
		'>', 1, 'many of them work');
	is($poster->sql('SELECT count(*) FROM evsched.event'), 0, 'nothing is left');
	$poster->sql('TRUNCATE taken');
}

# What is taken belongs to the transaction.
post_numbers('tx', 3);
$one->sql('BEGIN');
is(take($one, 'tx', 2), '1 2', 'a transaction takes two');
is(take($two, 'tx', 9), '3',   'another gets the rest');
is(take($two, 'tx', 9), '',    'nothing more');
$one->sql('SAVEPOINT s');
is(take($one, 'tx', 9), '', 'nor does the same, in a savepoint');
$one->sql('ROLLBACK TO s');
$one->sql('ROLLBACK');
is(take($two, 'tx', 1), '1', 'after a rollback it is back');
$two->sql('BEGIN');
$two->sql('SAVEPOINT s');
is(take($two, 'tx', 1), '2', 'taken in a savepoint');
is(take($one, 'tx', 1), '',  'it is taken');
$two->sql('ROLLBACK TO s');
is(take($one, 'tx', 1), '2', 'back after the savepoint is rolled back');
$two->sql('COMMIT');
is_deeply($one->try('SELECT evsched.take(\'tx\'), 1 / 0')->{sqlstate},
	'22012', 'an error');
is(take($one, 'tx', 9), '', 'the queue is empty');
post_numbers('tx', 1, '1 hour');
is(take($one, 'tx', 9), '', 'what is not due is not taken');

# Nothing but the end of the client: the events are back at once.
for my $how ('kill -9 of its client', 'pg_terminate_backend', 'the end of its client')
{
	my $victim  = session($server, 'victim');
	my $watcher = listener($server, 'watcher', queue => 'kill', max_events => 0);
	my $got;

	post_numbers('kill', 3);
	$watcher->telling;
	$victim->sql('BEGIN');
	is(take($victim, 'kill', 9), '1 2 3', 'one session takes all');
	is(take($one,    'kill', 9), '',      'nothing is left');
	my $since = time;
	if ($how =~ /terminate/)
	{
		$poster->sql("SELECT pg_terminate_backend(${\$victim->pid})");
	}
	elsif ($how =~ /kill/) { $victim->kill9; }
	else                   { $victim->quit; }
	cmp_ok($watcher->telling->{at} - $since, '<', 0.15, "$how is told at once");
	is(take($one, 'kill', 9), '1 2 3', 'everything is back');
	$watcher->quit;
}

# A rollback gives to listeners what was taken, promptly.
my $ann = listener($server, 'a', queue => 'back');
$one->sql('BEGIN');
$poster->sql(q(SELECT evsched.post('1', '50 ms', 'back', max_retries => 1)));
$one->sql('SELECT pg_advisory_lock(1)');
$ann->sql(q(SELECT evsched.set_max_events(1, 'back')));
my $event = $ann->event;
is(take($one, 'back', 1), '', 'what is delivered is not taken');
$one->sql('COMMIT');
$poster->sql(q(SELECT evsched.post('2', '0', 'back', max_retries => 1)));
is_deeply([ $ann->events_so_far ], [], 'the listener has no credit');
$one->sql('BEGIN');
is(take($one, 'back', 2), '2', 'a take passes over what is delivered');
is($ann->confirm($event), 't', 'the listener has credit again');
is_deeply([ $ann->events_so_far ], [], 'there is nothing for it');
my $rollback = $one->try('ROLLBACK');
$event = $ann->event;
is($event->{payload}, 2, 'it gets what a rollback gives back');
cmp_ok($event->{at} - $rollback->{ended}, '<', 0.05, 'at once');
is($event->{num_retries}, 0, 'uncounted');
$ann->quit;

# Told, not served: one session wakes eight takers.
my $told = listener($server, 'told', queue => 'told', max_events => 0);
my ($waves, $size, $missed) = (20, 5, 0);
my %seen;
for my $wave (1 .. $waves)
{
	my $telling;

	post_numbers('told', $size, '20 ms', 0);
	$told->telling;
	$_->send(q(SELECT id FROM evsched.take('told', 1))) for @takers;
	for my $reply (map { $_->reply } @takers)
	{
		$seen{ $_->[0] }++ for @{ $reply->{rows} };
	}
}
is(scalar keys %seen, $waves * $size, 'told once, eight takers take all');
is_deeply([ grep { $_ != 1 } values %seen ], [], 'each of it once');
is($poster->sql(q(SELECT count(*) FROM evsched.event WHERE queue = 'told')),
	0, 'nothing is left');
$told->tellings_so_far;

# In ring order; the next only after a take has returned fewer than asked.
my $second = listener($server, 'second', queue => 'told', max_events => 0);
$poster->sql(q(SELECT evsched.post('"due"', '100 ms', 'told', key => 'd')));
my $due =
  $poster->sql(q(SELECT extract(epoch FROM due_at) FROM evsched.event WHERE key = 'd'));
my $telling = $told->telling;
cmp_ok($telling->{at}, '>=', $due, 'nobody is told early');
near($telling->{at}, $due, 'but on time');
$poster->sql(q(SELECT evsched.post('"more"', queue => 'told'))) for 1 .. 3;
is(take($one, 'told', 2), '"due" "more"', 'a take that returns all it asked for');
$poster->sql(q(SELECT evsched.post('"more"', queue => 'told')));
is_deeply([ map { $_->tellings_so_far } $told, $second ],
	[], 'tells nobody: who was told is not done');
is(take($one, 'told', 4), '"more" "more" "more"', 'a take that returns fewer');
is_deeply([ map { $_->tellings_so_far } $told, $second ],
	[], 'tells nobody while nothing is due');
my $post =
  $poster->try(q(SELECT evsched.post('"next"', queue => 'told', max_retries => 3)));
cmp_ok($second->telling->{at} - $post->{ended}, '<', 0.05, 'then the next is told');
is_deeply([ $told->tellings_so_far ], [], 'and only that one');
is(receive($one, 'told', 2, '10 min'), '"next"', 'a receive that returns fewer');
$post = $poster->try(q(SELECT evsched.post('"next"', queue => 'told')));
cmp_ok($told->telling->{at} - $post->{ended}, '<', 0.05, 'does it, too: round the ring');

# The told one dies, or leaves: another is told.
my $since = time;
$told->kill9;
cmp_ok($second->telling->{at} - $since,
	'<', 0.15, 'the told one is killed: another is told');
$told = listener($server, 'told', queue => 'told', max_events => 0);
my $left = $second->try(q(SELECT evsched.leave('told')));
cmp_ok($told->telling->{at} - $left->{ended},
	'<', 0.05, 'the told one leaves: another is told');

# A take that returned fewer and rolled back: what it gives back is told.
$one->sql('BEGIN');
is(take($one, 'told', 9), '"next"', 'a take returns fewer');
$rollback = $one->try('ROLLBACK');
cmp_ok($told->telling->{at} - $rollback->{ended},
	'<', 0.05, 'and rolls back: somebody is told');
is(take($one, 'told', 9), '"next"', 'it is taken');

# Nobody was there to be told.
$told->quit;
$post = $poster->sql(q(SELECT evsched.post('"early"', queue => 'told')));
$told = session($server, 'told');
my $joined = $told->try($told->join_call(queue => 'told', max_events => 0));
cmp_ok($told->telling->{at} - $joined->{ended}, '<', 0.1, 'one that joins late is told');
$told->quit;

# receive: leases that belong to no session.
post_numbers('lease', 2);
my $receiver = session($server, 'receiver');
my $received = time;
is(receive($receiver, 'lease', 1, '700 ms'), 1, 'one is received');
is(receive($one,      'lease', 9, '10 min'), 2, 'another gets the other');
is(receive($one,      'lease', 9, '1 s') . take($one, 'lease', 9),
	'', 'nobody gets them again');
$receiver->kill9;
$ann   = listener($server, 'a', queue => 'lease');
$event = $ann->event;
is($event->{payload}, 1, 'the lease does not end with its session');
near($event->{at}, $received + 0.7, 'but when its time is over');
is($event->{num_retries}, 1,   'and is counted');
is($ann->confirm($event), 't', 'confirmed');
is($one->sql(q(SELECT evsched.confirm(id) FROM evsched.event WHERE queue = 'lease')),
	't', 'the other is confirmed, too');
$ann->quit;
wait_until(
	sub {
		$one->sql(q(SELECT count(*) FROM evsched.listeners WHERE queue = 'lease')) eq '0';
	},
	'the listener to be gone');

post_numbers('lease', 2);
$one->sql('BEGIN');
is(receive($one, 'lease', 9, '10 min'), '1 2', 'received');
is(receive($two, 'lease', 9, '10 min'), '',    'by nobody else');
$one->sql('ROLLBACK');
is_deeply(
	[   $two->rows(
			q(SELECT payload, num_retries FROM evsched.receive('lease', 9, '10 min'))) ],
	[ [ 1, 0 ], [ 2, 0 ] ],
	'rolled back: given back at once, uncounted');
is( $two->sql(
		q(SELECT count(*) FROM evsched.event e, evsched.reject(e.id) r
			   WHERE queue = 'lease' AND r)),
	2,
	'rejected');
is_deeply(
	[   $two->rows(
			q(SELECT payload, num_retries FROM evsched.receive('lease', 9, '10 min'))) ],
	[ [ 1, 1 ], [ 2, 1 ] ],
	'they come again at once');
is( $one->sql(
		q(SELECT count(*) FROM evsched.event e, evsched.change_delay(e.id, '-1 s') r
			   WHERE queue = 'lease' AND r)),
	2,
	'change_delay ends a lease');
is_deeply(
	[   $two->rows(
			q(SELECT payload, num_retries FROM evsched.receive('lease', 9, '10 min'))) ],
	[ [ 1, 0 ], [ 2, 0 ] ],
	'and starts anew');
is( $one->sql(
		q(SELECT evsched.confirm(array_agg(id)) FROM evsched.event WHERE queue = 'lease')
	),
	2,
	'confirmed');

# max_retries 0 is removed by receive, in the caller's transaction.
post_numbers('lease', 1, '0', 0);
$one->sql('BEGIN');
is(receive($one, 'lease', 9, '10 min'), '1', 'received once');
$one->sql('ROLLBACK');
is(receive($two, 'lease', 9, '10 min'), '1', 'a rollback puts it back');
is($two->sql(q(SELECT count(*) FROM evsched.event WHERE queue = 'lease')),
	0, 'the commit removes it');

nothing_early();
done_testing();

# Who gets an event, when, and in which order.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time nothing_early);
use PostgreSQL::Test::Utils;
use Test::More;

my $server = start_server('delivery');
my $poster = session($server, 'poster');
my %listener;

# Who got what, as "a b c a", in the order of the payloads' numbers.
sub takers
{
	my @events    = @_;
	my %by_number = map { $_->{payload}{n} => $_->{name} } @events;

	return join(' ', map { $by_number{$_} // '?' } sort { $a <=> $b } keys %by_number);
}

# The next n events of a listener, with its name on them.
sub got
{
	my ($name, $n) = @_;

	return map {
		{ %$_, name => $name }
	} $listener{$name}->events($n);
}

sub end_listeners
{
	$_->quit for values %listener;
	%listener = ();
	$server->poll_query_until('postgres', 'SELECT count(*) = 0 FROM evsched.listeners');
	return;
}

# Three listeners share a queue, and each confirms what it has got.
$listener{$_} = listener($server, $_, max_events => 1) for qw(a b c);
$poster->sql(<<'SQL');
SELECT evsched.post_many(array_agg(jsonb_build_object('n', g)), '{0.2 s}', max_retries => 1)
FROM generate_series(1, 9) g
SQL
my @events;
for my $name (qw(a b c a b c a b c))
{
	push @events, got($name, 1);
	ok($listener{$name}->confirm($events[-1]) eq 't', "$name confirms");
}
is(takers(@events), 'a b c a b c a b c', 'nine events go round three listeners');
on_time($events[$_], 'event ' . ($_ + 1) . ' comes when it is due') for 0 .. 2;
is($events[0]{num_retries}, 0, 'a first delivery says so');

# The same when somebody else confirms for all three at a time.
$poster->sql(<<'SQL');
SELECT evsched.post_many(array_agg(jsonb_build_object('n', g)), '{0.1 s}', max_retries => 1)
FROM generate_series(1, 9) g
SQL
@events = ();
for (1 .. 3)
{
	push @events, map { got($_, 1) } qw(a b c);
	my $ids = join(',', map { $_->{id} } @events[ -3 .. -1 ]);

	is($poster->sql("SELECT evsched.confirm('{$ids}'::bigint[])"), 3, 'another confirms');
}
is(takers(@events), 'a b c a b c a b c', 'nine events go round, three at a time');

# Without confirmations it is the turns that pace.
$poster->sql(<<'SQL');
SELECT evsched.post_many(array_agg(jsonb_build_object('n', g)), '{0.1 s}')
FROM generate_series(1, 9) g
SQL
is( takers(map { got($_, 3) } qw(a b c)),
	'a b c a b c a b c',
	'nine events with max_retries 0 go round');
is($server->safe_psql('postgres', 'SELECT count(*) FROM evsched.event'),
	0, 'and are gone');
end_listeners();

# Linger: eight listeners that take two, eight events within a few milliseconds.
$poster->sql('SELECT evsched.post(\'{"n": 0}\', \'1 day\')');
$server->safe_psql('postgres', <<'SQL');
CREATE PROCEDURE post_each(n int, queue text, max_retries int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		PERFORM evsched.post(jsonb_build_object('n', i), queue => queue,
							 max_retries => max_retries);
		COMMIT;
	END LOOP;
END $$
SQL
for my $max_retries (3, 0)
{
	my $queue = "linger$max_retries";

	$listener{$_} = listener(
		$server, $_,
		queue      => $queue,
		max_events => 2,
		linger     => '20 ms') for 'a' .. 'h';
	$poster->sql("CALL post_each(8, '$queue', $max_retries)");
	@events = map { got($_, 2) } 'a' .. 'd';
	is(takers(@events), 'a a b b c c d d', "max_retries $max_retries: four get two");
	is_deeply([ map { $listener{$_}->events_so_far } 'e' .. 'h' ],
		[], 'and four get none');
	$poster->sql("CALL post_each(1, '$queue', $max_retries)");
	@events = got('e', 1);
	cmp_ok($events[0]{late}, '<=', 0.07, 'one alone comes after the time to linger');
	end_listeners();
}

# Equal due times come in the order of ids, however they were written.
$listener{a} = listener($server, 'a', queue => 'order', max_events => 2000);
$poster->sql(<<'SQL');
INSERT INTO evsched.event (id, queue, due_at, payload, max_retries)
SELECT 1000000 + g, 'order', clock + '0.3 s', jsonb_build_object('n', g), g % 2
FROM (SELECT clock_timestamp() AS clock OFFSET 0) c, generate_series(1, 600) g
ORDER BY g * 7919 % 601
SQL
@events = got('a', 600);
is_deeply(
	[ map { $_->{id} } @events ],
	[ map { 1000000 + $_ } 1 .. 600 ],
	'600 events with one due time come in the order of their ids');
is_deeply([ grep { $_->{late} < 0 } @events ], [], 'not before it');
end_listeners();

# Different due times come in their order, whatever their ids.
$listener{a} = listener($server, 'a', max_events => 100);
$poster->sql(<<'SQL');
SELECT evsched.post_many(array_agg(jsonb_build_object('n', 50 - g) ORDER BY g),
						 array_agg(g * interval '4 ms' ORDER BY g DESC))
FROM generate_series(0, 49) g
SQL
@events = got('a', 50);
is_deeply(
	[ map { $_->{due} } @events ],
	[ sort { $a <=> $b } map { $_->{due} } @events ],
	'fifty events come in the order of their due times');
is_deeply([ grep { $_->{late} < 0 || $_->{late} > 0.05 } @events ],
	[], 'each on its time');

# What commits after its due time fires at the commit.
my $other = session($server, 'other');
$other->sql('BEGIN');
$other->sql(q(SELECT evsched.post('"late commit"', '20 ms', max_retries => 1)));
$poster->sql(q(SELECT evsched.post('"before"', '100 ms')));
@events = got('a', 1);
is($events[0]{payload}, 'before', 'a post of an open transaction does not fire');
my $commit = $other->try('COMMIT');
@events = got('a', 1);
is($events[0]{payload}, 'late commit', 'it fires at the commit');
cmp_ok($events[0]{at}, '>=', $commit->{began}, 'not before it');
on_time($events[0], 'at once', $commit->{ended});
$listener{a}->confirm($events[0]);

# What is rolled back never fires, nor does what a savepoint took back.
$other->sql('BEGIN');
$other->sql(q(SELECT evsched.post('"rolled back"', '10 ms')));
$other->sql('ROLLBACK');
$other->sql('BEGIN');
$other->sql('SAVEPOINT s');
$other->sql(q(SELECT evsched.post('"back to the savepoint"', '10 ms')));
$other->sql('ROLLBACK TO s');
$other->sql('COMMIT');
$other->try(q(SELECT evsched.post('"cut off by an error"', '10 ms'), 1 / 0));
$poster->sql(q(SELECT evsched.post('"after"', '60 ms')));
@events = got('a', 1);
is($events[0]{payload}, 'after', 'what is rolled back does not fire');
on_time($events[0], 'and holds up nobody');

# Due at once, in the past, for ever.
for my $delay ("'-1 hour'", 'NULL', "'0'")
{
	my $result = $poster->try("SELECT evsched.post('\"now\"', $delay)");

	@events = got('a', 1);
	is($events[0]{payload}, 'now', "delay $delay is due at once");
	cmp_ok($events[0]{at} - $result->{ended}, '<=', 0.05, 'and comes at once');
}
$poster->sql(q(SELECT evsched.post_at('"never"', 'infinity', key => 'inf')));
$poster->sql(q(SELECT evsched.post_at('"first"', '-infinity')));
@events = got('a', 1);
is($events[0]{payload}, 'first', '-infinity is due at once');
$poster->sql(q(SELECT evsched.change_delay('inf', '50 ms', 'default')));
@events = got('a', 1);
is($events[0]{payload}, 'never', 'infinity does not fire until it is given a time');
on_time($events[0], 'then it does');

# Two of the same payload are two.
$poster->sql(<<'SQL');
SELECT evsched.post_many(ARRAY['{"same": 1}', '{"same": 1}']::jsonb[], '{50 ms}')
SQL
@events = got('a', 2);
isnt($events[0]{id}, $events[1]{id}, 'two identical payloads are two events');

is_deeply([ $listener{a}->events_so_far ], [], 'there was nothing else');
nothing_early();
done_testing();

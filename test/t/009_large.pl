# Large payloads, strange ones, and a hundred thousand events.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early wait_until);
use Test::More;
use Time::HiRes qw(time);

my $server = start_server('large', conf => "max_wal_size = 2GB\n");
my $poster = session($server, 'poster');
my $ann    = listener($server, 'a', max_events => 2000, conf_timeout => '1 min');

# What was posted, and what came of it, as text.
$poster->sql('CREATE TABLE sent (n serial, id bigint, payload jsonb)');
$poster->sql('CREATE TABLE got (id bigint, payload jsonb)');

# Files what a listener has got, fetching what it must.
sub file
{
	my ($session, $event) = @_;

	if ($event->{fetch})
	{
		$session->sql(<<"SQL");
INSERT INTO got SELECT id, payload FROM evsched.fetch('{$event->{id}}'::bigint[])
SQL
	}
	else
	{
		$session->sql(<<"SQL");
INSERT INTO got SELECT (e->'id')::bigint, e->'payload'
FROM jsonb_array_elements(\$json\$$event->{raw}\$json\$) e
WHERE (e->'id')::bigint = $event->{id}
SQL
	}
	return;
}

sub compare
{
	my ($name, $n) = @_;

	is( $poster->sql(
			q(SELECT string_agg(left(s.payload::text, 100) || ' is not ' ||
									   left(coalesce(g.payload::text, 'there'), 100), '; ')
					  FROM sent s LEFT JOIN got g USING (id)
					  WHERE s.payload::text IS DISTINCT FROM g.payload::text)),
		undef,
		"$name: the same that was posted");
	is($poster->sql('SELECT count(*) FROM got'), $n, 'each once');
	$poster->sql('TRUNCATE sent, got');
	return;
}

# Payloads of all kinds, with and without retries, and in all ways.
my @payloads = (
	'[]',
	'{}',
	'null',
	'true',
	'""',
	'0',
	'-0.0',
	'12345678901234567',
	'1.10',
	'1e300',
	'9223372036854775808',
	'123456789012345678901234567890.000000000000000000001',
	'"\u00fcml\u00e4ut \u20ac \ud83d\ude00"',
	'"\"\\\\\n\t\u0001/<>&\'"',
	'"]}"',
	'"{\"id\":1}"',
	'{"id": 7, "fetch": true}',
	'[{"a": [1, {"b": null}]}, "x"]',
	'{"": {"": ""}}',
	'"' . 'x' x 20_000 . '"',
	'[' . join(',', (1) x 4000) . ']',
	'"' . "\x{e4}" x 3500 . '"',
	'"' . '\n' x 5000 . '"');
for my $max_retries (0, 3)
{
	for my $payload (@payloads)
	{
		$poster->sql(<<"SQL");
INSERT INTO sent (id, payload)
SELECT evsched.post(p, max_retries => $max_retries), p
FROM (SELECT \$json\$$payload\$json\$::jsonb) t (p)
SQL
	}
	my @events = $ann->events(scalar @payloads);
	is(scalar(grep { $_->{fetch} } @events), 3, 'some have to be fetched');
	file($ann, $_) for @events;
	compare("max_retries $max_retries", scalar @payloads);
	is( $poster->sql('SELECT count(*) FROM evsched.event'),
		$max_retries ? @payloads                          : 0,
		$max_retries ? 'they wait for their confirmation' : 'they are gone');
	$poster->sql(
		q(SELECT evsched.confirm(coalesce(array_agg(id), '{}')) FROM evsched.event));
}

# About as long as a notification can be.
for my $max_retries (0, 3)
{
	my $n = 200;

	$poster->sql(<<"SQL");
INSERT INTO sent (id, payload)
SELECT evsched.post(p, max_retries => $max_retries), p
FROM (SELECT to_jsonb(repeat('x', 7700 + g)) FROM generate_series(1, $n) g) t (p)
SQL
	my $fetched = 0;
	my $longest = 0;
	for (1 .. $n)
	{
		my $event  = $ann->event;
		my $length = length $event->{raw};

		$fetched++         if $event->{fetch};
		$longest = $length if $event->{batch} == 1 && $length > $longest;
		file($ann, $event);
		$ann->confirm($event) if $max_retries;
	}
	cmp_ok($longest, '<', 8000, 'a notification is not too long');
	cmp_ok($longest, '>', 7990, 'and takes what fits');
	compare("$n lengths about the limit, max_retries $max_retries", $n);
	cmp_ok($fetched, '>', 0,  'the longest are fetched');
	cmp_ok($fetched, '<', $n, 'the shortest are not');
}

# Names of all kinds.
my $queue = 'k"\' ' . "\x{e4}" x 10 . ' \\';
my $key   = '{"\\ ' . "\x{20ac}" x 80;
$ann->join(queue => $queue);
my $quoted_queue = $queue =~ s/'/''/gr;
my $id           = $poster->sql(
	"SELECT evsched.post('1', '100 ms', queue => '$quoted_queue', key => '$key', max_retries => 1)"
);
my $event = $ann->event;
is( $ann->sql(
		"SELECT (e->>'queue' = '$quoted_queue') AND (e->>'key' = '$key')
			FROM jsonb_array_elements(\$json\$$event->{raw}\$json\$) e"),
	't',
	'names survive, too');
is($ann->sql("SELECT evsched.confirm('$key', '$quoted_queue')"), 't', 'and find it');

# fetch: what is large and to be confirmed can be fetched until then.
my $large = q('"' || repeat('x', 20000) || '"');
$poster->sql("SELECT evsched.post(($large)::jsonb, max_retries => 2)");
$event = $ann->event;
is_deeply($event->{fetch}, JSON::PP::true, 'a large event is to be fetched');
for (1 .. 2)
{
	is($ann->sql("SELECT length(payload::text) FROM evsched.fetch('{$event->{id}}')"),
		20002, 'it is fetched');
}
is($ann->confirm($event), 't', 'and confirmed');
is($ann->sql("SELECT count(*) FROM evsched.fetch('{$event->{id}}')"),
	0, 'then it is gone');
$id = $poster->sql(q(SELECT evsched.post('1', '1 hour')));
is($ann->sql("SELECT count(*) FROM evsched.fetch('{$id, NULL, -5}')"),
	0, 'only delivered events are fetched');
$poster->sql("SELECT evsched.cancel($id)");

# With max_retries 0 it is removed in the transaction that fetches it, and takes credit
# until then.
$ann->quit;
$ann = listener($server, 'a', max_events => 1, conf_timeout => '500 ms');
for (1 .. 2)
{
	$poster->sql("SELECT evsched.post(($large)::jsonb)");
}
$event = $ann->event;
is_deeply([ $ann->events_so_far ], [], 'an event to be fetched takes credit');
$ann->sql('BEGIN');
is($ann->sql("SELECT length(payload::text) FROM evsched.fetch('{$event->{id}}')"),
	20002, 'it is fetched');
$ann->sql('ROLLBACK');
is($ann->sql("SELECT length(payload::text) FROM evsched.fetch('{$event->{id}}')"),
	20002, 'again, for that was rolled back');
my $second = $ann->event;
is($ann->sql("SELECT count(*) FROM evsched.fetch('{$event->{id}}')"), 0, 'once');
ok($second->{fetch}, 'the next comes');
ok( $server->poll_query_until(
		'postgres',
		"SELECT count(*) = 1 FROM evsched.dead_event WHERE why = 'not fetched' AND id = $second->{id}"
	),
	'an event that is not fetched is dead');
near(
	$poster->sql(
		"SELECT extract(epoch FROM died_at) FROM evsched.dead_event WHERE id = $second->{id}"
	),
	$second->{at} + 0.5,
	'after conf_timeout');
is($ann->sql("SELECT count(*) FROM evsched.fetch('{$second->{id}}')"),
	0, 'and cannot be fetched any more');
is($poster->sql(q(SELECT evsched.redrive('default'))), 1, 'but redriven');
$event = $ann->event;
is($event->{id}, $second->{id}, 'it comes again');
is($ann->sql("SELECT length(payload::text) FROM evsched.fetch('{$event->{id}}')"),
	20002, 'and is fetched');
is($poster->sql('SELECT count(*) FROM evsched.event'), 0, 'nothing is left');
$ann->quit;

# The credit in bytes: 128 kB of notifications; one event always.
$ann = listener($server, 'a', max_events => 2000, conf_timeout => '1 min');
$poster->sql(<<'SQL');
SELECT count(*) FROM evsched.post_many(
	(SELECT array_agg(to_jsonb(g || repeat('x', 7000))) FROM generate_series(1, 100) g),
	max_retries => 1)
SQL
my @events = map { $ann->event } 1 .. 10;
wait_until(
	sub {
		push @events, $ann->events_so_far;
		return $poster->sql(
			'SELECT starving FROM evsched.queues WHERE queue = \'default\'') eq 't';
	},
	'the rest to wait');
push @events, $ann->events_so_far;
cmp_ok(scalar @events * 7100, '<=', 131072 + 8000, 'no more than 128 kB are unconfirmed');
cmp_ok(scalar @events * 7200, '>=', 131072 - 8000, 'but that much');
for (1 .. 100)
{
	my $event = shift @events // $ann->event;
	$ann->confirm($event);
	push @events, $ann->events_so_far if !@events;
}
is($poster->sql('SELECT count(*) FROM evsched.event'), 0, 'confirmed, the rest comes');
$ann->quit;

# A hundred thousand overdue events and a slow listener: no more than its credit, and
# other queues are served on time.
my $slow =
  listener($server, 'slow', queue => 'many', max_events => 5, conf_timeout => '1 min');
my $bob = listener($server, 'b', queue => 'other', max_events => 100);
$poster->sql(<<'SQL');
INSERT INTO evsched.event (queue, due_at, payload, max_retries)
SELECT 'many', clock_timestamp() - '1 hour'::interval, to_jsonb(g), 3
FROM generate_series(1, 100000) g
SQL
@events = $slow->events(5);
my $late = 0;
for my $i (1 .. 40)
{
	$poster->sql("SELECT evsched.post('$i', '20 ms', 'other', max_retries => 1)");
	$slow->confirm(shift @events) if $i % 2;
	push @events, $slow->events(1) if $i % 2;
	my $event = $bob->event;
	$late++ if $event->{late} > 0.05;
	$bob->confirm($event);
}
is($late, 0, '100000 overdue events and a slow listener: another queue is on time');
is_deeply([ $slow->events_so_far ], [], 'the slow one gets no more than its credit');
is(scalar @events, 5, 'which is five');
is_deeply([ map { $_->{payload} } @events ], [ 21 .. 25 ], 'in order');
is($poster->sql(q(SELECT unconfirmed FROM evsched.listeners WHERE queue = 'many')),
	5, 'by the view, too');
$slow->quit;

# They are taken by many, while others are posted.
my $since = time;
my @fast  = map {
	listener(
		$server, "fast$_",
		queue        => 'many',
		max_events   => 1000,
		conf_timeout => '1 min',
		mode         => { confirm => 'batch', quiet => 1 })
} 1 .. 2;
wait_until(
	sub {
		$poster->sql(
			q(SELECT NOT EXISTS (SELECT FROM evsched.event WHERE queue = 'many'))) eq 't';
	},
	'all to be confirmed');
note(sprintf('%.0f events/s', 99980 / (time - $since)));
my @summaries = map { $_->summary } @fast;
my $count     = 0;
$count += $_->{count} for @summaries;
is($count, 99_980, 'two fast ones get the rest, each once');

# A hundred thousand events with one due time.
$poster->sql('VACUUM evsched.event');
my $due = $poster->sql(<<'SQL');
WITH new AS (
	INSERT INTO evsched.event (queue, due_at, payload, max_retries)
	SELECT 'many', clock + '4 s', to_jsonb(g), 3
	FROM (SELECT clock_timestamp() AS clock OFFSET 0) c, generate_series(1, 100000) g
	RETURNING due_at)
SELECT extract(epoch FROM min(due_at)) FROM new
SQL
cmp_ok(time, '<', $due, 'a hundred thousand events are posted for one time');
wait_until(
	sub {
		$poster->sql(
			q(SELECT NOT EXISTS (SELECT FROM evsched.event WHERE queue = 'many'))) eq 't';
	},
	'all to be confirmed');
note(sprintf('%.0f events/s', 100000 / (time - $due)));
$count     = -$count;
@summaries = map { $_->summary(with_ids => 1) } @fast;
$count += $_->{count} for @summaries;
is($count, 100_000, 'they come, each once');
my %ids;
$ids{$_}++ for map { @{ $_->{ids} } } @summaries;
is(scalar(grep { $_ != 1 } values %ids), 0, 'no id twice');
is($_->{early},    0, 'none early') for @summaries;
is($_->{disorder}, 0, 'in order')   for @summaries;

nothing_early();
done_testing();

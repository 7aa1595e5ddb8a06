# Series as time goes by: no drift, restarts, whoever dies, what was missed, and what is
# changed while it recurs.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early new_scheduler
  scheduler_pid wait_until);
use Evsched::Stop qw(require_stop_points stop_at wait_stopped go_on crash);
use Test::More;
use Time::HiRes qw(time usleep);

require_stop_points();

my $server = start_server('series');
my $poster = session($server, 'poster');

sub sql
{
	my ($sql) = @_;

	return $server->safe_psql('postgres', $sql);
}

# A series of that period (ms); the rest of post's arguments as given. Its id.
sub every
{
	my ($queue, $period, $rest) = @_;

	return sql("SELECT evsched.post('\"$queue\"', queue => '$queue', every => '$period ms'"
		  . (defined $rest ? ", $rest)" : ')'));
}

# The origin of its grid, in seconds.
sub origin
{
	my ($id) = @_;

	return sql("SELECT extract(epoch FROM start_at) FROM evsched.series WHERE id = $id");
}

# How many periods (ms) after its origin an event was planned; off the grid: undef.
sub place
{
	my ($event, $origin, $period) = @_;
	my $n = ($event->{due} - $origin) / $period * 1000;

	return abs($n - sprintf('%.0f', $n)) * $period < 0.01 ? sprintf('%.0f', $n) : undef;
}

# The live occurrences of a series.
sub waiting
{
	my ($id) = @_;

	return sql("SELECT count(*) FROM evsched.events WHERE recurring = $id");
}

# A thousand periods of 20 ms: each comes, on the grid, once.
{
	my $ann = listener($server, 'ann', queue => 'grid', max_events => 100);
	my $id     = every('grid', 20, "missed => 'all'");
	my $origin = origin($id);
	my @events = $ann->events(1000);
	my @places = map { place($_, $origin, 20) } @events;

	is_deeply(\@places, [ 1 .. 1000 ], 'a thousand periods: on the grid, none missing, none twice');
	is_deeply([ grep { $_->{recurring} != $id } @events ], [], 'they tell their series');
	is(scalar(keys %{ { map { $_->{id} => 1 } @events } }), 1000, 'and have ids of their own');
	cmp_ok((sort { $a <=> $b } map { $_->{late} } @events)[500], '<', 0.02, 'promptly');
	is(sql("SELECT evsched.cancel($id)"), 't', 'cancelled');
	sql("SELECT evsched.post('\"end\"', queue => 'grid')");
	my @rest;
	do { push @rest, $ann->event } until $rest[-1]{payload} eq 'end';
	is(waiting($id), 0, 'and then there is none');
	is(sql('SELECT count(*) FROM evsched.event'), 0, 'nothing is left behind');
	$ann->quit;
}

# Those with max_retries, too: what is under way does not hold up the next.
{
	my $ann = listener($server, 'ann', queue => 'leased', max_events => 100,
		conf_timeout => '1 min');
	my $id     = every('leased', 50, "max_retries => 3, missed => 'all'");
	my $origin = origin($id);
	my @events = $ann->events(10);

	is_deeply([ map { place($_, $origin, 50) } @events ],
		[ 1 .. 10 ], 'unconfirmed ones are followed by others');
	$ann->sql("SELECT evsched.reject($events[3]{id})");
	my $again;
	do { $again = $ann->event } until $again->{id} == $events[3]{id};
	is($again->{num_retries}, 1, 'a retry comes between them');
	sql("SELECT evsched.cancel($id)");
	is($ann->sql("SELECT evsched.confirm($events[0]{id})"), 't', 'what is under way outlives its series');
	sql('DELETE FROM evsched.event');
	$ann->quit;
}

# The scheduler is held for four periods and a half: one late run, then on the grid.
{
	my $ann = listener($server, 'ann', queue => 'held');
	my $id     = every('held', 400);
	my $origin = origin($id);

	is(place($ann->event, $origin, 400), 1, 'the first');
	kill('STOP', scheduler_pid($server));
	usleep(($origin + 5.5 * 0.4 - time) * 1e6);
	kill('CONT', scheduler_pid($server));
	my @events = $ann->events(3);
	is_deeply([ map { place($_, $origin, 400) } @events ],
		[ 2, 6, 7 ], 'held for 4.5 periods: one late run, then on the grid');
	cmp_ok($events[0]{late}, '>', 1.2, 'it is late');
	on_time($events[2], 'the last is not');
	sql("SELECT evsched.cancel($id)");
	$ann->quit;
}

# What was missed while the database was stopped.
{
	my %ann;
	my %id;
	for my $missed ('once', 'skip', 'all')
	{
		$ann{$missed} = listener($server, $missed, queue => $missed, max_events => 100);
		$id{$missed}  = every($missed, 400, "missed => '$missed'");
	}
	my %origin = map { $_ => origin($id{$_}) } keys %id;
	$_->event for values %ann;
	sql("SELECT evsched.stop('0')");
	$_->events_so_far for values %ann;
	my %last   = map {
		my $queue = $_;
		$queue => sql("SELECT round(extract(epoch FROM next_at) * 2.5 - $origin{$queue} * 2.5)"
			  . " FROM evsched.series WHERE id = $id{$queue}")
	} keys %id;
	usleep(1_400_000);
	my @meanwhile = map { $_->events_so_far } values %ann;
	is_deeply(\@meanwhile, [], 'while it is stopped, nothing comes');
	sql('SELECT evsched.start()');
	my $started = time;
	my @once = map { place($_, $origin{once}, 400) } $ann{once}->events(2);
	is($once[0], $last{once}, 'once: the one that waited');
	cmp_ok($once[1] * 0.4 + $origin{once}, '>', $started - 0.1, 'and then one of after the start');
	my $skip = $ann{skip}->event;
	cmp_ok($skip->{due}, '>', $started - 0.1, 'skip: only what falls due after the start');
	ok(defined place($skip, $origin{skip}, 400), 'on the grid');
	my @all = map { place($_, $origin{all}, 400) } $ann{all}->events(6);
	is_deeply(\@all, [ map { $last{all} + $_ } 0 .. 5 ], 'all: each of them');
	sql("SELECT evsched.cancel($_)") for values %id;
	$_->quit for values %ann;
}

# A queue that was paused for less than a period.
{
	my $ann = listener($server, 'ann', queue => 'paused');
	my $id = every('paused', 2000, "missed => 'skip'");
	my $origin = origin($id);

	sql("SELECT evsched.pause_queue('paused')");
	usleep(($origin + 2.1 - time) * 1e6);
	sql("SELECT evsched.resume_queue('paused')");
	is(place($ann->event, $origin, 2000), 2, 'skip: what was due while its queue was paused is missed');
	sql("SELECT evsched.cancel($id)");
	$ann->quit;
}

# An event and a series that are paused themselves.
{
	my $ann = listener($server, 'ann', queue => 'holding', max_events => 10);
	my $id = every('holding', 100, "key => 'k'");
	my $origin = origin($id);

	$ann->event;
	is(sql("SELECT evsched.pause('k', 'holding')"), 't', 'paused');
	my $last = ($ann->events_so_far)[-1];
	$poster->sql('BEGIN');
	my $one = $poster->sql("SELECT evsched.post('\"one\"', '50 ms', 'holding')");
	is($poster->sql("SELECT evsched.pause($one)"), 't', 'an event, too');
	$poster->sql('COMMIT');
	sql("SELECT evsched.post('\"marker\"', '400 ms', 'holding')");
	is($ann->event->{payload}, 'marker', 'neither comes');
	is(sql("SELECT evsched.resume($one)"), 't', 'resumed');
	is($ann->event->{payload}, 'one', 'the event comes at once');
	is(sql("SELECT evsched.run_now($id)"), 't', 'run now, though it is paused');
	my $extra = $ann->event;
	is($extra->{recurring}, $id, 'one extra comes');
	is(place($extra, $origin, 100), undef, 'off the grid');
	is(sql("SELECT evsched.resume($id)"), 't', 'the series is resumed');
	my @events = $ann->events(3);
	is(scalar(grep { defined place($_, $origin, 100) } @events), 3, 'and goes on, on its grid');
	cmp_ok($events[0]{late}, '>', 0.3, 'after the one that was missed');
	sql("SELECT evsched.cancel($id)");
	$ann->quit;
}

# Replaced while one is under way.
{
	my $ann = listener($server, 'ann', queue => 'replaced', max_events => 10);
	my $id = every('replaced', 100, "key => 'k', max_retries => 2");
	my $first = $ann->event;

	is(sql("SELECT evsched.post('\"other\"', '150 ms', 'replaced', 'k', every => '1 hour', max_retries => 2)"),
		$id, 'replaced in place');
	my $other = $ann->event;
	$other = $ann->event while $other->{payload} ne 'other';
	is($other->{recurring}, $id, 'what comes next is of the new kind');
	is($ann->confirm($first), 't', 'what was under way is confirmed');
	is(waiting($id), 2, 'one is under way, and one waits');
	sql("SELECT evsched.cancel($id)");
	$ann->confirm($other);
	sql('DELETE FROM evsched.event');
	$ann->quit;
}

# take moves it on, and so do many at a time: each occurrence is had once.
{
	my $id = every('taken', 10, "missed => 'all'");
	my $origin = origin($id);
	my @takers = map { session($server, "taker$_") } 1 .. 4;
	my @errors;
	my $end = time + 2;

	sql('CREATE TABLE taken (at timestamptz)');
	while (time < $end)
	{
		$_->send(q(INSERT INTO taken SELECT due_at FROM evsched.take('taken', 5))) for @takers;
		push @errors, $_->reply->{error} // () for @takers;
	}
	is_deeply(\@errors, [], 'taken by many: nobody is refused');
	sql("SELECT evsched.cancel($id)");
	is( sql("SELECT count(*) = count(DISTINCT at) AND count(*) = round(extract(epoch FROM max(at) - min(at)) * 100) + 1"
			  . ' FROM taken'),
		't',
		'none is missing, none is there twice');
	cmp_ok(sql('SELECT count(*) FROM taken'), '>', 100, 'and quickly');
	$_->quit for @takers;
}

# Jobs: each run is written down by the job itself, with when it began and ended.
sql(<<'SQL');
CREATE TABLE ran (id serial, name text, planned timestamptz, began timestamptz, ended timestamptz);
CREATE FUNCTION run(name text, seconds float) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
BEGIN
	PERFORM pg_sleep(seconds);
	INSERT INTO ran (name, planned, began, ended)
	SELECT run.name, due_at, began, clock_timestamp() FROM evsched.current_event();
END $$;
SQL

# A series of jobs that take so long; its id.
sub every_job
{
	my ($name, $period, $seconds, $rest) = @_;

	return sql("SELECT evsched.every('$period ms', \$\$SELECT run('$name', $seconds)\$\$, key => '$name', $rest)");
}

sub wait_ran
{
	my ($name, $n) = @_;

	return wait_until(sub { sql("SELECT count(*) FROM ran WHERE name = '$name'") >= $n },
		"$n runs of $name");
}

# What overlaps: how many of a kind began before the one before them had ended.
sub overlapping
{
	my ($name) = @_;

	return sql("SELECT count(*) FROM ran a JOIN ran b ON a.name = b.name AND a.planned < b.planned AND b.began < a.ended"
		  . " WHERE a.name = '$name'");
}
{
	my %id = (
		quick    => every_job('quick',    50,  0,    q(missed => 'all', overlap => 'queue')),
		skip     => every_job('skip',     100, 0.25, q(overlap => 'skip')),
		queue    => every_job('queue',    100, 0.25, q(overlap => 'queue')),
		parallel => every_job('parallel', 100, 0.25, q(overlap => 'parallel')));
	my %origin = map { $_ => origin($id{$_}) } keys %id;

	wait_ran($_, 5) for keys %id;
	sql("SELECT evsched.cancel($_)") for values %id;
	wait_until(sub { sql('SELECT count(*) FROM evsched.event') == 0 }, 'what is under way to end');
	is(sql("SELECT count(*) FILTER (WHERE next - planned <> '50 ms') FROM (SELECT planned, lead(planned) OVER (ORDER BY planned) AS next"
			  . " FROM ran WHERE name = 'quick') r"),
		0, 'a quick job runs each period');
	is(sql("SELECT bool_and(abs(extract(epoch FROM planned) - $origin{quick} - 0.05 * round((extract(epoch FROM planned) - $origin{quick}) / 0.05)) < 0.00001)"
			  . " FROM ran WHERE name = 'quick'"),
		't', 'on its grid');
	is(overlapping('skip'), 0, q(overlap 'skip': never two at a time));
	is(sql("SELECT count(*) FILTER (WHERE began > planned + interval '95 ms') FROM ran WHERE name = 'skip'"),
		0, 'and none has waited for another');
	is(overlapping('queue'), 0, q(overlap 'queue': never two at a time));
	cmp_ok(sql("SELECT count(*) FILTER (WHERE began > planned + interval '95 ms') FROM ran WHERE name = 'queue'"),
		'>', 2, 'but one waits');
	cmp_ok(overlapping('parallel'), '>', 2, q(overlap 'parallel': some at a time));
	is(sql("SELECT count(*) = count(DISTINCT planned) FROM ran WHERE name = 'parallel'"), 't', 'each once');
	is(sql(q(SELECT count(DISTINCT recurring) FROM evsched.run WHERE state = 'succeeded')), 4, 'the history tells their series');
}

# One that fails is retried, and does not hold up its series.
{
	my $id = sql(q(SELECT evsched.every('200 ms', 'SELECT 1/0', key => 'failing', max_retries => 1, retry_delay => '500 ms')));

	wait_until(sub { sql("SELECT count(*) FROM evsched.dead_event WHERE recurring = $id") >= 2 }, 'two to die');
	cmp_ok(sql("SELECT count(DISTINCT event_id) FROM evsched.run WHERE recurring = $id"),
		'>', 3, 'others run while some wait for a retry');
	sql("SELECT evsched.cancel($id)");
	my $died = sql("SELECT min(id) FROM evsched.dead_event WHERE recurring = $id");
	my $runs = sql("SELECT count(*) FROM evsched.run WHERE event_id = $died");
	is(sql("SELECT evsched.redrive(ARRAY[$died])"), 1, 'a dead one is redriven');
	wait_until(sub { sql("SELECT count(*) FROM evsched.run WHERE event_id = $died") > $runs }, 'it to run');
	wait_until(sub { sql("SELECT count(*) FROM evsched.event WHERE recurring = $id") == 0 }, 'all to die');
	pass('it brings back no series');
}

# What ends while it runs, and what is paused while it runs.
{
	my $id = every_job('long', 100, 0.5, q(overlap => 'queue'));

	wait_until(sub { sql("SELECT count(*) FROM evsched.run WHERE recurring = $id AND state = 'running'") > 0 }, 'it to run');
	is(sql("SELECT evsched.run_now($id)"), 'f', 'while it runs it is not run now');
	is(sql("SELECT evsched.pause('long', 'passive')"), 't', 'paused while it runs');
	wait_ran('long', 1);
	is(sql("SELECT state FROM evsched.events WHERE recurring = $id"), 'paused', 'the run goes on; the next waits');
	is(sql("SELECT evsched.run_now($id)"), 't', 'run now');
	wait_ran('long', 2);
	is(sql("SELECT evsched.resume($id)"), 't', 'resumed');
	wait_until(sub { sql("SELECT count(*) FROM evsched.run WHERE recurring = $id AND state = 'running'") > 0 }, 'it to run');
	is(sql("SELECT evsched.cancel($id)"), 't', 'cancelled while it runs');
	wait_ran('long', 3);
	is(sql('SELECT count(*) FROM evsched.event'), 0, 'the run goes on; nothing is left');
}

# Whoever dies between two occurrences, or in the middle of handing one out.
{
	my $id     = every('crash', 300, "missed => 'all', max_retries => 5");
	my $origin = origin($id);
	my $ann    = listener($server, 'ann', queue => 'crash', max_events => 100);
	my @had    = $ann->events(2);

	$server->stop('immediate');
	$server->start;
	is(waiting($id) > 0, 1, 'after a crash the next one is there');
	is(sql("SELECT count(*) FROM evsched.event e JOIN (SELECT max(planned_at) AS at FROM evsched.event WHERE recurring = $id) m"
			  . " ON planned_at = at WHERE recurring = $id"),
		1, 'once');
	$ann = listener($server, 'ann', queue => 'crash', max_events => 100, mode => { confirm => 'each' });
	my %seen;
	my $again = 0;
	do
	{
		my $event = $ann->event;
		$seen{ place($event, $origin, 300) // 'off' }++;
	} until $seen{8};
	is_deeply([ sort { $a <=> $b } keys %seen ], [ 1 .. 8 ], 'none is missing');
	is(scalar(grep { $_ > 1 } values %seen), 0, 'none is there twice');
	sql("SELECT evsched.cancel($id)");
	$ann->quit;
}
for my $point ('turn claimed', 'turn notified', 'turn committed')
{
	my $queue = $point =~ tr/ /_/r;
	my $ann = listener($server, 'ann', queue => $queue, max_events => 100, conf_timeout => '1 min');
	my $id     = every($queue, 500, 'max_retries => 5');
	my $origin = origin($id);
	my $scheduler = scheduler_pid($server);
	stop_at($server, $scheduler, $point);
	wait_stopped($server, $scheduler);
	crash($server, $scheduler);

	is(sql("SELECT count(*) FROM evsched.event WHERE recurring = $id AND id <> $id") <= 2,
		1, "$point, killed: no more than one under way and one that waits");
	is(sql("SELECT count(*) FROM (SELECT planned_at FROM evsched.event WHERE recurring = $id AND id <> $id"
			  . ' GROUP BY planned_at HAVING count(*) > 1) d'),
		0, 'none twice');
	$ann = listener($server, 'bob', queue => $queue, max_events => 100, conf_timeout => '1 min');
	is(place($ann->event, $origin, 500), 1, 'the one that was handed out comes again');
	ok(defined place($ann->event, $origin, 500), 'and another on the grid');
	sql("SELECT evsched.cancel($id)");
	sql('DELETE FROM evsched.event');
	$ann->quit;
}

# Cron, each second.
{
	my $ann = listener($server, 'ann', queue => 'cron');
	my $id = sql(q(SELECT evsched.post('1', queue => 'cron', cron => '* * * * * *')));
	my @events = $ann->events(3);

	is_deeply([ map { $_->{due} - $events[0]{due} } @events ], [ 0, 1, 2 ], 'cron: each second');
	is($events[0]{due} - int($events[0]{due}), 0, 'at its beginning');
	on_time($_, 'on time') for @events;
	sql("SELECT evsched.cancel($id)");
	$ann->quit;
}

nothing_early();
done_testing();

# Clients that do not read: the others go on, and nobody holds back vacuum for long.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time nothing_early blocked_in wait_until);
use Test::More;
use Time::HiRes qw(time usleep);

my $server = start_server('reader', conf => <<'CONF');
listen_addresses = '127.0.0.1'
evsched.write_timeout = 2s
CONF
my $poster = session($server, 'poster');

# A listener that is blocked by what others send to it.
my $slow     = listener($server, 'slow', max_events => 1, conf_timeout => '1 min');
my $good     = listener($server, 'good', max_events => 100);
my $slow_pid = $slow->pid;
$slow->sql('LISTEN noise');
$poster->sql(<<'SQL');
SELECT evsched.post_many(array_agg(to_jsonb(g)), max_retries => 5) FROM generate_series(1, 2) g
SQL
$good->confirm($good->event);
my $held = $slow->event;
$slow->mode(reading => 0);

my $noise = session($server, 'noise');
my $count = 0;
wait_until(
	sub {
		$noise->sql(
			"SELECT count(pg_notify('noise', g || repeat('x', 7900)))
					 FROM generate_series($count + 1, $count + 20) g");
		$count += 20;
		return $poster->sql(
			"SELECT wait_event = 'ClientWrite' FROM pg_stat_activity
							 WHERE pid = $slow_pid") eq 't';
	},
	'the slow one to block');
my $blocked_at = time;
is( $poster->sql(
		"SELECT backend_xmin IS NOT NULL FROM pg_stat_activity WHERE pid = $slow_pid"),
	't',
	'a listener is blocked in writing, and holds back vacuum');
$noise->sql(
	"SELECT count(pg_notify('noise', g || repeat('y', 7900))) FROM generate_series(1, 200) g"
);
cmp_ok($poster->sql('SELECT pg_notification_queue_usage()'),
	'>', 0, 'and the tail of the notification queue');

for my $i (1 .. 20)
{
	$poster->sql("SELECT evsched.post('$i', '20 ms', max_retries => 5)");
	my $event = $good->event;
	on_time($event, "event $i comes to the other")
	  if $i % 5 == 0 || $event->{late} > 0.05;
	$good->confirm($event);
}
my $ended = eval {
	local $Evsched::Session::patience = 8;
	wait_until(
		sub {
			$poster->sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $slow_pid")
			  == 0;
		},
		'its end');
	1;
};
ok($ended, 'the session of the slow one is ended');
my $took = time - $blocked_at;
cmp_ok($took, '>', 1.5, 'its session is not ended before evsched.write_timeout');
cmp_ok($took, '<', 3.5, 'but soon after');
$poster->sql("SELECT pg_terminate_backend($slow_pid)") unless $ended;
my $event = $good->event;
is($event->{id},           $held->{id}, 'what it held comes to the other');
is($good->confirm($event), 't',         'and is confirmed');
is($poster->sql(q(SELECT count(*) FROM evsched.listeners WHERE node = 'slow')),
	0, 'it is no listener any more');
is($poster->sql('SELECT pg_notification_queue_usage() = 0'),
	't', 'the notification queue is free');
$poster->sql('SELECT txid_current()');
wait_until(
	sub {
		$poster->sql(
			q(SELECT count(*) FROM pg_stat_activity
					   WHERE age(backend_xmin) > 1 AND pid <> pg_backend_pid())) == 0;
	},
	'the vacuum horizon to move');
pass('and vacuum, too');
$slow->mode(reading => 1);
ok(defined $slow->wait_lost, 'the slow one learns that it is gone');

# Many listeners that read nothing: by unix socket and TCP, small events and large ones,
# confirmed or not. evsched alone does not make their backends block for long.
$good->quit;
$server->append_conf('postgresql.conf', 'evsched.write_timeout = 30s');
$server->reload;
my %size   = (small => 100,  large => 7000);
my %number = (small => 4000, large => 150);
my %lazy;
for my $host ('unix', 'tcp')
{
	for my $size (sort keys %size)
	{
		for my $max_retries (0, 3)
		{
			my $queue   = "$host $size $max_retries";
			my $session = session(
				$server,
				$queue =~ s/ /_/gr,
				$host eq 'tcp' ? (host => '127.0.0.1') : ());

			$session->mode(reading => 0, quiet => 1);
			$session->join(queue => $queue, max_events => 2000, conf_timeout => '10 min');
			$lazy{$queue} = $session;
		}
	}
}
my $tcp = session($server, 'tcp', host => '127.0.0.1');
$tcp->join(queue => 'tcp');
cmp_ok($tcp->sql(<<'SQL'), '<=', 30, 'a host that vanishes is noticed within 30 s');
SELECT current_setting('tcp_keepalives_idle')::int +
	current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int
SQL
$tcp->quit;

$good = listener($server, 'good', queue => 'good', max_events => 100);
for my $queue (sort keys %lazy)
{
	my ($host, $size, $max_retries) = split ' ', $queue;

	$poster->sql(<<"SQL");
SELECT count(*) FROM evsched.post_many(
	(SELECT array_agg(jsonb_build_object('n', g, 'x', repeat('x', $size{$size})))
	 FROM generate_series(1, $number{$size}) g), queue => '$queue', max_retries => $max_retries)
SQL
}

# Who holds the same backend_xmin for how long, for three seconds.
my (%since, %longest);
my $name_of = sub {
	my ($pid) = @_;
	(grep { $lazy{$_}->pid == $pid } keys %lazy)[0] // 'evsched';
};
my $until = time + 3;
my $late  = 0;
while (time < $until)
{
	my $now = time;
	my %seen;

	for my $row ($poster->rows(<<'SQL'))
SELECT pid, backend_xmin FROM pg_stat_activity
WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
AND backend_type IN ('client backend', 'evsched scheduler')
SQL
	{
		my ($pid, $xmin) = @$row;

		$seen{"$pid $xmin"} = $since{"$pid $xmin"} // $now;
		my $held = $now - $seen{"$pid $xmin"};
		my $name = $name_of->($pid);
		$longest{$name} = $held if $held > ($longest{$name} // 0);
	}
	%since = %seen;
	$poster->sql(q(SELECT evsched.post('1', '10 ms', 'good')));
	my $event = $good->event;
	$late++ if $event->{late} > 0.05;
	usleep(20_000);
}
is_deeply({ map { $_ => $longest{$_} } grep { $longest{$_} > 1 } keys %longest },
	{}, 'nobody holds back vacuum for more than a second');
is($late, 0, 'another queue is served on time');
is( $poster->sql(
		q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite')),
	0,
	'nobody is blocked in writing');
is($poster->sql(q(SELECT count(*) FROM evsched.listeners WHERE queue LIKE '%c%')) + 0,
	4, 'those who do not read are still listeners');

# When they read, they get everything.
$_->mode(reading => 1, confirm => 'batch', quiet => 1) for values %lazy;
for my $queue (sort keys %lazy)
{
	my ($host, $size, $max_retries) = split ' ', $queue;
	my $summary;

	wait_until(
		sub {
			$summary = $lazy{$queue}->summary;
			$summary->{count} >= $number{$size};
		},
		"$queue to get everything");
	is_deeply(
		[ @$summary{qw(count distinct disorder early)} ],
		[ $number{$size}, $number{$size}, 0, 0 ],
		"$queue: everything comes when they read");
}
wait_until(sub { $poster->sql('SELECT count(*) FROM evsched.event') == 0 },
	'all to be confirmed');
is($poster->sql('SELECT pg_notification_queue_usage() = 0'),
	't', 'the notification queue is free');

# A client that reads is not taken for one that does not.
$_->quit for values %lazy;
for my $host ('unix', 'tcp')
{
	for my $size (sort keys %size)
	{
		my $queue = "$host $size";
		my $n     = $size eq 'small' ? 20_000 : 1_000;
		my $reader =
		  session($server, 'reader', $host eq 'tcp' ? (host => '127.0.0.1') : ());
		my $summary;

		$reader->mode(quiet => 1);
		$reader->join(queue => $queue, max_events => 1000);
		my $since = time;
		$poster->sql(<<"SQL");
SELECT count(*) FROM evsched.post_many(
	(SELECT array_agg(jsonb_build_object('n', g, 'x', repeat('x', $size{$size})))
	 FROM generate_series(1, $n) g), queue => '$queue')
SQL
		eval {
			local $Evsched::Session::patience = 5;
			wait_until(sub { ($summary = $reader->summary)->{count} >= $n }, "$queue");
		};
		is($summary->{count}, $n,
			"$queue: a client that reads gets $n events in a few seconds");
		is($summary->{disorder} + $summary->{early}, 0, 'in order');
		note(sprintf('%.0f events/s', $summary->{count} / (time - $since)));
		$reader->quit;
	}
}

# The notification queue is kept from filling up: by a session that listens to something
# else and stays in a transaction. Events that need no confirmation wait until it has room.
$server->append_conf('postgresql.conf', 'evsched.max_notify_usage = 0.00005');
$server->reload;
my $holder = session($server, 'holder');
$holder->sql('LISTEN noise');
$holder->sql('BEGIN');
$holder->sql('SELECT 1');
$noise->sql(
	"SELECT count(pg_notify('noise', g || repeat('z', 7900))) FROM generate_series(1, 200) g"
);
is($noise->sql('SELECT pg_notification_queue_usage() > 0.0001'),
	't', 'the notification queue fills up');
my $once = listener($server, 'once', queue => 'once');
my ($posted, $arrived) = (0, 0);
my $paused = 0;

while ($posted < 500 && !$paused)
{
	$posted += $poster->sql(
		q(SELECT count(evsched.post('1', queue => 'once')) FROM generate_series(1, 10)));
	for (1 .. 10)
	{
		my $event = $once->event_within(0.3);

		$arrived++ if $event;
		$paused = !$event;
		last if $paused;
	}
}
ok($paused, 'events with max_retries 0 wait') || diag("$arrived of $posted came");
$poster->sql(q(SELECT evsched.post('1', '50 ms', 'good', max_retries => 1)));
$event = $good->event;
on_time($event, 'others do not');
$good->confirm($event);
$holder->sql('COMMIT');
my $freed = time;
$once->events($posted - $arrived);
cmp_ok(time - $freed, '<', 2, 'when there is room, they come');

nothing_early();
done_testing();

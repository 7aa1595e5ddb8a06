# Counters: what turns hand out and how late, what a restart keeps and a crash does not, and
# the text for Prometheus.
use strict;
use warnings;

use Evsched qw(start_server session listener nothing_early new_scheduler scheduler_pid
  wait_asleep wait_until);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my @counts = qw(posted delivered taken received confirmed failed dead cancelled);
my $json = JSON::PP->new;
my $server = start_server('stat');
my $file = $server->data_dir . '/pg_stat/evsched.stat';
my $session = session($server, 'session');

# A row of a view, by column.
sub row
{
	my ($from, $by) = @_;
	my $row = ($by // $session)->sql("SELECT to_jsonb(r) FROM ($from) r");

	return defined $row ? $json->decode($row) : undef;
}

sub queue
{
	my ($name, $by) = @_;

	return row("SELECT * FROM evsched.stat_queue WHERE queue = '$name'", $by);
}

# Waits until these are the counters of a queue that are not 0.
sub counts_are
{
	my ($queue, $expected, $name, $by) = @_;
	my $got;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	eval {
		wait_until(
			sub {
				my $row = queue($queue, $by) // {};
				$got = { map { $row->{$_} ? ($_ => $row->{$_}) : () } @counts };
				return $json->canonical->encode($got) eq $json->encode($expected);
			},
			'counters');
	};
	return is_deeply($got, $expected, $name);
}

sub total
{
	my $total = 0;

	$total += $_ for @_;
	return $total;
}

# A text in the exposition format, read strictly: {metric}{type, help, samples}, where
# samples are [name, {labels}, value]. Dies at the first line that it should not hold.
sub parse_metrics
{
	my ($text) = @_;
	my %metrics;
	my %seen;
	my $current;
	my $word = qr/[a-zA-Z_:][a-zA-Z0-9_:]*/;
	my $label = qr/$word="(?:[^"\\\n]|\\["\\n])*"/;
	my $number = qr/[+-]?(?:Inf|NaN|\d+(?:\.\d+)?(?:e[+-]?\d+)?)/;

	die "does not end with a line feed\n" unless $text =~ /\n\z/;
	for my $line (split /\n/, $text)
	{
		if ($line =~ /^# HELP ($word) (\S.*)$/)
		{
			die "twice: $line\n" if $metrics{$1};
			$current = $1;
			$metrics{$current} = { help => $2, samples => [] };
			next;
		}
		if ($line =~ /^# TYPE ($word) (counter|gauge|histogram)$/)
		{
			die "not after its help: $line\n"
			  if $1 ne $current || $metrics{$1}{type} || @{ $metrics{$1}{samples} };
			$metrics{$current}{type} = $2;
			next;
		}
		my ($name, $labels, $value) =
		  $line =~ /^($word)(?:\{($label(?:,$label)*)\})? ($number)$/
		  or die "malformed: $line\n";
		my $metric = $metrics{$current};
		my $suffix = $metric->{type} eq 'histogram' ? qr/_(?:bucket|sum|count)/ : qr//;
		die "not of its metric: $line\n" unless $name =~ /^$current$suffix$/;
		die "a counter's name: $line\n"
		  if $metric->{type} eq 'counter' && $name !~ /_total$/;
		my %label;

		while (($labels // '') =~ /($word)="((?:[^"\\]|\\.)*)"/g)
		{
			my ($key, $text) = ($1, $2);

			die "twice: $line\n" if exists $label{$key};
			$label{$key} = $text =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ger;
		}
		die "twice: $line\n" if $seen{ $name . $json->canonical->encode(\%label) }++;
		push @{ $metric->{samples} }, [ $name, \%label, $value ];
	}
	for my $metric (values %metrics)
	{
		die "$metric->{help}: no type\n" unless $metric->{type};
		check_histogram($metric) if $metric->{type} eq 'histogram';
	}
	return \%metrics;
}

# For each queue: buckets that grow, in order of their bounds, up to the count.
sub check_histogram
{
	my ($metric) = @_;
	my %of;

	for my $sample (@{ $metric->{samples} })
	{
		my ($name, $label, $value) = @$sample;
		my $queue = $of{ $label->{queue} } //= { bound => 0, count => 0 };

		if ($name =~ /_bucket$/)
		{
			die "$label->{queue}: bounds\n" unless $label->{le} > $queue->{bound};
			die "$label->{queue}: buckets\n" unless $value >= $queue->{count};
			@$queue{qw(bound count)} = ($label->{le}, $value);
		}
		elsif ($name =~ /_sum$/) { $queue->{sum} = $value; }
		else
		{
			die "$label->{queue}: count\n"
			  unless $queue->{bound} eq '+Inf' && $value == $queue->{count};
			$queue->{whole} = 1;
		}
	}
	for my $queue (values %of)
	{
		die "histogram is not whole\n" unless $queue->{whole} && defined $queue->{sum};
	}
	return;
}

# The value of a metric, of a queue if one is named.
sub sample
{
	my ($metrics, $name, $queue) = @_;
	my ($sample) =
	  grep { ($_->[1]{queue} // '') eq ($queue // '') } @{ $metrics->{$name}{samples} };

	return $sample->[2];
}

# Deliveries, confirmed: counted once each, and each is in the histogram.
my $listener =
  listener($server, 'a', max_events => 50, mode => { confirm => 'each', quiet => 1 });
my $scheduler = row('SELECT * FROM evsched.stat_scheduler');
$session->sql(
	q(SELECT evsched.post_many(array_fill(to_jsonb(1), '{100}'), max_retries => 3)));
$session->sql(q(SELECT evsched.post_many(array_fill(to_jsonb(0), '{20}'))));
counts_are(
	'default',
	{ posted => 120, delivered => 120, confirmed => 100 },
	'what is delivered and confirmed');
my $queue = queue('default');
is(total(@{ $queue->{lateness_counts} }), 120, 'each is in the histogram');
is($queue->{listeners}, 1, 'a listener');
is($queue->{unconfirmed}, 0, 'which holds nothing');
is( $session->sql(
		q(SELECT interval '0' < lateness_p50 AND lateness_p50 <= lateness_p99 AND
	lateness_p99 <= lateness_max FROM evsched.stat_queue)),
	't',
	'p50 <= p99 <= max');
my $later = row('SELECT * FROM evsched.stat_scheduler');
is($later->{delivered} - $scheduler->{delivered},
	120, 'the scheduler has handed them out');
is(total(@{ $later->{lateness_counts} }), $later->{delivered}, 'its histogram holds all');
cmp_ok($later->{busy_turns}, '>', $scheduler->{busy_turns}, 'in turns');
cmp_ok($later->{busy_turns}, '<=', $later->{turns}, 'not all of which did');
cmp_ok($later->{notifications} - $scheduler->{notifications},
	'<', 120, 'in fewer notifications than events');
cmp_ok($later->{wakeups}, '>', $scheduler->{wakeups}, 'it woke up');
is($later->{pid}, scheduler_pid($server), 'it is the one that runs');
is($later->{starts}, 1, 'and was started once');
is($later->{clock_steps}, 0, 'the clock was not set');

# Lateness that is known: what waits for a listener is late.
my @old = map { $session->sql("SELECT evsched.post_at('1', $_, 'old'::text)") }
  q(now() - interval '3 s'), q('2001-01-01'), q('-infinity');
my $old = listener($server, 'old', queue => 'old', mode => { quiet => 1 });
counts_are('old', { posted => 3, delivered => 3 }, 'what was overdue');
$queue = queue('old');
is_deeply(
	[ @{ $queue->{lateness_counts} }[ 15, 16, 19 ] ],
	[ 1, 0, 1 ],
	'is in the buckets it should be');
is(total(@{ $queue->{lateness_counts} }), 2, 'but for -infinity: how late is that?');
is($queue->{lateness_p50}, '00:00:05', 'the median is the bound of its bucket');
cmp_ok($queue->{lateness_max}, 'gt', '200', 'the latest is decades late');
$old->quit;

# Deliveries that fail: by their time, by a reject, with their session.
my $failing = listener(
	$server, 'failing',
	queue => 'failing',
	conf_timeout => '50 ms',
	max_events => 1);
$session->sql(q(SELECT evsched.post('1', queue => 'failing', max_retries => 1)));
$failing->events(2);
counts_are(
	'failing',
	{ posted => 1, delivered => 2, failed => 2, dead => 1 },
	'two deliveries run out, and it is dead');
$session->sql(q(SELECT evsched.post('2', queue => 'failing', max_retries => 1)));
$failing->join(queue => 'failing', conf_timeout => '1 min');
$session->sql("SELECT evsched.reject(${\$failing->event->{id}}, '0')");
is($failing->event->{num_retries}, 1, 'rejected, it comes again');
$failing->quit;
counts_are(
	'failing',
	{ posted => 2, delivered => 4, failed => 4, dead => 2 },
	'a reject, and the end of the session');

# What a savepoint took back was not received.
$session->sql('BEGIN');
$session->sql(q(SELECT evsched.post('1', queue => 'undone', max_retries => 3)));
$session->sql('SAVEPOINT a');
is($session->sql(q(SELECT count(*) FROM evsched.receive('undone'))), 1, 'received');
$session->sql('ROLLBACK TO a');
$session->sql('COMMIT');
counts_are('undone', { posted => 1 }, 'what is rolled back is not counted');

# Looking costs the scheduler nothing.
my $pid = scheduler_pid($server);
wait_asleep($pid);
my $wakeups = row('SELECT wakeups FROM evsched.stat_scheduler')->{wakeups};
$session->sql('SELECT evsched.metrics(), * FROM evsched.stat_queue');
is(row('SELECT wakeups FROM evsched.stat_scheduler')->{wakeups},
	$wakeups, 'nobody wakes the scheduler to look at it');

# The next scheduler goes on counting.
kill('TERM', $pid);
new_scheduler($server, $pid);
wait_until(sub { row('SELECT starts FROM evsched.stat_scheduler')->{starts} == 2 },
	'the second start');
my $second = row('SELECT * FROM evsched.stat_scheduler');
is($second->{delivered}, 127, 'the next scheduler goes on counting');
cmp_ok($second->{started_at}, 'gt', $later->{started_at}, 'and says when it was started');
is($second->{stats_since}, $later->{stats_since}, 'not since when it counts');

# The text for Prometheus.
$session->sql(q(SELECT evsched.post('1', queue => E'a"b\\\\c\nd,e=}f')));
my $metrics = parse_metrics($session->sql('SELECT evsched.metrics()'));
is( sample($metrics, "evsched_events_${_}_total", 'failing'),
	queue('failing')->{$_},
	"metrics: $_") for @counts;
is(sample($metrics, 'evsched_events_posted_total', qq(a"b\\c\nd,e=}f)),
	1, 'names are escaped');
is(sample($metrics, 'evsched_listeners', 'default'), 1, 'a listener');
is(sample($metrics, 'evsched_scheduler_up'), 1, 'the scheduler is up');
is(sample($metrics, 'evsched_scheduler_starts_total'), 2, 'started twice');
cmp_ok(abs(time - sample($metrics, 'evsched_scheduler_start_time_seconds')),
	'<', 60, 'a moment ago');
is(sample($metrics, 'evsched_leases_max'), 100000, 'leases there are');
is(sample($metrics, 'evsched_leases'), 0, 'none in use');
is(sample($metrics, 'evsched_queue_slots_max'), 4096, 'queues there may be');
is(sample($metrics, 'evsched_queue_slots'), 5, 'queues in use');
my ($sum) =
  map  { $_->[2] }
  grep { $_->[0] =~ /_sum$/ && $_->[1]{queue} eq 'old' }
  @{ $metrics->{evsched_delivery_lateness_seconds}{samples} };
cmp_ok(abs($sum - (time - 978307200)), '<', 86400 + 60, 'the sum is in seconds');

# Another database has its own.
$server->safe_psql('postgres', 'CREATE DATABASE other');
$server->safe_psql('other', 'CREATE EXTENSION evsched');
new_scheduler($server, 0, 'other');
my $other = session($server, 'other', dbname => 'other');
wait_until(sub { $other->sql(q(SELECT count(*) FROM evsched.stat_queue WHERE queue = 'default')) == 1 },
	'its scheduler to have begun');
$other->sql(q(SELECT evsched.post('1', '1 h', 'failing')));
$other->sql(q(SELECT evsched.post('1', '1 h', 'there')));
is_deeply(
	[ sort map { $_->[0] } $other->rows('SELECT queue FROM evsched.stat_queue') ],
	[ 'default', 'failing', 'there' ],
	'another database shows its own queues');
counts_are('failing', { posted => 1 }, 'and its own counters', $other);
is(queue('there'), undef, 'which are not shown here');
is(row('SELECT delivered FROM evsched.stat_scheduler', $other)->{delivered},
	0, 'nor of this scheduler there');
unlike($session->sql('SELECT evsched.metrics()'), qr/"there"/, 'nor as text');
unlike($other->sql('SELECT evsched.metrics()'), qr/"old"/, 'nor there');

# A clean restart keeps all of it, for whom it was counted.
my $all = 'SELECT queue, posted, delivered, taken, received, confirmed, failed, dead,
	cancelled, lateness_p50, lateness_p99, lateness_max, lateness_counts, stats_since
	FROM evsched.stat_queue WHERE posted > 0 ORDER BY queue';
my $of_scheduler = 'SELECT delivered, notifications, lateness_counts, stats_since
	FROM evsched.stat_scheduler';

sub everything
{
	return [ map { [ $_->rows($all), $_->rows($of_scheduler) ] } @_ ];
}

sub restart
{
	my ($stop, $between) = @_;

	$_->quit for $session, $other, $listener;
	$stop->();
	$between->() if $between;
	$server->start unless -e $server->data_dir . '/postmaster.pid';
	$session = session($server, 'session');
	$other = session($server, 'other', dbname => 'other');
	new_scheduler($server, 0);
	new_scheduler($server, 0, 'other');
	return;
}

my $before = everything($session, $other);
restart(sub { $server->stop }, sub { ok(-s $file, 'a stopped server keeps a file') });
ok(!-e $file, 'a running one does not');
is_deeply(everything($session, $other), $before, 'a restart keeps the counters');
cmp_ok(row('SELECT starts FROM evsched.stat_scheduler')->{starts},
	'==', 3, 'and starts of the scheduler');

# They are added to when the queue is used again, in whatever order.
$other->sql(q(SELECT evsched.post('1', '1 h', 'new')));
$other->sql(q(SELECT evsched.post('1', '1 h', 'failing')));
$session->sql(q(SELECT evsched.post('1', '1 h', 'undone')));
$session->sql(q(SELECT evsched.post('1', '1 h', 'failing')));
counts_are('failing', { posted => 2 }, 'there they go on', $other);
counts_are('undone', { posted => 2 }, 'here too');
counts_are(
	'failing',
	{ posted => 3, delivered => 4, failed => 4, dead => 2 },
	'of a queue that exists in both');
$before = everything($session, $other);
restart(sub { $server->stop });
is_deeply(everything($session, $other), $before, 'a second restart keeps that');

# A new extension starts from zero, for what is kept too.
$other->sql('DROP EXTENSION evsched');
$other->sql('CREATE EXTENSION evsched');
new_scheduler($server, 0, 'other');
is_deeply([ $other->rows($all) ], [], 'a new extension starts from zero');
is(row('SELECT starts FROM evsched.stat_scheduler', $other)->{starts},
	1, 'so does its scheduler');
is(queue('undone')->{posted}, 2, 'those of another database are still there');

# A file that is not as it should be is of no use, and no harm.
my $damage = sub {
	my ($name, $change) = @_;
	my $log = -s $server->logfile;

	$session->sql(q(SELECT evsched.post('1', '1 h', 'some')));
	restart(
		sub { $server->stop },
		sub {
			my $changed = $change->(slurp_file($file));

			open(my $out, '>:raw', $file) or die $!;
			print $out $changed;
			close($out);
		});
	like(
		slurp_file($server->logfile, $log),
		qr/LOG:  ignoring file "pg_stat\/evsched.stat"/,
		"$name: ignored");
	ok(!-e $file, 'and removed');
	is_deeply([ $session->rows($all) ], [], 'the counters start from zero');
};
$damage->('a bit', sub { substr($_[0], 200, 1) ^= "\x01"; $_[0] });
$damage->('half of it', sub { substr($_[0], 0, length($_[0]) / 2) });
$damage->('more of it', sub { $_[0] . 'x' });
$damage->('another format', sub { substr($_[0], 0, 1) ^= "\x80"; $_[0] });
$damage->('nothing', sub { '' });
$session->sql(q(SELECT evsched.post('1', '1 h', 'some')));
counts_are('some', { posted => 1 }, 'they count again');

# A crash loses them, and nothing older comes back.
restart(
	sub {
		my $old = scheduler_pid($server);

		kill('KILL', $old);
		wait_until(
			sub {
				# until the postmaster has noticed, and while it recovers, asking may fail
				my $new = eval { scheduler_pid($server) } // 0;
				return $new != 0 && $new != $old;
			},
			'the server to recover');
	});
is_deeply([ $session->rows($all) ], [], 'a crash loses them');
$session->sql(q(SELECT evsched.post('1', '1 h', 'some')));
counts_are('some', { posted => 1 }, 'they count again');
restart(
	sub {
		my ($postmaster) = split /\n/, slurp_file($server->data_dir . '/postmaster.pid');
		my @processes = ($postmaster, split ' ', `ps -o pid= --ppid $postmaster`);

		$server->kill9;
		wait_until(
			sub {
				!grep { -e "/proc/$_" } @processes;
			},
			'the processes of the server to end');
		unlink($server->data_dir . '/postmaster.pid');
	});
is_deeply([ $session->rows($all) ], [], 'so does the end of the whole server');
is(row('SELECT starts FROM evsched.stat_scheduler')->{starts},
	1, 'and those of the scheduler');
$server->stop;

# More queues than there is room for.
$server = start_server('few', conf => 'evsched.max_queues = 3');
$session = session($server, 'session');
new_scheduler($server, 0);
$session->sql("SELECT evsched.post('1', '1 h', '$_')") for qw(a b c d c a);
counts_are('a', { posted => 2 }, 'a queue with a slot of its own');
counts_are('b', { posted => 1 }, 'another');
counts_are('', { posted => 3 }, 'the others share a name that no queue has');
$metrics = parse_metrics($session->sql('SELECT evsched.metrics()'));
is(sample($metrics, 'evsched_events_posted_total', ''), 3, 'also as text');
$session->quit;
$server->restart;
$session = session($server, 'session');
new_scheduler($server, 0);
counts_are('', { posted => 3 }, 'which a restart keeps');
$session->sql("SELECT evsched.post('1', '1 h', '$_')") for qw(b d a);
counts_are('b', { posted => 2 }, 'who comes again in time has a slot as before');
is($session->sql('SELECT sum(posted) FROM evsched.stat_queue'),
	9, 'who does not is one of the others, with what was counted');

# A slot that is given away: what was counted is the others' now.
$session->sql('DELETE FROM evsched.event');
is($session->sql(q(SELECT count(*) FROM evsched.take('b'))), 0, 'a queue is empty');
wait_until(
	sub {
		session($server, 'another')->sql(q(SELECT evsched.post('1', '1 h', 'new')));
		return defined queue('new');
	},
	'a slot for a new queue');
is(queue('b'), undef, 'another has its slot');
is( $session->sql(
		q(SELECT sum(posted) - (SELECT count(*) FROM evsched.event)
	FROM evsched.stat_queue)),
	9,
	'what was counted for it is still in the sum');

nothing_early();
done_testing();

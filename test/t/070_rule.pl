# Rules where it counts: many who call at the same instant, slots that outlive a server, a
# rule of mode each in several sessions, jobs that run rules, and a dump that is restored.
#
# A slot is what a table says, wherever the time itself is not what is tested. What is to
# happen in time is told by the times of the calls, so a slow machine changes nothing.
use strict;
use warnings;

use Evsched       qw(session wait_until nothing_early);
use Evsched::Job  qw(quote gate_command);
use Evsched::Stop qw(crash);
use List::Util    qw(max min uniq);
use POSIX         qw(floor);
use PostgreSQL::Test::Utils;
use Test::More;

my $jobs   = Evsched::Job->new('rule', roles => [qw(ann bob)]);
my $server = $jobs->server;

$jobs->sql($_) for 'CREATE TABLE slot (slot bigint)', 'INSERT INTO slot VALUES (1)',
  'GRANT ALL ON slot TO PUBLIC', <<'SQL';
CREATE FUNCTION slot_of(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text)
LANGUAGE sql AS 'SELECT s.slot, NULL FROM slot s'
SQL

sub next_slot { return $jobs->sql('UPDATE slot SET slot = slot + 1 RETURNING slot'); }

# A set of rules of a session, each as [identifier, command, period, mode].
sub load
{
	my ($session, $set, @rules) = @_;
	my $objects = join(
		', ',
		map {
			sprintf(
				q(jsonb_build_object('identifier', %s, 'command', %s, 'period', %s, 'mode', %s)),
				map { quote($_) } @$_[ 0, 1 ], $_->[2] // '1 s', $_->[3] // 'once')
		} @rules);

	return $session->sql("SELECT evsched.load_rules(jsonb_build_array($objects), '$set')");
}

sub run { return "SELECT evsched.run_rules('[]', '$_[0]')"; }

# A command that leaves a trace, and tells the caller.
sub left
{
	my ($what) = @_;

	return "INSERT INTO trace (what) VALUES (@{[quote($what)]}); SELECT \$1 || '1'";
}

sub failed
{
	my (@replies) = @_;

	return [ map { $_->{error} } grep { defined $_->{error} } @replies ];
}

#
# Twenty at the same instant.
#
$jobs->story(
	'twenty sessions, fifty rounds',
	sub {
		my @sessions = map { session($server, "run$_") } 1 .. 20;

		$jobs->sql('CREATE SEQUENCE tries');
		$jobs->sql(q(SELECT evsched.set_slot_function('slot_of', 'many')));
		load(
			$jobs->admin,
			'many',
			[ 'first', q(INSERT INTO trace (what) SELECT slot FROM slot; SELECT $1 || '1') ],
			[ 'fails', q(SELECT nextval('tries'); SELECT 1 / 0) ],
			[ 'last',  left('last') ]);

		# All are at the gate before any of them gets through: some in a transaction that
		# has its snapshot by then, some with statements of their own.
		my @rounds;
		for my $round (1 .. 50)
		{
			my $slot = next_slot();
			my $n    = 0;

			$jobs->close_gate(7);
			for my $session (@sessions)
			{
				my $begin =
				  $n++ % 4 == 0 ? 'BEGIN ISOLATION LEVEL REPEATABLE READ; ' : '';

				$session->send($begin . gate_command(7) . '; ' . run('many'));
			}
			$jobs->wait_at_gate(7, 20);
			$jobs->open_gate(7);
			my @replies = map { $_->reply } @sessions;
			$n = 0;
			for my $session (@sessions)
			{
				$session->sql('COMMIT') if $n++ % 4 == 0;
			}
			push @rounds,
			  {
				slot  => $slot,
				error => failed(@replies),
				ran   => join('', map { $_->{rows}[0][0] // '' } @replies) =~ tr/1//};
		}
		is_deeply([ map { @{ $_->{error} } } @rounds ], [], 'nobody fails');
		is_deeply([ uniq(map { $_->{ran} } @rounds) ],
			[2], 'in each round two rules are run, each by one caller');
		is( $jobs->sql(q(SELECT string_agg(what, ' ' ORDER BY n) FROM trace WHERE what <> 'last')),
			join(' ', map { $_->{slot} } @rounds),
			'each slot is run once');
		is($jobs->sql(q(SELECT count(*) FROM trace WHERE what = 'last')),
			50, 'so is another rule');
		is($jobs->sql('SELECT last_value FROM tries'), 50, 'and one that fails');
		$_->quit for @sessions;
	});

# By the clock: what its slot is, a rule can see while it is run.
$jobs->story(
	'twenty sessions by the clock',
	sub {
		my @sessions = map { session($server, "run$_") } 1 .. 20;

		load(
			$jobs->admin,
			'clock',
			[
				'clock',
				q(INSERT INTO trace (what) SELECT last_slot FROM evsched.rules WHERE rule_set = 'clock'),
				'2 ms' ]);
		$_->send(<<'SQL') for @sessions;
DO $$ BEGIN
	FOR i IN 1 .. 100 LOOP
		PERFORM evsched.run_rules(rule_set => 'clock');
		COMMIT;
	END LOOP;
END $$
SQL
		is_deeply(failed(map { $_->reply } @sessions), [], 'nobody fails');
		my ($row) = $jobs->rows(<<'SQL');
SELECT count(*), count(DISTINCT what), max(what::bigint) - min(what::bigint) + 1 FROM trace
SQL
		cmp_ok($row->[0], '>', 1, "$row->[0] of $row->[2] slots are run");
		is($row->[1], $row->[0], 'none of them twice');
		is( $jobs->sql(
				'SELECT count(*) FROM (SELECT what::bigint < lag(what::bigint) OVER (ORDER BY n) AS back FROM trace) t WHERE back'
			),
			0,
			'nor one after a later one');
		$_->quit for @sessions;
	});

#
# What is spent is spent.
#
$jobs->story(
	'restart and crash',
	sub {
		my $trace = sub {
			$jobs->sql(q(SELECT coalesce(string_agg(what, ' ' ORDER BY n), '') FROM trace));
		};
		my $ages = sub { $jobs->sql(run('ages')); };

		$jobs->sql(q(SELECT evsched.set_slot_function('slot_of', 'slots')));
		load($jobs->admin, 'slots', [ 'slot', left('slot') ]);
		load(
			$jobs->admin, 'ages',
			[ 'ages', left('ages'), '100000 days' ],
			[ 'each', left('each'), '100000 days', 'each' ]);
		is($jobs->sql(run('slots')), '[1]',    'a slot is run');
		is($ages->(),                '[1, 1]', 'that of another rule, and one of each session');
		is($ages->(),                '[]',     'once');
		$jobs->reconnect;
		$server->restart;
		is($jobs->sql(run('slots')), '[]',        'not again after a restart');
		is($ages->(),                '[1]',       'but for the one of each session');
		is($trace->(),               'slot ages each each', 'as the traces say');

		$jobs->reconnect;
		crash($server);
		is($jobs->sql(run('slots')), '[]',  'not again after a crash');
		is($ages->(),                '[1]', 'but for the one of each session');

		# What was not committed was not run.
		next_slot();
		my $open = session($server, 'open');
		$open->sql('BEGIN');
		is($open->sql(run('slots')),  '[1]', 'in a transaction that stays open');
		is($jobs->sql(run('slots')), '[]',  'nobody else runs it');
		$jobs->reconnect;
		crash($server);
		$open->wait_lost;
		is($jobs->sql(run('slots')), '[1]', 'after a crash somebody does');
		is($jobs->sql(run('slots')), '[]',  'once');
		is( $jobs->sql(q(SELECT count(*) FROM trace WHERE what = 'slot')),
			2, 'nothing is left of what was cut off');

		# The one who is at it dies alone, or with all others.
		for my $kill (
			sub { $jobs->sql("SELECT pg_terminate_backend($_[0])"); },
			sub { crash($server, $_[0]); })
		{
			my $dying = session($server, 'dying');

			next_slot();
			load($jobs->admin, 'slots',
				[ 'slot', gate_command(1) . '; ' . left('slot') ]);
			$jobs->close_gate(1);
			$dying->send(run('slots'));
			$jobs->wait_at_gate(1);
			is($jobs->sql(run('slots')), '[]', 'a rule is under way');
			$kill->($dying->pid);
			$dying->wait_lost;
			$jobs->reconnect;
			wait_until(sub { eval { $jobs->sql('SELECT 1') } }, 'the server');
			wait_until(sub { $jobs->sql(run('slots')) eq '[1]' }, 'the slot to be free');
			is($jobs->sql(run('slots')), '[]', 'whoever ran it died: another one does, once');
		}
	});

#
# Each session for itself.
#
$jobs->sql($_) for 'CREATE TABLE poll (who text, n int, began float8, ended float8, ran int)',
  <<'SQL', <<'SQL';
CREATE FUNCTION seconds() RETURNS float8 LANGUAGE sql AS 'SELECT extract(epoch FROM clock_timestamp())'
SQL
-- Calls n times, one every so many seconds from the end of the first call, plus a bit, and
-- notes for each call from when to when it was and how many rules were run.
CREATE PROCEDURE poll(who text, rule_set text, every float8, n int, plus float8) LANGUAGE plpgsql AS $$
DECLARE
	first float8;
	began float8;
	ended float8;
	ran int;
BEGIN
	FOR i IN 0 .. n - 1 LOOP
		WHILE seconds() < first + i * every + plus LOOP
			PERFORM pg_sleep(first + i * every + plus - seconds());
		END LOOP;
		began := seconds();
		ran := jsonb_array_length(evsched.run_rules('[]', rule_set));
		ended := seconds();
		first := coalesce(first, ended);
		INSERT INTO poll VALUES (who, i, began, ended, ran);
		COMMIT;
	END LOOP;
END $$
SQL

# Counts the runs of a session's calls. By the times of the calls it is known which of them
# must have run the rule, and which cannot have: one that comes in a whole period, counted
# from the first, in which no other has come, even if it is a little early.
sub check_polls
{
	my ($who, $period) = @_;
	my $early = min($period / 100, 0.010);
	my @polls = $jobs->rows("SELECT began, ended, ran FROM poll WHERE who = '$who' ORDER BY n");
	my ($first, @rest) = @polls;
	my ($lowest, $highest) = (0, 0);
	my ($count, @wrong) = ($first->[2]);
	my %periods = (0 => 1);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($first->[2], 1, "$who: the first call runs it at once");
	for my $poll (@rest)
	{
		my ($began, $ended, $ran) = @$poll;
		my $from = floor(($began - $first->[1] + $early) / $period);
		my $to   = floor(($ended - $first->[0] + $early) / $period);

		push @wrong, sprintf('%.4f s: %d', $began - $first->[0], $ran)
		  if $ran > 1 || $from > $highest && !$ran || $to <= $lowest && $ran;
		($lowest, $highest) = $ran ? (max($from, $lowest + 1), $to) : (max($from, $lowest), $highest);
		$count += $ran;
		$periods{ floor(($began + $ended - $first->[0] - $first->[1]) / 2 / $period + $early / $period) } = 1;
	}
	is_deeply(\@wrong, [], "$who: then once a period");
	return ($count, scalar keys %periods);
}

$jobs->story(
	'each: three sessions',
	sub {
		my @names    = qw(one two three);
		my @sessions = map { session($server, $_) } @names;

		load($jobs->admin, 'each', [ 'each', left('each'), '1 s', 'each' ]);
		$_->send(sprintf(q{CALL poll('%s', 'each', 0.1, 50, 0)}, $_->name)) for @sessions;
		is_deeply(failed(map { $_->reply } @sessions), [], 'three sessions call every 100 ms');
		my $runs = 0;
		for my $name (@names)
		{
			my ($count, $periods) = check_polls($name, 1);

			is($count, $periods, "$name: as often as there were periods: $periods");
			$runs += $count;
		}
		is($jobs->sql('SELECT count(*) FROM trace'), $runs, 'as the traces say');
		is($jobs->sql('SELECT count(DISTINCT pid) FROM trace'), 3, 'of three sessions');
		$_->quit for @sessions;
	});

$jobs->story(
	'each: once a period',
	sub {
		my $session = session($server, 'exact');

		# A little early each time, but for what the first call has taken.
		load($jobs->admin, 'exact', [ 'exact', left('exact'), '500 ms', 'each' ]);
		$session->sql(q(CALL poll('exact', 'exact', 0.5, 8, -0.0025)));
		my ($count, $periods) = check_polls('exact', 0.5);
		is($count, $periods, "called once a period, it is run every time: $periods times");
		$session->quit;
	});

$jobs->story(
	'each: missed periods',
	sub {
		my $session = session($server, 'missed');

		load($jobs->admin, 'missed', [ 'missed', left('missed'), '100 ms', 'each' ]);
		$session->sql(<<'SQL');
DO $$
DECLARE
	began float8;
	ran int;
BEGIN
	FOR i IN 0 .. 11 LOOP
		IF i % 4 = 1 THEN PERFORM pg_sleep(0.35); END IF;
		began := seconds();
		ran := jsonb_array_length(evsched.run_rules('[]', 'missed'));
		INSERT INTO poll VALUES ('missed', i, began, seconds(), ran);
		COMMIT;
	END LOOP;
END $$
SQL
		my ($count, $periods) = check_polls('missed', 0.1);
		is($count, $periods, "periods without a call are passed over: $count runs");
		is( $jobs->sql(q(SELECT sum(ran) FROM poll WHERE who = 'missed' AND n IN (1, 5, 9))),
			3, 'the first call after them runs it');
		$session->quit;
	});

#
# Jobs that run rules.
#
$jobs->story(
	'a series that runs rules',
	sub {
		my $ann = $jobs->session_of('ann');

		$ann->sql(q(SELECT evsched.set_slot_function('slot_of', 'anns')));
		load(
			$ann, 'anns',
			[ 'once', left('once') ],
			[ 'each', left('each'), '100000 days', 'each' ]);
		my $id = $ann->sql(
			q(SELECT evsched.every('20 ms', $$SELECT evsched.run_rules('[]', 'anns')$$, pool => 'active')));
		for my $n (1 .. 3)
		{
			$jobs->becomes(q(SELECT count(*) FROM trace WHERE what = 'once'),
				$n, "the series runs what is due: $n");
			$jobs->becomes(<<"SQL", 't', 'then nothing');
SELECT count(*) > 2 FROM evsched.run WHERE recurring = $id AND state = 'succeeded' AND result = '[]'
	AND started_at > (SELECT max(at) FROM trace)
SQL
			is($jobs->sql(q(SELECT count(*) FROM trace WHERE what = 'once')),
				$n, 'until there is another slot');
			next_slot();
		}
		is($ann->sql("SELECT evsched.cancel($id)"), 't', 'the series ends');
		is_deeply([ $jobs->rows(q(SELECT DISTINCT who FROM trace)) ],
			[ ['ann'] ], 'all as its owner');
		is( $jobs->sql(
				q(SELECT count(*) - count(DISTINCT pid) FROM trace WHERE what = 'each')),
			0,
			'what is for each is run once by each worker');
		is( $jobs->sql(q(SELECT string_agg(DISTINCT state, ' ') FROM evsched.run WHERE owner = 'ann')),
			'succeeded', 'nothing has failed');

		# Three workers at the same time.
		$jobs->sql('TRUNCATE trace');
		load($ann, 'anns', [ 'workers', left('each'), '100000 days', 'each' ]);
		for my $round (1, 2)
		{
			$jobs->close_gate(1);
			my @ids = map {
				$jobs->enqueue(
					q(SELECT evsched.run_rules('[]', 'anns'); ) . gate_command(1),
					session => $ann)
			} 1 .. 3;
			$jobs->wait_at_gate(1, 3);
			$jobs->open_gate(1);
			$jobs->wait_gone(@ids);
			is($jobs->sql('SELECT count(*) - count(DISTINCT pid) FROM trace'),
				0, 'three workers: each of them runs it once');
			cmp_ok($jobs->sql('SELECT count(*) FROM trace'), '>=', 3, 'all of them')
			  if $round == 1;
		}
	});

#
# Restored, rules wait for start().
#
$jobs->story(
	'dump and restore',
	sub {
		my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
		my @connect = ('-h', $server->host, '-p', $server->port);

		$ann->sql(q(SELECT evsched.set_slot_function(NULL, 'anns')));
		load(
			$ann, 'anns',
			[ 'who',  q(INSERT INTO trace (what) VALUES ('who'); SELECT $1 || to_jsonb(current_user)), '1 us' ],
			[ 'each', left('each'), '100000 days', 'each' ]);
		$ann->sql(q(SELECT evsched.grant_rules('anns', 'bob')));
		load($jobs->admin, 'supers', [ 'super', left('super'), '1 us' ]);
		is($bob->sql(run('anns')), '["ann", 1]', 'here they run');
		command_ok([ 'pg_dump', '-Fc', '-f', $dump, @connect, 'postgres' ], 'a dump');
		$server->safe_psql('postgres', 'CREATE DATABASE copy');
		command_ok([ 'pg_restore', @connect, '-d', 'copy', $dump ], 'is restored');

		my %copy = map {
			$_ => session($server, "copy-$_", dbname => 'copy',
				conninfo => $_ eq 'admin' ? '' : "user=$_")
		} qw(admin ann bob);
		my $traces = $copy{admin}->sql('SELECT count(*) FROM trace');
		is($copy{admin}->sql(run('anns')),   '[]', 'there they do not');
		is($copy{admin}->sql(run('supers')), '[]', 'not even a superuser\'s');
		for my $role (qw(ann bob))
		{
			my $reply = $copy{$role}->try(run('anns'));

			is($reply->{error} // $reply->{rows}[0][0], '[]', "nor for $role");
			isnt(
				$copy{$role}->try(
					q(SELECT evsched.add_rule('new', '1 us', 'SELECT 1', rule_set => 'supers')))
				  ->{error},
				undef,
				"nor may $role take over a set");
		}
		is($copy{admin}->sql('SELECT count(*) FROM trace'), $traces, 'nothing was run');
		is( $copy{admin}->sql(
				q(SELECT string_agg(identifier, ' ' ORDER BY identifier) FROM evsched.rules WHERE rule_set IN ('anns', 'supers'))
			),
			'each super who',
			'but they are there');

		$copy{admin}->sql('SELECT evsched.start()');
		is($copy{bob}->sql(run('anns')), '["ann", 1]', 'after start() they run');
		is($copy{ann}->sql(run('anns')), '["ann", 1]', 'for whom they ran');
		is($copy{admin}->sql(run('supers')), '[1]', 'all of them');
		is($copy{bob}->try(run('supers'))->{sqlstate}, '42501', 'and for nobody else');
		is( $copy{admin}->sql(q(SELECT string_agg(DISTINCT who, ' ') FROM trace WHERE what IN ('who', 'each') AND n > (SELECT max(n) FROM trace) - 6)),
			'ann', 'as their owner');
		is($bob->sql(run('anns')), '["ann"]', 'and here they still do');
		$_->quit for values %copy;
	});

nothing_early();
done_testing();

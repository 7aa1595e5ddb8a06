# map: an expression in every worker slot of a pool, as the caller; whoever is too slow,
# dies or waits for a job is one row without an answer, and nothing of it is left behind.
use strict;
use warnings;

use Evsched qw(nothing_early scheduler_pid new_scheduler wait_asleep wait_until);
use Evsched::Job  qw(quote trace gate_command);
use Evsched::Stop qw(crash go_on require_stop_points stop_at wait_stopped);
use PostgreSQL::Test::Utils;
use Test::More;

require_stop_points();

# Longer than a test waits for anything.
use constant LONG => '10 min';

my $jobs = Evsched::Job->new(
	'map',
	roles => [qw(ann bob)],
	conf  => <<'CONF');
evsched.pools = 'active:1, passive:10, work:3'
evsched.worker_idle_timeout = 10min
CONF
my $server = $jobs->server;

# An expression that waits at a gate, for its worker; then the number.
sub gated
{
	my ($gate, $number) = @_;

	return "(SELECT $number FROM pg_advisory_xact_lock_shared($gate))";
}

# The statement; options: pool, timeout.
sub map_sql
{
	my ($expr, %options) = @_;

	return sprintf(
		q(SELECT worker || '=' || coalesce(result::text, '') || coalesce('!' || error, '')
		  FROM evsched.map(%s, %s, %s)),
		quote($expr), quote($options{pool} // 'work'), quote($options{timeout} // LONG));
}

# What it returns, in the order in which it comes: 1=result or 1=!error; option session.
sub map_of
{
	my ($expr, %options) = @_;
	my $session = delete $options{session} // $jobs->admin;

	return told($session->try(map_sql($expr, %options)));
}

sub told
{
	my ($reply) = @_;

	return defined $reply->{error}
	  ? ($reply->{sqlstate} // 'lost')
	  : join(' ', map { $_->[0] } @{ $reply->{rows} });
}

# What n slots return that all say the same.
sub all_say
{
	my ($what, $n) = @_;

	return join(' ', map { "$_=$what" } 1 .. $n // 3);
}

my $silence = '!no answer';

# Of the workers that have that on their hands.
sub at_work
{
	my ($where) = @_;

	return
	  q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evsched worker' AND )
	  . $where;
}

# Waits until so many workers sleep.
sub await_sleepers
{
	my ($n) = @_;

	return $jobs->await(
		sub { $jobs->sql(at_work(q(wait_event = 'PgSleep'))) == $n },
		"$n workers to sleep");
}

# Waits until a session has nothing to do but to wait for answers.
sub await_caller
{
	my ($session) = @_;
	my $pid = $session->pid;

	return $jobs->await(
		sub { $jobs->sql("SELECT wait_event FROM pg_stat_activity WHERE pid = $pid") eq 'Extension' },
		'the caller to wait');
}

# In the end nothing is left of any map, and the next one works.
sub nothing_left
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$jobs->becomes(at_work(q(state <> 'idle')), 0, "$name: no worker is busy");
	$jobs->becomes(q(SELECT count(*) FROM evsched.stat_worker WHERE state = 'busy'),
		0, "$name: nor said to be");
	is($jobs->sql('SELECT count(*) FROM evsched._leases()'), 0, "$name: nothing is leased");
	is(map_of('evsched.worker_id()'), '1=1 2=2 3=3', "$name: all slots are free");
	return;
}

#
# What it returns.
#
$jobs->story(
	'once in every slot',
	sub {
		is(scalar($jobs->workers), 0, 'at first there is no worker');
		is(map_of('evsched.worker_id()'), '1=1 2=2 3=3', 'every slot says its number');
		is(map_of('evsched.worker_id()', pool => 'active'), '1=1', 'one in pool active');
		is( map_of('evsched.worker_id()', pool => 'passive'),
			join(' ', map { "$_=$_" } 1 .. 10),
			'ten in pool passive');
		is(map_of('null'), all_say(''), 'nothing is an answer');
		is( $jobs->sql(
				q(SELECT count(*) FROM evsched.map('null') WHERE result IS NULL AND error IS NULL)),
			3,
			'which is null');
		is(map_of('1/0'), all_say('!division by zero'), 'an error is its row\'s');
		is( map_of('6 / (evsched.worker_id() - 2)'), '1=-6 2=!division by zero 3=6',
			'and no other\'s');
		is( $jobs->sql(
				q(SELECT bool_and((result IS NULL) = (error IS NOT NULL)) FROM evsched.map('6 / (evsched.worker_id() - 2)'))
			),
			't',
			'there is a result, or an error');
		is(map_of('no_such_function()'), all_say('!function no_such_function() does not exist'),
			'names are looked up there');
		is($jobs->sql(q(SELECT count(*) FROM evsched.map('1'))), 3, 'pool work unless another is named');
		is($jobs->sql(q(SELECT count(*) FROM evsched.map('1', NULL, NULL))), 3, 'null is the default');
		is($jobs->sql('SELECT evsched.worker_id() IS NULL'), 't', 'no worker, no number');

		# In whatever order they answer.
		is( map_of('(SELECT evsched.worker_id() FROM pg_sleep(0.3 - 0.1 * evsched.worker_id()))'),
			'1=1 2=2 3=3', 'they are ordered');
		nothing_left('answered');
		$jobs->becomes('SELECT unconfirmed FROM evsched.queues WHERE queue = \'work\'',
			0, 'the queue holds nothing');
		is($jobs->sql('SELECT count(*) FROM evsched.run'), 0, 'no run is written down');
		is($jobs->sql('SELECT sum(runs + failed) FROM evsched.stat_worker'), 0, 'nor counted');
		is(map_of('(SELECT 1 FROM pg_sleep(0.1))', timeout => '100 years'), all_say(1),
			'a century is not too long');
		wait_asleep(scheduler_pid($server), 0.3);
	});

$jobs->story(
	'values',
	sub {
		for my $value ("'text'", '1.50', 'true', "'{\"a\": [1, null]}'::jsonb", 'ARRAY[1, 2]',
			"ROW(1, 'x')", "now()::date", "(SELECT sum(i) FROM generate_series(1, 10) i)",
			'1 -- comment', '1 /* comment */', "';'", '(SELECT 1 LIMIT 1)', '(1) + (1)')
		{
			my $query = "SELECT ($value\n)";
			is( map_of($value),
				all_say($jobs->sql("SELECT to_jsonb(v) FROM ($query) AS t(v)")), $value);
		}
		is( $jobs->sql(<<'SQL'), 't', 'results of several MB come whole');
SELECT count(*) = 3 AND bool_and(result #>> '{}' = repeat(md5(worker::text), 150000))
FROM evsched.map('repeat(md5(evsched.worker_id()::text), 150000)', timeout => '10 min')
SQL
		$jobs->sql(<<'SQL');
CREATE FUNCTION complain(what text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE '%', what; END $$
SQL
		is( $jobs->sql(<<'SQL'), 't', 'so do long errors');
SELECT count(*) = 3 AND bool_and(error = repeat('wrong ', 100000))
FROM evsched.map($$complain(repeat('wrong ', 100000))$$, timeout => '10 min')
SQL
		is( $jobs->sql(<<'SQL'), 't', 'and long expressions');
SELECT count(*) = 3 AND bool_and(result = '1000000')
FROM evsched.map('length(' || quote_literal(repeat('x', 1000000)) || ')', timeout => '10 min')
SQL
	});

$jobs->story(
	'what is refused',
	sub {
		for my $expr ('', ' ', '-- nothing', '1,', '1, 2', '1 2', '1; SELECT 2', 'SELECT', '*', '1 AS x', '1)', '(1',
			"'", '$$', '/*', '1), (2', '1) FROM pg_class, (SELECT 1', '1 FROM pg_class',
			'1) WHERE (true', '1) GROUP BY (1', '1) HAVING (true', '1) ORDER BY (1', '1) LIMIT (0',
			'1) OFFSET (1', '1) UNION (SELECT 2', '1); DROP TABLE trace; SELECT (1',
			'INSERT INTO trace (what) VALUES (1)', 'no_such(', 'SELECT 1; SELECT 2')
		{
			is(map_of($expr), '42601', "no expression: $expr");
		}
		is(map_of(undef), '22023', 'none at all');
		is(map_of('1', pool => $_), '22023', "pool '$_'") for '', 'no_such', 'default', 'x' x 64;
		is(map_of('1', timeout => $_), '22023', "timeout $_") for '0', '-1 s', '1 month -30 days';
		is($jobs->sql('SELECT count(*) FROM trace'), 0, 'nothing was done');
	});

#
# In whose name, on what.
#
$jobs->story(
	'as the caller',
	sub {
		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
		my $who = q(concat_ws(' ', current_user, session_user, current_setting('is_superuser')));
		$jobs->sql('CREATE TABLE secret AS SELECT 1 AS n');
		is(map_of($who, session => $ann), all_say('"ann ann off"'), 'ann\'s is ann\'s');
		is(map_of($who, session => $bob), all_say('"bob bob off"'), 'bob\'s is bob\'s');
		like(map_of($who), qr/^1=".+ on" 2=".+ on" 3=".+ on"$/, 'a superuser\'s is his');
		is( map_of('(SELECT n FROM secret)', session => $ann),
			all_say('!permission denied for table secret'),
			'she has her rights');
		is(map_of('(SELECT n FROM secret)'), all_say('1'), 'others theirs');
		my $admin = $jobs->sql('SELECT current_user');
		like(map_of("set_config('$_', '$admin', false)", session => $ann),
			qr/^(\d=!permission denied to set [^=]*){3}$/, "$_ leads to no more")
		  for 'role', 'session_authorization';
		$jobs->sql('SET ROLE ann');
		is(map_of($who), all_say('"ann ann off"'), 'SET ROLE: as current_user');
		$jobs->sql('RESET ROLE');
		$jobs->sql($_) for <<'SQL', 'ALTER FUNCTION as_owner() OWNER TO bob';
CREATE FUNCTION as_owner() RETURNS text SECURITY DEFINER LANGUAGE sql AS $$
	SELECT string_agg(result #>> '{}', ' ') FROM evsched.map('current_user')
$$
SQL
		is($ann->sql('SELECT as_owner()'), 'bob bob bob', 'SECURITY DEFINER: as its owner');

		$jobs->sql('CREATE ROLE nobody');
		$jobs->sql(q(SELECT evsched.grant_usage('nobody')));
		$jobs->sql('GRANT nobody TO ann');
		$ann->sql('SET ROLE nobody');
		is(map_of('1', session => $ann), '42501', 'a role without LOGIN');
		$ann->sql('RESET ROLE');
		$jobs->sql('CREATE ROLE stranger LOGIN');
		is(map_of('1', session => $jobs->session_of('stranger')), '42501', 'a role without usage');

		# What the role has set holds, what another call has set does not.
		$jobs->sql(q(ALTER ROLE ann SET statement_timeout = '50ms'));
		$jobs->await(sub { map_of(q(current_setting('statement_timeout')), session => $ann) eq all_say('"50ms"') },
			'the setting of her role');
		is( map_of('(SELECT 1 FROM pg_sleep(1000))', session => $ann),
			all_say('!canceling statement due to statement timeout'),
			'what her role has set ends it');
		$jobs->sql('ALTER ROLE ann RESET ALL');
		is(map_of(q(set_config('work_mem', '77kB', false))), all_say('"77kB"'), 'what is set there');
		isnt(map_of(q(current_setting('work_mem'))), all_say('"77kB"'), 'is forgotten');
	});

$jobs->story(
	'on what is committed',
	sub {
		$jobs->sql('CREATE TABLE seen (n int)');
		$jobs->sql('INSERT INTO seen VALUES (1)');
		my $count = '(SELECT count(*) FROM seen)';
		$jobs->sql('BEGIN ISOLATION LEVEL REPEATABLE READ');
		$jobs->sql('INSERT INTO seen VALUES (2)');
		is(map_of($count), all_say(1), 'what the caller has not committed is not seen');
		$server->safe_psql('postgres', 'INSERT INTO seen VALUES (3), (4)');
		is(map_of($count), all_say(3), 'what others have is, whatever snapshot he has');
		$jobs->sql('ROLLBACK');
		is(map_of($count), all_say(3), 'rolled back');

		# What it does itself is committed, and not the caller's.
		$jobs->sql($_) for <<'SQL',
CREATE FUNCTION note(n int) RETURNS int LANGUAGE sql AS $$ INSERT INTO seen VALUES (n) RETURNING n $$
SQL
		'CREATE TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)',
		'INSERT INTO once VALUES (2)', <<'SQL';
CREATE FUNCTION note_once(n int) RETURNS int LANGUAGE sql AS $$ INSERT INTO once VALUES (n) RETURNING n $$
SQL
		$jobs->sql($_) for 'TRUNCATE seen', 'BEGIN';
		is(map_of('note(evsched.worker_id())'), '1=1 2=2 3=3', 'an expression with an effect');
		is($jobs->sql('SELECT string_agg(n::text, \' \' ORDER BY n) FROM seen'), '1 2 3',
			'has committed it');
		$jobs->sql('ROLLBACK');
		is($jobs->sql('SELECT count(*) FROM seen'), 3, 'whatever becomes of the caller');
		is(map_of('note(evsched.worker_id()) / 0'), all_say('!division by zero'), 'one that fails');
		is($jobs->sql('SELECT count(*) FROM seen'), 3, 'has none');
		like(map_of('note_once(evsched.worker_id())'),
			qr/^1=1 2=!duplicate key value.* 3=3$/, 'nor has one whose commit fails');
		is($jobs->sql('SELECT string_agg(n::text, \' \' ORDER BY n) FROM once'), '1 2 3', 'indeed');
	});

#
# Beside others.
#
$jobs->story(
	'several at a time',
	sub {
		my @sessions = map {
			my $role = (qw(admin ann bob))[ $_ % 3 ];
			[ $_, $jobs->session_of($role, "s$_"), $role ]
		} 1 .. 20;
		for my $pool ('work', 'active', 'passive')
		{
			my $n = { work => 3, active => 1, passive => 10 }->{$pool};

			for my $round (1 .. 5)
			{
				$_->[1]->send(map_sql("($_->[0] + 100 * $round)", pool => $pool)) for @sessions;
				is( join('; ', map { told($_->[1]->reply) } @sessions),
					join('; ', map { all_say($_->[0] + 100 * $round, $n) } @sessions),
					"twenty in pool $pool: each has its own answers");
			}
		}
		$_->[1]->send(map_sql(q(current_user || ' ' || evsched.worker_id()))) for @sessions;
		is( join('; ', map { told($_->[1]->reply) =~ s/\w+ (\d)"/x $1"/gr } @sessions),
			join('; ', ('1="x 1" 2="x 2" 3="x 3"') x 20),
			'each slot is one');
		$_->[1]->send(map_sql('current_user')) for @sessions[ 0 .. 5 ];
		for my $session (@sessions[ 0 .. 5 ])
		{
			my $who = $session->[2] eq 'admin' ? $jobs->sql('SELECT current_user') : $session->[2];

			is(told($session->[1]->reply), all_say("\"$who\""), 'as its caller');
		}

		# Two, one of which waits.
		$jobs->close_gate(1);
		my ($first, $second) = map { $_->[1] } @sessions[ 0, 1 ];
		$first->send(map_sql(gated(1, 1)));
		$jobs->wait_at_gate(1, 3);
		$second->send(map_sql('2'));
		is(map_of('3', pool => 'passive'), all_say(3, 10), 'another pool is not kept waiting');
		$jobs->open_gate(1);
		is(told($first->reply),  all_say(1), 'the first of two in a pool');
		is(told($second->reply), all_say(2), 'and then the second');
		nothing_left('several');
		$_->[1]->quit for @sessions;
		delete $jobs->{sessions}{"s$_"} for 1 .. 20;
	});

$jobs->story(
	'a job that goes on for ever',
	sub {
		nothing_left('before');
		$jobs->close_gate(1);
		my $job  = $jobs->enqueue(gate_command(1) . '; ' . trace('done'), pool => 'work');
		my $pid  = $jobs->wait_at_gate(1);
		my $slot = $jobs->last_run($job)->{worker};
		is( map_of('7', timeout => '3 s'),
			join(' ', map { $_ == $slot ? "$_=$silence" : "$_=7" } 1 .. 3),
			'is in the way of an answer from its slot, and no other');
		is(scalar($jobs->at_gate(1)), 1, 'it goes on');

		my $patient = $jobs->session_of('admin', 'patient');
		$patient->send(map_sql('(SELECT evsched.worker_id() FROM pg_backend_pid())'));
		$jobs->open_gate(1);
		is(told($patient->reply), '1=1 2=2 3=3', 'who waits gets that, too');
		$jobs->has_runs($job, 'succeeded', 'and the job has come to its end');
		is($jobs->traces, 'done', 'undisturbed');

		# Its slot may be any.
		$jobs->close_gate(2);
		my @jobs = map { $jobs->enqueue(gate_command(2), pool => 'work') } 1 .. 3;
		$jobs->wait_at_gate(2, 3);
		is(join(' ', sort map { $jobs->last_run($_)->{worker} } @jobs), '1 2 3', 'jobs have numbers, too');
		is(map_of('7', timeout => '100 ms'), all_say($silence), 'all slots are occupied');
		is(map_of('7', pool => 'passive'), all_say(7, 10), 'another pool\'s are not');
		$jobs->open_gate(2);
		$jobs->has_runs($_, 'succeeded', 'the jobs') for @jobs;
		my $numbers = $jobs->enqueue('SELECT evsched.worker_id()', pool => 'work');
		$jobs->has_runs($numbers, 'succeeded', 'a job');
		is($jobs->last_run($numbers)->{result}, $jobs->last_run($numbers)->{worker},
			'is told its number');
		nothing_left('jobs');
	});

# Jobs without end.
$jobs->story(
	'a queue that is never empty',
	sub {
		my $again = <<'SQL';
SELECT pg_sleep(0.005);
SELECT evsched.reschedule(id, '0') FROM evsched.current_event() WHERE NOT EXISTS (SELECT FROM trace)
SQL
		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
		my $enqueue = 'evsched.enqueue(' . quote($again) . ", 'work')";
		$ann->sql("SELECT count($enqueue) FROM generate_series(1, 500)");
		$jobs->becomes(q(SELECT count(*) > 30 FROM evsched.run WHERE state = 'succeeded'),
			't', 'five hundred jobs of ann that begin again and again');
		is(map_of($_, session => $ann), all_say($_), 'ann\'s map comes through') for 1 .. 5;
		is(map_of($_, session => $bob), all_say($_), 'so does bob\'s') for 1 .. 5;
		is($jobs->sql('SELECT count(*) FROM evsched.event'), 500, 'the jobs are all there');
		cmp_ok($jobs->sql(q(SELECT evsched.size('work'))), '>', 100, 'and wait');
		$jobs->sql(trace('enough'));
		$jobs->becomes('SELECT count(*) FROM evsched.event', 0, 'they come to their end');
		is($jobs->sql(q(SELECT count(*) FROM evsched.run WHERE state NOT IN ('succeeded', 'running'))),
			0, 'undisturbed');
		nothing_left('a queue');
	});

$jobs->story(
	'calls that never end',
	sub {
		my @sessions = map { $jobs->session_of('ann', "s$_") } 1 .. 4;
		$_->send(<<'SQL') for @sessions;
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM trace) LOOP
		PERFORM * FROM evsched.map('(SELECT 1 FROM pg_sleep(0.1))', 'work', '10 min');
	END LOOP;
END $$
SQL
		await_sleepers(3);
		my @jobs = map { $jobs->enqueue('SELECT 1', pool => 'work', session => $jobs->session_of($_)) } qw(ann bob);
		$jobs->has_runs($_, 'succeeded', 'a job is not kept waiting for ever') for @jobs;
		$jobs->sql(trace('enough'));
		is($_->reply->{error}, undef, 'nor are calls') for @sessions;
		nothing_left('calls');

		# As many as jobs are leased ahead, and more.
		$jobs->close_gate(1);
		@jobs = map { $jobs->enqueue(gate_command(1), pool => 'passive') } 1 .. 10;
		$jobs->wait_at_gate(1, 10);
		push @sessions, map { $jobs->session_of('ann', "s$_") } 5 .. 8;
		$_->send(map_sql('1', pool => 'passive')) for @sessions;
		await_caller($_) for @sessions;
		push @jobs, $jobs->enqueue('SELECT 1', pool => 'passive', session => $jobs->session_of('bob'));
		$jobs->becomes("SELECT count(*) FROM evsched._leases() WHERE id = $jobs[-1]",
			1, 'calls take no room from jobs');
		$jobs->open_gate(1);
		is(told($_->reply), all_say(1, 10), 'they are answered') for @sessions;
		$jobs->has_runs($_, 'succeeded', 'and the jobs') for @jobs;
		nothing_left('many calls');
		$_->quit for @sessions;
		delete $jobs->{sessions}{"s$_"} for 1 .. 8;
	});

# How many workers have been started so far; the server tells when it is told to.
sub starts
{
	return scalar(() = slurp_file($server->logfile) =~ /starting background worker process "evsched worker"/g);
}

$jobs->story(
	'workers that leave at once',
	sub {
		my $ann = $jobs->session_of('ann');

		$jobs->set('log_min_messages' => 'debug1');
		$jobs->set('evsched.worker_idle_timeout' => 0);
		$jobs->close_gate(1);
		my @jobs = map { $jobs->enqueue(gate_command(1), pool => $_) } qw(work active);
		$jobs->wait_at_gate(1, 2);
		my $slot   = $jobs->last_run($jobs[0])->{worker};
		my $before = starts();
		is( map_of('7', timeout => '3 s'),
			join(' ', map { $_ == $slot ? "$_=$silence" : "$_=7" } 1 .. 3),
			'one slot has a job');
		cmp_ok(starts() - $before, '<', 30, 'nobody is started again and again for its call');
		$before = starts();
		is(map_of('7', pool => 'active', timeout => '3 s', session => $ann), all_say($silence, 1), 'the only one has');
		cmp_ok(starts() - $before, '<', 30, 'nor for what waits for its turn');
		$jobs->open_gate(1);
		$jobs->has_runs($_, 'succeeded', 'the jobs') for @jobs;
		$jobs->reset_settings;
		nothing_left('at once');
	});

$jobs->story(
	'workers that do not come up',
	sub {
		my $ann    = $jobs->session_of('ann');
		my $failed = sub {
			return scalar(() = slurp_file($server->logfile) =~ /"evsched worker" \(PID \d+\) exited with exit code 1/g);
		};
		$jobs->sql(
			q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker')
		);
		my $before = $failed->();
		$jobs->sql(q(UPDATE pg_database SET datallowconn = false WHERE datname = 'postgres'));
		$ann->send(map_sql('1', pool => 'active'));
		$jobs->await(sub { $failed->() > $before }, 'a worker to fail');
		$jobs->sql(q(UPDATE pg_database SET datallowconn = true WHERE datname = 'postgres'));
		is(told($ann->reply), all_say(1, 1), 'are started again for a map');
		is($jobs->sql('SELECT count(*) FROM evsched._stalled()'), 0, 'and have come up');
	});

$jobs->story(
	'workers are few',
	sub {
		for my $setting ('evsched.max_workers', 'evsched.max_role_workers')
		{
			$jobs->sql(
				q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker')
			);
			$jobs->set($setting => 1);
			is(map_of('evsched.worker_id()'), '1=1 2=2 3=3', "$setting = 1: one for all slots");
			is(scalar($jobs->workers), 1, 'indeed');
			is( map_of('evsched.worker_id()', pool => 'passive'),
				join(' ', map { "$_=$_" } 1 .. 10), 'in any pool');
			is(map_of('current_user', session => $jobs->session_of('ann')), all_say('"ann"'),
				'of another role, too');
			$jobs->reset_settings;
		}
	});

$jobs->story(
	'pools change',
	sub {
		$jobs->set('evsched.pools' => 'active:1, passive:10, work:7, extra:2');
		is(map_of('evsched.worker_id()'), join(' ', map { "$_=$_" } 1 .. 7), 'a pool that is larger');
		is(map_of('evsched.worker_id()', pool => 'extra'), '1=1 2=2', 'a new one');
		$jobs->set('evsched.pools' => 'active:1, passive:10, work:3');
		is(map_of('evsched.worker_id()'), '1=1 2=2 3=3', 'a pool that is smaller again');
		is(map_of('1', pool => 'extra'), '22023', 'one that is gone');

		# Whoever waits for one is told.
		$jobs->set('evsched.pools' => 'active:1, passive:10, work:3, extra:1');
		$jobs->close_gate(1);
		my $job = $jobs->enqueue(gate_command(1), pool => 'extra');
		$jobs->wait_at_gate(1);
		my $session = $jobs->session_of('ann', 'caller');
		$session->send(map_sql('1', pool => 'extra'));
		await_caller($session);
		$jobs->set('evsched.pools' => 'active:1, passive:10, work:3');
		is(told($session->reply), all_say($silence, 1), 'one that goes meanwhile');
		$jobs->open_gate(1);
		$jobs->has_runs($job, 'succeeded', 'a job of it');
	});

$jobs->story(
	'map in jobs and in map',
	sub {
		my $maps = sub {
			my ($pool, $timeout) = @_;

			return 'INSERT INTO trace (what) SELECT string_agg(coalesce(result::text, error), \' \' ORDER BY worker) '
			  . 'FROM evsched.map('
			  . quote('evsched.worker_id()')
			  . ", '$pool', '$timeout')";
		};
		$jobs->has_runs($jobs->enqueue($maps->('work', LONG)), 'succeeded', 'a job maps');
		is($jobs->sql('SELECT what FROM trace'), '1 2 3', 'in another pool');
		$jobs->sql('TRUNCATE trace');
		my $id = $jobs->enqueue($maps->('work', '2 s'), pool => 'work');
		$jobs->has_runs($id, 'succeeded', 'a job maps');
		my $slot = $jobs->last_run($id)->{worker};
		is($jobs->sql('SELECT what FROM trace'), join(' ', map { $_ == $slot ? 'no answer' : $_ } 1 .. 3),
			'in its own: where it is itself nobody answers');
		is( map_of(q((SELECT sum(result::int) FROM evsched.map('2', 'passive', '10 min'))), pool => 'active'),
			'1=20', 'a map maps');
		is( map_of(q((SELECT sum(result::int) FROM evsched.map('2', 'passive', '10 min')))),
			all_say(20), 'from all slots at once');
		nothing_left('nested');
	});

#
# No answer.
#
$jobs->story(
	'a lock of the caller\'s',
	sub {
		$jobs->sql('CREATE TABLE locked AS SELECT 1 AS n');
		nothing_left('before');
		$jobs->sql($_) for 'BEGIN', 'LOCK TABLE locked';
		is(map_of('(SELECT n FROM locked)', timeout => '300 ms'), all_say($silence),
			'what waits for the caller himself has no answer');
		my $other = $jobs->session_of('admin', 'other');
		wait_until(sub { $other->sql(at_work(q(state <> 'idle' OR wait_event_type = 'Lock'))) == 0 },
			'nobody to be left with it');
		is($other->sql(q(SELECT count(*) FROM pg_locks WHERE NOT granted)), 0, 'nobody waits any more');
		is(map_of('7'), all_say(7), 'he goes on, and maps');
		is($jobs->try('COMMIT')->{error}, undef, 'and commits');
		is(map_of('(SELECT n FROM locked)'), all_say(1), 'then there is an answer');
		nothing_left('a lock');
	});

$jobs->story(
	'too slow',
	sub {
		is(map_of('(SELECT 1 FROM pg_sleep(CASE evsched.worker_id() WHEN 2 THEN 1000 ELSE 0 END))', timeout => '3 s'),
			"1=1 2=$silence 3=1", 'one is too slow');
		nothing_left('slow');
		for my $expr ('(SELECT 1 FROM pg_sleep(1000))', '(SELECT count(*) FROM generate_series(1, 1000000000000))')
		{
			is(map_of($expr, timeout => '100 ms'), all_say($silence), 'all are');
			nothing_left($expr);
		}

		# Hardly any time at all: whoever has begun is stopped.
		my @sessions = map { $jobs->session_of((qw(admin ann bob))[ $_ % 3 ], "s$_") } 1 .. 6;
		for my $round (1 .. 60)
		{
			$_->send(map_sql('(SELECT 1 FROM pg_sleep(1000))', timeout => (1 + rand(15)) . ' ms'))
			  for @sessions;
			my @told = map { told($_->reply) } @sessions;
			fail("round $round: @told") if grep { $_ ne all_say($silence) } @told;
		}
		nothing_left('hardly any time');
		$_->quit for @sessions;
		delete $jobs->{sessions}{"s$_"} for 1 .. 6;
	});

$jobs->story(
	'a worker dies',
	sub {
		is( map_of('CASE WHEN evsched.worker_id() = 2 THEN pg_terminate_backend(pg_backend_pid()) END'),
			"1= 2=$silence 3=", 'one terminates itself: the others answer');
		is(map_of('pg_terminate_backend(pg_backend_pid())'), all_say($silence), 'each of them does');
		nothing_left('terminated');
		$jobs->close_gate(1);
		my $session = $jobs->session_of('admin', 'caller');
		$session->send(map_sql(gated(1, 5)));
		my @pids = $jobs->wait_at_gate(1, 3);
		kill('TERM', $pids[0]);
		$jobs->await(sub { !grep { $_ == $pids[0] } $jobs->at_gate(1) }, 'it to end');
		$jobs->open_gate(1);
		my $told = told($session->reply);
		is(scalar(() = $told =~ /=5\b/g), 2, 'one is terminated: the others answer') || diag($told);
		is(scalar(() = $told =~ /=$silence/g), 1, 'it does not');
		is($jobs->sql('SELECT count(*) FROM evsched.run WHERE state = \'lost\''), 0, 'no run is lost');
		nothing_left('one of them');

		# The jobs that wait are not hurt.
		my @jobs = map { $jobs->enqueue('SELECT pg_sleep(0.01)', pool => 'work') } 1 .. 20;
		map_of('pg_terminate_backend(pg_backend_pid())');
		$jobs->wait_gone(@jobs);
		is($jobs->sql('SELECT count(*) FROM evsched.dead_event'), 0, 'jobs do not die of it');
	});

$jobs->story(
	'who calls goes away',
	sub {
		my %ends = (
			'pg_cancel_backend'   => '57014',
			'pg_terminate_backend' => '57P01',
			'statement_timeout'   => '57014',
			'a savepoint'         => 'caught',
			'the client is killed' => undef);
		for my $end (sort keys %ends)
		{
			my $session = $jobs->session_of('ann', 'caller');
			my $pid     = $session->pid;
			my $sql     = map_sql('(SELECT 1 FROM pg_sleep(1000))');

			$session->sql(q(SET statement_timeout = '1 s')) if $end =~ /statement|savepoint/;
			$session->sql(q(SET client_connection_check_interval = '50 ms')) if $end =~ /client/;
			$sql = 'DO $do$ BEGIN PERFORM * FROM (' . $sql . ') s; EXCEPTION WHEN query_canceled THEN '
			  . 'RAISE \'caught\' USING ERRCODE = \'P0001\'; END $do$'
			  if $end =~ /savepoint/;
			my $waits = $end eq 'statement_timeout' || $end eq 'a savepoint' ? 0 : 1;
			$session->send($sql);
			await_sleepers(3) if $waits;
			$jobs->sql("SELECT $end($pid)") if $end =~ /^pg_/;
			if ($end =~ /client/)
			{
				$session->kill9;
				$jobs->becomes("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0, "$end: the session ends");
				delete $jobs->{sessions}{caller};
			}
			else
			{
				my $reply = $session->reply;
				if ($ends{$end} eq 'caught') { like($reply->{error}, qr/caught/, "$end: caught"); }
				elsif ($end eq 'pg_terminate_backend') { ok(defined $reply->{error}, "$end: the session ends"); }
				else { is($reply->{sqlstate}, $ends{$end}, "$end: the caller is told"); }
			}
			$jobs->becomes(at_work(q(wait_event = 'PgSleep')), 0, "$end: nobody goes on with it");
			nothing_left($end);
			if ($end !~ /client|terminate/)
			{
				$session->sql('RESET statement_timeout');
				is(map_of('7', session => $session), all_say(7), "$end: he maps again");
				$session->quit;
			}
			delete $jobs->{sessions}{caller};
		}

		# What it waits for is a job's end: then nothing of it is left, either.
		$jobs->close_gate(1);
		my @jobs = map { $jobs->enqueue(gate_command(1), pool => 'work') } 1 .. 3;
		$jobs->wait_at_gate(1, 3);
		my $session = $jobs->session_of('ann', 'caller');
		$session->send(map_sql('note(99)'));
		await_caller($session);
		$jobs->sql('SELECT pg_cancel_backend(' . $session->pid . ')');
		is($session->reply->{sqlstate}, '57014', 'cancelled before anybody has begun');
		$jobs->open_gate(1);
		$jobs->has_runs($_, 'succeeded', 'the jobs go on') for @jobs;
		nothing_left('not begun');
		is($jobs->sql('SELECT count(*) FROM seen WHERE n = 99'), 0, 'it was never evaluated');
	});

$jobs->story(
	'the scheduler dies',
	sub {
		my $session = $jobs->session_of('admin', 'caller');
		$jobs->close_gate(1);
		$session->send(map_sql(gated(1, 5)));
		$jobs->wait_at_gate(1, 3);
		my $old = scheduler_pid($server);
		kill('TERM', $old);
		new_scheduler($server, $old);
		$jobs->open_gate(1);
		is(told($session->reply), all_say(5), 'terminated: those who work go on');

		$old = scheduler_pid($server);
		$jobs->sql(
			q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker')
		);
		kill('STOP', $old);
		$session->send(map_sql('5'));
		await_caller($session);
		kill('TERM', $old);
		kill('CONT', $old);
		is(told($session->reply), all_say(5), 'the next one starts the workers');
		isnt(scheduler_pid($server), $old, 'indeed') || diag("scheduler $old");

		$jobs->close_gate(1);
		$session->send(map_sql(gated(1, 5)));
		$jobs->wait_at_gate(1, 3);
		crash($server, scheduler_pid($server));
		$jobs->reconnect;
		nothing_left('killed');

		$session = $jobs->session_of('admin', 'caller');
		$session->send(map_sql('(SELECT 1 FROM pg_sleep(1000))'));
		await_sleepers(3);
		my ($worker) = $jobs->workers;
		crash($server, $worker);
		$jobs->reconnect;
		nothing_left('a worker is killed');
	});

#
# Where there is nobody to answer.
#
$jobs->story(
	'stopped',
	sub {
		$jobs->sql(q(SELECT evsched.stop('0')));
		is(map_of('1'), '55000', 'a database that is stopped');
		$jobs->sql('SELECT evsched.start()');
		is(map_of('1'), all_say(1), 'started again');
		$jobs->sql(q(SELECT evsched.pause_queue('work')));
		is(map_of('1'), '55000', 'a pool that is paused');
		is(map_of('1', pool => 'active'), '1=1', 'another');
		$jobs->sql(q(SELECT evsched.resume_queue('work')));
		is(map_of('1'), all_say(1), 'resumed');

		# Somebody stops it meanwhile.
		my $session = $jobs->session_of('admin', 'caller');
		$session->send(map_sql('(SELECT 1 FROM pg_sleep(1000))'));
		await_sleepers(3);
		is($jobs->sql(q(SELECT evsched.stop('0'))), 'f', 'stop: somebody is still at work');
		$jobs->sql('SELECT evsched.force_stop()');
		unlike(told($session->reply), qr/=1\b/, 'force_stop: there is no answer');
		$jobs->becomes(q(SELECT evsched.stop('0')), 't', 'then nobody is');
		$jobs->sql('SELECT evsched.start()');
		nothing_left('started');

		# What has not begun by then never does.
		my $told = '!pool "work" is stopped';
		for my $case (
			[ q(evsched.stop('0')),          'evsched.start()' ],
			[ q(evsched.pause_queue('work')), q(evsched.resume_queue('work')) ])
		{
			my ($stop, $start) = @$case;

			$jobs->close_gate(1);
			my @jobs = map { $jobs->enqueue(gate_command(1), pool => 'work') } 1 .. 3;
			$jobs->wait_at_gate(1, 3);
			$session->send(map_sql('note(77)'));
			await_caller($session);
			$jobs->sql("SELECT $stop");
			is(told($session->reply), all_say($told), "$stop: who waits for a slot is told");
			$jobs->open_gate(1);
			$jobs->has_runs($_, 'succeeded', "$stop: the jobs go on") for @jobs;
			$jobs->sql("SELECT $start");

			# There are as many workers as slots.
			$jobs->sql(
				q(SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE backend_type = 'evsched worker')
			);
			$jobs->close_gate(1);
			$session->send(map_sql(gated(1, 5)));
			my @workers = $jobs->wait_at_gate(1, 3);
			$jobs->open_gate(1);
			is(told($session->reply), all_say(5), "$start: it goes on");
			nothing_left($start);
			stop_at($server, $_, 'call handed') for @workers;
			$session->send(map_sql('note(77)'));
			wait_stopped($server, $_) for @workers;
			$jobs->sql("SELECT $stop");
			go_on($server, $_) for @workers;
			is(told($session->reply), all_say($told), "$stop: so is who has one, but has not begun");
			$jobs->sql("SELECT $start");
			nothing_left($start);
		}
		is($jobs->sql('SELECT count(*) FROM seen WHERE n = 77'), 0, 'nothing of it was evaluated');

		# A call is not a run.
		$jobs->close_gate(1);
		$session->send(map_sql(gated(1, 5)));
		$jobs->wait_at_gate(1, 3);
		is( $jobs->sql(q(SELECT string_agg(evsched.stop_run(id)::text, ' ') FROM evsched._leases() WHERE kind = 'call')),
			'false false false',
			'stop_run stops none');
		is($jobs->sql('SELECT leases = 3 AND oldest_lease IS NULL FROM evsched._server()'),
			't', 'nor is it said to hold an event');
		$jobs->open_gate(1);
		is(told($session->reply), all_say(5), 'it goes on');
	});

$server->adjust_conf('postgresql.conf', 'shared_preload_libraries', q(''));
$server->restart;
$jobs->reconnect;
is(map_of('1'), '55000', 'a server that has not preloaded it');

nothing_early();
done_testing();

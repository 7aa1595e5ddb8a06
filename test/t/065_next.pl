# next and work: one command gets what another has returned. on_error: what is run when a
# job has failed for good.
use strict;
use warnings;

use Evsched      qw(session nothing_early wait_until);
use Evsched::Job qw(call quote trace gate_command);
use JSON::PP;
use Test::More;

my $jobs = Evsched::Job->new('next', roles => [qw(ann bob)]);
my $body = q(INSERT INTO trace (what) SELECT coalesce($1::text, '(null)'));

# Posts such a pair, of one of the two functions.
sub post
{
	my ($function, $op, $body, %options) = @_;
	my $session = delete $options{session} // $jobs->admin;

	return $session->sql(call($function, op => $op, body => $body, %options));
}

sub all_done
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $jobs->becomes(
		q(SELECT (SELECT count(*) FROM evsched.event) + (SELECT count(*) FROM evsched.run WHERE state = 'running')),
		0, $name);
}

# What the body has seen.
sub hands_over
{
	my ($function, $op, $expected, $name, %options) = @_;

	$jobs->sql('TRUNCATE trace RESTART IDENTITY');
	post($function, $op, $body, %options);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	all_done("$function: $name");
	return
	  ref $expected
	  ? like($jobs->traces, $expected, "$function: $name")
	  : is($jobs->traces, $expected, "$function: $name");
}

for my $kind ([ next => 'passive' ], [ work => 'work' ])
{
	my ($function, $pool) = @$kind;

	$jobs->story(
		$function,
		sub {
			hands_over($function, 'SELECT 42', '42', 'a value');
			my $runs = [
				$jobs->rows(
					q(SELECT pool, state, command FROM evsched.run ORDER BY started_at DESC LIMIT 2)
				)
			];
			is_deeply(
				$runs,
				[ [ 'active', 'succeeded', $body ], [ $pool, 'succeeded', 'SELECT 42' ] ],
				"op runs in pool $pool, body in active");
			hands_over($function, q(SELECT 'text'),   '"text"',              'a text');
			hands_over($function, 'SELECT NULL::int', qr/^(null|\(null\))$/, 'NULL');
			hands_over(
				$function,
				'SELECT 1 AS a, true AS b, NULL AS c',
				'{"a": 1, "b": true, "c": null}',
				'several columns: an object');
			hands_over(
				$function,
				q(SELECT '{"x": [1, 2]}'::jsonb),
				'{"x": [1, 2]}',
				'jsonb as it is');
			hands_over($function, q(SELECT '2026-01-02 03:04:05+00'::date),
				'"2026-01-02"', 'a date');
			hands_over($function, 'SELECT 1.50', '1.50', 'a numeric');
			hands_over($function, 'SELECT 1 WHERE false',
				qr/^(null|\(null\))$/, 'no row: null');
			hands_over($function, 'SELECT n FROM generate_series(5, 9) n',
				'5', 'several rows: the first');
			hands_over($function, 'SELECT 1; SELECT 2',
				'2', 'several statements: the last');
			hands_over($function, 'INSERT INTO trace (what) VALUES (7) RETURNING what',
				'7 "7"', 'what an INSERT returns');
			hands_over(
				$function,
				q(INSERT INTO trace (what) VALUES ('op')),
				qr/^op (null|\(null\))$/,
				'nothing: null');
			hands_over(
				$function, 'SELECT $1', '{"p": 1}',
				'op has the payload',
				payload => '{"p": 1}');
			hands_over(
				$function,
				q(SELECT repeat('x', 100000)),
				'"' . 'x' x 100000 . '"',
				'a large value');

			# The body waits for op, and for its commit.
			$jobs->sql('TRUNCATE trace RESTART IDENTITY');
			$jobs->close_gate(1);
			post($function, trace('op') . '; ' . gate_command(1) . '; SELECT 1', $body);
			$jobs->wait_at_gate(1);
			my $other = $jobs->enqueue(trace('other'), pool => 'active');
			$jobs->has_runs($other, 'succeeded', 'active is free while op runs');
			is($jobs->traces, 'other', 'the body waits for it');
			$jobs->open_gate(1);
			all_done('op ends');
			is( $jobs->sql(
					q(SELECT string_agg(what, ' ' ORDER BY at) FROM trace WHERE what <> 'other')
				),
				'op 1',
				'then comes the body');
			is($jobs->sql('SELECT count(*) FROM evsched.dead_event'),
				0, 'nothing is dead');
		});

	$jobs->story(
		"$function: failures",
		sub {
			my $ann = $jobs->session_of('ann');
			$ann->sql(
				call(
					'on_error',
					command =>
					  q(INSERT INTO trace (what) SELECT 'error ' || ($1->>'sqlstate'))));
			my $id = post($function, 'SELECT 1 / 0', $body, session => $ann);
			$jobs->wait_traces(1);
			all_done('an op that fails');
			is($jobs->traces, 'error 22012', 'the body does not run, on_error does');
			is($jobs->dead($id)->{sqlstate}, '22012', 'op is dead');

			$jobs->sql('TRUNCATE trace RESTART IDENTITY');
			$id = post(
				$function, 'SELECT 1 / num_retries FROM evsched.current_event()', $body,
				session     => $ann,
				max_retries => 1,
				retry_delay => '0');
			all_done('an op that is retried');
			is($jobs->traces, '1', 'the body runs when it has succeeded');

			$jobs->sql('TRUNCATE trace RESTART IDENTITY');
			post($function, 'INSERT INTO trace (what) VALUES (\'op\') RETURNING 1',
				'SELECT 1 / 0', session => $ann);
			$jobs->wait_traces(2);
			all_done('a body that fails');
			is($jobs->traces, 'op error 22012', 'what op has done stays, on_error runs');
			is( $jobs->sql(
					q(SELECT count(*) FROM evsched.dead_event WHERE command = 'SELECT 1 / 0')
				),
				2,
				'the body is dead, too');
			is( $jobs->sql(
					q(SELECT evsched.redrive(array_agg(id)) FROM evsched.dead_event)),
				2,
				'they can be redriven');
			all_done('and run again');

			# Both run as the one who has posted.
			$jobs->sql('TRUNCATE trace RESTART IDENTITY');
			post(
				$function,
				'SELECT current_user::text',
				q(INSERT INTO trace (what) VALUES ($1::text || current_user)),
				session => $ann);
			all_done('op and body');
			is($jobs->traces, '"ann"ann', 'run as their owner');

			# Cancelled before op has run: no body either; a redriven op has its body.
			$jobs->sql("SELECT evsched.pause_queue('$pool')");
			$id = post($function, 'SELECT 1', $body);
			is($jobs->sql("SELECT evsched.cancel($id)"), 't', 'a pair is cancelled');
			$jobs->sql('TRUNCATE trace RESTART IDENTITY');
			$jobs->sql("SELECT evsched.resume_queue('$pool')");
			$id = post($function, 'SELECT n FROM now_there', $body);
			$jobs->becomes("SELECT sqlstate FROM evsched.dead_event WHERE id = $id",
				'42P01', 'an op that has died');
			$jobs->sql('CREATE TABLE now_there AS SELECT 8 AS n');
			is($jobs->sql("SELECT evsched.redrive('{$id}'::bigint[])"), 1, 'is redriven');
			all_done('and runs');
			is($jobs->traces, '8', 'with its body; the cancelled one has none');
			$jobs->sql('DROP TABLE now_there');

			for my $wrong ([ op => undef, body => 'SELECT 1' ],
				[ op => 'SELECT 1', body => '' ])
			{
				is($jobs->try(call($function, @$wrong))->{sqlstate},
					'22023', 'op or body missing: refused');
			}
		});
}

$jobs->story(
	'bodies do not overlap',
	sub {
		post(
			$_ % 2 ? 'next' : 'work',
			"SELECT pg_sleep(random() * 0.05), $_",
			$jobs->span('body', 0.02)) for 1 .. 20;
		all_done('twenty pairs');
		is($jobs->sql('SELECT count(*) FROM trace'), 20, 'each body runs once');
		is($jobs->overlap,                           1,  'one at a time');
	});

#
# on_error.
#
my $handler = <<'SQL';
INSERT INTO handled SELECT $1, current_user, session_user, (evsched.current_event()).run_id
SQL

$jobs->sql('CREATE TABLE handled (told jsonb, who text, session text, run_id bigint)');
$jobs->sql('GRANT ALL ON handled TO PUBLIC');

sub on_error
{
	my ($role, $command) = @_;

	return $jobs->session_of($role)
	  ->sql('SELECT evsched.on_error(' . quote($command) . ')');
}

$jobs->story(
	'on_error',
	sub {
		my ($ann, $bob) = map { $jobs->session_of($_) } qw(ann bob);
		my $command =
		  q(DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'msg', DETAIL = 'det', ERRCODE = 'XY001'; END $$);
		on_error('ann', $handler);
		my $id = $jobs->enqueue(
			$command,
			session     => $ann,
			max_retries => 2,
			retry_delay => '20 ms');
		$jobs->becomes('SELECT count(*) FROM handled', 1, 'on_error is run');
		all_done('all is done');
		is($jobs->states($id), 'failed failed failed',    'when all retries are used');
		is($jobs->sql('SELECT count(*) FROM handled'), 1, 'once');
		my ($row) = $jobs->rows('SELECT told, who, session, run_id FROM handled');
		my $told = decode_json($row->[0]);
		is_deeply([ @$row[ 1, 2 ] ], [ 'ann', 'ann' ], 'as the role whose job it was');
		is_deeply(
			[ sort keys %$told ],
			[ sort qw(event_id run_id command sqlstate message detail context) ],
			'$1 tells these');
		is_deeply(
			[ @$told{qw(event_id run_id command sqlstate message detail)} ],
			[ $id, ($jobs->runs($id))[2]{run_id}, $command, 'XY001', 'msg', 'det' ],
			'the last run, and its error');
		like($told->{context} // '', qr/inline_code_block/, 'and where');
		is( $jobs->sql("SELECT pool || state FROM evsched.run WHERE run_id = $row->[3]"),
			'activesucceeded', 'in pool active');
		is($jobs->dead($id)->{sqlstate}, 'XY001', 'the job is dead all the same');

		# Only hers.
		my $bobs = $jobs->enqueue('SELECT 1 / 0', session => $bob);
		$jobs->has_runs($bobs, 'failed', 'a job of another role');
		my $fine = $jobs->enqueue('SELECT 1', session => $ann);
		$jobs->has_runs($fine, 'succeeded', 'a job that succeeds');
		all_done('all is done');
		is($jobs->sql('SELECT count(*) FROM handled'), 1, 'are not hers to handle');

		# Replaced, rolled back, removed.
		on_error('ann', q(INSERT INTO handled SELECT '"second"'));
		$ann->sql('BEGIN');
		on_error('ann', undef);
		$ann->sql('ROLLBACK');
		$jobs->sql('TRUNCATE handled');
		$id = $jobs->enqueue('SELEC', session => $ann);
		$jobs->becomes('SELECT told FROM handled', '"second"', 'the last one counts');
		all_done('all is done');
		$jobs->sql('TRUNCATE handled');
		on_error('ann', undef);
		$id = $jobs->enqueue('SELECT 1 / 0', session => $ann);
		$jobs->has_runs($id, 'failed', 'on_error(NULL)');
		all_done('all is done');
		is($jobs->sql('SELECT count(*) FROM handled'), 0, 'removes it');

		# One that comes back from the dead fails for good again.
		on_error('ann', $handler);
		$jobs->sql("SELECT evsched.redrive('{$id}'::bigint[])");
		$jobs->becomes(q(SELECT count(*) FROM handled),
			1, 'a job that is redriven and fails is handled');
		is($jobs->sql(q(SELECT told->>'event_id' FROM handled)), $id, 'that job');
		on_error('ann', undef);
		is( $jobs->session_of('ann')->try(q(SELECT evsched.on_error('')))->{sqlstate}
			  // '',
			'22023',
			'an empty command is refused');
	});

$jobs->story(
	'on_error that fails',
	sub {
		my $ann = $jobs->session_of('ann');
		on_error('ann',
			q(DO $$ BEGIN RAISE EXCEPTION 'the handler itself is broken'; END $$));
		my $id = $jobs->enqueue('SELECT 1 / 0', session => $ann);
		$jobs->server->wait_for_log(qr/the handler itself is broken/);
		pass('a handler that fails is logged');
		all_done('all is done');
		is($jobs->states($id), 'failed', 'the job has run once');
		is( $jobs->sql(
				q(SELECT count(*) FROM evsched.run WHERE message LIKE '%handler itself%'))
			  <= 1,
			1,
			'the handler once, at most');
		is($jobs->dead($id)->{sqlstate}, '22012', 'the job is dead');
		my $next = $jobs->enqueue('SELECT 1', session => $ann, pool => 'active');
		$jobs->has_runs($next, 'succeeded', 'other jobs go on');
		on_error('ann', 'SELEC');
		$id = $jobs->enqueue('SELECT 1 / 0', session => $ann);
		$jobs->has_runs($id, 'failed', 'a handler that is no SQL');
		all_done('harms nothing either');
		on_error('ann', undef);
	});

$jobs->story(
	'on_error of a job that is lost',
	sub {
		my $ann = $jobs->session_of('ann');
		on_error('ann', $handler);
		$jobs->sql('TRUNCATE handled');
		$jobs->close_gate(1);
		my $id = $jobs->enqueue(gate_command(1), session => $ann);
		for my $round (1 .. 3)
		{
			my $pid = $jobs->wait_at_gate(1);
			$jobs->sql("SELECT pg_terminate_backend($pid)");
			wait_until(
				sub {
					!grep { $_ == $pid } $jobs->at_gate(1);
				},
				'it to end');
		}
		$jobs->becomes("SELECT count(*) FROM evsched.dead_event WHERE id = $id",
			1, 'lost three times: dead');
		$jobs->becomes('SELECT count(*) FROM handled', 1, 'on_error is run for it, too');
		is($jobs->sql(q(SELECT told->>'event_id' FROM handled)), $id, 'and told which');
		on_error('ann', undef);
	});

nothing_early();
done_testing();

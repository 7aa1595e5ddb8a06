# Random calls with random arguments, from several sessions at once: no crash, no error but
# those of the contract, and nothing is left over.
# EVSCHED_SEED repeats a run as far as its sessions let it; EVSCHED_CALLS is how many.
use strict;
use warnings;

use Evsched qw(start_server session nothing_early scheduler_pid wait_until);
use Test::More;
use Time::HiRes qw(time);

my $seed  = $ENV{EVSCHED_SEED}  // int(rand(1_000_000_000));
my $calls = $ENV{EVSCHED_CALLS} // 100_000;
note("EVSCHED_SEED=$seed EVSCHED_CALLS=$calls");

my @roles  = qw(ada ben cyd);
my $server = start_server('random',
	conf => "evsched.max_leases = 200\nevsched.max_queues = 8\ndeadlock_timeout = 10ms\nlog_min_messages = fatal\n");
my $admin = session($server, 'admin');
$admin->sql("CREATE ROLE $_ LOGIN")             for @roles;
$admin->sql('GRANT ada TO ben');
$admin->sql("SELECT evsched.grant_usage('$_')") for @roles;

# One random value of a type, as SQL; the names that arguments have make hits likely.
$admin->sql(<<'SQL');
CREATE FUNCTION random_value(name text, type regtype) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r float := random();
	choices text;
	choice text;
BEGIN
	choices := CASE
		WHEN r < 0.03 AND name <> 'drain' THEN 'NULL'
		WHEN name = 'queue' THEN '''a''|''a''|''b''|''b''|''c''|''default''|''d''|''e''|''f''|''g''|''h''|''i''|''''|repeat(''q'',64)'
		WHEN name = 'on_conflict' THEN '''replace''|''keep''|''error''|''what'''
		WHEN name = 'may' THEN '''post''|''consume''|''all'''
		WHEN name = 'role' THEN '''ada''|''ben''|''cyd''|''nobody'''
		WHEN name = 'drain' THEN '''0''|''-1 s''|''1 ms'''
		WHEN name = 'conf_timeout' THEN '''1 us''|''1 ms''|''20 ms''|''1 h''|''0'''
		WHEN name = 'payloads' THEN '''{1}''|''{1,2,3}''|''{}''|''{NULL}''|''{{1},{2}}'''
		WHEN name = 'delays' THEN '''{0}''|''{-1 s,1 ms,1 h}''|''{}''|''{NULL}'''
		WHEN name = 'expr' THEN '''1''|''evsched.worker_id()''|''1/0''|''(SELECT count(*) FROM evsched.events)''|''1, 2'''
		WHEN name = 'timeout' THEN '''1 ms''|''20 ms''|''0'''
		WHEN name = 'rule_set' THEN '''r''|''s''|'''''
		WHEN name = 'mode' THEN '''once''|''each''|''k'''
		WHEN name = 'filter' THEN '''true''|''false''|''1/0 > 0''|''true AND'''
		WHEN name = 'rules' THEN '''[]''|''[{"identifier": "k", "period": "1 ms", "command": "SELECT $1"}]''|''[{}]''|''null'''
		WHEN name = 'step' THEN '''now'''
		WHEN name = 'path' THEN '''/nowhere''|''/''|''x'''
		WHEN type = 'text'::regtype THEN '''k''|''l''|''m''|''''|repeat(''x'',300)|E''\x01"'''
		WHEN type = 'text[]'::regtype THEN '''{k}''|''{k,l,NULL}''|''{}''|''{{k}}'''
		WHEN type = 'bigint[]'::regtype THEN '''{}''|''{NULL,0}''|ids|ids|ids'
		WHEN type = 'int'::regtype THEN '0|1|2|3|-1|-2|5|100|2147483647|(-2147483648)'
		WHEN type = 'bigint'::regtype THEN '0|-1|9223372036854775807|id|id|id|id|id|id'
		WHEN type = 'boolean'::regtype THEN 'true|false'
		WHEN type = 'interval'::regtype THEN '''0''|''-1 s''|''1 ms''|''5 ms''|''1 h''|''-1 mon''|''178000000 years''|''2147483647 days'''
		WHEN type = 'timestamptz'::regtype THEN '''infinity''|''-infinity''|now()|clock_timestamp()'
		WHEN type = 'jsonb'::regtype THEN '''null''|''{}''|''[1,"x"]''|to_jsonb(repeat(''x'',100))|to_jsonb(repeat(''y'',9000))'
		ELSE 'NULL' END;
	choice := split_part(choices, '|', 1 + floor(random() * (1 + length(choices) - length(replace(choices, '|', ''))))::int);
	RETURN CASE choice
		WHEN 'id' THEN (floor(random() * 4000) + 1)::text
		WHEN 'ids' THEN format('''{%s,%s,%s}''', floor(random() * 4000), floor(random() * 4000), floor(random() * 4000))
		ELSE choice END;
END $$;

-- A random call, named arguments; those with a default are mostly left out.
CREATE FUNCTION random_call(OUT call text) LANGUAGE plpgsql AS $$
DECLARE
	f pg_proc;
BEGIN
	SELECT p.* INTO f FROM pg_proc p WHERE pronamespace = 'evsched'::regnamespace
		AND prorettype <> 'trigger'::regtype AND proname NOT IN ('grant_usage', 'sleep') ORDER BY random() LIMIT 1;
	SELECT format('SELECT count(*) FROM evsched.%I(%s)', f.proname,
		coalesce(string_agg(format('%I => %s::%s', coalesce(f.proargnames[i], 'a'),
			coalesce(random_value(f.proargnames[i], f.proargtypes[i - 1]::oid::regtype), 'NULL'),
			f.proargtypes[i - 1]::oid::regtype), ', '), '')) INTO call
	FROM generate_series(1, f.pronargs) i WHERE i <= f.pronargs - f.pronargdefaults OR random() < 0.4
		OR f.proargnames[i] = 'drain';
END $$;

CREATE TABLE strange (sqlstate text, message text, call text);
GRANT INSERT ON strange TO PUBLIC;

-- Many of them: in subtransactions that are kept or not, for so many transactions.
CREATE PROCEDURE random_calls(n int, seed float) LANGUAGE plpgsql AS $$
DECLARE
	call text;
	done int := 0;
BEGIN
	PERFORM setseed(seed);
	WHILE done < n LOOP
		FOR i IN 1 .. 1 + floor(random() * 30) LOOP
			call := random_call();
			done := done + 1;
			BEGIN
				EXECUTE call;
				IF random() < 0.15 THEN
					RAISE SQLSTATE 'ZZ000';
				END IF;
			EXCEPTION
				WHEN SQLSTATE 'ZZ000' OR invalid_parameter_value OR insufficient_privilege OR unique_violation
					OR undefined_object OR object_not_in_prerequisite_state OR configuration_limit_exceeded
					OR deadlock_detected OR program_limit_exceeded OR syntax_error OR undefined_file
					OR wrong_object_type OR duplicate_object THEN NULL;
				WHEN OTHERS THEN
					INSERT INTO strange VALUES (SQLSTATE, SQLERRM, call);
			END;
		END LOOP;
		IF random() < 0.2 THEN ROLLBACK; ELSE COMMIT; END IF;
	END LOOP;
END $$;
SQL

my @sessions;
my $number = 0;
for my $role (@roles, @roles, 'postgres')
{
	my $session = session($server, $role . $number, conninfo => "user=$role");

	$session->mode(quiet => 1);
	$session->sql(q(SET statement_timeout = '10 min'));
	push @sessions, $session;
	$number++;
}
my $began = time;
my $each  = int($calls / @sessions);
for my $i (0 .. $#sessions)
{
	my $start = (($seed * 7 + $i * 7919) % 1_000_003) / 1_000_003;

	$sessions[$i]->send("CALL random_calls($each, $start)");
}
# A call under way may have stopped the database, and what is stopped is not waited for.
my @errors;
{
	local $Evsched::Session::patience = 600;
	@errors = grep { defined } map { $_->reply->{error} } @sessions;
}
note(sprintf('%d calls in %.1f s', $each * @sessions, time - $began));
is_deeply(\@errors, [], 'every session comes to its end');
is_deeply([ $admin->rows('SELECT sqlstate, message, min(call), count(*) FROM strange GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 20') ],
	[], 'there are no errors but those of the contract');
ok(scheduler_pid($server), 'the scheduler lives');

# What is left is what was committed; taken away, nothing is.
$_->kill9 for @sessions;	# their clients may be full of events
wait_until(sub { $admin->sql('SELECT count(*) FROM evsched.listeners') == 0 },
	'the listeners to be gone');
pass('no listener is left');
$admin->sql('SELECT evsched.start()');
$admin->sql('UPDATE evsched.queue SET paused = false');
# What a run posts may be leased between the look at the events and that at the leases.
wait_until(
	sub {
		$admin->sql('SELECT count(*) FROM evsched._leases() l'
			  . ' WHERE NOT EXISTS (SELECT FROM evsched.event e WHERE e.id = l.id)') == 0;
	},
	'no lease to be of an event that is gone');
pass('no lease of an event that is gone');
$admin->sql('DELETE FROM evsched.event');
$admin->sql('DELETE FROM evsched.dead');
# A run that is under way keeps its lease to its end, and may post another job then.
wait_until(
	sub {
		$admin->sql('DELETE FROM evsched.event');
		return $admin->sql(q(SELECT count(*) FROM evsched._leases())) == 0
		  && $admin->sql(q(SELECT count(*) FROM evsched._workers() WHERE state = 'busy')) == 0
		  && $admin->sql(q(SELECT count(*) FROM evsched.event)) == 0;
	},
	'the leases to be gone');
pass('no lease is left');
is($admin->sql('SELECT coalesce(sum(unconfirmed + listeners), 0) FROM evsched.queues'),
	0, 'and none is counted');
is($admin->sql(<<'SQL'), 0, 'no lock is left');
SELECT count(*) FROM pg_locks WHERE relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'evsched'::regnamespace)
	AND pid <> pg_backend_pid()
SQL
$admin->sql('DELETE FROM evsched.queue_grant');
$admin->sql('DELETE FROM evsched.queue');
$admin->sql(q(SELECT evsched.join(queue => 'a')));
$admin->sql(q(SELECT evsched.post('"after"', '100 ms', 'a', max_retries => 1)));
my $event = $admin->event;
is($event->{payload},       'after', 'it still works');
is($admin->confirm($event), 't',     'to the end');
unlike(
	PostgreSQL::Test::Utils::slurp_file($server->logfile),
	qr/was terminated by signal|PANIC|TRAP:/,
	'nothing has crashed');

nothing_early();
done_testing();

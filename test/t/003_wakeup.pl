# Every way in which an event can come to be due wakes a scheduler that sleeps.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time nothing_early
  scheduler_pid new_scheduler wait_asleep);
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(time);

my $server = start_server(
	'wakeup',
	allows_streaming => 'logical',
	conf             => 'shared_buffers = 64MB');
my $poster = session($server, 'poster');
my $other  = session($server, 'other');
my $ann    = listener($server, 'a', max_events => 100);

# The scheduler has something to sleep for.
$poster->sql(q(SELECT evsched.post('"far"', '1 hour')));
$server->safe_psql('postgres', <<'SQL');
CREATE TABLE trigger_table (delay interval);
CREATE FUNCTION post_from_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM evsched.post(to_jsonb(TG_NAME), NEW.delay);
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON trigger_table
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION post_from_trigger();
CREATE PROCEDURE post_and_wait(delay interval) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM evsched.post('"procedure"', delay);
	COMMIT;
	PERFORM pg_advisory_lock(1);
	PERFORM pg_advisory_unlock(1);
END $$;
SQL

# A publisher of rows for evsched.event, in a database of its own.
$server->safe_psql('postgres',  'CREATE DATABASE publisher');
$server->safe_psql('publisher', <<'SQL');
CREATE SCHEMA evsched;
CREATE TABLE evsched.event (id bigint, queue text, due_at timestamptz, payload jsonb,
							PRIMARY KEY (id, queue));
CREATE PUBLICATION events FOR TABLE evsched.event;
SELECT pg_create_logical_replication_slot('events', 'pgoutput');
SQL
$server->safe_psql('postgres', sprintf(<<'SQL', $server->host, $server->port));
CREATE SUBSCRIPTION events CONNECTION 'host=%s port=%d dbname=publisher'
PUBLICATION events WITH (create_slot = false, slot_name = 'events', copy_data = false)
SQL
my $publisher = session($server, 'publisher', dbname => 'publisher');

# A time from now, as text.
sub clock
{
	my ($delay) = @_;
	my $time = time + $delay;

	return strftime('%Y-%m-%d %H:%M:%S', gmtime $time)
	  . sprintf('.%06d+00', ($time - int $time) * 1e6);
}

# Runs statements one by one; when the last one, the commit, began and ended.
sub run_all
{
	my ($session, @statements) = @_;
	my $last = pop @statements;

	$session->sql($_) for @statements;
	my $result = $session->try($last);
	die $result->{error} if defined $result->{error};
	return $result;
}

# The ways: each makes one event due after so many seconds, and tells when that
# was committed.
my $n    = 0;
my @ways = (
	post => sub {
		run_all($poster, "SELECT evsched.post('1', '$_[0] s')");
	},
	post_at => sub {
		run_all($poster, "SELECT evsched.post_at('1', clock_timestamp() + '$_[0] s')");
	},
	post_many => sub {
		run_all($poster, "SELECT evsched.post_many('{1}', '{$_[0] s}')");
	},
	'several posts in a transaction' => sub {
		run_all(
			$poster, 'BEGIN',
			"SELECT evsched.post('1', '2 hours')",
			"SELECT evsched.post('1', '$_[0] s')",
			"SELECT evsched.post('1', '3 hours')", 'COMMIT');
	},
	'several queues in a transaction' => sub {
		run_all(
			$poster, 'BEGIN',
			"SELECT evsched.post('1', '$_[0] s')",
			map({ "SELECT evsched.post('1', '0', 'other$_')" } 1 .. 40), 'COMMIT');
	},
	'a subtransaction' => sub {
		run_all($poster, 'BEGIN', 'SAVEPOINT a', 'SAVEPOINT b',
			"SELECT evsched.post('1', '$_[0] s')",
			'RELEASE b', 'RELEASE a', 'COMMIT');
	},
	'a subtransaction beside one that rolled back' => sub {
		run_all(
			$poster,
			'BEGIN',
			'SAVEPOINT a',
			"SELECT evsched.post('1', '$_[0] s')",
			'RELEASE a',
			'SAVEPOINT b',
			"SELECT evsched.post('1', '0')",
			'ROLLBACK TO b',
			'COMMIT');
	},
	'a block with an exception handler' => sub {
		run_all($poster, <<"SQL");
DO \$\$ BEGIN
	PERFORM evsched.post('1', '$_[0] s');
EXCEPTION WHEN division_by_zero THEN
	NULL;
END \$\$
SQL
	},
	'a procedure that commits' => sub {
		$other->sql('SELECT pg_advisory_lock(1)');
		$poster->send("CALL post_and_wait('$_[0] s')");
		$server->poll_query_until('postgres',
			q(SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)
		);
		return {
			began => time,
			ended => time,
			after => sub {
				$other->sql('SELECT pg_advisory_unlock(1)');
				$poster->reply;
			}
		};
	},
	'a deferred trigger' => sub {
		run_all($poster, "INSERT INTO trigger_table VALUES ('$_[0] s')");
	},
	'COMMIT PREPARED' => sub {
		run_all(
			$poster, 'BEGIN',
			"SELECT evsched.post('1', '$_[0] s')",
			q(PREPARE TRANSACTION 'p'));
		run_all($other, q(COMMIT PREPARED 'p'));
	},
	'COMMIT PREPARED of a plain INSERT' => sub {
		run_all(
			$poster,
			'BEGIN',
			"INSERT INTO evsched.event (payload, due_at) VALUES ('1', clock_timestamp() + '$_[0] s')",
			q(PREPARE TRANSACTION 'p'));
		run_all($other, q(COMMIT PREPARED 'p'));
	},
	'COMMIT PREPARED by a new session' => sub {
		run_all(
			$poster, 'BEGIN',
			"SELECT evsched.post('1', '$_[0] s')",
			q(PREPARE TRANSACTION 'p'));
		run_all(session($server, 'new'), q(COMMIT PREPARED 'p'));
	},
	COPY => sub {
		my $result =
		  $poster->try('COPY evsched.event (queue, due_at, payload) FROM STDIN',
			data => "default\t" . clock($_[0]) . "\t1\n");
		die $result->{error} if $result->{error};
		return $result;
	},
	INSERT => sub {
		run_all($poster, <<"SQL");
INSERT INTO evsched.event (due_at, payload) VALUES (clock_timestamp() + '$_[0] s', '1')
SQL
	},
	'INSERT in a CTE' => sub {
		run_all($poster, <<"SQL");
WITH new AS (INSERT INTO evsched.event (due_at, payload)
			 VALUES (clock_timestamp() + '$_[0] s', '1') RETURNING id)
SELECT * FROM new
SQL
	},
	'INSERT ON CONFLICT' => sub {
		$poster->sql(q(SELECT evsched.post('0', '1 hour', key => 'k')));
		run_all($poster, <<"SQL");
INSERT INTO evsched.event (due_at, payload, key)
VALUES (clock_timestamp() + '$_[0] s', '1', 'k')
ON CONFLICT (queue, key) WHERE key IS NOT NULL DO UPDATE SET due_at = excluded.due_at
SQL
	},
	UPDATE => sub {
		my $id = $poster->sql(q(SELECT evsched.post('1', '1 hour')));
		wait_asleep(scheduler_pid($server));
		run_all($poster, <<"SQL");
UPDATE evsched.event SET due_at = clock_timestamp() + '$_[0] s' WHERE id = $id
SQL
	},
	'UPDATE of the queue' => sub {
		my $id = $poster->sql(q(SELECT evsched.post('1', '0', 'elsewhere')));
		wait_asleep(scheduler_pid($server));
		run_all($poster, <<"SQL");
UPDATE evsched.event
SET queue = 'default', due_at = clock_timestamp() + '$_[0] s' WHERE id = $id
SQL
	},
	MERGE => sub {
		run_all($poster, <<"SQL");
MERGE INTO evsched.event e USING (SELECT -1 AS id) n ON e.id = n.id
WHEN NOT MATCHED THEN INSERT (due_at, payload) VALUES (clock_timestamp() + '$_[0] s', '1')
SQL
	},
	'session_replication_role = replica' => sub {
		run_all($poster, 'BEGIN', 'SET LOCAL session_replication_role = replica',
			<<"SQL", 'COMMIT');
INSERT INTO evsched.event (due_at, payload) VALUES (clock_timestamp() + '$_[0] s', '1')
SQL
	},
	'UPDATE as a replica' => sub {
		my $id = $poster->sql(q(SELECT evsched.post('1', '1 hour')));
		run_all($poster, 'BEGIN', 'SET LOCAL session_replication_role = replica',
			<<"SQL", 'COMMIT');
UPDATE evsched.event SET due_at = clock_timestamp() + '$_[0] s' WHERE id = $id
SQL
	},
	change_delay => sub {
		my $id = $poster->sql(q(SELECT evsched.post('1', '1 hour')));
		run_all($poster, "SELECT evsched.change_delay($id, '$_[0] s')");
	},
	'a post that replaces a key' => sub {
		$poster->sql(q(SELECT evsched.post('0', '1 hour', key => 'r')));
		run_all($poster, "SELECT evsched.post('1', '$_[0] s', key => 'r')");
	},
	'a session that ends' => sub {
		my $short  = session($server, 'short');
		my $result = run_all($short, "SELECT evsched.post('1', '$_[0] s')");
		$short->quit;
		return $result;
	},
	'synchronous_commit = off' => sub {
		run_all(
			$poster, 'BEGIN',
			'SET LOCAL synchronous_commit = off',
			"SELECT evsched.post('1', '$_[0] s')", 'COMMIT');
	},
	'a serializable transaction' => sub {
		run_all(
			$poster,
			'BEGIN ISOLATION LEVEL SERIALIZABLE',
			"SELECT evsched.post('1', '$_[0] s')", 'COMMIT');
	},);
my $scheduler = scheduler_pid($server);

while (my ($way, $make_due) = splice @ways, 0, 2)
{
	for my $delay (0, 0.1)
	{
		wait_asleep($scheduler);
		my $commit = $make_due->($delay);
		my $event  = $ann->event;

		on_time($event, "$way wakes it, due " . ($delay ? 'soon' : 'at once'),
			$commit->{ended});
		$commit->{after}->() if $commit->{after};
	}
}

# By a worker of logical replication. The replication has a delay of its own: an event
# that is due later than that is on time.
for my $delay (0, 0.3)
{
	wait_asleep($scheduler);
	my $commit = run_all($publisher,
			'INSERT INTO evsched.event VALUES (-1 - '
		  . $n++
		  . ", 'default', '"
		  . clock($delay)
		  . "', '1')");
	my $event = $ann->event;

	ok( $event->{late} <= 0.05 || $event->{at} - $commit->{ended} < 0.3,
		'logical replication wakes it, due ' . ($delay ? 'soon' : 'at once')
	) || diag(1000 * $event->{late} . ' ms');
}
run_all($publisher, "INSERT INTO evsched.event VALUES (-10, 'default', 'infinity', '1')");
$server->poll_query_until('postgres',
	'SELECT count(*) = 1 FROM evsched.event WHERE id = -10');
my $changed = run_all($publisher,
	"UPDATE evsched.event SET due_at = '" . clock(0.3) . "' WHERE id = -10");
my $event = $ann->event;
is($event->{id}, -10, 'an update by logical replication wakes it');
cmp_ok($event->{at} - $changed->{ended}, '<', 0.5, 'soon');

# What frees an event wakes it, too.
my $bob = listener($server, 'b', queue => 'back');

sub is_back
{
	my ($name, $result) = @_;
	my $event = $bob->event;

	is($event->{num_retries}, 0, "$name: back, uncounted");
	on_time($event, "$name: at once", $result->{ended});
	$bob->sql("SELECT evsched.confirm($event->{id})");
	return;
}
$poster->sql(
	q(SELECT evsched.post('1', '50 ms', 'back', key => 'moved', max_retries => 1)));
$poster->sql('BEGIN');
$poster->sql(q(SELECT evsched.change_delay('moved', '1 hour', 'back')));
$other->sql(q(SELECT evsched.post('"marker"', '100 ms', 'back')));
is($bob->event->{payload}, 'marker', 'what an open transaction postpones is passed over');
is_back('ROLLBACK of change_delay', run_all($poster, 'ROLLBACK'));

$poster->sql(q(SELECT evsched.post('1', '50 ms', 'back', max_retries => 1)));
$poster->sql('BEGIN');
$poster->sql(q(DELETE FROM evsched.event WHERE queue = 'back'));
$other->sql(q(SELECT evsched.post('"marker"', '100 ms', 'back')));
is($bob->event->{payload}, 'marker', 'what an open transaction deletes is passed over');
is_back('ROLLBACK of a plain DELETE', run_all($poster, 'ROLLBACK'));

$poster->sql(q(SELECT evsched.post('1', '50 ms', 'back', max_retries => 1)));
$poster->sql('BEGIN');
$poster->sql('SAVEPOINT s');
$poster->sql(q(DELETE FROM evsched.event WHERE queue = 'back'));
$other->sql(q(SELECT evsched.post('"marker"', '100 ms', 'back')));
is($bob->event->{payload}, 'marker', 'what a savepoint deletes is passed over');
is_back('ROLLBACK TO', run_all($poster, 'ROLLBACK TO s'));
$poster->sql('COMMIT');

$poster->sql(q(SELECT evsched.post('1', '50 ms', 'back', key => 'p', max_retries => 1)));
$poster->sql('BEGIN');
$poster->sql(q(SELECT evsched.cancel('p', 'back')));
$poster->sql(q(PREPARE TRANSACTION 'p'));
$other->sql(q(SELECT evsched.post('"marker"', '100 ms', 'back')));
is($bob->event->{payload}, 'marker',
	'what a prepared transaction cancels is passed over');
is_back('ROLLBACK PREPARED', run_all($other, q(ROLLBACK PREPARED 'p')));

# A prepared transaction survives a restart, and fires when it is committed.
$poster->sql('BEGIN');
$poster->sql(q(SELECT evsched.post('"prepared"', '0', max_retries => 1)));
$poster->sql(q(PREPARE TRANSACTION 'p'));
$_->quit for $ann, $bob, $poster, $other, $publisher;
$server->restart;
$ann   = listener($server, 'a', max_events => 100);
$other = session($server, 'other');
wait_asleep(new_scheduler($server));
my $result = run_all($other, q(COMMIT PREPARED 'p'));
$event = $ann->event;
is($event->{payload}, 'prepared', 'COMMIT PREPARED after a restart wakes it');
on_time($event, 'at once', $result->{ended});

nothing_early();
done_testing();

# A busy scheduler stands in nobody's way: neither of those who need its database for
# themselves, nor of those who need its tables, nor of a barrier.
use strict;
use warnings;

use Evsched qw(start_server session listener nothing_early scheduler_pid wait_until
  process_state);
use PostgreSQL::Test::Utils;
use Test::More;

my $server = start_server('handover', create => 0);
my $admin  = session($server, 'admin');
my $space  = PostgreSQL::Test::Utils::tempdir();
my ($busy, @posters);
$admin->sql("CREATE DATABASE $_") for qw(one other);
session($server, 'create', dbname => 'one')->sql('CREATE EXTENSION evsched');

# Two who post for ever, and one who confirms each event.
sub start_load
{
	my ($database) = @_;

	$busy = listener(
		$server, 'busy',
		dbname => $database,
		mode   => { confirm => 'each', quiet => 1 });
	@posters = map { session($server, $_, dbname => $database) } qw(p1 p2);
	$_->send(<<'SQL') for @posters;
DO $$ BEGIN LOOP PERFORM evsched.post('1', max_retries => -1); COMMIT; END LOOP; END $$
SQL
	return goes_on();
}

# Waits until that many more events have come.
sub goes_on
{
	my ($name) = @_;
	my $before = $busy->summary->{count};

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_until(sub { $busy->summary->{count} > $before + 100 }, 'events to come');
	return !defined $name || pass($name);
}

sub end_sessions
{
	my ($database) = @_;

	$admin->sql('SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity '
		  . "WHERE datname = '$database' AND backend_type = 'client backend'");
	$_->kill9 for $busy, @posters;
	return;
}

# Leases of nobody, some tens of thousands, run out: the scheduler is busy without a
# session in its database.
sub leave_leases
{
	my ($database) = @_;
	my $session = session($server, 'leases', dbname => $database);

	$session->sql(<<'SQL');
SELECT count(*) FROM evsched.post_many(
	(SELECT array_agg(to_jsonb(g)) FROM generate_series(1, 50000) g), queue => 'pull', max_retries => -1)
SQL
	$session->sql(q(SELECT count(*) FROM evsched.receive('pull', 50000, '300 ms')));
	$session->quit;
	my $pid    = scheduler_pid($server, $database);
	my $before = process_state($pid)->{ticks};
	wait_until(sub { process_state($pid)->{ticks} > $before + 2 }, 'it to be busy');
	return;
}

# It succeeds, before the server gives up after 5 s.
sub quick
{
	my ($statement, $name, $session) = @_;
	my $result = ($session // $admin)->try($statement);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($result->{error}, undef, $name);
	return cmp_ok($result->{ended} - $result->{began}, '<', 4, 'it does not wait');
}

# Who needs the database for himself.
start_load('one');
end_sessions('one');
leave_leases('one');
quick('ALTER DATABASE one RENAME TO uno', 'RENAME');
start_load('uno');
end_sessions('uno');
leave_leases('uno');
$admin->sql("CREATE TABLESPACE space LOCATION '$space'");
quick('ALTER DATABASE uno SET TABLESPACE space', 'SET TABLESPACE');
start_load('uno');
end_sessions('uno');
leave_leases('uno');
quick('CREATE DATABASE copy TEMPLATE uno', 'CREATE DATABASE ... TEMPLATE');
start_load('copy');
end_sessions('copy');
leave_leases('copy');
quick('DROP DATABASE copy', 'DROP DATABASE');
is(scheduler_pid($server, 'copy'), 0, 'its scheduler is gone');
$admin->sql('CREATE DATABASE copy TEMPLATE uno');
start_load('copy');
quick('DROP DATABASE copy WITH (FORCE)', 'DROP DATABASE ... FORCE under load');
is(scheduler_pid($server, 'copy'), 0, 'its scheduler is gone');

# What does not come off.
start_load('uno');
is($admin->try('CREATE DATABASE other TEMPLATE uno')->{sqlstate},
	'42P04', 'CREATE DATABASE ... TEMPLATE fails');
goes_on('it goes on');
is($admin->try('ALTER DATABASE uno RENAME TO one')->{sqlstate},
	'55006', 'RENAME fails while there are sessions');
goes_on('it goes on');
end_sessions('uno');
leave_leases('uno');
$admin->sql('BEGIN');
quick('ALTER DATABASE uno RENAME TO one', 'RENAME in a transaction');
is(scheduler_pid($server, 'uno'), 0, 'it stays away');
$admin->sql('ROLLBACK');
start_load('uno');
pass('rolled back: it goes on');

# Who needs its tables.
my $ddl = session($server, 'ddl', dbname => 'uno');
for my $statement (
	'ALTER TABLE evsched.event ALTER payload SET STORAGE external',
	'ALTER EXTENSION evsched UPDATE',
	'ALTER TABLE evsched.event ALTER payload SET STORAGE extended')
{
	quick($statement, $statement, $ddl);
	goes_on('it goes on');
}
for my $round (1 .. 5)
{
	quick('DROP EXTENSION evsched', "DROP EXTENSION under load, time $round", $ddl);
	$_->kill9 for $busy, @posters;
	$ddl->sql('CREATE EXTENSION evsched');
	start_load('uno');
}

# A session locks the table, and the scheduler has a turn.
sub let_wait
{
	$ddl->join(queue => 'ddl');
	$ddl->sql('BEGIN');
	$ddl->sql('LOCK TABLE evsched.event');
	$ddl->sql(q(SELECT evsched.set_max_events(1, 'ddl')));
	wait_until(
		sub {
			$admin->sql(
				q(SELECT count(*) FROM pg_stat_activity
				  WHERE backend_type = 'evsched scheduler' AND wait_event_type = 'Lock')) == 1;
		},
		'it to wait for a lock');
	return;
}

# Barriers: it is in a turn, waits for a lock, or sleeps.
sub barriers
{
	my ($name) = @_;

	$admin->sql("CREATE TABLESPACE barrier LOCATION '$space/barrier'");
	$admin->sql('CREATE TABLE file (i int) TABLESPACE barrier');
	$admin->sql('INSERT INTO file VALUES (1)');
	$admin->sql('DROP TABLE file');
	quick('DROP TABLESPACE barrier', "DROP TABLESPACE while it $name");
	$admin->sql('CREATE DATABASE barrier ALLOW_CONNECTIONS false');
	quick('DROP DATABASE barrier', "DROP DATABASE elsewhere while it $name");
	return;
}
mkdir "$space/barrier";
barriers('is busy');
let_wait();
barriers('waits for a lock');
$ddl->sql('COMMIT');
goes_on('it goes on');
end_sessions('uno');
wait_until(
	sub {
		my $before = process_state(scheduler_pid($server, 'uno'))->{switches};

		select(undef, undef, undef, 0.1);
		return process_state(scheduler_pid($server, 'uno'))->{switches} == $before;
	},
	'it to sleep');
barriers('sleeps');

# All that was no error of the scheduler's, and nobody waited in a circle.
my $log = slurp_file($server->logfile);
unlike(
	$log,
	qr/evsched (scheduler|launcher)\[.*(ERROR|FATAL)/,
	'nothing of it is an error of the processes');
unlike($log, qr/deadlock detected/, 'nor a deadlock');

# In the middle of something it is not asked twice.
start_load('uno');
$ddl = session($server, 'ddl', dbname => 'uno');
let_wait();
quick('DROP DATABASE uno WITH (FORCE)', 'DROP DATABASE ... FORCE while it waits');

nothing_early();
done_testing();

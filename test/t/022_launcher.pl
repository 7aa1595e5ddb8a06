# The launcher: finds what is there, follows what comes and goes in whatever way, keeps at
# a scheduler that fails, and waits for a worker slot.
use strict;
use warnings;

use Evsched qw(start_server session nothing_early scheduler_pid wait_asleep wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $server = start_server(
	'launcher',
	create => 0,
	conf   => "evsched.max_listeners = 16\nevsched.max_leases = 1000\n");
my $admin = session($server, 'admin');
$admin->sql("CREATE DATABASE $_") for qw(one two);
my $one = session($server, 'one', dbname => 'one');
my $two = session($server, 'two', dbname => 'two');

sub served
{
	return $admin->sql(
		q(SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '')
		  FROM pg_stat_activity WHERE backend_type = 'evsched scheduler'));
}

sub launcher
{
	return $admin->sql(
		q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'evsched launcher'));
}

# These and no others have a scheduler, and it stays like that.
sub is_served
{
	my ($databases, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_until(sub { served() eq $databases }, "schedulers of '$databases'");
	wait_asleep(launcher(), 0.05);
	return is(served(), $databases, $name);
}

# An event of this database's default queue comes.
sub works
{
	my ($session, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$session->join;
	$session->sql(q(SELECT evsched.post('"works"')));
	return is($session->event->{payload}, 'works', $name);
}

# Ways to drop it, none of which names it.
$admin->sql('CREATE ROLE owner SUPERUSER');
$one->sql('SET ROLE owner');
for my $drop (
	'DROP EXTENSION evsched',
	'DROP SCHEMA evsched CASCADE',
	'DROP OWNED BY owner CASCADE')
{
	$one->sql('CREATE EXTENSION evsched');
	is_served('one', "CREATE EXTENSION ($drop is next)");
	works($one, 'it is served');
	my $pid = scheduler_pid($server, 'one');
	$one->sql('BEGIN');
	$one->sql($drop);
	$one->sql('ROLLBACK');
	$one->sql('BEGIN');
	$one->sql('SAVEPOINT s');
	$one->sql($drop);
	$one->sql('ROLLBACK TO s');
	$one->sql('COMMIT');
	works($one, "$drop rolled back, and to a savepoint: it is served");
	is(scheduler_pid($server, 'one'), $pid, 'by the same scheduler');
	$one->sql($drop);
	is_served('', "$drop: its scheduler goes");
}
$one->sql('BEGIN');
$one->sql('SAVEPOINT s');
$one->sql('CREATE EXTENSION evsched');
$one->sql('ROLLBACK TO s');
$one->sql('COMMIT');
is_served('', 'CREATE EXTENSION rolled back to a savepoint: there is none');

# In a prepared transaction they are seen when it is finished.
sub prepared
{
	my ($statement) = @_;

	$one->sql('BEGIN');
	$one->sql($statement);
	$one->sql(q(PREPARE TRANSACTION 'p'));
	return;
}
prepared('CREATE EXTENSION evsched');
$one->sql(q(ROLLBACK PREPARED 'p'));
is_served('', 'CREATE EXTENSION prepared and rolled back: there is none');
prepared('CREATE EXTENSION evsched');
is_served('', 'prepared: there is none yet');
$one->sql(q(COMMIT PREPARED 'p'));
is_served('one', 'committed: there is one');
works($one, 'it works');
prepared('DROP EXTENSION evsched');
$one->sql(q(ROLLBACK PREPARED 'p'));
works($one, 'DROP EXTENSION prepared and rolled back: it works');
$one->sql('SELECT * FROM evsched.receive()');
prepared('DROP EXTENSION evsched');
is_served('one', 'prepared: it is still there');
$one->sql(q(COMMIT PREPARED 'p'));
is_served('', 'committed: it goes');
$one->sql('CREATE EXTENSION evsched');
$one->sql('BEGIN');
$one->sql('DROP EXTENSION evsched');
$one->sql('CREATE EXTENSION evsched');
$one->sql(q(PREPARE TRANSACTION 'p'));
$one->sql(q(COMMIT PREPARED 'p'));
works($one, 'another one in place of the old: it is served');
$one->sql('DROP EXTENSION evsched');
is_served('', 'a clean slate');

# What it had in shared memory is given back when the drop commits.
my @crowd = map { session($server, "crowd$_", dbname => 'one') } 1 .. 16;
$two->sql('CREATE EXTENSION evsched');
is_served('two', 'another database is served');
$one->sql('CREATE EXTENSION evsched');
$_->join for @crowd;
is($two->try('SELECT evsched.join()')->{sqlstate}, '53400', 'all listeners are in use');
for my $session ($one, $two)
{
	$session->sql(<<'SQL');
SELECT count(*) FROM evsched.post_many(
	(SELECT array_agg(to_jsonb(g)) FROM generate_series(1, 1000) g), queue => 'pull', max_retries => 5)
SQL
}
my $receive = q(SELECT count(*) FROM evsched.receive('pull', 1000, '10 min'));
is($one->sql($receive), 1000, 'and all leases');
is($two->sql($receive), 0,    'the others get none');
$one->sql('DROP EXTENSION evsched');
wait_until(sub { $two->sql($receive) == 1000 }, 'the leases');
pass('DROP EXTENSION gives back the leases');
wait_until(sub { !defined $two->try('SELECT evsched.join()')->{error} },
	'a listener\'s slot');
pass('and the listeners');
$_->quit for @crowd;

# A database that is a template has none; a copy has, and so has a plain one again.
is_served('two', 'only the other one is served');
$one->sql('CREATE EXTENSION evsched');
is_served('one two', 'both');
$one->quit;
$admin->sql('ALTER DATABASE one IS_TEMPLATE true');
is_served('two', 'a database becomes a template: its scheduler goes');
$admin->sql('CREATE ROLE maker CREATEDB');
$admin->sql('SET ROLE maker');
my $made = $admin->try('CREATE DATABASE copy TEMPLATE one');
$admin->sql('RESET ROLE');
is($made->{error}, undef, 'any role that may makes a copy');
is_served('copy two', 'which is served');
$admin->sql('DROP DATABASE copy');
$admin->sql('ALTER DATABASE one IS_TEMPLATE false');
is_served('one two', 'a plain one again: it is served');

# A scheduler that fails is started again, later and later; when what it needs is there
# again it goes on, and a change of extensions makes the launcher look at once.
$one = session($server, 'one', dbname => 'one');
$one->join;
my $log = -s $server->logfile;
$one->sql('ALTER INDEX evsched.event_due RENAME TO event_late');
$one->sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE backend_type = 'evsched scheduler' AND datname = 'one'));

# When it failed, in seconds of the day.
sub failures
{
	my $text = substr(slurp_file($server->logfile), $log);

	return map { /(\d\d):(\d\d):(\d\d\.\d+)/ ? 3600 * $1 + 60 * $2 + $3 : () }
	  grep { /ERROR:.*extension evsched is missing/ } split /\n/, $text;
}
wait_until(sub { failures() >= 5 }, 'the scheduler to fail five times');
my @at   = failures();
my @gaps = map { $at[ $_ + 1 ] - $at[$_] + 86400 * ($at[ $_ + 1 ] < $at[$_]) } 0 .. 3;
note("pauses: @gaps");
ok(!(grep { $gaps[$_] < 0.1 * 2**($_ - 1) } 1 .. 3),
	'a scheduler that fails is started again after growing pauses');
$two->sql(q(SELECT evsched.post('"others"')));
is($two->event->{payload}, 'others', 'others go on');
$one->sql('ALTER INDEX evsched.event_late RENAME TO event_due');
$one->sql(q(SELECT evsched.post('"mended"')));
# Who drops an extension has the launcher look again; one function of ours needs this one.
$one->sql('ALTER EXTENSION evsched DROP FUNCTION evsched.import_pg_cron(boolean)');
$one->sql('DROP FUNCTION evsched.import_pg_cron(boolean)');
$one->sql('DROP EXTENSION plpgsql');
is($one->event->{payload}, 'mended', 'mended: it goes on');
$_->quit for $one, $two;

# Not enough worker slots: said once; whoever has none gets the first that is free. One
# is the launcher's, one that of logical replication.
$server->append_conf('postgresql.conf', 'max_worker_processes = 3');
$admin->sql("CREATE DATABASE $_ TEMPLATE one") for qw(three four);
$admin->quit;
$log = -s $server->logfile;
$server->restart;
$admin = session($server, 'admin');
my %before;

sub complaints
{
	my $text = substr(slurp_file($server->logfile), $log);

	return scalar(() = $text =~ /evsched has no worker slot/g);
}
for (1 .. 3)
{
	my $database;

	wait_until(
		sub {
			($database) = split ' ', served();
			return defined $database && !$before{$database};
		},
		'a scheduler in the only slot');
	$before{$database} = 1;
	my $session = session($server, 'slot', dbname => $database);
	works($session, 'a worker slot is free: the next database is served');
	wait_until(sub { complaints() > 0 }, 'a complaint');
	is(complaints(), 1, 'that slots are short is said once');
	$session->sql('DROP EXTENSION evsched');
	$session->quit;
}

nothing_early();
done_testing();

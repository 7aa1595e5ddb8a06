# Evsched.pm: servers with evsched, for the TAP tests.
#
# What every test does before its own story begins. Tests wait on what can be
# observed (poll_query_until, wait_for_log, an event), never on time passing.
package Evsched;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use Evsched::Session;

our @EXPORT_OK = qw(start_server session listener on_time near nothing_early
  scheduler_pid new_scheduler wait_asleep wait_until process_state blocked_in);

# What a test dies of is told beside its results, not in its log only.
$SIG{__DIE__} = sub { diag(@_) if defined $^S && !$^S; };

# An event is with its listener this soon after it is due (seconds), on a machine that has
# not more to do than it has processors; else it is given more time.
use constant PROMPT => 0.1;
my $processors = () = PostgreSQL::Test::Utils::slurp_file('/proc/cpuinfo') =~ /^processor/mg;

# A running server with evsched preloaded and created in database postgres.
# Options: conf (lines of postgresql.conf), create (0: no extension yet), and those of
# Cluster's init().
sub start_server
{
	my ($name, %options) = @_;
	my $conf   = delete $options{conf}   // '';
	my $create = delete $options{create} // 1;
	my $server = PostgreSQL::Test::Cluster->new($name);

	$server->init(%options);
	$server->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'evsched'
log_statement = none
restart_after_crash = on
max_prepared_transactions = 10
max_connections = 100
log_line_prefix = '%m %b[%p] %q%a '
$conf
CONF
	$server->start;
	$server->safe_psql('postgres', 'CREATE EXTENSION evsched') if $create;
	return $server;
}

# A session of that name; options are those of Evsched::Session.
sub session
{
	my ($server, $name, %options) = @_;

	return Evsched::Session->new($server, name => $name, %options);
}

# A session that has joined; options are the parameters of evsched.join, dbname, and mode
# (how the session deals with what it gets, from the start on).
sub listener
{
	my ($server, $name, %options) = @_;
	my $mode = delete $options{mode};
	my $session =
	  session($server, $name, dbname => delete $options{dbname} // 'postgres');

	$session->mode(%$mode) if $mode;
	$session->join(%options);
	return $session;
}

# The event was not early, and came promptly after it was due: or, given a time, after
# that, if it is later.
sub on_time
{
	my ($event, $name, $since) = @_;
	my $late;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$since = $event->{due} if !defined $since || $since < $event->{due};
	$late  = $event->{at} - $since;
	return ok($event->{late} >= 0 && $late <= prompt(), $name)
	  || diag(sprintf('%.1f ms', 1000 * $late));
}

# Two times are the same, within what is prompt.
sub near
{
	my ($got, $expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(abs($got - $expected) <= prompt(), $name)
	  || diag(sprintf('%.1f ms apart', 1000 * ($got - $expected)));
}

sub prompt
{
	my ($load) = split ' ', PostgreSQL::Test::Utils::slurp_file('/proc/loadavg');
	my $crowding = $load / ($processors || 1);

	return PROMPT * ($crowding > 1 ? $crowding : 1);
}

# The last test of a file: in no session an event has come before it was due.
sub nothing_early
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is_deeply(\@Evsched::Session::early, [], 'nothing has come early');
}

# The scheduler of a database, 0 while there is none.
sub scheduler_pid
{
	my ($server, $database) = @_;

	$database //= 'postgres';
	return $server->safe_psql('postgres',
			'SELECT coalesce(max(pid), 0) FROM pg_stat_activity '
		  . "WHERE backend_type = 'evsched scheduler' AND datname = '$database'");
}

# Waits for a scheduler other than that one; its pid.
sub new_scheduler
{
	my ($server, $old, $database) = @_;
	my $pid;

	wait_until(
		sub {
			$pid = scheduler_pid($server, $database);
			return $pid != 0 && $pid != ($old // 0);
		},
		'a new scheduler');
	return $pid;
}

# Asks again and again, for as long as a test is patient; dies when it is in vain.
sub wait_until
{
	my ($condition, $what) = @_;
	my $deadline = time + $Evsched::Session::patience;

	until ($condition->())
	{
		die "waited in vain for $what" if time > $deadline;
		usleep(2_000);
	}
	return;
}

# How often a process was switched to, and the clock ticks it used.
sub process_state
{
	my ($pid) = @_;
	my ($status, $stat) =
	  map { PostgreSQL::Test::Utils::slurp_file("/proc/$pid/$_") } qw(status stat);
	my ($switches) = $status =~ /^voluntary_ctxt_switches:\s*(\d+)/m;
	my @fields     = split ' ', $stat =~ s/^.*\)//r;

	return { switches => $switches, ticks => $fields[11] + $fields[12] };
}

# Waits until a process sleeps, and has slept for a while.
sub wait_asleep
{
	my ($pid, $seconds) = @_;
	my $since = time;
	my $last  = -1;

	wait_until(
		sub {
			my $switches = process_state($pid)->{switches};

			$since = time if $switches != $last;
			$last  = $switches;
			return time - $since >= ($seconds // 0.01);
		},
		"process $pid to sleep");
	return;
}

# Waits until a session's backend waits for that (ClientWrite, advisory, ...).
sub blocked_in
{
	my ($server, $session, $event) = @_;

	return $server->poll_query_until('postgres',
			'SELECT count(*) = 1 FROM pg_stat_activity '
		  . "WHERE pid = ${\$session->pid} AND wait_event = '$event'");
}

1;

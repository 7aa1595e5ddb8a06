# Job.pm: a server whose jobs are watched: what they have left in a table, what their runs
# have become, which workers there are; and gates, at which a job waits until it is let
# through.
#
#   my $jobs = Evsched::Job->new('job', roles => ['ann']);
#   my $id = $jobs->enqueue(trace('done'));
#   $jobs->has_runs($id, 'succeeded', 'it has run');
package Evsched::Job;

use strict;
use warnings;

use Carp;
use Evsched qw(start_server session wait_until);
use Exporter 'import';
use JSON::PP;
use Test::More;

our @EXPORT_OK = qw(call quote trace gate_command);

my $json = JSON::PP->new->utf8->allow_nonref;

# Options: conf, init (options of Cluster's init()), and roles (that may log in and post).
sub new
{
	my ($class, $name, %options) = @_;
	my $server = start_server(
		$name,
		conf => "max_worker_processes = 24\n" . ($options{conf} // ''),
		%{ $options{init} // {} });
	my $self = bless { server => $server, sessions => {} }, $class;

	$self->prepare('postgres');
	for my $role (@{ $options{roles} // [] })
	{
		$self->sql("CREATE ROLE $role LOGIN");
		$self->sql("SELECT evsched.grant_usage('$role')");
	}
	return $self;
}

sub server { return $_[0]{server}; }

# The table in which jobs leave a trace.
sub prepare
{
	my ($self, $database) = @_;

	$self->{server}->safe_psql($database, <<'SQL');
CREATE TABLE trace (
	n serial,
	what text,
	who text DEFAULT current_user,
	pid int DEFAULT pg_backend_pid(),
	at timestamptz DEFAULT clock_timestamp(),
	ended_at timestamptz
);
GRANT ALL ON trace TO PUBLIC;
GRANT ALL ON trace_n_seq TO PUBLIC;
SQL
	return;
}

# A session that is kept: of a role, under a name.
sub session_of
{
	my ($self, $role, $name) = @_;

	$name //= $role;
	delete $self->{sessions}{$name}
	  if $self->{sessions}{$name} && defined $self->{sessions}{$name}->lost;
	return $self->{sessions}{$name} //=
	  session($self->{server}, $name, conninfo => $role eq 'admin' ? '' : "user=$role");
}

sub admin { return $_[0]->session_of('admin'); }

# Ends the sessions; needed when the server has gone down.
sub reconnect
{
	my ($self) = @_;

	$_->kill9 for grep { defined } values %{ $self->{sessions} };
	$self->{sessions} = {};
	return;
}

sub sql  { my ($self, @words) = @_; return $self->admin->sql(@words); }
sub rows { my ($self, @words) = @_; return $self->admin->rows(@words); }
sub try  { my ($self, @words) = @_; return $self->admin->try(@words); }

# A text as SQL; undef is NULL.
sub quote
{
	my ($text) = @_;

	return 'NULL' unless defined $text;
	return "E'" . $text =~ s/([\\'])/\\$1/gr . "'";
}

# SQL that calls a function of evsched with named arguments.
sub call
{
	my ($function, %arguments) = @_;

	return
	  "SELECT evsched.$function("
	  . join(', ', map { "$_ => " . quote($arguments{$_}) } sort keys %arguments) . ')';
}

# A command that leaves a trace; may be followed by others.
sub trace
{
	my ($what) = @_;

	return 'INSERT INTO trace (what) VALUES (' . quote($what) . ')';
}

# A command that waits for a gate.
sub gate_command
{
	my ($gate) = @_;

	return "SELECT pg_advisory_xact_lock_shared($gate)";
}

# As wait_until; says what there is when it was in vain.
sub await
{
	my ($self, $condition, $what) = @_;

	eval { wait_until($condition, $what); 1 } or die $@ . $self->picture;
	return;
}

# Posts a job; its id. Option: session.
sub enqueue
{
	my ($self, $command, %options) = @_;
	my $session = delete $options{session} // $self->admin;

	return $session->sql(call('enqueue', command => $command, %options));
}

sub after
{
	my ($self, $delay, $command, %options) = @_;
	my $session = delete $options{session} // $self->admin;

	return $session->sql(call('after', delay => $delay, command => $command, %options));
}

# Closes a gate, that is, until the next crash.
sub close_gate
{
	my ($self, $gate) = @_;

	return $self->session_of('admin', 'gate')->sql("SELECT pg_advisory_lock($gate)");
}

sub open_gate
{
	my ($self, $gate) = @_;

	return $self->session_of('admin', 'gate')->sql("SELECT pg_advisory_unlock($gate)");
}

# Waits until so many jobs wait at a gate; their pids.
sub wait_at_gate
{
	my ($self, $gate, $n) = @_;
	my @pids;

	$self->await(
		sub {
			@pids = $self->at_gate($gate);
			return @pids >= ($n // 1);
		},
		($n // 1) . " jobs to wait at gate $gate");
	return wantarray ? @pids : $pids[0];
}

sub at_gate
{
	my ($self, $gate) = @_;

	return map { $_->[0] } $self->rows(<<"SQL");
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = $gate AND NOT granted
SQL
}

# The pids of the workers, idle or not; of those of a role.
sub workers
{
	my ($self, $role) = @_;

	return
	  map { $_->[0] }
	  $self->rows(
		q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'evsched worker')
		  . ($role ? " AND usename = '$role'" : ''));
}

# Waits until the query has that for its first value, and says whether it came to that.
sub becomes
{
	my ($self, $sql, $expected, $name) = @_;
	my $got;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	eval {
		wait_until(
			sub {
				$got = $self->sql($sql) // 'null';
				return $got eq $expected;
			},
			$name);
	};
	return is($got, $expected, $name) || diag($@ // '', $self->picture);
}

# Waits until an event is there no more, and says whether it came to that.
sub gone
{
	my ($self, $id, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $self->becomes("SELECT count(*) FROM evsched.event WHERE id = $id",
		0, $name // 'the event is gone');
}

# Waits for that, silently.
sub wait_gone
{
	my ($self, @ids) = @_;
	my $ids = join(', ', @ids);

	$self->await(
		sub { $self->sql("SELECT count(*) FROM evsched.event WHERE id IN ($ids)") == 0 },
		"events $ids to be gone");
	return;
}

# What has become of the runs of an event, oldest first.
sub states
{
	my ($self, $id) = @_;

	return $self->sql(<<"SQL");
SELECT coalesce(string_agg(state, ' ' ORDER BY started_at, run_id), '') FROM evsched.run
WHERE event_id = $id
SQL
}

# Waits until the runs of an event are that, and says whether it came to that.
sub has_runs
{
	my ($self, $id, $states, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $self->becomes(<<"SQL", $states, $name);
SELECT coalesce(string_agg(state, ' ' ORDER BY started_at, run_id), '') FROM evsched.run
WHERE event_id = $id
SQL
}

# The runs of an event, oldest first, as hashes; began and ended in seconds.
sub runs
{
	my ($self, $id) = @_;

	return map { $json->decode($_->[0]) } $self->rows(<<"SQL");
SELECT row_to_json(r) FROM (
	SELECT *, extract(epoch FROM started_at) AS began, extract(epoch FROM ended_at) AS ended
	FROM evsched.run WHERE event_id = $id ORDER BY started_at, run_id) r
SQL
}

# The last of them.
sub last_run
{
	my ($self, $id) = @_;

	return ($self->runs($id))[-1] // {};
}

# The dead event of that id, as a hash; empty while there is none.
sub dead
{
	my ($self, $id) = @_;
	my ($row) =
	  $self->rows("SELECT row_to_json(d) FROM evsched.dead_event d WHERE id = $id");

	return $row ? $json->decode($row->[0]) : {};
}

# What jobs have left, in the order in which they did.
sub traces
{
	my ($self) = @_;

	return $self->sql(
		q(SELECT coalesce(string_agg(what, ' ' ORDER BY n), '') FROM trace));
}

# Waits for so many traces; [what, at in seconds, pid, who] of each.
sub wait_traces
{
	my ($self, $n) = @_;

	$self->await(sub { $self->sql('SELECT count(*) FROM trace') >= $n }, "$n traces");
	return $self->rows(
		'SELECT what, extract(epoch FROM at), pid, who FROM trace ORDER BY n');
}

# How many of the traces, from their beginning to their end, were there at a time.
sub overlap
{
	my ($self, $where) = @_;

	return $self->sql(<<"SQL");
SELECT coalesce(max(n), 0) FROM (
	SELECT (SELECT count(*) FROM trace b
			WHERE b.at <= a.at AND coalesce(b.ended_at, 'infinity') > a.at
			  AND (${\($where // 'true')})) AS n
	FROM trace a) s
SQL
}

# A command that leaves its beginning and its end.
sub span
{
	my ($self, $what, $seconds) = @_;

	return <<"SQL";
DO \$do\$
DECLARE
	since timestamptz := clock_timestamp();
BEGIN
	PERFORM pg_sleep($seconds);
	INSERT INTO trace (what, at, ended_at) VALUES ('$what', since, clock_timestamp());
END \$do\$
SQL
}

# For one who wonders why something does not come.
sub picture
{
	my ($self) = @_;
	my @lines;

	push @lines, "event @$_" for $self->rows(<<'SQL');
SELECT id, queue, state, due_at, num_retries, coalesce(left(command, 40), ''),
	   coalesce(last_error, '') FROM evsched.events ORDER BY id LIMIT 5
SQL
	push @lines, "run @$_" for $self->rows(<<'SQL');
SELECT run_id, event_id, state, coalesce(sqlstate, ''), coalesce(message, ''), left(command, 40)
FROM evsched.run ORDER BY started_at DESC LIMIT 5
SQL
	return join("\n", '', @lines, 'workers ' . join(' ', $self->workers));
}

# One part of a test, which leaves nothing to the next, whatever becomes of it.
sub story
{
	my ($self, $name, $part) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	note($name);
	eval { $part->(); 1 } or fail("$name: $@");
	return $self->tidy;
}

sub tidy
{
	my ($self) = @_;

	wait_until(
		sub {
			return 1 if eval { $self->sql('SELECT 1'); 1 };
			$self->reconnect;
			return 0;
		},
		'the server');
	(delete $self->{sessions}{gate})->kill9 if $self->{sessions}{gate};
	$self->reset_settings;
	$self->sql('SELECT evsched.start()');
	wait_until(
		sub {
			$self->sql(
				q(SELECT count(evsched.stop_run(run_id)) FROM evsched.run
						 WHERE state = 'running'));
			$self->sql('DELETE FROM evsched.event');
			return $self->sql(
				q(SELECT (SELECT count(*) FROM evsched.event) +
				(SELECT count(*) FROM evsched.run WHERE state = 'running'))) == 0;
		},
		'the jobs to end');
	$self->sql($_)
	  for 'DELETE FROM evsched.dead', 'DELETE FROM evsched.error_handler',
	  'TRUNCATE trace RESTART IDENTITY';
	return;
}

# Changes settings, and waits until they are seen.
sub set
{
	my ($self, %settings) = @_;

	for my $name (sort keys %settings)
	{
		$self->{settings}{$name} //= $self->sql("SHOW $name");
		$self->sql("ALTER SYSTEM SET $name = " . quote($settings{$name}));
	}
	$self->sql('SELECT pg_reload_conf()');
	return $self->wait_settings(%settings);
}

# As they were.
sub reset_settings
{
	my ($self) = @_;
	my $settings = delete $self->{settings} or return;

	$self->sql('ALTER SYSTEM RESET ALL');
	$self->sql('SELECT pg_reload_conf()');
	return $self->wait_settings(%$settings);
}

sub wait_settings
{
	my ($self, %settings) = @_;

	for my $name (sort keys %settings)
	{
		wait_until(sub { $self->sql("SHOW $name") eq $settings{$name} }, $name);
	}
	return;
}

# A library whose functions end their process: die_now() aborts. Its path.
sub deadly_library
{
	my $config  = $ENV{EVSCHED_PG_CONFIG} // $ENV{PG_CONFIG} // 'pg_config';
	my $folder  = PostgreSQL::Test::Utils::tempdir();
	my $include = `$config --includedir-server`;

	chomp $include;
	PostgreSQL::Test::Utils::append_to_file("$folder/deadly.c", <<'C');
#include "postgres.h"
#include "fmgr.h"
PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(die_now);
Datum
die_now(PG_FUNCTION_ARGS)
{
	abort();
}
C
	system("cc -shared -fPIC -I'$include' -o '$folder/deadly.so' '$folder/deadly.c'") == 0
	  or croak('the library is not built');
	chmod 0755, $folder;
	return "$folder/deadly.so";
}

1;

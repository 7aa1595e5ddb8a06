# Session.pm: one session with a database, in a process of its own, so that a test can
# have many at a time, see notifications with the time at which they came, let a client
# stop reading, and kill it. session_process.py is that process.
#
#   my $a = Evsched::Session->new($server, name => 'a');
#   $a->join(max_events => 1);                     # SELECT evsched.join('a', ...)
#   my $event = $a->event;                         # the next one, within the deadline
#   is($a->sql('SELECT 1'), 1);
package Evsched::Session;

use strict;
use warnings;

use Carp;
use Cwd            qw(abs_path);
use File::Basename qw(dirname);
use IO::Select;
use IPC::Open2;
use JSON::PP;
use POSIX       qw(WNOHANG);
use Time::HiRes qw(time);

my $program = dirname(abs_path(__FILE__)) . '/../session_process.py';
my $json    = JSON::PP->new->utf8->allow_nonref->canonical;

# Nothing that a test waits for takes that long, not even under a sanitizer.
our $patience = 30;

# Events that have come before they were due, in any session of the test.
our @early;

# Options: dbname, name (application_name, and the default node), host, and conninfo
# (further words of it).
sub new
{
	my ($class, $server, %options) = @_;
	my $name     = $options{name} // 'session';
	my $conninfo = sprintf(
		"host=%s port=%d dbname=%s application_name=%s connect_timeout=%d %s",
		$options{host} // $server->host,
		$server->port, $options{dbname} // 'postgres',
		$name, $patience, $options{conninfo} // '');
	my $self = bless {
		name      => $name,
		buffer    => '',
		events    => [],
		replies   => [],
		tellings  => [],
		confirmed => [],
		lost      => undef, }, $class;

	$self->{process} =
	  open2($self->{out}, $self->{in}, '/usr/bin/python3', $program, $conninfo);
	$self->{select} = IO::Select->new($self->{out});
	$self->{pid}    = $self->reply->{pid};
	return $self;
}

sub name { return $_[0]{name}; }

# Of the server's process, and of the client's.
sub pid     { return $_[0]{pid}; }
sub process { return $_[0]{process}; }

# Runs SQL; returns the first value of the result. Dies when it fails.
sub sql
{
	my ($self, $sql, %options) = @_;
	my $result = $self->try($sql, %options);

	croak("$self->{name}: $sql: $result->{error}") if defined $result->{error};
	return
	  defined $result->{rows} && @{ $result->{rows} } ? $result->{rows}[0][0] : undef;
}

# Runs SQL; returns all rows, as arrays of text.
sub rows
{
	my ($self, $sql) = @_;
	my $result = $self->try($sql);

	croak("$self->{name}: $sql: $result->{error}") if defined $result->{error};
	return @{ $result->{rows} // [] };
}

# Runs SQL; returns {rows, error, sqlstate, notices, began, ended}.
sub try
{
	my ($self, $sql, %options) = @_;

	$self->send($sql, %options);
	return $self->reply;
}

# Runs SQL without waiting for its end: reply() does. Option: data (for COPY).
sub send
{
	my ($self, $sql, %options) = @_;

	return $self->command(do => 'sql', sql => $sql, %options);
}

sub command
{
	my ($self, %command) = @_;

	local $SIG{PIPE} = 'IGNORE';
	syswrite($self->{in}, $json->encode(\%command) . "\n");
	return;
}

sub reply
{
	my ($self) = @_;

	$self->pump(sub { @{ $self->{replies} } }, 'a reply');
	return shift @{ $self->{replies} };
}

# Joins under its own name; options are the parameters of evsched.join.
sub join
{
	my ($self, %options) = @_;

	return $self->sql($self->join_call(%options));
}

sub join_call
{
	my ($self, %options) = @_;

	$options{node} //= $self->{name};
	return 'SELECT evsched.join('
	  . CORE::join(', ',
		map { "$_ => '" . $options{$_} =~ s/'/''/gr . "'" } sort keys %options)
	  . ')';
}

# How it goes on: reading => 0 (the client reads no more), confirm => 'each' or 'batch'
# (by itself what it gets), quiet => 1 (events are only counted: summary()).
sub mode
{
	my ($self, %mode) = @_;

	$_ = $_ eq '0' ? JSON::PP::false : $_ for values %mode;
	$self->command(do => 'mode', %mode);
	return $self->reply;
}

# {count, distinct, disorder, early, latest} of all events so far; with_ids => 1: and ids.
sub summary
{
	my ($self, %options) = @_;

	$self->command(do => 'summary', %options);
	return $self->reply;
}

# The next event: its members, with raw (the notification), at (when it came), due and
# late (in seconds), batch (how many came together). Dies when none comes.
sub event
{
	my ($self) = @_;

	$self->pump(sub { @{ $self->{events} } }, 'an event');
	return shift @{ $self->{events} };
}

# The next n events.
sub events
{
	my ($self, $n) = @_;

	return map { $self->event } 1 .. $n;
}

# The event that comes within so many seconds, or undef.
sub event_within
{
	my ($self, $seconds) = @_;

	$self->pump_until(time + $seconds, sub { @{ $self->{events} } });
	return shift @{ $self->{events} };
}

# All events that have come and were not asked for yet.
sub events_so_far
{
	my ($self) = @_;

	$self->sql('SELECT 1') unless $self->lost;
	return splice @{ $self->{events} };
}

# The next time at which it was told that something is due.
sub telling
{
	my ($self) = @_;

	$self->pump(sub { @{ $self->{tellings} } }, 'a telling');
	return shift @{ $self->{tellings} };
}

sub tellings_so_far
{
	my ($self) = @_;

	$self->sql('SELECT 1') unless $self->lost;
	return splice @{ $self->{tellings} };
}

# What it has confirmed by itself: {confirmed, done, at}.
sub confirmation
{
	my ($self) = @_;

	$self->pump(sub { @{ $self->{confirmed} } }, 'a confirmation');
	return shift @{ $self->{confirmed} };
}

sub confirm
{
	my ($self, $event) = @_;

	return $self->sql("SELECT evsched.confirm($event->{id})");
}

# Takes in what has come without waiting; the error when its connection is gone.
sub lost
{
	my ($self) = @_;

	$self->pump_until(time, sub { 0 });
	return $self->{lost};
}

# Waits for the end of its connection.
sub wait_lost
{
	my ($self) = @_;

	$self->pump(sub { defined $self->{lost} }, 'the end of the connection');
	return $self->{lost};
}

# Ends the client without a word to the server.
sub kill9
{
	my ($self) = @_;

	kill('KILL', $self->{process}) if $self->{process};
	return $self->reap;
}

sub quit
{
	my ($self) = @_;

	close($self->{in}) if $self->{in};
	return $self->reap;
}

sub reap
{
	my ($self) = @_;

	return unless $self->{process};
	local ($?, $!);
	waitpid($self->{process}, 0);
	delete $self->{process};
	return;
}

# Takes in what comes until the condition holds; dies after the deadline.
sub pump
{
	my ($self, $condition, $what) = @_;

	return if $self->pump_until(time + $patience, $condition);
	croak("$self->{name}: $what has not come"
		  . (defined $self->{lost} ? " ($self->{lost})" : ''));
}

# Takes in what comes until the condition holds or the time is over; the condition.
sub pump_until
{
	my ($self, $deadline, $condition) = @_;

	for (;;)
	{
		my $rest = $deadline - time;

		return 1 if $condition->();
		last unless $self->{select}->can_read($rest > 0 ? $rest : 0);
		last unless sysread($self->{out}, $self->{buffer}, 65536, length $self->{buffer});
		while ($self->{buffer} =~ s/^(.*)\n//)
		{
			$self->sort_in($json->decode($1));
		}
	}
	return $condition->();
}

sub sort_in
{
	my ($self, $line) = @_;

	if ($line->{event})
	{
		my $event = { %{ delete $line->{event} }, %$line };

		if (defined $event->{due})
		{
			$event->{late} = $event->{at} - $event->{due};
			push @early, $event if $event->{late} < 0;
		}
		push @{ $self->{events} }, $event;
	}
	elsif ($line->{told})        { push @{ $self->{tellings} }, $line; }
	elsif ($line->{confirmed})   { push @{ $self->{confirmed} }, $line; }
	elsif (exists $line->{lost}) { $self->{lost} = $line->{lost} // 'lost'; }
	else                         { push @{ $self->{replies} }, $line; }
	return;
}

sub DESTROY
{
	my ($self) = @_;

	return $self->kill9;
}

1;

# Watches: what comes in on a channel, a FIFO or a unix socket runs a job, whole, in order,
# once, and as long as the watch is wanted; and delays nobody.
use strict;
use warnings;

use Encode qw(decode encode);
use Evsched qw(scheduler_pid new_scheduler wait_until wait_asleep process_state);
use Evsched::Job  qw(call quote);
use Evsched::Stop qw(stop_at wait_stopped go_on crash);
use Fcntl qw(O_WRONLY O_NONBLOCK F_GETFL F_SETFL);
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use MIME::Base64;
use POSIX qw(mkfifo ENXIO);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $folder = PostgreSQL::Test::Utils::tempdir_short();
chmod 0755, $folder;
my $jobs = Evsched::Job->new(
	'watch',
	roles => [qw(ann bob)],
	conf  => "evsched.worker_idle_timeout = 10min\n");
my $server = $jobs->server;

# What the jobs were given, and by which event.
$jobs->sql(<<'SQL');
CREATE TABLE incoming (event bigint, watch bigint, payload jsonb, who text DEFAULT current_user,
	at timestamptz DEFAULT clock_timestamp());
GRANT ALL ON incoming TO PUBLIC;
SQL
my $keep =
  'INSERT INTO incoming SELECT id, recurring, $1 FROM evsched.current_event()';

sub channel_watch
{
	my ($channel, %options) = @_;

	return ($options{session} // $jobs->admin)->sql(
		call('watch_channel', channel => $channel, command => $options{command} // $keep));
}

sub path_watch
{
	my ($path, %options) = @_;

	return ($options{session} // $jobs->admin)->sql(
		call('watch_path', path => $path, command => $options{command} // $keep));
}

sub sqlstate
{
	my ($session, $sql) = @_;

	return $session->try($sql)->{sqlstate} // 'none';
}

sub fifo
{
	my ($name) = @_;

	mkfifo("$folder/$name", 0600) or die "mkfifo: $!";
	return "$folder/$name";
}

# Opens a FIFO for writing, once somebody reads it.
sub writer
{
	my ($path) = @_;
	my $fifo;

	wait_until(sub { sysopen($fifo, $path, O_WRONLY | O_NONBLOCK) }, "a reader of $path");
	fcntl($fifo, F_SETFL, fcntl($fifo, F_GETFL, 0) & ~O_NONBLOCK);
	return $fifo;
}

sub is_read { my ($path) = @_; return sysopen(my $fifo, $path, O_WRONLY | O_NONBLOCK); }

sub put
{
	my ($file, $bytes) = @_;

	while (length $bytes)
	{
		my $n = syswrite($file, $bytes) // die "write: $!";
		substr($bytes, 0, $n) = '';
	}
	return;
}

# What has come in on a watch, oldest first, as hashes.
sub pieces
{
	my ($watch) = @_;

	return map { JSON::PP->new->allow_nonref->decode($_->[0]) }
	  $jobs->rows("SELECT payload FROM incoming WHERE watch = $watch ORDER BY event");
}

# The bytes of a piece.
sub bytes_of
{
	my ($piece) = @_;

	return ($piece->{encoding} // '') eq 'base64'
	  ? decode_base64($piece->{data})
	  : encode('UTF-8', $piece->{data});
}

sub bytes { my ($watch) = @_; return join('', map { bytes_of($_) } pieces($watch)); }

# Waits until so many bytes have come in on a watch, and compares them.
sub has_bytes
{
	my ($watch, $expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$jobs->await(
		sub {
			$jobs->sql("SELECT coalesce(sum((payload->>'bytes')::int), 0) FROM incoming "
				  . "WHERE watch = $watch") >= length($expected);
		},
		length($expected) . ' bytes');
	return ok(bytes($watch) eq $expected, $name);
}

# Notifies until a job has been run with that: when the scheduler listens, nobody is told.
sub wait_listening
{
	my ($watch, $channel) = @_;
	my $n = 0;

	$jobs->await(
		sub {
			$jobs->sql("SELECT pg_notify('$channel', 'hello')") if $n++ % 20 == 0;
			return $jobs->sql("SELECT count(*) FROM incoming WHERE watch = $watch "
				  . "AND payload->>'payload' = 'hello'") > 0;
		},
		"channel $channel to be watched");
	return;
}

sub await_payload
{
	my ($watch, $payload, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $jobs->becomes(
		"SELECT count(*) FROM incoming WHERE watch = $watch AND payload->>'payload' = "
		  . quote($payload), 1, $name);
}

# One part, which leaves no watch.
sub story
{
	my ($name, $part) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$jobs->story($name, $part);
	$jobs->sql('DELETE FROM evsched.recurrence');
	$jobs->sql('TRUNCATE incoming');
	return;
}

story(
	'a channel',
	sub {
		my $watch = channel_watch('news');
		wait_listening($watch, 'news');
		$jobs->sql(q(NOTIFY news, 'one ä "two"'));
		await_payload($watch, 'one ä "two"', 'a notification runs the command');
		my ($piece) = grep { $_->{payload} ne 'hello' } pieces($watch);
		is_deeply($piece, { id => $watch, payload => "one \xe4 \"two\"" }, 'with its payload');
	});

story(
	'a FIFO',
	sub {
		my $path  = fifo('pipe');
		my $watch = path_watch($path);
		my $pipe  = writer($path);
		put($pipe, "hello\n");
		has_bytes($watch, "hello\n", 'the command has what was written');
		is_deeply([ pieces($watch) ],
			[ { id => $watch, bytes => 6, data => "hello\n" } ], 'as an object');
	});

done_testing();

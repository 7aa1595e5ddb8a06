# Watches: what comes in on a channel, a FIFO or a unix socket runs a job, whole, in order,
# once, and as long as the watch is wanted; and delays nobody.
use strict;
use warnings;

use Encode qw(encode);
use Evsched qw(session listener scheduler_pid new_scheduler wait_until wait_asleep);
use Evsched::Job  qw(call quote);
use Evsched::Stop qw(stop_at wait_stopped go_on crash);
use Fcntl qw(O_WRONLY O_NONBLOCK F_GETFL F_SETFL);
use IO::Socket::UNIX;
use JSON::PP;
use MIME::Base64;
use POSIX qw(mkfifo);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $folder = PostgreSQL::Test::Utils::tempdir_short();
chmod 0755, $folder;
my $jobs = Evsched::Job->new(
	'watch',
	roles => [qw(ann bob)],
	init  => { extra => [qw(-E UTF8 --locale=C.UTF-8)] },
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

# Has anybody got it open for reading?
sub is_read
{
	my ($path) = @_;

	return sysopen(my $fifo, $path, O_WRONLY | O_NONBLOCK) ? 1 : 0;
}

sub becomes_read
{
	my ($path, $expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	eval { wait_until(sub { is_read($path) == $expected }, $name); 1 } or diag($@);
	return is(is_read($path), $expected, $name);
}

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
		$jobs->sql(qq(NOTIFY news, 'one \x{e4} "two" \x{20ac}'));
		await_payload($watch, qq(one \x{e4} "two" \x{20ac}), 'a notification runs the command');
		my ($piece) = grep { $_->{payload} ne 'hello' } pieces($watch);
		is_deeply(
			$piece,
			{ id => $watch, payload => qq(one \x{e4} "two" \x{20ac}) },
			'with the watch and what was said');
		is($jobs->sql("SELECT count(*) FROM evsched.run WHERE recurring = $watch AND state <> 'succeeded'"),
			0, 'its runs are those of a series');

		# One transaction, and what is said by nobody in particular.
		$jobs->sql('TRUNCATE incoming');
		$jobs->sql(q(SELECT pg_notify('news', g::text) FROM generate_series(1, 150) g));
		$jobs->becomes("SELECT count(*) FROM incoming WHERE watch = $watch", 150, 'each of many');
		is(join(' ', map { $_->{payload} } pieces($watch)),
			join(' ', 1 .. 150), 'in the order in which they were sent');
		$jobs->sql('NOTIFY news');
		await_payload($watch, '', 'one without a payload');
		$jobs->sql('BEGIN');
		$jobs->sql(q(NOTIFY news, 'undone'));
		$jobs->sql('ROLLBACK');
		$jobs->sql(q(NOTIFY "News", 'other'));
		my $id = $jobs->enqueue(q(NOTIFY news, 'by a job'));
		await_payload($watch, 'by a job', 'what a job of the database sends');
		is($jobs->sql(q(SELECT count(*) FROM incoming WHERE payload->>'payload' IN ('undone', 'other'))),
			0, 'not what was rolled back, nor what is for others');

		# Beside listeners, whom the scheduler itself notifies.
		my $listener = listener($server, 'listener');
		$jobs->sql(q(SELECT evsched.post('"event"')));
		is($listener->event->{payload}, 'event', 'a listener has its event');
		is( sqlstate(
				$jobs->admin, call('watch_channel', channel => 'news', command => $keep)),
			'42710',
			'a second watch is refused');
		is($jobs->sql("SELECT evsched.cancel($watch)"), 't', 'cancelled');
		my $next = channel_watch('news');
		wait_listening($next, 'news');
		$jobs->sql(q(NOTIFY news, 'next'));
		await_payload($next, 'next', 'another one has the channel');
		is($jobs->sql("SELECT count(*) FROM incoming WHERE watch = $watch AND payload->>'payload' = 'next'"),
			0, 'the cancelled one has not');
		$jobs->sql('BEGIN');
		$jobs->sql("SELECT evsched.cancel($next)");
		$next = channel_watch('news');
		$jobs->sql('COMMIT');
		wait_listening($next, 'news');
		pass('also by the same transaction');
	});

# The least of several: a machine that is busy now and then fails nobody.
story(
	'soon',
	sub {
		my $path    = fifo('soon');
		my $watch   = path_watch($path);
		my $channel = channel_watch('soon');
		my $pipe    = writer($path);
		my %least   = (path => 1e9, channel => 1e9);

		wait_listening($channel, 'soon');
		for my $n (1 .. 10)
		{
			my $since = time;
			put($pipe, "$n");
			$jobs->await(sub { $jobs->sql("SELECT count(*) FROM incoming WHERE watch = $watch") == $n },
				'a byte');
			my $took = $jobs->sql("SELECT extract(epoch FROM max(at)) FROM incoming WHERE watch = $watch") - $since;
			$least{path} = $took if $took < $least{path};
			$since = time;
			$jobs->sql("NOTIFY soon, '$n'");
			$jobs->await(
				sub { $jobs->sql("SELECT count(*) FROM incoming WHERE watch = $channel AND payload->>'payload' = '$n'") },
				'a notification');
			$took =
			  $jobs->sql("SELECT extract(epoch FROM max(at)) FROM incoming WHERE watch = $channel") - $since;
			$least{channel} = $took if $took < $least{channel};
		}
		cmp_ok($least{path}, '<', 1, 'bytes are with their job at once');
		cmp_ok($least{channel}, '<', 0.1, 'so are notifications');
		note(sprintf('%.1f ms, %.1f ms', 1000 * $least{path}, 1000 * $least{channel}));
		wait_asleep(scheduler_pid($server), 0.5);
		pass('in between nobody wakes');
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

		# Characters of 1 to 4 bytes, written in pieces that cut them.
		$jobs->sql('TRUNCATE incoming');
		my $text = encode('UTF-8', "a\x{e4}\x{20ac}\x{1d11e}" x 60_000);
		put($pipe, $_) for unpack('(a7919)*', $text);
		has_bytes($watch, $text, 'all of a long text, in order');
		my @pieces = pieces($watch);
		is(scalar(grep { exists $_->{encoding} } @pieces), 0, 'as text: no character is cut');
		is(scalar(grep { $_->{bytes} > 65_536 || $_->{bytes} != length bytes_of($_) } @pieces),
			0, 'in pieces of 64 kB at most');
		cmp_ok(scalar(@pieces), '>', length($text) / 65_536, 'several');

		# What is no text.
		$jobs->sql('TRUNCATE incoming');
		my $binary = join('', map { chr } 0 .. 255) x 700;
		put($pipe, $binary);
		has_bytes($watch, $binary, 'all of what is no text, in order');
		is(scalar(grep { $_->{encoding} ne 'base64' } pieces($watch)), 0, 'in base64');
		$jobs->sql('TRUNCATE incoming');
		put($pipe, "\0");
		has_bytes($watch, "\0", 'a zero byte');
		$jobs->sql('TRUNCATE incoming');
		put($pipe, "half \xe2\x82");
		has_bytes($watch, "half \xe2\x82", 'the beginning of a character, though its end does not come');
		is_deeply([ map { $_->{data} } pieces($watch) ], [ 'half ', '4oI=' ], 'by itself');

		# Writers come and go.
		close($pipe);
		$jobs->sql('TRUNCATE incoming');
		put(writer($path), 'next writer');
		has_bytes($watch, 'next writer', 'the next writer is read, too');

		is($jobs->sql("SELECT evsched.cancel($watch)"), 't', 'cancelled');
		becomes_read($path, 0, 'it is read no more');
		my $again = path_watch($path);
		becomes_read($path, 1, 'and can be watched again');
	});

story(
	'what is refused',
	sub {
		my $path = fifo('first');
		my $file = "$folder/file";
		append_to_file($file, 'x');
		link($path, "$folder/second") or die "link: $!";
		symlink($path, "$folder/third") or die "symlink: $!";
		path_watch($path);
		for ([ $file, '42809', 'a regular file' ],
			[ $folder,               '42809', 'a folder' ],
			[ "$folder/none",        '58P01', 'what is not there' ],
			[ $path,                 '42710', 'a second watch' ],
			[ "$folder/./first",     '42710', '... in other words' ],
			[ "$folder/second",      '42710', '... by another name' ],
			[ "$folder/third",       '42710', '... by a link' ])
		{
			is( sqlstate($jobs->admin, call('watch_path', path => $_->[0], command => 'SELECT 1')),
				$_->[1], $_->[2]);
		}
		my $long = call('watch_channel', channel => 'long', command => 'SELECT 1' . ' ' x 65_536);
		is(sqlstate($jobs->admin, $long), '22023', 'a command of more than 64 kB');
		is($jobs->sql('SELECT count(*) FROM evsched.series'), 1, 'there is one');

		# No more than 1,000.
		$jobs->sql('BEGIN');
		$jobs->sql(q(SELECT evsched.watch_channel('c' || g, 'SELECT 1') FROM generate_series(1, 999) g));
		is(sqlstate($jobs->admin, q(SELECT evsched.watch_channel('one too many', 'SELECT 1'))),
			'53400', 'the 1,001st');
		$jobs->sql('ROLLBACK');

		# One that becomes another name of it later is not read.
		my $late = fifo('late');
		path_watch($late);
		becomes_read($late, 1, 'another is watched');
		my $offset = -s $server->logfile;
		rename($late, "$folder/gone") or die "rename: $!";
		symlink($path, $late) or die "symlink: $!";
		$jobs->sql(q(SELECT evsched.pause_queue('none'), evsched.resume_queue('none')));
		$server->wait_for_log(qr/cannot watch "\Q$late\E": it is watched under another name/, $offset);
		pass('what becomes another name of it is told of');
	});

story(
	'rights',
	sub {
		my $ann  = $jobs->session_of('ann');
		my $path = fifo('rights');
		my $sql  = call('watch_path', path => $path, command => $keep);
		is(sqlstate($ann, $sql), '42501', 'without the right to read files no path is watched');
		$jobs->sql('GRANT pg_read_server_files TO ann');
		my $watch   = $ann->sql($sql);
		my $channel = channel_watch('rights', session => $ann);
		my $pipe    = writer($path);
		wait_listening($channel, 'rights');
		put($pipe, 'x');
		has_bytes($watch, 'x', 'with it it is');
		is($jobs->sql("SELECT DISTINCT who FROM incoming WHERE watch IN ($watch, $channel)"),
			'ann', 'the command runs as who watches');
		is($jobs->session_of('bob')->sql('SELECT count(*) FROM evsched.series'),
			0, 'others do not see it');
		is($jobs->session_of('bob')->sql("SELECT evsched.cancel($watch)"), 'f', 'nor end it');
		close($pipe);

		$jobs->sql('REVOKE pg_read_server_files FROM ann');
		becomes_read($path, 0, 'without the right it is read no more');
		$jobs->sql('GRANT pg_read_server_files TO ann');
		becomes_read($path, 1, 'with it again');
		$jobs->sql('ALTER ROLE ann NOLOGIN');
		becomes_read($path, 0, 'nor where its jobs could not be run');
		$jobs->sql('ALTER ROLE ann LOGIN');
		becomes_read($path, 1, 'else again');
		$jobs->sql('REVOKE pg_read_server_files FROM ann');
	});

story(
	'held back',
	sub {
		my $path  = fifo('held');
		my $watch = path_watch($path);
		my $news  = channel_watch('held');
		for ([ "evsched.pause($watch)", "evsched.resume($watch)", 'paused' ],
			[ q(evsched.pause_queue('passive')), q(evsched.resume_queue('passive')), 'of a paused pool' ],
			[ q(evsched.stop()),                 q(evsched.start()),                 'of a stopped database' ])
		{
			my ($hold, $let, $how) = @$_;
			becomes_read($path, 1, 'it is read');
			$jobs->sql("SELECT $hold");
			becomes_read($path, 0, "$how it is not");
			$jobs->sql("SELECT $let");
			becomes_read($path, 1, 'then again');
		}
		put(writer($path), 'x');
		has_bytes($watch, 'x', 'with what it is for');

		wait_listening($news, 'held');
		$jobs->sql("SELECT evsched.pause($news)");
		# Whoever asks for both is told when the scheduler has seen to the first.
		$jobs->sql("SELECT evsched.pause($watch)");
		becomes_read($path, 0, 'the scheduler has seen to what was paused');
		$jobs->sql('TRUNCATE incoming');
		$jobs->sql(q(NOTIFY held, 'unheard'));
		$jobs->sql("SELECT evsched.resume($news)");
		wait_listening($news, 'held');
		is($jobs->sql(q(SELECT count(*) FROM incoming WHERE payload->>'payload' = 'unheard')),
			0, 'what is said while a channel is paused is not heard');
	});

# The other end listens; the scheduler comes to it.
story(
	'a socket',
	sub {
		my $path   = "$folder/socket";
		my $listen = sub {
			return IO::Socket::UNIX->new(Local => $path, Listen => 1) // die "socket: $!";
		};
		my $accept = sub {
			my ($server) = @_;
			my $peer;
			local $SIG{ALRM} = sub { die "nobody has connected\n" };
			alarm(30);
			$peer = $server->accept;
			alarm(0);
			return $peer;
		};
		my $socket = $listen->();
		my $watch  = path_watch($path);
		my $peer   = $accept->($socket);
		put($peer, 'over a socket');
		has_bytes($watch, 'over a socket', 'what is sent is read');
		close($peer);
		$peer = $accept->($socket);
		put($peer, ', again');
		has_bytes($watch, 'over a socket, again', 'when the other end is gone, it is connected again');

		my $offset = -s $server->logfile;
		close($peer);
		close($socket);
		unlink($path);
		$server->wait_for_log(qr/cannot watch "\Q$path\E"/, $offset);
		is($jobs->sql(q(SELECT ok FROM evsched.check() WHERE item = 'watches')), 'f', 'check() tells, too');
		$socket = $listen->();
		$peer   = $accept->($socket);
		put($peer, '!');
		has_bytes($watch, 'over a socket, again!', 'another one at the same path');
		is($jobs->sql(q(SELECT ok FROM evsched.check() WHERE item = 'watches')), 't', 'is in order');
		my $log = substr(slurp_file($server->logfile), $offset);
		is(scalar(() = $log =~ /cannot watch/g), 1, 'that was told once');

		# Who takes every call and says nothing; the one whom he has let wait was no failure.
		my $at_once = qr/cannot watch "\Q$path\E": each connection is closed at once/;
		for my $time ('first', 'second')
		{
			$offset = -s $server->logfile;
			close($peer);
			close($peer = $accept->($socket)) for 1 .. 3;
			$server->wait_for_log($at_once, $offset);
			pass("a peer that closes at once is told of, the $time time");
			$peer = $accept->($socket);
			my $since = time;
			wait_until(sub { time > $since + 3 }, 'the connection to be longer than the pause was');
		}

		my $text = encode('UTF-8', "\x{20ac}" x 50_000);
		$jobs->sql('TRUNCATE incoming');
		put($peer, $text);
		has_bytes($watch, $text, 'much of it');
		is(scalar(grep { exists $_->{encoding} } pieces($watch)), 0, 'as text');
		$jobs->sql('TRUNCATE incoming');
		put($peer, "end \xe2");
		close($peer);
		has_bytes($watch, "end \xe2", 'what came before the end');
	});

story(
	'a path that is lost and found',
	sub {
		my $path  = fifo('lost');
		my $watch = path_watch($path);
		becomes_read($path, 1, 'it is read');
		my $offset = -s $server->logfile;
		unlink($path);
		$jobs->sql("SELECT evsched.pause($watch), evsched.resume($watch)");
		$server->wait_for_log(qr/cannot watch "\Q$path\E": No such file/, $offset);
		mkfifo($path, 0600) or die "mkfifo: $!";
		put(writer($path), 'found');
		has_bytes($watch, 'found', 'made again, it is read again');

		my $shut = fifo('shut');
		chmod 0400, $shut;
		$watch = path_watch($shut);
		$server->wait_for_log(qr/cannot watch "\Q$shut\E": Permission denied/, $offset);
		chmod 0600, $shut;
		put(writer($shut), 'opened');
		has_bytes($watch, 'opened', 'one that the server may not open is tried again, too');
	});

# What is prepared has no process of its own when it is committed.
story(
	'a prepared transaction',
	sub {
		my $path  = fifo('prepared');
		my $admin = $jobs->admin;
		$admin->sql('BEGIN');
		my $watch = path_watch($path);
		$admin->sql(q(PREPARE TRANSACTION 'watch'));
		is(is_read($path), 0, 'prepared, nothing is watched');
		$admin->sql(q(COMMIT PREPARED 'watch'));
		becomes_read($path, 1, 'committed, it is');
		$admin->sql('BEGIN');
		$admin->sql("SELECT evsched.cancel($watch)");
		$admin->sql('ROLLBACK');
		put(writer($path), 'x');
		has_bytes($watch, 'x', 'a cancel that is rolled back ends nothing');
		$admin->sql('DELETE FROM evsched.event');
		put(writer($path), 'y');
		becomes_read($path, 0, 'a plain DELETE does, with the next that comes');
	});

# How much in how much time: slower is always allowed.
sub within_rate
{
	my ($n, $since, $name) = @_;
	my $most = 20 * (time - $since) + 3;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return cmp_ok($n, '<=', $most, $name);
}

my $writer;

story(
	'noise',
	sub {
		my $path     = fifo('noise');
		my $listener = listener($server, 'calm', max_events => 10);

		# A turn comes between two pieces of what is noisy.
		my $watch = path_watch($path, command => 'SELECT 1');
		my $pid   = scheduler_pid($server);
		my $pipe  = writer($path);
		# Else who writes while nobody watches dies of it.
		open(my $reader, '+<', $path) or die "$path: $!";
		$writer = fork() // die "fork: $!";
		if ($writer == 0)
		{
			my $noise = 'x' x 65_536;
			close($reader);
			1 while syswrite($pipe, $noise);
			POSIX::_exit(0);
		}
		for my $n (1 .. 3)
		{
			stop_at($server, $pid, 'watch read');
			wait_stopped($server, $pid);
			$jobs->sql("SELECT evsched.post('$n', max_retries => 1)");
			stop_at($server, $pid, 'watch read');
			go_on($server, $pid);
			wait_stopped($server, $pid);
			my $event = eval { $listener->event } // {};
			is($event->{payload}, $n, 'an event is handed out before the next piece is read');
			go_on($server, $pid);
			$listener->confirm($event) if $event->{id};
		}
		my $id = $jobs->enqueue('SELECT 1', pool => 'active');
		$jobs->has_runs($id, 'succeeded', 'a job runs');
		$jobs->sql("SELECT evsched.cancel($watch)");

		# The rate.
		$jobs->set('evsched.max_watch_rate' => 20);
		my $since = time;
		$watch = path_watch($path);
		my $n;
		$jobs->await(sub { ($n = $jobs->sql("SELECT count(*) FROM incoming WHERE watch = $watch")) >= 15 },
			'15 pieces');
		within_rate($n, $since, 'it is read no more often than it may be');
		kill('KILL', $writer);
		waitpid($writer, 0);
		$jobs->sql("SELECT evsched.cancel($watch)");

		$watch = channel_watch('noise');
		wait_listening($watch, 'noise');
		$jobs->sql('TRUNCATE incoming');
		$since = time;
		$jobs->sql(q(SELECT pg_notify('noise', g::text) FROM generate_series(1, 25) g));
		$jobs->await(
			sub {
				$n = $jobs->sql("SELECT count(*) FROM incoming WHERE watch = $watch AND payload->>'payload' <> 'hello'");
				return $n >= 15;
			},
			'15 notifications');
		within_rate($n, $since, 'nor heard');
		$jobs->becomes("SELECT count(*) FROM incoming WHERE watch = $watch AND payload->>'payload' <> 'hello'",
			25, 'what had to wait comes');
		is(join(' ', grep { $_ ne 'hello' } map { $_->{payload} } pieces($watch)),
			join(' ', 1 .. 25), 'in order');

		# Too many of them.
		$jobs->set('evsched.max_watch_rate' => 1);
		my $offset = -s $server->logfile;
		$jobs->sql("SELECT evsched.pause($watch)");
		$jobs->sql("SELECT evsched.resume($watch)");
		$jobs->sql("UPDATE evsched.event SET command = 'SELECT 1' WHERE id = $watch");
		my $other = path_watch(fifo('sign'));
		becomes_read("$folder/sign", 1, 'the scheduler has seen to what was resumed');
		$jobs->sql(q(SELECT pg_notify('noise', g::text) FROM generate_series(1, 10100) g));
		$jobs->set('evsched.max_watch_rate' => 1_000_000);
		$server->wait_for_log(qr/dropped 100 notifications on channel "noise"/, $offset);
		pass('what is too much is dropped, and told');
	});
kill('KILL', $writer) if $writer;

# What waits has a bound in bytes, too, and its memory is given back.
story(
	'a flood',
	sub {
		my $watch = channel_watch('flood');
		wait_listening($watch, 'flood');
		$jobs->set('evsched.max_watch_rate' => 1);
		my $offset = -s $server->logfile;
		$jobs->sql("UPDATE evsched.event SET command = 'SELECT 1' WHERE id = $watch");
		$jobs->sql(q(SELECT pg_notify('flood', rpad(g::text, 7900)) FROM generate_series(1, 2000) g));
		$jobs->set('evsched.max_watch_rate' => 1_000_000);
		$server->wait_for_log(qr/dropped \d+ notifications on channel "flood"/, $offset);
		my ($n) = slurp_file($server->logfile, $offset) =~ /dropped (\d+) notifications on channel "flood"/;
		cmp_ok($n, '>=', 900, 'no more than 8 MB wait');
		cmp_ok($n, '<=', 1000, 'but so much does');
		$offset = -s $server->logfile;
		$jobs->sql('SELECT pg_log_backend_memory_contexts(' . scheduler_pid($server) . ')');
		$server->wait_for_log(qr/evsched backlog: \d+ total/, $offset);
		my ($bytes) = slurp_file($server->logfile, $offset) =~ /evsched backlog: (\d+) total/;
		cmp_ok($bytes, '<', 65_536, 'and when they are gone, so is their memory');
	});

# A round of the scheduler has a bound in bytes: of what comes in, and of the command.
story(
	'much at a time',
	sub {
		my $news = channel_watch('news');
		my $long = channel_watch('long', command => 'SELECT 1 /*' . 'x' x 65_000 . '*/');
		my $pid  = scheduler_pid($server);
		wait_listening($news, 'news');

		# How many ids were given when the next round has read.
		for ([ 'news', 'rpad(g::text, 7900)' ], [ 'long', 'g::text' ])
		{
			my ($channel, $payload) = @$_;
			my $last = 'SELECT last_value FROM evsched.event_id_seq';
			stop_at($server, $pid, 'watch read');
			$jobs->sql("SELECT pg_notify('$channel', $payload) FROM generate_series(1, 100) g");
			wait_stopped($server, $pid);
			stop_at($server, $pid, 'watch read');
			my $n = -$jobs->sql($last);
			go_on($server, $pid);
			wait_stopped($server, $pid);
			$n += $jobs->sql($last);
			# A process is given 32 at a time.
			cmp_ok($n, '<=', 64, "a round does not take all of channel $channel");
			go_on($server, $pid);
			$jobs->becomes("SELECT count(*) FROM evsched.event WHERE id <> recurring", 0, 'all is run');
		}
	});

# The scheduler that finds another version of the extension leaves everything alone.
story(
	'an update that is to come',
	sub {
		my $path = fifo('update');
		path_watch($path);
		becomes_read($path, 1, 'it is watched');
		my $pid     = scheduler_pid($server);
		my $version = $jobs->sql(q(SELECT extversion FROM pg_extension WHERE extname = 'evsched'));
		my $become  = sub {
			my ($version, $change) = @_;
			$jobs->sql('BEGIN');
			$jobs->sql("UPDATE pg_extension SET extversion = '$version' WHERE extname = 'evsched'");
			$jobs->sql($change);
			$jobs->sql('COMMIT');
		};
		$become->('0.2.0', q(INSERT INTO evsched.queue (name) VALUES ('sign')));
		becomes_read($path, 0, 'while the extension is of another version, it is not');
		new_scheduler($server, $pid);
		$become->($version, q(DELETE FROM evsched.queue WHERE name = 'sign'));
		becomes_read($path, 1, 'then again');
	});

# More paths than the server has files for.
story(
	'too many paths',
	sub {
		my $files = $jobs->sql('SHOW max_files_per_process');
		my $limit = sub {
			$jobs->sql("ALTER SYSTEM SET max_files_per_process = $_[0]");
			$server->restart;
			$jobs->reconnect;
		};
		my @paths = map { fifo("many$_") } 1 .. 30;
		$limit->(64);
		my $pid    = new_scheduler($server, 0);
		my $offset = -s $server->logfile;
		my @ids    = map { path_watch($_) } @paths;
		$server->wait_for_log(qr/cannot watch ".*": Too many open files/, $offset);
		my $id = $jobs->enqueue('SELECT 1');
		$jobs->has_runs($id, 'succeeded', 'what does not fit stops nothing else');
		is(scheduler_pid($server), $pid, 'nor the scheduler');
		$jobs->sql("SELECT evsched.cancel($_)") for @ids[ 0 .. 24 ];
		becomes_read($paths[29], 1, 'what did not fit is tried again');
		$jobs->sql("SELECT evsched.cancel($_)") for @ids[ 25 .. 29 ];
		$limit->($files);
	});

# What dies, and what comes after it.
story(
	'ends and beginnings',
	sub {
		my $path  = fifo('ends');
		my $watch = path_watch($path);
		my $news  = channel_watch('ends');
		my $works = sub {
			my ($name) = @_;
			$jobs->sql('TRUNCATE incoming');
			put(writer($path), $name);
			has_bytes($watch, $name, "the FIFO is watched $name");
			wait_listening($news, 'ends');
		};
		$works->('at first');
		my $pid = scheduler_pid($server);
		$jobs->sql("SELECT pg_terminate_backend($pid)");
		new_scheduler($server, $pid);
		$works->('by the next scheduler');

		# What was read and not entered is gone.
		$pid = scheduler_pid($server);
		stop_at($server, $pid, 'watch read');
		my $pipe = writer($path);
		put($pipe, 'lost');
		wait_stopped($server, $pid);
		put($pipe, 'kept');
		$jobs->sql('TRUNCATE incoming');
		$jobs->sql("SELECT pg_terminate_backend($pid)");
		new_scheduler($server, $pid);
		has_bytes($watch, 'kept', 'what is in the pipe stays there while a writer has it open');
		close($pipe);
		$works->('after it died in between');

		crash($server, scheduler_pid($server));
		$jobs->reconnect;
		$works->('after a crash');
		$server->restart;
		$jobs->reconnect;
		$works->('after a restart');
	});

# Elsewhere nothing is watched until start().
my $path  = fifo('copied');
my $watch = path_watch($path);
becomes_read($path, 1, 'it is watched');
my $dump = "$folder/dump";
command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-h', $server->host, '-p', $server->port, 'postgres' ],
	'a dump');
$jobs->sql("SELECT evsched.cancel($watch)");
becomes_read($path, 0, 'it is watched no more');
$server->safe_psql('postgres', 'CREATE DATABASE copy');
command_ok([ 'pg_restore', '-h', $server->host, '-p', $server->port, '-d', 'copy', $dump ],
	'which is restored');
my $copy = session($server, 'copy', dbname => 'copy');
new_scheduler($server, 0, 'copy');
my $posted = $copy->sql(q(SELECT evsched.enqueue('SELECT 1')));
wait_until(
	sub { $copy->sql("SELECT count(*) FROM evsched.run WHERE event_id = $posted AND state = 'succeeded'") },
	'what is posted in the copy to run');
is($copy->sql("SELECT path FROM evsched.series WHERE id = $watch"), $path, 'the watch is there');
is(is_read($path), 0, 'and watches nothing');
$copy->sql('SELECT evsched.start()');
becomes_read($path, 1, 'started, it does');

done_testing();

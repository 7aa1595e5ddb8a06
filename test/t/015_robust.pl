# What a session leaves behind that dies, gives up, comes back or does without the
# functions: nothing that the others would notice.
use strict;
use warnings;

use Evsched qw(start_server session listener nothing_early scheduler_pid wait_asleep
  wait_until process_state);
use IO::Select;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(time usleep);

my $server = start_server('robust', conf => 'evsched.write_timeout = 1s');
my $admin  = session($server, 'admin');
$admin->sql($_)
  for 'CREATE ROLE plain LOGIN', 'CREATE ROLE keeper LOGIN CREATEDB',
  'CREATE DATABASE big', 'CREATE DATABASE prod', 'CREATE DATABASE kept OWNER keeper';
$server->safe_psql($_, 'CREATE EXTENSION evsched') for qw(big prod kept);

# How long a test waits for what must come.
my $patience = $Evsched::Session::patience;

# The payloads of the next n events of a session, as "1 2 3"; of fewer where no more come.
sub payloads
{
	my ($session, $n) = @_;
	my @payloads;

	while (@payloads < $n)
	{
		my $event = $session->event_within($patience) // last;
		push @payloads, $event->{payload};
	}
	return join(' ', @payloads);
}

# The payloads of the events that a session has got so far and nobody asked for.
sub payloads_so_far
{
	my ($session) = @_;

	return join(' ', map { $_->{payload} } $session->events_so_far);
}

# The value of an expression as a session sees it, however long that takes; the last value.
sub becomes
{
	my ($session, $sql, $wanted, $name) = @_;
	my $got;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	eval {
		wait_until(sub { ($got = $session->sql($sql)) eq $wanted }, $name);
	};
	return is($got, $wanted, $name);
}

sub process_letter
{
	my ($pid) = @_;
	my $stat = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/stat");

	return $stat =~ /\) (\w)/ ? $1 : '?';
}

# A process sleeps, and is not woken for a second.
sub sleeps
{
	my ($pid, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return fail($name) unless eval { wait_asleep($pid, 0.5); 1 };
	my $before = process_state($pid);
	my $until  = time + 1;
	wait_until(sub { time > $until }, 'a second to pass');
	return is_deeply([ process_letter($pid), process_state($pid) ], [ 'S', $before ],
		$name);
}

# A pull that is terminated while it is at its rows. It is tried again if it was done
# sooner; the transaction is open, so the rows are back either way.
my $big = session($server, 'big', dbname => 'big');
$big->sql(<<'SQL');
SELECT count(*) FROM evsched.post_many((SELECT array_agg(to_jsonb(g)) FROM generate_series(1, 200000) g),
									   queue => 'big', max_retries => 5)
SQL
for my $pull ([ 'take', 200_000 ], [ 'take', 200_000, 'SAVEPOINT s' ],
	[ 'receive', 50_000 ])
{
	my ($function, $n, $before) = @$pull;
	my $what   = join(' after ', $function, $before // ());
	my $offset = -s $server->logfile;
	my $reply;

	for (1 .. 5)
	{
		my $victim = session($server, 'victim', dbname => 'big');

		$victim->sql('BEGIN');
		$victim->sql($before) if $before;
		$victim->send("SELECT count(*) FROM evsched.$function('big', $n)");
		wait_until(
			sub {
				$admin->sql('SELECT backend_xid IS NOT NULL FROM pg_stat_activity '
					  . "WHERE pid = ${\$victim->pid}") eq 't';
			},
			'it to be at its rows');
		$admin->sql("SELECT pg_terminate_backend(${\$victim->pid})");
		$reply = $victim->reply;
		$victim->quit;
		last if $reply->{error};
	}
	ok($reply->{error}, "$what of many rows is terminated at work");
	like(
		PostgreSQL::Test::Utils::slurp_file($server->logfile, $offset),
		qr/victim FATAL:  terminating connection due to administrator command/,
		'by nothing else');
	becomes($big, 'SELECT count(*) FROM evsched._leases()', 0, 'it holds nothing');

	$big->sql('SET statement_timeout = \'20 s\'');
	is( $big->try(q(SELECT payload FROM evsched.receive('big', 2, '10 min')))
		  ->{rows}[1][0],
		2, 'another receives');
	my $after = listener(
		$server, 'after',
		dbname       => 'big',
		queue        => 'big',
		max_events   => 2,
		conf_timeout => '10 min');
	is(payloads($after, 2), '3 4', 'a new listener is served');
	is($big->try(q(SELECT payload FROM evsched.take('big', 1)))->{rows}[0][0],
		5, 'a third one takes');
	$big->sql(
		q(UPDATE evsched.event SET due_at = due_at WHERE id IN (SELECT id FROM evsched._leases()))
	);
	$after->quit;
	$big->sql(q(SELECT evsched.post_at('5', '-infinity', 'big', max_retries => 5)));
	$big->sql(q(SELECT evsched.confirm(id) FROM evsched.event WHERE payload <= '5'));
	$big->sql(<<'SQL');
SELECT evsched.post_at(to_jsonb(g), '-infinity', 'big', max_retries => 5) FROM generate_series(1, 5) g
SQL
	becomes($big, 'SELECT count(*) FROM evsched._leases()', 0, 'all is as before');
}
$big->quit;

# Who has no rights on a database does not stop its scheduler by trying; nor does who has,
# longer than the savepoint lasts.
my %served =
  map { $_ => listener($server, $_, dbname => $_, max_events => 100) } qw(prod kept);
my %scheduler = map { $_ => scheduler_pid($server, $_) } qw(prod kept);
my @attempts  = (
	[ plain  => prod => 'ALTER DATABASE prod RENAME TO mine',            '42501' ],
	[ plain  => prod => 'CREATE DATABASE mine TEMPLATE prod',            '25001' ],
	[ plain  => prod => 'ALTER DATABASE prod SET TABLESPACE pg_default', '25001' ],
	[ plain  => prod => 'DROP DATABASE prod',                            '25001' ],
	[ keeper => prod => 'CREATE DATABASE mine TEMPLATE prod',            '25001' ],
	[ keeper => kept => 'ALTER DATABASE kept RENAME TO prod',            '42P04' ],
	[ keeper => kept => 'CREATE DATABASE mine TEMPLATE kept',            '25001' ]);
for my $attempt (@attempts)
{
	my ($role, $database, $statement, $sqlstate) = @$attempt;
	my $session = session($server, $role, conninfo => "user=$role");

	$session->sql('BEGIN');
	$session->sql('SAVEPOINT s');
	is($session->try($statement)->{sqlstate}, $sqlstate, "$role fails with $statement");
	$session->sql('ROLLBACK TO s');
	$served{$database}->sql(q(SELECT evsched.post('"served"', '20 ms')));
	is(payloads($served{$database}, 1),
		'served', 'while it stays in its transaction, the database is served');
	is(scheduler_pid($server, $database), $scheduler{$database}, 'by the same scheduler')
	  if $database eq 'prod';
	is($session->sql('SELECT 1'), 1, 'it still is');
	$session->quit;
}

# Without a savepoint and outside of a transaction, over and over.
my $plain = session($server, 'plain', conninfo => 'user=plain');
$plain->try('CREATE DATABASE mine TEMPLATE prod') for 1 .. 50;
$plain->try('ALTER DATABASE prod RENAME TO mine') for 1 .. 50;
$served{prod}->sql(q(SELECT evsched.post('"served"')));
is(payloads($served{prod}, 1),     'served', 'who tries again and again stops nothing');
is(scheduler_pid($server, 'prod'), $scheduler{prod}, 'nor restarts it');
$_->quit for $plain, values %served;

# The end of time is far away: of the one event that there is, and of nearer ones.
my $far = listener($server, 'far', dbname => 'prod', queue => 'far', max_events => 100);
my @far_times = (
	'294276-12-31 23:59:59.999999+00',
	'294276-12-31', '294247-02-01', '294246-12-31', '290000-01-01', '2500-01-01');
$far->sql(q(SELECT evsched.post_at('"far"', 'infinity', 'far', max_retries => 1)));
for my $time (@far_times)
{
	$far->sql("SELECT evsched.post_at('\"far\"', '$time', 'far', max_retries => 1)");
	sleeps($scheduler{prod}, "the scheduler sleeps until $time")
	  if $time =~ /^294276/ || $time eq $far_times[-1];
}
$far->sql(q(SELECT evsched.post('"soon"', '100 ms', 'far')));
$far->sql(q(SELECT evsched.post('"now"', queue => 'far')));
is(payloads($far, 2), 'now soon', 'what is due sooner comes');
is($far->sql(q(SELECT count(evsched.cancel(id)) FROM evsched.event WHERE queue = 'far')),
	1 + @far_times, 'the far ones are cancelled');
is(payloads_so_far($far), '', 'none of them has come');
$far->quit;

# The extension is dropped and made again in one transaction.
my $anew = session($server, 'anew', dbname => 'kept');
my @served;
for my $life (1 .. 10)
{
	$anew->sql('BEGIN; DROP EXTENSION evsched; CREATE EXTENSION evsched; COMMIT');
	my $heir = listener($server, "heir$life", dbname => 'kept');
	$anew->sql("SELECT evsched.post('$life', max_retries => 3)");
	my $event = $heir->event_within($patience);
	push @served, $event->{payload} if $event && $heir->confirm($event) eq 't';
	$heir->quit;
}
is_deeply(
	\@served,
	[ 1 .. 10 ],
	'DROP and CREATE EXTENSION in one transaction: events come, each time');
$anew->quit;

# A lease that is extended while a confirmation of it is open, after its deadline. Where the
# deadline has passed before the confirmation, the event has come again: a failed delivery.
my $scheduler = scheduler_pid($server);
my $slow      = listener($server, 'slow', queue => 'extend', conf_timeout => '1 s');
my $id = $slow->sql(q(SELECT evsched.post('1', queue => 'extend', max_retries => -1)));
$slow->event;
$admin->sql('BEGIN');
is($admin->sql("SELECT evsched.confirm($id)"),
	't', 'an event is confirmed, and that stays open');
my $deadline = $admin->sql(
	"SELECT extract(epoch FROM deadline) FROM evsched._leases() WHERE id = $id");
my $retries = $slow->sql("SELECT num_retries FROM evsched.event WHERE id = $id");
wait_until(sub { time > $deadline + 0.1 }, 'its deadline to pass');
wait_asleep($scheduler, 0.02);
$slow->events_so_far;
is($slow->sql("SELECT evsched.extend($id, '10 min')"),
	't', 'its deadline over, the lease is extended');
$admin->sql('ROLLBACK');
wait_asleep($scheduler, 0.1);
is_deeply(
	[   $slow->rows(
			"SELECT state, num_retries, deadline > now() + interval '5 min' FROM evsched.events WHERE id = $id"
		) ],
	[ [ 'delivered', $retries, 't' ] ],
	'the confirmation is rolled back: the lease goes on');
is(payloads_so_far($slow),                    '',  'the event does not come again');
is($slow->sql("SELECT evsched.confirm($id)"), 't', 'and is confirmed by who holds it');
$slow->quit;

# Who joins again holds its leases and no second place.
my $again = session($server, 'again');
my $call  = $again->join_call(queue => 'again', conf_timeout => '1 h');
my $post  = q(SELECT evsched.post('1', queue => 'again', max_retries => 5));
$again->sql($call);
$again->sql($post);
my $held   = $again->event;
my $result = $again->try(<<"SQL");
DO \$\$ BEGIN
	FOR i IN 1 .. 600 LOOP
		PERFORM ${\($call =~ s/^SELECT //r)};
		COMMIT;
	END LOOP;
END \$\$
SQL
is($result->{error},       undef, 'a session joins 600 times while it holds one event');
is($again->confirm($held), 't',   'which it confirms');
$again->sql($post);
$held = $again->event;
my ($rounds, $error) = (0);

while ($rounds < 600 && !defined $error)
{
	my $rejoin = $rounds % 2 ? $call : "SELECT evsched.leave('again'); $call";

	$error =
	  $again->try("BEGIN; $rejoin; COMMIT; SELECT evsched.confirm($held->{id}); $post")
	  ->{error};
	$held = $again->event_within($patience) // last unless defined $error;
	$rounds++;
}
is("$rounds " . ($error // ''),
	'600 ', 'a session joins 600 times, each time with another event held');
is($again->sql('SELECT count(*) FROM evsched.listeners'), 1, 'it is one listener');
my $other = session($server, 'other');
is($other->try($other->join_call(queue => 'other'))->{error},
	undef, 'there is room for others');
$_->quit for $again, $other;

# To forget all channels and to join, in one transaction.
my $joins = session($server, 'joins');

sub is_served
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$admin->sql("SELECT evsched.post('\"$name\"', queue => 'unlisten')");
	return is(payloads($joins, 1), $name, $name);
}
my $join = $joins->join_call(queue => 'unlisten');
$joins->sql("BEGIN; UNLISTEN *; $join; COMMIT");
is_served('UNLISTEN and join, the first time');
$joins->sql("BEGIN; UNLISTEN *; $join; COMMIT");
is_served('UNLISTEN and join, again');
$joins->sql("BEGIN; UNLISTEN *; SAVEPOINT s; $join; RELEASE s; COMMIT");
is_served('UNLISTEN and join in a savepoint');
$joins->sql("BEGIN; SAVEPOINT s; UNLISTEN *; $join; ROLLBACK TO s; COMMIT");
is_served('both in a savepoint, rolled back');
$joins->sql("BEGIN; UNLISTEN *; $join; ROLLBACK");
is_served('both rolled back');
$joins->sql("BEGIN; $join; UNLISTEN *; $join; COMMIT");
is_served('join, UNLISTEN and join');
is($admin->sql(q(SELECT count(*) FROM evsched.listeners WHERE queue = 'unlisten')),
	1, 'it is one listener');
$joins->sql("BEGIN; $join; UNLISTEN *; COMMIT");
is($admin->sql(q(SELECT count(*) FROM evsched.listeners WHERE queue = 'unlisten')),
	0, 'join and UNLISTEN: it is none');
$joins->sql($join);
is_served('and may join again');
$joins->quit;
becomes($admin,
	q(SELECT coalesce(sum(listeners), 0) FROM evsched.queues WHERE queue = 'unlisten'),
	0, 'the queue counts no listeners when all are gone');

# A trigger of a superuser's that posts: who caused it stays who it was.
$admin->sql($_)
  for (
	'GRANT USAGE ON SCHEMA evsched TO plain',
	'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evsched TO plain',
	<<'SQL',
CREATE FUNCTION alert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM evsched.post(to_jsonb(NEW.id), queue => 'alerts', key => 'dead');
	PERFORM evsched.post(to_jsonb(NEW.id), queue => 'alerts', key => 'dead');
	IF NEW.payload = '"fails"' THEN RAISE 'alert fails'; END IF;
	RETURN NEW;
END $$
SQL
	'CREATE TRIGGER alert AFTER INSERT ON evsched.dead FOR EACH ROW EXECUTE FUNCTION alert()'
  );
$plain = session($server, 'plain', conninfo => 'user=plain');
my $who =
  q(SELECT concat_ws(' ', current_user, session_user, current_setting('is_superuser'),
							 current_setting('search_path'), current_setting('enable_seqscan')));
my $before = $plain->sql($who);
$id = $plain->sql(q(SELECT evsched.post('1')));
$plain->sql('BEGIN');
is($plain->sql("SELECT evsched.reject($id)"),
	't', 'a role rejects an event, which dies, which posts');
is($plain->sql($who), $before, 'it is still who it was');
$plain->sql('COMMIT');
is($plain->sql($who), $before, 'after the commit, too');
is($plain->try('SELECT count(*) FROM pg_authid')->{sqlstate},
	'42501', 'and may not do more');
is($admin->sql(q(SELECT payload FROM evsched.event WHERE queue = 'alerts')),
	$id, 'the alert is posted');
$id = $plain->sql(q(SELECT evsched.post('"fails"')));
$plain->sql('BEGIN');
$plain->sql('SAVEPOINT s');
like(
	$plain->try("SELECT evsched.reject($id)")->{error},
	qr/alert fails/,
	'a trigger that fails');
$plain->sql('ROLLBACK TO s');
is($plain->sql($who), $before, 'does not change it either');
$plain->sql('COMMIT');
$plain->quit;
$admin->sql('DROP TRIGGER alert ON evsched.dead');

# Plain writes to what is delivered.
my $ann =
  listener($server, 'ann', queue => 'plain', max_events => 1, conf_timeout => '10 min');
$admin->sql(
	q(SELECT evsched.post(to_jsonb(g), queue => 'plain', max_retries => 5) FROM generate_series(1, 3) g)
);
my $one = $ann->event;
$admin->sql('BEGIN');
$admin->sql(
	"UPDATE evsched.event SET due_at = now() + interval '300 ms' WHERE id = $one->{id}");
$admin->sql('ROLLBACK');
is($admin->sql("SELECT state FROM evsched.events WHERE id = $one->{id}"),
	'delivered', 'an UPDATE of due_at that is rolled back: still delivered');
is(payloads_so_far($ann), '', 'and no credit given back');
$admin->sql(
	"UPDATE evsched.event SET due_at = clock_timestamp() + interval '300 ms' WHERE id = $one->{id}"
);
my $two = $ann->event;
is($two->{payload}, 2,
	'an UPDATE of due_at ends the lease: there is credit for the next event');
$ann->confirm($two);
my $three = $ann->event;
$ann->confirm($three);
my $back = $ann->event;
is("$three->{payload} $back->{payload}", '3 1', 'it comes again');
isnt($back->{due_at}, $one->{due_at}, 'at its new time');
$admin->sql("UPDATE evsched.event SET due_at = '-infinity' WHERE id = $one->{id}");
$back = $ann->event;
is($back->{due_at}, '-infinity', 'or at once, where that is in the past');
$admin->sql(
	"UPDATE evsched.event SET queue = 'elsewhere', due_at = now() WHERE id = $one->{id}");
my $elsewhere = listener($server, 'elsewhere', queue => 'elsewhere');
is(payloads($elsewhere, 1), 1, 'or in another queue');
$elsewhere->quit;

$admin->sql(
	q(SELECT evsched.post(to_jsonb(g), queue => 'plain', max_retries => 5) FROM generate_series(4, 6) g)
);
my $four = $ann->event;
$admin->sql('BEGIN');
$admin->sql("DELETE FROM evsched.event WHERE id = $four->{id}");
$admin->sql('ROLLBACK');
is(payloads_so_far($ann), '', 'a DELETE that is rolled back gives no credit back');
$admin->sql("DELETE FROM evsched.event WHERE id = $four->{id}");
is(payloads($ann, 1), 5, 'a DELETE does');
$admin->sql(q(DELETE FROM evsched.event WHERE queue = 'plain'));
is($ann->sql(q(SELECT unconfirmed FROM evsched.listeners WHERE node = 'ann')),
	0, 'of all: it holds nothing');
$admin->sql(
	q(INSERT INTO evsched.event (queue, payload, max_retries) VALUES ('plain', '7', 1)));
is(payloads($ann, 1), 7, 'and is served');
$ann->quit;

# A lease of nobody's session runs out while everything sleeps: a short one beside a long
# one, with nobody there, and with one who is told.
$admin->sql(
	q(SELECT evsched.post(to_jsonb(g), queue => 'run out', max_retries => 5) FROM generate_series(1, 2) g)
);
is($admin->sql(q(SELECT payload FROM evsched.receive('run out', 1, '10 min'))),
	1, 'one is received for long');
wait_asleep($scheduler, 0.1);
is($admin->sql(q(SELECT payload FROM evsched.receive('run out', 1, '200 ms'))),
	2, 'one for a short time');
becomes($admin,
	q(SELECT num_retries FROM evsched.event WHERE queue = 'run out' AND payload = '2'),
	1, 'its lease runs out by itself');
is( $admin->sql(
		q(SELECT num_retries FROM evsched.event WHERE queue = 'run out' AND payload = '1')
	),
	0,
	'the other does not');
my $told = listener($server, 'told', queue => 'run out', max_events => 0);
ok($told->telling, 'a listener is told');
wait_asleep($scheduler, 0.1);
is($admin->sql(q(SELECT payload FROM evsched.receive('run out', 9, '200 ms'))),
	2, 'it is received again');
ok($told->telling, 'its lease runs out: the listener is told');
is($admin->sql(q(SELECT num_retries FROM evsched.receive('run out', 9, '10 min'))),
	2, 'both times are counted');
$told->quit;

# One statement, many queues.
my @many = map { session($server, "many$_") } 0 .. 4;
for my $i (0 .. 49)
{
	$many[ $i % 5 ]->sql("SELECT evsched.join('many', 'many$i', 8)");
}

sub all_come
{
	my ($name) = @_;
	my @got = map { split / /, payloads($_, 40) } @many;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is_deeply([ sort { $a <=> $b } @got ], [ 1 .. 200 ], $name);
}
my $insert = <<'SQL';
INSERT INTO evsched.event (queue, payload, due_at)
SELECT 'many' || g % 50, to_jsonb(g), %s FROM generate_series(1, 200) g
SQL
$admin->sql(sprintf($insert, 'now()'));
all_come('an INSERT of 200 events into 50 queues, one after the other: all come');
$admin->sql(sprintf($insert, q(now() + interval '1 hour')));
$admin->sql(q(UPDATE evsched.event SET due_at = now() WHERE queue LIKE 'many%'));
all_come('an UPDATE of them: all come');
$admin->sql('BEGIN; SAVEPOINT s');
$admin->sql(sprintf($insert, 'now()'));
$admin->sql('ROLLBACK TO s');
$admin->sql(sprintf($insert, 'now()'));
$admin->sql('RELEASE s; COMMIT');
all_come('an INSERT in a savepoint, after one that is rolled back: all come');
is_deeply([ map { payloads_so_far($_) } @many ], [ ('') x 5 ], 'once');
$_->quit for @many;

# A listener that reads, but slowly: for longer than write_timeout its backend is blocked in
# writing what it and others send, and all the time it goes on. It is a bare socket, so that
# nothing reads ahead.
my ($n, $got, $looks, $blocked, $seen, $chunk, $ended) = (200, 0, 0, 0, '', '', 0);
my $socket = IO::Socket::UNIX->new(Peer => $server->host . '/.s.PGSQL.' . $server->port)
  or die "no connection: $!";

sub tell_server
{
	my ($type, $text) = @_;

	return syswrite($socket, $type . pack('N', 4 + length $text) . $text);
}

# Reads so many bytes at most; returns whether the server is still there.
sub read_some
{
	my ($size) = @_;

	return 0 unless IO::Select->new($socket)->can_read($patience);
	return 0 unless sysread($socket, $chunk, $size);
	$seen .= $chunk;
	$got++ while $seen =~ s/^.*?"slowlyx//s;
	substr($seen, 0, -8) = '' if length $seen > 8;
	return 1;
}

my $user = $admin->sql('SELECT current_user');
tell_server('',
	pack('N', 196608) . "user\0$user\0database\0postgres\0application_name\0slowly\0\0");
tell_server('Q', q(LISTEN noise; SELECT evsched.join('slowly', 'slowly', 1000)) . "\0");
wait_until(
	sub {
		$admin->sql(q(SELECT count(*) FROM evsched.listeners WHERE node = 'slowly')) == 1;
	},
	'it to join');
my $pid = $admin->sql(q(SELECT pid FROM evsched.listeners WHERE node = 'slowly'));
$admin->sql(
	q(SELECT count(pg_notify('noise', g || repeat('x', 7900))) FROM generate_series(1, 300) g)
);
$admin->sql(<<"SQL");
SELECT count(*) FROM evsched.post_many((SELECT array_agg(to_jsonb('slowly' || repeat('x', 400))) FROM generate_series(1, $n) g),
									   queue => 'slowly')
SQL
my $slowly_until = time + 4;
while ($got < $n && !$ended)
{
	if (time < $slowly_until)
	{
		usleep(20_000);
		$looks++;
		$blocked += $admin->sql(
			"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND wait_event = 'ClientWrite'"
		);
	}
	$ended = !read_some(8192);
}
is($got, $n, 'a listener that reads slowly gets everything');
is($admin->sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"),
	1, 'and is not ended');
cmp_ok($blocked, '>', 0, 'though it was blocked in writing');
note("blocked at $blocked of $looks looks");
close($socket);

nothing_early();
done_testing();

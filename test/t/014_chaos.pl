# Everything at once: sessions post, take, receive, move, lock, cancel, and take half of
# it back; what they have done is kept in tables, in the same transactions. In the end
# every event that was posted is done, once, and nothing is stuck.
use strict;
use warnings;

use Evsched qw(start_server session listener nothing_early wait_until);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $server  = start_server('chaos', conf => "synchronous_commit = off\n");
my $session = session($server, 'session');

# What pgbench prints, of all scripts together and of each.
my $none_failed = qr/\A(?!.*failed transactions: [1-9])/s;
my @queues      = map { "q$_" } 1 .. 3;

$session->sql('CREATE TABLE posted (id bigint)');
$session->sql('CREATE TABLE done (id bigint)');

# What they do: scripts of pgbench, each with its weight. SOME is one event of a queue,
# FREE a few that nobody holds.
my $scripts = <<'PGBENCH';
-- post 30
POST
-- post_many 3
INSERT INTO posted SELECT evsched.post_many('{1, 2}', '{0, 9 ms}', QUEUE, max_retries => -1);
-- post_back 3
BEGIN;
POST
PAUSE
ROLLBACK;
-- post_savepoint 3
BEGIN;
POST
SAVEPOINT s;
POST
ROLLBACK TO s;
COMMIT;
-- plain 3
WITH new AS (
	INSERT INTO evsched.event (queue, payload, max_retries, due_at)
	VALUES (QUEUE, '1', -1, clock_timestamp() + DELAY)
	RETURNING id)
INSERT INTO posted SELECT id FROM new;
-- take 8
TAKE
-- take_back 8
BEGIN;
TAKE
PAUSE
ROLLBACK;
-- take_savepoint 4
BEGIN;
SAVEPOINT s;
TAKE
PAUSE
ROLLBACK TO s;
TAKE
RELEASE s;
COMMIT;
-- take_prepared 2
BEGIN;
TAKE
PREPARE TRANSACTION 'p:client_id';
PAUSE
COMMIT PREPARED 'p:client_id';
-- take_prepared_back 2
BEGIN;
TAKE
PREPARE TRANSACTION 'p:client_id';
PAUSE
ROLLBACK PREPARED 'p:client_id';
-- receive 4
RECEIVE;
-- receive_back 3
BEGIN;
RECEIVE;
PAUSE
ROLLBACK;
-- receive_confirm 4
INSERT INTO done RECEIVE WHERE evsched.confirm(id);
-- confirm 3
INSERT INTO done SELECT id FROM SOME WHERE evsched.confirm(id);
-- confirm_back 3
BEGIN;
SELECT evsched.confirm(id) FROM SOME;
PAUSE
ROLLBACK;
-- confirm_prepared 2
BEGIN;
INSERT INTO done SELECT id FROM SOME WHERE evsched.confirm(id);
PREPARE TRANSACTION 'p:client_id';
PAUSE
COMMIT PREPARED 'p:client_id';
-- cancel 1
INSERT INTO done SELECT id FROM SOME WHERE evsched.cancel(id);
-- reject 3
SELECT evsched.reject(id, DELAY) FROM SOME;
-- move 6
SELECT evsched.change_delay(id, DELAY) FROM SOME;
-- move_back 3
BEGIN;
SELECT evsched.change_delay(id, '1 hour') FROM SOME;
PAUSE
ROLLBACK;
-- update 3
UPDATE evsched.event SET due_at = clock_timestamp() + DELAY WHERE id IN (FREE);
-- delete_back 2
BEGIN;
DELETE FROM evsched.event WHERE id IN (FREE);
PAUSE
ROLLBACK;
-- lock 2
BEGIN;
FREE;
PAUSE
COMMIT;
PGBENCH

# Listeners that come and go, and confirm nothing.
my $joins = <<'PGBENCH';
-- join_leave 4
JOIN
PAUSE
SELECT evsched.leave(QUEUE);
-- join_release 4
JOIN
PAUSE
SELECT evsched.leave(QUEUE, release => true);
-- join_discard 2
JOIN
PAUSE
DISCARD ALL;
-- join_unlisten 2
JOIN
PAUSE
UNLISTEN *;
-- join_twice 2
JOIN
JOIN
SELECT evsched.set_max_events(:n, QUEUE);
UNLISTEN *;
-- join_back 2
BEGIN;
JOIN
PAUSE
ROLLBACK;
PGBENCH

my %words = (
	POST =>
	  'INSERT INTO posted SELECT evsched.post(to_jsonb(1), DELAY, QUEUE, max_retries => -1);',
	TAKE    => 'INSERT INTO done SELECT id FROM evsched.take(QUEUE, :n);',
	RECEIVE => q(SELECT id FROM evsched.receive(QUEUE, :n, '30 ms')),
	JOIN    => q(SELECT evsched.join('n' || :client_id, QUEUE, :n, '40 ms');),
	SOME    =>
	  '(SELECT id FROM evsched.event WHERE queue = QUEUE ORDER BY random() LIMIT 1) s',
	FREE => 'SELECT id FROM evsched.event WHERE queue = QUEUE ORDER BY random() LIMIT :n '
	  . 'FOR UPDATE SKIP LOCKED',
	PAUSE => '\sleep :pause ms',
	DELAY => q((:due * interval '1 ms')),
	QUEUE => q(('q' || :q)));
my $word   = join('|', keys %words);
my $folder = PostgreSQL::Test::Utils::tempdir();

# Lets them loose for so many seconds.
sub chaos
{
	my ($name, $seconds, $scripts) = @_;
	my @files;
	my @parts = split /^-- (\w+) (\d+)\n/m, $scripts;

	shift @parts;
	while (my ($script, $weight, $text) = splice @parts, 0, 3)
	{
		my $file = "$folder/$seconds$script";

		1 while $text =~ s/\b($word)\b/$words{$1}/g;
		append_to_file($file, <<"PGBENCH");
\\set q random(1, 3)
\\set n random(1, 4)
\\set due random(-10, 60)
\\set pause random(0, 8)
$text
PGBENCH
		push @files, '-f', "$file\@$weight";
	}
	$server->pgbench("-n -c 8 -j 2 -T $seconds",
		0, [$none_failed], [qr{^$}], $name, {}, @files);
	return;
}

# Every event that was posted is done, once.
sub add_up
{
	my ($name) = @_;

	is_deeply([ $session->rows('SELECT * FROM posted EXCEPT ALL SELECT * FROM done') ],
		[], "$name: everything that was posted is done");
	is_deeply([ $session->rows('SELECT * FROM done EXCEPT ALL SELECT * FROM posted') ],
		[], 'once');
	note($session->sql('SELECT count(*) FROM posted') . ' events');
	$session->sql('TRUNCATE posted, done');
	return;
}

# Nobody joins. What is left can be taken.
chaos('without listeners', 4, $scripts);
wait_until(
	sub {
		$session->sql(q(SELECT count(*) FROM evsched.events WHERE state <> 'ready')) == 0;
	},
	'all to be ready');
my $left  = $session->sql('SELECT count(*) FROM evsched.event');
my $taken = 0;
for my $queue (@queues)
{
	$taken += $session->sql(<<"SQL");
WITH done AS (INSERT INTO done SELECT id FROM evsched.take('$queue', 1000000) RETURNING id)
SELECT count(*) FROM done
SQL
}
is($taken, $left, "take finds all of the $left that are left");
add_up('without listeners');

# Each queue has two listeners that stay, and others.
my $book = 'WITH done AS (INSERT INTO done SELECT id FROM unnest(%s::bigint[]) id '
  . 'WHERE evsched.confirm(id) RETURNING id) SELECT count(*) FROM done';
my @listeners;
for my $queue (@queues)
{
	for my $name ('a', 'b')
	{
		push @listeners,
		  listener(
			$server, "$name$queue",
			queue        => $queue,
			max_events   => 5,
			conf_timeout => '50 ms',
			mode         => { confirm => 'each', confirm_sql => $book, quiet => 1 });
	}
}
chaos('with listeners', 5, $scripts . $joins);
my $empty = eval {
	local $Evsched::Session::patience = 10;
	wait_until(sub { $session->sql('SELECT count(*) FROM evsched.event') == 0 },
		'all to be confirmed');
	1;
};
ok($empty, 'the listeners get all that is left')
  || diag(
	explain(
		[   $session->rows(
				'SELECT id, queue, state, due_at, clock_timestamp() FROM evsched.events LIMIT 20'
			) ]));
add_up('with listeners');
my $early = 0;
$early += $_->summary->{early} for @listeners;
is($early, 0, 'nothing was early');
$_->quit for @listeners;

# Lost wake-ups: many posts, each to a scheduler that has just gone to sleep, or is about
# to. One after another: the next is posted when the last has come, so that none hides that
# it was missed.
my $single = listener($server, 'single', queue => 'single', max_events => 1);
my ($lost, $last) = (0, undef);
for my $i (1 .. 1500)
{
	my $due = $i % 3 ? 0 : 1;

	$single->send("SELECT evsched.confirm($last)") if defined $last;
	usleep(rand 600)                               if $i % 2;
	$session->sql("SELECT evsched.post('$i', '$due ms', 'single', max_retries => 1)");
	$single->reply if defined $last;
	my $event = $single->event_within(2);
	$lost++ if !$event;
	$event //= $single->event;
	$last = $event->{id};
}
is($lost, 0, 'no wake-up is lost, one by one');
$single->confirm({ id => $last });
$single->quit;

# All at a time.
my $quick = listener(
	$server, 'quick',
	queue      => 'wake',
	max_events => 1000,
	mode       => { confirm => 'batch', quiet => 1 });
$server->pgbench(
	'-n -c 3 -j 1 -T 3',
	0,
	[$none_failed],
	[qr{^$}],
	'many wake-ups',
	{   'wake_post@1' => <<'PGBENCH',
\set due random(-1, 5)
\set pause random(0, 3000)
SELECT evsched.post('1', :due * interval '1 ms', 'wake', max_retries => 1);
\sleep :pause us
PGBENCH
		'wake_move@1' => <<'PGBENCH',
\set due random(0, 5)
\set pause random(0, 3000)
SELECT evsched.post('1', '1 hour', 'wake', max_retries => 1) AS id \gset
SELECT evsched.change_delay(:id, :due * interval '1 ms');
\sleep :pause us
PGBENCH
	});
wait_until(sub { $session->sql('SELECT count(*) FROM evsched.event') == 0 },
	'all to be confirmed');
my $summary = $quick->summary;
note(
	sprintf(
		'%d events, the latest %.1f ms', $summary->{count}, 1000 * $summary->{latest}));
cmp_ok($summary->{latest}, '<', 0.5, 'nor in a crowd');
is($summary->{early}, 0,                    'none is early');
is($summary->{count}, $summary->{distinct}, 'each comes once');

nothing_early();
done_testing();

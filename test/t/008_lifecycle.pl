# The processes follow the extension and its databases.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early
  scheduler_pid new_scheduler wait_asleep wait_until process_state);
use Test::More;
use Time::HiRes qw(time);

my $server = start_server('lifecycle', create => 0);
my $admin  = session($server, 'admin');

# Databases with a scheduler, as "a b".
sub served
{
	return $admin->sql(
		q(SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '')
						 FROM pg_stat_activity WHERE backend_type = 'evsched scheduler'));
}

sub wait_served
{
	my ($databases) = @_;

	wait_until(sub { served() eq $databases }, "schedulers of $databases");
	return;
}

# An event of that database comes to a listener of it on time.
sub works
{
	my ($database, $name) = @_;
	my $session = session($server, 'works', dbname => $database);

	$session->join(queue => 'works');
	$session->sql(q(SELECT evsched.post('1', '50 ms', 'works')));
	on_time($session->event, $name);
	$session->quit;
	return;
}

# Runs a statement of the admin's; the server itself gives up after 5 s.
sub quick
{
	my ($statement, $name) = @_;
	my $result = $admin->try($statement);

	is($result->{error}, undef, $name);
	cmp_ok($result->{ended} - $result->{began}, '<', 4, 'before the server gives up');
	return;
}

is(served(), '', 'a server without the extension has no scheduler');

# CREATE EXTENSION starts it; in as many databases as there are.
$admin->sql("CREATE DATABASE $_") for qw(one two none);
for my $database (qw(one two))
{
	my $session = session($server, 'create', dbname => $database);
	$session->sql('CREATE EXTENSION evsched');
	$session->join;
	$session->sql(q(SELECT evsched.post('"first"')));
	is($session->event->{payload}, 'first', "$database: the scheduler starts by itself");
}
wait_served('one two');
is(served(), 'one two', 'one for each database with the extension, none elsewhere');

# Each serves its own.
my %in = map { $_ => session($server, $_, dbname => $_) } qw(one two);
$in{$_}->join                                               for qw(one two);
$in{$_}->sql("SELECT evsched.post('\"$_\"')")               for qw(one two);
is($in{$_}->event->{payload}, $_, "$_ gets its own events") for qw(one two);
is_deeply([ map { $in{$_}->events_so_far } qw(one two) ], [], 'and no others');
is($in{$_}->sql('SELECT count(*) FROM evsched.listeners'), 1, "$_ sees its own listeners")
  for qw(one two);

# CREATE EXTENSION that is rolled back, and in one transaction with a post.
my $none = session($server, 'none', dbname => 'none');
$none->sql('BEGIN');
$none->sql('CREATE EXTENSION evsched');
$none->sql('ROLLBACK');
is(served(), 'one two', 'a CREATE EXTENSION that is rolled back starts none');
$none->sql('BEGIN');
$none->sql('CREATE EXTENSION evsched');
$none->sql(q(SELECT evsched.post('"same transaction"')));
$none->sql(q(SELECT evsched.join()));
$none->sql('COMMIT');
is( $none->event->{payload},
	'same transaction',
	'extension, post and join in one transaction');

# DROP EXTENSION rolled back: still served. Committed: gone.
my $drop = session($server, 'drop', dbname => 'none');
$drop->sql('BEGIN');
$drop->sql('DROP EXTENSION evsched');
$drop->sql('ROLLBACK');
$none->sql(q(SELECT evsched.post('"still here"', '50 ms')));
on_time($none->event, 'a DROP EXTENSION that is rolled back changes nothing');
$drop->sql('BEGIN');
$drop->sql('SAVEPOINT s');
$drop->sql('DROP EXTENSION evsched');
$drop->sql('ROLLBACK TO s');
$drop->sql('COMMIT');
$none->sql(q(SELECT evsched.post('"still here"', '50 ms')));
on_time($none->event, 'nor does one in a savepoint');
$drop->sql('BEGIN');
$drop->sql('DROP EXTENSION evsched');
$none->send(q(SELECT evsched.post('"meanwhile"')));
wait_until(
	sub {
		$admin->sql(
			q(SELECT count(*) FROM pg_stat_activity
					  WHERE wait_event_type = 'Lock' AND application_name = 'none')) == 1;
	},
	'a post to wait for the DROP EXTENSION');
my $rolled_back = $drop->try('ROLLBACK');
is($none->reply->{error}, undef, 'a post that waited for it goes on');
cmp_ok($none->event->{at} - $rolled_back->{ended}, '<', 0.1, 'and its event comes');
my $result = $drop->try('DROP EXTENSION evsched');
is($result->{error}, undef, 'DROP EXTENSION');
cmp_ok($result->{ended} - $result->{began}, '<', 0.5, 'does not wait for the scheduler');
wait_served('one two');
is(served(),               'one two', 'its scheduler goes away');
is($none->sql('SELECT 1'), 1,         'who had joined has still a session');
$_->quit for $none, $drop;

# DROP EXTENSION with leases out: ids that start again hide nothing.
my $ann = $in{one};
$ann->sql('SELECT evsched.leave()');
for my $round (1 .. 3)
{
	$ann->join(max_events => 20, conf_timeout => '10 min');
	$ann->sql(<<'SQL');
SELECT evsched.post_many(array_agg(to_jsonb(g)), max_retries => 5)
FROM generate_series(1, 10) g
SQL
	$ann->sql(q(SELECT evsched.post('1', queue => 'pull', max_retries => 5)));
	is_deeply(
		[ map { $_->{payload} } $ann->events(10) ],
		[ 1 .. 10 ],
		"life $round of the extension: every event comes");
	my $id = $ann->sql(q(SELECT id FROM evsched.receive('pull', 9, '10 min')));
	is($id, 11, 'the ids start again') if $round > 1;
	$ann->sql('DROP EXTENSION evsched');
	$ann->sql('CREATE EXTENSION evsched');
	is($ann->sql('SELECT count(*) FROM evsched.listeners'),
		0, 'a new one has no listeners');
	is($ann->sql('SELECT count(*) FROM evsched.events'), 0, 'and no events');
	is_deeply([ $ann->events_so_far ], [], 'nor does it send any');
}
works('one', 'the last one works');

# In one transaction, under a busy scheduler.
my $busy = listener(
	$server, 'busy',
	dbname     => 'one',
	queue      => 'busy',
	max_events => 1,
	mode       => { confirm => 'each', quiet => 1 });
my $filler = session($server, 'filler', dbname => 'one');
$filler->sql(<<'SQL');
SELECT count(*) FROM evsched.post_many(
	(SELECT array_agg(to_jsonb(g)) FROM generate_series(1, 20000) g),
	queue => 'busy', max_retries => 5)
SQL
wait_until(sub { $busy->summary->{count} > 100 }, 'it to be busy');
my $dropped = $filler->try('DROP EXTENSION evsched');
is($dropped->{error}, undef, 'DROP EXTENSION under load');
cmp_ok($dropped->{ended} - $dropped->{began}, '<', 1, 'takes no time');
$busy->kill9;
$filler->sql('CREATE EXTENSION evsched');
works('one', 'a new one works');
$filler->quit;

# A restart of the server.
$in{two}->sql(q(SELECT evsched.post('"restart"', '-1 s', 'restart')));
$_->quit for values %in, $admin;
$server->restart;
$admin = session($server, 'admin');
wait_served('one two');
my $two = session($server, 'two', dbname => 'two');
$two->join(queue => 'restart');
is($two->event->{payload},
	'restart', 'a server restarts: the schedulers start by themselves');
$two->quit;

# It does not stand in the way of those who need the database for themselves.
quick('CREATE DATABASE copy TEMPLATE one', 'CREATE DATABASE ... TEMPLATE');
wait_served('copy one two');
works('copy', 'the copy has the extension and a scheduler');
works('one',  'and the template still has one');
quick('ALTER DATABASE copy RENAME TO other', 'RENAME');
wait_served('one other two');
works('other', 'the renamed one works');
quick('DROP DATABASE other', 'DROP DATABASE');
is(served(), 'one two', 'its scheduler is gone');
wait_asleep(
	$admin->sql(
		q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'evsched launcher')),
	0.1);
is(served(), 'one two', 'for good');
$result = $admin->try('BEGIN; ALTER DATABASE one RENAME TO uno; ROLLBACK');
is($result->{error}, undef, 'RENAME that is rolled back');
wait_served('one two');
works('one', 'it goes on');
$admin->sql(
	'CREATE TABLESPACE space LOCATION \'' . PostgreSQL::Test::Utils::tempdir() . q('));
quick('ALTER DATABASE two SET TABLESPACE space', 'SET TABLESPACE');
wait_served('one two');
works('two', 'it goes on there');
quick('DROP DATABASE two WITH (FORCE)', 'DROP DATABASE ... FORCE');
is(served(), 'one', 'its scheduler is gone');

# A drop that fails leaves it served.
my $user = session($server, 'user', dbname => 'one');
$result = $admin->try('DROP DATABASE one');
is($result->{sqlstate}, '55006', 'DROP DATABASE fails while it is in use');
wait_served('one');
works('one', 'and is served on');
$user->quit;

# A database that is made from template1 with the extension in it.
session($server, 'template', dbname => 'template1')->sql('CREATE EXTENSION evsched');
wait_until(
	sub {
		$admin->sql(
			q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'template1'
					  AND backend_type = 'client backend')) == 0;
	},
	'template1 to be free');
quick('CREATE DATABASE born', 'CREATE DATABASE with the extension in template1');
wait_until(sub { served() =~ /\bborn\b/ }, 'a scheduler of born');
works('born', 'it is served');

# Nothing due, or nobody to give it to: nothing runs, neither in the processes nor in the
# idle listener. One that has all it may hold, one that is told and does not answer, a queue
# of nobody, and a time far away.
my $idle = session($server, 'idle', dbname => 'one');
$idle->join(queue => 'full', max_events => 1, conf_timeout => '10 min');
$idle->join(queue => 'told', max_events => 0);
$idle->sql("SELECT evsched.post('1', '0', '$_', max_retries => 3)")
  for qw(full full told nobody);
$idle->sql(q(SELECT evsched.post('"far"', '1 hour')));
is($idle->event->{queue}, 'full', 'one event is held');
ok($idle->telling, 'one is told of');
my $far = session($server, 'far', dbname => 'one');
$far->sql('SELECT evsched.cancel(0)');
my %pid = (
	scheduler => scheduler_pid($server, 'one'),
	launcher  => $admin->sql(
		q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'evsched launcher')),
	listener => $idle->pid);
my $transactions =
  q(SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'one');

# Waits until everything sleeps, and has told the statistics what it did.
sub settle
{
	my $commits = -1;

	wait_asleep($pid{$_}, 0.5) for keys %pid;
	wait_until(
		sub {
			my $before = $commits;

			$commits = $admin->sql($transactions);
			return $commits == $before;
		},
		'the statistics to settle');
	return $commits;
}

my $commits = settle();
my %before  = map { $_ => process_state($pid{$_}) } keys %pid;
my $until   = time + 3;
wait_until(sub { time > $until }, 'three seconds to pass');
for my $process (sort keys %pid)
{
	is_deeply(process_state($pid{$process}),
		$before{$process}, "the $process does not wake up while there is nothing to do");
}
is($admin->sql($transactions), $commits, 'and there are no transactions');

# Nor does it for what is later than what it waits for, nor for other databases.
$far->sql(q(SELECT evsched.post('"further"', '2 hours'))) for 1 .. 50;
$far->sql(q(SELECT evsched.post('1', queue => 'nobody'))) for 1 .. 50;
my $busier = listener(
	$server, 'busier',
	dbname => 'born',
	mode   => { confirm => 'each', quiet => 1 });
$busier->sql(q(SELECT evsched.post('1', max_retries => 1))) for 1 .. 100;
wait_until(sub { $busier->summary->{count} == 100 }, 'another database to be served');
is_deeply(process_state($pid{scheduler}),
	$before{scheduler}, 'posts for later, and of others, do not wake it');

nothing_early();
done_testing();

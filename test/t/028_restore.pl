# A dump carries everything, restores without a word in every way there is, and nothing
# of it fires until evsched.start(): then all of it does, once, for the right owners.
use strict;
use warnings;

use Evsched qw(start_server session listener nothing_early new_scheduler wait_until);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = PostgreSQL::Test::Utils::tempdir;
my @tables = qw(event dead role queue queue_grant);

# In the target the oids of ann and bob are swapped, and nobody has carol's.
my $source = start_server('source', create => 0);
my $target = start_server('target', create => 0, conf => 'max_worker_processes = 40');
$source->safe_psql('postgres', "CREATE ROLE $_ LOGIN") for qw(ann bob carol users);
$target->safe_psql('postgres', "CREATE ROLE $_ LOGIN") for qw(bob ann);
$target->safe_psql('postgres', $_)
  for 'CREATE ROLE users', 'CREATE ROLE chief LOGIN SUPERUSER';
is( $source->safe_psql('postgres', q(SELECT 'ann'::regrole::oid, 'bob'::regrole::oid)),
	$target->safe_psql('postgres', q(SELECT 'bob'::regrole::oid, 'ann'::regrole::oid)),
	'the target has the oids of two roles swapped');
for my $server ($source, $target)
{
	$server->safe_psql('postgres', "GRANT users TO $_") for qw(ann bob);
}
$source->safe_psql('postgres', $_)
  for 'GRANT users TO carol', 'CREATE DATABASE app', 'ALTER DATABASE app OWNER TO bob';
$source->safe_psql('app', 'CREATE EXTENSION evsched');
$source->safe_psql('app', q(SELECT evsched.grant_usage('users', bulk => true)));

# Runs SQL as that role.
sub as
{
	my ($server, $database, $role, $sql) = @_;

	return $server->safe_psql($database, $sql, extra_params => [ '-U', $role ]);
}

# What is to be dumped. All of it in queue mail is due.
my $random =
  q[(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 8000))];
as($source, 'app', $_, <<"SQL") for qw(ann bob carol postgres);
SELECT evsched.post(to_jsonb(current_user), '-5 min', 'mail', max_retries => 3),
	evsched.post(to_jsonb(current_user), '-5 min', 'mail', key => current_user, max_retries => 3),
	evsched.post(to_jsonb(current_user), '1 hour', 'later', key => current_user, retry_delay => '3 s')
SQL
as($source, 'app', 'ann', <<"SQL");
SELECT evsched.post('"once"', '-5 min', 'mail');
SELECT evsched.post(to_jsonb($random), '-5 min', 'mail', key => 'large', max_retries => 3);
SELECT evsched.reject(evsched.post('"again"', '-5 min', 'mail', max_retries => 3), '-1 s', 'disk full');
SELECT evsched.reject(evsched.post('"dead"', '-5 min', 'mail', key => 'dead'), error => 'hopeless');
SELECT evsched.reject(evsched.post(to_jsonb($random), '-5 min', 'mail'));
SELECT evsched.post_at('"never"', 'infinity', 'later', max_retries => -1);
SELECT evsched.create_queue('anns', 5, '7 s');
SELECT evsched.grant_queue('anns', 'bob', 'post'), evsched.grant_queue('anns', 'carol', 'consume');
SELECT evsched.post('"ann"', '-5 min', 'anns');
INSERT INTO evsched.event (queue, due_at, payload) VALUES ('anns', '-infinity', '"plain"');
SQL
as($source, 'app', 'bob', <<'SQL');
SELECT evsched.post('"bob"', '-5 min', 'anns');
SELECT evsched.pause_queue('still');
SELECT evsched.post('"paused"', '-5 min', 'still', max_retries => 1);
SQL

# What a table holds, as one word.
sub fingerprint
{
	my ($table) = @_;

	return
	  "(SELECT count(*) || ' ' || md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"
	  . " FROM evsched.$table t)";
}

sub fingerprints
{
	my ($server, $database) = @_;

	return [ map { $server->safe_psql($database, 'SELECT ' . fingerprint($_)) } @tables ];
}

# Runs a program of the server's; what it had to say against it.
sub complaints
{
	my (@command) = @_;
	my $said = '';

	IPC::Run::run(\@command, '<', \undef, '>', \my $out, '2>', \$said)
	  or $said .= "$command[0] failed: $?";
	return $said;
}

sub dump_as
{
	my ($database, $name, @options) = @_;

	is( complaints(
			'pg_dump',                   '-d',
			$source->connstr($database), '-f',
			"$folder/$name",             @options),
		'',
		"pg_dump @options");
	return;
}

# A new database of the target, with the dump in it, as it was told to be restored.
sub restore
{
	my ($database, $name, @options) = @_;

	$target->safe_psql('postgres', "CREATE DATABASE $database");
	return restore_into($target, $database, $name, @options);
}

sub restore_into
{
	my ($server, $database, $name, @options) = @_;
	my @program =
	  $name =~ /plain/
	  ? qw(psql -X -q -v ON_ERROR_STOP=1 -o /dev/null)
	  : qw(pg_restore -e);
	my @file = $name =~ /plain/ ? ('-f', "$folder/$name") : ("$folder/$name");

	return is(complaints(@program, @options, '-d', $server->connstr($database), @file),
		'', "$program[0] @options of $name into $database: not a word");
}

# Posters and listeners are at work while it is dumped; a dump has what its snapshot had.
my @busy  = map { session($source, "busy$_", dbname => 'app') } 1 .. 2;
my $eater = listener(
	$source, 'eater',
	dbname     => 'app',
	queue      => 'busy',
	max_events => 50,
	mode       => { confirm => 'batch', quiet => 1 });
my $taker = session($source, 'taker', dbname => 'app');
$_->send(<<'SQL') for @busy;
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'enough') LOOP
		PERFORM evsched.post('"busy"', '-5 min', 'busy', max_retries => 1),
			evsched.post('"taken"', '-5 min', 'taken'),
			evsched.post('"left"', '1 hour', 'left');
		COMMIT;
		PERFORM pg_sleep(0.002);
	END LOOP;
END $$
SQL
$taker->send(<<'SQL');
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'enough') LOOP
		PERFORM evsched.take('taken', 3);
		COMMIT;
	END LOOP;
END $$
SQL
$source->poll_query_until('app',
	q(SELECT count(*) > 20 FROM evsched.event WHERE queue = 'left'));

my $snapshot = session($source, 'snapshot', dbname => 'app');
$snapshot->sql('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $exported = $snapshot->sql('SELECT pg_export_snapshot()');
my $highest  = $snapshot->sql('SELECT last_value FROM evsched.event_id_seq');
my $dumped   = [ map { $snapshot->sql('SELECT ' . fingerprint($_)) } @tables ];
dump_as('app', 'plain',         "--snapshot=$exported");
dump_as('app', 'plain-inserts', "--snapshot=$exported", '--rows-per-insert=3');
dump_as('app', 'custom',        "--snapshot=$exported", '-Fc');
dump_as('app', 'folder',        "--snapshot=$exported", '-Fd', '-j2');
dump_as('app', 'plain-data',    "--snapshot=$exported", '--data-only');
dump_as('app', 'plain-schema',  "--snapshot=$exported", '--data-only', '-n', 'evsched');
dump_as('app', 'plain-tables', "--snapshot=$exported",
	map { ('-t', "evsched.$_") } @tables);
dump_as(
	'app', 'plain-triggers', "--snapshot=$exported", '--data-only',
	'--disable-triggers');
$snapshot->quit;
$source->safe_psql('postgres', 'CREATE DATABASE enough');
is($_->reply->{error}, undef, 'nobody was disturbed by the dumps') for @busy, $taker;
cmp_ok($eater->summary->{count}, '>', 20, 'a listener was served meanwhile');
$_->quit for @busy, $taker, $eater;
as($source, 'app', 'postgres',
	q(DELETE FROM evsched.event WHERE queue IN ('busy', 'taken', 'left')));

# A role that may read everything may dump.
$source->safe_psql('postgres', $_)
  for 'CREATE ROLE reader LOGIN', 'GRANT pg_read_all_data TO reader';
dump_as('app', 'plain-reader', '-U', 'reader');

# What is due in queue mail, and whose it is.
my @payloads =
  ('again', qw(ann ann bob bob carol carol), 'large', 'once', qw(postgres postgres));

# Of a listener's events: the payloads in the order of their names.
sub payloads
{
	my (@events) = @_;

	return [ sort map { $_->{fetch} ? 'large' : $_->{payload} } @events ];
}

# Nothing restored is handed out: what was posted here is, and it is due last.
sub is_silent
{
	my ($database, $listener) = @_;
	my $session = session($target, 'silent', dbname => $database);

	$session->sql(q(SELECT evsched.post('"fresh"', queue => 'mail', max_retries => 3)));
	my $event = $listener->event;
	is($event->{payload},          'fresh', "$database: what is posted here comes");
	is($listener->confirm($event), 't',     'and is confirmed');
	$session->sql(q(SELECT evsched.post('"fresh"', queue => 'anns')));
	for my $pull ('take', 'receive')
	{
		$session->sql(q(SELECT evsched.post('"fresh"', queue => 'pulled')));
		is_deeply(
			[
				map { $_->[0] }
				  $session->rows("SELECT payload FROM evsched.$pull('mail', 100)")
			],
			[],
			"$pull gets none of what was restored");
		is_deeply(
			[
				map { $_->[0] }
				  $session->rows("SELECT payload FROM evsched.$pull('pulled', 100)")
			],
			['"fresh"'],
			'but what was posted here');
	}
	is_deeply(
		[
			map { $_->[0] }
			  $session->rows(q(SELECT payload FROM evsched.take('anns', 100)))
		],
		['"fresh"'],
		'nor from a queue with an owner');
	is_deeply([ $listener->events_so_far ], [], 'no restored event has come');
	is( $session->sql(
			q(SELECT count(*) FROM evsched.events WHERE queue = 'mail' AND state = 'ready')
		),
		scalar @payloads,
		'a superuser sees them');
	$session->quit;
	return;
}

# Every number that is bound here stands for the role of its name.
sub are_owners
{
	my ($server, $database, @roles) = @_;

	return is(
		$server->safe_psql(
			$database,
			q(SELECT string_agg(r.name || '=' || b.role::regrole, ' ' ORDER BY r.name)
			  FROM evsched.role r JOIN evsched.role_binding b USING (n)
			  WHERE r.origin = (SELECT system_identifier FROM pg_control_system()) || '/'
				|| (SELECT oid FROM pg_database WHERE datname = current_database()))),
		join(' ', map { "$_=$_" } sort @roles),
		"$database: the owners are the roles of their names");
}

# After start() all that was restored is handed out, once.
sub fires
{
	my ($database, $listener, @expected) = @_;
	my @events = $listener->events(scalar @expected);

	is_deeply(payloads(@events), \@expected, "$database: all that is due comes");
	for my $event (@events)
	{
		is( $event->{num_retries},
			$event->{payload} eq 'again' ? 1 : 0,
			'as often as before') if !$event->{fetch};
	}
	$listener->sql('SELECT evsched.confirm(ids => ARRAY['
		  . join(',', map { $_->{id} } @events)
		  . '])');
	is_deeply([ $listener->events_so_far ], [], 'and nothing twice');
	return;
}

sub log_count
{
	my ($pattern) = @_;

	return scalar(() = slurp_file($target->logfile) =~ /$pattern/g);
}

# The long story, once: a role is missing.
restore('one', 'plain', '-U', 'chief');
ok( $target->wait_for_log(
		qr/LOG:  evsched does not hand out events whose owners are not bound/),
	'the log says why nothing of it comes');
is_deeply(fingerprints($target, 'one'), $dumped, 'what the snapshot had has arrived');
cmp_ok($target->safe_psql('one', 'SELECT last_value FROM evsched.event_id_seq'),
	'>=', $highest, 'so has the sequence');
my $listener =
  listener($target, 'one', dbname => 'one', queue => 'mail', max_events => 100);
is_silent('one', $listener);
is(log_count(qr/LOG:  evsched does not hand out events whose owners are not bound/),
	1, 'the log has said it once');
is(log_count(qr/HINT:  .*evsched\.start\(\)/), 1, 'and what to do');
isnt(
	$target->psql(
		'one',
		q(SELECT evsched.post('1', queue => 'anns')),
		extra_params => [ '-U', 'bob' ]),
	0,
	'who was granted a queue elsewhere is not here');
as($target, 'one', 'chief', 'SELECT evsched.start()');
fires('one', $listener, grep { $_ ne 'carol' } @payloads);
are_owners($target, 'one', qw(ann bob postgres postgres));
my $owners =
  q(SELECT string_agg(owner, ' ' ORDER BY owner) FROM evsched.events WHERE queue = 'anns');
is(as($target, 'one', 'ann', $owners),
	'ann ann bob', 'the owner of a queue sees what is in it');
is(as($target, 'one', 'bob', $owners), 'bob', 'who may only post sees his own');
is( $target->safe_psql(
		'one', q(SELECT count(*) FROM evsched.events WHERE owner = 'carol')),
	3,
	'the missing role has lost nothing');
$target->safe_psql('one', 'SELECT evsched.stop(), evsched.start()');
$target->safe_psql('postgres', $_) for 'CREATE ROLE carol LOGIN', 'GRANT users TO carol';
$target->safe_psql('one',
	q(SELECT evsched.post('"marker"', queue => 'mail', max_retries => 1)));
my $marker = $listener->event;
is($marker->{payload}, 'marker', 'a role that is made later gets nothing by itself');
$listener->confirm($marker);
$target->safe_psql('one', 'SELECT evsched.start()');
fires('one', $listener, qw(carol carol));
are_owners($target, 'one', qw(ann bob carol postgres postgres));

# Settings, grants, keys, dead events and the paused queue work as they did.
is( as( $target, 'one',
		'carol', q(SELECT string_agg(payload::text, ' ') FROM evsched.take('anns', 9))),
	'"plain" "ann" "bob"',
	'a grant to consume was bound, too');
as($target, 'one', 'bob', q(SELECT evsched.post('1', queue => 'anns')));
is( $target->safe_psql(
		'one',
		q(SELECT max_retries, retry_delay FROM evsched.queues WHERE queue = 'anns')),
	'5|00:00:07',
	'a queue has its settings');
my $still = listener($target, 'still', dbname => 'one', queue => 'still');
is($still->sql(q(SELECT count(*) FROM evsched.take('still'))), 0, 'one is paused');
$target->safe_psql('one', q(SELECT evsched.resume_queue('still')));
is($still->event->{payload}, 'paused', 'until it is resumed');
$still->sql(q(SELECT evsched.pause_queue('still')));
$target->safe_psql('one', q(SELECT evsched.post('"prepared"', queue => 'still')));
$target->safe_psql('one',
	q(BEGIN; SELECT evsched.resume_queue('still'); PREPARE TRANSACTION 'resume'));
is_deeply([ $still->events_so_far ], [], 'it is paused until that is committed');
$target->safe_psql('one', q(COMMIT PREPARED 'resume'));
is($still->event->{payload}, 'prepared', 'by a prepared transaction, too');
$still->quit;
is( $target->safe_psql(
		'one', q(SELECT evsched.post('2', '1 hour', 'later', key => 'ann')
		= (SELECT id FROM evsched.event WHERE key = 'ann' AND queue = 'later'))),
	't',
	'a key is held');
is($target->safe_psql('one', q(SELECT evsched.redrive('mail'))),
	2, 'dead events are brought back');
is_deeply([ map { $_->{payload} } grep { !$_->{fetch} } $listener->events(2) ],
	['dead'], 'and are delivered');
is(log_count(qr/LOG:  evsched does not hand out events whose owners are not bound/),
	1, 'the log has not said it again');

# The other ways of restoring.
my %way = (
	inserts => ['plain-inserts'],
	jobs    => [ 'custom', '-j4', '-U', 'chief' ],
	folder  => [ 'folder', '-j4' ],
	custom  => [ 'custom', '--single-transaction' ],
	psql1   => [ 'plain',  '-1' ]);
for my $database (sort keys %way)
{
	restore($database, @{ $way{$database} });
	is_deeply(fingerprints($target, $database), $dumped, 'all has arrived');
	$listener = listener(
		$target, $database,
		dbname     => $database,
		queue      => 'mail',
		max_events => 100);
	is_silent($database, $listener);
	$target->safe_psql($database, 'SELECT evsched.start()');
	fires($database, $listener, @payloads);
	are_owners($target, $database, qw(ann bob carol postgres postgres));
	$listener->quit;
}

# Over an installation that is at work.
restore_into($target, 'custom', 'custom', '--clean', '--if-exists');
is_deeply(fingerprints($target, 'custom'), $dumped, '--clean: all has arrived');
new_scheduler($target, 0, 'custom');
$listener =
  listener($target, 'custom', dbname => 'custom', queue => 'mail', max_events => 100);
is_silent('custom', $listener);

# Data only, into installations that have something of their own.
for my $name (qw(plain-data plain-schema plain-tables))
{
	my $database = $name =~ s/plain-/only_/r;

	$target->safe_psql('postgres', "CREATE DATABASE $database");
	$target->safe_psql($database,  'CREATE EXTENSION evsched');
	$target->safe_psql($database,  q(SELECT evsched.grant_usage('users')));
	$target->safe_psql($database,  'ALTER SEQUENCE evsched.event_id_seq RESTART 1000000');
	as($target, $database, 'bob', <<'SQL');
SELECT evsched.post('"own"', '-1 min', 'mail', max_retries => 3), evsched.create_queue('anns'),
	evsched.create_queue('bobs', 9), evsched.grant_queue('bobs', 'ann', 'consume'),
	evsched.post('"own"', '1 hour', 'later', key => 'own')
SQL
	my $last =
	  as($target, $database, 'bob', q(SELECT evsched.post('"gone"', queue => 'gone')));
	is(as($target, $database, 'bob', q(SELECT id FROM evsched.take('gone'))),
		$last, 'an id is used up');
	$listener = listener(
		$target, $database,
		dbname     => $database,
		queue      => 'mail',
		max_events => 100);
	is($listener->event->{payload}, 'own', 'its own events come');
	restore_into($target, $database, $name);
	is_silent($database, $listener);
	is( $target->safe_psql(
			$database, q(SELECT queue, owner, max_retries FROM evsched.queues
			WHERE owner IS NOT NULL ORDER BY queue)),
		"anns|bob|\nbobs|bob|9",
		'its own settings stay');
	is($target->safe_psql($database, 'SELECT count(*) FROM evsched.dead'),
		2, 'the rest is added');
	$target->safe_psql($database, 'SELECT evsched.start()');
	fires($database, $listener, @payloads);
	are_owners($target, $database, qw(ann ann bob bob carol postgres postgres));
	cmp_ok($target->safe_psql($database, q(SELECT evsched.post('"next"', '1 hour'))),
		'>', $last, 'after start() ids are not used again');
	$listener->quit;
}

# Data into the database that it came from: at home, it is due as it was.
my $home = fingerprints($source, 'app');
dump_as('app', 'plain-data-home', '--data-only');
$source->safe_psql('app', 'DELETE FROM evsched.event; DELETE FROM evsched.dead');
restore_into($source, 'app', 'plain-data-home');
is_deeply(fingerprints($source, 'app'), $home, 'back at home');
is( $source->safe_psql('app', q(SELECT count(*) FROM evsched.take('mail', 100))),
	scalar @payloads,
	'it is handed out');
isnt(
	complaints(
		'psql', '-X',                    '-v', 'ON_ERROR_STOP=1',
		'-d',   $source->connstr('app'), '-f', "$folder/plain-data-home"),
	'',
	'ids that are there already fail loudly');

# A number that two systems have given to different roles is not mixed up.
$target->safe_psql('postgres', $_) for 'CREATE DATABASE clash';
$target->safe_psql('clash',    <<'SQL');
CREATE EXTENSION evsched;
SELECT evsched.post('1', '1 hour');
SQL
my $n = $target->safe_psql('clash', 'SELECT n FROM evsched.role');
my (undef, undef, $error) =
  $target->psql('clash', "INSERT INTO evsched.role VALUES ($n, 'ann', '1/1')");
like(
	$error,
	qr/owner $n is role "postgres" in this database, not "ann"/,
	'a number of two roles is refused');

# --disable-triggers: nobody is told, and what was to fire always does not any more.
$target->safe_psql('postgres', 'CREATE DATABASE quiet');
$target->safe_psql('quiet',    'CREATE EXTENSION evsched');
$listener =
  listener($target, 'quiet', dbname => 'quiet', queue => 'mail', max_events => 100);
restore_into($target, 'quiet', 'plain-triggers');
is_silent('quiet', $listener);

sub not_always
{
	return $target->safe_psql('quiet',
		q(SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'));
}
cmp_ok(not_always(), '>', 0, '--disable-triggers leaves triggers half enabled');
my $lock = session($target, 'lock', dbname => 'quiet');
$lock->sql('BEGIN');
$lock->sql(q(SELECT evsched.post('1', '1 hour')));
$target->safe_psql('quiet', 'SELECT evsched.start()');
fires('quiet', $listener, @payloads);
ok($target->log_contains(q(evsched's triggers were disabled)),
	'start() does not wait for ever');
$lock->sql('COMMIT');
$target->safe_psql('quiet', 'SELECT evsched.start()');
is(not_always(), 0, 'start() mends them');

$lock->quit;
$listener->quit;

# evsched.start_after_restore.
$target->append_conf('postgresql.conf', "evsched.start_after_restore = on\n");
$target->reload;

for my $database (qw(auto1 auto2))
{
	restore($database, 'custom', $database eq 'auto1' ? '-j4' : '-1');
	$listener = listener(
		$target, $database,
		dbname     => $database,
		queue      => 'mail',
		max_events => 100);
	fires($database, $listener, @payloads);
	$listener->quit;
}
$target->safe_psql('postgres', 'CREATE DATABASE auto3');
$target->safe_psql('auto3',    'CREATE EXTENSION evsched');
$listener =
  listener($target, 'auto3', dbname => 'auto3', queue => 'mail', max_events => 100);
restore_into($target, 'auto3', 'plain-data');
fires('auto3', $listener, @payloads);
are_owners($target, 'auto3', qw(ann bob carol postgres));
$target->safe_psql('postgres', 'DROP ROLE carol');
restore('auto4', 'plain');
$listener =
  listener($target, 'auto4', dbname => 'auto4', queue => 'mail', max_events => 100);
fires('auto4', $listener, grep { $_ ne 'carol' } @payloads);
$target->safe_psql('postgres', 'CREATE ROLE carol LOGIN');
fires('auto4', $listener, qw(carol carol));
$listener->quit;

# A database that watches the same channel keeps its watch, and gets all other series.
$source->safe_psql('postgres', 'CREATE DATABASE watching');
$source->safe_psql('watching', <<'SQL');
CREATE EXTENSION evsched;
SELECT evsched.every('1 hour', 'SELECT 1', key => 'hourly');
SELECT evsched.watch_channel('news', 'SELECT 1');
SELECT evsched.cron('@daily', 'SELECT 1', key => 'daily');
SQL
dump_as('watching', 'plain-watching', '--data-only');
$target->safe_psql('postgres', 'CREATE DATABASE watched');
$target->safe_psql('watched',  <<'SQL');
CREATE EXTENSION evsched;
ALTER SEQUENCE evsched.event_id_seq RESTART 1000000;
SQL
my $news = $target->safe_psql('watched', q(SELECT evsched.watch_channel('news', 'SELECT 2')));
restore_into($target, 'watched', 'plain-watching');
is($target->safe_psql('watched', q(SELECT id FROM evsched.series WHERE channel = 'news')),
	$news, 'a channel that is watched already stays with its watch');
is($target->safe_psql('watched', q(SELECT string_agg(key, ' ' ORDER BY key) FROM evsched.series)),
	'daily hourly', 'the other series are there');
is( $target->safe_psql(
		'watched', q(SELECT evsched.every('2 hours', 'SELECT 1', key => 'hourly')
		= (SELECT id FROM evsched.series WHERE key = 'hourly' AND period = '1 hour'))),
	't',
	'a series can be posted in the place of one');
is($target->safe_psql('watched', q(SELECT period FROM evsched.series WHERE key = 'hourly')),
	'02:00:00', 'with its period');

# A server without the library loaded takes it, too.
$target->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$target->restart;
restore('bare', 'plain');
is_deeply(fingerprints($target, 'bare'), $dumped, 'all has arrived');

nothing_early();
done_testing();

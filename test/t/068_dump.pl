# A dump that is taken while jobs run: restored, nothing of it runs until start(); then every
# series goes on, once, what had not run runs, and the rest is not done again.
use strict;
use warnings;

use Evsched      qw(session nothing_early new_scheduler wait_until);
use Evsched::Job qw(gate_command);
use PostgreSQL::Test::Utils;
use Test::More;

my $jobs   = Evsched::Job->new('dump', roles => ['ann']);
my $server = $jobs->server;
my $dump   = PostgreSQL::Test::Utils::tempdir . '/dump';
my $ann    = $jobs->session_of('ann');

$jobs->sql('CREATE TABLE effect (what text, id bigint, at timestamptz DEFAULT clock_timestamp())');
$jobs->sql('GRANT ALL ON effect TO PUBLIC');

sub effect { return "INSERT INTO effect SELECT '$_[0]', id FROM evsched.current_event()"; }

# Series of jobs and of messages, one paused; jobs that wait, one that runs, a dead one.
$ann->sql("SELECT evsched.every('20 ms', \$\$" . effect('tick') . "\$\$, key => 'tick')");
$ann->sql("SELECT evsched.cron('* * * * * *', \$\$" . effect('second') . "\$\$, key => 'second')");
$ann->sql("SELECT evsched.every('20 ms', \$\$" . effect('paused') . "\$\$, key => 'paused')");
$ann->sql(q(SELECT evsched.pause('paused', 'passive')));
$ann->sql(q(SELECT evsched.post('"beat"', every => '1 h', queue => 'beats', key => 'beat')));
$ann->sql(q(SELECT evsched.on_error($$INSERT INTO effect VALUES ('handled', ($1->>'event_id')::bigint)$$)));
my $dead = $ann->sql(q(SELECT evsched.enqueue('SELECT 1/0')));
$jobs->becomes("SELECT count(*) FROM effect WHERE what = 'handled' AND id = $dead", 1, 'a job has died');
my $done = $ann->sql("SELECT evsched.enqueue(\$\$" . effect('done') . "\$\$)");
$jobs->wait_gone($done);
$jobs->close_gate(1);
my $running = $jobs->enqueue(gate_command(1) . '; ' . effect('running'), session => $ann);
$jobs->wait_at_gate(1);
my $later = $ann->sql("SELECT evsched.after('1 hour', \$\$" . effect('later') . "\$\$)");
$jobs->becomes("SELECT count(*) > 5 FROM effect WHERE what = 'tick'", 't', 'a series runs');

command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-h', $server->host, '-p', $server->port, 'postgres' ],
	'a dump while jobs run');
$jobs->open_gate(1);
$jobs->wait_gone($running);
$server->safe_psql('postgres', 'CREATE DATABASE copy');
command_ok([ 'pg_restore', '-h', $server->host, '-p', $server->port, '-d', 'copy', $dump ],
	'which is restored');

my $copy = session($server, 'copy', dbname => 'copy');
new_scheduler($server, 0, 'copy');
my $before = $copy->sql('SELECT count(*) FROM effect');
my $posted = $copy->sql(q(SELECT evsched.enqueue('SELECT 1')));
wait_until(sub { $copy->sql("SELECT count(*) FROM evsched.run WHERE event_id = $posted AND state = 'succeeded'") == 1 },
	'what is posted in the copy to run');
is($copy->sql('SELECT count(*) FROM effect'), $before, 'restored, it does not run');
is($copy->sql(q(SELECT count(*) FROM evsched.run WHERE owner = 'ann')), 0, 'nor is it told to');

$copy->sql('SELECT evsched.start()');
wait_until(sub { $copy->sql("SELECT count(*) FROM effect WHERE what = 'tick' AND at > (SELECT max(at) FROM effect WHERE what = 'done')") > $before + 5 },
	'the series to go on');
wait_until(sub { $copy->sql("SELECT count(*) FROM effect WHERE id = $running") > 0 }, 'the job that ran to run again');
is($copy->sql("SELECT count(*) FROM effect WHERE id = $running"), 1, 'what ran when it was dumped runs, once');
is($copy->sql("SELECT count(*) FROM effect WHERE id = $done"), 1, 'what had run does not run again');
is($copy->sql("SELECT count(*) FROM effect WHERE what = 'paused'"), 0, 'what was paused is paused');
is($copy->sql(q(SELECT evsched.cancel('tick', 'passive') AND evsched.cancel('second', 'passive'))), 't', 'its series');
is_deeply([ $copy->rows(<<'SQL') ], [ [ 0, 0 ] ], 'none has done a planned time twice');
SELECT count(*) - count(DISTINCT (what, id)), count(*) FILTER (WHERE id IS NULL)
FROM effect WHERE what IN ('tick', 'second')
SQL
is_deeply(
	[ $copy->rows(q(SELECT s.key, count(e.id) FROM evsched.series s LEFT JOIN evsched.events e ON e.recurring = s.id
		GROUP BY 1 ORDER BY 1)) ],
	[ [ 'beat', 1 ], [ 'paused', 1 ] ], 'each series has one occurrence that waits');
is($copy->sql("SELECT state FROM evsched.events WHERE id = $later"), 'scheduled', 'what was for later is');
is($copy->sql("SELECT count(*) FROM evsched.dead_event WHERE id = $dead"), 1, 'what was dead is dead');
my $failing = session($server, 'failing', dbname => 'copy', conninfo => 'user=ann');
my $next = $failing->sql(q(SELECT evsched.enqueue('SELECT 1/0')));
wait_until(sub { $copy->sql("SELECT count(*) FROM effect WHERE what = 'handled' AND id = $next") == 1 },
	'the error handler to be called');
pass('error handlers are restored, too');

nothing_early();
done_testing();

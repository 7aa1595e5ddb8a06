# Servers that do not preload evsched, or keep it silent: events are kept.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time nothing_early wait_until);
use Test::More;

my $server = start_server('preload', create => 0);

sub processes
{
	return $server->safe_psql('postgres',
		q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'evsched%'));
}

$server->adjust_conf('postgresql.conf', 'shared_preload_libraries', q(''));
$server->restart;
$server->safe_psql('postgres', 'CREATE EXTENSION evsched');
is(processes(), 0, 'without preloading there are no processes');

my $session = session($server, 'session');
my $first   = $session->try(q(SELECT evsched.post('"first"', '-1 s', max_retries => 3)));
is($first->{error}, undef, 'post stores the event');
is(scalar(grep { /WARNING.*shared_preload_libraries/s } @{ $first->{notices} }),
	1, 'and warns');
my $second = $session->try(q(SELECT evsched.post_many('{2, 3}', '{1 s}')));
is_deeply($second->{notices}, [], 'once');
my $other = session($server, 'other')->try(q(SELECT evsched.post('"key"', key => 'k')));
is(scalar @{ $other->{notices} },                       1, 'in each session');
is($session->sql('SELECT count(*) FROM evsched.event'), 4, 'the events are there');

is($session->try($_)->{sqlstate}, '55000', "$_ fails")
  for 'SELECT evsched.join()', 'SELECT * FROM evsched.receive()',
  'SELECT evsched.metrics()';
is($session->sql("SELECT count(*) FROM evsched.$_"), 0, "$_ is empty")
  for 'stat_queue', 'stat_scheduler';
is_deeply(
	[ $session->rows('SELECT payload, num_retries FROM evsched.take()') ],
	[ [ '"first"', 0 ] ],
	'take works');
$session->sql('BEGIN');
is($session->sql('SELECT payload FROM evsched.take()'), '"key"', 'again');
$session->sql('ROLLBACK');
is($session->sql(q(SELECT evsched.change_delay('k', '1 hour', 'default'))),
	't', 'change_delay works');
is($session->sql(q(SELECT evsched.cancel('k', 'default'))),   't', 'cancel works');
is($session->sql(q(SELECT count(*) FROM evsched.upcoming())), 2,   'upcoming works');
is($session->sql(q(SELECT count(*) FROM evsched.events)),     2,   'the view works');
my $id = $session->sql(q(SELECT evsched.post('"done"', max_retries => 3)));
is($session->sql("SELECT evsched.reject($id)"),        't', 'reject works');
is($session->sql("SELECT evsched.confirm($id)"),       't', 'confirm works');
is($session->sql("SELECT evsched.extend($id, '1 s')"), 'f', 'there is nothing to extend');
$session->sql(
	q(INSERT INTO evsched.event (queue, payload, max_retries) VALUES ('plain', '1', 3)));
pass('a plain INSERT works');
is( $session->sql(q(SELECT string_agg(item, ', ') FROM evsched.check() WHERE NOT ok)),
	'preload, scheduler', 'check says what is missing');
$session->quit;

# With it, they are delivered.
$server->adjust_conf('postgresql.conf', 'shared_preload_libraries', q('evsched'));
$server->restart;
my $listener = listener($server, 'a');
is_deeply(
	[ map { $_->{payload} } $listener->events(2) ],
	[ 2, 3 ],
	'preloaded: they are delivered');
$listener->join(queue => 'plain');
is($listener->confirm($listener->event), 't', 'each of them');
is($listener->sql('SELECT bool_and(ok) FROM evsched.check()'), 't', 'all is well');

# evsched.enabled = off keeps a copy silent.
$listener->quit;
$server->append_conf('postgresql.conf', 'evsched.enabled = off');
$server->restart;
is(processes(), 0, 'evsched.enabled = off: there are no processes');
$session = session($server, 'session');
my $posted = $session->try(q(SELECT evsched.post('"silent"', max_retries => 3)));
is($posted->{error}, undef, 'post stores the event');
is($session->sql(q(SELECT detail FROM evsched.check() WHERE NOT ok)),
	'evsched.enabled is off', 'check says why nothing comes');
$server->append_conf('postgresql.conf', 'evsched.enabled = on');
$session->quit;
$server->restart;
$listener = listener($server, 'a');
is($listener->event->{payload}, 'silent', 'on again: it is delivered');

nothing_early();
done_testing();

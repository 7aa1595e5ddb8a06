# A standby is silent; promoted, it goes on where the primary has ended.
use strict;
use warnings;

use Evsched
  qw(start_server session listener on_time nothing_early new_scheduler wait_until);
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $primary = start_server('primary', allows_streaming => 1);
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my $poster   = session($primary, 'poster');
my $listener = listener($primary, 'a', conf_timeout => '1 min');
$poster->sql(q(SELECT evsched.post('"confirmed"', max_retries => 3)));
is($listener->confirm($listener->event), 't', 'one is confirmed');
$poster->sql(q(SELECT evsched.post('"held"', max_retries => 3)));
is($listener->event->{payload}, 'held', 'one is delivered');
$poster->sql(q(SELECT evsched.post('"overdue"', '-1 s', 'other', max_retries => 3)));
$poster->sql(q(SELECT evsched.post('"once"', '-1 s', 'other')));
$poster->sql(
	q(SELECT evsched.post('"later"', '1 hour', key => 'later', max_retries => 3)));
$poster->sql(q(SELECT id FROM evsched.receive('other')));
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

# A standby is silent, and says what it cannot do.
my $reader = session($standby, 'reader');
is( $reader->sql(
		q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'evsched%')),
	0,
	'a standby has no processes of evsched');
for my $call (
	'join()',     q(post('1')),            'take()',    'receive()',
	'confirm(1)', q(change_delay(1, '0')), 'cancel(1)', 'reject(1)')
{
	is($reader->try("SELECT evsched.$call")->{sqlstate}, '25006', "$call fails on it");
}
is($reader->sql(q(SELECT count(*) FROM evsched.upcoming(start_offset => '1 min'))),
	1, 'upcoming does not');
is($reader->sql(q(SELECT payload FROM evsched.peek('later', 'default'))),
	'"later"', 'nor peek');
is($reader->sql('SELECT count(*) FROM evsched.events'), 4, 'nor the views');
is($reader->sql('SELECT bool_and(ok) FROM evsched.check()'), 't', 'check is content with it');
$reader->quit;

# Failover.
$primary->stop('immediate');
$standby->promote;
my $promoted = time;
$listener = listener($standby, 'a');
my $event = $listener->event;
is($event->{payload},          'held', 'promoted: what was not confirmed comes again');
is($event->{num_retries},      0,      'not counted as a failed delivery');
is($listener->confirm($event), 't',    'and is confirmed');
$listener->join(queue => 'other');
my @events = $listener->events(2);
is_deeply(
	[ map { $_->{payload} } @events ],
	[ 'overdue', 'once' ],
	'so does what nobody had got');
cmp_ok($events[1]{at} - $promoted, '<', 5, 'soon');
is($listener->confirm($events[0]), 't', 'and is confirmed');
my $session = session($standby, 'session');
is($session->sql(q(SELECT evsched.change_delay('later', '50 ms', 'default'))),
	't', 'later');
$event = $listener->event;
is($event->{payload}, 'later', 'what was scheduled comes');
on_time($event, 'on time');
is($listener->confirm($event), 't', 'and is confirmed');
cmp_ok($session->sql(q(SELECT evsched.post('"new"', '50 ms'))),
	'>', $event->{id}, 'ids are not used again');
is($listener->event->{payload}, 'new', 'it goes on');

nothing_early();
done_testing();

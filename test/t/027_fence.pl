# evsched.fence: what no synchronous standby has is not delivered.
use strict;
use warnings;

use Evsched
  qw(start_server session listener on_time nothing_early scheduler_pid new_scheduler wait_until);
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $primary = start_server(
	'primary',
	allows_streaming => 1,
	conf             => "evsched.fence = on\nwal_sender_timeout = 0\n");
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "wal_receiver_timeout = 0\n");
$standby->start;
$primary->safe_psql('postgres', 'CREATE DATABASE elsewhere');

# Who posts does not wait for the standby: only the fence does.
my $poster = session($primary, 'poster');
$poster->sql('SET synchronous_commit = local');
my $listener = session($primary, 'listener');
$listener->sql('SET synchronous_commit = local');
$listener->join(queue => 'q', conf_timeout => '10 min');

sub post
{
	my ($payload, $max_retries) = @_;

	return $poster->sql("SELECT evsched.post('\"$payload\"', queue => 'q', max_retries => $max_retries)");
}

# Nothing comes, for as long as it would take several times over.
sub nothing_comes
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($listener->event_within(0.3), undef, $name);
}

sub confirm
{
	my ($event) = @_;

	$listener->confirm($event) if $event->{max_retries} != 0;
	return;
}

post('asynchronous', 3);
my $event = $listener->event;
is($event->{payload}, 'asynchronous', 'without synchronous standbys a fence holds back nothing');
confirm($event);

$primary->safe_psql('postgres', $_)
  for q(ALTER SYSTEM SET synchronous_standby_names = 'standby'), 'SELECT pg_reload_conf()';
$primary->poll_query_until('postgres',
	q(SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'));
post('synchronous', 3);
$event = $listener->event;
is($event->{payload}, 'synchronous', 'with one that answers they come');
confirm($event);

# The process of the standby that receives; frozen, it answers nothing.
sub receiver
{
	my $pid;

	wait_until(
		sub {
			$pid = $standby->safe_psql('postgres', 'SELECT max(pid) FROM pg_stat_wal_receiver');
			return $pid;
		},
		'the standby to receive');
	return $pid;
}

# A statement elsewhere that every process must take notice of does not hang.
sub drops_database
{
	my ($name) = @_;
	my $admin = session($primary, 'admin');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$admin->sql('SET synchronous_commit = local');
	$admin->sql('CREATE DATABASE dropped');
	$admin->send('DROP DATABASE dropped');
	my $dropped = $admin->reply;
	is($dropped->{error}, undef, $name);
	cmp_ok($dropped->{ended} - $dropped->{began}, '<', 10, 'soon');
	$admin->quit;
	return;
}

for my $how ('frozen', 'stopped')
{
	my $receiver = receiver();
	if ($how eq 'frozen') { kill('STOP', $receiver); }
	else                  { $standby->stop('immediate'); }
	post("held while $how", 3);
	post("once while $how", 0);
	nothing_comes("the standby is $how: nothing is delivered");
	my $old = scheduler_pid($primary);
	is( $primary->safe_psql('postgres', "SELECT wait_event FROM pg_stat_activity WHERE pid = $old"),
		'SyncRep', 'the scheduler waits for it');
	drops_database('DROP DATABASE elsewhere does not wait with it');
	for my $n (1, 2)
	{
		$primary->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
		$old = new_scheduler($primary, $old);
		nothing_comes('terminated as it waits, it has delivered nothing');
	}
	is($poster->sql(q(SELECT count(*) FROM evsched.event WHERE queue = 'q')),
		2, 'the events are there');

	if ($how eq 'frozen') { kill('CONT', $receiver); }
	else                  { $standby->start; }
	my @events = $listener->events(2);
	is_deeply(
		[ map { $_->{payload} } @events ],
		[ "held while $how", "once while $how" ],
		'the standby is back: they come');
	is_deeply([ map { $_->{num_retries} } @events ], [ 0, 0 ], 'as first deliveries');
	confirm($_) for @events;
	is_deeply([ $listener->events_so_far ], [], 'once');
	$primary->poll_query_until('postgres',
		q(SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'));
}

# stop() does not wait with it, and what waits then is not delivered.
{
	my $receiver = receiver();

	kill('STOP', $receiver);
	post('stopped', 3);
	nothing_comes('held again');
	my $stop = $poster->try(q(SELECT evsched.stop('0')));
	is($stop->{rows}[0][0], 't', 'stopped; nothing is delivered and unconfirmed');
	cmp_ok($stop->{ended} - $stop->{began}, '<', 5, 'soon');
	kill('CONT', $receiver);
	nothing_comes('nor is it afterwards');
	$poster->sql('SELECT evsched.start()');
	my $event = $listener->event;
	is("$event->{payload} $event->{num_retries}", 'stopped 0', 'but when it is started');
	confirm($event);
}

# A lease runs from when its event is sent, not from when that began to wait.
{
	my $receiver = receiver();
	my $short    = listener($primary, 'short', queue => 'short', conf_timeout => '1 s');

	$short->sql('SET synchronous_commit = local');
	kill('STOP', $receiver);
	$poster->sql(q(SELECT evsched.post('1', queue => 'short', max_retries => 3)));
	is($short->event_within(1.5), undef, 'held for longer than conf_timeout');
	kill('CONT', $receiver);
	my $held = $short->event;
	is($held->{num_retries}, 0, 'it comes as a first delivery');
	is($short->event_within(0.5), undef, 'and not once more');
	is($short->confirm($held), 't', 'while it runs');
	$short->quit;
}

# Given up: without the fence, or without synchronous standbys, they come.
for my $setting ('evsched.fence = off', q(synchronous_standby_names = ''))
{
	my $receiver = receiver();
	my ($name) = $setting =~ /^([\w.]+)/;

	kill('STOP', $receiver);
	post("before $name", 3);
	nothing_comes('held again');
	$primary->safe_psql('postgres', $_) for "ALTER SYSTEM SET $setting", 'SELECT pg_reload_conf()';
	$event = $listener->event;
	like($event->{payload}, qr/$name/, "$setting: nothing is held back");
	confirm($event);
	kill('CONT', $receiver);
	$primary->safe_psql('postgres', $_) for "ALTER SYSTEM RESET $name", 'SELECT pg_reload_conf()';
	$primary->safe_psql('postgres', $_)
	  for q(ALTER SYSTEM SET synchronous_standby_names = 'standby'), 'SELECT pg_reload_conf()';
	$primary->poll_query_until('postgres', q(SELECT current_setting('synchronous_standby_names') = 'standby'));
}

$primary->safe_psql('postgres', $_)
  for 'ALTER SYSTEM RESET synchronous_standby_names', 'SELECT pg_reload_conf()';
nothing_early();
done_testing();

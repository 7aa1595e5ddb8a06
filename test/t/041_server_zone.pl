# The time zone of schedules that name none: the server's own, whatever a session's is, and
# evsched.time_zone.
use strict;
use warnings;

use Evsched qw(start_server session wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $server = start_server('server_zone', conf => "timezone = 'Europe/Berlin'");

# Noon of a winter's day, where it is that: in UTC.
my $noon = q(SELECT to_char(f AT TIME ZONE 'UTC', 'HH24:MI')
	FROM evsched.next_fires('0 12 * * *', 1, NULL, '2026-01-10 00:00Z') f);

sub noon_is
{
	my ($expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($server->safe_psql('postgres', $noon), $expected, $name);
}

sub reload
{
	my ($expected, $name, @settings) = @_;

	$server->append_conf('postgresql.conf', join("\n", @settings));
	$server->reload;
	wait_until(sub { $server->safe_psql('postgres', $noon) eq $expected }, $name);
	return pass($name);
}

{
	local $ENV{PGTZ} = 'Asia/Kathmandu';
	is($server->safe_psql('postgres', 'SHOW TimeZone'),
		'Asia/Kathmandu', 'a session has another');
	noon_is('11:00', 'but the schedule the zone of the server');
}
$server->safe_psql('postgres', q(ALTER DATABASE postgres SET TimeZone = 'Asia/Tokyo'));
noon_is('11:00', 'not that of the database');
$server->safe_psql('postgres', q(ALTER ROLE ALL SET TimeZone = 'Asia/Tokyo'));
noon_is('11:00', 'nor that of its role');
$server->restart;
noon_is('11:00', 'nor after a restart');

# A session that was there before sees what is new, too.
my $session = session($server, 'session');
$session->sql(q(SET TimeZone = 'Asia/Tokyo'));
reload(
	'17:00',
	"the server's is another, and the configuration read again",
	q(timezone = 'America/New_York'));
is($session->sql($noon), '17:00', 'also in a session that was there');

# evsched.time_zone
reload('03:00', 'evsched.time_zone', q(evsched.time_zone = 'Asia/Tokyo'));
wait_until(sub { $session->sql($noon) eq '03:00' }, 'the session to read it');
my $end = -s $server->logfile;
$server->append_conf('postgresql.conf', q(evsched.time_zone = 'Mars/Olympus_Mons'));
$server->reload;
$server->wait_for_log(qr/invalid value for parameter "evsched.time_zone"/, $end);
noon_is('03:00', 'an unknown one changes nothing');
is($session->try(q(SET evsched.time_zone = 'UTC'))->{sqlstate},
	'55P02', 'no session has one of its own');
reload('17:00', 'empty: the zone of the server again', q(evsched.time_zone = ''));

# A server that keeps silent has no launcher.
$server->append_conf('postgresql.conf', 'evsched.enabled = off');
$server->restart;
noon_is('17:00', 'without a launcher it is what the server has started with');

# Without preloading nobody knows.
$server->adjust_conf('postgresql.conf', 'shared_preload_libraries', q(''));
$server->restart;
$session = session($server, 'other');
is($session->try($noon)->{sqlstate}, '55000', 'not preloaded: it must be named');
is($session->sql(q(SELECT count(*) FROM evsched.next_fires('0 12 * * *', 3, 'UTC'))),
	3, 'then it works');

done_testing();

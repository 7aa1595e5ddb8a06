# Somebody sets the server's clock, forward and back by an hour: nothing comes before it is
# due by that clock, nothing is lost, and leases do not care.
#
# libfaketime does it to this server alone. Unlike the kernel it does not wake who sleeps
# until a time (TFD_TIMER_CANCEL_ON_SET), so after each change a post does. And it leaves
# alone whoever is forked while select() waits, which is how the postmaster of server 15
# starts background processes: so select() is not libfaketime's.
use strict;
use warnings;

use Evsched qw(start_server session listener scheduler_pid new_scheduler wait_until);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my ($library) = glob('/usr/lib/*/faketime/libfaketime.so.1');
plan skip_all => 'libfaketime is not installed' unless defined $library;
plan skip_all => 'libfaketime does not go together with a sanitizer'
  if ($ENV{EVSCHED_COPT} // '') =~ /-fsanitize/;

my $folder = PostgreSQL::Test::Utils::tempdir();
my $clock  = "$folder/clock";
my $ahead  = 0;
append_to_file("$folder/select.c", <<'C');
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int
select(int n, fd_set *in, fd_set *out, fd_set *err, struct timeval *timeout)
{
	struct timespec ts;

	if (timeout)
		ts = (struct timespec) {timeout->tv_sec, timeout->tv_usec * 1000};
	return syscall(SYS_pselect6, n, in, out, err, timeout ? &ts : 0, 0);
}
C
plan skip_all => 'there is no compiler'
  if system("cc -shared -fPIC -o '$folder/select.so' '$folder/select.c'") != 0;

sub set_clock
{
	($ahead) = @_;

	append_to_file("$clock.new", sprintf("%+d\n", $ahead));
	rename("$clock.new", $clock) or die "rename: $!";
	return;
}

set_clock(0);
my $server = start_server('clock', create => 0);
$server->stop;
{
	local %ENV = (
		%ENV,
		LD_PRELOAD              => "$folder/select.so:$library",
		FAKETIME_TIMESTAMP_FILE => $clock,
		FAKETIME_NO_CACHE       => 1,
		DONT_FAKE_MONOTONIC     => 1,
		FAKETIME_DONT_FAKE_MONOTONIC => 1);
	$server->start;
}
$server->safe_psql('postgres', 'CREATE EXTENSION evsched');
my $admin = session($server, 'admin');
my $ann   = listener($server, 'a', max_events => 100, conf_timeout => '10 min');

# By the server's clock.
sub late
{
	my ($event) = @_;

	return $event->{at} + $ahead - $event->{due};
}

sub clock_is
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return cmp_ok(
		abs($admin->sql('SELECT extract(epoch FROM clock_timestamp())') - $ahead - time),
		'<', 10, $name);
}

sub comes
{
	my ($payload, $name) = @_;
	my $event = $ann->event;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($event->{payload}, $payload, $name);
	cmp_ok(late($event), '>=', 0, 'not early by the server\'s clock');
	return $event;
}

# These and no others come, in any order.
sub come
{
	my ($name, @payloads) = @_;
	my @events = $ann->events(scalar @payloads);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply([ sort map { $_->{payload} } @events ], \@payloads, $name);
	is(scalar(grep { late($_) < 0 } @events), 0, 'not early by the server\'s clock');
	return;
}

sub post
{
	my ($payload, $delay, $queue) = @_;

	return $admin->sql(
		"SELECT evsched.post('\"$payload\"', '$delay', '${\($queue // 'default')}', max_retries => 3)"
	);
}

clock_is('the server\'s clock is right');
post('now', '100 ms');
$ann->confirm(comes('now', 'an event comes'));

# Forward. Two leases, of a listener and of nobody, do not end because of it.
my $bob = listener($server, 'b', queue => 'lease', conf_timeout => '2 s');
post('lease', '0', 'lease');
my $lease = $bob->event;
post('pull', '0', 'pull');
is($admin->sql(q(SELECT payload FROM evsched.receive('pull', 1, '2 s'))),
	'"pull"', 'one is received');
my $received = time;
post('in half an hour', '30 min');
post('in two hours',    '2 hours');
set_clock(3600);
clock_is('the clock is set an hour ahead');
post('in two hours and a bit', '1 hour 100 ms');
post('wake',                   '-45 min');
come('what has become due comes at once', 'in half an hour', 'wake');
my $again = $bob->event;
is($again->{payload}, 'lease', 'a lease');
cmp_ok($again->{at} - $lease->{at}, '>', 1, 'runs as long as before');
cmp_ok($again->{at} - $lease->{at}, '<', 60, 'and no longer');
$bob->confirm($again);
$again = listener($server, 'c', queue => 'pull')->event;
is($again->{payload}, 'pull', 'a lease of nobody');
cmp_ok($again->{at} - $received, '>', 1, 'too');
cmp_ok($again->{at} - $received, '<', 60,  'and no longer');
$admin->sql("SELECT evsched.confirm($again->{id})");

# Back by an hour, in the middle of a pause of a queue with a locked row, and of the
# launcher's after failures of a scheduler.
post('soon', '5 s');
my $posted = time;
post('held', '-2 hours', 'held');
my $locker = session($server, 'locker');
$locker->sql('BEGIN');
$locker->sql(q(SELECT FROM evsched.event WHERE queue = 'held' FOR UPDATE));
$bob->join(queue => 'held');
is($bob->event_within(0.1), undef, 'a locked row is waited for');
set_clock(0);
clock_is('the clock is set back by an hour');
$locker->sql('COMMIT');
is($bob->event->{payload}, 'held', 'unlocked, it comes');
post('alive', '100 ms');
comes('alive', 'a new event comes');
$locker->sql('ALTER INDEX evsched.event_due RENAME TO event_late');
$admin->sql("SELECT pg_terminate_backend(${\scheduler_pid($server)})");
my $log = -s $server->logfile;

sub failures
{
	return scalar(() = substr(slurp_file($server->logfile), $log) =~ /ERROR:.*is missing/g);
}
wait_until(sub { failures() >= 3 }, 'the scheduler to fail');
set_clock(-3600);
my $before = failures();
wait_until(sub { failures() > $before + 1 }, 'another one to be started');
pass('a failed scheduler is started again in spite of that');
$locker->sql('ALTER INDEX evsched.event_late RENAME TO event_due');
new_scheduler($server);
wait_until(sub { time > $posted + 5 }, 'five seconds to pass');
post('alive', '100 ms');
comes('alive', 'that one works, too');
is_deeply([ $ann->events_so_far ], [], 'what was due soon is not due for an hour');

# Forward again: all that was posted has come.
set_clock(3 * 3600);
post('wake', '-5 hours');
come('the rest comes', 'in two hours', 'in two hours and a bit', 'soon', 'wake');
is($admin->sql(q(SELECT count(*) FROM evsched.events WHERE state = 'scheduled')),
	0, 'nothing is left');
is_deeply([ $ann->events_so_far ], [], 'nor comes again');

done_testing();

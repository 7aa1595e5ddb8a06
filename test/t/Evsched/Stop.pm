# Stop.pm: processes that are stopped at named points (src/stop.c, doc/design.md), and what
# they die of there.
#
#   stop_at($server, $pid, 'turn begun');    # when the process gets there next
#   wait_stopped($server, $pid);
#   go_on($server, $pid);
package Evsched::Stop;

use strict;
use warnings;

use Evsched qw(wait_until);
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT_OK = qw(require_stop_points stop_at wait_stopped go_on crash);

# Skips the whole test where the library has no stop points.
sub require_stop_points
{
	my $folder = `${\($ENV{PG_CONFIG} // 'pg_config')} --pkglibdir`;

	chomp $folder;
	plan skip_all => 'evsched is built without -DEVSCHED_STOP_POINTS'
	  unless slurp_file("$folder/evsched.so") =~ /evsched_stop/;
	return;
}

sub folder
{
	my ($server) = @_;

	return $server->data_dir . '/evsched_stop';
}

# Asks a process to stop when it gets to a point.
sub stop_at
{
	my ($server, $pid, $point) = @_;

	mkdir folder($server);
	append_to_file(folder($server) . "/$pid $point", '');
	return;
}

# Waits until it is there.
sub wait_stopped
{
	my ($server, $pid) = @_;

	return wait_until(sub { -e folder($server) . "/$pid stopped" },
		"process $pid to stop");
}

# Lets it go on.
sub go_on
{
	my ($server, $pid) = @_;

	unlink(folder($server) . "/$pid stopped") or die "process $pid is not stopped";
	return;
}

# Kills processes of the server, which restarts itself; without any, all of them, and starts
# the server again.
sub crash
{
	my ($server, @victims) = @_;
	my ($postmaster) = split /\n/, slurp_file($server->data_dir . '/postmaster.pid');
	my @processes = split ' ', `ps -o pid= --ppid $postmaster`;

	$server->kill9 unless @victims;
	kill('KILL', @victims ? @victims : @processes);
	wait_until(
		sub {
			!grep { -e "/proc/$_" } @processes, @victims ? () : $postmaster;
		},
		'the processes to end');
	return $server->start unless @victims;
	return wait_until(sub { eval { $server->safe_psql('postgres', 'SELECT 1') } },
		'the server to recover');
}

1;

# A server is killed under load and its synchronous standby promoted: what was
# acknowledged is there, what was confirmed stays so.
use strict;
use warnings;

use Evsched qw(start_server wait_until);
use Evsched::Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $primary = start_server(
	'primary',
	allows_streaming => 1,
	conf             => "synchronous_commit = on\n");
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$primary->append_conf('postgresql.conf', q(synchronous_standby_names = 'standby'));
$primary->reload;
$primary->poll_query_until('postgres',
	q(SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'))
  or die 'the standby is not synchronous';

# Twice as many post as confirm: something is always under way.
my $ledger = Evsched::Ledger->new(
	sprintf(
		'host=%s,%s port=%d,%d dbname=postgres target_session_attrs=read-write',
		$primary->host, $standby->host, $primary->port, $standby->port),
	(map { $_ => 'post' } qw(p1 p2 p3 p4)),
	(map { $_ => 'each' } qw(c1 c2)));
$ledger->let_work(200);

my ($postmaster) = split /\n/, slurp_file($primary->data_dir . '/postmaster.pid');
my @processes    = ($postmaster, split ' ', `ps -o pid= --ppid $postmaster`);
$primary->kill9;
wait_until(
	sub {
		!grep { -e "/proc/$_" } @processes;
	},
	'the processes of the server to end');
my $dead = time;
$standby->promote;
$ledger->let_work(200);
pass('the standby is promoted: it goes on');

is_deeply([ $ledger->stop($ledger->posters) ], [ (0) x 4 ], 'the posters end');
ok( $standby->poll_query_until(
		'postgres', q(SELECT count(*) = 0 FROM evsched.event WHERE queue = 'ledger')),
	'everything is confirmed in the end');
is_deeply([ $ledger->stop($ledger->listeners) ], [ (0) x 2 ], 'the listeners end');

$ledger->check_books;
my $books = $ledger->books;
my ($got, $confirmed_at) = @{$books}{qw(got confirmed_at)};
my @posted =
  grep { $_->[0] eq 'posted' && $_->[2] < $dead } $ledger->lines($ledger->posters);
my @open = grep {
	!$books->{unsure}{$_} && !($confirmed_at->{$_} && $confirmed_at->{$_} < $dead)
} map { $_->[1] } @posted;
my @settled = grep { $_ < $dead } values %$confirmed_at;

note(sprintf '%d confirmed before, %d open', scalar @settled, scalar @open);
cmp_ok(scalar @settled, '>', 0, 'some were confirmed before');
cmp_ok(scalar @open,    '>', 0, 'others were not');
is( scalar(
		grep {
			!grep { $_->[0] > $dead } @{ $got->{$_} }
		} @open),
	0,
	'each of these was delivered by the new primary');
is( scalar(
		grep { $_->[1] != 0 } map { @$_ } values %$got),
	0,
	'nothing was counted as a failed delivery');

done_testing();

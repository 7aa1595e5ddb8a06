# Copies that have the oids with them: of a database, of a server, by pg_upgrade, by logical
# replication. What came with a copy waits; what is posted in it does not.
use strict;
use warnings;

use Evsched qw(start_server listener nothing_early new_scheduler);
use Cwd;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = start_server('original', allows_streaming => 'logical');
$server->safe_psql('postgres', "CREATE ROLE $_ LOGIN") for qw(ann bob users);
$server->safe_psql('postgres', $_)
  for 'GRANT users TO ann', 'GRANT users TO bob', q(SELECT evsched.grant_usage('users'));

sub as
{
	my ($where, $database, $role, $sql) = @_;

	return $where->safe_psql($database, $sql, extra_params => [ '-U', $role ]);
}

# Two events of that role, due.
sub post_as
{
	my ($where, $database, $role) = @_;

	as($where, $database, $role, <<'SQL');
SELECT evsched.post(to_jsonb('old ' || current_user), '-5 min', 'mail', max_retries => 3),
	evsched.post(to_jsonb('old ' || current_user), '-5 min', 'mail', key => current_user, max_retries => 3)
SQL
	return;
}

sub payloads
{
	my ($listener, $n) = @_;
	my @events = $listener->events($n);

	$listener->sql('SELECT evsched.confirm(ids => ARRAY['
		  . join(',', map { $_->{id} } @events)
		  . '])');
	return join(', ', sort map { $_->{payload} } @events);
}

# What is posted here comes at once, what came with the copy does not.
sub is_silent
{
	my ($where, $database, $listener, @roles) = @_;

	for my $role (@roles)
	{
		as($where, $database, $role,
			q(SELECT evsched.post(to_jsonb('new ' || current_user), '0', 'mail', max_retries => 3))
		);
		is(payloads($listener, 1),
			"new $role", "what $role posts in the copy comes at once");
		as($where, $database, $role,
			q(SELECT evsched.post(to_jsonb('new ' || current_user), '0', 'take')));
		is( as($where, $database, $role, q(SELECT payload FROM evsched.take('take', 9))),
			qq("new $role"),
			'and is taken');
	}
	is( as( $where, $database, 'postgres',
			q(SELECT count(*) FROM evsched.take('mail', 9))),
		0,
		'what came with the copy is not');
	is_deeply([ $listener->events_so_far ], [], 'nor has it come');
	return;
}

# A copy of a database, of a template that is being served.
post_as($server, 'postgres', $_) for qw(ann bob);
as($server, 'postgres', 'ann', q(SELECT evsched.create_queue('anns')));
$server->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE postgres');
my $listener =
  listener($server, 'copy', dbname => 'copy', queue => 'mail', max_events => 9);
is_silent($server, 'copy', $listener, qw(ann bob));

# Roles are renamed, dropped and made again meanwhile: the copy knows who is who.
$server->safe_psql('postgres', 'ALTER ROLE ann RENAME TO anna');
$server->safe_psql('postgres', 'CREATE ROLE ann LOGIN IN ROLE users');
$server->safe_psql('copy',     'SELECT evsched.start()');
is(payloads($listener, 4), 'old ann, old ann, old bob, old bob', 'start(): they come');
is( $server->safe_psql('copy', q(SELECT owner FROM evsched.queues WHERE queue = 'anns')),
	'anna',
	'names follow a role that was renamed between the copy and start()');
isnt(
	$server->psql(
		'copy',
		q(SELECT evsched.post('1', queue => 'anns')),
		extra_params => [ '-U', 'ann' ]),
	0,
	'a new role of the old name inherits nothing');
$listener->quit;
$listener = listener($server, 'home', queue => 'mail', max_events => 9);
is(payloads($listener, 4), 'old ann, old ann, old bob, old bob', 'the original goes on');

# A role is dropped and made again: its events wait for ever, here and in a dump.
$listener->quit;
post_as($server, 'postgres', 'bob');
$server->safe_psql('postgres', 'DROP ROLE bob');
$server->safe_psql('postgres', 'CREATE ROLE bob LOGIN IN ROLE users');
$server->poll_query_until('postgres',
	q(SELECT count(*) = 1 FROM evsched.role WHERE name = 'bob' AND origin = 'dropped'));
$listener = listener($server, 'home', queue => 'mail', max_events => 9);
is_silent($server, 'postgres', $listener, qw(bob));
$server->safe_psql('postgres', 'SELECT evsched.stop(), evsched.start()');
is_silent($server, 'postgres', $listener, qw(bob));
my $dump = $server->basedir . '/dump';
$server->command_ok([ 'pg_dump', '-d', $server->connstr('postgres'), '-f', $dump ],
	'pg_dump');
$server->safe_psql('postgres', 'CREATE DATABASE restored');
$server->command_ok(
	[
		'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $server->connstr('restored'),
		'-f',   $dump
	],
	'restored');
$server->safe_psql('restored', 'SELECT evsched.start()');
my $restored =
  listener($server, 'restored', dbname => 'restored', queue => 'mail', max_events => 9);
is_silent($server, 'restored', $restored, qw(bob));
is( $server->safe_psql(
		'restored', q(SELECT count(*) FROM evsched.events WHERE owner = 'bob')),
	2,
	'nothing is lost');
$_->quit for $listener, $restored;
$server->safe_psql('postgres', q(DELETE FROM evsched.event));

post_as($server, 'postgres', $_) for qw(anna bob);

# A copy of the server's files.
sub copy_of_server
{
	my ($name) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);

	$copy->init_from_backup($server, 'cold');
	return $copy;
}

$server->stop;
$server->backup_fs_cold('cold');
$server->start;
my $silent = copy_of_server('silent');
$silent->append_conf('postgresql.conf', "evsched.enabled = off\n");
$silent->start;
$listener = listener($silent, 'silent', queue => 'mail', max_events => 9);
ok($silent->poll_query_until('postgres', 'SELECT count(*) = 1 FROM evsched.listeners'),
	'evsched.enabled = off: a listener may join');
is( $silent->safe_psql(
		'postgres',
		q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'evsched%')),
	0,
	'there is nobody to serve it');
like(
	($silent->psql('postgres', 'SELECT evsched.start()'))[2],
	qr/this database has no scheduler/,
	'start() says so');
is($silent->safe_psql('postgres', q(SELECT count(*) FROM evsched.take('mail', 9))),
	4, 'a physical copy cannot be told from a failover: take gives what is due');
is_deeply([ $listener->events_so_far ], [], 'a listener gets nothing');
$listener->quit;
$silent->stop;

# pg_resetwal takes over what a damaged pg_control says: so it may say another identifier.
my $clone = copy_of_server('clone');
open(my $control, '+<:raw', $clone->data_dir . '/global/pg_control') or die $!;
print $control pack('Q', 4711);
close($control);
command_ok([ 'pg_resetwal', '-f', '-D', $clone->data_dir ], 'a new system identifier');
$clone->start;
is($clone->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'),
	4711, 'is that of the clone');
$listener = listener($clone, 'clone', queue => 'mail', max_events => 9);
is_silent($clone, 'postgres', $listener, qw(anna bob));
$clone->safe_psql('postgres', 'SELECT evsched.start()');
is(payloads($listener, 4), 'old anna, old anna, old bob, old bob', 'start(): they come');
$listener->quit;
$clone->stop;

# pg_upgrade.
my $upgraded = PostgreSQL::Test::Cluster->new('upgraded');
$upgraded->init;
$server->stop;
my ($bin) = run_command([ 'pg_config', '--bindir' ]);
my @upgrade = (
	'pg_upgrade', '--no-sync',         '-d', $server->data_dir,
	'-D',         $upgraded->data_dir, '-b', $bin,
	'-B',         $bin,                '-s', $server->host,
	'-p',         $server->port,       '-P', $upgraded->port);

$upgraded->append_conf('postgresql.conf', "shared_preload_libraries = 'evsched'\n");
{
	my $here = Cwd::getcwd();

	chdir $PostgreSQL::Test::Utils::tmp_check or die $!;
	command_ok(\@upgrade, 'pg_upgrade');
	chdir $here or die $!;
}
$upgraded->start;
new_scheduler($upgraded, 0);
$listener = listener($upgraded, 'upgraded', queue => 'mail', max_events => 9);
is_silent($upgraded, 'postgres', $listener, qw(anna bob));
is( $upgraded->safe_psql(
		'postgres',
		q(SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A')),
	0,
	'pg_upgrade: triggers fire always');
$upgraded->safe_psql('postgres', 'SELECT evsched.start()');
is(payloads($listener, 4), 'old anna, old anna, old bob, old bob', 'start(): they come');
$listener->quit;
$upgraded->stop;

# Logical replication of everything makes a copy, of which nothing fires until start().
$server->start;
$server->safe_psql('postgres', <<'SQL');
CREATE PUBLICATION whole FOR TABLE evsched.event, evsched.role, evsched.queue, evsched.queue_grant;
SELECT pg_create_logical_replication_slot('whole', 'pgoutput');
SQL
$server->safe_psql('postgres',   'CREATE DATABASE subscriber');
$server->safe_psql('subscriber', 'CREATE EXTENSION evsched');
$listener = listener(
	$server, 'subscriber',
	dbname     => 'subscriber',
	queue      => 'mail',
	max_events => 9);
$server->safe_psql('subscriber', sprintf(<<'SQL', $server->host, $server->port));
CREATE SUBSCRIPTION whole CONNECTION 'host=%s port=%d dbname=postgres'
PUBLICATION whole WITH (create_slot = false, slot_name = 'whole')
SQL
$server->poll_query_until('subscriber',
	q(SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel))
  or die 'not synchronized';
post_as($server, 'postgres', 'ann');
$server->poll_query_until('subscriber',
	q(SELECT count(*) = 2 FROM evsched.events WHERE owner = 'ann'));
is_silent($server, 'subscriber', $listener, 'postgres');
$server->safe_psql('subscriber', 'SELECT evsched.start()');
is( payloads($listener, 6),
	'old ann, old ann, old anna, old anna, old bob, old bob',
	'start(): what was replicated comes');
is( $server->safe_psql(
		'subscriber',
		q(SELECT string_agg(DISTINCT r.name || '=' || b.role::regrole, ' ')
		  FROM evsched.role r JOIN evsched.role_binding b USING (n) WHERE r.name IN ('ann', 'anna'))
	),
	'ann=ann anna=anna',
	'for the right owners');
$listener->quit;

nothing_early();
done_testing();

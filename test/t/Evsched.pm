# Evsched.pm: servers with evsched, for the TAP tests.
#
# What every test does before its own story begins. Tests wait on what can be
# observed (poll_query_until, wait_for_log), never on time passing.
package Evsched;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;

our @EXPORT_OK = qw(start_server);

# A running server with evsched preloaded and created in database postgres.
# Options: conf (lines of postgresql.conf), and those of Cluster's init().
sub start_server
{
	my ($name, %options) = @_;
	my $conf = delete $options{conf} // '';
	my $server = PostgreSQL::Test::Cluster->new($name);

	$server->init(%options);
	$server->append_conf('postgresql.conf',
		"shared_preload_libraries = 'evsched'\n$conf");
	$server->start;
	$server->safe_psql('postgres', 'CREATE EXTENSION evsched');
	return $server;
}

1;

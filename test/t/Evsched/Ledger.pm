# Ledger.pm: posters and listeners that outlive a server, each with a ledger of its own
# outside the database (ledger_process.py), and the books they make together.
package Evsched::Ledger;

use strict;
use warnings;

use Evsched        qw(wait_until);
use File::Basename qw(dirname);
use IPC::Open2;
use PostgreSQL::Test::Utils;
use Test::More;

# Takes where they connect to, and names with kinds: post, each, batch.
sub new
{
	my ($class, $conninfo, %kind) = @_;
	my $self = bless { kind => \%kind, client => {} }, $class;

	for my $name (sort keys %kind)
	{
		my $client = $self->{client}{$name} =
		  { ledger => "$PostgreSQL::Test::Utils::tmp_check/ledger_$name" };

		$client->{pid} = open2(
			$client->{out}, $client->{in},
			'/usr/bin/python3', dirname(__FILE__) . '/../ledger_process.py',
			$kind{$name}, $conninfo . ' user=' . getpwuid($<),
			$name, $client->{ledger});
	}
	return $self;
}

sub listeners
{
	my ($self) = @_;

	return grep { $self->{kind}{$_} ne 'post' } sort keys %{ $self->{kind} };
}

sub posters
{
	my ($self) = @_;

	return grep { $self->{kind}{$_} eq 'post' } sort keys %{ $self->{kind} };
}

# Lets these end; their statuses.
sub stop
{
	my ($self, @names) = @_;

	return map {
		close($self->{client}{$_}{in});
		waitpid($self->{client}{$_}{pid}, 0);
		$?;
	} @names;
}

# The lines of the ledgers: [word, number, time, num_retries].
sub lines
{
	my ($self, @names) = @_;

	return
	  map { [split] } map { split /\n/, slurp_file($self->{client}{$_}{ledger}) } @names;
}

sub size
{
	my ($self, $name) = @_;

	return -s $self->{client}{$name}{ledger} // 0;
}

# Waits until each of the listeners has got and confirmed about so many more events; what
# it looks like when that is in vain is said by the callback.
sub let_work
{
	my ($self, $n, $explain) = @_;

	for my $name ($self->listeners)
	{
		my $before = $self->size($name);

		eval {
			wait_until(sub { $self->size($name) > $before + $n * 65 }, "$name to work");
			1;
		} or do {
			my $error = $@;

			$explain->() if $explain;
			diag(join(' ', map { "$_ " . $self->size($_) } sort keys %{ $self->{kind} }));
			die $error;
		};
	}
	return;
}

# The books: what was posted (and by whom acknowledged), got, confirmed; by number.
sub books
{
	my ($self) = @_;
	my %books = map { $_ => {} } qw(posted got confirmed_at confirmations unsure);

	$books{posted}{ $_->[1] } = $_->[0] for $self->lines($self->posters);
	for my $line ($self->lines($self->listeners))
	{
		my ($word, $number, $at, $num_retries) = @$line;

		push @{ $books{got}{$number} }, [ $at, $num_retries ] if $word eq 'got';
		$books{unsure}{$number} = $at                         if $word eq 'unsure';
		next unless $word eq 'confirmed';
		$books{confirmed_at}{$number} = $at;
		$books{confirmations}{$number}++;
	}
	return \%books;
}

# What must be true of them after whatever has happened; the number of those posted.
sub check_books
{
	my ($self) = @_;
	my ($posted, $got, $confirmed_at, $confirmations) =
	  @{ $self->books }{qw(posted got confirmed_at confirmations)};
	my @posted  = grep { $posted->{$_} eq 'posted' } keys %$posted;
	my @unknown = grep { $posted->{$_} eq 'unknown' } keys %$posted;
	my $again   = 0;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $number (keys %$confirmed_at)
	{
		$again += grep { $_->[0] > $confirmed_at->{$number} } @{ $got->{$number} };
	}
	note(
		sprintf(
			'%d posted, %d unknown, %d delivered, %d more than once, %d confirmed',
			scalar @posted,
			scalar @unknown,
			scalar keys %$got,
			scalar(grep { @$_ > 1 } values %$got),
			scalar keys %$confirmed_at));
	is(scalar(grep { !$got->{$_} } @posted),
		0, 'every event that was committed was delivered');
	is(scalar(grep { ($posted->{$_} // '') !~ /^(posted|unknown)$/ } keys %$got),
		0, 'no other was');
	is($again, 0, 'nothing was delivered again after its confirmation');
	is(scalar(grep { $_ > 1 } values %$confirmations), 0, 'nothing was confirmed twice');
	is( scalar keys %$got,
		@posted + grep({ $got->{$_} } @unknown),
		'the count adds up');
	return scalar @posted;
}

1;

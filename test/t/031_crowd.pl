# A crowd beside an ordinary listener: a hundred listeners idle in a transaction, twenty
# that do not read, five hundred queues, a poster whose transaction stays open. What it
# costs the ordinary one is counted, not timed: its events come, by as many turns as ever.
use strict;
use warnings;

use Cwd            qw(abs_path);
use Evsched        qw(start_server session listener nothing_early wait_until);
use File::Basename qw(dirname);
use IPC::Open2;
use PostgreSQL::Test::Utils;
use Test::More;

use constant EVENTS => 300;    # of the ordinary listener, twice
use constant QUEUES => 500;
use constant IDLE   => 100;
use constant DEAF   => 20;

my $server = start_server( 'crowd', conf => <<'CONF');
max_connections = 200
synchronous_commit = off
CONF
my $poster = session( $server, 'poster' );

# Sessions of one process; they end with it.
sub crowd {
    my ( $count, $sql ) = @_;
    my ( $out, $in );

    open2(
        $out, $in,
        '/usr/bin/python3',
        dirname( abs_path(__FILE__) ) . '/crowd_process.py',
        sprintf(
            "host=%s port=%d dbname=postgres",
            $server->host, $server->port
        ),
        $count, $sql
    );
    my $pids = <$out>;
    return { in => $in, out => $out, pids => [ split ' ', $pids // '' ] };
}

# How many of these backends are there.
sub alive {
    my (@pids) = @_;

    return $poster->sql(
        sprintf 'SELECT count(*) FROM pg_stat_activity WHERE pid IN (%s)',
        join( ',', @pids ) );
}

sub counters {
    my %counters;

    @counters{qw(turns wakeups)} =
      @{ ( $poster->rows('SELECT turns, wakeups FROM evsched.stat_scheduler') )
          [0] };
    return \%counters;
}

# Posts one event after another, each when the one before is confirmed; returns how many
# turns and wake-ups that took.
sub run_events {
    my ($listener) = @_;
    my $before = counters();
    my $after;

    for ( 1 .. EVENTS ) {
        $poster->sql(q(SELECT evsched.post('1', '1 ms', max_retries => 3)));
        $listener->confirmation;
    }
    $after = counters();
    return { map { $_ => $after->{$_} - $before->{$_} } keys %$after };
}

# Alone.
my $listener = session( $server, 'ordinary' );
$listener->mode( confirm => 'batch' );
$listener->join( max_events => 100 );
my $alone = run_events($listener);

# Queues with listeners, with takers, and with nobody; in some there is something due.
$poster->sql( sprintf <<'SQL', QUEUES );
SELECT evsched.post('1', CASE WHEN g % 2 = 0 THEN interval '1 s' ELSE '1 day' END, 'q' || g)
FROM generate_series(1, %d) g
SQL
my $member = session( $server, 'member' );
$member->mode( quiet => 1 );
$member->sql( sprintf <<'SQL', QUEUES );
SELECT evsched.join('member', 'q' || g) FROM generate_series(1, %d, 5) g
SQL

my $open = session( $server, 'open' );
$open->sql('BEGIN ISOLATION LEVEL REPEATABLE READ');
is(
    $open->sql(
q(SELECT count(*) FROM evsched.post_many((SELECT array_agg('0'::jsonb) FROM generate_series(1, 10000)), max_retries => 3))
    ),
    10000,
    'a transaction that has posted stays open'
);

my $idle = crowd( IDLE, <<'SQL');
SELECT evsched.join('idle-' || %(n)s, 'idle'); BEGIN; SELECT count(*) FROM pg_class
SQL
my $deaf =
  crowd( DEAF, q(SELECT evsched.join('deaf-' || %(n)s, 'deaf', 100, '2 s')) );
is( scalar @{ $idle->{pids} }, IDLE,
    'sessions that are idle in a transaction' );
is( scalar @{ $deaf->{pids} }, DEAF, 'and sessions that do not read' );

# So much that they cannot be sent everything, and what they are sent they do not confirm.
$poster->sql(<<'SQL');
SELECT count(*) FROM evsched.post_many((SELECT array_agg(to_jsonb(g)) FROM generate_series(1, 40) g),
	queue => 'deaf', max_retries => -1)
SQL
$poster->sql(<<'SQL');
SELECT count(*) FROM evsched.post_many((SELECT array_agg(to_jsonb(repeat('x', 6000))) FROM generate_series(1, 400)),
	queue => 'deaf')
SQL
wait_until(
    sub {
        my ($delivered) =
          $poster->sql(
            q(SELECT delivered FROM evsched.stat_queue WHERE queue = 'deaf'));
        return $delivered >= 40 + 9 * DEAF;
    },
    'their connections to be full'
);

# The crowd may have turns of its own, but none for each event.
my $crowded = run_events($listener);
for my $what (qw(turns wakeups)) {
    note("$what: $alone->{$what} alone, $crowded->{$what} in the crowd");
    cmp_ok(
        $crowded->{$what}, '<',
        $alone->{$what} + EVENTS,
        "no more $what than alone, but for less than one an event"
    );
}
is_deeply(
    [ @{ $listener->summary }{qw(count distinct early disorder)} ],
    [ 2 * EVENTS, 2 * EVENTS, 0, 0 ],
    'every event comes once, in order, none early'
);
is( alive( @{ $idle->{pids} } ), IDLE, 'the idle ones are there' );
cmp_ok( $poster->sql('SELECT pg_notification_queue_usage()'),
    '<', 0.001, 'the notification queue is all but empty' );
is( alive( @{ $deaf->{pids} } ),
    DEAF, 'who does not read is not ended at once' );

# The time is over for those who do not read, and for nobody else.
$server->append_conf( 'postgresql.conf', 'evsched.write_timeout = 1s' );
$server->reload;
wait_until( sub { alive( @{ $deaf->{pids} } ) == 0 }, 'their end' );
my $spare = session( $server, 'spare' );
$spare->mode( confirm => 'batch', quiet => 1 );
$spare->join( queue => 'deaf', max_events => 100 );
wait_until(
    sub {
        $poster->sql(q(SELECT count(*) FROM evsched.event WHERE queue = 'deaf'))
          == 0;
    },
    'their events to go to another'
);
cmp_ok( $spare->summary->{distinct},
    '>=', 40, 'all that they held go to another' );
is( $poster->sql(q(SELECT count(*) FROM evsched.dead_event)),
    0, 'none is lost' );
my @ended =
  slurp_file( $server->logfile ) =~ /ends the session of listener "(\w+)/g;
is_deeply( [ scalar(@ended), grep { $_ ne 'deaf' } @ended ],
    [DEAF], 'the log tells of them' );
is( alive( @{ $idle->{pids} }, map { $_->pid } $listener, $member, $open ),
    IDLE + 3, 'nobody else is ended' );

# What was due in the many queues.
wait_until( sub { $member->summary->{count} == QUEUES / 10 },
    'the listener of many queues' );
is(
    $poster->sql(
        sprintf
q(SELECT count(*) FROM generate_series(1, %d) g, evsched.take('q' || g, 10)),
        QUEUES
    ),
    QUEUES / 2 - QUEUES / 10,
    'the others are there to be taken'
);

# The open transaction commits: its events come as well.
$listener->mode( confirm => 'batch', quiet => 1 );
$open->sql('COMMIT');
wait_until( sub { $listener->summary->{count} == 2 * EVENTS + 10000 },
    'what was posted in the open transaction' );
is( $listener->summary->{distinct}, 2 * EVENTS + 10000, 'each once' );

nothing_early();
is( $_->summary->{early}, 0, 'nor anywhere else' )
  for $listener, $member, $spare;
done_testing();

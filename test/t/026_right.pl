# Rights are asked for again at the turn; stopping and pausing outlive what they meet.
use strict;
use warnings;

use Evsched qw(start_server session listener on_time near nothing_early
  scheduler_pid new_scheduler wait_asleep wait_until process_state blocked_in);
use Test::More;
use Time::HiRes qw(time);

my $server = start_server('right');
my $admin  = session($server, 'admin');
$admin->sql("CREATE ROLE $_ LOGIN")          for qw(olga ann bob carl pat gone);
$admin->sql("SELECT evsched.grant_usage('$_')") for qw(olga ann bob carl pat gone);
$admin->sql('CREATE ROLE band');
$admin->sql('CREATE DATABASE elsewhere');

# Long enough for what would come to have come.
use constant A_WHILE => 0.15;

# A session of a role.
sub session_of
{
	my ($role, $name) = @_;

	return session($server, $name // $role, conninfo => "user=$role");
}

# One that has joined a queue.
sub listener_of
{
	my ($role, $queue, %options) = @_;
	my $session = session_of($role, delete $options{name});

	$session->join(queue => $queue, conf_timeout => '1 min', %options);
	return $session;
}

my $olga = session_of('olga');
my $pat  = session_of('pat');

# An event that is due at once and to be confirmed.
sub post
{
	my ($session, $queue, $payload, $max_retries) = @_;

	$max_retries //= 5;
	return $session->sql(
		"SELECT evsched.post('\"$payload\"', queue => '$queue', max_retries => $max_retries)");
}

# Nothing comes, and the scheduler does not keep asking.
sub nothing_for
{
	my ($session, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($session->event_within(A_WHILE), undef, $name);
	return;
}

# The scheduler sleeps, and nothing wakes it for half a second.
sub sleeps
{
	my ($name) = @_;
	my $pid = scheduler_pid($server);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_asleep($pid, 0.5);
	my $before = process_state($pid);
	my $until  = time + 0.5;
	wait_until(sub { time > $until }, 'half a second to pass');
	return is_deeply(process_state($pid), $before, $name);
}

# What a statement lets in comes at once.
sub lets_in
{
	my ($session, $payload, $statements, $name) = @_;
	my $done;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $statement (ref $statements ? @$statements : $statements)
	{
		$done = $admin->try($statement);
		die "$statement: $done->{error}" if $done->{error};
	}
	my $event = $session->event;
	is($event->{payload}, $payload, $name);
	on_time($event, 'at once', $done->{ended});
	is($event->{num_retries}, 0, 'as a first delivery');
	$session->confirm($event) if $event->{max_retries} != 0;
	return;
}

#
# A listener that loses its right gets nothing further, and again when it has it back.
#
$olga->sql(q(SELECT evsched.create_queue('owned')));
is(session_of('ann')->try(q(SELECT evsched.join(queue => 'owned')))->{sqlstate},
	'42501', 'without consume nobody joins');
$olga->sql(q(SELECT evsched.grant_queue('owned', 'ann', 'consume')));
my $ann = listener_of('ann', 'owned');
post($olga, 'owned', 'first');
is($ann->confirm($ann->event), 't', 'with it one is served, and confirms');

$olga->sql(q(SELECT evsched.revoke_queue('owned', 'ann', 'consume')));
post($olga, 'owned', 'second');
nothing_for($ann, 'consume revoked: nothing further');
sleeps('nobody asks again and again whether it is back');
$admin->sql('BEGIN');
$admin->sql(q(SELECT evsched.grant_queue('owned', 'ann', 'consume')));
nothing_for($ann, 'nor while the grant is not committed');
$admin->sql('ROLLBACK');
nothing_for($ann, 'nor when it is rolled back');
lets_in($ann, 'second', q(SELECT evsched.grant_queue('owned', 'ann', 'consume')),
	'consume granted again');

# What it holds when it loses the right is another's when the lease is over.
my $held = post($olga, 'owned', 'held');
is($ann->event->{id}, $held, 'one that holds an event');
$olga->sql(q(SELECT evsched.revoke_queue('owned', 'ann', 'consume')));
is($ann->sql("SELECT evsched.confirm($held)"), 'f', 'cannot confirm it without the right');
is($ann->sql("SELECT evsched.extend($held, '1 h')"), 'f', 'nor extend');
is($ann->sql("SELECT evsched.reject($held)"),        'f', 'nor reject');
is($ann->sql("SELECT count(*) FROM evsched.fetch('{$held}')"), 0, 'nor fetch');
is($olga->sql("SELECT evsched.confirm($held)"), 't', 'another can');

# Who has the right is served meanwhile, before and after it in the ring.
my $first = listener_of('olga', 'owned', name => 'olga1', max_events => 1);
post($olga, 'owned', $_) for 1, 2;
for my $n (1, 2)
{
	my $event = $first->event;
	is($event->{payload}, $n, 'another that may is served');
	$first->confirm($event);
}
is_deeply([ $ann->events_so_far ], [], 'only that');
$first->quit;

# Told, not served.
my $told = listener_of('ann', 'told', max_events => 0);
$olga->sql(q(DO $$ BEGIN PERFORM evsched.leave('told'); END $$));
$admin->sql(q(SELECT evsched.create_queue('told')));
post($admin, 'told', 'x');
is_deeply([ $told->tellings_so_far ], [], 'nor is one told of what it may not consume');
$admin->sql(q(SELECT evsched.grant_queue('told', 'ann', 'consume')));
ok($told->telling, 'until it may');

# Who was told and loses the right before it takes does not keep the others waiting.
$admin->sql(q(SELECT evsched.grant_queue('told', 'pat', 'consume')));
my $next = listener_of('pat', 'told', max_events => 0);
$admin->sql(q(SELECT evsched.revoke_queue('told', 'ann', 'consume')));
ok($next->telling, 'another is told');
is($next->sql(q(SELECT count(*) FROM evsched.take('told', 2))), 1, 'and takes');
$_->quit for $told, $next;

# By membership.
$olga->sql(q(SELECT evsched.grant_queue('owned', 'band', 'consume')));
$admin->sql('GRANT band TO bob');
my $bob = listener_of('bob', 'owned');
post($olga, 'owned', 'member');
is($bob->confirm($bob->event), 't', 'a member of a role with consume is served');
$admin->sql('REVOKE band FROM bob');
post($olga, 'owned', 'no member');
nothing_for($bob, 'no member any more: nothing further');
lets_in($bob, 'no member', 'GRANT band TO bob', 'a member again');
my $elsewhere = session($server, 'elsewhere', dbname => 'elsewhere');
$elsewhere->sql('REVOKE band FROM bob');
post($olga, 'owned', 'from elsewhere');
nothing_for($bob, 'also when that is done in another database');
my $back = $elsewhere->try('GRANT band TO bob');
my $event = $bob->event;
is($event->{payload}, 'from elsewhere', 'there given back');
on_time($event, 'at once', $back->{ended});
$bob->confirm($event);
$elsewhere->sql($_)
  for 'REVOKE band FROM bob', 'BEGIN', 'GRANT band TO bob', q(PREPARE TRANSACTION 'band');
post($olga, 'owned', 'prepared elsewhere');
nothing_for($bob, 'nor while that is only prepared');
$back  = $elsewhere->try(q(COMMIT PREPARED 'band'));
$event = $bob->event;
is($event->{payload}, 'prepared elsewhere', 'there by a prepared transaction');
on_time($event, 'at once', $back->{ended});
$bob->confirm($event);
$admin->sql('REVOKE band FROM bob');
post($olga, 'owned', 'super');
nothing_for($bob, 'revoked again');
lets_in($bob, 'super', 'ALTER ROLE bob SUPERUSER', 'a superuser may');
$admin->sql($_) for 'ALTER ROLE bob NOSUPERUSER', 'GRANT band TO bob';

# Since server 16 there are memberships without the role's rights.
SKIP:
{
	skip 'this server has none', 3
	  if $admin->sql(q(SELECT current_setting('server_version_num')::int < 160000)) eq 't';
	my $bare = session_of('carl');

	$admin->sql('GRANT band TO carl WITH INHERIT FALSE, SET FALSE');
	is($bare->try(q(SELECT evsched.take('owned')))->{sqlstate},
		'42501', 'who has not its rights may not consume');
	for my $option ('INHERIT', 'SET')
	{
		$admin->sql("GRANT band TO carl WITH $option TRUE");
		is($bare->try(q(SELECT evsched.take('owned')))->{error},
			undef, "with $option he may");
		$admin->sql("GRANT band TO carl WITH $option FALSE");
	}
	$admin->sql('REVOKE band FROM carl');
	$bare->quit;
}

# By usage of the schema.
$admin->sql('REVOKE USAGE ON SCHEMA evsched FROM bob');
post($olga, 'owned', 'usage');
nothing_for($bob, 'usage revoked: nothing further');
lets_in($bob, 'usage', 'GRANT USAGE ON SCHEMA evsched TO bob', 'usage granted again');
$admin->sql('REVOKE USAGE ON SCHEMA evsched FROM bob');
post($olga, 'owned', 'usage');
nothing_for($bob, 'revoked again');
lets_in($bob, 'usage', q(SELECT evsched.grant_usage('bob')), 'granted by grant_usage');
$admin->sql('REVOKE USAGE ON SCHEMA evsched FROM bob');
post($olga, 'owned', 'prepared');
lets_in(
	$bob,
	'prepared',
	[   'BEGIN',
		'GRANT USAGE ON SCHEMA evsched TO bob',
		q(PREPARE TRANSACTION 'grant'),
		q(COMMIT PREPARED 'grant') ],
	'granted by a prepared transaction');
$_->quit for $ann, $bob;

# The scheduler dies while it looks what has changed: the next one does not know of it.
{
	my $locker = session($server, 'locker');
	my $last   = listener_of('olga', 'owned', name => 'last');
	my $pid    = scheduler_pid($server);

	$olga->sql(q(SELECT evsched.grant_queue('owned', 'band', 'post')));
	$admin->sql('GRANT band TO pat');
	my $unseen = $pat->sql(
		q(SELECT evsched.post('"unseen"', '0.3 s', 'owned', max_retries => 5)));
	$admin->sql('REVOKE band FROM pat');
	nothing_for($last, 'it is not due') for 1 .. 3;
	nothing_for($last, 'its poster may not post any more');
	$locker->sql('BEGIN');
	$locker->sql('LOCK TABLE evsched.role IN ACCESS EXCLUSIVE MODE');
	$admin->sql('GRANT band TO pat');
	$server->poll_query_until('postgres',
		"SELECT wait_event = 'relation' FROM pg_stat_activity WHERE pid = $pid");
	$admin->sql("SELECT pg_terminate_backend($pid)");
	$locker->sql('COMMIT');
	my $event = $last->event_within(5);
	is($event && $event->{id}, $unseen, 'the next scheduler hands it out all the same');
	$last->confirm($event) if $event;
	$olga->sql(q(SELECT evsched.revoke_queue('owned', 'band', 'post')));
	$admin->sql('REVOKE band FROM pat');
	$_->quit for $last, $locker;
}

# Two are let in at a time.
{
	my $second = session($server, 'second');

	$admin->sql('BEGIN');
	$admin->sql(q(SELECT evsched.grant_usage('ann')));
	$second->send(q(SELECT evsched.grant_usage('bob')));
	ok(blocked_in($server, $second, 'object'), 'the other waits');
	$admin->sql('COMMIT');
	is($second->reply->{error}, undef, 'two roles are given usage at a time');
	$second->quit;
}

#
# A poster's right is asked for at the turn, too: its events wait.
#
my $consumer = listener_of('olga', 'owned', name => 'consumer');
$olga->sql(q(SELECT evsched.grant_queue('owned', 'pat', 'post')));
my $waiting = $pat->sql(q(SELECT evsched.post('"pat"', '200 ms', 'owned', max_retries => 5)));
$pat->sql(q(SELECT evsched.post('"once"', '200 ms', 'owned')));
$olga->sql(q(SELECT evsched.revoke_queue('owned', 'pat', 'post')));
is($pat->try(q(SELECT evsched.post('1', queue => 'owned')))->{sqlstate},
	'42501', 'a poster without the right cannot post');
is($consumer->event_within(0.4), undef, 'and what it has posted is not delivered');
is($olga->sql(q(SELECT count(*) FROM evsched.take('owned', 9))),    0, 'nor taken');
is($olga->sql(q(SELECT count(*) FROM evsched.receive('owned', 9))), 0, 'nor received');
post($olga, 'owned', 'olga');
my $event_of_olga = $consumer->event;
is($event_of_olga->{payload}, 'olga', 'those of others pass it');
$consumer->confirm($event_of_olga);
is($olga->sql("SELECT state FROM evsched.events WHERE id = $waiting"), 'ready', 'it waits');
sleeps('and nobody asks again and again');
my $granted = $olga->try(q(SELECT evsched.grant_queue('owned', 'pat', 'post')));
my @events  = $consumer->events(2);
is_deeply([ map { $_->{payload} } @events ], [ 'pat', 'once' ], 'granted again: delivered');
on_time($events[0], 'at once', $granted->{ended});
is($consumer->confirm($events[0]), 't', 'and confirmed');

$olga->sql(q(SELECT evsched.revoke_queue('owned', 'pat', 'post')));
$olga->sql(q(SELECT evsched.grant_queue('owned', 'band', 'post')));
$admin->sql('GRANT band TO pat');
$pat->sql(q(SELECT evsched.post('"member"', '100 ms', 'owned', max_retries => 5)));
$admin->sql('REVOKE band FROM pat');
is($consumer->event_within(0.3), undef, 'no member any more: its events wait');
lets_in($consumer, 'member', 'GRANT band TO pat', 'a member again');
$admin->sql('REVOKE band FROM pat');

# Grants are known in other sessions with their commit.
my $ask  = q(SELECT evsched.post('1', '1 h', 'seen'));
my $seen = session_of('olga', 'seen');
is($pat->try($ask)->{error}, undef, 'an open queue');
$pat->sql(q(SELECT evsched.cancel(id) FROM evsched.upcoming('seen')));
$seen->sql('BEGIN');
$seen->sql(q(SELECT evsched.create_queue('seen')));
is($pat->try($ask)->{error}, undef, 'create_queue: not before its commit');
$pat->sql(q(SELECT evsched.cancel(id) FROM evsched.upcoming('seen')));
$seen->sql('ROLLBACK');
is($pat->try($ask)->{error}, undef, 'nor after its rollback');
$pat->sql(q(SELECT evsched.cancel(id) FROM evsched.upcoming('seen')));
$seen->sql(q(SELECT evsched.create_queue('seen')));
is($pat->try($ask)->{sqlstate}, '42501', 'with its commit');
$pat->sql('BEGIN ISOLATION LEVEL REPEATABLE READ');
$pat->sql('SELECT count(*) FROM evsched.events');
$seen->sql(q(SELECT evsched.grant_queue('seen', 'pat', 'post')));
is($pat->try($ask)->{error}, undef, 'a grant: also with an older snapshot');
$pat->sql('COMMIT');
$pat->sql('BEGIN ISOLATION LEVEL REPEATABLE READ');
$pat->sql('SELECT count(*) FROM evsched.events');
$seen->sql(q(SELECT evsched.revoke_queue('seen', 'pat', 'post')));
is($pat->try($ask)->{sqlstate}, '42501', 'a right that is gone is gone');
$pat->sql('ROLLBACK');

# Events that were committed after the snapshot was taken are seen by create_queue.
$pat->sql('BEGIN ISOLATION LEVEL REPEATABLE READ');
$pat->sql('SELECT count(*) FROM evsched.events');
post($olga, 'busy', 'x');
is($pat->try(q(SELECT evsched.create_queue('busy')))->{sqlstate},
	'42501', 'create_queue sees foreign events, however old its snapshot is');
$pat->sql('ROLLBACK');

#
# An owner that is dropped.
#
my $gone = session_of('gone');
$gone->sql(q(SELECT evsched.post('"gone"', '300 ms', 'gone', max_retries => 5)));
$gone->sql(q(SELECT evsched.post('"gone too"', '300 ms', 'gone', 'k')));
$gone->quit;
$admin->sql($_) for 'DROP OWNED BY gone', 'DROP ROLE gone';
my $heir = listener_of('ann', 'gone');
is($heir->event_within(0.5), undef, 'a dropped role: its events wait');
is($admin->sql(q(SELECT count(*) FROM evsched.take('gone', 9))), 0, 'and cannot be taken');
$server->wait_for_log(qr/evsched does not hand out events whose owners are not bound/);
pass('the log says so');
is_deeply(
	[ $admin->rows(q(SELECT payload, state FROM evsched.events WHERE queue = 'gone' ORDER BY id)) ],
	[ [ '"gone"', 'ready' ], [ '"gone too"', 'ready' ] ],
	'superusers see them');
$admin->sql('CREATE ROLE gone LOGIN');
$admin->sql(q(SELECT evsched.grant_usage('gone')));
nothing_for($heir, 'a new role of that name does not bring them back');
$admin->sql(q(SELECT evsched.start()));
nothing_for($heir, 'nor start()');
$gone = session_of('gone');
$admin->sql(q(DO $$ BEGIN PERFORM evsched.create_queue('gone2'); END $$));
post($gone, 'gone', 'new');
$event = $heir->event;
is($event->{payload}, 'new', 'events of the new role are delivered');
$heir->confirm($event);
is($gone->try(q(SELECT evsched.create_queue('gone')))->{sqlstate},
	'42501', 'those of the old one are foreign to it');
my $old_scheduler = scheduler_pid($server);
$admin->sql("SELECT pg_terminate_backend($old_scheduler)");
new_scheduler($server, $old_scheduler);
nothing_for($heir, 'nor do they come from a new scheduler');
is($admin->sql(q(SELECT count(evsched.cancel(id)) FROM evsched.events WHERE queue = 'gone')),
	2, 'a superuser may cancel them');
$heir->quit;

#
# A role that is renamed.
#
$admin->sql('CREATE ROLE carla');
my $carl = session_of('carl');
post($carl, 'rename', 'renamed');
$carl->sql(q(SELECT evsched.create_queue('rename')));
$admin->sql($_)
  for 'ALTER ROLE carl RENAME TO karl', 'ALTER ROLE carla RENAME TO carl';
wait_until(
	sub {
		$admin->sql(q(SELECT owner FROM evsched.events WHERE queue = 'rename')) eq 'karl';
	},
	'the new name');
is($admin->sql(q(SELECT owner FROM evsched.queues WHERE queue = 'rename')),
	'karl', 'a role that is renamed is called so in the views');
is($carl->sql(q(SELECT payload FROM evsched.take('rename'))), '"renamed"', 'and is the same');
$carl->quit;

#
# Who joins is current_user.
#
my $switch = session($server, 'switch');
$switch->sql('SET ROLE ann');
is($switch->try(q(SELECT evsched.join(queue => 'owned')))->{sqlstate},
	'42501', 'SET ROLE: joins as that role');
$consumer->quit;
$olga->sql(q(SELECT evsched.grant_queue('owned', 'ann', 'consume')));
$switch->join(queue => 'owned', conf_timeout => '1 min');
$switch->sql('RESET ROLE');
post($olga, 'owned', 'role');
$event = $switch->event;
is($event->{payload}, 'role', 'and is served');
$switch->confirm($event);
$olga->sql(q(SELECT evsched.revoke_queue('owned', 'ann', 'consume')));
post($olga, 'owned', 'as it joined');
nothing_for($switch, 'for as long as that role may, whoever it is meanwhile');
$switch->join(queue => 'owned', conf_timeout => '1 min');
is($switch->event->{payload}, 'as it joined', 'joined anew, as who it is now');
$admin->sql(q(SELECT evsched.confirm(id) FROM evsched.events WHERE queue = 'owned'));
$switch->quit;

# Another role may not take the place of a node.
my $node = listener_of('ann', 'node', name => 'node');
for my $role (qw(bob pat))
{
	is( session_of($role)->try(q(SELECT evsched.join('node', 'node')))->{sqlstate},
		'42501', "another role ($role) may not take the place of a node");
}
is($admin->sql(q(SELECT pid FROM evsched.listeners WHERE queue = 'node')),
	$node->pid, 'it is still there');
my $twin = listener_of('ann', 'node', name => 'node');
is($admin->sql(q(SELECT pid FROM evsched.listeners WHERE queue = 'node')),
	$twin->pid, 'its own role may');
$admin->sql('GRANT ann TO bob');
my $member = listener_of('bob', 'node', name => 'node');
is($admin->sql(q(SELECT pid FROM evsched.listeners WHERE queue = 'node')),
	$member->pid, 'and a member of it');
is($twin->try(q(SELECT evsched.join('node', 'node')))->{sqlstate}, '42501', 'not back');
$admin->sql('REVOKE ann FROM bob');
$_->quit for $node, $twin, $member;

#
# pause_queue and resume_queue.
#
my $paused = listener_of('olga', 'owned', name => 'paused', max_events => 2);
my $other  = listener_of('ann', 'other');
my $teller = listener_of('olga', 'owned', name => 'teller', max_events => 0);
post($olga, 'owned', 'before');
$event = $paused->event;
is($olga->sql(q(SELECT evsched.pause_queue('owned'))), 't', 'a queue is paused');
post($olga, 'owned', 'during');
post($olga, 'owned', 'once', 0);
nothing_for($paused, 'nothing is handed out');
is_deeply([ $teller->tellings_so_far ], [], 'nobody is told');
is($olga->sql(q(SELECT count(*) FROM evsched.take('owned', 9))),    0, 'nor taken');
is($olga->sql(q(SELECT count(*) FROM evsched.receive('owned', 9))), 0, 'nor received');
is($paused->confirm($event), 't', 'confirming goes on');
post($admin, 'other', 'other');
$event = $other->event;
is($event->{payload}, 'other', 'other queues go on');
$other->confirm($event);
sleeps('nobody asks again and again');
$_->quit for $paused, $teller, $other;
$server->restart;
$_->quit for $admin, $olga, $pat;
($admin, $olga, $pat) = (session($server, 'admin'), session_of('olga'), session_of('pat'));
new_scheduler($server, 0);
$paused = listener_of('olga', 'owned', name => 'paused');
nothing_for($paused, 'paused: also after a restart');
is($olga->sql(q(SELECT paused FROM evsched.queues WHERE queue = 'owned')), 't', 'the view says so');
$olga->sql('BEGIN');
$olga->sql(q(SELECT evsched.resume_queue('owned')));
nothing_for($paused, 'not resumed before that is committed');
my $resumed = $olga->try('COMMIT');
@events = $paused->events(2);
is_deeply([ map { $_->{payload} } @events ], [ 'during', 'once' ], 'resumed: what waited comes');
on_time($events[0], 'at once', $resumed->{ended});
is($paused->confirm($events[0]), 't', 'and is confirmed');

#
# stop and start.
#
sub try_stopped
{
	my ($session, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	nothing_for($session, "$name: nothing is handed out");
	is($admin->sql(q(SELECT count(*) FROM evsched.take('owned', 9))),    0, 'nor taken');
	is($admin->sql(q(SELECT count(*) FROM evsched.receive('owned', 9))), 0, 'nor received');
	return;
}

my @kept = map { post($olga, 'owned', $_) } 'a', 'b';
@events = $paused->events(2);
$admin->sql('BEGIN');
my $stop = $admin->try(q(SELECT evsched.stop('100 ms')));
is($stop->{rows}[0][0], 'f', 'stop: false while something is unconfirmed');
cmp_ok($stop->{ended} - $stop->{began}, '>=', 0.1, 'when the time for it is over');
$admin->sql('ROLLBACK');
post($olga, 'owned', 'stopped');
post($olga, 'owned', 'once', 0);
try_stopped($paused, 'at once, and a rollback does not undo it');
is($paused->confirm($events[0]), 't', 'confirming goes on');
is($admin->sql('SELECT evsched.force_stop()'), 'f', 'force_stop: false, too');

# Drained: it returns when the last is confirmed.
$admin->send(q(SELECT evsched.stop('20 s')));
wait_until(
	sub {
		$server->safe_psql('postgres',
			'SELECT wait_event FROM pg_stat_activity WHERE pid = ' . $admin->pid) eq 'Extension';
	},
	'it to wait');
my $confirmed = $paused->try("SELECT evsched.confirm($kept[1])");
$stop = $admin->reply;
is($stop->{rows}[0][0], 't', 'stop: true when nothing is unconfirmed any more');
near($stop->{ended}, $confirmed->{ended}, 'as soon as that is so');
is($admin->sql('SELECT evsched.force_stop()'), 't', 'force_stop: true as well');
sleeps('stopped: nobody asks again and again');

# A lease that runs out meanwhile is counted.
$admin->sql('SELECT evsched.start()');
@events = $paused->events(2);
is_deeply([ map { $_->{payload} } @events ], [ 'stopped', 'once' ], 'start: what waited comes');
$admin->sql(q(UPDATE evsched.event SET retry_delay = '0'));
$paused->sql("SELECT evsched.leave('owned', true)");
$paused->join(queue => 'owned', conf_timeout => '300 ms');
$event = $paused->event;
is($event->{num_retries}, 0, 'one with a short lease');
$admin->sql('SELECT evsched.force_stop()');
wait_until(
	sub {
		$admin->sql("SELECT num_retries FROM evsched.events WHERE id = $event->{id}") == 1;
	},
	'its lease to be over');
pass('a lease that runs out while stopped is counted');
try_stopped($paused, 'not delivered again');
is($admin->sql('SELECT evsched.stop()'), 't', 'nothing runs');

# It survives a new scheduler, a restart and a crash.
$old_scheduler = scheduler_pid($server);
$admin->sql("SELECT pg_terminate_backend($old_scheduler)");
new_scheduler($server, $old_scheduler);
try_stopped($paused, 'also by a new scheduler');
for my $how ('restart', 'crash')
{
	$_->quit for $paused, $admin, $olga;
	$server->stop($how eq 'crash' ? 'immediate' : 'fast');
	$server->start;
	($admin, $olga) = (session($server, 'admin'), session_of('olga'));
	new_scheduler($server, 0);
	$paused = listener_of('olga', 'owned', name => 'paused');
	try_stopped($paused, "after a $how");
}
my $start = $admin->try('BEGIN; SELECT evsched.start(); ROLLBACK');
is($start->{error}, undef, 'start');
$event = $paused->event;
is_deeply([ @$event{ 'payload', 'num_retries' } ], [ 'stopped', 1 ], 'what waited comes');
on_time($event, 'at once', $start->{ended});
is($paused->confirm($event), 't', 'and is confirmed');
$server->restart;
$_->quit for $admin, $olga, $paused;
$olga = session_of('olga');
post($olga, 'owned', 'started');
$paused = listener_of('olga', 'owned', name => 'paused');
is($paused->event->{payload}, 'started', 'started: also after a restart');

# What start() does not wait for is waited for afterwards.
{
	my $admin  = session($server, 'admin');
	my $locker = session($server, 'locker');
	my $pid    = scheduler_pid($server);

	$admin->sql('SELECT evsched.start()');
	my $until = time + 2.5;
	$locker->sql('BEGIN');
	$locker->sql('LOCK TABLE evsched.role IN ACCESS EXCLUSIVE MODE');
	$admin->sql('CREATE ROLE another');
	wait_until(sub { time > $until }, 'longer than start() would');
	$locker->sql('COMMIT');
	wait_asleep($pid);
	is(scheduler_pid($server), $pid, 'the scheduler has waited for a lock');
	$_->quit for $admin, $locker;
}

nothing_early();
done_testing();

# Schedules, as others compute them: croniter, and somebody who looks at a clock minute for
# minute. And whatever one writes, it is a schedule or refused, and nothing crashes.
#
# SEED=7 throws the same dice again.
use strict;
use warnings;

use Evsched qw(start_server);
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

my $seed   = $ENV{SEED} // int(rand(1_000_000));
my $server = start_server('cron');
note("SEED=$seed");

# Cases of cron_oracle.py, as table `cases`; how many times they have in all.
sub load_cases
{
	my ($mode, $n) = @_;
	my $file   = PostgreSQL::Test::Utils::tempdir() . "/$mode";
	my $script = dirname(__FILE__) . '/cron_oracle.py';

	system("/usr/bin/python3 '$script' $mode $seed $n >'$file'") == 0
	  or die "cron_oracle.py $mode has failed";
	return $server->safe_psql('postgres', <<"SQL");
DROP TABLE IF EXISTS cases;
CREATE TABLE cases (schedule text, zone text, from_time timestamptz, until timestamptz,
                    times timestamptz[]);
COPY cases FROM '$file';
SELECT sum(cardinality(times)) FROM cases;
SQL
}

# All of them are what next_fires says.
sub compare
{
	my ($name) = @_;

	is($server->safe_psql('postgres', <<'SQL'), '', $name) or diag("SEED=$seed");
SET TimeZone = 'UTC';
SELECT format('%s in %s from %s: expected %s got %s', schedule, zone, from_time,
              times[i], got[i])
FROM cases,
     LATERAL (SELECT array(SELECT f FROM evsched.next_fires(schedule, cardinality(times) + 1,
                                                            zone, from_time) f
                           WHERE f < until)) AS g (got),
     LATERAL (SELECT min(i) FROM generate_series(1, cardinality(times) + 1) i
              WHERE times[i] IS DISTINCT FROM got[i]) AS d (i)
WHERE got <> times LIMIT 10
SQL
	return;
}

my $times = load_cases('clock', 1500);
cmp_ok($times, '>=', 10_000, "times to be compared with what clocks show: $times");
compare('where clocks are changed, times are as the rule has it');

SKIP:
{
	skip 'croniter is not installed', 2
	  if system('/usr/bin/python3 -c "import croniter" 2>/dev/null') != 0;
	$times = load_cases('croniter', 1500);
	cmp_ok($times, '>=', 5_000, "times to be compared with croniter's: $times");
	compare('elsewhere, they are as croniter has them');
}

# Strings of what schedules are made of, and schedules with a character changed.
my $outcome = $server->safe_psql('postgres', <<"SQL");
CREATE FUNCTION random_text() RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
    parts text[] := '{*,*,*,*,/,",",-,0,1,2,5,7,9,15,23,31,59,60,L,\$,jan,feb,MON,sun,\@,\@daily,?,#,:,h,x,day,1 day,ü}';
    made text := '';
BEGIN
    IF random() < 0.5 THEN
        FOR i IN 1 .. 1 + floor(random() * 12)::int LOOP
            made := made || parts[1 + floor(random() * cardinality(parts))::int]
                    || CASE WHEN random() < 0.5 THEN ' ' ELSE '' END;
        END LOOP;
        RETURN made;
    END IF;
    made := format('%s %s %s %s %s', (ARRAY['*', '0', '*/7', '5/15', '1,2', '10-40/10', '0 30'])[1 + floor(random() * 7)::int],
                   (ARRAY['*', '2', '*/6', '0,12', '1-3'])[1 + floor(random() * 5)::int],
                   (ARRAY['*', '29', 'L', '1-7', '31'])[1 + floor(random() * 5)::int],
                   (ARRAY['*', '2', 'feb,apr', '*/3'])[1 + floor(random() * 4)::int],
                   (ARRAY['*', '7', 'mon-fri', 'sat'])[1 + floor(random() * 4)::int]);
    IF random() < 0.7 THEN
        RETURN overlay(made PLACING parts[1 + floor(random() * cardinality(parts))::int]
                       FROM 1 + floor(random() * length(made))::int FOR floor(random() * 3)::int);
    END IF;
    RETURN made;
END \$\$;

CREATE FUNCTION fuzz(n int, OUT good int, OUT refused int, OUT bad text) LANGUAGE plpgsql AS \$\$
DECLARE
    schedule text;
    zones text[] := '{UTC,Europe/Berlin,America/New_York,Australia/Lord_Howe,Pacific/Apia}';
    zone text;
    from_time timestamptz;
    fires timestamptz[];
BEGIN
    good := 0;
    refused := 0;
    FOR i IN 1 .. n LOOP
        schedule := random_text();
        zone := zones[1 + floor(random() * cardinality(zones))::int];
        from_time := '1900-01-01'::timestamptz + random() * '200 years'::interval;
        BEGIN
            fires := array(SELECT f FROM evsched.next_fires(schedule, 4, zone, from_time) f);
            good := good + 1;
            -- each is after the one before, and is found again from shortly before it
            IF fires <> array(SELECT DISTINCT f FROM unnest(fires) f WHERE f > from_time ORDER BY f)
               OR schedule ~ '[*]' AND fires[4] IS DISTINCT FROM
                  (SELECT f FROM evsched.next_fires(schedule, 1, zone, fires[4] - '1 us'::interval) f) THEN
                bad := concat_ws(' ', schedule, zone, from_time, fires);
                RETURN;
            END IF;
        EXCEPTION WHEN invalid_parameter_value THEN
            refused := refused + 1;
        END;
    END LOOP;
END \$\$;
SELECT setseed($seed / 1e6);
SELECT * FROM fuzz(100000);
SQL
my (undef, $good, $refused, $bad) = $outcome =~ /^(.*\n)?(\d+)\|(\d+)\|(.*)$/;
is($bad, '', "100000 random texts: $good are schedules, $refused are refused, and none is wrong")
  or diag("SEED=$seed");
cmp_ok($good,    '>', 10_000, 'many are schedules');
cmp_ok($refused, '>', 10_000, 'and many are not');

done_testing();

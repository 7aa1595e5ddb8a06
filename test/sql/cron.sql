-- When schedules come: next_fires. It is the arithmetic that everything recurring uses.

SET TimeZone = 'UTC';
SET DateStyle = 'ISO';

-- The next times, by the clocks of the zone; with what they are ahead of UTC.
CREATE FUNCTION pg_temp.fires(schedule text, zone text, from_time timestamptz, n int DEFAULT 5)
RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(to_char(f AT TIME ZONE zone, 'Dy YYYY-MM-DD HH24:MI:SS') || ' '
                      || to_char(f AT TIME ZONE zone - f AT TIME ZONE 'UTC', 'HH24:MI'), E'\n' ORDER BY i)
    FROM evsched.next_fires(schedule, n, zone, from_time) WITH ORDINALITY x (f, i)
$$;

-- What is wrong with a schedule, and what is accepted.
CREATE FUNCTION pg_temp.refused(schedule text, n int DEFAULT 1, zone text DEFAULT 'UTC',
                                from_time timestamptz DEFAULT '2026-01-01 00:00Z', hints boolean DEFAULT true)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    RETURN 'not refused: ' || string_agg(f::text, ', ') FROM evsched.next_fires(schedule, n, zone, from_time) f;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || ' ' || SQLERRM || CASE WHEN hints THEN E'\n      ' || hint WHEN hint = '' THEN 'no hint' ELSE '' END;
END $$;

\pset format unaligned
\pset tuples_only on

--
-- what the fields say
--
SELECT schedule || E'\n' || pg_temp.fires(schedule, 'UTC', '2026-01-30 23:58:30Z', 4)
FROM unnest(ARRAY[
    '* * * * *', '0 0 * * *', '30 9 * * mon-fri', '*/20 * * * *', '10-40/10 8 * * *', '5/15 12 * * *',
    '0 0,12 1 */2 *', '0 6 * JAN,Jul Sun', '0 6 * * 7', '0 6 * * 5-7', '0 6 * * fri-sun', '0 6 * * 5/1',
    '0 0 L * *', '0 0 $ feb *', '0 0 15,L 2-4 *', '0 0 29 2 *', '0 0 31 * *', '0 0 30,31 4,feb,jun *',
    '59 23 31 12 *', '0 0 1 1 *',
    '*/15 * * * * *', '30,45 59 23 * * *', '0 0 0 * * *', '58-59 58-59 23 30 1 *', '5/25 0 0 1 * *',
    '@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly', ' @Daily ',
    E'  0\t0   1 *\n* ']) schedule;

-- both kinds of days restricted: either is enough; only one that begins with * may not restrict
SELECT schedule || E'\n' || pg_temp.fires(schedule, 'UTC', '2026-02-26 00:00Z', 6)
FROM unnest(ARRAY['0 0 1 * fri', '0 0 L * sun', '0 0 31 2 mon', '0 0 */10 * mon', '0 0 1-31 * mon', '0 0 1 * 0-6',
                  '0 0 1 * */1']) schedule;

-- the leap day, over 2100; and when no time is left
SELECT pg_temp.fires('0 0 29 2 *', 'Europe/Berlin', '2090-01-01 00:00Z', 4);
SELECT pg_temp.fires('0 12 29 feb *', 'UTC', '294270-01-01 00:00Z', 3) IS NULL;
SELECT count(*), max(f) FROM evsched.next_fires('0 0 1 * *', 100000, 'Europe/Berlin', '294276-06-01 00:00Z') f;
SELECT count(*), max(f) FROM evsched.next_fires('1 mon', 100000, 'Europe/Berlin', '294276-06-01 00:00Z') f;
SELECT count(*), max(f) FROM evsched.next_fires('1000000 h', 100000, 'UTC', '294000-01-01 00:00Z') f;
SELECT count(*) FROM evsched.next_fires('170000 years 170000000 d', 5, 'Europe/Berlin', '2026-01-01 00:00Z');
SELECT count(*) FROM evsched.next_fires('999999999 s', 100000, 'UTC', '4714-11-24 00:00Z BC');
SELECT pg_temp.fires('0 0 1 1 *', 'America/New_York', '4714-11-24 00:00Z BC', 2);
SELECT pg_temp.fires('*/7 */5 * * *', 'Asia/Kathmandu', '4714-11-24 00:00Z BC', 2);
SELECT pg_temp.fires('1 mon', 'America/New_York', '4714-11-24 00:00Z BC', 2);

-- each is after from_time, never at it
SELECT pg_temp.fires('0 0 * * *', 'UTC', '2026-03-01 00:00Z', 1);
SELECT pg_temp.fires('0 0 * * *', 'UTC', '2026-02-28 23:59:59.999999Z', 1);
SELECT pg_temp.fires('* * * * * *', 'UTC', '1999-12-31 23:59:59.000001Z', 2);
SELECT pg_temp.fires('* * * * * *', 'UTC', '1969-12-31 23:59:58.999999Z', 2);

--
-- where clocks are set forward and back
--
SELECT zone || ', from ' || from_time || ': ' || schedule || E'\n' || pg_temp.fires(schedule, zone, from_time)
FROM (VALUES
    -- spring: 02:00 to 03:00; autumn: 03:00 to 02:00
    ('Europe/Berlin', '2026-03-28 12:00Z'::timestamptz), ('Europe/Berlin', '2026-10-24 12:00Z'),
    -- 02:00 to 03:00, 02:00 to 01:00
    ('America/New_York', '2026-03-07 18:00Z'), ('America/New_York', '2026-10-31 18:00Z'),
    -- half an hour: autumn is in April, 02:00 to 01:30; spring in October, 02:00 to 02:30
    ('Australia/Lord_Howe', '2026-04-04 04:00Z'), ('Australia/Lord_Howe', '2026-10-03 04:00Z'),
    -- never
    ('Asia/Kathmandu', '2026-03-28 12:00Z'), ('UTC', '2026-03-28 12:00Z')) z (zone, from_time),
    unnest(ARRAY['30 2 * * *', '45 1 * * *', '0 2,3 * * *', '15 1-3 * * *']) schedule;

-- by absolute time: the hours around the edge
SELECT zone || ', from ' || from_time || ': ' || schedule || E'\n' || pg_temp.fires(schedule, zone, from_time, 6)
FROM (VALUES
    ('Europe/Berlin', '2026-03-28 23:00Z'::timestamptz), ('Europe/Berlin', '2026-10-24 22:59Z'),
    ('America/New_York', '2026-03-08 05:00Z'), ('America/New_York', '2026-11-01 03:59Z'),
    ('Australia/Lord_Howe', '2026-04-04 13:10Z'), ('Australia/Lord_Howe', '2026-10-03 13:40Z'),
    ('Asia/Kathmandu', '2026-03-28 23:00Z'), ('UTC', '2026-03-28 23:00Z')) z (zone, from_time),
    unnest(ARRAY['30 * * * *', '45 */2 * * *', '@hourly']) schedule;

-- fixed: every minute of the gap is one run, that at its end is the same; asked for within an overlap
SELECT pg_temp.fires('*/15 2 * * *', 'Europe/Berlin', '2026-03-28 12:00Z');
SELECT pg_temp.fires('30 2,3 * * *', 'Europe/Berlin', '2026-03-28 12:00Z');
SELECT pg_temp.fires('0,30 2-3 * * *', 'Europe/Berlin', '2026-03-28 12:00Z');
SELECT pg_temp.fires('*/30 2 * * *', 'Europe/Berlin', '2026-03-29 01:00Z', 2);
SELECT pg_temp.fires('*/20 2-3 * * *', 'Europe/Berlin', '2026-10-25 00:30Z');
SELECT pg_temp.fires('*/20 2-3 * * *', 'Europe/Berlin', '2026-10-25 01:30Z', 2);
SELECT pg_temp.fires('0 3 * * *', 'Europe/Berlin', '2026-10-25 00:30Z', 2);
SELECT pg_temp.fires('0 0-23 * * *', 'Europe/Berlin', '2026-10-24 23:30Z', 4);
-- a day that was left out, one that came twice, and years beyond those that zone files list
SELECT pg_temp.fires('0 12 * * *', 'Pacific/Apia', '2011-12-29 12:00Z', 3);
SELECT pg_temp.fires('0 */12 * * *', 'Pacific/Apia', '2011-12-29 12:00Z', 3);
SELECT pg_temp.fires('0 12 * * *', 'Pacific/Kwajalein', '1969-09-29 12:00Z', 4);
SELECT pg_temp.fires('30 2 * * *', 'Europe/Berlin', '2500-03-26 12:00Z', 4);
SELECT pg_temp.fires('30 2 29 10 *', 'Europe/Berlin', '2037-10-01 00:00Z', 4);
SELECT pg_temp.fires('30 * * * *', 'Europe/Berlin', '2037-10-25 01:00Z', 1);
SELECT pg_temp.fires('0 0 1 4 *', 'Europe/Berlin', '2037-10-25 01:00Z', 1);
SELECT pg_temp.fires('0 0 1 4 *', 'America/New_York', '2437-11-01 06:00Z', 1);
-- a zone that is spelled out
SELECT pg_temp.fires('30 2 * * *', 'CET-1CEST,M3.5.0,M10.5.0/3', '2026-03-28 12:00Z', 3);

--
-- periods: from_time + n * period
--
SELECT zone || ', from ' || from_time || ': ' || schedule || E'\n' || pg_temp.fires(schedule, zone, from_time, 5)
FROM (VALUES
    ('1 mon', 'Europe/Berlin', '2026-01-31 09:00Z'::timestamptz),
    ('1 month', 'UTC', '2027-11-30 09:00Z'), ('1 year', 'UTC', '2024-02-29 00:00Z'),
    ('2 mons 1 day 01:00', 'Europe/Berlin', '2025-12-31 00:00Z'),
    ('1 day', 'Europe/Berlin', '2026-03-27 01:30Z'), ('1 day', 'Europe/Berlin', '2026-10-23 00:30Z'),
    ('1 day', 'Europe/Berlin', '2026-10-25 01:30Z'), ('1 day', 'Australia/Lord_Howe', '2026-10-01 15:45:00.25Z'),
    ('1 week', 'America/New_York', '2026-02-22 07:30Z'), ('24 hours', 'Europe/Berlin', '2026-03-27 01:30Z'),
    ('1 day 12 hours', 'Europe/Berlin', '2026-03-27 12:00Z'),
    ('1 day', 'Pacific/Apia', '2011-12-28 10:00Z'), ('30 min', 'Europe/Berlin', '2026-10-25 00:00Z'),
    ('@ 1 day 2 hours 3 min', 'UTC', '2026-01-01 00:00Z'), ('1 day 2 hours 3', 'UTC', '2026-01-01 00:00Z'),
    ('P1DT1H', 'UTC', '2026-01-01 00:00Z')) v (schedule, zone, from_time);
SELECT f FROM evsched.next_fires('1.5 ms', 3, 'UTC', '1999-12-31 23:59:59.999Z') f;
-- no drift
SELECT pg_temp.fires('7 days', 'Europe/Berlin', '2026-01-01 12:00Z', 1000) = string_agg(
           to_char(t, 'Dy YYYY-MM-DD HH24:MI:SS') || ' ' || to_char(t - t AT TIME ZONE 'Europe/Berlin' AT TIME ZONE 'UTC', 'HH24:MI'), E'\n' ORDER BY t)
FROM (SELECT '2026-01-01 13:00'::timestamp + n * '7 days'::interval AS t FROM generate_series(1, 1000) n) t;
SELECT bool_and(f AT TIME ZONE 'Europe/Berlin' = '2024-01-31 12:00'::timestamp + i * '1 mon'::interval)
FROM evsched.next_fires('1 mon', 5000, 'Europe/Berlin', '2024-01-31 12:00+01') WITH ORDINALITY x (f, i);

--
-- refused
--
SELECT pg_temp.refused(schedule)
FROM unnest(ARRAY['* * *', '60 * * * * *', '60 * * * *', '* 24 * * *', '* * 32 * *', '* * * 13 *', '* * * * 8', '0 0 31 2 *', 'never', '0.9 ms']) schedule;
SELECT left(schedule, 50) || ': ' || pg_temp.refused(schedule, hints => false)
FROM unnest(ARRAY[
    '* * * *', '* * * * * * *', '*', '@reboot', '@every 5 min', '0 0 31 2 *', '0 0 30 feb *', '0 0 31 4,6,9,11 *',
    '-1 * * * *', '1- * * * *', '1-- * * * *', '1-2-3 * * * *', '40-10 * * * *', '*/0 * * * *', '*/61 * * * *', '*/ * * * *', '/5 * * * *',
    '1,,2 * * * *', ',1 * * * *', '1, * * * *', '** * * * *', '*-5 * * * *', '1/5/5 * * * *', '1.5 * * * *', '+1 * * * *', '0x1 * * * *', '99999999999 * * * *',
    'mon * * * *', '* 22-2 * * *', '* * 0 * *', '* * L-3 * *', '* * 1-L * *', '* * LL * *', '* * ? * *', '* L * * *', '* * * 0 *', '* * * janu *',
    '* * * dec-jan *', '* * * * fri-mon', '* * * * monday', '* * * * 5L', '* * * * mon#1', 'a b c d e *',
    '1 2 3 4', '1 2 3 4 99', '0 9 * * mön', repeat('1,', 40) || 'x * * * *', repeat('* ', 600),
    '', ' ', 'tomorrow', '1 fortnight', '0', '-1 day', '1 mon -1 day', '1 day -1 h', '0.4 us', '99999999999 years']) schedule;
SELECT left(pg_temp.refused('infinity'), 5), left(pg_temp.refused('-infinity'), 5);
SELECT pg_temp.refused(NULL), pg_temp.refused('* * * * *', 0), pg_temp.refused('* * * * *', -1), pg_temp.refused('* * * * *', 100001);
SELECT pg_temp.refused('* * * * *', 1, zone)
FROM unnest(ARRAY['Europe/Berln', '', 'Mars/Olympus_Mons', '../etc/passwd', 'right/UTC', repeat('x', 1000)]) zone;
SELECT pg_temp.refused('* * * * *', 1, 'UTC', 'infinity');
SELECT pg_temp.refused('* * * * *', 1, 'UTC', '-infinity');

-- names in any case, NULL for what has a default
SELECT pg_temp.fires('0 0 * * *', 'europe/berlin', '2026-01-01 12:00Z', 1);
SELECT count(*), bool_and(f > now()) FROM evsched.next_fires('* * * * *', NULL, NULL, NULL) f;
SELECT f - now() FROM evsched.next_fires('1 day', 2, 'UTC') f;
SELECT count(*) FROM evsched.next_fires(schedule => '@daily', time_zone => 'UTC', n => 7);

-- the zone of one that names none is the server's, not the session's
SELECT evsched.next_fires('0 9 * * *', 1, NULL, '2026-06-01 00:00Z')
     = evsched.next_fires('0 9 * * *', 1, zone, '2026-06-01 00:00Z') AS same
FROM (SELECT setting AS zone FROM pg_file_settings WHERE name = 'timezone' AND applied ORDER BY seqno DESC LIMIT 1) s;
SET TimeZone = 'Asia/Tokyo';
SELECT evsched.next_fires('0 9 * * *', 1, NULL, '2026-06-01 00:00Z')
     = evsched.next_fires('0 9 * * *', 1, zone, '2026-06-01 00:00Z') AS same
FROM (SELECT setting AS zone FROM pg_file_settings WHERE name = 'timezone' AND applied ORDER BY seqno DESC LIMIT 1) s;

/*
 * samples.c: how late each event was, and the percentiles of it.
 */
#include "samples.h"

#include <stdio.h>
#include <stdlib.h>

#include "option.h"

static int
compare(const void *left, const void *right)
{
	int64_t		a = *(const int64_t *) left;
	int64_t		b = *(const int64_t *) right;

	return (a > b) - (a < b);
}

void
samples_add(Samples *samples, int64_t due_at, int64_t late_us)
{
	if (samples->count == samples->size)
	{
		samples->size = samples->size ? samples->size * 2 : 65536;
		samples->sample = realloc(samples->sample, samples->size * sizeof(Sample));
		if (!samples->sample)
			die("out of memory");
	}
	samples->sample[samples->count++] = (Sample) {due_at, late_us};
}

/* Prints p50, p99 and max in ms of the samples that were due within [from, to). */
static void
print_range(const Samples *samples, const char *prefix, const char *suffix,
			int64_t from, int64_t to)
{
	int64_t    *late = malloc((samples->count + 1) * sizeof(int64_t));
	size_t		n = 0;

	for (size_t i = 0; i < samples->count; i++)
		if (samples->sample[i].due_at >= from && samples->sample[i].due_at < to)
			late[n++] = samples->sample[i].late_us;
	qsort(late, n, sizeof(int64_t), compare);
	if (n > 0)
	{
		printf("%sp50%s %.3f\n", prefix, suffix, late[n / 2] / 1000.0);
		printf("%sp99%s %.3f\n", prefix, suffix, late[n * 99 / 100] / 1000.0);
		printf("%smax%s %.3f\n", prefix, suffix, late[n - 1] / 1000.0);
	}
	free(late);
}

/* All of them; with a window (µs) also the first and the last such stretch of time. */
void
samples_print(Samples *samples, const char *prefix, int64_t window)
{
	int64_t		first = INT64_MAX;
	int64_t		last = INT64_MIN;
	long		early = 0;

	for (size_t i = 0; i < samples->count; i++)
	{
		const Sample *sample = &samples->sample[i];

		if (sample->due_at < first)
			first = sample->due_at;
		if (sample->due_at > last)
			last = sample->due_at;
		if (sample->late_us < 0)
			early++;
	}
	print_range(samples, prefix, "", INT64_MIN, INT64_MAX);
	printf("%searly %ld\n", prefix, early);
	if (window > 0)
	{
		print_range(samples, prefix, "_first", first, first + window);
		print_range(samples, prefix, "_last", last - window + 1, INT64_MAX);
	}
}

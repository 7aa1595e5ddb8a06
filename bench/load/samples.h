/*
 * samples.h: how late each event was.
 */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stddef.h>
#include <stdint.h>

typedef struct
{
	int64_t		due_at;
	int64_t		late_us;
} Sample;

typedef struct
{
	Sample	   *sample;
	size_t		count;
	size_t		size;
} Samples;

extern void samples_add(Samples *samples, int64_t due_at, int64_t late_us);
extern void samples_print(Samples *samples, const char *prefix, int64_t window);

#endif

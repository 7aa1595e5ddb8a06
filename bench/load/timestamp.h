/*
 * timestamp.h: microseconds since 1970, as clock, as text, and to wait for.
 */
#ifndef TIMESTAMP_H
#define TIMESTAMP_H

#include <stdint.h>

#define SECOND INT64_C(1000000)
#define TIMESTAMP_SIZE 40

extern int64_t timestamp_now(void);
extern int64_t timestamp_parse(const char *text);
extern void timestamp_format(int64_t at, char text[TIMESTAMP_SIZE]);
extern void timestamp_sharpen(void);

#endif

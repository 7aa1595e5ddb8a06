/*
 * option.h: --name=value on the command line.
 */
#ifndef OPTION_H
#define OPTION_H

#include <stdbool.h>

extern void option_init(int argc, char **argv);
extern const char *option_text(const char *name, const char *otherwise);
extern double option_number(const char *name, double otherwise);
extern bool option_given(const char *name);
extern void option_finish(void);
extern void die(const char *format,...)
			__attribute__((format(printf, 1, 2), noreturn));

#endif

/*
 * process.h: what /proc tells about the server's processes.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include <stdint.h>

extern double process_cpu_ms(int pid);
extern double process_tree_cpu_ms(int postmaster);
extern int64_t process_switches(int pid);

#endif

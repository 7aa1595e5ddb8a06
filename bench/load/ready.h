/*
 * ready.h: tells whoever waits for it that all are there.
 */
#ifndef READY_H
#define READY_H

extern void tell_ready(const char *path);

#endif

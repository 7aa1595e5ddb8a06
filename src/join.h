/*
 * join.h
 *		The channel on which this session joined.
 */
#ifndef EVSCHED_JOIN_H
#define EVSCHED_JOIN_H

extern bool evsched_join_is_channel(const char *name);

#endif							/* EVSCHED_JOIN_H */

/*
 * stat_file.h
 *		The file that keeps the counters while the server is down.
 */
#ifndef EVSCHED_STAT_FILE_H
#define EVSCHED_STAT_FILE_H

#include "stat.h"

typedef struct EvschedStatFile
{
	int			num_queues;
	EvschedQueueStat *queues;
	int			num_schedulers;
	EvschedSchedulerStat *schedulers;
} EvschedStatFile;

extern bool evsched_stat_file_read(EvschedStatFile *file);
extern bool evsched_stat_file_allocate(EvschedStatFile *file, int max_queues,
									   int max_schedulers);
extern void evsched_stat_file_write(const EvschedStatFile *file);
extern void evsched_stat_file_free(EvschedStatFile *file);

#endif							/* EVSCHED_STAT_FILE_H */

/*
 * call.h
 *		What map asks of the worker slots of a pool.
 */
#ifndef EVSCHED_CALL_H
#define EVSCHED_CALL_H

#include "storage/dsm.h"
#include "storage/shm_mq.h"
#include "utils/jsonb.h"

#include "staff.h"

/* What came of a call. */
typedef struct EvschedAnswer
{
	Jsonb	   *result;			/* NULL: null, or an error */
	const char *error;			/* NULL: none */
} EvschedAnswer;

typedef enum EvschedCallState
{
	EVSCHED_CALL_WAITS,
	EVSCHED_CALL_ANSWERED,
	EVSCHED_CALL_GONE,			/* who ran it is gone */
	EVSCHED_CALL_ENDED			/* nobody runs it, nor will */
} EvschedCallState;

/* In the session that calls. */
extern dsm_segment *evsched_call_begin(EvschedStore store, const char *pool, int n,
									   const char *query, shm_mq_handle **answers);
extern EvschedCallState evsched_call_receive(dsm_segment *segment, int number,
											 shm_mq_handle *from, EvschedAnswer *answer);
extern const char *evsched_call_halted(const char *pool);

/* In a worker. */
extern bool evsched_call_run(const EvschedTask *task);

#endif							/* EVSCHED_CALL_H */

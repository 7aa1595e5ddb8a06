/*
 * hand.h
 *		The listeners' shares in a turn.
 */
#ifndef EVSCHED_HAND_H
#define EVSCHED_HAND_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

#include "listener.h"
#include "step.h"
#include "table.h"

/* One listener's share. */
typedef struct EvschedHand
{
	EvschedListenerRef ref;
	char		channel[EVSCHED_CHANNEL_BYTES];
	int			pid;
	int			credit;			/* events to be confirmed it may still get */
	int			once;			/* events with max_retries 0 it may still get */
	int64		bytes;			/* of notifications it may still get */
	int64		conf_timeout;	/* µs */
	int64		linger;			/* µs */
	bool		empty;			/* it holds no lease */
	bool		full;			/* its turn is over */
	bool		jobs;			/* it is a crew of workers */
	int			handed;
	int64		bytes_once;		/* sent of events with max_retries 0 */
	StringInfoData pending;		/* notification being filled */
} EvschedHand;

/* Those of one queue, in the order of the ring. */
typedef struct EvschedHands
{
	int			slot;			/* of the queue */
	int64		clock;			/* µs, monotonic: when the turn began */
	List	   *roles;			/* of listeners that may consume the queue; of jobs handed out */
	TimestampTz now;			/* of the turn */
	StringInfoData piece;		/* the event in hand */
	EvschedStep step;			/* of its series */
	EvschedPlace planned;		/* first place that this turn has entered itself */
	EvschedHand *hand;
	int			n;
	int			current;		/* whose turn it is */
	bool		all;			/* it is nobody's: each gets a copy */
	bool		blocked;		/* one is not among them: blocked in writing */
	bool		unread;			/* one was passed over because it does not read */
	int			jobs;			/* of a pool: how many more may wait for workers */
	List	   *waiting_roles;	/* of which others wait already */
	Oid			asked_role;		/* whether it may work was asked last, and the answer */
	bool		may_work;
	EvschedListenerRef told;	/* one that is only told; EVSCHED_NO_SLOT: none */
	char		told_channel[EVSCHED_CHANNEL_BYTES];
} EvschedHands;

/* What became of a row that was offered to a hand. */
typedef enum EvschedOffer
{
	EVSCHED_OFFER_TAKEN,
	EVSCHED_OFFER_PASSED,		/* not to be had */
	EVSCHED_OFFER_HELD,			/* locked: to be looked at again */
	EVSCHED_OFFER_CROWDED,		/* it waits for another of its series to end */
	EVSCHED_OFFER_REFUSED,		/* try the next hand */
	EVSCHED_OFFER_WAITS,		/* a job whose role has enough: try another's */
	EVSCHED_OFFER_BLOCKED		/* nobody can have it now: wait a little */
} EvschedOffer;

extern void evsched_hand_find(EvschedHands *hands, int slot, const char *queue_name,
							  bool serving);
extern void evsched_hand_find_all(EvschedHands *hands, int slot, const char *queue_name);
extern EvschedOffer evsched_hand_offer_all(EvschedHands *hands, EvschedTable *table);
extern EvschedHand *evsched_hand_choose(EvschedHands *hands, bool once);
extern EvschedOffer evsched_hand_offer(EvschedHands *hands, EvschedHand *hand,
									   EvschedTable *table, bool once);
extern void evsched_hand_find_workers(EvschedHands *hands, int slot, EvschedStore store,
									  const char *pool);
extern EvschedOffer evsched_hand_offer_job(EvschedHands *hands, EvschedTable *table,
										   const char *pool);
extern int	evsched_hand_count_jobs(const EvschedHands *hands, Oid role);
extern bool evsched_hand_tell(EvschedHands *hands);
extern void evsched_hand_send_all(EvschedHands *hands);
extern void evsched_hand_sent(const EvschedHands *hands);

#endif							/* EVSCHED_HAND_H */

/*
 * join.c
 *		The SQL functions of listeners: join, leave, set_max_events.
 *
 * Runs in the session that listens.  join does LISTEN itself, on a channel that
 * nobody can guess, so that the channel's name is in no query text; it takes
 * effect, like everything here but set_max_events, when the transaction commits.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "arg.h"
#include "compat.h"
#include "effect.h"
#include "join.h"
#include "listener.h"
#include "pool.h"
#include "right.h"
#include "shared.h"
#include "stop.h"
#include "store.h"

#define CHANNEL_PREFIX	"evsched_"
#define CHANNEL_RANDOM	26		/* of 32 letters each: 130 bits */

/* The channel of this session; empty until it joins. */
static char channel[EVSCHED_CHANNEL_BYTES];

static void read_terms(FunctionCallInfo fcinfo, EvschedListenerTerms *terms);
static Oid	check_replaced(EvschedStore store, const char *queue, const char *node);
static void make_channel(void);
static void shorten_keepalives(void);
static void require_unrestricted(const char *function);
static EvschedListenerRef my_listener(const char *queue);

PG_FUNCTION_INFO_V1(evsched_sql_join);
PG_FUNCTION_INFO_V1(evsched_sql_leave);
PG_FUNCTION_INFO_V1(evsched_sql_set_max_events);

/* join(node, queue, max_events, conf_timeout, linger) */
Datum
evsched_sql_join(PG_FUNCTION_ARGS)
{
	EvschedListenerTerms terms;
	const char *queue = evsched_arg_queue(PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1));
	EvschedStore store;
	Oid			replaced_role;

	read_terms(fcinfo, &terms);
	PreventCommandDuringRecovery("evsched.join()");
	evsched_shared_require();
	evsched_pool_refuse(queue);
	if (MyBackendType != B_BACKEND)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a background process cannot join a queue"),
				 errhint("Use evsched.take or evsched.receive in a job.")));
	require_unrestricted("evsched.join()");
	evsched_store_require_current();
	evsched_right_require(queue, EVSCHED_RIGHT_CONSUME);
	store = evsched_store_here();
	replaced_role = check_replaced(store, queue, terms.node);
	make_channel();
	shorten_keepalives();
	Async_Listen(channel);
	evsched_effect_join(evsched_listener_reserve(store, queue, channel, &terms,
												   replaced_role));
	EVSCHED_STOP("join reserved");
	PG_RETURN_TEXT_P(cstring_to_text(channel));
}

/* leave(queue, release) */
Datum
evsched_sql_leave(PG_FUNCTION_ARGS)
{
	const char *queue = evsched_arg_queue(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
	bool		release = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	EvschedListenerRef listener = my_listener(queue);

	require_unrestricted("evsched.leave()");
	if (listener.slot == EVSCHED_NO_SLOT)
		PG_RETURN_BOOL(false);
	evsched_effect_leave(listener, release);
	PG_RETURN_BOOL(true);
}

/* set_max_events(n, queue) */
Datum
evsched_sql_set_max_events(PG_FUNCTION_ARGS)
{
	const char *queue = evsched_arg_queue(PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1));
	EvschedListenerRef listener;

	require_unrestricted("evsched.set_max_events()");
	if (PG_ARGISNULL(0))
		evsched_arg_refuse("n must not be null", "Give a number; 0 goes back to what join was given.");
	listener = my_listener(queue);
	if (listener.slot == EVSCHED_NO_SLOT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this session has not joined queue \"%s\"", queue),
				 errhint("Call evsched.join first.")));
	PG_RETURN_INT32(evsched_listener_set_max_events(listener, PG_GETARG_INT32(0)));
}

/* Is it the channel on which this session joined? */
bool
evsched_join_is_channel(const char *name)
{
	return channel[0] != '\0' && strcmp(name, channel) == 0;
}

static void
read_terms(FunctionCallInfo fcinfo, EvschedListenerTerms *terms)
{
	*terms = (EvschedListenerTerms)
	{
		.max_events = PG_ARGISNULL(2) ? 8 : PG_GETARG_INT32(2),
			.conf_timeout = PG_ARGISNULL(3) ? 10 * USECS_PER_SEC :
			evsched_arg_positive_us(PG_GETARG_INTERVAL_P(3), "conf_timeout"),
			.linger = PG_ARGISNULL(4) ? 0 : evsched_arg_us(PG_GETARG_INTERVAL_P(4))
	};
	if (terms->max_events < 0)
		evsched_arg_refuse("max_events must not be negative",
						   "Give a number, or 0 to be told only when something is due.");
	if (terms->linger < 0)
		evsched_arg_refuse("linger must not be negative", "Give an interval of 0 or more.");
	if (PG_ARGISNULL(0))
		snprintf(terms->node, sizeof(terms->node), "pid-%d", MyProcPid);
	else
	{
		text	   *node = PG_GETARG_TEXT_PP(0);

		if (VARSIZE_ANY_EXHDR(node) < 1 || VARSIZE_ANY_EXHDR(node) > EVSCHED_NODE_BYTES)
			evsched_arg_refuse("invalid node name",
							   psprintf("A node's name has 1 to %d bytes, or is NULL.",
										EVSCHED_NODE_BYTES));
		text_to_cstring_buffer(node, terms->node, sizeof(terms->node));
	}
}

/* Only a member of its role may take the place of a node that is there; returns that. */
static Oid
check_replaced(EvschedStore store, const char *queue, const char *node)
{
	Oid			role = evsched_listener_role_of(store, queue, node);

	if (OidIsValid(role) && !evsched_is_member(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("node \"%s\" has joined queue \"%s\" as another role", node, queue),
				 errhint("Join under another node name.")));
	return role;
}

static void
make_channel(void)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8		random[CHANNEL_RANDOM];
	char	   *end = channel + strlen(CHANNEL_PREFIX);

	if (channel[0] != '\0')
		return;
	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random channel name")));
	for (int i = 0; i < CHANNEL_RANDOM; i++)
		end[i] = letters[random[i] % 32];
	end[CHANNEL_RANDOM] = '\0';
	memcpy(channel, CHANNEL_PREFIX, strlen(CHANNEL_PREFIX));
}

/* A host that vanishes is noticed within half a minute. */
static void
shorten_keepalives(void)
{
	SetConfigOption("tcp_keepalives_idle", "10", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("tcp_keepalives_interval", "5", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("tcp_keepalives_count", "4", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("tcp_user_timeout", "30000", PGC_USERSET, PGC_S_SESSION);
}

/*
 * As of LISTEN: a session must not be made a listener, or another one, by what it is led to
 * run.
 */
static void
require_unrestricted(const char *function)
{
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot call %s within a security-restricted operation", function)));
}

static EvschedListenerRef
my_listener(const char *queue)
{
	if (!evsched_shared_ready())
		return (EvschedListenerRef) {EVSCHED_NO_SLOT, 0};
	return evsched_listener_mine(evsched_store_here(), queue);
}

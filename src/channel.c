/*
 * channel.c
 *		Channels on which the scheduler listens.
 *
 * The server hands notifications to a process as messages to its client.  The
 * scheduler has none: while it takes them in, it is its own client, and keeps
 * of what it is sent the notifications.
 *
 * Called by the scheduler: listen and unlisten inside a transaction, whose commit
 * they take effect with; read outside.
 */
#include "postgres.h"

#include "channel.h"

#include "commands/async.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/ps_status.h"

#define EVSCHED_NEEDS_PROTOCOL
#include "compat.h"

/* The type of the message that is a notification. */
#define NOTIFICATION	'A'

/* Before the channel stands who has sent it. */
#define PID_BYTES		sizeof(int32)

static EvschedHear hear_here;

static void forget(void);
static int	flush_nothing(void);
static bool is_nothing_pending(void);
static int	take_message(char type, const char *message, size_t length);
static void take_message_noblock(char type, const char *message, size_t length);

static const PQcommMethods methods = {
	.comm_reset = forget,
	.flush = flush_nothing,
	.flush_if_writable = flush_nothing,
	.is_send_pending = is_nothing_pending,
	.putmessage = take_message,
	.putmessage_noblock = take_message_noblock
};

/* To be called once, in the life of the process: what was notified is to come as it is. */
void
evsched_channel_start(void)
{
	SetConfigOption("client_encoding", GetDatabaseEncodingName(), PGC_SUSET, PGC_S_OVERRIDE);
}

void
evsched_channel_listen(const char *channel)
{
	Async_Listen(channel);
}

void
evsched_channel_unlisten(const char *channel)
{
	Async_Unlisten(channel);
}

/* Gives what was notified on these channels since to hear, in the order of commits. */
void
evsched_channel_read(EvschedHear hear)
{
	const PQcommMethods *save_methods = PqCommMethods;
	CommandDest save_output = whereToSendOutput;

	if (!notifyInterruptPending)
		return;
	hear_here = hear;
	PqCommMethods = &methods;
	whereToSendOutput = DestRemote;
	PG_TRY();
	{
		ProcessNotifyInterrupt(false);
	}
	PG_FINALLY();
	{
		PqCommMethods = save_methods;
		whereToSendOutput = save_output;
	}
	PG_END_TRY();
	/* It says "idle" now, as of a session. */
	set_ps_display("");
}

static void
forget(void)
{
}

static int
flush_nothing(void)
{
	return 0;
}

static bool
is_nothing_pending(void)
{
	return false;
}

static int
take_message(char type, const char *message, size_t length)
{
	const char *channel = message + PID_BYTES;

	if (type == NOTIFICATION)
		hear_here(channel, channel + strlen(channel) + 1);
	return 0;
}

static void
take_message_noblock(char type, const char *message, size_t length)
{
	(void) take_message(type, message, length);
}

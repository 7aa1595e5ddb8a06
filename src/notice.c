/*
 * notice.c
 *		Events as the JSON of notifications, as many in one as fit.
 *
 * Called by the scheduler during a turn; what is sent goes out when the turn's
 * transaction commits.
 */
#include "postgres.h"

#include "notice.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "setting.h"

/* A binary value of this size is too long as text, whatever is in it. */
#define HOPELESS_PAYLOAD	(16 * EVSCHED_NOTIFY_BYTES)

static int64 num_sent;

static void append_text(StringInfo out, TupleTableSlot *row, int column);

/*
 * Formats an event into an emptied buffer; false when it does not fit into a
 * notification.
 */
bool
evsched_notice_format(StringInfo piece, TupleTableSlot *row)
{
	Datum		payload = evsched_event_value(row, EVSCHED_EVENT_PAYLOAD);
	char		due_at[MAXDATELEN + 1];
	int			utc = 0;

	resetStringInfo(piece);
	if (toast_raw_datum_size(payload) > HOPELESS_PAYLOAD)
		return false;
	appendStringInfo(piece, "{\"id\":" INT64_FORMAT ",\"recurring\":", evsched_event_id(row));
	if (evsched_event_has(row, EVSCHED_EVENT_RECURRING))
		appendStringInfo(piece, INT64_FORMAT,
						 DatumGetInt64(evsched_event_value(row, EVSCHED_EVENT_RECURRING)));
	else
		appendStringInfoString(piece, "null");
	appendStringInfoString(piece, ",\"key\":");
	append_text(piece, row, EVSCHED_EVENT_KEY);
	appendStringInfoString(piece, ",\"queue\":");
	append_text(piece, row, EVSCHED_EVENT_QUEUE);
	appendStringInfoString(piece, ",\"payload\":");
	(void) JsonbToCString(piece, &DatumGetJsonbP(payload)->root, VARSIZE_ANY_EXHDR(payload));
	JsonEncodeDateTime(due_at, evsched_event_value(row, EVSCHED_EVENT_DUE_AT),
					   TIMESTAMPTZOID, &utc);
	appendStringInfo(piece, ",\"due_at\":\"%s\",\"max_retries\":%d,\"num_retries\":%d}",
					 due_at, evsched_setting_max_retries(row), evsched_event_num_retries(row));
	/* with the brackets of the array */
	return piece->len + 2 <= EVSCHED_NOTIFY_BYTES;
}

/* Formats what is sent instead of an event that does not fit. */
void
evsched_notice_format_fetch(StringInfo piece, int64 id)
{
	resetStringInfo(piece);
	appendStringInfo(piece, "{\"id\":" INT64_FORMAT ",\"fetch\":true}", id);
}

/* Adds an event to those that wait to be sent, and sends them when it does not fit. */
void
evsched_notice_add(StringInfo pending, const char *channel, StringInfo piece)
{
	if (pending->len > 0 && pending->len + 1 + piece->len + 1 > EVSCHED_NOTIFY_BYTES)
		evsched_notice_send(pending, channel);
	appendStringInfoChar(pending, pending->len == 0 ? '[' : ',');
	appendBinaryStringInfo(pending, piece->data, piece->len);
}

/* Sends what waits, if anything. */
void
evsched_notice_send(StringInfo pending, const char *channel)
{
	if (pending->len == 0)
		return;
	appendStringInfoChar(pending, ']');
	Async_Notify(channel, pending->data);
	num_sent++;
	resetStringInfo(pending);
}

/* Tells a listener that is not served that something is due. */
void
evsched_notice_tell(const char *channel)
{
	Async_Notify(channel, "[]");
	num_sent++;
}

/* How many this process has sent in its life, if all its transactions committed. */
int64
evsched_notice_sent(void)
{
	return num_sent;
}

static void
append_text(StringInfo out, TupleTableSlot *row, int column)
{
	if (evsched_event_has(row, column))
		escape_json(out, TextDatumGetCString(evsched_event_value(row, column)));
	else
		appendStringInfoString(out, "null");
}

/*
 * role.c
 *		The owners of events: small numbers that survive a dump.
 *
 * An event refers to its owner by a number into evsched.role, which is dumped
 * and says in which system and database the name was bound; evsched.role_binding
 * says which role of this system that is, and is not dumped.  A number is drawn
 * at random, so that restored ones and ours do not meet, and a role may have
 * several: two sessions that post for the first time need not wait for each
 * other.  Called by sessions inside a transaction.
 */
#include "postgres.h"

#include "role.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "statement.h"
#include "table.h"

/* Numbers this session knows.  What its transaction made is gone if that fails. */
typedef struct KnownKey
{
	EvschedStore store;
	Oid			role;
} KnownKey;

typedef struct Known
{
	KnownKey	key;
	int32		number;
	bool		tentative;		/* made by the transaction under way */
} Known;

static HTAB *known;
static bool have_tentative;

static void end_transaction(XactEvent event, void *arg);
static void end_subtransaction(SubXactEvent event, SubTransactionId id,
							   SubTransactionId parent, void *arg);
static void settle_tentative(bool keep);
static int32 find_number(Oid role);
static int32 make_number(Oid role);

void
evsched_role_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

/* The number of a role in this database, made when it has none. */
int32
evsched_role_number(EvschedStore store, Oid role)
{
	KnownKey	key = {store, role};
	EvschedCaller caller;
	Known	   *entry;
	int32		number;

	if (known == NULL)
	{
		HASHCTL		info = {.keysize = sizeof(KnownKey), .entrysize = sizeof(Known),
		.hcxt = TopMemoryContext};

		known = hash_create("evsched roles", 16, &info,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(known, &key, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->number;

	evsched_statement_begin(&caller);
	number = find_number(role);
	if (number == 0)
		number = make_number(role);
	evsched_statement_end(&caller);

	entry = hash_search(known, &key, HASH_ENTER, NULL);
	entry->number = number;
	entry->tentative = true;
	have_tentative = true;
	return number;
}

static int32
find_number(Oid role)
{
	Datum		value = ObjectIdGetDatum(role);
	bool		isnull;

	if (evsched_statement_run(EVSCHED_STMT_ROLE_FIND, &value, NULL) == 0)
		return 0;
	return DatumGetInt32(evsched_statement_value(0, 1, &isnull));
}

static int32
make_number(Oid role)
{
	NameData	name;
	char		origin[64];
	Datum		values[3];
	int32		number;

	namestrcpy(&name, GetUserNameFromId(role, false));
	snprintf(origin, sizeof(origin), UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId);
	values[1] = NameGetDatum(&name);
	values[2] = CStringGetTextDatum(origin);
	do
	{
		number = (int32) (pg_prng_uint32(&pg_global_prng_state) >> 1) | 1;
		values[0] = Int32GetDatum(number);
	} while (evsched_statement_run(EVSCHED_STMT_ROLE_ADD, values, NULL) == 0);

	values[1] = ObjectIdGetDatum(role);
	evsched_statement_run(EVSCHED_STMT_ROLE_BIND, values, NULL);
	return number;
}

static void
end_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		settle_tentative(true);
	else if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		settle_tentative(false);
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId id,
				   SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		settle_tentative(false);
}

static void
settle_tentative(bool keep)
{
	HASH_SEQ_STATUS status;
	Known	   *entry;

	if (!have_tentative)
		return;
	hash_seq_init(&status, known);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (!entry->tentative)
			continue;
		if (keep)
			entry->tentative = false;
		else
			hash_search(known, &entry->key, HASH_REMOVE, NULL);
	}
	have_tentative = false;
}

/*
 * role.c
 *		The owners of events: small numbers that survive a dump.
 *
 * An event refers to its owner by a number into evsched.role, which is dumped
 * and says in which system and database the name was bound; evsched.role_binding
 * says which role of this system that is, and is not dumped.  A number is drawn
 * at random, so that restored ones and ours do not meet, and a role may have
 * several: two sessions that post for the first time need not wait for each
 * other.  Called by sessions and the scheduler inside a transaction.
 *
 * A number is bound here when its origin is this system and database and it has
 * a binding: neither is so in a restored dump or a copy, until evsched.start().
 * A role that was dropped leaves its binding behind, and its origin is "dropped" once
 * the scheduler has seen that, so that nobody inherits it, here or in a dump.
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
#include "utils/syscache.h"

#include "statement.h"
#include "store.h"

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
static bool known_stale;			/* the tables have changed since */
static bool have_tentative;

/* Whose a number is: as last looked up. */
typedef struct Bound
{
	int32		number;			/* hash key */
	Oid			role;			/* InvalidOid: not bound here */
} Bound;

static HTAB *bound;
static bool bound_stale;

static void end_transaction(XactEvent event, void *arg);
static void end_subtransaction(SubXactEvent event, SubTransactionId id,
							   SubTransactionId parent, void *arg);
static void settle_tentative(bool keep);
static int32 find_number(Oid role);
static int32 make_number(Oid role);
static bool add_number(int32 number, Oid role);
static void bind_number(int32 number, Oid role);
static void forget_roles(void);
static Oid	look_up_role(int32 number);

void
evsched_role_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
	evsched_store_on_change(forget_roles);
}

/* In which system and database names are bound now. */
char *
evsched_role_origin(void)
{
	return psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId);
}

/* The role for which a number stands here; InvalidOid: there is none, as for 0. */
Oid
evsched_role_of(int32 number)
{
	HASHCTL		info = {.keysize = sizeof(int32), .entrysize = sizeof(Bound), .hcxt = TopMemoryContext};
	Bound	   *entry;

	if (number == 0)
		return InvalidOid;
	if (bound_stale)
	{
		hash_destroy(bound);
		bound = NULL;
		bound_stale = false;
	}
	if (bound == NULL)
		bound = hash_create("evsched bound roles", 16, &info,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	entry = hash_search(bound, &number, HASH_FIND, NULL);
	if (entry == NULL)
	{
		Oid			role = look_up_role(number);

		/* If something has changed meanwhile, it is asked again the next time. */
		entry = hash_search(bound, &number, HASH_ENTER, NULL);
		entry->role = role;
	}
	return OidIsValid(entry->role) &&
		SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(entry->role)) ? entry->role : InvalidOid;
}

/*
 * Is the number one that is here already?  It may have got another name or origin
 * since it was dumped, but not both: then another role has drawn the same number
 * elsewhere, and its events must not become this one's.
 */
bool
evsched_role_is_known(int32 number, const char *name, const char *origin)
{
	Datum		value = Int32GetDatum(number);
	EvschedCaller caller;
	bool		isnull;
	bool		known_here;

	evsched_statement_begin(&caller);
	known_here = evsched_statement_read(EVSCHED_STMT_ROLE_KNOWN, &value) > 0;
	if (known_here && strcmp(origin, evsched_role_origin()) != 0)
	{
		Name		here = DatumGetName(evsched_statement_value(0, 1, &isnull));

		if (strcmp(NameStr(*here), name) != 0 &&
			strcmp(TextDatumGetCString(evsched_statement_value(0, 2, &isnull)), origin) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("owner %d is role \"%s\" in this database, not \"%s\"",
							number, NameStr(*here), name),
					 errhint("If the role was renamed, let it have the same name here and there.")));
	}
	evsched_statement_end(&caller);
	return known_here;
}

/* An event that another system has sent belongs to whoever brings it in here. */
void
evsched_role_adopt(int32 number)
{
	EvschedCaller caller;

	evsched_statement_begin(&caller);
	if (add_number(number, caller.user))
		bind_number(number, caller.user);
	evsched_statement_end(&caller);
}

/* Binds what came from elsewhere by its names; were there such? */
bool
evsched_role_bind_all(void)
{
	Datum		origin = CStringGetTextDatum(evsched_role_origin());
	EvschedCaller caller;
	uint64		n;

	evsched_statement_begin(&caller);
	n = evsched_statement_run(EVSCHED_STMT_ROLE_BIND_ALL, &origin, NULL);
	evsched_statement_end(&caller);
	return n > 0;
}

/* Are there owners that came from elsewhere and are not bound yet? */
bool
evsched_role_is_restored(void)
{
	Datum		origin = CStringGetTextDatum(evsched_role_origin());
	EvschedCaller caller;
	uint64		n;

	evsched_statement_begin(&caller);
	n = evsched_statement_read(EVSCHED_STMT_ROLE_ELSEWHERE, &origin);
	evsched_statement_end(&caller);
	return n > 0;
}

/* Roles that were renamed or dropped since: a dump shall say so. */
void
evsched_role_follow_all(void)
{
	Datum		origin = CStringGetTextDatum(evsched_role_origin());
	EvschedCaller caller;

	evsched_statement_begin(&caller);
	evsched_statement_run(EVSCHED_STMT_ROLE_RENAME_ALL, &origin, NULL);
	evsched_statement_run(EVSCHED_STMT_ROLE_DROP_ALL, &origin, NULL);
	evsched_statement_end(&caller);
}

/* The number of a role in this database, made when it has none. */
int32
evsched_role_number(EvschedStore store, Oid role)
{
	KnownKey	key = {store, role};
	EvschedCaller caller;
	Known	   *entry;
	int32		number;

	if (known_stale && !have_tentative)
	{
		hash_destroy(known);
		known = NULL;
		known_stale = false;
	}
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
	Datum		values[2] = {
		ObjectIdGetDatum(role), CStringGetTextDatum(evsched_role_origin())
	};
	bool		isnull;

	if (evsched_statement_run(EVSCHED_STMT_ROLE_FIND, values, NULL) == 0)
		return 0;
	return DatumGetInt32(evsched_statement_value(0, 1, &isnull));
}

static int32
make_number(Oid role)
{
	int32		number;

	do
		number = (int32) (pg_prng_uint32(&pg_global_prng_state) >> 1) | 1;
	while (!add_number(number, role));
	bind_number(number, role);
	return number;
}

/* False when the number is taken. */
static bool
add_number(int32 number, Oid role)
{
	NameData	name;
	Datum		values[3];

	namestrcpy(&name, GetUserNameFromId(role, false));
	values[0] = Int32GetDatum(number);
	values[1] = NameGetDatum(&name);
	values[2] = CStringGetTextDatum(evsched_role_origin());
	return evsched_statement_run(EVSCHED_STMT_ROLE_ADD, values, NULL) > 0;
}

static void
bind_number(int32 number, Oid role)
{
	Datum		values[2] = {Int32GetDatum(number), ObjectIdGetDatum(role)};

	evsched_statement_run(EVSCHED_STMT_ROLE_BIND, values, NULL);
}

static Oid
look_up_role(int32 number)
{
	Datum		values[2] = {
		Int32GetDatum(number), CStringGetTextDatum(evsched_role_origin())
	};
	EvschedCaller caller;
	Oid			role = InvalidOid;
	bool		isnull;

	evsched_statement_begin(&caller);
	if (evsched_statement_read(EVSCHED_STMT_ROLE_OF, values) > 0)
		role = DatumGetObjectId(evsched_statement_value(0, 1, &isnull));
	evsched_statement_end(&caller);
	return role;
}

static void
forget_roles(void)
{
	bound_stale = bound != NULL;
	known_stale = known != NULL;
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

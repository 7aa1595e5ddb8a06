/*
 * store.c
 *		The extension in this database: its tables and indexes, and its version.
 *
 * Every process asks, inside a transaction.  What was found in the catalogs is
 * kept until one of the tables changes.
 */
#include "postgres.h"

#include "store.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* The tables but evsched.event that every process keeps in mind. */
static const char *const setting_names[EVSCHED_STORE_SETTINGS] = {
	"role", "role_binding", "queue", "queue_grant", "control",
	"rule_set", "rule_grant", "rule", "rule_slot"
};

/* Who keeps in mind what stands in them; the server has few places for callbacks. */
#define MAX_WATCHERS	8

static void (*watchers[MAX_WATCHERS]) (void);
static int	num_watchers;
static EvschedObjects objects;	/* event InvalidOid: not looked up yet */
static bool stale;				/* something has changed since */

static void forget_objects(Datum arg, Oid relation);
static bool look_up_objects(void);
static bool has_version(const char *version);

void
evsched_store_init(void)
{
	CacheRegisterRelcacheCallback(forget_objects, (Datum) 0);
}

/* From now on this is called when one of the tables has changed, or may have; it raises nothing. */
void
evsched_store_on_change(void (*watcher) (void))
{
	Assert(num_watchers < MAX_WATCHERS);
	watchers[num_watchers++] = watcher;
}

/* Is the extension installed in this database? */
bool
evsched_store_exists(void)
{
	return look_up_objects();
}

/* The store of this database; raises 55000 when the extension is not there. */
EvschedStore
evsched_store_here(void)
{
	if (!look_up_objects())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension evsched is not installed in this database"),
				 errhint("Run CREATE EXTENSION evsched.")));
	return (EvschedStore) {MyDatabaseId, objects.event};
}

/*
 * Locks evsched.event, before any other of the extension's tables, and returns whose
 * it is.  While one waits for it, it may be dropped, and made again.
 */
EvschedStore
evsched_store_lock(LOCKMODE lock)
{
	for (;;)
	{
		EvschedStore store = evsched_store_here();

		LockRelationOid(store.table, lock);
		if (evsched_store_equal(store, evsched_store_here()))
			return store;
		UnlockRelationOid(store.table, lock);
	}
}

/* Are the extension's tables and functions those that this library knows? */
bool
evsched_store_is_current(void)
{
	return look_up_objects() && objects.current;
}

/* Raises 55000 where they are not. */
void
evsched_store_require_current(void)
{
	(void) evsched_store_here();
	if (!objects.current)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension evsched is not of version %s, as its library is",
						EVSCHED_VERSION),
				 errhint("Run ALTER EXTENSION evsched UPDATE; if that was done, restart the server.")));
}

/* Raises 40001, as the server does: what is to be changed is younger than the snapshot. */
void
evsched_store_refuse_stale(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update")));
}

/* May the table be one of those that say how the others are to be treated? */
bool
evsched_store_is_setting(Oid relation)
{
	if (stale || !OidIsValid(objects.event))
		return true;
	for (int i = 0; i < lengthof(objects.settings); i++)
	{
		if (objects.settings[i] == relation)
			return true;
	}
	return relation == objects.event;
}

/* Every process shall look at the tables anew, once this is committed. */
void
evsched_store_invalidate(void)
{
	if (look_up_objects())
		CacheInvalidateRelcacheByRelid(objects.event);
}

/* Where event and its indexes are; to be used while event is locked. */
const EvschedObjects *
evsched_store_objects(void)
{
	return &objects;
}

static void
forget_objects(Datum arg, Oid relation)
{
	if (relation != InvalidOid && !evsched_store_is_setting(relation))
		return;
	stale = true;
	for (int i = 0; i < num_watchers; i++)
		watchers[i] ();
}

static bool
look_up_objects(void)
{
	EvschedObjects found;
	Oid			schema;

	if (OidIsValid(objects.event) && !stale)
		return true;
	/* What changes while they are looked up makes them good for this once. */
	objects.event = InvalidOid;
	stale = false;
	/* Without the extension, who made a schema of that name may be anybody. */
	if (!OidIsValid(get_extension_oid(EVSCHED_NAME, true)))
		return false;
	schema = get_namespace_oid(EVSCHED_NAME, true);
	if (!OidIsValid(schema))
		return false;
	found.event = get_relname_relid("event", schema);
	found.id_index = get_relname_relid("event_pkey", schema);
	found.due_index = get_relname_relid("event_due", schema);
	found.sequence = get_relname_relid("event_id_seq", schema);
	if (!OidIsValid(found.event) || !OidIsValid(found.id_index) ||
		!OidIsValid(found.due_index) || !OidIsValid(found.sequence))
		return false;
	found.run_sequence = get_relname_relid("run_record_id_seq", schema);
	for (int i = 0; i < lengthof(setting_names); i++)
		found.settings[i] = get_relname_relid(setting_names[i], schema);
	found.current = has_version(EVSCHED_VERSION);
	objects = found;
	return true;
}

/* Is that the version of the extension in this database? */
static bool
has_version(const char *version)
{
	Relation	relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		same = false;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EVSCHED_NAME));
	scan = systable_beginscan(relation, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(relation), &isnull);

		same = !isnull && strcmp(TextDatumGetCString(value), version) == 0;
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return same;
}

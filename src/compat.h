/*
 * compat.h
 *		What differs between server versions 15 to 18.  The only file that
 *		asks for PG_VERSION_NUM.
 */
#ifndef EVSCHED_COMPAT_H
#define EVSCHED_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "evsched needs PostgreSQL 15 or later"
#endif

#include "access/genam.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "catalog/pg_database.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/timestamp.h"

/* A process's number among all of the server's. */
#if PG_VERSION_NUM >= 170000
#define EVSCHED_MY_PROCNO		MyProcNumber
#else
#define EVSCHED_MY_PROCNO		(MyProc->pgprocno)
#endif

#if PG_VERSION_NUM >= 160000
#define evsched_owns_database(oid, role) \
	object_ownercheck(DatabaseRelationId, oid, role)
#define evsched_schema_aclcheck(oid, role, mode) \
	object_aclcheck(NamespaceRelationId, oid, role, mode)
#define evsched_database_aclcheck(oid, role, mode) \
	object_aclcheck(DatabaseRelationId, oid, role, mode)
#else
#define evsched_owns_database(oid, role)	pg_database_ownercheck(oid, role)
#define evsched_schema_aclcheck(oid, role, mode) \
	pg_namespace_aclcheck(oid, role, mode)
#define evsched_database_aclcheck(oid, role, mode) \
	pg_database_aclcheck(oid, role, mode)
#endif

/*
 * Has a role what another has, by itself or by SET ROLE?  Since 16 there are
 * memberships that give it neither.
 */
#if PG_VERSION_NUM >= 160000
#define evsched_is_member(role, group) \
	(has_privs_of_role(role, group) || member_can_set_role(role, group))
#else
#define evsched_is_member(role, group)	is_member_of_role(role, group)
#endif

/*
 * The socket is the first member of Port in all versions.  Its header needs
 * Kerberos headers that the server's development package does not bring.
 */
#define EVSCHED_CLIENT_SOCKET	(*(pgsocket *) MyProcPort)

/* Nor is that part of it needed where messages to the client are taken in. */
#ifdef EVSCHED_NEEDS_PROTOCOL
#undef ENABLE_GSS
#include "libpq/libpq.h"
#endif

#if PG_VERSION_NUM >= 180000
#define evsched_portal_run(portal, dest, completion) \
	PortalRun(portal, FETCH_ALL, true, dest, dest, completion)
#else
#define evsched_portal_run(portal, dest, completion) \
	PortalRun(portal, FETCH_ALL, true, true, dest, dest, completion)
#endif

/* What a check hook leaves for the assign hook. */
#if PG_VERSION_NUM >= 160000
#define evsched_guc_alloc(size)		guc_malloc(LOG, size)
#define evsched_guc_release(p)		guc_free(p)
#else
#define evsched_guc_alloc(size)		malloc(size)
#define evsched_guc_release(p)		free(p)
#endif

#if PG_VERSION_NUM >= 170000
#define evsched_create_wait_set(n)	CreateWaitEventSet(NULL, n)
#else
#define evsched_create_wait_set(n)	CreateWaitEventSet(TopMemoryContext, n)
#endif

#if PG_VERSION_NUM >= 170000
#define evsched_interval_is_finite(i)	(!INTERVAL_NOT_FINITE(i))
#else
#define evsched_interval_is_finite(i)	true
#endif

#if PG_VERSION_NUM >= 180000
#define evsched_index_beginscan(table, index, snapshot, nkeys) \
	index_beginscan(table, index, snapshot, NULL, nkeys, 0)
#else
#define evsched_index_beginscan(table, index, snapshot, nkeys) \
	index_beginscan(table, index, snapshot, nkeys, 0)
#endif

#if PG_VERSION_NUM >= 160000
#define evsched_insert_index_tuples(rri, slot, estate, update, summarizing) \
	ExecInsertIndexTuples(rri, slot, estate, update, false, NULL, NIL, summarizing)
typedef TU_UpdateIndexes EvschedUpdateIndexes;
#define EVSCHED_UPDATE_NEEDS_INDEXES(u)	((u) != TU_None)
#define EVSCHED_UPDATE_SUMMARIZING(u)	((u) == TU_Summarizing)
#else
#define evsched_insert_index_tuples(rri, slot, estate, update, summarizing) \
	ExecInsertIndexTuples(rri, slot, estate, update, false, NULL, NIL)
typedef bool EvschedUpdateIndexes;
#define EVSCHED_UPDATE_NEEDS_INDEXES(u)	(u)
#define EVSCHED_UPDATE_SUMMARIZING(u)	false
#endif

#endif							/* EVSCHED_COMPAT_H */

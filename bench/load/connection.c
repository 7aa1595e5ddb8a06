/*
 * connection.c: a session of the server under load.
 *
 * Set up with blocking calls; from connection_start on it is non-blocking: the
 * command's loop polls the sockets. Whatever fails ends the program: a bench that
 * lost a statement has measured nothing.
 */
#include "connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "option.h"

static PGconn *open_session(const char *name, const char *value);
static void check(PGconn *conn, PGresult *result, const char *what);

/* A session of the role, or of PGUSER when role is NULL, in database PGDATABASE. */
PGconn *
connection_open(const char *role)
{
	return open_session("user", role);
}

/* A session of PGUSER in another database. */
PGconn *
connection_open_in(const char *database)
{
	return open_session("dbname", database);
}

void
connection_run(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);

	check(conn, result, sql);
	PQclear(result);
}

/* The first column of the first row, to be freed; NULL when there is none. */
char *
connection_value(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);
	char	   *value = NULL;

	check(conn, result, sql);
	if (PQntuples(result) > 0 && !PQgetisnull(result, 0, 0))
		value = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

void
connection_prepare(PGconn *conn, const char *name, const char *sql)
{
	PGresult   *result = PQprepare(conn, name, sql, 0, NULL);

	check(conn, result, sql);
	PQclear(result);
}

void
connection_start(PGconn *conn)
{
	if (PQsetnonblocking(conn, 1) != 0)
		die("%s", PQerrorMessage(conn));
}

/* The checked result of the statement under way, to be cleared; waits for it. */
PGresult *
connection_result(PGconn *conn)
{
	PGresult   *result = PQgetResult(conn);

	check(conn, result, "a prepared statement");
	PQclear(PQgetResult(conn));
	return result;
}

/* The same if it is here already, else NULL; reads what has come in. */
PGresult *
connection_next(PGconn *conn)
{
	if (!PQconsumeInput(conn))
		die("%s", PQerrorMessage(conn));
	return PQisBusy(conn) ? NULL : connection_result(conn);
}

/* To be called with what a PQsend… function returned. */
void
connection_sent(PGconn *conn, int ok)
{
	if (!ok || PQflush(conn) < 0)
		die("%s", PQerrorMessage(conn));
}

/* Fills in what to poll for: input, and room for output that is left. */
void
connection_expect(PGconn *conn, struct pollfd *entry)
{
	entry->fd = PQsocket(conn);
	entry->events = POLLIN;
	if (PQflush(conn) > 0)
		entry->events |= POLLOUT;
}

/* With one connection parameter beside libpq's environment; NULL: without. */
static PGconn *
open_session(const char *name, const char *value)
{
	const char *names[] = {"application_name", value ? name : NULL, NULL};
	const char *values[] = {"bench", value, NULL};
	PGconn	   *conn = PQconnectdbParams(names, values, 0);

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	return conn;
}

static void
check(PGconn *conn, PGresult *result, const char *what)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		die("%s: %s", what, PQerrorMessage(conn));
}

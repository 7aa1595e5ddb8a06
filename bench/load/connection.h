/*
 * connection.h: a session of the server under load.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <libpq-fe.h>
#include <poll.h>

extern PGconn *connection_open(const char *role);
extern PGconn *connection_open_in(const char *database);
extern void connection_run(PGconn *conn, const char *sql);
extern char *connection_value(PGconn *conn, const char *sql);
extern void connection_prepare(PGconn *conn, const char *name, const char *sql);
extern void connection_start(PGconn *conn);
extern PGresult *connection_result(PGconn *conn);
extern PGresult *connection_next(PGconn *conn);
extern void connection_sent(PGconn *conn, int ok);
extern void connection_expect(PGconn *conn, struct pollfd *entry);

#endif

/*
 * socket.h
 *		How much of what was sent to a client it has not read yet.
 */
#ifndef EVSCHED_SOCKET_H
#define EVSCHED_SOCKET_H

#include <netinet/in.h>

/* A connection, as the kernel can be asked about it by another process. */
typedef struct EvschedSocket
{
	int			family;			/* AF_UNIX, AF_INET, AF_INET6, or 0: unknown */
	uint64		inode;			/* AF_UNIX */
	uint16		local_port;		/* the others; in network byte order */
	uint16		remote_port;
	struct in6_addr local;		/* AF_INET: its first four bytes */
	struct in6_addr remote;
} EvschedSocket;

extern void evsched_socket_describe(EvschedSocket *s);
extern int64 evsched_socket_unread(const EvschedSocket *s);

#endif							/* EVSCHED_SOCKET_H */

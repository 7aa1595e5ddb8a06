/*
 * socket.c
 *		How much of what was sent to a client it has not read yet.
 *
 * A session describes its connection when it joins; the scheduler asks the
 * kernel about it (Linux: sock_diag).  Elsewhere the answer is that nobody
 * knows.  No locks, no transaction.
 */
#include "postgres.h"

#include "socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#endif

#include "miscadmin.h"

#include "compat.h"

static void describe_address(const struct sockaddr_storage *address,
							 struct in6_addr *ip, uint16 *port);

/* Describes the connection of this session's client. */
void
evsched_socket_describe(EvschedSocket *s)
{
	struct sockaddr_storage local = {0};
	struct sockaddr_storage remote = {0};
	socklen_t	local_len = sizeof(local);
	socklen_t	remote_len = sizeof(remote);
	struct stat st;

	memset(s, 0, sizeof(*s));
	if (MyProcPort == NULL || fstat(EVSCHED_CLIENT_SOCKET, &st) != 0 ||
		getsockname(EVSCHED_CLIENT_SOCKET, (struct sockaddr *) &local, &local_len) != 0 ||
		getpeername(EVSCHED_CLIENT_SOCKET, (struct sockaddr *) &remote, &remote_len) != 0)
		return;
	s->family = local.ss_family;
	s->inode = st.st_ino;
	describe_address(&local, &s->local, &s->local_port);
	describe_address(&remote, &s->remote, &s->remote_port);
}

static void
describe_address(const struct sockaddr_storage *address, struct in6_addr *ip, uint16 *port)
{
	if (address->ss_family == AF_INET)
	{
		const struct sockaddr_in *in = (const struct sockaddr_in *) address;

		memcpy(ip, &in->sin_addr, sizeof(in->sin_addr));
		*port = in->sin_port;
	}
	else if (address->ss_family == AF_INET6)
	{
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) address;

		*ip = in6->sin6_addr;
		*port = in6->sin6_port;
	}
}

#ifdef __linux__

typedef struct UnixRequest
{
	struct nlmsghdr header;
	struct unix_diag_req body;
} UnixRequest;

typedef struct InetRequest
{
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
} InetRequest;

static int64 ask(void *request, size_t length, int64 (*read_answer) (struct nlmsghdr *));
static int64 read_unix(struct nlmsghdr *answer);
static int64 read_inet(struct nlmsghdr *answer);

/* Bytes sent and not read (TCP: not acknowledged); -1 when that is unknown. */
int64
evsched_socket_unread(const EvschedSocket *s)
{
	if (s->family == AF_UNIX)
	{
		UnixRequest request = {
			.header = {.nlmsg_len = sizeof(request), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST},
			.body = {.sdiag_family = AF_UNIX, .udiag_states = -1, .udiag_ino = s->inode,
			.udiag_show = UDIAG_SHOW_RQLEN, .udiag_cookie = {-1, -1}}
		};

		return ask(&request, sizeof(request), read_unix);
	}
	if (s->family == AF_INET || s->family == AF_INET6)
	{
		InetRequest request = {
			.header = {.nlmsg_len = sizeof(request), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST},
			.body = {.sdiag_family = s->family, .sdiag_protocol = IPPROTO_TCP,
			.idiag_states = -1}
		};

		request.body.id.idiag_sport = s->local_port;
		request.body.id.idiag_dport = s->remote_port;
		memcpy(request.body.id.idiag_src, &s->local, sizeof(s->local));
		memcpy(request.body.id.idiag_dst, &s->remote, sizeof(s->remote));
		request.body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
		request.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
		return ask(&request, sizeof(request), read_inet);
	}
	return -1;
}

/* One question to the kernel, one answer. */
static int64
ask(void *request, size_t length, int64 (*read_answer) (struct nlmsghdr *))
{
	static int	diag = -1;
	char		buffer[4096];
	struct nlmsghdr *answer = (struct nlmsghdr *) buffer;
	ssize_t		received;

	if (diag < 0)
		diag = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (diag < 0 || send(diag, request, length, 0) < 0)
		return -1;
	received = recv(diag, buffer, sizeof(buffer), 0);
	if (received < 0 || !NLMSG_OK(answer, (size_t) received) ||
		answer->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return -1;
	return read_answer(answer);
}

static int64
read_unix(struct nlmsghdr *answer)
{
	struct unix_diag_msg *message = NLMSG_DATA(answer);
	int			length = answer->nlmsg_len - NLMSG_LENGTH(sizeof(*message));

	for (struct rtattr *a = (struct rtattr *) (message + 1); RTA_OK(a, length);
		 a = RTA_NEXT(a, length))
	{
		if (a->rta_type == UNIX_DIAG_RQLEN)
			return ((struct unix_diag_rqlen *) RTA_DATA(a))->udiag_wqueue;
	}
	return -1;
}

static int64
read_inet(struct nlmsghdr *answer)
{
	return ((struct inet_diag_msg *) NLMSG_DATA(answer))->idiag_wqueue;
}

#else

int64
evsched_socket_unread(const EvschedSocket *s)
{
	return -1;
}

#endif

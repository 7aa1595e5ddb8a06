/*
 * path.c
 *		A FIFO or a unix socket that the scheduler reads.
 *
 * Looked at by sessions, too; opened and read by the scheduler, outside a
 * transaction.  Nothing raises an error: what cannot be opened is tried again later
 * and later, and told once until it can.  Nothing waits for a writer; to look at a
 * path and to open it takes as long as its file system does, for ever where that is
 * a remote one that hangs.
 */
#include "postgres.h"

#include "path.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "storage/fd.h"

#define FIRST_PAUSE_MS	100
#define LONGEST_PAUSE_MS	60000

/* So many empty connections in a row are told. */
#define EMPTY_TOLD		3

#define NOT_ONE_HINT	"Make it again, or cancel the watch."

static int	open_fifo(const char *name);
static int	connect_to(const char *name);
static void see_end(EvschedPath *path, int64 clock);

/* What is there, behind symbolic links. */
EvschedPathKind
evsched_path_look(const char *name, struct stat *found)
{
	if (stat(name, found) != 0)
		return EVSCHED_PATH_GONE;
	if (S_ISFIFO(found->st_mode))
		return EVSCHED_PATH_FIFO;
	return S_ISSOCK(found->st_mode) ? EVSCHED_PATH_SOCKET : EVSCHED_PATH_OTHER;
}

/* Are they two names of one thing that is there? */
bool
evsched_path_is_same(const char *one, const char *other)
{
	struct stat a;
	struct stat b;

	return stat(one, &a) == 0 && stat(other, &b) == 0 &&
		a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Can a socket of that name be connected to? */
bool
evsched_path_fits_socket(const char *name)
{
	return strlen(name) < sizeof(((struct sockaddr_un *) NULL)->sun_path);
}

/* One that is to be opened; the name stays the caller's. */
void
evsched_path_init(EvschedPath *path, char *name, int64 clock)
{
	*path = (EvschedPath)
	{
		.name = name,.fd = -1,.pause_ms = FIRST_PAUSE_MS,.retry_at = clock
	};
}

/* Opens it; false: it is to be tried again at retry_at. */
bool
evsched_path_open(EvschedPath *path, int64 clock)
{
	struct stat found;
	EvschedPathKind kind = evsched_path_look(path->name, &found);

	if (kind == EVSCHED_PATH_GONE)
		evsched_path_fail(path, strerror(errno), NOT_ONE_HINT, clock);
	else if (kind == EVSCHED_PATH_OTHER)
		evsched_path_fail(path, "it is not a FIFO or a unix socket", NOT_ONE_HINT, clock);
	else if (!AcquireExternalFD())
		evsched_path_fail(path, strerror(errno), "Raise max_files_per_process.", clock);
	else
	{
		path->is_socket = kind == EVSCHED_PATH_SOCKET;
		path->fd = path->is_socket ? connect_to(path->name) : open_fifo(path->name);
		if (path->fd < 0)
		{
			int			save_errno = errno;

			ReleaseExternalFD();
			evsched_path_fail(path, strerror(save_errno),
							  path->is_socket ? "A program must listen on it." :
							  "The server's user must be able to read and write it.", clock);
		}
	}
	if (path->fd < 0)
		return false;
	path->device = found.st_dev;
	path->inode = found.st_ino;
	path->opened_at = clock;
	path->retry_at = PG_INT64_MAX;
	return true;
}

void
evsched_path_close(EvschedPath *path)
{
	if (path->fd < 0)
		return;
	close(path->fd);
	ReleaseExternalFD();
	path->fd = -1;
}

/* Is what is open what has the name now? */
bool
evsched_path_is_current(const EvschedPath *path)
{
	struct stat found;

	return stat(path->name, &found) == 0 &&
		found.st_dev == path->device && found.st_ino == path->inode;
}

/*
 * Reads what is there, at most that much; 0: nothing.  Where a socket's other end has
 * gone, it is closed and connected again later.
 */
int
evsched_path_read(EvschedPath *path, char *buffer, int size, int64 clock)
{
	ssize_t		got = read(path->fd, buffer, size);

	if (got > 0)
	{
		evsched_path_recover(path);
		return got;
	}
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return 0;
	if (got == 0)
		see_end(path, clock);
	else
		evsched_path_fail(path, strerror(errno), NOT_ONE_HINT, clock);
	return 0;
}

/* It is as it should be: the next failure is told, and soon followed by another attempt. */
void
evsched_path_recover(EvschedPath *path)
{
	path->failed = false;
	path->num_empty = 0;
	path->pause_ms = FIRST_PAUSE_MS;
}

/* Closes it, and has it tried again later. */
void
evsched_path_lose(EvschedPath *path, int64 clock)
{
	evsched_path_close(path);
	path->retry_at = clock + path->pause_ms * INT64CONST(1000);
	path->pause_ms = Min(path->pause_ms * 2, LONGEST_PAUSE_MS);
}

/* The same, and tells why, once. */
void
evsched_path_fail(EvschedPath *path, const char *message, const char *hint, int64 clock)
{
	evsched_path_lose(path, clock);
	if (path->failed)
		return;
	path->failed = true;
	ereport(LOG,
			(errmsg("evsched cannot watch \"%s\": %s", path->name, message),
			 errdetail("It is tried again, later and later."),
			 errhint("%s", hint)));
}

/* For writing, too: so it has no end when the last writer closes it. */
static int
open_fifo(const char *name)
{
	int			fd = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat found;

	/* It may be another thing by now. */
	if (fd >= 0 && (fstat(fd, &found) != 0 || !S_ISFIFO(found.st_mode)))
	{
		close(fd);
		errno = ENOENT;
		fd = -1;
	}
	return fd;
}

/* As a client; a queue of connections that is full is a failure like any other. */
static int
connect_to(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int			fd;
	int			save_errno;

	if (!evsched_path_fits_socket(name))
	{
		errno = ENAMETOOLONG;
		return -1;
	}
	strlcpy(address.sun_path, name, sizeof(address.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0)
		return -1;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
		connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0)
		return fd;
	save_errno = errno;
	close(fd);
	errno = save_errno;
	return -1;
}

/*
 * A socket's other end has gone.  Who has stayed a while was no failure, though he
 * said nothing; who accepts and closes at once is.
 */
static void
see_end(EvschedPath *path, int64 clock)
{
	if (clock - path->opened_at > path->pause_ms * INT64CONST(1000))
		evsched_path_recover(path);
	else
		path->num_empty++;
	if (path->num_empty >= EMPTY_TOLD)
		evsched_path_fail(path, "each connection is closed at once, without a byte",
						  "The program that listens on it must keep what it accepts.", clock);
	else
		evsched_path_lose(path, clock);
}

/*
 * path.h
 *		A FIFO or a unix socket that the scheduler reads.
 */
#ifndef EVSCHED_PATH_H
#define EVSCHED_PATH_H

#include <sys/stat.h>

/* What there is at a path. */
typedef enum EvschedPathKind
{
	EVSCHED_PATH_GONE,			/* or not to be seen: errno says why */
	EVSCHED_PATH_FIFO,
	EVSCHED_PATH_SOCKET,
	EVSCHED_PATH_OTHER
} EvschedPathKind;

typedef struct EvschedPath
{
	char	   *name;
	int			fd;				/* -1: not open */
	dev_t		device;			/* of what is open */
	ino_t		inode;
	bool		is_socket;
	bool		failed;			/* and that was told */
	int			num_empty;		/* connections in a row that ended soon, without a byte */
	int64		opened_at;		/* µs, monotonic */
	int			pause_ms;		/* before it is opened after the next failure */
	int64		retry_at;		/* µs, monotonic; when open PG_INT64_MAX */
} EvschedPath;

extern EvschedPathKind evsched_path_look(const char *name, struct stat *found);
extern bool evsched_path_is_same(const char *one, const char *other);
extern bool evsched_path_fits_socket(const char *name);

extern void evsched_path_init(EvschedPath *path, char *name, int64 clock);
extern bool evsched_path_open(EvschedPath *path, int64 clock);
extern void evsched_path_close(EvschedPath *path);
extern bool evsched_path_is_current(const EvschedPath *path);
extern int	evsched_path_read(EvschedPath *path, char *buffer, int size, int64 clock);
extern void evsched_path_recover(EvschedPath *path);
extern void evsched_path_lose(EvschedPath *path, int64 clock);
extern void evsched_path_fail(EvschedPath *path, const char *message, const char *hint,
							  int64 clock);

#endif							/* EVSCHED_PATH_H */

/*
 * stat_file.c
 *		The file that keeps the counters while the server is down.
 *
 * The postmaster calls it: it reads the file when it starts, removes it, and
 * writes it when it is stopped.  So what is found after a crash is never
 * older than it looks.  Nothing that is wrong with the file is an error.
 *
 * The file is a header, the records as they lie in memory, and a checksum of
 * both.
 */
#include "postgres.h"

#include "stat_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "pgstat.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"

#define FILE_NAME		PGSTAT_STAT_PERMANENT_DIRECTORY "/evsched.stat"
#define NEW_FILE_NAME	FILE_NAME ".tmp"

/* Says that the file is ours; to grow when the meaning of a record changes. */
#define FORMAT			UINT64CONST(0x6576736368656401)

typedef struct Header
{
	uint64		format;
	uint32		queue_size;		/* of a record, which tells most changes by itself */
	uint32		scheduler_size;
	uint32		num_queues;
	uint32		num_schedulers;
} Header;

static bool read_whole(FILE *in, EvschedStatFile *file);
static bool write_whole(FILE *out, const EvschedStatFile *file);
static bool fits(const Header *header, uint64 size);
static pg_crc32c checksum(const Header *header, const EvschedStatFile *file);

/* Reads the file and removes it; false where there is none that can be used. */
bool
evsched_stat_file_read(EvschedStatFile *file)
{
	FILE	   *in = AllocateFile(FILE_NAME, PG_BINARY_R);
	bool		usable;

	memset(file, 0, sizeof(*file));
	if (in == NULL && errno == ENOENT)
		return false;
	if (in == NULL)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", FILE_NAME)));
		return false;
	}
	usable = read_whole(in, file);
	if (!usable)
	{
		evsched_stat_file_free(file);
		ereport(LOG,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("ignoring file \"%s\", which is damaged or of another version",
						FILE_NAME),
				 errdetail("The counters of evsched start from zero.")));
	}
	FreeFile(in);
	if (unlink(FILE_NAME) < 0)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", FILE_NAME)));
	return usable;
}

/* Room for so many records; false when there is none, which is logged. */
bool
evsched_stat_file_allocate(EvschedStatFile *file, int max_queues, int max_schedulers)
{
	int			flags = MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM;

	memset(file, 0, sizeof(*file));
	file->queues = palloc_extended(sizeof(EvschedQueueStat) * Max(max_queues, 1), flags);
	file->schedulers = palloc_extended(sizeof(EvschedSchedulerStat) * Max(max_schedulers, 1),
									   flags);
	if (file->queues != NULL && file->schedulers != NULL)
		return true;
	ereport(LOG,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory for the counters of evsched")));
	evsched_stat_file_free(file);
	return false;
}

/* Writes the file, or logs why it cannot. */
void
evsched_stat_file_write(const EvschedStatFile *file)
{
	FILE	   *out = AllocateFile(NEW_FILE_NAME, PG_BINARY_W);
	bool		written = out != NULL && write_whole(out, file);

	/* What is still buffered may fail, too. */
	if (out != NULL && FreeFile(out) != 0)
		written = false;
	if (written)
	{
		(void) durable_rename(NEW_FILE_NAME, FILE_NAME, LOG);
		return;
	}
	ereport(LOG,
			(errcode_for_file_access(),
			 errmsg("could not write file \"%s\": %m", NEW_FILE_NAME)));
	(void) unlink(NEW_FILE_NAME);
}

void
evsched_stat_file_free(EvschedStatFile *file)
{
	if (file->queues != NULL)
		pfree(file->queues);
	if (file->schedulers != NULL)
		pfree(file->schedulers);
	memset(file, 0, sizeof(*file));
}

static bool
read_whole(FILE *in, EvschedStatFile *file)
{
	struct stat status;
	Header		header;
	pg_crc32c	crc;

	if (fstat(fileno(in), &status) < 0 ||
		fread(&header, sizeof(header), 1, in) != 1 ||
		!fits(&header, status.st_size) ||
		!evsched_stat_file_allocate(file, header.num_queues, header.num_schedulers))
		return false;
	file->num_queues = header.num_queues;
	file->num_schedulers = header.num_schedulers;
	return fread(file->queues, sizeof(EvschedQueueStat), file->num_queues,
				 in) == file->num_queues &&
		fread(file->schedulers, sizeof(EvschedSchedulerStat), file->num_schedulers,
			  in) == file->num_schedulers &&
		fread(&crc, sizeof(crc), 1, in) == 1 &&
		EQ_CRC32C(crc, checksum(&header, file));
}

static bool
write_whole(FILE *out, const EvschedStatFile *file)
{
	Header		header = {
		.format = FORMAT,
		.queue_size = sizeof(EvschedQueueStat),
		.scheduler_size = sizeof(EvschedSchedulerStat),
		.num_queues = file->num_queues,
		.num_schedulers = file->num_schedulers
	};
	pg_crc32c	crc = checksum(&header, file);

	return fwrite(&header, sizeof(header), 1, out) == 1 &&
		fwrite(file->queues, sizeof(EvschedQueueStat), file->num_queues,
			   out) == file->num_queues &&
		fwrite(file->schedulers, sizeof(EvschedSchedulerStat), file->num_schedulers,
			   out) == file->num_schedulers &&
		fwrite(&crc, sizeof(crc), 1, out) == 1;
}

/* Is it a header of ours, and of a file of this size? */
static bool
fits(const Header *header, uint64 size)
{
	return header->format == FORMAT &&
		header->queue_size == sizeof(EvschedQueueStat) &&
		header->scheduler_size == sizeof(EvschedSchedulerStat) &&
		size == sizeof(Header) + sizeof(pg_crc32c) +
		(uint64) header->num_queues * sizeof(EvschedQueueStat) +
		(uint64) header->num_schedulers * sizeof(EvschedSchedulerStat);
}

static pg_crc32c
checksum(const Header *header, const EvschedStatFile *file)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, header, sizeof(*header));
	COMP_CRC32C(crc, file->queues, sizeof(EvschedQueueStat) * file->num_queues);
	COMP_CRC32C(crc, file->schedulers, sizeof(EvschedSchedulerStat) * file->num_schedulers);
	FIN_CRC32C(crc);
	return crc;
}

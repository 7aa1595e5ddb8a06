/*
 * pool.c
 *		The worker pools: queues that are served by workers.
 *
 * Every process asks.  They stand in evsched.pools, 'name:size, ...': how many
 * jobs of each run at once in one database.  Pool active is always there, and runs
 * one at a time.
 */
#include "postgres.h"

#include "pool.h"

#include "utils/guc.h"

#include "arg.h"
#include "compat.h"
#include "evsched.h"

#define MAX_POOLS		64
#define MAX_SIZE		10000
#define DEFAULT_POOLS	"active:1, passive:10, work:3"

typedef struct Pool
{
	char		name[EVSCHED_QUEUE_BYTES + 1];
	int			size;
} Pool;

typedef struct Pools
{
	int			n;
	Pool		pool[MAX_POOLS];
} Pools;

static char *pools_text = DEFAULT_POOLS;
static const Pools *pools;
static uint32 changes;			/* how often they were set */

static bool check_pools(char **value, void **extra, GucSource source);
static void assign_pools(const char *value, void *extra);
static const char *parse_pools(const char *text, Pools *parsed);
static const char *parse_pool(const char **text, Pool *pool);
static const char *add_pool(Pools *parsed, const Pool *pool);
static const Pool *find_in(const Pools *in, const char *name);

void
evsched_pool_init(void)
{
	DefineCustomStringVariable("evsched.pools",
							   "Worker pools, and how many jobs of each run at once in a database.",
							   NULL, &pools_text, DEFAULT_POOLS,
							   PGC_SIGHUP, 0, check_pools, assign_pools, NULL);
}

/* Changes when they do. */
uint32
evsched_pool_changes(void)
{
	return changes;
}

int
evsched_pool_count(void)
{
	return pools == NULL ? 0 : pools->n;
}

/* The name of one of them, by number. */
const char *
evsched_pool_name(int pool)
{
	return pools->pool[pool].name;
}

/* How many of its jobs run at once in one database; 0: there is no such pool. */
int
evsched_pool_size(const char *name)
{
	const Pool *pool = pools == NULL ? NULL : find_in(pools, name);

	return pool == NULL ? 0 : pool->size;
}

bool
evsched_pool_exists(const char *name)
{
	return evsched_pool_size(name) > 0;
}

/* The name, of a pool; raises 22023 where there is none. */
const char *
evsched_pool_require(const char *name)
{
	if (!evsched_pool_exists(name))
		evsched_arg_refuse(psprintf("there is no pool \"%s\"", evsched_arg_clip(name)),
						   psprintf("The pools stand in evsched.pools: %s.",
									pools == NULL ? "evsched is not loaded at server start" : pools_text));
	return name;
}

/* Raises 22023 where the queue is a pool: it is for jobs only. */
void
evsched_pool_refuse(const char *queue)
{
	if (evsched_pool_exists(queue))
		evsched_arg_refuse(psprintf("queue \"%s\" is a pool of workers", queue),
						   "Use another queue; a pool is for jobs, such as those of evsched.enqueue.");
}

static bool
check_pools(char **value, void **extra, GucSource source)
{
	Pools	   *parsed = evsched_guc_alloc(sizeof(Pools));
	const char *complaint;

	if (parsed == NULL)
		return false;
	complaint = parse_pools(*value, parsed);
	if (complaint != NULL)
	{
		GUC_check_errdetail("%s", complaint);
		evsched_guc_release(parsed);
		return false;
	}
	*extra = parsed;
	return true;
}

static void
assign_pools(const char *value, void *extra)
{
	pools = extra;
	changes++;
}

/* NULL, or what is wrong with the text. */
static const char *
parse_pools(const char *text, Pools *parsed)
{
	Pool		pool = {EVSCHED_POOL_ACTIVE, 1};

	parsed->n = 0;
	text += strspn(text, " \t\n");
	while (*text != '\0')
	{
		const char *complaint = parse_pool(&text, &pool);

		if (complaint == NULL)
			complaint = add_pool(parsed, &pool);
		if (complaint != NULL)
			return complaint;
	}
	pool = (Pool) {EVSCHED_POOL_ACTIVE, 1};
	return find_in(parsed, EVSCHED_POOL_ACTIVE) ? NULL : add_pool(parsed, &pool);
}

/* Reads "name:size" and the comma behind it. */
static const char *
parse_pool(const char **text, Pool *pool)
{
	int			length = strcspn(*text, ":, \t\n");
	char	   *end;
	long		size;

	if (length == 0 || length > EVSCHED_QUEUE_BYTES || (*text)[length] != ':')
		return "A pool is given as name:size, with a name of 1 to 63 bytes.";
	strlcpy(pool->name, *text, length + 1);
	size = strtol(*text + length + 1, &end, 10);
	if (end == *text + length + 1 || size < 1 || size > MAX_SIZE)
		return "The size of a pool is 1 to 10000.";
	pool->size = size;
	end += strspn(end, " \t\n");
	if (*end != '\0' && *end != ',')
		return "Pools are separated by commas.";
	*text = end + (*end == ',');
	*text += strspn(*text, " \t\n");
	return NULL;
}

static const char *
add_pool(Pools *parsed, const Pool *pool)
{
	if (find_in(parsed, pool->name))
		return "A pool is named twice.";
	if (strcmp(pool->name, "default") == 0)
		return "Queue default cannot be a pool.";
	if (strcmp(pool->name, EVSCHED_POOL_ACTIVE) == 0 && pool->size != 1)
		return "Pool active runs one job at a time.";
	if (parsed->n == MAX_POOLS)
		return "There are no more than 64 pools.";
	parsed->pool[parsed->n++] = *pool;
	return NULL;
}

static const Pool *
find_in(const Pools *in, const char *name)
{
	for (int i = 0; i < in->n; i++)
	{
		if (strcmp(in->pool[i].name, name) == 0)
			return &in->pool[i];
	}
	return NULL;
}

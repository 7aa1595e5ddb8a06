/*
 * pool.h
 *		The worker pools: queues that are served by workers.
 */
#ifndef EVSCHED_POOL_H
#define EVSCHED_POOL_H

/* Its bodies never run two at a time. */
#define EVSCHED_POOL_ACTIVE		"active"
#define EVSCHED_POOL_PASSIVE	"passive"
#define EVSCHED_POOL_WORK		"work"

extern void evsched_pool_init(void);
extern uint32 evsched_pool_changes(void);
extern int	evsched_pool_count(void);
extern const char *evsched_pool_name(int pool);
extern int	evsched_pool_size(const char *name);
extern bool evsched_pool_exists(const char *name);
extern const char *evsched_pool_require(const char *name);
extern void evsched_pool_refuse(const char *queue);

#endif							/* EVSCHED_POOL_H */

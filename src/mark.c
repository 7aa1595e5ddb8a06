/*
 * mark.c
 *		Where the first event of a queue stands, and when the scheduler wants to
 *		be woken for it.
 *
 * Every process calls it.  Everything is guarded by the spinlock of the queue.
 * note and its like run in commit callbacks: no memory is allocated and nothing
 * is raised there.
 *
 * The mark `low` says that nothing available stands before it: rows there are
 * dead, delivered, or deleted by an open transaction of a process that lowers
 * the mark again should it abort.  Who makes a row available lowers it; a scan
 * may raise it, but not past what was noted since the scan began: what was
 * committed after its snapshot it cannot have seen.  For that, a scan opens an
 * epoch before it takes its snapshot, and each epoch remembers the first place
 * noted in it.
 */
#include "postgres.h"

#include "mark.h"

#include "queue.h"

static void note_first(int slot);
static void start(int slot);
static EvschedPlace noted_since(const EvschedQueue *queue, uint32 epoch);

/*
 * Something at this place is available from now on: lowers the mark, and wakes
 * the scheduler when that is before what it waits for.
 */
void
evsched_mark_note_slot(int slot, EvschedPlace place)
{
	EvschedQueue *queue = evsched_queue_get(slot);
	EvschedPlace *fresh;
	bool		wake;

	SpinLockAcquire(&queue->mutex);
	fresh = &queue->fresh[queue->epoch % EVSCHED_QUEUE_EPOCHS];
	*fresh = evsched_place_min(*fresh, place);
	queue->low = evsched_place_min(queue->low, place);
	wake = evsched_place_before(place, queue->wake);
	if (wake)
		queue->wake = EVSCHED_PLACE_FIRST;	/* the next one need not */
	SpinLockRelease(&queue->mutex);
	if (wake)
		evsched_queue_touch(slot);
}

/* Every queue of the store may have got anything, also those that wait for nothing. */
void
evsched_mark_note_all(EvschedStore store)
{
	evsched_queue_for_each(store, note_first);
}

/*
 * The scheduler of a store starts: no turn of its predecessor is under way, and
 * whatever that one was about to look at again is in no mark.
 */
void
evsched_mark_start_all(EvschedStore store)
{
	evsched_queue_for_each(store, start);
}

/* Opens a scan; to be called before the scan's snapshot is taken. */
void
evsched_mark_begin_scan(int slot, EvschedScanMark *mark)
{
	EvschedQueue *queue = evsched_queue_get(slot);
	EvschedPlace *fresh;

	SpinLockAcquire(&queue->mutex);
	fresh = &queue->fresh[queue->epoch % EVSCHED_QUEUE_EPOCHS];
	if (evsched_place_before(*fresh, EVSCHED_PLACE_LAST))
	{
		queue->epoch++;
		queue->fresh[queue->epoch % EVSCHED_QUEUE_EPOCHS] = EVSCHED_PLACE_LAST;
	}
	mark->generation = queue->generation;
	mark->epoch = queue->epoch;
	mark->low = queue->low;
	SpinLockRelease(&queue->mutex);

	/* Nobody knows the first place of all the queues that share a slot. */
	if (evsched_queue_is_shared(queue))
		mark->low = EVSCHED_PLACE_FIRST;
}

/*
 * A scan has seen that nothing available stands before this place: raises the
 * mark, but never past what was noted since the scan began.
 */
void
evsched_mark_raise(int slot, const EvschedScanMark *mark, EvschedPlace low)
{
	EvschedQueue *queue = evsched_queue_get(slot);

	SpinLockAcquire(&queue->mutex);
	low = evsched_place_min(low, noted_since(queue, mark->epoch));
	if (queue->generation == mark->generation && evsched_place_before(queue->low, low))
		queue->low = low;
	SpinLockRelease(&queue->mutex);
}

/*
 * Opens a scan of the scheduler, which need not be woken during its turn.
 * Serving, it will grant leases: false when it must first wait for calls of take
 * that do not look for them; the last of these will touch the queue.
 */
bool
evsched_mark_begin_turn(int slot, bool serving, EvschedScanMark *mark)
{
	EvschedQueue *queue = evsched_queue_get(slot);

	SpinLockAcquire(&queue->mutex);
	queue->wake = EVSCHED_PLACE_FIRST;
	if (serving && queue->deleters > 0)
		queue->awaited = true;
	else
		queue->in_turn = serving;
	serving = serving && !queue->in_turn;
	SpinLockRelease(&queue->mutex);
	evsched_mark_begin_scan(slot, mark);
	return !serving;
}

/*
 * Ends a scan of the scheduler, which will wait for what comes before `wake`.
 * False when such a thing has come already: then look again.
 */
bool
evsched_mark_end_turn(int slot, const EvschedScanMark *mark,
					   EvschedPlace low, EvschedPlace wake)
{
	EvschedQueue *queue = evsched_queue_get(slot);
	EvschedPlace noted;
	bool		rest;

	SpinLockAcquire(&queue->mutex);
	if (queue->generation != mark->generation)
	{
		/* A turn that does not serve keeps nobody from giving the slot away. */
		SpinLockRelease(&queue->mutex);
		return false;
	}
	queue->in_turn = false;
	noted = noted_since(queue, mark->epoch);
	low = evsched_place_min(low, noted);
	if (evsched_place_before(queue->low, low))
		queue->low = low;
	rest = !evsched_place_before(noted, wake);
	if (rest)
		queue->wake = wake;
	SpinLockRelease(&queue->mutex);
	return rest;
}

/*
 * May take() delete rows of this queue without locking them first?  Only while
 * nobody has or grants leases in it, for a lease may come between a look at
 * the leases and the deletion.  True: end_deleting must follow.  A slot that has
 * been given to another queue is left alone, here and in the three below.
 */
bool
evsched_mark_begin_deleting(EvschedQueueRef ref)
{
	EvschedQueue *queue = evsched_queue_get(ref.slot);
	bool		may;

	SpinLockAcquire(&queue->mutex);
	may = queue->generation == ref.generation &&
		!queue->in_turn && queue->receivers == 0 && !queue->awaited &&
		queue->num_leases == 0 && !evsched_queue_is_shared(queue);
	if (may)
		queue->deleters++;
	SpinLockRelease(&queue->mutex);
	return may;
}

void
evsched_mark_end_deleting(EvschedQueueRef ref)
{
	EvschedQueue *queue = evsched_queue_get(ref.slot);
	bool		awaited = false;

	SpinLockAcquire(&queue->mutex);
	if (queue->generation == ref.generation)
	{
		queue->deleters--;
		awaited = queue->deleters == 0 && queue->awaited;
		if (awaited)
			queue->awaited = false;
	}
	SpinLockRelease(&queue->mutex);
	if (awaited)
		evsched_queue_touch(ref.slot);
}

/*
 * receive() is about to grant leases in this queue.  False while calls of take
 * are under way that do not look for them: come back in a moment.
 */
bool
evsched_mark_begin_receiving(EvschedQueueRef ref)
{
	EvschedQueue *queue = evsched_queue_get(ref.slot);
	bool		may = true;

	SpinLockAcquire(&queue->mutex);
	if (queue->generation == ref.generation)
	{
		may = queue->deleters == 0;
		if (may)
			queue->receivers++;
		else
			queue->awaited = true;
	}
	SpinLockRelease(&queue->mutex);
	return may;
}

void
evsched_mark_end_receiving(EvschedQueueRef ref)
{
	EvschedQueue *queue = evsched_queue_get(ref.slot);

	SpinLockAcquire(&queue->mutex);
	if (queue->generation == ref.generation)
		queue->receivers--;
	SpinLockRelease(&queue->mutex);
}

static void
note_first(int slot)
{
	evsched_mark_note_slot(slot, EVSCHED_PLACE_FIRST);
	evsched_queue_touch(slot);
}

static void
start(int slot)
{
	EvschedQueue *queue = evsched_queue_get(slot);

	SpinLockAcquire(&queue->mutex);
	queue->in_turn = false;
	SpinLockRelease(&queue->mutex);
	note_first(slot);
}

/* Under the mutex: the first place noted since an epoch began. */
static EvschedPlace
noted_since(const EvschedQueue *queue, uint32 epoch)
{
	EvschedPlace first = EVSCHED_PLACE_LAST;

	if (queue->epoch - epoch >= EVSCHED_QUEUE_EPOCHS)
		return EVSCHED_PLACE_FIRST;
	for (uint32 e = epoch; e != queue->epoch + 1; e++)
		first = evsched_place_min(first, queue->fresh[e % EVSCHED_QUEUE_EPOCHS]);
	return first;
}

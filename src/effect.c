/*
 * effect.c
 *		What the transaction of this process will do to shared memory when
 *		it ends: marks to lower, leases to end or to give back, listeners that
 *		join or leave, what is counted.
 *
 * Every process that writes events calls it.  An effect belongs to the
 * subtransaction that asked for it and, when that rolls back, is undone with
 * it.  The callbacks are registered once, for the life of the process; they
 * allocate nothing and raise nothing.
 *
 * Order at a commit: leases end first, then marks are lowered, so that whoever
 * passed over an event because of its lease is told of it afterwards.  A
 * transaction counts when it commits or is prepared: who finishes a prepared one
 * does not know what was in it.
 */
#include "postgres.h"

#include "effect.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/memutils.h"

#include "crew.h"
#include "database.h"
#include "mark.h"
#include "shared.h"
#include "staff.h"
#include "stat.h"
#include "stop.h"

/* Notes are found again by a hash, the newest of each value first, up to so many. */
#define NUM_RECENT		1024
#define MAX_STEPS		16

/* What a subtransaction will do to a queue. */
typedef struct Note
{
	int			level;			/* nesting level of the subtransaction */
	int			older;			/* number of one of the same hash, less than its own; or -1 */
	EvschedStore store;
	EvschedQueueRef ref;
	char		queue[EVSCHED_QUEUE_BYTES + 1];
	EvschedPlace due;			/* available at commit; the last: nothing is */
	EvschedPlace back;			/* available again at abort */
	bool		for_all;		/* there may be events for all listeners */
	int64		counts[EVSCHED_NUM_COUNTS];
} Note;

typedef enum Outcome
{
	COMMITTED,
	PREPARED,
	ABORTED
} Outcome;

typedef enum DeedKind
{
	DEED_END_LEASE,				/* on commit */
	DEED_CONFIRM,				/* on commit: end the lease, credit the listener */
	DEED_GRANTED,				/* on abort: give back */
	DEED_TOLD,					/* on abort: tell again */
	DEED_SENT,					/* on abort: not sent */
	DEED_QUEUE,					/* on commit: a worker shall run it; on abort: give back */
	DEED_FINISH,				/* on commit: the run is over, and so is its lease */
	DEED_JOIN,
	DEED_LEAVE,
	DEED_LEAVE_AND_RELEASE,
	DEED_EXIT
} DeedKind;

typedef struct Deed
{
	int			level;
	DeedKind	kind;
	EvschedStore store;			/* of leases */
	int64		id;
	uint64		serial;
	EvschedListenerRef listener;	/* of the others */
	int64		bytes;			/* of sent */
} Deed;

/* Both arrays live in TopTransactionContext and are gone with it. */
static Note *notes;
static int	num_notes;
static int	max_notes;
static int	recent[NUM_RECENT];		/* numbers of notes; past the end: none */
static int	last_used;				/* the same of the one that was asked for last */
static Deed *deeds;
static int64 num_deeds;
static int64 max_deeds;
static EvschedStore anywhere;	/* database InvalidOid: nothing noted */
static bool recheck;
static TransactionId preparing;

static void end_transaction(XactEvent event, void *arg);
static void end_subtransaction(SubXactEvent event, SubTransactionId id,
							   SubTransactionId parent, void *arg);
static void forget_all(void);
static Note *note_of(EvschedStore store, const char *queue);
static int	find_note(int number, int level, EvschedStore store, const char *queue);
static bool is_note_of(int number, int level, EvschedStore store, const char *queue);
static int	add_note(int level, EvschedStore store, const char *queue);
static void add_deed(Deed deed);
static void commit_deed(const Deed *deed);
static void abort_deed(const Deed *deed);
static void refuse_to_prepare(void);
static void prepare_deed(const Deed *deed);
static void apply_notes(int first, Outcome outcome);
static void apply_deeds(int64 first, void (*apply) (const Deed *));
static EvschedLease *find_lease(const Deed *deed);

void
evsched_effect_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

void
evsched_effect_due(EvschedStore store, const char *queue, EvschedPlace place)
{
	Note	   *note = note_of(store, queue);

	if (note != NULL)
		note->due = evsched_place_min(note->due, place);
}

void
evsched_effect_back(EvschedStore store, const char *queue, EvschedPlace place)
{
	Note	   *note = note_of(store, queue);

	if (note != NULL)
		note->back = evsched_place_min(note->back, place);
}

void
evsched_effect_for_all(EvschedStore store, const char *queue)
{
	Note	   *note = note_of(store, queue);

	if (note != NULL)
		note->for_all = true;
}

void
evsched_effect_count(EvschedStore store, const char *queue, EvschedCount count, int64 n)
{
	Note	   *note = note_of(store, queue);

	if (note != NULL)
		note->counts[count] += n;
}

EvschedPlace
evsched_effect_first(EvschedStore store, const char *queue)
{
	EvschedPlace first = EVSCHED_PLACE_LAST;

	for (int i = 0; i < num_notes; i++)
	{
		if (evsched_store_equal(notes[i].store, store) && strcmp(notes[i].queue, queue) == 0)
			first = evsched_place_min(first, notes[i].due);
	}
	return first;
}

/* To be called while the event's row is locked: a later lease is another one. */
void
evsched_effect_end_lease(EvschedStore store, int64 id, bool confirmed)
{
	EvschedLease *lease;
	Deed		deed = {.kind = confirmed ? DEED_CONFIRM : DEED_END_LEASE, .store = store, .id = id};

	if (!evsched_shared_ready())
		return;
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	lease = evsched_lease_find(store, id);
	if (lease != NULL)
		deed.serial = lease->serial;
	LWLockRelease(evsched_lease_lock);
	if (deed.serial != 0)
		add_deed(deed);
}

void
evsched_effect_granted(const EvschedLease *lease)
{
	add_deed((Deed) {.kind = DEED_GRANTED, .store = lease->store, .id = lease->id,
			 .serial = lease->serial});
}

void
evsched_effect_queue(const EvschedLease *lease)
{
	add_deed((Deed) {.kind = DEED_QUEUE, .store = lease->store, .id = lease->id,
			 .serial = lease->serial});
}

void
evsched_effect_finish(EvschedStore store, int64 id, uint64 serial)
{
	add_deed((Deed) {.kind = DEED_FINISH, .store = store, .id = id, .serial = serial});
}

void
evsched_effect_told(EvschedListenerRef listener)
{
	add_deed((Deed) {.kind = DEED_TOLD, .listener = listener});
}

void
evsched_effect_sent(EvschedListenerRef listener, int64 bytes)
{
	add_deed((Deed) {.kind = DEED_SENT, .listener = listener, .bytes = bytes});
}

void
evsched_effect_join(EvschedListenerRef listener)
{
	add_deed((Deed) {.kind = DEED_JOIN, .listener = listener});
}

void
evsched_effect_leave(EvschedListenerRef listener, bool release)
{
	add_deed((Deed) {.kind = release ? DEED_LEAVE_AND_RELEASE : DEED_LEAVE, .listener = listener});
}

void
evsched_effect_exit(void)
{
	if (evsched_shared_ready())
		add_deed((Deed) {.kind = DEED_EXIT});
}

void
evsched_effect_reserve(void)
{
	int64		max = Max(max_deeds * 2, 32);

	if (num_deeds + 2 <= max_deeds)
		return;
	if (deeds == NULL)
		deeds = MemoryContextAlloc(TopTransactionContext, max * sizeof(Deed));
	else
		deeds = repalloc_huge(deeds, max * sizeof(Deed));
	max_deeds = max;
}

void
evsched_effect_due_anywhere(EvschedStore store)
{
	if (evsched_shared_ready())
		anywhere = store;
}

void
evsched_effect_recheck(EvschedStore store)
{
	evsched_effect_due_anywhere(store);
	recheck = evsched_shared_ready();
}

/*
 * A prepared transaction keeps its row locks but not its process.  What it is
 * going to do to leases is noted with them; whoever finishes it settles that and
 * has every queue looked at (hook.c).
 */
static void
end_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (num_deeds > 0 || num_notes > 0)
				EVSCHED_STOP("effects committed");
			apply_deeds(0, commit_deed);
			if (num_deeds > 0 || num_notes > 0)
				EVSCHED_STOP("leases ended");
			apply_notes(0, COMMITTED);
			if (anywhere.database != InvalidOid)
				evsched_mark_note_all(anywhere);
			if (recheck)
				evsched_database_recheck(anywhere.database);
			evsched_listener_mark_read();
			forget_all();
			break;

		case XACT_EVENT_ABORT:
			apply_deeds(0, abort_deed);
			apply_notes(0, ABORTED);
			/* ROLLBACK PREPARED that failed half way may have freed rows */
			if (anywhere.database != InvalidOid)
				evsched_mark_note_all(anywhere);
			forget_all();
			break;

		case XACT_EVENT_PRE_PREPARE:
			preparing = GetTopTransactionIdIfAny();
			refuse_to_prepare();
			break;

		case XACT_EVENT_PREPARE:
			apply_deeds(0, prepare_deed);
			apply_notes(0, PREPARED);
			forget_all();
			break;

		default:
			break;
	}
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId id,
				   SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = num_notes - 1; i >= 0 && notes[i].level >= level; i--)
			notes[i].level = level - 1;
		for (int64 i = num_deeds - 1; i >= 0 && deeds[i].level >= level; i--)
			deeds[i].level = level - 1;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		int64		first_deed = num_deeds;
		int			first_note = num_notes;

		while (first_deed > 0 && deeds[first_deed - 1].level >= level)
			first_deed--;
		while (first_note > 0 && notes[first_note - 1].level >= level)
			first_note--;
		apply_deeds(first_deed, abort_deed);
		apply_notes(first_note, ABORTED);
		num_deeds = first_deed;
		num_notes = first_note;
	}
}

static void
forget_all(void)
{
	notes = NULL;
	num_notes = max_notes = 0;
	deeds = NULL;
	num_deeds = max_deeds = 0;
	anywhere.database = InvalidOid;
	recheck = false;
}

/*
 * This subtransaction's note of a queue, made if none is at hand: then it may have
 * another, and both apply.  NULL without shared memory.
 */
static Note *
note_of(EvschedStore store, const char *queue)
{
	int			level = GetCurrentTransactionNestLevel();
	int		   *newest;
	int			number;

	if (!evsched_shared_ready())
		return NULL;
	if (is_note_of(last_used, level, store, queue))
		return &notes[last_used];
	newest = &recent[hash_bytes((const unsigned char *) queue, strlen(queue)) % NUM_RECENT];
	number = find_note(*newest, level, store, queue);
	if (number < 0)
	{
		number = add_note(level, store, queue);
		notes[number].older = *newest < number ? *newest : -1;
		*newest = number;
	}
	last_used = number;
	return &notes[last_used];
}

/*
 * The note among this one and the older ones of its hash; -1: none.  A number may have
 * been left by what is over and be another's now: then these are looked at in vain.
 */
static int
find_note(int number, int level, EvschedStore store, const char *queue)
{
	for (int i = 0; i < MAX_STEPS && number >= 0 && number < num_notes; i++)
	{
		if (is_note_of(number, level, store, queue))
			return number;
		number = notes[number].older;
	}
	return -1;
}

static bool
is_note_of(int number, int level, EvschedStore store, const char *queue)
{
	return number < num_notes && notes[number].level == level &&
		evsched_store_equal(notes[number].store, store) &&
		strcmp(notes[number].queue, queue) == 0;
}

/* The number of a new note. */
static int
add_note(int level, EvschedStore store, const char *queue)
{
	Note	   *note;

	if (num_notes == max_notes)
	{
		int			max = Max(max_notes * 2, 8);

		if (notes == NULL)
			notes = MemoryContextAlloc(TopTransactionContext, max * sizeof(Note));
		else
			notes = repalloc_huge(notes, max * sizeof(Note));
		max_notes = max;
	}
	note = &notes[num_notes];
	memset(note, 0, sizeof(*note));
	note->ref = evsched_queue_find(store, queue);
	note->level = level;
	note->store = store;
	strlcpy(note->queue, queue, sizeof(note->queue));
	note->due = EVSCHED_PLACE_LAST;
	note->back = EVSCHED_PLACE_LAST;
	return num_notes++;
}

static void
add_deed(Deed deed)
{
	evsched_effect_reserve();
	deed.level = GetCurrentTransactionNestLevel();
	deeds[num_deeds++] = deed;
}

static void
commit_deed(const Deed *deed)
{
	EvschedLease *lease;

	switch (deed->kind)
	{
		case DEED_CONFIRM:
			lease = find_lease(deed);
			if (lease != NULL && lease->listener != EVSCHED_NO_SLOT)
				evsched_listener_confirmed(lease->listener);
			if (lease != NULL)
				evsched_lease_end(lease);
			break;
		case DEED_END_LEASE:
			/* Who changes the event of his own run goes on with that. */
			lease = find_lease(deed);
			if (lease != NULL && !evsched_staff_is_mine(lease->worker))
				evsched_lease_dismiss(lease);
			break;
		case DEED_FINISH:
			lease = find_lease(deed);
			if (lease != NULL)
				evsched_lease_end(lease);
			break;
		case DEED_QUEUE:
			lease = find_lease(deed);
			if (lease != NULL)
				evsched_crew_enqueue(lease);
			break;
		case DEED_GRANTED:
		case DEED_TOLD:
		case DEED_SENT:
			break;
		case DEED_JOIN:
			evsched_listener_activate(deed->listener);
			break;
		case DEED_LEAVE:
			evsched_listener_leave(deed->listener, false);
			break;
		case DEED_LEAVE_AND_RELEASE:
			evsched_listener_leave(deed->listener, true);
			break;
		case DEED_EXIT:
			evsched_listener_exit();
			break;
	}
}

static void
abort_deed(const Deed *deed)
{
	EvschedLease *lease;

	switch (deed->kind)
	{
		case DEED_CONFIRM:
		case DEED_END_LEASE:
			/* The row was locked while its lease ran out: look again now. */
			lease = find_lease(deed);
			if (lease != NULL)
				evsched_lease_look_again(lease);
			break;
		case DEED_GRANTED:
		case DEED_QUEUE:
			lease = find_lease(deed);
			if (lease != NULL)
				evsched_lease_give_back(lease);
			break;
		case DEED_TOLD:
			evsched_listener_untell(deed->listener);
			break;
		case DEED_SENT:
			evsched_listener_unsend(deed->listener, deed->bytes);
			break;
		case DEED_JOIN:
			evsched_listener_give_up(deed->listener);
			break;
		case DEED_LEAVE:
		case DEED_LEAVE_AND_RELEASE:
		case DEED_EXIT:
		case DEED_FINISH:
			break;
	}
}

/* What concerns the session itself cannot wait for another one to finish it. */
static void
refuse_to_prepare(void)
{
	for (int64 i = 0; i < num_deeds; i++)
	{
		if (deeds[i].kind == DEED_JOIN || deeds[i].kind == DEED_LEAVE ||
			deeds[i].kind == DEED_LEAVE_AND_RELEASE || deeds[i].kind == DEED_EXIT)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that joins or leaves a queue")));
	}
}

/* Whoever finishes the transaction settles its leases. */
static void
prepare_deed(const Deed *deed)
{
	EvschedLease *lease = find_lease(deed);

	if (lease != NULL)
		evsched_lease_prepare(lease, preparing, deed->kind == DEED_GRANTED);
}

static void
apply_notes(int first, Outcome outcome)
{
	for (int i = first; i < num_notes; i++)
	{
		const Note *note = &notes[i];
		EvschedPlace place = outcome == COMMITTED ? note->due :
			outcome == ABORTED ? note->back : EVSCHED_PLACE_LAST;
		int			slot = evsched_queue_resolve(note->ref, note->store, note->queue);

		if (slot == EVSCHED_NO_SLOT)
			continue;
		if (outcome != ABORTED)
			evsched_stat_count(slot, note->counts);
		if (evsched_place_before(place, EVSCHED_PLACE_LAST))
			evsched_mark_note_slot(slot, place);
		if (note->for_all)
		{
			evsched_queue_set_for_all(slot);
			evsched_queue_touch(slot);
		}
	}
}

static void
apply_deeds(int64 first, void (*apply) (const Deed *))
{
	if (first == num_deeds)
		return;
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int64 i = first; i < num_deeds; i++)
		apply(&deeds[i]);
	LWLockRelease(evsched_lease_lock);
}

static EvschedLease *
find_lease(const Deed *deed)
{
	EvschedLease *lease = evsched_lease_find(deed->store, deed->id);

	return lease != NULL && lease->serial == deed->serial ? lease : NULL;
}

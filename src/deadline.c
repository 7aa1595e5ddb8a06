/*
 * deadline.c
 *		The leases of a database, first deadline first: a pairing heap whose links
 *		are numbers.
 *
 * Pure but for the links; the caller holds the lease lock exclusively and keeps the
 * root.  To insert in the order of deadlines, and to remove the first, is cheap.
 */
#include "postgres.h"

#include "deadline.h"

static int32 merge_heaps(EvschedLease *slots, int32 a, int32 b);
static int32 merge_siblings(EvschedLease *slots, int32 first);

/* Adds a lease; returns the new root. */
int32
evsched_deadline_insert(EvschedLease *slots, int32 root, int32 n)
{
	slots[n].heap_child = EVSCHED_NO_LEASE;
	slots[n].heap_next = EVSCHED_NO_LEASE;
	slots[n].heap_prev = EVSCHED_NO_LEASE;
	return merge_heaps(slots, root, n);
}

/* Takes one out; returns the new root. */
int32
evsched_deadline_remove(EvschedLease *slots, int32 root, int32 n)
{
	EvschedLease *lease = &slots[n];
	int32		children = merge_siblings(slots, lease->heap_child);

	if (root == n)
	{
		if (children != EVSCHED_NO_LEASE)
			slots[children].heap_prev = EVSCHED_NO_LEASE;
		return children;
	}
	if (slots[lease->heap_prev].heap_child == n)
		slots[lease->heap_prev].heap_child = lease->heap_next;
	else
		slots[lease->heap_prev].heap_next = lease->heap_next;
	if (lease->heap_next != EVSCHED_NO_LEASE)
		slots[lease->heap_next].heap_prev = lease->heap_prev;
	return merge_heaps(slots, root, children);
}

/* Joins two heaps; the later root becomes the first child of the other. */
static int32
merge_heaps(EvschedLease *slots, int32 a, int32 b)
{
	if (a == EVSCHED_NO_LEASE || b == EVSCHED_NO_LEASE)
		return a == EVSCHED_NO_LEASE ? b : a;
	if (slots[b].deadline < slots[a].deadline)
	{
		int32		swap = a;

		a = b;
		b = swap;
	}
	slots[b].heap_prev = a;
	slots[b].heap_next = slots[a].heap_child;
	if (slots[a].heap_child != EVSCHED_NO_LEASE)
		slots[slots[a].heap_child].heap_prev = b;
	slots[a].heap_child = b;
	return a;
}

/* Joins a list of siblings to one heap: in pairs first, then from the right. */
static int32
merge_siblings(EvschedLease *slots, int32 first)
{
	int32		pairs = EVSCHED_NO_LEASE;
	int32		root = EVSCHED_NO_LEASE;

	while (first != EVSCHED_NO_LEASE)
	{
		int32		a = first;
		int32		b = slots[a].heap_next;

		first = b == EVSCHED_NO_LEASE ? EVSCHED_NO_LEASE : slots[b].heap_next;
		slots[a].heap_next = EVSCHED_NO_LEASE;
		if (b != EVSCHED_NO_LEASE)
			slots[b].heap_next = EVSCHED_NO_LEASE;
		a = merge_heaps(slots, a, b);
		slots[a].heap_next = pairs;
		pairs = a;
	}
	while (pairs != EVSCHED_NO_LEASE)
	{
		int32		next = slots[pairs].heap_next;

		slots[pairs].heap_next = EVSCHED_NO_LEASE;
		root = merge_heaps(slots, root, pairs);
		pairs = next;
	}
	return root;
}

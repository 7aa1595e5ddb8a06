/*
 * staff_view.h
 *		The workers, as far as the caller may see them.
 */
#ifndef EVSCHED_STAFF_VIEW_H
#define EVSCHED_STAFF_VIEW_H

#include "staff.h"

#define EVSCHED_STAFF_STATES	(EVSCHED_STAFF_LEAVING + 1)

/* By EvschedStaffState; NULL: there is nobody in the slot. */
extern const char *const evsched_staff_view_states[EVSCHED_STAFF_STATES];

extern int	evsched_staff_view_list(EvschedStore store, EvschedStaff **list);

#endif							/* EVSCHED_STAFF_VIEW_H */

/*
 * expression.h
 *		SQL that users give as text, looked at before it is run.
 */
#ifndef EVSCHED_EXPRESSION_H
#define EVSCHED_EXPRESSION_H

#include "evsched.h"

extern char *evsched_expression_query(text *expression, const char *argument);
extern void evsched_expression_check_command(text *command);

#endif							/* EVSCHED_EXPRESSION_H */

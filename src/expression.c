/*
 * expression.c
 *		SQL that users give as text, looked at before it is run.
 *
 * Pure: only the grammar is asked.  What the names in it stand for is seen when it
 * is run, by whoever runs it.
 */
#include "postgres.h"

#include "expression.h"

#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/builtins.h"

#include "arg.h"

static List *parse(const char *sql);
static void tell_sql(void *sql);

/* The query of an expression's value.  Raises 42601 unless it is one expression. */
char *
evsched_expression_query(text *expression, const char *argument)
{
	/* What is behind a comment must not be in it. */
	char	   *query = psprintf("SELECT (%s\n)", text_to_cstring(expression));
	List	   *statements = parse(query);
	SelectStmt *select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;
	SelectStmt *bare = makeNode(SelectStmt);

	/* Nothing may stand beside it. */
	if (IsA(select, SelectStmt))
		bare->targetList = select->targetList;
	if (list_length(statements) != 1 || !equal(select, bare) ||
		list_length(bare->targetList) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("%s is not one expression", argument),
				 errhint("Put a query in parentheses.")));
	return query;
}

/* Raises 42601 for what is no SQL, 22023 where there is none. */
void
evsched_expression_check_command(text *command)
{
	if (parse(text_to_cstring(command)) == NIL)
		evsched_arg_refuse("command must not be empty", "Give an SQL command.");
}

static List *
parse(const char *sql)
{
	ErrorContextCallback told = {error_context_stack, tell_sql, (void *) sql};
	List	   *statements;

	error_context_stack = &told;
	statements = raw_parser(sql, RAW_PARSE_DEFAULT);
	error_context_stack = told.previous;
	return statements;
}

/* What is wrong is in that text, not in the caller's statement. */
static void
tell_sql(void *sql)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(sql);
	}
}

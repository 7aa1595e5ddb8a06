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

static bool is_one_value(Node *statement);
static List *parse(const char *sql);
static void tell_sql(void *sql);

/* The query of an expression's value.  Raises 42601 unless it is one expression. */
char *
evsched_expression_query(text *expression, const char *argument)
{
	char	   *query = psprintf("SELECT %s", text_to_cstring(expression));
	List	   *statements = parse(query);

	if (list_length(statements) != 1 ||
		!is_one_value(linitial_node(RawStmt, statements)->stmt))
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

/* SELECT and one expression, and nothing beside it. */
static bool
is_one_value(Node *statement)
{
	SelectStmt *select = (SelectStmt *) statement;
	SelectStmt *bare = makeNode(SelectStmt);
	ResTarget  *target;

	if (!IsA(statement, SelectStmt) || list_length(select->targetList) != 1)
		return false;
	bare->targetList = select->targetList;
	target = linitial_node(ResTarget, bare->targetList);
	return equal(select, bare) && target->name == NULL &&
		!(IsA(target->val, ColumnRef) && IsA(llast(((ColumnRef *) target->val)->fields), A_Star));
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

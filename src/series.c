#include "postgres.h"
#include "series.h"
#include "arg.h"
EvschedMissed
evsched_series_missed(text *word)
{
	static const char *const words[] = {"once", "skip", "all"};

	return evsched_arg_word(word, "missed", words, lengthof(words));
}
int64
evsched_series_post(EvschedEntry *entry, EvschedSeriesTerms *terms, const char *function)
{
	elog(ERROR, "in the making");
}

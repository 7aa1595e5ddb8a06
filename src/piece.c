/*
 * piece.c
 *		What has come in, as the payload of an event.
 *
 * Pure, but for memory.  Bytes that are text in the encoding of the database stay
 * so; others, and those with a zero byte, which jsonb cannot hold, become base64.
 */
#include "postgres.h"

#include "piece.h"

#include "common/base64.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

static char *encode(const char *bytes, int length, int *encoded);
static void begin(JsonbParseState **state, int64 watch);
static void add_text(JsonbParseState **state, const char *key, const char *text, int length);
static void add_number(JsonbParseState **state, const char *key, int64 number);
static void add_key(JsonbParseState **state, const char *key);

/*
 * How many bytes at the end begin a character and do not end it.  A zero byte must
 * follow them.
 */
int
evsched_piece_cut(const char *bytes, int length)
{
	int			encoding = GetDatabaseEncoding();
	int			whole = pg_encoding_verifymbstr(encoding, bytes, length);
	int			rest = length - whole;

	if (rest == 0 || rest >= pg_encoding_max_length(encoding) ||
		memchr(bytes + whole, '\0', rest) != NULL)
		return 0;
	return pg_encoding_mblen(encoding, bytes + whole) > rest ? rest : 0;
}

/* {"id", "bytes", "data"}; "encoding" where data is not what has come. */
Jsonb *
evsched_piece_of_bytes(int64 watch, const char *bytes, int length)
{
	JsonbParseState *state = NULL;
	int			valid = pg_encoding_verifymbstr(GetDatabaseEncoding(), bytes, length);
	bool		is_text = valid == length;
	int			data_length = length;
	const char *data = is_text ? bytes : encode(bytes, length, &data_length);

	begin(&state, watch);
	add_number(&state, "bytes", length);
	add_text(&state, "data", data, data_length);
	if (!is_text)
		add_text(&state, "encoding", "base64", strlen("base64"));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* {"id", "payload"} */
Jsonb *
evsched_piece_of_notification(int64 watch, const char *payload)
{
	JsonbParseState *state = NULL;

	begin(&state, watch);
	add_text(&state, "payload", payload, strlen(payload));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static char *
encode(const char *bytes, int length, int *encoded)
{
	int			size = pg_b64_enc_len(length);
	char	   *data = palloc(size);

	*encoded = pg_b64_encode((const void *) bytes, length, data, size);
	if (*encoded < 0)
		elog(ERROR, "cannot encode %d bytes", length);
	return data;
}

static void
begin(JsonbParseState **state, int64 watch)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	add_number(state, "id", watch);
}

static void
add_text(JsonbParseState **state, const char *key, const char *text, int length)
{
	JsonbValue	value = {.type = jbvString};

	add_key(state, key);
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = length;
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
add_number(JsonbParseState **state, const char *key, int64 number)
{
	JsonbValue	value = {.type = jbvNumeric};

	add_key(state, key);
	value.val.numeric = int64_to_numeric(number);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
add_key(JsonbParseState **state, const char *key)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

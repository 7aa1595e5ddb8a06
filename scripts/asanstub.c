/*
 * asanstub.c
 *		Preloaded beside libasan into a server that was built without it.
 *
 * A library of the server's calls bindtextdomain() before libasan has set itself up.
 * That set-up then looks for swift_demangle(), and dlsym() reports its absence through
 * gettext, inside the lock that bindtextdomain() holds: the process waits for ever.
 * A swift_demangle() that exists spares it the report.
 */
char *swift_demangle(const char *name, unsigned long length, char *out,
					 unsigned long *out_length, unsigned flags);

char *
swift_demangle(const char *name, unsigned long length, char *out,
			   unsigned long *out_length, unsigned flags)
{
	(void) name;
	(void) length;
	(void) out;
	(void) out_length;
	(void) flags;
	return 0;
}

# The install script is these pieces of sql/, in this order: state (tables, made
# once), then code (functions and views, made again at every upgrade). An upgrade script
# from a version has the changes of state since then, which stand in sql/upgrade, and the
# code. The install scripts of versions that were released stay as they were, in sql/old.
SQL_STATE = head role event dead queue recurrence run_record rule_set
SQL_CODE = post schedule forecast series job coroutine watch map confirm pull join redrive grant control view run rule import stat check public

# Goals that need no PostgreSQL headers: each is a script, which builds and tests in
# a scratch folder of its own. ONE=test/sql/post.sql picks one test of `check` or `accept`
# (which makes what a script prints its expected output); SERVERS='17 18' picks the server
# versions of `check-all`; `torture 5` takes 5 minutes, and so does `torture MINUTES=5`.
TASKS = setup check check-all accept demo server bench sanitize torture

PG_CONFIG ?= pg_config

# `make WERROR=` for a compiler whose new warnings are not ours to mend.
WERROR ?= -Werror

ifneq (,$(filter $(TASKS),$(MAKECMDGOALS)))

.PHONY: $(MAKECMDGOALS)
.NOTPARALLEL:

$(filter-out check-all torture,$(TASKS)):
	@scripts/$@ $(ONE)

check-all:
	@scripts/matrix $(SERVERS)

torture:
	@scripts/torture $(MINUTES)

ifneq (,$(filter torture,$(MAKECMDGOALS)))
MINUTES ?= $(filter-out torture,$(MAKECMDGOALS))
$(filter-out torture,$(MAKECMDGOALS)): torture
	@:
else
$(filter-out $(TASKS),$(MAKECMDGOALS)):
	@$(MAKE) --no-print-directory $@
endif

else

EXTENSION = evsched
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" evsched.control)
INSTALL_SQL = evsched--$(EXTVERSION).sql
STEPS = $(sort $(wildcard sql/upgrade/*.sql))
UPGRADE_SQL = $(patsubst sql/upgrade/%.sql,evsched--%--$(EXTVERSION).sql,$(STEPS))
DATA = $(wildcard sql/old/*.sql)
DATA_built = $(INSTALL_SQL) $(UPGRADE_SQL)

MODULE_big = evsched
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
SHLIB_EXPORTS = exports.txt

# -Wno-...: what the server's own headers and macros do.
PG_CFLAGS = -Wall -Wextra $(WERROR) -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-declaration-after-statement -MMD -MP \
	-DEVSCHED_VERSION='"$(EXTVERSION)"'

REGRESS := $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
ISOLATION := $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
PROVE_TESTS := $(sort $(wildcard test/t/*.pl))
TAP_TESTS := $(if $(PROVE_TESTS),1)
# Not in the top folder: there pg_regress would take sql/ for the scripts.
REGRESS_OPTS = --inputdir=test --outputdir=output_regress --load-extension=evsched
ISOLATION_OPTS = --inputdir=test --load-extension=evsched

EXTRA_CLEAN = src/*.d output_regress

# Both kinds share expected/.
ifneq (,$(filter $(REGRESS),$(ISOLATION)))
$(error test/sql and test/specs have a name in common: $(filter $(REGRESS),$(ISOLATION)))
endif

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq (,$(wildcard $(PGXS)))
$(error $(PG_CONFIG) finds no PostgreSQL to build for: run `make setup`, or give PG_CONFIG=...)
endif
include $(PGXS)

PG_PROVE_FLAGS += -I test/t

$(INSTALL_SQL): $(patsubst %,sql/%.sql,$(SQL_STATE) $(SQL_CODE)) Makefile evsched.control
	cat $(filter %.sql,$^) >$@.new
	mv $@.new $@

# From a version: its step and those of later versions.
$(UPGRADE_SQL): evsched--%--$(EXTVERSION).sql: $(STEPS) $(SQL_CODE:%=sql/%.sql) Makefile evsched.control
	{ cat $(STEPS) | sed -n '/^-- From $*$$/,$$p'; \
	  cat $(SQL_CODE:%=sql/%.sql) | \
	  sed -E 's/^CREATE (FUNCTION|VIEW)/CREATE OR REPLACE \1/'; } >$@.new
	mv $@.new $@

$(OBJS): Makefile evsched.control
$(OBJS:.o=.bc): $(wildcard src/*.h)
-include $(OBJS:.o=.d)

endif

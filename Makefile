# make help says what there is. Build products go to build/$(LUA).

LUA     := lua5.4
PREFIX  := /usr/local
KAFKA   := 3.9.1
SEEDS   := 2000
EVENTS  := 1e9
JOBS    := $(shell nproc)

VERSION := $(patsubst lua%,%,$(LUA:luajit2=lua5.1))
PC_LUA  := $(LUA:luajit2=luajit)
RUN     := $(LUA:luajit2=luajit)

PKG     := pkg-config
WARN    := -Wall -Wextra -Wshadow -Wundef -Wmissing-prototypes -Wformat=2 \
           -Werror=format-security
CFLAGS  := -O2 -g
HARDEN   = $(or $(SANFLAG),-fstack-protector-strong -D_FORTIFY_SOURCE=2)
BASE     = -std=gnu11 -D_DEFAULT_SOURCE -pthread -Isrc $(WARN) $(MUTANT:%=-DMUTANT_%) -MMD -MP
LIBS     = $(shell $(PKG) --libs rdkafka libzstd)

CORE    := $(wildcard src/core/*.c)
KAFKA_C := $(wildcard src/kafka/*.c)
LUA_C   := $(wildcard src/lua/*.c)

# MUTANT=name builds one of the deliberate bugs (core/mutant.h), apart.
BUILD   := build$(MUTANT:%=/mutants/%)

# DEBUG=1 keeps the asserts; the specs run on that one. So does SAN=address,undefined.
comma   := ,
SAN_DIR := $(if $(SAN),-$(subst $(comma),-,$(SAN)))
SANFLAG := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
B       := $(BUILD)/$(LUA)$(or $(SAN_DIR),$(if $(DEBUG),-debug))
OBJS    := $(patsubst src/%.c,$B/%.o,$(CORE) $(KAFKA_C) $(LUA_C))
MODULE  := $B/strand/core.so
NDEBUG   = $(if $(DEBUG)$(SAN),,-DNDEBUG)

# librdkafka is not built with the thread sanitizer, so what only it does is
# left out; and the sanitizer wants its old address space layout.
SAN_RUN := $(if $(findstring thread,$(SAN)),TSAN_OPTIONS=suppressions=spec/support/tsan.supp setarch -R)

T       := $(BUILD)/test$(SAN_DIR)
T_CORE  := $(patsubst src/%.c,$T/%.o,$(CORE))
T_KAFKA := $(patsubst src/%.c,$T/%.o,$(KAFKA_C))
TESTS   := $(patsubst spec/c/%.c,$T/%,$(wildcard spec/c/*_test.c))
SWEEPS  := $(patsubst spec/c/%.c,$T/%,$(wildcard spec/c/*_sweep.c))
SIM     := $(BUILD)/sim$(SAN_DIR)
SIM_O   := $(patsubst src/%.c,$(SIM)/%.o,$(CORE)) \
           $(patsubst spec/sim/%.c,$(SIM)/spec/%.o,$(wildcard spec/sim/*.c))

export LUA_PATH  := lua/?.lua;lua/?/init.lua;;
export LUA_CPATH := $B/?.so;;

.PHONY: all demo hello order-sync indexing test test-c sweep fuzz test-lua test-kafka test-trixie sim sim-long mutants torture lint bench bench-quick bench-soak bench-programs kafka \
        rockspec install uninstall clean distclean deps help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(MODULE)                 ## build the module for LUA
	@:

# ---- the module -------------------------------------------------------------

$B/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	@echo "  cc $@"
	@$(CC) $(BASE) $(CFLAGS) $(HARDEN) $(NDEBUG) -fPIC -fvisibility=hidden \
	  $(shell $(PKG) --cflags rdkafka libzstd $(PC_LUA)) -c -o $@ $<

# Lua's own symbols come from the program that loads us. The module stays
# mapped (nodelete): librdkafka's threads may outlive a lua_State.
$(MODULE): $(OBJS)
	@mkdir -p $(@D)
	@echo "  ld $@"
	@$(CC) -shared -pthread $(SANFLAG) -o $@ $(OBJS) -Wl,--as-needed \
	  -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodelete $(LDFLAGS) $(LIBS)

# ---- tests ------------------------------------------------------------------

# The engine is tested without Lua: a sanitizer then sees only our code.
$T/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	@$(CC) $(BASE) -O1 -g $(SANFLAG) -c -o $@ $<

# Archives, so that a test is linked with what it uses and nothing else.
$T/core.a: $(T_CORE)
$T/kafka.a: $(T_KAFKA)
$T/%.a:
	@rm -f $@
	@ar rcs $@ $^

$T/%: spec/c/%.c $T/core.a Makefile
	@echo "  cc $@"
	@$(CC) $(BASE) -O1 -g $(SANFLAG) $(LUA_FLAGS) -o $@ $< $(LUA_LIB) $(filter %kafka.a,$^) $T/core.a \
	  $(LDFLAGS) $(shell $(PKG) --libs cmocka) $(LIBS)

$(filter $T/kafka_% $T/lua_%,$(TESTS) $(SWEEPS)): $T/kafka.a

# The binding, linked into a program: there its allocations can be wrapped.
$T/lua/%.o: src/lua/%.c Makefile
	@mkdir -p $(@D)
	@$(CC) $(BASE) -O1 -g $(SANFLAG) $(shell $(PKG) --cflags lua5.4) -c -o $@ $<
$T/lua.a: $(patsubst src/%.c,$T/%.o,$(LUA_C))
T_LUA   := $(filter $T/lua_%,$(TESTS) $(SWEEPS))
$(T_LUA): $T/lua.a
$(T_LUA): LUA_LIB = $T/lua.a $(shell $(PKG) --libs lua5.4)
$(T_LUA): LUA_FLAGS = $(shell $(PKG) --cflags lua5.4)

# What allocates is wrapped in our objects, and so may fail.
WRAP    := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=strdup,--wrap=luaL_newstate \
           -Wl,--wrap=pthread_create,--wrap=eventfd,--wrap=timerfd_create,--wrap=epoll_create1
$(SWEEPS): LDFLAGS += $(WRAP)

test:                          ## everything: this is what CI runs
	@scripts/test

test-c: $(TESTS)               ## C tests; SAN=address,undefined or SAN=thread
	@status=0; for t in $^; do echo "$$t"; $(SAN_RUN) $$t || status=1; done; exit $$status

# At once: they wait more than they work.
sweep: $(SWEEPS)               ## each allocation fails in turn; SAN=address,undefined
	@for t in $^; do $$t & pids="$$pids $$!"; done; \
	status=0; for p in $$pids; do wait $$p || status=1; done; exit $$status

fuzz:                          ## what reads metadata, for SECONDS=60, by libFuzzer
	@scripts/fuzz $(or $(SECONDS),60)

test-lua:                      ## specs on the mock cluster, under LUA; SPECS=files
	@scripts/busted $(LUA) $(or $(SPECS),--no-recursive spec)

test-kafka:                    ## specs on a real broker (KAFKA=3.9.1), under LUA
	@scripts/kafka run $(KAFKA) -- scripts/busted $(LUA) $(or $(SPECS),spec/kafka)

test-trixie:                   ## C, sim and specs with librdkafka 2.8, in a chroot (root)
	@scripts/trixie $(SUITES)

$(SIM)/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	@$(CC) $(BASE) -O2 -g $(SANFLAG) -c -o $@ $<

$(SIM)/spec/%.o: spec/sim/%.c Makefile
	@mkdir -p $(@D)
	@$(CC) $(BASE) -O2 -g $(SANFLAG) -c -o $@ $<

$(SIM)/sim: $(SIM_O)
	@echo "  ld $@"
	@$(CC) -pthread $(SANFLAG) -o $@ $^ -lzstd -lm

sim: $(SIM)/sim                ## SEEDS=n schedules through the real engine
	@$(SIM)/sim --seeds $(SEEDS) --jobs $(JOBS)

sim-long: $(SIM)/sim           ## a thousand million events of it (EVENTS=n)
	@$(SIM)/sim --events $(EVENTS) --jobs $(JOBS)

mutants:                       ## deliberate bugs, one at a time: which test sees each
	@scripts/mutants

torture:                       ## crash test on real brokers, long; VARIANT=names, KILLS, SEED
	@scripts/deps test
	@scripts/torture $(VARIANT)

lint:                          ## luacheck, layers, header vocabulary, warnings
	@scripts/lint

bench-quick:                   ## strand beside a raw librdkafka loop, a minute
	@scripts/deps bench
	@bench/quick

bench:                         ## beside librdkafka and Java: forty minutes; CELLS, ROUNDS
	@scripts/deps bench
	@bench/run

bench-soak:                    ## MINUTES=10 of reading a topic again and again
	@scripts/deps bench
	@bench/soak

BENCH   := $(addprefix build/bench/,raw pace threads memory $(LUA)/probe.so)

bench-programs: all $(BENCH)

build/bench/%: bench/%.c Makefile
	@mkdir -p $(@D)
	@echo "  cc $@"
	@$(CC) $(BASE) $(CFLAGS) -o $@ $(filter-out Makefile,$^) $(LDFLAGS) $(LIBS)

build/bench/memory: $(patsubst src/%.c,$B/%.o,$(CORE))

build/bench/$(LUA)/%.so: bench/%.c Makefile
	@mkdir -p $(@D)
	@echo "  cc $@"
	@$(CC) $(BASE) $(CFLAGS) -fPIC -shared $(shell $(PKG) --cflags $(PC_LUA)) -o $@ $<

# With the settings that strand makes.
build/bench/raw: $B/kafka/conf.o $B/kafka/log.o

# The Java consumer to stand beside: spec/java/Peer.java says how it is called.
build/java/lib/complete: spec/java/pom.xml
	@rm -rf $(@D)
	@echo "  mvn $(@D)"
	@mvn --quiet --batch-mode --strict-checksums -f $< \
	  org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
	  -DoutputDirectory=$(CURDIR)/$(@D)
	@touch $@

build/java/complete: spec/java/Peer.java build/java/lib/complete
	@rm -rf $(@D)/classes
	@echo "  javac $(@D)/classes"
	@javac -Xlint:all,-processing -d $(@D)/classes -cp '$(@D)/lib/*' $<
	@touch $@

kafka:                         ## start a broker that stays (scripts/kafka stop)
	@scripts/kafka start $(KAFKA)

# ---- users ------------------------------------------------------------------

demo:                          ## BROKER=host:port, or the embedded cluster
	@scripts/deps demo
	@$(MAKE) --no-print-directory -j2 LUA=lua5.4 all
	@LUA_CPATH="build/lua5.4/?.so;;" lua5.4 examples/reconciliation/demo.lua $(BROKER)

hello:                         ## README's first program, under Lua 5.4
	@scripts/deps demo
	@$(MAKE) --no-print-directory -j2 LUA=lua5.4 all
	@cd examples/hello && LUA_PATH="$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;" \
	  LUA_CPATH="$(CURDIR)/build/lua5.4/?.so;;" lua5.4 hello.lua

order-sync:                    ## an ERP's orders into SQLite, or STRAND_BROKER, STRAND_DATABASE
	@scripts/deps story
	@$(MAKE) --no-print-directory -j2 LUA=lua5.4 all
	@LUA_CPATH="build/lua5.4/?.so;;" lua5.4 examples/order_sync/demo.lua

build/examples/plain: examples/product_indexing/plain.c Makefile
	@mkdir -p $(@D)
	@echo "  cc $@"
	@$(CC) $(BASE) $(CFLAGS) $(HARDEN) $(shell $(PKG) --cflags rdkafka) -o $@ $< $(LDFLAGS) \
	  $(shell $(PKG) --libs rdkafka)

indexing:                      ## five ways to index 80,000 events, 3 minutes; ARGS (compare.lua)
	@scripts/deps demo
	@$(MAKE) --no-print-directory -j2 LUA=lua5.4 all build/examples/plain
	@LUA_CPATH="build/lua5.4/?.so;;" lua5.4 examples/product_indexing/compare.lua $(ARGS)

deps:                          ## what make test needs, by apt-get
	@scripts/deps test

rockspec:                      ## write the rockspec's file lists anew
	@scripts/rockspec

# By the environment, so that a path may have any characters.
install uninstall: export PREFIX := $(PREFIX)
install uninstall: export DESTDIR := $(DESTDIR)

install: all                   ## PREFIX=/usr/local, for LUA
	@scripts/install add $(VERSION) $(MODULE)

uninstall:                     ## what install put there
	@scripts/install remove $(VERSION)

# Also what luarocks make leaves: ./?.so would find it for every Lua.
clean:                         ## build products, but not Kafka's jars and the chroot
	@rm -f strand/core.so src/*/*.o
	@[ ! -d strand ] || rmdir --ignore-fail-on-non-empty strand
	@for f in build/*; do case $$f in build/kafka | build/trixie) ;; *) rm -rf "$$f" ;; esac; done

distclean: clean               ## those too
	@rm -rf build

# What 'make help' shows first, and in which group the rest is; a target in none
# is shown last.
HELP_FIRST   := demo hello test
HELP_USE     := order-sync indexing all install uninstall kafka deps rockspec clean distclean
HELP_TEST    := test-c test-lua test-kafka sweep fuzz sim sim-long mutants torture test-trixie lint
HELP_MEASURE := bench-quick bench bench-soak

help:
	@echo 'make [TARGET] [LUA=lua5.4|lua5.3|lua5.2|lua5.1|luajit2] [DEBUG=1]'
	@awk -v groups='try first:$(HELP_FIRST);use:$(HELP_USE);test:$(HELP_TEST);measure:$(HELP_MEASURE)' ' \
	  match($$0, /^[a-z-]+:.*## /) { name = $$1; sub(":", "", name); sub(/.*## /, ""); text[name] = $$0 } \
	  function show(name) { if (name in text) printf "  %-12s %s\n", name, text[name]; delete text[name] } \
	  END { n = split(groups, group, ";"); \
	    for (i = 1; i <= n; i++) { split(group[i], part, ":"); print "\n" part[1]; \
	      m = split(part[2], names, " "); for (j = 1; j <= m; j++) show(names[j]) } \
	    for (name in text) if (!rest++) print "\nothers"; for (name in text) show(name) }' Makefile

-include $(shell find build \( -path build/kafka -o -path build/trixie \) -prune \
  -o -name '*.d' -print 2>/dev/null)

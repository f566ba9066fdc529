# Tests: C programs with cmocka, specs with busted, the simulator.

SEEDS   := 2000
EVENTS  := 1e9
EXACTLY := 1e8
JOBS    ?= $(shell nproc)

# librdkafka is not built with the thread sanitizer, so what only it does is
# left out; and the sanitizer wants its old address space layout.
SAN_RUN := $(if $(findstring thread,$(SAN)),env TSAN_OPTIONS=suppressions=spec/support/tsan.supp setarch -R)

# COVERAGE=1 counts lines, apart: scripts/coverage.
COVER   := $(if $(COVERAGE),-O0 --coverage -fprofile-update=atomic)
COV_DIR := $(if $(COVERAGE),-coverage)

T       := build/test$(SAN_DIR)$(COV_DIR)
T_CORE  := $(patsubst src/%.c,$T/%.o,$(CORE))
T_KAFKA := $(patsubst src/%.c,$T/%.o,$(KAFKA_C))
T_LUA_C := $(patsubst src/%.c,$T/%.o,$(LUA_C))
SPEC_C  := $(call found,spec/c/,%.c)
TESTS   := $(patsubst spec/c/%.c,$T/%,$(filter %_test.c,$(SPEC_C)))
SWEEPS  := $(patsubst spec/c/%.c,$T/%,$(filter %_sweep.c,$(SPEC_C)))
SIM     := build/sim$(SAN_DIR)$(COV_DIR)
SIM_O   := $(patsubst src/%.c,$(SIM)/%.o,$(CORE)) \
           $(patsubst spec/sim/%.c,$(SIM)/spec/%.o,$(call found,spec/sim/,%.c))
T_CC     = $(CC) $(BASE) -O1 -g $(SANFLAG) $(COVER)
SIM_CC   = $(CC) $(BASE) -O2 -g $(SANFLAG) $(COVER)

##@ test

# They wait more than they work.
test-c: $(TESTS)               ## C tests; SAN=address,undefined or SAN=thread
	@printf '%s\n' $^ | xargs -P $$(($(JOBS) * 2)) -I% scripts/whole % $(SAN_RUN) %

test-lua:                      ## specs on the mock cluster, under LUA; SPECS=files
	@scripts/busted $(LUA) $(or $(SPECS),--no-recursive spec)

# Specs of what holds however handlers run: in local mode in each loop.
test-ways:                     ## those in each event loop too, under LUA
	@STRAND_LONG=1 STRAND_WAYS='cqueues luv plain' scripts/specs $(LUA) \
	  $$(grep -l 'modes[.]each\|modes[.]chosen' spec/*_spec.lua)

test-kafka:                    ## specs on a real broker (KAFKA=3.9.1), under LUA
	@scripts/kafka run $(KAFKA) -- $(if $(SPECS),scripts/busted $(LUA) $(SPECS),\
	  scripts/specs $(LUA) spec/kafka/*_spec.lua)

tests: $(TESTS)

# At once: they wait more than they work.
sweep: $(SWEEPS)               ## each allocation fails in turn; SAN=address,undefined
	@for t in $^; do $$t & pids="$$pids $$!"; done; \
	status=0; for p in $$pids; do wait $$p || status=1; done; exit $$status

fuzz:                          ## what reads metadata, for SECONDS=60, by libFuzzer
	@scripts/fuzz $(or $(SECONDS),60)

sim: $(SIM)/sim                ## SEEDS=n schedules through the real engine
	@$(SIM)/sim --seeds $(SEEDS) --jobs $(JOBS)
	@$(SIM)/sim --once --seeds $(SEEDS) --jobs $(JOBS)
	@$(SIM)/sim --exactly --seeds $(SEEDS) --jobs $(JOBS)

sim-long: $(SIM)/sim           ## a thousand million events of it (EVENTS=n, EXACTLY=n)
	@$(SIM)/sim --events $(EVENTS) --jobs $(JOBS)
	@$(SIM)/sim --exactly --events $(EXACTLY) --jobs $(JOBS)

mutants:                       ## deliberate bugs, one at a time: which test sees each
	@scripts/mutants

torture:                       ## crash test on real brokers, long; VARIANT=names, KILLS, SEED
	@scripts/deps test
	@scripts/torture $(VARIANT)

test-long: sim-long            ## that, all of the crash test, test-ways under three Luas: hours
	@scripts/deps test
	@scripts/torture
	@STRAND_LONG=1 scripts/test nginx
	@for lua in lua5.4 luajit2 lua5.1; do $(MAKE) --no-print-directory LUA=$$lua test-ways || exit; done

test-trixie:                   ## C, sim and specs with librdkafka 2.8, in a chroot (root)
	@scripts/trixie $(SUITES)

.PHONY: test-c tests test-lua test-ways test-kafka sweep fuzz sim sim-long mutants torture test-long test-trixie

# ---- C tests ------------------------------------------------------------------

# The engine is tested without Lua: a sanitizer then sees only our code.
$T/%.o: src/%.c mk/module.mk mk/test.mk
	@mkdir -p $(@D)
	@$(T_CC) -c -o $@ $<

# The binding, linked into a program: there its allocations can be wrapped.
$T/lua/%.o: src/lua/%.c mk/module.mk mk/test.mk
	@mkdir -p $(@D)
	@$(T_CC) $(LUA54_CFLAGS) -c -o $@ $<

# Archives, so that a test is linked with what it uses and nothing else.
$T/core.a: $(T_CORE)
$T/kafka.a: $(T_KAFKA)
$T/lua.a: $(T_LUA_C)
$T/%.a:
	@rm -f $@
	@ar rcs $@ $^

$T/%: spec/c/%.c $T/core.a mk/module.mk mk/test.mk
	@mkdir -p $(@D)
	@echo "  cc $@"
	@$(T_CC) $(LUA_FLAGS) -o $@ $< $(LUA_LIB) $(filter %kafka.a,$^) $T/core.a \
	  $(LDFLAGS) $(CMOCKA_LIBS) $(LIBS)

$(filter $T/kafka_% $T/lua_%,$(TESTS) $(SWEEPS)): $T/kafka.a

T_LUA   := $(filter $T/lua_%,$(TESTS) $(SWEEPS))
$(T_LUA): $T/lua.a
$(T_LUA): LUA_LIB = $T/lua.a $(LUA54_LIBS)
$(T_LUA): LUA_FLAGS = $(LUA54_CFLAGS)

# What allocates is wrapped in our objects, and so may fail.
WRAP    := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=strdup,--wrap=luaL_newstate \
           -Wl,--wrap=pthread_create,--wrap=eventfd,--wrap=timerfd_create,--wrap=epoll_create1
$(SWEEPS): LDFLAGS += $(WRAP)

# ---- the simulator ------------------------------------------------------------

$(SIM)/%.o: src/%.c mk/module.mk mk/test.mk
	@mkdir -p $(@D)
	@$(SIM_CC) -c -o $@ $<

$(SIM)/spec/%.o: spec/sim/%.c mk/module.mk mk/test.mk
	@mkdir -p $(@D)
	@$(SIM_CC) -c -o $@ $<

$(SIM)/sim: $(SIM_O)
	@echo "  ld $@"
	@$(CC) -pthread $(SANFLAG) $(COVER) -o $@ $^ -lzstd -lm

# ---- the Java consumer to stand beside: spec/java/Peer.java says how ------------

build/java/lib/complete: spec/java/pom.xml
	@rm -rf $(@D)
	@echo "  mvn $(@D)"
	@mvn --quiet --batch-mode --strict-checksums -f $< \
	  org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
	  -DoutputDirectory=$(CURDIR)/$(@D)
	@touch $@

build/java/complete: spec/java/Peer.java spec/java/Producing.java spec/java/Sender.java build/java/lib/complete
	@rm -rf $(@D)/classes
	@echo "  javac $(@D)/classes"
	@javac -Xlint:all,-processing -d $(@D)/classes -cp '$(@D)/lib/*' $(filter %.java,$^)
	@touch $@

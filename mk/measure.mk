# Benchmarks, and the C programs they stand beside.

##@ measure

bench-quick:                   ## strand beside a raw librdkafka loop, a minute
	@scripts/deps bench
	@bench/quick

bench:                         ## beside librdkafka and Java: an hour; CELLS, ROUNDS
	@scripts/deps bench
	@bench/run

bench-soak:                    ## MINUTES=10 of reading a topic again and again
	@scripts/deps bench
	@bench/soak

BENCH   := $(addprefix build/bench/,raw raw_send pace threads memory $(LUA)/probe.so)

bench-programs: all $(BENCH)

.PHONY: bench-quick bench bench-soak bench-programs

build/bench/%: bench/%.c mk/module.mk mk/measure.mk
	@mkdir -p $(@D)
	@echo "  cc $@"
	@$(CC) $(BASE) $(CFLAGS) -o $@ $(filter %.c %.o,$^) $(LDFLAGS) $(LIBS)

build/bench/memory: $(patsubst src/%.c,$B/%.o,$(CORE))

build/bench/$(LUA)/%.so: bench/%.c mk/module.mk mk/measure.mk
	@mkdir -p $(@D)
	@echo "  cc $@"
	@$(CC) $(BASE) $(CFLAGS) -fPIC -shared $(LUA_CFLAGS) -o $@ $<

# With the settings that strand makes.
build/bench/raw build/bench/raw_send: $B/kafka/conf.o $B/kafka/conf_files.o $B/kafka/log.o $B/kafka/errors.o $(patsubst src/%.c,$B/%.o,$(filter src/base/%,$(SOURCES)))

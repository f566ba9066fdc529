# What changes the sources, or reads them.

##@ develop

lint:                          ## luacheck, layers, header vocabulary, warnings
	@scripts/lint

coverage:                      ## lines of src that the C tests run, by file (gcov)
	@scripts/coverage

compile_commands:              ## compile_commands.json, for an editor
	@scripts/compile_commands $(or $(COMMANDS),compile_commands.json)

release:                       ## VERSION=x: checks, versioned rockspec, commit and tag; DRY=1
	@scripts/release "$$VERSION"

.PHONY: lint coverage compile_commands release

# What lint has compilers say: a file is read anew when it or a header of its
# has changed. The binding is read with the headers of each Lua.
LINT      := build/lint
LINT_ALL  := $(SOURCES) $(foreach f,spec/c/ spec/sim/ bench/ examples/,$(call found,$f,%.c))
LINT_CC   := gcc $(if $(shell command -v clang),clang)
LINT_LUAS := lua5.3 lua5.2 lua5.1 luajit
lint_cc    = $1 -std=gnu11 -pthread -Isrc $(WARN) -Werror -MMD -MP -MF $(@:.ok=.d) -MT $@ \
             $(call ask,LINT_$2,--cflags $2 rdkafka libzstd cmocka) $<

.PHONY: lint-compilers
lint-compilers: $(foreach cc,$(LINT_CC),$(LINT_ALL:%.c=$(LINT)/$(cc)/%.ok)) \
                $(foreach lua,$(LINT_LUAS),$(LUA_C:%.c=$(LINT)/$(lua)/%.ok))

$(LINT)/gcc/%.ok: %.c $(MK)
	@mkdir -p $(@D)
	@$(call lint_cc,gcc -O2 -c -o /dev/null,lua5.4)
	@touch $@

$(LINT)/clang/%.ok: %.c $(MK)
	@mkdir -p $(@D)
	@$(call lint_cc,clang -fsyntax-only,lua5.4)
	@touch $@

define LINT_RULE
$(LINT)/$1/%.ok: %.c $(MK)
	@mkdir -p $$(@D)
	@$$(call lint_cc,gcc -fsyntax-only,$1)
	@touch $$@
endef
$(foreach lua,$(LINT_LUAS),$(eval $(call LINT_RULE,$(lua))))

ifneq ($(filter lint-compilers,$(MAKECMDGOALS)),)
-include $(call found,$(LINT)/,%.d)
endif

# The commands of the rules, with what the rules' targets have of their own.
compile_commands: export MODULE_CC = $(COMPILE)
compile_commands: export TEST_CC = $(T_CC)
compile_commands: export TEST_LUA_CC = $(T_CC) $(LUA54_CFLAGS)
compile_commands: export SIMULATOR_CC = $(SIM_CC)

# The rest of make knows no VERSION.
release: export VERSION := $(VERSION)
release: export DRY := $(DRY)

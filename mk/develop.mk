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

# The commands of the rules, with what the rules' targets have of their own.
compile_commands: export MODULE_CC = $(COMPILE)
compile_commands: export TEST_CC = $(T_CC)
compile_commands: export TEST_LUA_CC = $(T_CC) $(LUA54_CFLAGS)
compile_commands: export SIMULATOR_CC = $(SIM_CC)

# The rest of make knows no VERSION.
release: export VERSION := $(VERSION)
release: export DRY := $(DRY)

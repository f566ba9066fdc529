# What there is: make help. How it is built: mk/. Products go to build/$(LUA).

LUA     := lua5.4
PREFIX  := /usr/local
KAFKA   := 3.9.1

.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules

##@ try first

demo:                          ## thousands of orders; BROKER=host:port, or the embedded cluster
	@scripts/deps demo
	@$(MAKE) --no-print-directory -j2 LUA=lua5.4 all
	@LUA_CPATH="build/lua5.4/?.so;;" lua5.4 examples/reconciliation/demo.lua $(BROKER)

hello:                         ## README's first program, under Lua 5.4
	@scripts/deps demo
	@$(MAKE) --no-print-directory -j2 LUA=lua5.4 all
	@cd examples/hello && LUA_PATH="$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;" \
	  LUA_CPATH="$(CURDIR)/build/lua5.4/?.so;;" lua5.4 hello.lua

test:                          ## everything: this is what CI runs
	@scripts/test

check:                         ## what to run before a commit: two minutes; ONLY=spec files, lint, c
	@scripts/check $(ONLY)

##@ use

order-sync:                    ## an ERP's orders into SQLite, or STRAND_BROKER, STRAND_DATABASE
	@scripts/deps story
	@$(MAKE) --no-print-directory -j2 LUA=lua5.4 all
	@LUA_CPATH="build/lua5.4/?.so;;" lua5.4 examples/order_sync/demo.lua

payments:                      ## orders charged exactly once, over kills; BROKER=host:port, DELIVERY
	@scripts/deps payments
	@$(MAKE) --no-print-directory -j2 LUA=lua5.4 all
	@LUA_CPATH="build/lua5.4/?.so;;" $(if $(BROKER),,scripts/kafka run $(KAFKA) --) \
	  lua5.4 examples/payments/demo.lua $(BROKER)

openresty:                     ## orders by HTTP through Kafka into Redis, in one nginx; BROKER, ORDERS
	@scripts/deps openresty
	@$(MAKE) --no-print-directory -j2 LUA=luajit2 all
	@LUA_CPATH="build/luajit2/?.so;;" scripts/redis run -- \
	  $(if $(BROKER),env STRAND_BROKER=$(BROKER),scripts/kafka run $(KAFKA) --) \
	  luajit examples/openresty/demo.lua

in-flight:                     ## 50 in flight on 4 partitions, in place of 16; ARGS=4000
	@scripts/deps demo
	@$(MAKE) --no-print-directory -j2 LUA=lua5.4 all
	@LUA_CPATH="build/lua5.4/?.so;;" lua5.4 examples/in_flight/demo.lua $(ARGS)

indexing:                      ## six ways to index 80,000 events, 3 minutes; ARGS (compare.lua)
	@scripts/deps demo
	@$(MAKE) --no-print-directory -j2 LUA=lua5.4 all build/examples/plain
	@LUA_CPATH="build/lua5.4/?.so;;" lua5.4 examples/product_indexing/compare.lua $(ARGS)

all: module                    ## build the module for LUA
	@:

install: all                   ## PREFIX=/usr/local, for LUA; or LIBDIR and LUADIR
	@scripts/install add $(LUA_VERSION) $(MODULE)

uninstall:                     ## what install put there
	@scripts/install remove $(LUA_VERSION)

# By the environment, so that a path may have any characters.
install uninstall: export PREFIX := $(PREFIX)
install uninstall: export DESTDIR := $(DESTDIR)
install uninstall: export LIBDIR := $(LIBDIR)
install uninstall: export LUADIR := $(LUADIR)

kafka:                         ## start a broker that stays (scripts/kafka stop)
	@scripts/kafka start $(KAFKA)

deps:                          ## what make test needs, by apt-get
	@scripts/deps test

clean:                         ## build products, but not Kafka's jars and the chroot
	@rm -f compile_commands.json
	@for f in build/*; do case $$f in build/kafka | build/trixie) ;; *) rm -rf "$$f" ;; esac; done

distclean: clean               ## those too
	@rm -rf build

# Targets with '##', below the last '##@' before them, in the order of the files.
help:
	@echo 'make [TARGET] [LUA=lua5.4|lua5.3|lua5.2|lua5.1|luajit2] [DEBUG=1]'
	@awk '/^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  match($$0, /^[a-z_-]+:.*## /) { \
	    name = $$1; sub(":", "", name); sub(/.*## /, ""); \
	    printf "  %-16s %s\n", name, $$0 }' Makefile $(MK)

.PHONY: demo hello test check order-sync payments openresty in-flight indexing all install uninstall kafka deps clean distclean help
.DELETE_ON_ERROR:
.SECONDARY:

# What a file of mk/ makes is made anew when the file changes.
MK := mk/module.mk mk/test.mk mk/develop.mk mk/measure.mk
include $(MK)

# Of what this make may build, and no other Lua's: to read all costs a second.
-include $(shell find $B $T $(SIM) build/bench build/examples -name '*.d' 2>/dev/null)

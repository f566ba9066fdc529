# The module, and the flags of all that is compiled.

LUA_VERSION := $(patsubst lua%,%,$(LUA:luajit2=lua5.1))
PC_LUA  := $(LUA:luajit2=luajit)

WARN    := -Wall -Wextra -Wshadow -Wundef -Wmissing-prototypes -Wformat=2 \
           -Werror=format-security
CFLAGS  := -O2 -g
HARDEN   = $(or $(SANFLAG),-fstack-protector-strong -D_FORTIFY_SOURCE=2)
BASE     = -std=gnu11 -D_DEFAULT_SOURCE -pthread -Isrc $(WARN) -MMD -MP

# pkg-config is asked when a recipe first wants its answer, and once: a target
# that compiles nothing works without it. $(call ask,VARIABLE,ARGUMENTS) is the
# answer, and makes VARIABLE that.
PKG     := pkg-config
ask      = $(eval $1 := $(shell $(PKG) $2))$($1)
MODULE_CFLAGS = $(call ask,MODULE_CFLAGS,--cflags rdkafka libzstd $(PC_LUA))
LUA_CFLAGS    = $(call ask,LUA_CFLAGS,--cflags $(PC_LUA))
LUA54_CFLAGS  = $(call ask,LUA54_CFLAGS,--cflags lua5.4)
LUA54_LIBS    = $(call ask,LUA54_LIBS,--libs lua5.4)
CMOCKA_LIBS   = $(call ask,CMOCKA_LIBS,--libs cmocka)
KAFKA_CFLAGS  = $(call ask,KAFKA_CFLAGS,--cflags rdkafka)
KAFKA_LIBS    = $(call ask,KAFKA_LIBS,--libs rdkafka)
LIBS          = $(call ask,LIBS,--libs rdkafka libzstd)

# $(call found,FOLDER/,PATTERN): the files in FOLDER and below.
found    = $(sort $(foreach f,$(wildcard $1*),$(call found,$f/,$2) $(filter $2,$f)))
SOURCES := $(call found,src/,%.c)
CORE    := $(filter src/core/% src/codec/%,$(SOURCES))
LUA_C   := $(filter src/lua/%,$(SOURCES))
KAFKA_C := $(filter-out $(CORE) $(LUA_C),$(SOURCES))

# DEBUG=1 keeps the asserts; the specs run on that one. So does SAN=address,undefined.
comma   := ,
SAN_DIR := $(if $(SAN),-$(subst $(comma),-,$(SAN)))
SANFLAG := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
B       := build/$(LUA)$(or $(SAN_DIR),$(if $(DEBUG),-debug))
OBJS    := $(patsubst src/%.c,$B/%.o,$(CORE) $(KAFKA_C) $(LUA_C))
MODULE  := $B/strand/core.so
NDEBUG   = $(if $(DEBUG)$(SAN),,-DNDEBUG)

# What a Lua finds that a recipe starts.
export LUA_PATH  := lua/?.lua;lua/?/init.lua;;
export LUA_CPATH := $B/?.so;;

COMPILE  = $(CC) $(BASE) $(CFLAGS) $(HARDEN) $(NDEBUG) -fPIC -fvisibility=hidden $(MODULE_CFLAGS)

.PHONY: module
module: $(MODULE)

$B/%.o: src/%.c mk/module.mk
	@mkdir -p $(@D)
	@echo "  cc $@"
	@$(COMPILE) -c -o $@ $<

# Lua's own symbols come from the program that loads us. The module stays
# mapped (nodelete): librdkafka's threads may outlive a lua_State.
$(MODULE): $(OBJS)
	@mkdir -p $(@D)
	@echo "  ld $@"
	@$(CC) -shared -pthread $(SANFLAG) -o $@ $(OBJS) -Wl,--as-needed \
	  -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodelete $(LDFLAGS) $(LIBS)

# The indexing story's plain consumer.
build/examples/plain: examples/product_indexing/plain.c mk/module.mk
	@mkdir -p $(@D)
	@echo "  cc $@"
	@$(CC) $(BASE) $(CFLAGS) $(HARDEN) $(KAFKA_CFLAGS) -o $@ $< $(LDFLAGS) $(KAFKA_LIBS)

rockspec_format = "3.0"
package = "strand"
version = "dev-1"
source = {
  url = "git+file://.",
}
description = {
  summary = "A parallel, key-ordered Kafka consumer and a partitioned producer",
  detailed = "On librdkafka, for 64-bit machines.",
  license = "MIT",
}
dependencies = {
  "lua >= 5.1, < 5.5",
}
external_dependencies = {
  RDKAFKA = { header = "librdkafka/rdkafka.h", library = "rdkafka" },
  ZSTD = { header = "zstd.h", library = "zstd" },
}
-- By the Makefile, so that a rock is the same module: builtin knows neither
-- its flags nor a folder for what it makes, and would leave strand/core.so in
-- the checkout, where ./?.so finds it.
local variables = {
  B = "build/rock$(LUA_INCDIR)",
  CC = "$(CC)",
  MODULE_CFLAGS = "-I$(LUA_INCDIR) -I$(RDKAFKA_INCDIR) -I$(ZSTD_INCDIR)",
  LIBS = "-L$(RDKAFKA_LIBDIR) -L$(ZSTD_LIBDIR) -lrdkafka -lzstd",
  LUADIR = "$(LUADIR)",
  LIBDIR = "$(LIBDIR)",
}
build = {
  type = "make",
  build_target = "module",
  build_variables = variables,
  install_variables = variables,
}

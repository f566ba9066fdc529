-- Written by scripts/rockspec.
rockspec_format = "3.0"
package = "strand"
version = "dev-1"
source = {
  url = "git+file://.",
}
description = {
  summary = "A parallel, key-ordered Kafka consumer and a partitioned producer",
  license = "MIT",
}
dependencies = {
  "lua >= 5.1, < 5.5",
}
external_dependencies = {
  RDKAFKA = { header = "librdkafka/rdkafka.h", library = "rdkafka" },
  ZSTD = { header = "zstd.h", library = "zstd" },
}
build = {
  type = "builtin",
  modules = {
    ["strand.core"] = {
      sources = {
        "src/core/base64.c",
        "src/core/offsets.c",
        "src/core/retry.c",
        "src/core/zframe.c",
        "src/kafka/conf.c",
        "src/kafka/log.c",
      },
      defines = { "NDEBUG" },
      incdirs = { "src", "$(RDKAFKA_INCDIR)", "$(ZSTD_INCDIR)" },
      libdirs = { "$(RDKAFKA_LIBDIR)", "$(ZSTD_LIBDIR)" },
      libraries = { "rdkafka", "zstd", "pthread" },
    },
    ["strand.options"] = "lua/strand/options.lua",
    ["strand.properties"] = "lua/strand/properties.lua",
    ["strand.schema"] = "lua/strand/schema.lua",
    ["strand.topics"] = "lua/strand/topics.lua",
    ["strand.transfer"] = "lua/strand/transfer.lua",
    ["strand.version"] = "lua/strand/version.lua",
  },
}

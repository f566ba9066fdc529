/*
** symbols.c - see symbols.h
*/
#define _GNU_SOURCE /* dladdr, RTLD_DEFAULT */
#include "kafka/symbols.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

/* Without RTLD_GLOBAL a module's own libraries are not in every C library's
** default scope: then through the file that rd_kafka_version came from. */
static void *look_up (const char *name) {
  Dl_info info;
  void *library;
  void *symbol = dlsym(RTLD_DEFAULT, name);
  if (symbol != NULL) return symbol;
  if (dladdr((void *)(uintptr_t)&rd_kafka_version, &info) == 0) return NULL;
  library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  return library != NULL ? dlsym(library, name) : NULL;
}

bool strand_symbol (void *function, const char *name) {
  void *symbol = look_up(name);
  memcpy(function, &symbol, sizeof(symbol));
  return symbol != NULL;
}

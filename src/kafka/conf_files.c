/*
** conf_files.c - see conf_files.h
*/
#include "kafka/conf_files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kafka/log.h"

#define NAME_SHOWN_MAX 300 /* bytes */

/* Or a key itself, that was put where its file belongs? */
static bool is_file_name (const char *path) {
  return strchr(path, '\n') == NULL && strstr(path, "-----BEGIN") == NULL
         && strlen(path) <= NAME_SHOWN_MAX;
}

/* A file that cannot be read is a text of OpenSSL to librdkafka, without the
** file's name. */
static void fail_file (strand_failure *failure, const char *name,
                       const char *path, int error) {
  char shown[NAME_SHOWN_MAX + 1] = "(not shown: no name of a file)";
  char reason[128];
  if (strerror_r(error, reason, sizeof(reason)) != 0) reason[0] = '\0';
  if (is_file_name(path)) {
    strand_log_escape(shown, sizeof(shown), path, strlen(path));
  }
  strand_fail(failure, "OPTION", "option 'kafka': property '%s': '%s': %s",
              name, shown, reason);
}

bool strand_conf_has_files (const rd_kafka_conf_t *conf,
                            strand_failure *failure) {
  static const char *const names[] = { "ssl.ca.location",
                                       "ssl.certificate.location",
                                       "ssl.crl.location", "ssl.key.location",
                                       "ssl.keystore.location" };
  char path[PATH_MAX];
  size_t i;
  for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    size_t size = sizeof(path);
    if (rd_kafka_conf_get(conf, names[i], path, &size) != RD_KAFKA_CONF_OK
        || path[0] == '\0' || strcmp(path, "probe") == 0)
      continue;
    path[sizeof(path) - 1] = '\0';
    if (size <= sizeof(path) && access(path, R_OK) == 0) continue;
    fail_file(failure, names[i], path,
              size <= sizeof(path) ? errno : ENAMETOOLONG);
    return false;
  }
  return true;
}

/*
** conf_files.h - can the files be read that a client's properties name?
**
** Of one that cannot, librdkafka says what OpenSSL says, and not which it is.
** Here the error names the property and the file: a path is no secret. What
** looks like the key itself is not shown.
**
** Thread: any.
*/
#ifndef STRAND_CONF_FILES_H
#define STRAND_CONF_FILES_H

#include <stdbool.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"

bool strand_conf_has_files (const rd_kafka_conf_t *conf,
                            strand_failure *failure);

#endif

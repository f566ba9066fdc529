/*
** admin_configs.c - see admin_configs.h
*/
#include "kafka/admin_configs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "kafka/incremental.h"

#define SETTLE_S 5.0

typedef rd_kafka_ConfigResource_t resource;
typedef const rd_kafka_ConfigEntry_t entry;

static const char what_alter[] = "alter_config";

static resource *resource_of (strand_config_kind kind, const char *name) {
  return rd_kafka_ConfigResource_new(kind == STRAND_CONFIG_TOPIC
                                       ? RD_KAFKA_RESOURCE_TOPIC
                                       : RD_KAFKA_RESOURCE_BROKER,
                                     name);
}

/* What a resource was answered: its failure, or true. */
static bool succeeded (const resource *r, const char *name,
                       strand_failure *failure) {
  rd_kafka_resp_err_t err = rd_kafka_ConfigResource_error(r);
  const char *text = rd_kafka_ConfigResource_error_string(r);
  char code[sizeof(failure->code)];
  char reason[257];
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return true;
  if (text == NULL) text = rd_kafka_err2str(err);
  strand_log_escape(reason, sizeof(reason), text, strlen(text));
  strand_fail(failure, strand_code_of(err, code, sizeof(code)), "'%.200s': %s",
              name, reason);
  return false;
}

/*
** Read
*/

/* The event with the reply, the caller's; NULL and a failure. */
static rd_kafka_event_t *ask (strand_admin_client *c, resource **list,
                              size_t count, const char *what, double deadline,
                              strand_failure *failure) {
  rd_kafka_AdminOptions_t *options = strand_admin_client_request_until(
    c, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, deadline, failure);
  if (options == NULL) return NULL;
  rd_kafka_DescribeConfigs(c->client->handle, list, count, options,
                           c->answers);
  rd_kafka_AdminOptions_destroy(options);
  return strand_admin_client_wait_until(c, deadline, what, failure);
}

static void add_setting (strand_reply *a, entry *e) {
  bool secret = rd_kafka_ConfigEntry_is_sensitive(e) != 0;
  strand_reply_open(a, NULL);
  strand_reply_text(a, "name", rd_kafka_ConfigEntry_name(e));
  if (!secret) strand_reply_text(a, "value", rd_kafka_ConfigEntry_value(e));
  strand_reply_text(
    a, "source", rd_kafka_ConfigSource_name(rd_kafka_ConfigEntry_source(e)));
  strand_reply_flag(a, "default", rd_kafka_ConfigEntry_is_default(e));
  strand_reply_flag(a, "read_only", rd_kafka_ConfigEntry_is_read_only(e));
  strand_reply_flag(a, "sensitive", secret);
  strand_reply_close(a);
}

static void add_resource (strand_reply *a, const resource *r) {
  size_t count;
  entry **entries = rd_kafka_ConfigResource_configs(r, &count);
  strand_reply_open(a, NULL);
  strand_reply_text(a, "name", rd_kafka_ConfigResource_name(r));
  strand_reply_open(a, "settings");
  for (size_t i = 0; i < count; i++) add_setting(a, entries[i]);
  strand_reply_close(a);
  strand_reply_error(a, rd_kafka_ConfigResource_error(r),
                     rd_kafka_ConfigResource_error_string(r));
  strand_reply_close(a);
}

static const resource **resources_of (rd_kafka_event_t *event, size_t *count) {
  return rd_kafka_DescribeConfigs_result_resources(
    rd_kafka_event_DescribeConfigs_result(event), count);
}

static bool describe_some (strand_admin_client *c, strand_config_kind kind,
                           const char *const *names, size_t count,
                           double deadline, strand_reply *reply,
                           strand_failure *failure) {
  const resource **answered;
  rd_kafka_event_t *event;
  resource **list = calloc(count, sizeof(*list));
  if (list == NULL) return strand_admin_no_memory(failure);
  for (size_t i = 0; i < count; i++) list[i] = resource_of(kind, names[i]);
  event = ask(c, list, count, "describe", deadline, failure);
  rd_kafka_ConfigResource_destroy_array(list, count);
  free(list);
  if (event == NULL) return false;
  answered = resources_of(event, &count);
  for (size_t i = 0; i < count; i++) add_resource(reply, answered[i]);
  rd_kafka_event_destroy(event);
  return true;
}

/* A broker is asked for its own settings, and alone. */
bool strand_admin_configs_describe (strand_admin_client *c,
                                    strand_config_kind kind,
                                    const char *const *names, size_t count,
                                    double deadline, strand_reply *reply,
                                    strand_failure *failure) {
  size_t step = kind == STRAND_CONFIG_TOPIC ? count : 1;
  if (!strand_admin_client_is_real(c, deadline, "describe",
                                   "it has no settings", failure))
    return false;
  strand_reply_open(reply, NULL);
  for (size_t i = 0; i < count; i += step)
    if (!describe_some(c, kind, names + i, step, deadline, reply, failure))
      return false;
  strand_reply_close(reply);
  return strand_reply_complete(reply, failure);
}

/*
** Changed, by a librdkafka that writes all of them
*/

static bool is_changed (const strand_property *changes, size_t count,
                        const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(changes[i].name, name) == 0) return true;
  return false;
}

/* Somebody has set it, for this topic or broker. */
static bool is_own (entry *e) {
  rd_kafka_ConfigSource_t source = rd_kafka_ConfigEntry_source(e);
  return source == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG
         || source == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_BROKER_CONFIG;
}

/* What is there and not changed, into 'to'. */
static bool keep (resource *to, const resource *known,
                  const strand_property *changes, size_t count,
                  strand_failure *failure) {
  size_t entry_count;
  entry **entries = rd_kafka_ConfigResource_configs(known, &entry_count);
  for (size_t i = 0; i < entry_count; i++) {
    const char *name = rd_kafka_ConfigEntry_name(entries[i]);
    if (!is_own(entries[i]) || is_changed(changes, count, name)) continue;
    if (rd_kafka_ConfigEntry_is_sensitive(entries[i])) {
      strand_fail(failure, "UNSUPPORTED_FEATURE",
                  "%s: librdkafka %s writes all settings at once, and "
                  "'%.100s' cannot be read: it would be lost (2.2 and newer "
                  "can do it)",
                  what_alter, rd_kafka_version_str(), name);
      return false;
    }
    rd_kafka_ConfigResource_set_config(to, name,
                                       rd_kafka_ConfigEntry_value(entries[i]));
  }
  return true;
}

/* Reads what there is into 'to'. */
static bool keep_others (strand_admin_client *c, resource *to,
                         const strand_property *changes, size_t count,
                         double deadline, strand_failure *failure) {
  size_t answered;
  const resource **known;
  bool ok = false;
  rd_kafka_event_t *event = ask(c, &to, 1, what_alter, deadline, failure);
  if (event == NULL) return false;
  known = resources_of(event, &answered);
  if (answered != 1)
    strand_fail(failure, "BAD_MSG", "%s: no answer for it", what_alter);
  else
    ok = succeeded(known[0], rd_kafka_ConfigResource_name(to), failure)
         && keep(to, known[0], changes, count, failure);
  rd_kafka_event_destroy(event);
  return ok;
}

static bool write_all (strand_admin_client *c, resource *r, double deadline,
                       strand_failure *failure) {
  const resource **answered;
  rd_kafka_event_t *event;
  size_t count;
  bool ok;
  rd_kafka_AdminOptions_t *options = strand_admin_client_request_until(
    c, RD_KAFKA_ADMIN_OP_ALTERCONFIGS, deadline, failure);
  if (options == NULL) return false;
  rd_kafka_AlterConfigs(c->client->handle, &r, 1, options, c->answers);
  rd_kafka_AdminOptions_destroy(options);
  event = strand_admin_client_wait_until(c, deadline, what_alter, failure);
  if (event == NULL) return false;
  answered = rd_kafka_AlterConfigs_result_resources(
    rd_kafka_event_AlterConfigs_result(event), &count);
  ok = count == 1
       && succeeded(answered[0], rd_kafka_ConfigResource_name(r), failure);
  if (count != 1)
    strand_fail(failure, "BAD_MSG", "%s: no answer for it", what_alter);
  rd_kafka_event_destroy(event);
  return ok;
}

/* The entry of that name that somebody has set for it, or NULL. */
static entry *own_of (const resource *known, const char *name) {
  size_t count;
  entry **entries = rd_kafka_ConfigResource_configs(known, &count);
  for (size_t i = 0; i < count; i++)
    if (is_own(entries[i])
        && strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
      return entries[i];
  return NULL;
}

static bool shows (const resource *known, const strand_property *change) {
  entry *own = own_of(known, change->name);
  const char *value;
  if (own == NULL || change->value == NULL)
    return own == NULL && change->value == NULL;
  value = rd_kafka_ConfigEntry_value(own);
  return rd_kafka_ConfigEntry_is_sensitive(own)
         || (value != NULL && strcmp(value, change->value) == 0);
}

/* Whether a look shows all that was changed. */
static bool shows_all (strand_admin_client *c, resource *name,
                       const strand_property *changes, size_t count,
                       double deadline) {
  strand_failure ignored; /* it was changed all the same */
  const resource **known;
  size_t answered, seen = 0;
  rd_kafka_event_t *event = ask(c, &name, 1, what_alter, deadline, &ignored);
  if (event == NULL) return true;
  known = resources_of(event, &answered);
  while (answered == 1 && seen < count && shows(known[0], &changes[seen]))
    seen++;
  rd_kafka_event_destroy(event);
  return seen == count;
}

/* Brokers learn of it a little later than the controller that has answered.
** Until then a look shows what was before: the next change would write that.
** A value that brokers write in another way than it was given is never seen:
** so there is a bound. */
static void settle (strand_admin_client *c, strand_config_kind kind,
                    const char *name, const strand_property *changes,
                    size_t count, double deadline) {
  double most = strand_clock_now() + SETTLE_S;
  resource *r = resource_of(kind, name);
  if (most > deadline) most = deadline;
  while (!shows_all(c, r, changes, count, most)
         && strand_admin_client_pause(most))
    continue;
  rd_kafka_ConfigResource_destroy(r);
}

static bool alter_all (strand_admin_client *c, resource *r,
                       const strand_property *changes, size_t count,
                       double deadline, strand_failure *failure) {
  if (!keep_others(c, r, changes, count, deadline, failure)) return false;
  for (size_t i = 0; i < count; i++)
    if (changes[i].value != NULL)
      rd_kafka_ConfigResource_set_config(r, changes[i].name, changes[i].value);
  return write_all(c, r, deadline, failure);
}

/*
** Changed, one by one
*/

static bool alter_some (strand_admin_client *c, resource *r,
                        const strand_property *changes, size_t count,
                        double deadline, strand_failure *failure) {
  const resource **answered;
  rd_kafka_event_t *event;
  bool ok;
  for (size_t i = 0; i < count; i++)
    if (!strand_incremental_add(r, changes[i].name, changes[i].value, failure))
      return false;
  if (!strand_incremental_send(c, r, deadline, failure)) return false;
  event = strand_admin_client_wait_until(c, deadline, what_alter, failure);
  if (event == NULL) return false;
  answered = strand_incremental_resources(event, &count);
  ok = count == 1
       && succeeded(answered[0], rd_kafka_ConfigResource_name(r), failure);
  if (count != 1)
    strand_fail(failure, "BAD_MSG", "%s: no answer for it", what_alter);
  rd_kafka_event_destroy(event);
  return ok;
}

bool strand_admin_configs_alter (strand_admin_client *c,
                                 strand_config_kind kind, const char *name,
                                 const strand_property *changes, size_t count,
                                 double deadline, strand_failure *failure) {
  resource *r;
  bool ok;
  if (!strand_admin_client_is_real(c, deadline, what_alter,
                                   "it has no settings", failure))
    return false;
  r = resource_of(kind, name);
  ok = strand_incremental_is_there()
         ? alter_some(c, r, changes, count, deadline, failure)
         : alter_all(c, r, changes, count, deadline, failure);
  rd_kafka_ConfigResource_destroy(r);
  if (ok) settle(c, kind, name, changes, count, deadline);
  return ok;
}

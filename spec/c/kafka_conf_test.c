/*
** kafka_conf_test.c - properties are checked, and their values not shown
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/c11_threads.h"
#include "kafka/conf.h"
#include "kafka/errors.h"

static int accepted (rd_kafka_type_t kind, const char *name, const char *value,
                     strand_failure *failure) {
  strand_property property = { name, value };
  rd_kafka_conf_t *conf = strand_conf_new(kind, &property, 1, failure);
  if (conf == NULL) return 0;
  rd_kafka_conf_destroy(conf);
  return 1;
}

static void what_strand_owns_is_refused_by_name (void **state) {
  static const char *const names[] = { "enable.auto.commit",
                                       "enable.auto.offset.store",
                                       "enable.partition.eof",
                                       "rebalance_cb",
                                       "log_cb",
                                       "opaque",
                                       "consume.callback.max.messages",
                                       "plugin.library.paths" };
  strand_failure failure;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    assert_false(accepted(RD_KAFKA_CONSUMER, names[i], "true", &failure));
    assert_string_equal(failure.code, "OPTION");
    assert_non_null(strstr(failure.message, names[i]));
    assert_non_null(strstr(failure.message, "cannot be set: "));
  }
}

static void a_refused_value_is_never_shown (void **state) {
  static const char *const names[] = {
    "security.protocol",  "debug",
    "session.timeout.ms", "compression.codec",
    "auto.offset.reset",  "ssl.keystore.password.typo",
    "isolation.level",    "broker.address.family",
    "no.such.property"
  };
  strand_failure failure;
  char longer[4000];
  size_t i;
  (void)state;
  memset(longer, 'z', sizeof(longer));
  longer[sizeof(longer) - 1] = '\0';
  for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    assert_false(accepted(RD_KAFKA_CONSUMER, names[i], "hunter2", &failure));
    assert_null(strstr(failure.message, "hunter2"));
    assert_non_null(strstr(failure.message, names[i]));
    assert_false(accepted(RD_KAFKA_CONSUMER, names[i], longer, &failure));
    assert_null(strstr(failure.message, "zzz"));
  }
  assert_false(accepted(RD_KAFKA_CONSUMER, "debug", "cgrp,hunter2", &failure));
  assert_null(strstr(failure.message, "hunter2"));
}

static void a_number_with_something_behind_it_is_refused (void **state) {
  static const char *const cut[] = { "10s", "6000.5", "6000 ms", "6e3" };
  static const char *const whole[] = { "6000", "6000\n", "6000.0", "0x1770" };
  strand_failure failure;
  size_t i;
  (void)state;
  for (i = 0; i < 4; i++) {
    assert_false(
      accepted(RD_KAFKA_CONSUMER, "session.timeout.ms", cut[i], &failure));
    assert_non_null(strstr(failure.message, "'session.timeout.ms': a whole "
                                            "number without a unit"));
    assert_true(
      accepted(RD_KAFKA_CONSUMER, "session.timeout.ms", whole[i], &failure));
    assert_true(accepted(RD_KAFKA_CONSUMER, "client.id", cut[i], &failure));
  }
  assert_false(
    accepted(RD_KAFKA_PRODUCER, "message.timeout.ms", "30s", &failure));
  assert_true(accepted(RD_KAFKA_PRODUCER, "linger.ms", "0.5", &failure));
}

static void versions_that_do_harm_are_refused (void **state) {
  strand_failure failure;
  (void)state;
  assert_int_equal(accepted(RD_KAFKA_CONSUMER, "partition.assignment.strategy",
                            "range,cooperative-sticky", &failure),
                   strand_conf_version_at_least(2, 3, 0));
  assert_int_equal(
    accepted(RD_KAFKA_CONSUMER, "group.protocol", "consumer", &failure),
    strand_conf_version_at_least(2, 12, 0));
}

static const char *find (const strand_property *list, size_t count,
                         const char *name) {
  size_t i;
  for (i = 0; i < count; i++)
    if (strcmp(list[i].name, name) == 0) return list[i].value;
  return NULL;
}

static void the_users_setting_wins_and_is_not_dumped (void **state) {
  strand_property given[] = { { "auto.offset.reset", "error" },
                              { "sasl.password", "hunter2" },
                              { "queue.buffering.max.ms", "1" } };
  strand_property out[STRAND_CONF_DEFAULTS_MAX];
  size_t n = strand_conf_dump(RD_KAFKA_CONSUMER, given, 3, out);
  (void)state;
  assert_string_equal(find(out, n, "enable.auto.commit"), "false");
  assert_null(find(out, n, "auto.offset.reset"));
  assert_null(find(out, n, "sasl.password"));
  assert_non_null(find(out, n, "queued.max.messages.kbytes"));
  n = strand_conf_dump(RD_KAFKA_PRODUCER, given, 3, out);
  assert_string_equal(find(out, n, "enable.idempotence"), "true");
  assert_null(find(out, n, "linger.ms")); /* set under its other name */
}

/* librdkafka takes each of these for the other. */
static void a_property_may_have_another_name (void **state) {
  static const char *const names[][2] = {
    { "queue.buffering.max.ms", "linger.ms" },
    { "delivery.timeout.ms", "message.timeout.ms" }
  };
  (void)state;
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    strand_property given = { names[i][0], "4321" };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char value[32], error[200];
    size_t size = sizeof(value);
    assert_true(strand_conf_has(&given, 1, names[i][0]));
    assert_true(strand_conf_has(&given, 1, names[i][1]));
    assert_false(strand_conf_has(&given, 1, "retry.backoff.ms"));
    assert_int_equal(
      rd_kafka_conf_set(conf, given.name, given.value, error, sizeof(error)),
      RD_KAFKA_CONF_OK);
    assert_int_equal(rd_kafka_conf_get(conf, names[i][1], value, &size),
                     RD_KAFKA_CONF_OK);
    assert_string_equal(value, "4321");
    rd_kafka_conf_destroy(conf);
  }
}

/* What a log that writes to stderr has written there. */
static void read_back (char *text, size_t size, int level,
                       const char *facility, const char *message) {
  FILE *file = tmpfile();
  int saved = dup(STDERR_FILENO);
  strand_log *log = strand_log_new(1);
  assert_non_null(file);
  dup2(fileno(file), STDERR_FILENO);
  strand_log_push(log, level, facility, message);
  dup2(saved, STDERR_FILENO);
  close(saved);
  strand_log_release(log);
  rewind(file);
  text[fread(text, 1, size - 1, file)] = '\0';
  fclose(file);
}

static void a_line_has_the_time_and_says_strand_once (void **state) {
  char text[256];
  int year, month, day, hour, minute, second, ms, end = 0;
  (void)state;
  read_back(text, sizeof(text), STRAND_LOG_WARNING, "strand", "it rains");
  assert_int_equal(sscanf(text,
                          "%d-%d-%dT%d:%d:%d.%dZ strand warning: it "
                          "rains%n",
                          &year, &month, &day, &hour, &minute, &second, &ms,
                          &end),
                   7);
  assert_string_equal(text + end, "\n");
  assert_true(year > 2000);
  read_back(text, sizeof(text), 3, "FAIL", "no route");
  assert_non_null(strstr(text, "Z strand error: FAIL: no route\n"));
}

/* The first idempotent producer of a new cluster meets it. */
static void a_coordinator_that_loads_is_no_warning (void **state) {
  strand_opaque opaque = { .log = strand_log_new(0) };
  strand_log_line line;
  (void)state;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set_opaque(conf, &opaque);
  rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
  assert_non_null(client);
  strand_log_callback(
    client, STRAND_LOG_WARNING, "GETPID",
    "[thrd:main]: "
    "Failed to acquire idempotence PID from broker x: Broker: Coordinator "
    "load in progress: retrying");
  strand_log_callback(
    client, STRAND_LOG_WARNING, "GETPID",
    "[thrd:main]: "
    "Failed to acquire idempotence PID from broker x: Broker: Cluster "
    "authorization failed: retrying");
  assert_true(strand_log_pop(opaque.log, &line));
  assert_int_equal(line.level, STRAND_LOG_INFO);
  assert_true(strand_log_pop(opaque.log, &line));
  assert_int_equal(line.level, STRAND_LOG_WARNING);
  rd_kafka_destroy(client);
  strand_log_release(opaque.log);
}

static void a_full_log_drops_its_oldest_lines (void **state) {
  strand_log *log = strand_log_new(0);
  strand_log_line line;
  int i;
  (void)state;
  for (i = 0; i < STRAND_LOG_LINES_MAX + 6; i++)
    strand_log_printf(log, 4, "TEST", "line %d \x1b[1m\n", i);
  assert_int_equal(strand_log_dropped(log), 6);
  assert_true(strand_log_pop(log, &line));
  assert_string_equal(line.text, "line 6 \\x1b[1m");
  for (i = 1; strand_log_pop(log, &line);) i++;
  assert_int_equal(i, STRAND_LOG_LINES_MAX);
  strand_log_release(log);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_strand_owns_is_refused_by_name),
    cmocka_unit_test(a_refused_value_is_never_shown),
    cmocka_unit_test(a_number_with_something_behind_it_is_refused),
    cmocka_unit_test(versions_that_do_harm_are_refused),
    cmocka_unit_test(the_users_setting_wins_and_is_not_dumped),
    cmocka_unit_test(a_property_may_have_another_name),
    cmocka_unit_test(a_line_has_the_time_and_says_strand_once),
    cmocka_unit_test(a_coordinator_that_loads_is_no_warning),
    cmocka_unit_test(a_full_log_drops_its_oldest_lines)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

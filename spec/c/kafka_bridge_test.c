/*
** kafka_bridge_test.c - what is armed is told once, and nothing stays behind
*/
#define _GNU_SOURCE /* as bridge.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static bool deaf; /* listen fails */

static int listen_or_not (int fd, int backlog) {
  if (!deaf) return listen(fd, backlog);
  errno = EADDRINUSE;
  return -1;
}

#define listen(fd, backlog) listen_or_not(fd, backlog)

#include "base/bridge.c"

#define LONG_MS 20000
#define SHORT_MS 50 /* in which the thread would have told too much */

typedef struct stage {
  strand_bridge bridge;
  int peer;  /* the loop's end; -1: not connected */
  int event; /* what is armed */
} stage;

static int make (void **state) {
  static stage s;
  strand_failure failure;
  strand_bridge_init(&s.bridge);
  s.peer = -1;
  s.event = eventfd(0, EFD_NONBLOCK);
  *state = &s;
  return strand_bridge_open(&s.bridge, "/tmp", &failure) ? 0 : 1;
}

static int destroy (void **state) {
  stage *s = *state;
  strand_bridge_close(&s->bridge);
  strand_bridge_close(&s->bridge);
  if (s->peer >= 0) close(s->peer);
  close(s->event);
  return 0;
}

static void join (stage *s) {
  struct sockaddr_un address;
  strand_failure failure;
  memset(&address, 0, sizeof(address));
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, s->bridge.path, sizeof(address.sun_path));
  s->peer = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(
    0, connect(s->peer, (const struct sockaddr *)&address, sizeof(address)));
  assert_true(strand_bridge_accept(&s->bridge, &failure));
}

static bool hears (const stage *s, int ms) {
  struct pollfd fd = { s->peer, POLLIN, 0 };
  return poll(&fd, 1, ms) > 0;
}

static int32_t told (const stage *s) {
  int32_t number = -1;
  assert_true(hears(s, LONG_MS));
  assert_int_equal(sizeof(number), read(s->peer, &number, sizeof(number)));
  return number;
}

static void what_is_armed_is_told_once (void **state) {
  stage *s = *state;
  join(s);
  for (int i = 0; i < 3; i++) {
    eventfd_t value;
    assert_true(strand_bridge_arm(&s->bridge, s->event));
    assert_false(hears(s, SHORT_MS));
    eventfd_write(s->event, 1);
    assert_int_equal(s->event, told(s));
    assert_false(hears(s, SHORT_MS)); /* though it is readable */
    assert_true(strand_bridge_arm(&s->bridge, s->event));
    assert_int_equal(s->event, told(s)); /* it was */
    eventfd_read(s->event, &value);
    eventfd_write(s->event, 1);
    assert_false(hears(s, SHORT_MS)); /* it is armed no more */
    eventfd_read(s->event, &value);
  }
}

static void the_socket_is_in_no_folder_once_it_is_connected (void **state) {
  stage *s = *state;
  char folder[STRAND_BRIDGE_PATH];
  memcpy(folder, s->bridge.folder, sizeof(folder));
  assert_int_equal(0, access(folder, F_OK));
  join(s);
  assert_int_equal(-1, access(folder, F_OK));
}

static void a_bridge_that_nobody_has_used_leaves_no_folder (void **state) {
  stage *s = *state;
  char folder[STRAND_BRIDGE_PATH];
  memcpy(folder, s->bridge.folder, sizeof(folder));
  strand_bridge_close(&s->bridge);
  assert_int_equal(-1, access(folder, F_OK));
}

static void a_socket_that_cannot_listen_leaves_no_folder (void **state) {
  char folder[STRAND_BRIDGE_PATH];
  strand_bridge other;
  strand_failure failure;
  (void)state;
  strand_bridge_init(&other);
  deaf = true;
  assert_false(strand_bridge_open(&other, "/tmp", &failure));
  deaf = false;
  assert_string_equal("SOCKET", failure.code);
  assert_non_null(strstr(failure.message, strerror(EADDRINUSE)));
  memcpy(folder, other.folder, sizeof(folder));
  assert_int_equal(0, access(folder, F_OK));
  strand_bridge_close(&other);
  assert_int_equal(-1, access(folder, F_OK));
}

static void whoever_accepts_before_anybody_is_there_fails (void **state) {
  stage *s = *state;
  strand_failure failure;
  assert_false(strand_bridge_accept(&s->bridge, &failure));
  assert_string_equal("SOCKET", failure.code);
}

static void the_loop_reads_an_end_when_it_is_closed (void **state) {
  stage *s = *state;
  char byte;
  join(s);
  assert_true(strand_bridge_arm(&s->bridge, s->event));
  strand_bridge_close(&s->bridge);
  assert_int_equal(0, read(s->peer, &byte, 1));
}

static void a_folder_with_a_long_name_is_refused (void **state) {
  char parent[STRAND_BRIDGE_PATH + 1];
  strand_bridge other;
  strand_failure failure;
  (void)state;
  memset(parent, 'x', sizeof(parent) - 1);
  parent[0] = '/';
  parent[sizeof(parent) - 1] = '\0';
  strand_bridge_init(&other);
  assert_false(strand_bridge_open(&other, parent, &failure));
  assert_non_null(strstr(failure.message, "bytes, 91 at most"));
  strand_bridge_close(&other);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(what_is_armed_is_told_once, make, destroy),
    cmocka_unit_test_setup_teardown(
      the_socket_is_in_no_folder_once_it_is_connected, make, destroy),
    cmocka_unit_test_setup_teardown(
      a_bridge_that_nobody_has_used_leaves_no_folder, make, destroy),
    cmocka_unit_test_setup_teardown(
      whoever_accepts_before_anybody_is_there_fails, make, destroy),
    cmocka_unit_test_setup_teardown(the_loop_reads_an_end_when_it_is_closed,
                                    make, destroy),
    cmocka_unit_test(a_socket_that_cannot_listen_leaves_no_folder),
    cmocka_unit_test(a_folder_with_a_long_name_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** wire_test.c - "no headers" is never said of a record that has some, and
** nothing is read outside of the record
**
** Each record lies between two pages that may not be touched: once it begins
** right behind the first, once it ends right in front of the second.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kafka/wire.c"

#define ROOM ((size_t)3 << 20)
#define NONE SIZE_MAX

/* {=== helpers ============================================================ */

static unsigned char *room; /* ROOM bytes between the two pages */
static uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);

static uint64_t pick (uint64_t below) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (seed >> 11) % below;
}

static int make_room (void **state) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  unsigned char *whole = mmap(NULL, ROOM + 2 * page, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  (void)state;
  if (whole == MAP_FAILED) return -1;
  room = whole + page;
  return mprotect(whole, page, PROT_NONE)
         || mprotect(room + ROOM, page, PROT_NONE);
}

typedef struct writer {
  unsigned char bytes[ROOM];
  size_t length;
  size_t key; /* where they are */
  size_t value;
} writer;

static writer body, whole;

static void put (writer *w, const void *bytes, size_t length) {
  assert_true(w->length + length <= ROOM);
  memcpy(w->bytes + w->length, bytes, length);
  w->length += length;
}

static void put_byte (writer *w, unsigned char byte) {
  put(w, &byte, 1);
}

static void put_fill (writer *w, size_t length) {
  assert_true(w->length + length <= ROOM);
  memset(w->bytes + w->length, (int)pick(256), length);
  w->length += length;
}

static void put_varint (writer *w, int64_t n) {
  uint64_t raw = ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
  for (; raw > 0x7f; raw >>= 7) put_byte(w, (raw & 0x7f) | 0x80);
  put_byte(w, (unsigned char)raw);
}

/* Big-endian. */
static void put_int (writer *w, uint64_t n, int bytes) {
  while (bytes-- > 0) put_byte(w, (unsigned char)(n >> (8 * bytes)));
}

typedef struct shape {
  size_t key; /* lengths, or NONE */
  size_t value;
  int headers;
  size_t header_value;
  int64_t timestamp_delta;
  int64_t offset_delta;
} shape;

static void put_bytes (writer *w, size_t length, size_t *at) {
  put_varint(w, length == NONE ? -1 : (int64_t)length);
  *at = w->length;
  if (length != NONE) put_fill(w, length);
}

/* 'counted': HeaderCount is there, as it must be. */
static void write_record (shape s, bool counted) {
  size_t before;
  body.length = whole.length = 0;
  put_byte(&body, 0);
  put_varint(&body, s.timestamp_delta);
  put_varint(&body, s.offset_delta);
  put_bytes(&body, s.key, &body.key);
  put_bytes(&body, s.value, &body.value);
  if (counted) put_varint(&body, s.headers);
  for (int i = 0; i < s.headers; i++) {
    put_varint(&body, 1);
    put_byte(&body, 'h');
    put_varint(&body, (int64_t)s.header_value);
    put_fill(&body, s.header_value);
  }
  put_varint(&whole, (int64_t)body.length);
  before = whole.length;
  put(&whole, body.bytes, body.length);
  whole.key = before + body.key;
  whole.value = before + body.value;
}

static size_t length_of (size_t length) {
  return length == NONE ? 0 : length;
}

/* As librdkafka tells of it: what is empty lies elsewhere. */
static const void *pointer_of (size_t length, const unsigned char *at) {
  if (length == NONE) return NULL;
  return length == 0 ? (const void *)"" : at;
}

static bool ask_at (unsigned char *at, shape s) {
  memcpy(at, whole.bytes, whole.length);
  return strand_wire_no_headers(
    pointer_of(s.key, at + whole.key), length_of(s.key),
    pointer_of(s.value, at + whole.value), length_of(s.value));
}

static bool ask (shape s) {
  bool first = ask_at(room, s);
  assert_int_equal(ask_at(room + ROOM - whole.length, s), first);
  return first;
}

static bool says_none (shape s) {
  write_record(s, true);
  return ask(s);
}

/* ==================================================================== }=== */

static const size_t lengths[] = { 1,   2,    63,   64,    127,
                                  128, 8191, 8192, 70000, 1 << 20 };
#define LENGTHS (sizeof(lengths) / sizeof(lengths[0]))

static void a_record_without_headers_is_seen (void **state) {
  (void)state;
  for (size_t i = 0; i < LENGTHS; i++) {
    assert_true(says_none((shape){ .key = 5, .value = lengths[i] }));
    assert_true(says_none((shape){ .key = lengths[i], .value = 100 }));
    assert_true(says_none((shape){ .key = 0, .value = lengths[i] }));
    assert_true(says_none((shape){ .key = NONE,
                                   .value = lengths[i],
                                   .timestamp_delta = -(1 << 20),
                                   .offset_delta = 1 << 30 }));
  }
}

static void one_with_headers_too (void **state) {
  (void)state;
  for (size_t i = 0; i < LENGTHS; i++) {
    assert_false(says_none((shape){
      .key = 5, .value = 8, .headers = 1, .header_value = lengths[i] }));
    assert_false(
      says_none((shape){ .key = NONE, .value = lengths[i], .headers = 1 }));
  }
}

/* A Length may end in the byte of a shorter one. */
static void headers_of_any_length_are_seen (void **state) {
  (void)state;
  for (size_t length = 0; length < 20000; length++) {
    assert_false(says_none((shape){
      .key = 10, .value = 10, .headers = 1, .header_value = length }));
  }
}

static void without_a_value_librdkafka_is_asked (void **state) {
  (void)state;
  assert_false(says_none((shape){ .key = 5, .value = NONE }));
  assert_false(says_none((shape){ .key = 5, .value = 0 }));
  assert_false(says_none((shape){ .key = NONE, .value = NONE, .headers = 1 }));
  assert_false(says_none((shape){ .key = 0, .value = 0, .headers = 1 }));
}

/* What is behind it is not the record's any more. */
static void a_record_that_lies_is_not_read_beyond (void **state) {
  shape s = { .key = 5, .value = 20 };
  (void)state;
  write_record(s, false);
  assert_false(ask(s));
  s.key = NONE;
  write_record(s, false);
  assert_false(ask(s));
}

static void random_records_are_told_right (void **state) {
  (void)state;
  for (int i = 0; i < 200000; i++) {
    shape s = { pick(4) == 0 ? NONE : pick(200),
                pick(8) == 0 ? NONE : pick(300),
                (int)pick(3),
                pick(1 + pick(5000)),
                (int64_t)pick(1 + pick(1u << 31)) - (int64_t)pick(1000),
                (int64_t)pick(1 + pick(1u << 31)) };
    bool has_value = s.value != NONE && s.value > 0;
    assert_int_equal(says_none(s), has_value && s.headers == 0);
  }
}

/* None has any today: who knows what they will mean. */
static void with_attributes_librdkafka_is_asked (void **state) {
  shape s = { .key = 5, .value = 20 };
  (void)state;
  write_record(s, true);
  whole.bytes[1] = 1;
  assert_false(ask(s));
}

/* Before version 2: lengths of four bytes. Only those of the value are there
** to be read. */
static void older_formats_are_told_by_their_length (void **state) {
  (void)state;
  for (uint64_t length = 1; length < 1u << 31; length += 1 + length / 5000) {
    whole.length = 0;
    put_int(&whole, length, 4);
    memcpy(room, whole.bytes, 4);
    assert_false(strand_wire_no_headers(NULL, 0, room + 4, length));
    assert_false(strand_wire_no_headers("", 0, room + 4, length));
  }
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_record_without_headers_is_seen),
    cmocka_unit_test(one_with_headers_too),
    cmocka_unit_test(headers_of_any_length_are_seen),
    cmocka_unit_test(without_a_value_librdkafka_is_asked),
    cmocka_unit_test(a_record_that_lies_is_not_read_beyond),
    cmocka_unit_test(random_records_are_told_right),
    cmocka_unit_test(with_attributes_librdkafka_is_asked),
    cmocka_unit_test(older_formats_are_told_by_their_length),
  };
  return cmocka_run_group_tests(tests, make_room, NULL);
}

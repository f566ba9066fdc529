/*
** payload_test.c - the payload codec: the Java consumer's own payloads, round
** trips, the size bound, and input that wants to do harm
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <zstd.h>

#include "codec/base64.h"
#include "codec/payload.h"
#include "codec/zframe.h"

#define VECTORS "spec/support/payload-vectors.tsv"
#define VECTOR_COUNT 188
#define TEXT_MAX (1 << 20)
#define RUNS_MAX 8192

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* {=== helpers ============================================================ */

static uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);

static uint64_t pick (uint64_t below) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (seed >> 11) % below;
}

static char text[TEXT_MAX];

typedef struct vector {
  char name[32];
  char codec[32];
  int64_t base;
  int64_t highest;
  strand_run runs[RUNS_MAX];
  size_t run_count;
  char *metadata;
} vector;

static void parse_runs (vector *v, char *list) {
  char *item, *rest = NULL;
  v->run_count = 0;
  for (item = strtok_r(list, ",", &rest); item != NULL;
       item = strtok_r(NULL, ",", &rest)) {
    char *end;
    strand_run *run = &v->runs[v->run_count++];
    assert_true(v->run_count <= RUNS_MAX);
    run->first = run->last = strtoll(item, &end, 10);
    if (*end == '-') run->last = strtoll(end + 1, NULL, 10);
  }
}

static void parse_vector (vector *v, char *line) {
  char *columns[7];
  for (int i = 0; i < 7; i++) columns[i] = strsep(&line, "\t\n");
  assert_non_null(columns[6]);
  snprintf(v->name, sizeof(v->name), "%s", columns[0]);
  snprintf(v->codec, sizeof(v->codec), "%s", columns[1]);
  v->base = strtoll(columns[3], NULL, 10);
  v->highest = strtoll(columns[4], NULL, 10);
  parse_runs(v, columns[5]);
  v->metadata = columns[6];
}

/* Calls 'visit' for each vector; returns how many there were. */
static int each_vector (void (*visit)(const vector *v)) {
  static vector v;
  static char line[1 << 16];
  FILE *file = fopen(VECTORS, "r");
  int count = 0;
  assert_non_null(file);
  assert_non_null(fgets(line, sizeof(line), file)); /* names of columns */
  while (fgets(line, sizeof(line), file) != NULL) {
    parse_vector(&v, line);
    visit(&v);
    count++;
  }
  fclose(file);
  return count;
}

static void same_runs (const strand_payload *p, const strand_run *runs,
                       size_t count) {
  assert_int_equal(p->run_count, count);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(p->runs[i].first, runs[i].first);
    assert_int_equal(p->runs[i].last, runs[i].last);
  }
}

/* What decode promises whatever it was given. */
static void sane (const strand_payload *p, int64_t committed) {
  int64_t above = committed - 1; /* lets the first begin there */
  assert_true(p->highest >= committed - 1);
  assert_true(p->run_count <= STRAND_PAYLOAD_RUNS_MAX);
  for (size_t i = 0; i < p->run_count; i++) {
    assert_true(p->runs[i].first > above);
    assert_true(p->runs[i].last >= p->runs[i].first);
    assert_true(p->runs[i].last <= p->highest);
    above = p->runs[i].last + 1;
  }
}

static strand_err decode (int64_t committed, const char *from, size_t length,
                          strand_payload *p) {
  const char *problem = NULL;
  strand_err err = strand_payload_decode(committed, from, length, p, &problem);
  if (err == STRAND_OK) {
    sane(p, committed);
  }
  else {
    assert_null(p->runs);
    assert_non_null(problem);
  }
  return err;
}

/* Offsets in [committed, highest] change between open and done at random:
** runs of up to 'longest', the first of which begins at 'committed'. */
static size_t random_runs (strand_run *runs, size_t most, int64_t committed,
                           int64_t *highest, uint64_t open_longest,
                           uint64_t done_longest) {
  size_t count = 1 + pick(most);
  int64_t at = committed;
  for (size_t i = 0; i < count; i++) {
    runs[i].first = at;
    runs[i].last = at + (int64_t)pick(open_longest);
    at = runs[i].last + 2 + (int64_t)pick(done_longest);
  }
  *highest = pick(4) == 0 ? runs[count - 1].last : at - 2;
  if (*highest < runs[count - 1].last) *highest = runs[count - 1].last;
  return count;
}

static uint64_t longest (void) {
  static const uint64_t scale[] = { 1, 2, 8, 60, 80, 200, 1000, 100000 };
  return scale[pick(sizeof(scale) / sizeof(scale[0]))];
}

/* The boundaries of runs: as offsets.c counts them. */
static uint64_t cost_of (const int64_t *at, size_t count) {
  uint64_t cost = 0;
  for (size_t i = 1; i < count; i++) {
    int64_t distance = at[i] - at[i - 1];
    cost += distance < STRAND_PAYLOAD_BREAK_BITS ? (uint64_t)distance
                                                 : STRAND_PAYLOAD_BREAK_BITS;
  }
  return cost;
}

static size_t encode (int64_t committed, int64_t highest,
                      const strand_run *runs, size_t count,
                      const char **codec) {
  size_t length;
  assert_int_equal(strand_payload_encode(committed, highest, runs, count,
                                         TEXT_MAX, text, &length, codec),
                   STRAND_OK);
  return length;
}

static void round_trip (int64_t committed, int64_t highest,
                        const strand_run *runs, size_t count) {
  strand_payload p;
  const char *codec;
  size_t length = encode(committed, highest, runs, count, &codec);
  assert_int_equal(decode(committed, text, length, &p), STRAND_OK);
  assert_int_equal(p.highest, highest);
  assert_string_equal(p.codec, codec);
  same_runs(&p, runs, count);
  strand_payload_free(&p);
}

/* }{== reading ============================================================ */

static void decode_vector (const vector *v) {
  strand_payload p;
  assert_int_equal(decode(v->base, v->metadata, strlen(v->metadata), &p),
                   STRAND_OK);
  assert_int_equal(p.highest, v->highest);
  assert_string_equal(p.codec, v->codec);
  same_runs(&p, v->runs, v->run_count);
  strand_payload_free(&p);
}

static void every_payload_of_the_java_consumer_is_read (void **state) {
  (void)state;
  assert_int_equal(each_vector(decode_vector), VECTOR_COUNT);
}

static void no_text_describes_nothing (void **state) {
  strand_payload p;
  (void)state;
  assert_int_equal(decode(41, "", 0, &p), STRAND_OK);
  assert_int_equal(p.highest, 40);
  assert_int_equal(p.run_count, 0);
  assert_string_equal(p.codec, "none");
  strand_payload_free(&p);
}

static void one_empty_run_is_no_progress (void **state) {
  strand_payload p;
  (void)state;
  assert_int_equal(decode(41, "bgAA", 4, &p), STRAND_OK);
  assert_int_equal(p.highest, 40);
  assert_int_equal(p.run_count, 0);
  assert_string_equal(p.codec, "RunLength");
  strand_payload_free(&p);
}

/* Bytes as a payload's text. */
static size_t text_of (const void *bytes, size_t size) {
  assert_true(strand_base64_length(size) <= sizeof(text));
  memmove(strand_base64_place(text, size), bytes, size);
  strand_base64_encode(text, size);
  return strand_base64_length(size);
}

static size_t text_of_runs (char magic, const int32_t *lengths, size_t count) {
  static uint8_t bytes[1 << 20];
  size_t size = 1;
  bytes[0] = (uint8_t)magic;
  for (size_t i = 0; i < count; i++)
    for (int shift = 24; shift >= 0; shift -= 8)
      bytes[size++] = (uint8_t)((uint32_t)lengths[i] >> shift);
  return text_of(bytes, size);
}

static void empty_runs_in_the_middle_join_their_neighbours (void **state) {
  static const int32_t lengths[] = { 2, 0, 3, 1, 0, 1, 1, 0, 0, 2 };
  static const strand_run runs[] = { { 100, 104 }, { 107, 107 } };
  strand_payload p;
  size_t length = text_of_runs('e', lengths, 10);
  (void)state;
  assert_int_equal(decode(100, text, length, &p), STRAND_OK);
  assert_int_equal(p.highest, 109);
  same_runs(&p, runs, 2);
  strand_payload_free(&p);
}

static void the_first_offset_may_be_done (void **state) {
  static const int32_t lengths[] = { 0, 7, 1 };
  static const strand_run runs[] = { { 107, 107 } };
  strand_payload p;
  size_t length = text_of_runs('e', lengths, 3);
  (void)state;
  assert_int_equal(decode(100, text, length, &p), STRAND_OK);
  assert_int_equal(p.highest, 107);
  same_runs(&p, runs, 1);
  strand_payload_free(&p);
  round_trip(100, 107, runs, 1);
  round_trip(100, 107, NULL, 0);
}

static void a_bit_set_may_come_without_its_spare_byte (void **state) {
  static const strand_run runs[] = { { 0, 0 } };
  strand_payload p;
  size_t length = text_of("o\0\0\0\x0A\xFE\x03", 7);
  (void)state;
  assert_int_equal(decode(0, text, length, &p), STRAND_OK);
  assert_int_equal(p.highest, 9);
  same_runs(&p, runs, 1);
  strand_payload_free(&p);
}

/* }{== writing ============================================================ */

static void what_is_written_is_read_back (void **state) {
  static strand_run runs[RUNS_MAX];
  (void)state;
  for (int i = 0; i < 20000; i++) {
    int64_t committed = pick(3) == 0 ? 0 : (int64_t)pick(INT64_C(1) << 52);
    int64_t highest;
    size_t most = (size_t[]){ 1, 4, 50, 2000 }[pick(4)];
    size_t count;
    if (i % 50 != 0 && most > 50) most = 50;
    count = random_runs(runs, most, committed, &highest, longest(), longest());
    round_trip(committed, highest, runs, count);
  }
}

static void every_pattern_of_twelve_offsets_is_read_back (void **state) {
  strand_run runs[16];
  (void)state;
  for (int64_t range = 1; range <= 12; range++) {
    for (unsigned mask = 0; mask < 1u << range; mask++) {
      size_t count = 0;
      for (int64_t i = 0; i < range; i++) {
        if ((mask >> i & 1) == 0) continue;
        if (count > 0 && runs[count - 1].last == 1000 + i - 1)
          runs[count - 1].last++;
        else runs[count++] = (strand_run){ 1000 + i, 1000 + i };
      }
      round_trip(1000, 1000 + range - 1, runs, count);
    }
  }
}

static void the_widest_range_is_read_back (void **state) {
  strand_run runs[2];
  int64_t committed = INT64_MAX - STRAND_PAYLOAD_RANGE_MAX;
  (void)state;
  runs[0] = (strand_run){ committed, committed };
  runs[1] = (strand_run){ INT64_MAX - 1, INT64_MAX - 1 };
  round_trip(committed, INT64_MAX - 1, runs, 1);
  round_trip(committed, INT64_MAX - 1, runs, 2);
  runs[0].last = INT64_MAX - 1;
  round_trip(committed, INT64_MAX - 1, runs, 1);
}

static void nothing_above_committed_is_no_text (void **state) {
  size_t length = 7;
  const char *codec = NULL;
  (void)state;
  assert_int_equal(
    strand_payload_encode(5, 4, NULL, 0, 0, text, &length, &codec), STRAND_OK);
  assert_int_equal(length, 0);
  assert_string_equal(codec, "none");
}

static void
what_does_not_fit_is_refused_and_what_fits_exactly_is_not (void **state) {
  strand_run run = { 10, 10 };
  size_t length;
  const char *codec;
  (void)state;
  assert_int_equal(encode(10, 200008, &run, 1, &codec), 12);
  assert_memory_equal(text, "ZQAAAAEAAw0+", 12);
  assert_string_equal(codec, "RunLengthV2");
  assert_int_equal(
    strand_payload_encode(10, 200008, &run, 1, 12, text, &length, &codec),
    STRAND_OK);
  assert_int_equal(
    strand_payload_encode(10, 200008, &run, 1, 11, text, &length, &codec),
    STRAND_EFULL);
  assert_int_equal(length, 0);
}

static void a_range_or_runs_beyond_the_limits_are_not_written (void **state) {
  static strand_run runs[STRAND_PAYLOAD_RUNS_MAX + 1];
  strand_run run = { 0, 0 };
  size_t length;
  const char *codec;
  (void)state;
  assert_int_equal(strand_payload_encode(0, STRAND_PAYLOAD_RANGE_MAX, &run, 1,
                                         TEXT_MAX, text, &length, &codec),
                   STRAND_ELIMIT);
  for (int64_t i = 0; i <= STRAND_PAYLOAD_RUNS_MAX; i++)
    runs[i] = (strand_run){ i * 100, i * 100 };
  round_trip(0, (STRAND_PAYLOAD_RUNS_MAX - 1) * 100, runs,
             STRAND_PAYLOAD_RUNS_MAX);
  assert_int_equal(strand_payload_encode(0, STRAND_PAYLOAD_RUNS_MAX * 100,
                                         runs, STRAND_PAYLOAD_RUNS_MAX + 1,
                                         TEXT_MAX, text, &length, &codec),
                   STRAND_ELIMIT);
}

/* The obvious way to write a bit set. */
static size_t naive_bits (uint8_t *out, int64_t committed, int64_t highest,
                          const strand_run *runs, size_t count) {
  size_t range = (size_t)(highest - committed + 1);
  size_t size = 4 + (range + 7) / 8 + 1;
  memset(out, 0, size);
  for (int i = 0; i < 4; i++) out[i] = (uint8_t)(range >> (24 - 8 * i));
  for (size_t i = 0; i < range; i++) {
    int64_t offset = committed + (int64_t)i;
    while (count > 0 && runs->last < offset) {
      runs++;
      count--;
    }
    if (count == 0 || offset < runs->first)
      out[4 + i / 8] |= (uint8_t)(1u << i % 8);
  }
  return size;
}

static size_t inflate (uint8_t *out, size_t room, const uint8_t *in,
                       size_t size) {
  ZSTD_DCtx *zstd = ZSTD_createDCtx();
  ZSTD_inBuffer from = { in, size, 0 };
  ZSTD_outBuffer to = { out, room, 0 };
  assert_int_equal(ZSTD_decompressStream(zstd, &to, &from), 0);
  assert_int_equal(from.pos, size);
  ZSTD_freeDCtx(zstd);
  return to.pos;
}

/* Dense groups of runs, far from each other: the frame is the smallest. */
static size_t grouped_runs (strand_run *runs, size_t count, int64_t at,
                            uint64_t gap) {
  for (size_t i = 0; i < count; i++) {
    runs[i].first = at;
    runs[i].last = at + (int64_t)pick(4);
    at = runs[i].last + 2 + (int64_t)pick(pick(30) == 0 ? gap : 4);
  }
  return count;
}

static void libzstd_reads_the_frames_laid_by_hand (void **state) {
  static uint8_t want[1 << 21], have[1 << 21], frame[1 << 16];
  static strand_run runs[400];
  (void)state;
  for (int i = 0; i < 300; i++) {
    uint64_t gap = (uint64_t[]){ 200, 2000, 200000 }[pick(3)];
    size_t count = grouped_runs(runs, 100 + pick(300), 77, gap);
    int64_t highest = runs[count - 1].last
                      + (pick(30) == 0 ? 3 << 20 : (int64_t)pick(1000));
    const char *codec;
    size_t length = encode(77, highest, runs, count, &codec);
    size_t size = strand_base64_decode(text, length, frame);
    assert_true(frame[0] == 's' || frame[0] == 'o');
    if (frame[0] == 'o') continue;
    size = inflate(have, sizeof(have), frame + 1, size - 1);
    assert_int_equal(size, naive_bits(want, 77, highest, runs, count));
    assert_memory_equal(have, want, size);
  }
}

/* Bytes by random stretches: block limits and the last block in all forms. */
static void any_bytes_can_be_laid_as_a_frame (void **state) {
  static uint8_t want[1 << 21], have[1 << 21], frame[1 << 21];
  static const size_t scale[] = { 2, 9, 20, 1000, 131073, 300000 };
  (void)state;
  for (int i = 0; i < 500; i++) {
    strand_zframe writer, counter;
    size_t size = 0, framed;
    strand_zframe_begin(&writer, frame);
    strand_zframe_begin(&counter, NULL);
    for (size_t n = 1 + pick(30); n > 0; n--) {
      size_t length = 1 + pick(scale[pick(6)]);
      uint8_t value = (uint8_t)pick(3);
      if (size + length > sizeof(want)) break;
      if (pick(16) == 0 && length > 131072) length = 131072;
      memset(want + size, value, length);
      size += length;
      strand_zframe_put(&writer, value, length);
      strand_zframe_put(&counter, value, length);
    }
    framed = strand_zframe_end(&writer);
    assert_int_equal(framed, strand_zframe_end(&counter));
    assert_int_equal(inflate(have, sizeof(have), frame, framed), size);
    assert_memory_equal(have, want, size);
  }
}

static void raw_blocks_are_split_at_their_limit (void **state) {
  static uint8_t have[1 << 19], frame[1 << 19];
  strand_zframe writer;
  size_t size;
  (void)state;
  strand_zframe_begin(&writer, frame);
  for (int i = 0; i < 300000; i++)
    strand_zframe_put(&writer, (uint8_t)(i % 7), 1);
  size = strand_zframe_end(&writer);
  assert_int_equal(size, STRAND_ZFRAME_HEADER + 300000 + 3 * 3);
  assert_int_equal(inflate(have, sizeof(have), frame, size), 300000);
  for (int i = 0; i < 300000; i++) assert_int_equal(have[i], i % 7);
}

/* }{== sizes ============================================================== */

/* One stuck record, 'done' ones, then 4,000 of which half are done. */
static size_t stuck_record (strand_run *runs, int64_t done, int64_t *highest,
                            uint64_t *cost, uint64_t *boundaries) {
  size_t count = 1;
  runs[0] = (strand_run){ 0, 0 };
  for (int64_t at = done + 1; at < done + 4000; at++) {
    if (pick(2) == 0) continue;
    if (runs[count - 1].last == at - 1) runs[count - 1].last++;
    else runs[count++] = (strand_run){ at, at };
  }
  *highest = done + 4000;
  *cost = 1 + STRAND_PAYLOAD_BREAK_BITS + 4000; /* every one may end alone */
  *boundaries = 2 + 4001;
  return count;
}

static void four_thousand_half_done_behind_a_stuck_record_fit (void **state) {
  static const struct {
    int64_t done;
    size_t most;
  } cases[] = { { 100000, 720 }, { 10000000, 780 }, { 100000000, 1210 } };
  static strand_run runs[4096];
  (void)state;
  for (size_t i = 0; i < 3; i++) {
    int64_t highest;
    uint64_t cost, boundaries;
    const char *codec;
    size_t count = stuck_record(runs, cases[i].done, &highest, &cost,
                                &boundaries);
    size_t length = encode(0, highest, runs, count, &codec);
    size_t bound = strand_payload_bound(highest + 1, cost, boundaries);
    print_message("%" PRId64 " done: %zu characters, bound %zu\n",
                  cases[i].done, length, bound);
    assert_string_equal(codec, "BitSetV2Compressed");
    assert_true(length <= bound);
    assert_true(length <= cases[i].most);
    assert_true(bound <= length + 60);
    round_trip(0, highest, runs, count);
  }
}

static void
ten_million_done_behind_a_stuck_record_cost_twelve_characters (void **state) {
  strand_run run = { 0, 0 };
  const char *codec;
  (void)state;
  assert_int_equal(encode(0, 10000000, &run, 1, &codec), 12);
  assert_true(strand_payload_bound(10000001, 73, 3) <= 32);
}

/* Boundaries cost what they cost; any of them may be gone in the end. */
static void check_bound (int64_t *at, size_t count) {
  static strand_run runs[RUNS_MAX];
  uint64_t cost = cost_of(at, count);
  int64_t range = at[count - 1] - at[0];
  size_t bound = strand_payload_bound(range, cost, count);
  size_t loose = strand_payload_bound(range + (int64_t)pick(1000),
                                      cost + pick(100), count + pick(10));
  size_t left = 0, run_count = 0, length;
  int64_t highest;
  const char *codec;
  uint64_t gone = pick(5); /* of 4 */
  for (size_t i = 0; i < count; i++)
    if (pick(4) >= gone) at[left++] = at[i];
  if (left < 2) return;
  for (size_t i = 0; i + 1 < left; i += 2)
    runs[run_count++] = (strand_run){ at[i], at[i + 1] - 1 };
  highest = left % 2 == 1 ? at[left - 1] - 1 : runs[run_count - 1].last;
  length = encode(at[0], highest, runs, run_count, &codec);
  assert_true(length <= bound);
  assert_true(length <= loose);
}

static void no_payload_is_longer_than_its_bound (void **state) {
  static int64_t at[RUNS_MAX];
  (void)state;
  for (int i = 0; i < 150000; i++) {
    size_t most = (size_t[]){ 4, 20, 60, 1000 }[i % 100 == 0 ? 3 : pick(3)];
    size_t count = 2 + pick(most);
    uint64_t wide = longest() + 1, narrow = longest() + 1;
    at[0] = (int64_t)pick(1000);
    for (size_t k = 1; k < count; k++)
      at[k] = at[k - 1] + 1 + (int64_t)pick(pick(2) == 0 ? wide : narrow);
    check_bound(at, count);
  }
}

/* Distances around the break, where the layout turns. */
static void no_payload_is_longer_than_its_bound_near_the_break (void **state) {
  static int64_t at[RUNS_MAX];
  (void)state;
  for (int i = 0; i < 50000; i++) {
    size_t count = 2 + pick(40);
    at[0] = (int64_t)pick(8);
    for (size_t k = 1; k < count; k++)
      at[k] = at[k - 1] + 50 + (int64_t)pick(40);
    check_bound(at, count);
  }
}

/* The edges of the range need not be boundaries that were counted. */
static void uncounted_edges_are_within_the_bound (void **state) {
  static strand_run runs[64];
  (void)state;
  for (int i = 0; i < 20000; i++) {
    int64_t at[128], highest;
    size_t length,
      count = random_runs(runs, 40, 500, &highest, longest(), longest());
    int64_t committed = 500 - (int64_t)pick(500);
    const char *codec;
    for (size_t k = 0; k < count; k++) {
      at[2 * k] = runs[k].first;
      at[2 * k + 1] = runs[k].last + 1;
    }
    highest += (int64_t)pick(3) * (int64_t)pick(1000);
    length = encode(committed, highest, runs, count, &codec);
    assert_true(length <= strand_payload_bound(
                  highest - committed + 1, cost_of(at, 2 * count), 2 * count));
    if (highest > runs[count - 1].last) continue;
    assert_true(length <= strand_payload_bound(highest - committed + 1,
                                               cost_of(at, 2 * count - 1),
                                               2 * count - 1));
  }
}

static void what_cannot_be_described_has_no_bound (void **state) {
  (void)state;
  assert_true(strand_payload_bound(STRAND_PAYLOAD_RANGE_MAX + 1, 1, 1)
              == SIZE_MAX);
  assert_true(strand_payload_bound(INT64_MAX, UINT64_MAX, UINT64_MAX)
              == SIZE_MAX);
  assert_true(strand_payload_bound(STRAND_PAYLOAD_RANGE_MAX, UINT64_MAX,
                                   2 * STRAND_PAYLOAD_RUNS_MAX)
              < SIZE_MAX);
  assert_int_equal(strand_payload_bound(0, 0, 0), 0);
}

/* }{== harm =============================================================== */

typedef struct hostile {
  const char *claim;
  int64_t committed;
  strand_err err;
  const char *problem;
  size_t size;
  const char *bytes;
} hostile;

#define TOP INT64_MAX
#define BYTES(s) sizeof(s) - 1, s

static const hostile harm[] = {
  { "negative run", 0, STRAND_EFORMAT, "a run of negative length",
    BYTES("e\xFF\xFF\xFF\xFF") },
  { "negative v1 run", 0, STRAND_EFORMAT, "a run of negative length",
    BYTES("n\x80\x00") },
  { "negative bit set", 0, STRAND_EFORMAT, "a bit set of negative length",
    BYTES("o\x80\x00\x00\x01\xFF\x00") },
  { "negative v1 bit set", 0, STRAND_EFORMAT, "a bit set of negative length",
    BYTES("l\xFF\xFF\xFF\x00") },
  { "bit set longer than its bytes", 0, STRAND_EFORMAT,
    "the bit set is longer than its bytes",
    BYTES("o\x7F\xFF\xFF\xFF\xFF\x00") },
  { "bit set of 9 bits in one byte", 0, STRAND_EFORMAT,
    "the bit set is longer than its bytes", BYTES("o\0\0\0\x09\xFF") },
  { "bits behind the end", 0, STRAND_EFORMAT,
    "bits set behind the end of the bit set", BYTES("o\0\0\0\x01\x03\0") },
  { "spare byte that is not zero", 0, STRAND_EFORMAT,
    "bytes behind the end of the bit set", BYTES("o\0\0\0\x01\x01\x01") },
  { "two spare bytes", 0, STRAND_EFORMAT,
    "bytes behind the end of the bit set", BYTES("o\0\0\0\x01\x01\0\0") },
  { "half a run", 0, STRAND_EFORMAT, "the body ends within a number",
    BYTES("e\0\0\0\x01\0\0") },
  { "half a length", 0, STRAND_EFORMAT, "the body ends within a number",
    BYTES("o\0\0") },
  { "runs without a body", 0, STRAND_EFORMAT, "the body is empty",
    BYTES("e") },
  { "bits without a body", 0, STRAND_EFORMAT, "the body is empty",
    BYTES("l") },
  { "sum of runs above the range", 0, STRAND_ELIMIT,
    "more than 2147483647 offsets", BYTES("e\x7F\xFF\xFF\xFF\0\0\0\x01") },
  { "runs above the last offset", TOP - 5, STRAND_EFORMAT,
    "offsets above the highest there can be", BYTES("e\0\0\0\x05\0\0\0\x01") },
  { "bits above the last offset", TOP - 5, STRAND_EFORMAT,
    "offsets above the highest there can be", BYTES("o\0\0\0\x06\x15\0") },
  { "equal bytes above the last offset", TOP - 5, STRAND_EFORMAT,
    "offsets above the highest there can be", BYTES("o\0\0\0\x08\xFF\0") },
  { "negative committed offset", -1, STRAND_EFORMAT,
    "the committed offset is negative", BYTES("e\0\0\0\x01") },
  { "Kafka Streams", 0, STRAND_EFORMAT, "metadata of Kafka Streams, version 1",
    BYTES("\x01\0\0\0\0\0\0\0\x2A") },
  { "Kafka Streams", 0, STRAND_EFORMAT, "metadata of Kafka Streams, version 2",
    BYTES("\x02\0\0\0\0") },
  { "ByteArray", 0, STRAND_EFORMAT,
    "ByteArray, a codec that nobody writes any more", BYTES("L\x01\0") },
  { "compressed ByteArray", 0, STRAND_EFORMAT,
    "ByteArray, a codec that nobody writes any more", BYTES("\xEE\x28\xB5") },
  { "unknown codec", 0, STRAND_EFORMAT, "an unknown codec", BYTES("x\0\0") },
  { "no frame", 0, STRAND_EFORMAT, "the body is not a zstd frame",
    BYTES("s") },
  { "not a frame", 0, STRAND_EFORMAT, "the body is not a zstd frame",
    BYTES("s\0\0\0\x01\xFF\0") },
  { "skippable frame", 0, STRAND_EFORMAT, "the body is not a zstd frame",
    BYTES("s\x50\x2A\x4D\x18\x01\0\0\0\xFF") },
  { "zstd 0.7", 0, STRAND_EFORMAT, "the body is not a zstd frame",
    BYTES("s\x27\xB5\x2F\xFD\0\0\0\0\0") },
  { "frame header only", 0, STRAND_EFORMAT, "the zstd frame is cut off",
    BYTES("s\x28\xB5\x2F\xFD\0\x38") },
  { "empty frame", 0, STRAND_EFORMAT, "the body is empty",
    BYTES("s\x28\xB5\x2F\xFD\0\x38\x01\0\0") },
  { "block type 3", 0, STRAND_EFORMAT, "the zstd frame is damaged",
    BYTES("s\x28\xB5\x2F\xFD\0\x38\x07\0\0") },
  { "window of 16 MiB", 0, STRAND_ELIMIT, "the zstd window is above 8 MiB",
    BYTES("s\x28\xB5\x2F\xFD\0\x70\x01\0\0") },
  { "content size of 1 TB", 0, STRAND_ELIMIT, "the zstd window is above 8 MiB",
    BYTES("s\x28\xB5\x2F\xFD\xE0\0\0\0\0\0\x01\0\0\x01\0\0") },
  { "dictionary", 0, STRAND_EFORMAT, "the zstd frame is damaged",
    BYTES("s\x28\xB5\x2F\xFD\x01\x38\x07\x01\0\0") },
  { "bytes behind the frame", 0, STRAND_EFORMAT, "bytes behind the zstd frame",
    BYTES("p\x28\xB5\x2F\xFD\0\x38\x21\0\0\0\0\0\x01\0") },
  { "two frames", 0, STRAND_EFORMAT, "bytes behind the zstd frame",
    BYTES("p\x28\xB5\x2F\xFD\0\x38\x21\0\0\0\0\0\x01"
          "\x28\xB5\x2F\xFD\0\x38\x21\0\0\0\0\0\x01") },
};

static void each_kind_of_harm_is_refused_by_name (void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof(harm) / sizeof(harm[0]); i++) {
    const hostile *h = &harm[i];
    strand_payload p;
    const char *problem = "none";
    size_t length = text_of(h->bytes, h->size);
    strand_err err = strand_payload_decode(h->committed, text, length, &p,
                                           &problem);
    if (err != h->err || strcmp(problem, h->problem) != 0)
      fail_msg("%s: error %d, %s", h->claim, (int)err, problem);
    assert_null(p.runs);
  }
}

static void what_is_not_base64_is_refused (void **state) {
  static const char *const cases[] = {
    "Z",          "ZQ",        "ZQA",      "ZQ=",        "ZQAAAAE",
    "ZQAAAAE==",  "====",      "Z===",     "ZQAA\nAAE=", "ZQAAAAE=\n",
    " ZQAAAAE",   "ZQAAAA-_",  "ZQ==AAAA", "ZQAAAAF=",   "ZR==",
    "\xC3\xA9ZQ", "offset=41",
  };
  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    strand_payload p;
    const char *problem = "none";
    assert_int_equal(
      strand_payload_decode(0, cases[i], strlen(cases[i]), &p, &problem),
      STRAND_EFORMAT);
    assert_string_equal(problem, "not base64");
  }
}

static void a_text_with_a_zero_byte_is_refused (void **state) {
  strand_payload p;
  (void)state;
  assert_int_equal(decode(0, "ZQAA\0AE=", 8, &p), STRAND_EFORMAT);
}

static void too_many_runs_are_refused (void **state) {
  static int32_t lengths[2 * STRAND_PAYLOAD_RUNS_MAX + 3];
  size_t most = 2 * STRAND_PAYLOAD_RUNS_MAX;
  strand_payload p;
  (void)state;
  for (size_t i = 0; i < most + 3; i++) lengths[i] = 1;
  assert_int_equal(decode(0, text, text_of_runs('e', lengths, most), &p),
                   STRAND_OK);
  assert_int_equal(p.run_count, STRAND_PAYLOAD_RUNS_MAX);
  strand_payload_free(&p);
  assert_int_equal(decode(0, text, text_of_runs('e', lengths, most + 1), &p),
                   STRAND_ELIMIT);
  memset(lengths, 0, sizeof(lengths));
  assert_int_equal(decode(0, text, text_of_runs('e', lengths, most + 3), &p),
                   STRAND_ELIMIT);
}

/* 'count' bytes of 'value' behind 'prefix', in RLE blocks. */
static size_t bomb (char magic, const char *prefix, size_t prefix_size,
                    uint8_t value, uint64_t count) {
  static uint8_t bytes[1 << 16];
  strand_zframe frame;
  bytes[0] = (uint8_t)magic;
  strand_zframe_begin(&frame, bytes + 1);
  for (size_t i = 0; i < prefix_size; i++)
    strand_zframe_put(&frame, (uint8_t)prefix[i], 1);
  strand_zframe_put(&frame, value, count);
  return text_of(bytes, 1 + strand_zframe_end(&frame));
}

static void a_bomb_ends_at_the_first_byte_too_many (void **state) {
  static const struct {
    char magic;
    const char *prefix;
    size_t size;
    uint8_t value;
    strand_err err;
  } cases[] = {
    { 's', "\0\0\0\1", 4, 0x00, STRAND_EFORMAT },
    { 's', "\0\0\0\1", 4, 0xFF, STRAND_EFORMAT },
    { 'a', "\x7F\xFF", 2, 0xFF, STRAND_EFORMAT },
    { 's', "\x7F\xFF\xFF\xFF", 4, 0x55, STRAND_ELIMIT },
    { 's', "\x7F\xFF\xFF\xFF", 4, 0x00, STRAND_EFORMAT },
    { 'p', "", 0, 0x00, STRAND_ELIMIT },
    { 'J', "", 0, 0x00, STRAND_ELIMIT },
    { 'p', "", 0, 0x11, STRAND_ELIMIT },
    { 'J', "", 0, 0x01, STRAND_ELIMIT },
  };
  struct rusage before, after;
  (void)state;
  getrusage(RUSAGE_SELF, &before);
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    strand_payload p;
    clock_t begin = clock();
    size_t length = bomb(cases[i].magic, cases[i].prefix, cases[i].size,
                         cases[i].value, UINT64_C(300000000));
    assert_int_equal(decode(0, text, length, &p), cases[i].err);
    print_message("bomb %zu: %zu characters, %.3f s of CPU\n", i, length,
                  (double)(clock() - begin) / CLOCKS_PER_SEC);
  }
  getrusage(RUSAGE_SELF, &after);
  print_message("memory grew by %ld KiB\n",
                after.ru_maxrss - before.ru_maxrss);
#ifndef SANITIZED
  assert_true(after.ru_maxrss - before.ru_maxrss < 16 * 1024);
#endif
}

static void flip_vector (const vector *v) {
  static char copy[1 << 16];
  static uint8_t bytes[1 << 16];
  size_t length = strlen(v->metadata);
  size_t size = strand_base64_decode(v->metadata, length, bytes);
  for (int i = 0; i < 800; i++) {
    strand_payload p;
    size_t bit = pick(8 * size);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    if (decode(v->base, text, text_of(bytes, size), &p) == STRAND_OK)
      strand_payload_free(&p);
    if (i % 4 != 0) bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    memcpy(copy, v->metadata, length);
    copy[pick(length)] = (char)pick(256);
    if (decode(v->base, copy, length, &p) == STRAND_OK)
      strand_payload_free(&p);
  }
}

static void a_flipped_bit_does_no_harm (void **state) {
  (void)state;
  each_vector(flip_vector);
}

/* The bytes end where the copy ends: a sanitizer sees any read behind. */
static void cut_vector (const vector *v) {
  size_t length = strlen(v->metadata);
  for (size_t left = 0; left < length; left += 1 + pick(16)) {
    char *copy = malloc(left + 1);
    strand_payload p;
    memcpy(copy, v->metadata, left);
    copy = realloc(copy, left > 0 ? left : 1);
    if (decode(v->base, copy, left, &p) == STRAND_OK) strand_payload_free(&p);
    free(copy);
  }
}

static void a_text_cut_off_anywhere_does_no_harm (void **state) {
  (void)state;
  each_vector(cut_vector);
}

static void a_zstd_body_cut_off_anywhere_is_refused (void **state) {
  static strand_run runs[4096];
  static uint8_t bytes[1 << 16];
  int64_t highest;
  uint64_t cost, boundaries;
  const char *codec;
  size_t count = stuck_record(runs, 10000000, &highest, &cost, &boundaries);
  size_t size = strand_base64_decode(
    text, encode(0, highest, runs, count, &codec), bytes);
  (void)state;
  assert_string_equal(codec, "BitSetV2Compressed");
  for (size_t left = 1; left < size; left++) {
    strand_payload p;
    assert_int_equal(decode(0, text, text_of(bytes, left), &p),
                     STRAND_EFORMAT);
  }
}

/* }======================================================================== */

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_payload_of_the_java_consumer_is_read),
    cmocka_unit_test(no_text_describes_nothing),
    cmocka_unit_test(one_empty_run_is_no_progress),
    cmocka_unit_test(empty_runs_in_the_middle_join_their_neighbours),
    cmocka_unit_test(the_first_offset_may_be_done),
    cmocka_unit_test(a_bit_set_may_come_without_its_spare_byte),
    cmocka_unit_test(what_is_written_is_read_back),
    cmocka_unit_test(every_pattern_of_twelve_offsets_is_read_back),
    cmocka_unit_test(the_widest_range_is_read_back),
    cmocka_unit_test(nothing_above_committed_is_no_text),
    cmocka_unit_test(
      what_does_not_fit_is_refused_and_what_fits_exactly_is_not),
    cmocka_unit_test(a_range_or_runs_beyond_the_limits_are_not_written),
    cmocka_unit_test(libzstd_reads_the_frames_laid_by_hand),
    cmocka_unit_test(any_bytes_can_be_laid_as_a_frame),
    cmocka_unit_test(raw_blocks_are_split_at_their_limit),
    cmocka_unit_test(four_thousand_half_done_behind_a_stuck_record_fit),
    cmocka_unit_test(
      ten_million_done_behind_a_stuck_record_cost_twelve_characters),
    cmocka_unit_test(no_payload_is_longer_than_its_bound),
    cmocka_unit_test(no_payload_is_longer_than_its_bound_near_the_break),
    cmocka_unit_test(uncounted_edges_are_within_the_bound),
    cmocka_unit_test(what_cannot_be_described_has_no_bound),
    cmocka_unit_test(each_kind_of_harm_is_refused_by_name),
    cmocka_unit_test(what_is_not_base64_is_refused),
    cmocka_unit_test(a_text_with_a_zero_byte_is_refused),
    cmocka_unit_test(too_many_runs_are_refused),
    cmocka_unit_test(a_bomb_ends_at_the_first_byte_too_many),
    cmocka_unit_test(a_flipped_bit_does_no_harm),
    cmocka_unit_test(a_text_cut_off_anywhere_does_no_harm),
    cmocka_unit_test(a_zstd_body_cut_off_anywhere_is_refused),
  };
  return cmocka_run_group_tests_name("payload", tests, NULL, NULL);
}

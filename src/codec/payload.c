/*
** payload.c - see payload.h; reading is in payload_decode.c
**
** The range is walked as stretches, open and done in turn, so that the work
** grows with the runs and with what is written, never with the range.
*/
#include "codec/payload.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base64.h"
#include "codec/zframe.h"

#define MAGIC_SIZE 1
#define RUN_SIZE 4    /* RunLengthV2: bytes of one stretch */
#define PREFIX_SIZE 4 /* BitSetV2: length in bits */
#define SPARE_SIZE 1  /* BitSetV2: the encoders in Java leave one byte */

/* A stretch shorter than STRAND_ZFRAME_STRETCH bytes is written as it is. One
** that is longer costs BREAK bytes and up to 7 bits at either side, which
** share a byte with its neighbours. The two bits left over are slack. */
_Static_assert(STRAND_ZFRAME_BREAK * 8 + 2 * 7 <= STRAND_PAYLOAD_BREAK_BITS,
               "an RLE block costs more than the bound allows for");
_Static_assert((STRAND_ZFRAME_STRETCH - 1) * 8 + 2 * 7
                 <= STRAND_PAYLOAD_BREAK_BITS,
               "raw bits cost more than the bound allows for");

/*
** Stretches of [committed, highest]: open, done, open, ... The first is open,
** with no offsets in it when 'committed' is done.
*/
typedef struct stretches {
  const strand_run *run;
  size_t left;  /* runs not yet walked */
  int64_t at;   /* first offset of the next stretch */
  int64_t stop; /* one above the highest */
  bool open;    /* the next stretch is open */
  bool begun;
} stretches;

static stretches stretches_of (int64_t committed, int64_t highest,
                               const strand_run *runs, size_t run_count) {
  stretches s = { runs, run_count, committed, highest + 1, true, false };
  return s;
}

static bool stretch_next (stretches *s, int64_t *length, bool *done) {
  int64_t to;
  if (s->begun && s->at == s->stop) return false;
  if (!s->open) {
    to = s->left > 0 ? s->run->first : s->stop;
  }
  else if (s->left == 0 || s->run->first > s->at) {
    to = s->at; /* only in front of all others */
  }
  else {
    to = s->run->last + 1;
    s->run++;
    s->left--;
  }
  assert(to > s->at || !s->begun); /* runs increase and never touch */
  assert(to <= s->stop);
  *length = to - s->at;
  *done = !s->open;
  s->at = to;
  s->open = !s->open;
  s->begun = true;
  return true;
}

static void put_int32 (uint8_t *out, int64_t value) {
  assert(value >= 0 && value <= INT32_MAX);
  out[0] = (uint8_t)(value >> 24);
  out[1] = (uint8_t)(value >> 16);
  out[2] = (uint8_t)(value >> 8);
  out[3] = (uint8_t)value;
}

/* {=== RunLengthV2 ======================================================== */

static size_t runs_write (stretches s, uint8_t *out) {
  size_t size = 0;
  int64_t length;
  bool done;
  while (stretch_next(&s, &length, &done)) {
    if (out != NULL) put_int32(out + size, length);
    size += RUN_SIZE;
  }
  return size;
}

/* }{== BitSetV2 =========================================================== */

/* Takes the body as equal bytes in a row. */
typedef void byte_sink (void *to, uint8_t value, uint64_t count);

typedef struct bits {
  byte_sink *put;
  void *to;
  uint8_t byte;    /* the one being filled */
  unsigned filled; /* bits of it */
} bits;

static void bits_put (bits *b, bool done, uint64_t count) {
  while (count > 0 && (b->filled > 0 || count < 8)) {
    b->byte = (uint8_t)(b->byte | (unsigned)done << b->filled);
    count--;
    if (++b->filled < 8) continue;
    b->put(b->to, b->byte, 1);
    b->byte = 0;
    b->filled = 0;
  }
  /* Here either nothing is left, or whole bytes are and none is begun. */
  if (count == 0) return;
  b->put(b->to, done ? 0xFF : 0x00, count / 8);
  bits_put(b, done, count % 8);
}

static void bits_write (stretches s, byte_sink *put, void *to) {
  bits b = { put, to, 0, 0 };
  uint8_t prefix[PREFIX_SIZE];
  int64_t length;
  bool done;
  length = s.stop - s.at;
  put_int32(prefix, length);
  for (size_t i = 0; i < sizeof(prefix); i++) put(to, prefix[i], 1);
  while (stretch_next(&s, &length, &done))
    bits_put(&b, done, (uint64_t)length);
  if (b.filled > 0) put(to, b.byte, 1);
  put(to, 0, SPARE_SIZE);
}

static uint64_t bits_size (int64_t range) {
  return PREFIX_SIZE + ((uint64_t)range + 7) / 8 + SPARE_SIZE;
}

static void plain_put (void *to, uint8_t value, uint64_t count) {
  uint8_t **at = to;
  memset(*at, value, (size_t)count);
  *at += count;
}

static size_t plain_write (stretches s, uint8_t *out) {
  uint8_t *at = out;
  bits_write(s, plain_put, &at);
  return (size_t)(at - out);
}

static void frame_put (void *to, uint8_t value, uint64_t count) {
  strand_zframe_put(to, value, count);
}

static size_t frame_write (stretches s, uint8_t *out) {
  strand_zframe frame;
  strand_zframe_begin(&frame, out);
  bits_write(s, frame_put, &frame);
  return strand_zframe_end(&frame);
}

/* }{== choice and bound =================================================== */

static const struct {
  uint8_t magic;
  const char *name;
  size_t (*write)(stretches s, uint8_t *out);
} codecs[] = { { 'e', "RunLengthV2", runs_write },
               { 'o', "BitSetV2", plain_write },
               { 's', "BitSetV2Compressed", frame_write } };

/* The first of equal size: what is written is the same every time. */
static size_t choose (stretches s, size_t *size) {
  size_t sizes[3];
  size_t best = 0;
  sizes[0] = runs_write(s, NULL);
  sizes[1] = (size_t)bits_size(s.stop - s.at);
  sizes[2] = frame_write(s, NULL);
  for (size_t i = 1; i < 3; i++)
    if (sizes[i] < sizes[best]) best = i;
  *size = sizes[best];
  return best;
}

static strand_err encode (int64_t committed, int64_t highest,
                          const strand_run *runs, size_t run_count,
                          size_t limit, char *text, size_t *length,
                          const char **codec) {
  stretches s;
  size_t best, size, written;
  uint8_t *bytes;
  assert(committed >= 0 && highest < INT64_MAX);
  *length = 0;
  *codec = "none";
  if (highest < committed) return STRAND_OK;
  assert(run_count == 0 || runs[0].first >= committed);
  assert(run_count == 0 || runs[run_count - 1].last <= highest);
  if (highest - committed >= STRAND_PAYLOAD_RANGE_MAX) return STRAND_ELIMIT;
  if (run_count > STRAND_PAYLOAD_RUNS_MAX) return STRAND_ELIMIT;
  s = stretches_of(committed, highest, runs, run_count);
  best = choose(s, &size);
  if (strand_base64_length(MAGIC_SIZE + size) > limit) return STRAND_EFULL;
  bytes = strand_base64_place(text, MAGIC_SIZE + size);
  bytes[0] = codecs[best].magic;
  written = codecs[best].write(s, bytes + MAGIC_SIZE);
  assert(written == size);
  (void)written;
  strand_base64_encode(text, MAGIC_SIZE + size);
  *length = strand_base64_length(MAGIC_SIZE + size);
  *codec = codecs[best].name;
  return STRAND_OK;
}

/*
** The frame: each stretch costs at most min(its bits, BREAK), and merging two
** never costs more than both; an edge that is no boundary adds one stretch.
** All of them together are no more than the range. Blocks split by their size
** limit come on top (zframe.h, invariant 2).
*/
static size_t frame_bound (size_t range, uint64_t cost_bits) {
  size_t body = (size_t)bits_size((int64_t)range);
  size_t stretched = range;
  if (cost_bits < range && range - cost_bits > 2 * STRAND_PAYLOAD_BREAK_BITS)
    stretched = (size_t)cost_bits + 2 * STRAND_PAYLOAD_BREAK_BITS;
  return STRAND_ZFRAME_HEADER + STRAND_ZFRAME_BLOCK_HEADER + PREFIX_SIZE
         + (stretched + 7) / 8 + SPARE_SIZE
         + body / STRAND_ZFRAME_BLOCK_MAX * STRAND_ZFRAME_RLE;
}

size_t strand_payload_plain (int64_t range) {
  if (range > STRAND_PAYLOAD_RUNS_MAX) return SIZE_MAX;
  return strand_base64_length(MAGIC_SIZE + (size_t)bits_size(range));
}

size_t strand_payload_bound (int64_t range, uint64_t cost_bits,
                             uint64_t boundaries) {
  size_t best, other;
  if (range <= 0) return 0;
  if (range > STRAND_PAYLOAD_RANGE_MAX) return SIZE_MAX;
  if (boundaries > 2 * STRAND_PAYLOAD_RUNS_MAX) return SIZE_MAX;
  /* One stretch between boundaries, one at either edge, and the empty one
  ** that comes first when 'committed' is done. */
  best = ((size_t)boundaries + 2) * RUN_SIZE;
  other = (size_t)bits_size(range);
  if (other < best) best = other;
  other = frame_bound((size_t)range, cost_bits);
  if (other < best) best = other;
  return strand_base64_length(MAGIC_SIZE + best);
}

/* }{== what was written, read again ======================================= */

#ifndef NDEBUG

static size_t bound_for (int64_t committed, int64_t highest,
                         const strand_run *runs, size_t run_count) {
  uint64_t cost = 0, count = 0;
  int64_t last = -1;
  for (size_t i = 0; i < 2 * run_count; i++) {
    int64_t x = i % 2 == 0 ? runs[i / 2].first : runs[i / 2].last + 1;
    int64_t step = x - last;
    if (x > highest) break;
    if (last >= 0) {
      cost += (uint64_t)(step < STRAND_PAYLOAD_BREAK_BITS
                           ? step
                           : STRAND_PAYLOAD_BREAK_BITS);
    }
    last = x;
    count++;
  }
  return strand_payload_bound(highest + 1 - committed, cost, count);
}

static void check_text (int64_t committed, int64_t highest,
                        const strand_run *runs, size_t run_count, size_t limit,
                        const char *text, size_t length) {
  strand_payload back;
  const char *problem;
  strand_err err = strand_payload_decode(committed, text, length, &back,
                                         &problem);
  assert(length <= limit);                                          /* (2) */
  assert(length <= bound_for(committed, highest, runs, run_count)); /* (2) */
  if (err == STRAND_ENOMEM) return;
  assert(err == STRAND_OK && back.highest == highest); /* (1) */
  assert(back.run_count == run_count);                 /* (1) */
  for (size_t i = 0; i < run_count; i++) {
    assert(back.runs[i].first == runs[i].first); /* (1) */
    assert(back.runs[i].last == runs[i].last);   /* (1) */
  }
  strand_payload_free(&back);
}

#else
#define check_text(...) ((void)0)
#endif

/* }{== interface ========================================================== */

strand_err strand_payload_encode (int64_t committed, int64_t highest,
                                  const strand_run *runs, size_t run_count,
                                  size_t limit, char *text, size_t *length,
                                  const char **codec) {
  strand_err err = encode(committed, highest, runs, run_count, limit, text,
                          length, codec);
  if (err == STRAND_OK && *length > 0) {
    check_text(committed, highest, runs, run_count, limit, text, *length);
  }
  return err;
}

/* What a part describes that ends before 'run'. */
static int64_t top_below (const strand_run *run) {
  return run->first - 1;
}

void strand_payload_encode_part (int64_t committed, const strand_run *runs,
                                 size_t run_count, size_t limit, char *text,
                                 size_t *length, size_t *described) {
  size_t fits = 0, too_many = run_count, tried = run_count;
  const char *codec;
  *length = 0;
  while (too_many - fits > 1) { /* longer as more is described, or nearly */
    tried = fits + (too_many - fits) / 2;
    if (encode(committed, top_below(&runs[tried]), runs, tried, limit, text,
               length, &codec)
        == STRAND_OK) {
      fits = tried;
    }
    else too_many = tried;
  }
  if (fits == 0) *length = 0;
  else if (tried != fits) {
    encode(committed, top_below(&runs[fits]), runs, fits, limit, text, length,
           &codec);
  }
  if (fits > 0) {
    check_text(committed, top_below(&runs[fits]), runs, fits, limit, text,
               *length);
  }
  *described = fits;
}

void strand_payload_free (strand_payload *payload) {
  free(payload->runs);
  payload->runs = NULL;
  payload->run_count = 0;
}

/* }======================================================================== */

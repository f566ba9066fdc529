/*
** payload_decode.c - reading what a commit carried; see payload.h
**
** Three layers, none of which holds more than a fixed buffer:
**
**   text --base64--> source --(zstd)--> body --> runs
**
** The input is hostile until proved otherwise: every length in it is only
** ever counted down against what really comes, and each layer stops at the
** first byte too many.
*/
#include "codec/payload.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>
#include <zstd_errors.h>

#include "codec/base64.h"

#define CHUNK_CHARS 1024 /* text decoded at once */
#define INFLATED 8192    /* bytes of zstd output at once */
#define RUNS_FIRST 16    /* runs allocated at first */

/* Every level of zstd but the ultra ones stays below this window; it is what
** the library may allocate, whatever the frame asks for. */
#define WINDOW_LOG_MAX 23

/* Stretches in a run-length body: as many runs open as done, and an empty one
** at either end. More can only be empty ones, which describe nothing. */
#define STRETCHES_MAX (2 * STRAND_PAYLOAD_RUNS_MAX + 2)

typedef enum shape { RUNS, BITS } shape;

typedef struct codec {
  uint8_t magic;
  uint8_t shape;
  uint8_t width; /* bytes of an integer; signed, big endian */
  bool zstd;
  const char *name;
} codec;

static const codec codecs[] = { { 'l', BITS, 2, false, "BitSet" },
                                { 'a', BITS, 2, true, "BitSetCompressed" },
                                { 'n', RUNS, 2, false, "RunLength" },
                                { 'J', RUNS, 2, true, "RunLengthCompressed" },
                                { 'o', BITS, 4, false, "BitSetV2" },
                                { 's', BITS, 4, true, "BitSetV2Compressed" },
                                { 'e', RUNS, 4, false, "RunLengthV2" },
                                { 'p', RUNS, 4, true,
                                  "RunLengthV2Compressed" } };

/* The text, some bytes at a time. */
typedef struct source {
  const char *text;
  size_t left; /* characters not yet decoded */
  uint8_t bytes[CHUNK_CHARS / 4 * 3];
  size_t at;
  size_t size;
} source;

/* What is read from the body, and what it said so far. */
typedef struct body {
  const codec *codec;
  int64_t committed;
  int64_t next; /* one above the last offset described */
  strand_run *runs;
  size_t run_count;
  size_t run_capacity;
  uint32_t number; /* bytes of the integer that is being read */
  unsigned number_size;
  uint32_t stretches; /* RUNS: integers read */
  bool has_length;    /* BITS: the integer in front was read */
  int64_t bits_left;  /* BITS: described by bytes that are still to come */
  bool has_spare;
  const char *problem;
} body;

static strand_err refuse (body *b, strand_err err, const char *problem) {
  b->problem = problem;
  return err;
}

/* {=== runs =============================================================== */

static strand_err grow (body *b) {
  size_t capacity = b->run_capacity == 0 ? RUNS_FIRST : b->run_capacity * 2;
  strand_run *runs;
  if (b->run_count == STRAND_PAYLOAD_RUNS_MAX)
    return refuse(b, STRAND_ELIMIT, "more than 65536 runs of open offsets");
  assert(capacity <= STRAND_PAYLOAD_RUNS_MAX); /* (3) */
  runs = realloc(b->runs, capacity * sizeof(*runs));
  if (runs == NULL) return refuse(b, STRAND_ENOMEM, "not enough memory");
  b->runs = runs;
  b->run_capacity = capacity;
  return STRAND_OK;
}

/* The next 'count' offsets are open, or done. */
static strand_err take_offsets (body *b, bool done, int64_t count) {
  int64_t first = b->next;
  if (count == 0) return STRAND_OK;
  if (count > STRAND_PAYLOAD_RANGE_MAX - (b->next - b->committed))
    return refuse(b, STRAND_ELIMIT, "more than 2147483647 offsets");
  if (count > INT64_MAX - b->next)
    return refuse(b, STRAND_EFORMAT, "offsets above the highest there can be");
  b->next += count;
  if (done) return STRAND_OK;
  if (b->run_count > 0 && b->runs[b->run_count - 1].last == first - 1) {
    b->runs[b->run_count - 1].last += count;
    return STRAND_OK;
  }
  if (b->run_count == b->run_capacity) {
    strand_err err = grow(b);
    if (err != STRAND_OK) return err;
  }
  b->runs[b->run_count].first = first;
  b->runs[b->run_count++].last = b->next - 1;
  return STRAND_OK;
}

/* }{== body =============================================================== */

/* True when the integer is complete; negative ones come out as -1. */
static bool take_number (body *b, uint8_t byte, int64_t *number) {
  unsigned width = b->codec->width;
  b->number = b->number << 8 | byte;
  if (++b->number_size < width) return false;
  *number = b->number >> (8 * width - 1) != 0 ? -1 : (int64_t)b->number;
  b->number = 0;
  b->number_size = 0;
  return true;
}

static strand_err take_runs (body *b, const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    int64_t count;
    strand_err err;
    if (!take_number(b, bytes[i], &count)) continue;
    if (count < 0)
      return refuse(b, STRAND_EFORMAT, "a run of negative length");
    if (b->stretches == STRETCHES_MAX)
      return refuse(b, STRAND_ELIMIT, "more than 131074 run lengths");
    err = take_offsets(b, b->stretches++ % 2 == 1, count);
    if (err != STRAND_OK) return err;
  }
  return STRAND_OK;
}

/* A byte with both kinds of bits, or the last one. */
static strand_err take_byte (body *b, unsigned byte) {
  unsigned left = b->bits_left < 8 ? (unsigned)b->bits_left : 8;
  b->bits_left -= left;
  if (byte >> left != 0)
    return refuse(b, STRAND_EFORMAT, "bits set behind the end of the bit set");
  while (left > 0) {
    unsigned done = byte & 1, count = 0;
    strand_err err;
    while (count < left && (byte & 1) == done) {
      byte >>= 1;
      count++;
    }
    err = take_offsets(b, done, count);
    if (err != STRAND_OK) return err;
    left -= count;
  }
  return STRAND_OK;
}

/* How many whole bytes at the front are equal and all open or all done. */
static size_t equal_bytes (const body *b, const uint8_t *bytes, size_t size) {
  size_t most = (uint64_t)b->bits_left / 8 < size ? (size_t)(b->bits_left / 8)
                                                  : size;
  size_t n = 0;
  if (bytes[0] != 0x00 && bytes[0] != 0xFF) return 0;
  while (n < most && bytes[n] == bytes[0]) n++;
  return n;
}

/* The Java encoders leave one spare byte; other writers may not. */
static strand_err take_spare (body *b, const uint8_t *bytes, size_t size) {
  if (size == 0) return STRAND_OK;
  if (b->has_spare || size > 1 || bytes[0] != 0)
    return refuse(b, STRAND_EFORMAT, "bytes behind the end of the bit set");
  b->has_spare = true;
  return STRAND_OK;
}

static strand_err take_length (body *b, uint8_t byte) {
  int64_t length;
  if (!take_number(b, byte, &length)) return STRAND_OK;
  if (length < 0)
    return refuse(b, STRAND_EFORMAT, "a bit set of negative length");
  b->has_length = true;
  b->bits_left = length;
  return STRAND_OK;
}

static strand_err take_bits (body *b, const uint8_t *bytes, size_t size) {
  size_t at = 0;
  strand_err err = STRAND_OK;
  while (err == STRAND_OK && at < size && !b->has_length)
    err = take_length(b, bytes[at++]);
  while (err == STRAND_OK && at < size && b->bits_left > 0) {
    size_t equal = equal_bytes(b, bytes + at, size - at);
    if (equal == 0) {
      err = take_byte(b, bytes[at++]);
    }
    else {
      err = take_offsets(b, bytes[at] != 0, (int64_t)equal * 8);
      b->bits_left -= (int64_t)equal * 8;
      at += equal;
    }
  }
  return err != STRAND_OK ? err : take_spare(b, bytes + at, size - at);
}

static strand_err take_bytes (body *b, const uint8_t *bytes, size_t size) {
  return b->codec->shape == BITS ? take_bits(b, bytes, size)
                                 : take_runs(b, bytes, size);
}

static strand_err take_end (body *b) {
  if (b->number_size > 0)
    return refuse(b, STRAND_EFORMAT, "the body ends within a number");
  if (b->codec->shape == RUNS && b->stretches == 0)
    return refuse(b, STRAND_EFORMAT, "the body is empty");
  if (b->codec->shape == BITS && !b->has_length)
    return refuse(b, STRAND_EFORMAT, "the body is empty");
  if (b->bits_left > 0)
    return refuse(b, STRAND_EFORMAT, "the bit set is longer than its bytes");
  return STRAND_OK;
}

/* }{== source ============================================================= */

/* False at the end of the text. */
static bool source_fill (source *s) {
  size_t take = s->left < CHUNK_CHARS ? s->left : CHUNK_CHARS;
  assert(s->at == s->size);
  s->size = strand_base64_decode(s->text, take, s->bytes);
  s->at = 0;
  s->text += take;
  s->left -= take;
  return take > 0;
}

static strand_err read_plain (source *s, body *b) {
  do {
    strand_err err = take_bytes(b, s->bytes + s->at, s->size - s->at);
    if (err != STRAND_OK) return err;
    s->at = s->size;
  } while (source_fill(s));
  return STRAND_OK;
}

/* }{== zstd =============================================================== */

static strand_err inflate_failure (body *b, size_t result) {
  switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_memory_allocation:
      return refuse(b, STRAND_ENOMEM, "not enough memory");
    case ZSTD_error_frameParameter_windowTooLarge:
      return refuse(b, STRAND_ELIMIT, "the zstd window is above 8 MiB");
    default: return refuse(b, STRAND_EFORMAT, "the zstd frame is damaged");
  }
}

/* All output that the bytes at hand give. '*more' is 0 at the frame's end. */
static strand_err inflate_chunk (ZSTD_DCtx *zstd, source *s, body *b,
                                 size_t *more) {
  uint8_t bytes[INFLATED];
  ZSTD_inBuffer in = { s->bytes, s->size, s->at };
  ZSTD_outBuffer out = { bytes, sizeof(bytes), 0 };
  do {
    strand_err err;
    out.pos = 0;
    *more = ZSTD_decompressStream(zstd, &out, &in);
    if (ZSTD_isError(*more)) return inflate_failure(b, *more);
    err = take_bytes(b, bytes, out.pos);
    if (err != STRAND_OK) return err;
  } while (*more != 0 && (in.pos < in.size || out.pos == out.size));
  s->at = in.pos;
  return STRAND_OK;
}

static strand_err inflate (ZSTD_DCtx *zstd, source *s, body *b) {
  size_t more;
  size_t failed = ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax,
                                         WINDOW_LOG_MAX);
  if (ZSTD_isError(failed)) return inflate_failure(b, failed);
  do {
    strand_err err = inflate_chunk(zstd, s, b, &more);
    if (err != STRAND_OK) return err;
  } while (more != 0 && source_fill(s));
  if (more != 0) return refuse(b, STRAND_EFORMAT, "the zstd frame is cut off");
  if (s->at < s->size || s->left > 0)
    return refuse(b, STRAND_EFORMAT, "bytes behind the zstd frame");
  return STRAND_OK;
}

/* The magic is tested here, because the library also takes skippable frames,
** and formats from before zstd 1.0 where it was built so. */
static strand_err read_zstd (source *s, body *b) {
  static const uint8_t magic[4] = { 0x28, 0xB5, 0x2F, 0xFD };
  ZSTD_DCtx *zstd;
  strand_err err;
  if (s->size - s->at < sizeof(magic)
      || memcmp(s->bytes + s->at, magic, sizeof(magic)) != 0)
    return refuse(b, STRAND_EFORMAT, "the body is not a zstd frame");
  zstd = ZSTD_createDCtx();
  if (zstd == NULL) return refuse(b, STRAND_ENOMEM, "not enough memory");
  err = inflate(zstd, s, b);
  ZSTD_freeDCtx(zstd);
  return err;
}

/* }{== payload ============================================================ */

static const codec *find_codec (uint8_t magic) {
  for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++)
    if (codecs[i].magic == magic) return &codecs[i];
  return NULL;
}

static const char *foreign (uint8_t magic) {
  switch (magic) {
    case 1: return "metadata of Kafka Streams, version 1";
    case 2: return "metadata of Kafka Streams, version 2";
    case 'L':
    case 0xEE: return "ByteArray, a codec that nobody writes any more";
    default: return "an unknown codec";
  }
}

static strand_err decode (source *s, body *b) {
  strand_err err;
  if (b->next < 0)
    return refuse(b, STRAND_EFORMAT, "the committed offset is negative");
  if (!strand_base64_check(s->text, s->left))
    return refuse(b, STRAND_EFORMAT, "not base64");
  if (!source_fill(s)) return STRAND_OK;
  b->codec = find_codec(s->bytes[0]);
  if (b->codec == NULL) return refuse(b, STRAND_EFORMAT, foreign(s->bytes[0]));
  s->at = 1;
  err = b->codec->zstd ? read_zstd(s, b) : read_plain(s, b);
  return err != STRAND_OK ? err : take_end(b);
}

strand_err strand_payload_decode (int64_t committed, const char *text,
                                  size_t length, strand_payload *out,
                                  const char **problem) {
  source s;
  body b;
  strand_err err;
  memset(out, 0, sizeof(*out));
  memset(&b, 0, sizeof(b));
  b.committed = b.next = committed;
  s.text = text;
  s.left = length;
  s.at = s.size = 0;
  err = decode(&s, &b);
  if (err != STRAND_OK) {
    free(b.runs);
    *problem = b.problem;
    return err;
  }
  assert(b.run_count <= STRAND_PAYLOAD_RUNS_MAX);
  out->highest = b.next - 1;
  out->runs = b.runs;
  out->run_count = b.run_count;
  out->codec = b.codec != NULL ? b.codec->name : "none";
  return STRAND_OK;
}

/* }======================================================================== */

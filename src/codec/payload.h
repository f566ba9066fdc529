/*
** payload.h - open offsets to and from the metadata of a commit
**
** A commit says "everything below 'committed' is done". Records done above
** it are written into the commit's metadata, so that nobody runs them again.
** The text is that of the Confluent Parallel Consumer: one magic byte and a
** body, in base64 (parallel-consumer 0.5: OffsetEncoding, BitSetEncoder,
** RunLengthEncoder). Only [committed, highest] is described; offsets above
** 'highest' are open without being named.
**
**   RunLengthV2         'e'  int32 BE runs, first run open, then alternating
**   BitSetV2            'o'  int32 BE length in bits, bits (1 = done, least
**                            significant first), one spare byte
**   BitSetV2Compressed  's'  the same body in a zstd frame
**
** Invariants:
**   (1) decode(encode(x)) == x for every x that encode accepts.
**   (2) What encode writes is never longer than 'limit' characters, nor
**       longer than strand_payload_bound said for the same or more runs.
**   (3) decode never allocates by a number it found in its input: memory is
**       bounded by STRAND_PAYLOAD_RUNS_MAX runs, whatever the input.
**
** Thread: any (no state).
*/
#ifndef STRAND_PAYLOAD_H
#define STRAND_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Offsets first..last, both included. */
typedef struct strand_run {
  int64_t first;
  int64_t last;
} strand_run;

typedef struct strand_payload {
  int64_t highest;  /* highest offset described; committed - 1 for none */
  strand_run *runs; /* open offsets in [committed, highest], increasing,
                         never touching; owned, see strand_payload_free */
  size_t run_count;
  const char *codec; /* its name in payload-vectors.tsv, or "none" */
} strand_payload;

/* More open runs than this in one payload are refused as STRAND_ELIMIT. */
#define STRAND_PAYLOAD_RUNS_MAX 65536
/* The widest range [committed, highest] that is written or read, in offsets. */
#define STRAND_PAYLOAD_RANGE_MAX INT64_C(2147483647)

/*
** The size bound, in bits, kept incrementally by boundaries.c:
** cost = sum over neighbouring boundaries of min(distance, BREAK), where a
** boundary is an offset at which done changes to open or back. A distance
** below BREAK is written out as raw bits; above it the zstd frame is broken
** by an RLE block, which costs at most BREAK bits with its headers and the
** rounding to bytes at both sides.
*/
#define STRAND_PAYLOAD_BREAK_BITS 72

/* Upper bound in characters for any payload over a range of at most 'range'
** offsets whose boundaries cost at most 'cost_bits', and which has at most
** 'boundaries' of them. The two edges of the range need not be among them.
** SIZE_MAX when the range or that many runs cannot be described. */
size_t strand_payload_bound (int64_t range, uint64_t cost_bits,
                             uint64_t boundaries);

/* What a range of so many offsets takes as raw bits, whatever is open in it:
** the bound is never more. Only up to RUNS_MAX offsets, which cannot have too
** many runs; SIZE_MAX beyond. */
size_t strand_payload_plain (int64_t range);

/* Writes the smallest of the three codecs (no terminator) into 'text', which
** has room for 'limit' characters. 'runs' are the open offsets in
** [committed, highest], increasing and never touching. In a commit the first
** begins at 'committed', but it need not. With highest < committed nothing is
** written: *length is 0. STRAND_EFULL when none fits 'limit' characters,
** STRAND_ELIMIT beyond RUNS_MAX or RANGE_MAX. */
strand_err strand_payload_encode (int64_t committed, int64_t highest,
                                  const strand_run *runs, size_t run_count,
                                  size_t limit, char *text, size_t *length,
                                  const char **codec);

/* Describes as much as fits: what lies below one of the open runs. So what is
** left out is the highest: it is done again in its order, and nothing above it
** is remembered. '*described' is how many runs are described; the text is empty
** where that is none. */
void strand_payload_encode_part (int64_t committed, const strand_run *runs,
                                 size_t run_count, size_t limit, char *text,
                                 size_t *length, size_t *described);

/* An empty text is a valid payload: highest = committed - 1, no runs.
** On STRAND_EFORMAT or STRAND_ELIMIT '*problem' says what is wrong (a static
** string). On error 'out' owns nothing. */
strand_err strand_payload_decode (int64_t committed, const char *text,
                                  size_t length, strand_payload *out,
                                  const char **problem);

void strand_payload_free (strand_payload *payload);

#endif

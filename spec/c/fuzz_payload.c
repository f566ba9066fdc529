/*
** fuzz_payload.c - any text as metadata; what is read must survive being
** written and read again
**
** scripts/fuzz builds and runs it.
**
** The first byte picks the committed offset and whether the rest is the text
** or the bytes of it: a fuzzer does not learn base64 quickly.
*/
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base64.h"
#include "codec/payload.h"

#define TEXT_MAX (1 << 20)

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void must (int holds) {
  if (!holds) abort();
}

static char text[TEXT_MAX];

static strand_err write_again (int64_t committed, const strand_payload *p,
                               size_t limit, size_t *length,
                               const char **codec) {
  return strand_payload_encode(committed, p->highest, p->runs, p->run_count,
                               limit, text, length, codec);
}

/* What fits a limit is no longer than it, and what does not is refused. */
static void keeps_to_limits (int64_t committed, const strand_payload *p,
                             size_t needed) {
  const char *codec;
  size_t length;
  if (needed == 0) return;
  must(write_again(committed, p, needed - 1, &length, &codec) == STRAND_EFULL);
  must(write_again(committed, p, needed, &length, &codec) == STRAND_OK);
  must(length == needed);
}

static void same_again (int64_t committed, const strand_payload *p) {
  strand_payload again;
  const char *codec, *problem;
  size_t length;
  must(write_again(committed, p, TEXT_MAX, &length, &codec) == STRAND_OK);
  keeps_to_limits(committed, p, length);
  must(strand_payload_decode(committed, text, length, &again, &problem)
       == STRAND_OK);
  must(again.highest == p->highest && again.run_count == p->run_count);
  must(p->run_count == 0
       || memcmp(again.runs, p->runs, p->run_count * sizeof(*p->runs)) == 0);
  must(strcmp(again.codec, codec) == 0);
  strand_payload_free(&again);
}

static void read_text (int64_t committed, const char *given, size_t length) {
  strand_payload p;
  const char *problem = NULL;
  if (strand_payload_decode(committed, given, length, &p, &problem)
      == STRAND_OK) {
    must(p.highest >= committed - 1);
    must(p.run_count <= STRAND_PAYLOAD_RUNS_MAX);
    same_again(committed, &p);
    strand_payload_free(&p);
  }
  else {
    must(p.runs == NULL && problem != NULL);
  }
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size) {
  static const int64_t bases[] = { 0, 41, INT64_C(3000000000), INT64_MAX - 100,
                                   INT64_MAX - 1 };
  int64_t committed;
  char *base64;
  if (size == 0) return 0;
  committed = bases[data[0] % 5];
  if (data[0] & 0x80) {
    read_text(committed, (const char *)data + 1, size - 1);
    return 0;
  }
  base64 = malloc(strand_base64_length(size - 1) + 1);
  memcpy(strand_base64_place(base64, size - 1), data + 1, size - 1);
  strand_base64_encode(base64, size - 1);
  read_text(committed, base64, strand_base64_length(size - 1));
  free(base64);
  return 0;
}

/*
** fuzz_payload.c - any text as metadata; what is read must survive being
** written and read again
**
**   clang -fsanitize=fuzzer,address,undefined -Isrc spec/c/fuzz_payload.c
**     src/core/payload.c src/core/payload_decode.c src/core/base64.c
**     src/core/zframe.c -lzstd
**
** The first byte picks the committed offset and whether the rest is the text
** or the bytes of it: a fuzzer does not learn base64 quickly.
*/
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base64.h"
#include "core/payload.h"

#define TEXT_MAX (1 << 20)

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void must (int holds) {
  if (!holds) abort();
}

static void same_again (int64_t committed, const strand_payload *p) {
  static char text[TEXT_MAX];
  strand_payload again;
  const char *codec, *problem;
  size_t length;
  must(strand_payload_encode(committed, p->highest, p->runs, p->run_count,
                             TEXT_MAX, text, &length, &codec) == STRAND_OK);
  must(strand_payload_decode(committed, text, length, &again, &problem)
       == STRAND_OK);
  must(again.highest == p->highest && again.run_count == p->run_count);
  must(p->run_count == 0
       || memcmp(again.runs, p->runs, p->run_count * sizeof(*p->runs)) == 0);
  must(strcmp(again.codec, codec) == 0);
  strand_payload_free(&again);
}

static void read_text (int64_t committed, const char *text, size_t length) {
  strand_payload p;
  const char *problem = NULL;
  if (strand_payload_decode(committed, text, length, &p, &problem)
      == STRAND_OK) {
    must(p.highest >= committed - 1);
    must(p.run_count <= STRAND_PAYLOAD_RUNS_MAX);
    same_again(committed, &p);
    strand_payload_free(&p);
  } else {
    must(p.runs == NULL && problem != NULL);
  }
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size) {
  static const int64_t bases[] = {
    0, 41, INT64_C(3000000000), INT64_MAX - 100, INT64_MAX - 1
  };
  int64_t committed;
  char *text;
  if (size == 0) return 0;
  committed = bases[data[0] % 5];
  if (data[0] & 0x80) {
    read_text(committed, (const char *)data + 1, size - 1);
    return 0;
  }
  text = malloc(strand_base64_length(size - 1) + 1);
  memcpy(strand_base64_place(text, size - 1), data + 1, size - 1);
  strand_base64_encode(text, size - 1);
  read_text(committed, text, strand_base64_length(size - 1));
  free(text);
  return 0;
}

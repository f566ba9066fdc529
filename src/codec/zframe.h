/*
** zframe.h - a zstd frame laid by hand
**
** A compressor's output cannot be bounded closely before it has run. This
** writer knows its size exactly from the stretches of equal bytes alone, and
** every zstd decoder reads what it writes (RFC 8878, 3.1.1):
**
**   magic 28 B5 2F FD | descriptor 00 | window 128 KiB | blocks...
**   block: 3 bytes of header, then raw bytes as they are, or one byte that
**          is repeated (RLE)
**
** Invariants:
**   (1) A stretch of STRAND_ZFRAME_STRETCH equal bytes or more becomes RLE
**       blocks, a shorter one a part of a raw block. So a stretch never
**       costs more than its bytes, nor more than one RLE block and the
**       header of the raw block behind it, STRAND_ZFRAME_BREAK bytes.
**   (2) Blocks beyond that come from the limit of a block's size alone: at
**       most one for each STRAND_ZFRAME_BLOCK_MAX bytes of content.
**
** Thread: any (a frame belongs to whoever began it).
*/
#ifndef STRAND_ZFRAME_H
#define STRAND_ZFRAME_H

#include <stddef.h>
#include <stdint.h>

#define STRAND_ZFRAME_HEADER 6       /* bytes before the first block */
#define STRAND_ZFRAME_BLOCK_HEADER 3 /* bytes */
#define STRAND_ZFRAME_RLE 4          /* bytes of a whole RLE block */
#define STRAND_ZFRAME_BREAK (STRAND_ZFRAME_RLE + STRAND_ZFRAME_BLOCK_HEADER)
#define STRAND_ZFRAME_STRETCH 8        /* bytes; more than BREAK */
#define STRAND_ZFRAME_BLOCK_MAX 131072 /* bytes of content; the window */

typedef struct strand_zframe {
  uint8_t *out;  /* borrowed until the end; NULL: sizes are counted */
  size_t size;   /* written so far */
  size_t raw;    /* content of the raw block that is open; 0: none is */
  uint8_t value; /* the stretch that is not yet laid */
  uint64_t count;
} strand_zframe;

void strand_zframe_begin (strand_zframe *f, uint8_t *out);

/* 'count' times the byte 'value', in time that does not depend on 'count'
** unless it is raw. */
void strand_zframe_put (strand_zframe *f, uint8_t value, uint64_t count);

/* Returns the size of the whole frame. Something must have been put. */
size_t strand_zframe_end (strand_zframe *f);

#endif

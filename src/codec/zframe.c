/*
** zframe.c - see zframe.h
*/
#include "codec/zframe.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum block_type { BLOCK_RAW = 0, BLOCK_RLE = 1 };

static void put_bytes (strand_zframe *f, uint8_t value, size_t count) {
  if (f->out != NULL) memset(f->out + f->size, value, count);
  f->size += count;
}

static void put_header (strand_zframe *f, size_t at, enum block_type type,
                        size_t size, int last) {
  uint32_t bits = (uint32_t)size << 3 | (uint32_t)type << 1 | (last ? 1u : 0u);
  assert(size > 0 && size <= STRAND_ZFRAME_BLOCK_MAX);
  if (f->out == NULL) return;
  f->out[at] = (uint8_t)bits;
  f->out[at + 1] = (uint8_t)(bits >> 8);
  f->out[at + 2] = (uint8_t)(bits >> 16);
}

/* The header of a raw block is written when its size is known. */
static void close_raw (strand_zframe *f, int last) {
  if (f->raw == 0) return;
  put_header(f, f->size - f->raw - STRAND_ZFRAME_BLOCK_HEADER, BLOCK_RAW,
             f->raw, last);
  f->raw = 0;
}

static void put_raw (strand_zframe *f, uint8_t value, size_t count) {
  while (count > 0) {
    size_t room, take;
    if (f->raw == STRAND_ZFRAME_BLOCK_MAX) close_raw(f, 0);
    if (f->raw == 0) put_bytes(f, 0, STRAND_ZFRAME_BLOCK_HEADER);
    room = STRAND_ZFRAME_BLOCK_MAX - f->raw;
    take = count < room ? count : room;
    put_bytes(f, value, take);
    f->raw += take;
    count -= take;
  }
}

static void put_rle (strand_zframe *f, uint8_t value, uint64_t count,
                     int last) {
  close_raw(f, 0);
  while (count > 0) {
    uint64_t take = count < STRAND_ZFRAME_BLOCK_MAX ? count
                                                    : STRAND_ZFRAME_BLOCK_MAX;
    size_t at = f->size;
    put_bytes(f, 0, STRAND_ZFRAME_BLOCK_HEADER);
    put_bytes(f, value, 1);
    put_header(f, at, BLOCK_RLE, (size_t)take, last && take == count);
    count -= take;
  }
}

/* The stretch is laid, in 'grew' bytes. */
static void check_stretch (const strand_zframe *f, size_t grew) {
#ifndef NDEBUG
  uint64_t blocks = f->count / STRAND_ZFRAME_BLOCK_MAX + 1;
  bool rle = f->count >= STRAND_ZFRAME_STRETCH;
  assert(rle == (f->raw == 0));                                 /* (1) */
  assert(rle || grew <= f->count + STRAND_ZFRAME_BLOCK_HEADER); /* (1) */
  assert(!rle || grew <= STRAND_ZFRAME_RLE * blocks);           /* (2) */
#else
  (void)f;
  (void)grew;
#endif
}

static void lay_stretch (strand_zframe *f, int last) {
  size_t before = f->size;
  if (f->count >= STRAND_ZFRAME_STRETCH) {
    put_rle(f, f->value, f->count, last);
  }
  else put_raw(f, f->value, (size_t)f->count);
  check_stretch(f, f->size - before);
  if (last) close_raw(f, 1);
  f->count = 0;
}

void strand_zframe_begin (strand_zframe *f, uint8_t *out) {
  /* Descriptor 0: no content size, no checksum, no dictionary; window
  ** 1 << (10 + 7) bytes. */
  static const uint8_t header[STRAND_ZFRAME_HEADER] = { 0x28, 0xB5, 0x2F,
                                                        0xFD, 0x00, 7 << 3 };
  memset(f, 0, sizeof(*f));
  f->out = out;
  f->size = sizeof(header);
  if (out != NULL) memcpy(out, header, sizeof(header));
}

void strand_zframe_put (strand_zframe *f, uint8_t value, uint64_t count) {
  if (count == 0) return;
  if (f->count > 0 && f->value != value) lay_stretch(f, 0);
  f->value = value;
  f->count += count;
}

size_t strand_zframe_end (strand_zframe *f) {
  assert(f->count > 0);
  lay_stretch(f, 1);
  return f->size;
}

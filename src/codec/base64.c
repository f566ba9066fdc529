/*
** base64.c - see base64.h
*/
#include "codec/base64.h"

#include <assert.h>

static const char alphabet[] =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The six bits of a character, or -1. */
static int digit_of (char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

/*
** The bytes end where the text ends. Group i is read before it is written,
** and its characters end at 4(i + 1), never behind the first unread byte at
** 4G - size + 3(i + 1): there are G >= i + 1 groups, and size <= 3G.
*/
void strand_base64_encode (char *text, size_t size) {
  const uint8_t *from = strand_base64_place(text, size);
  char *to = text;
  while (size > 0) {
    size_t take = size < 3 ? size : 3;
    uint32_t bits = (uint32_t)from[0] << 16;
    if (take > 1) bits |= (uint32_t)from[1] << 8;
    if (take > 2) bits |= from[2];
    to[0] = alphabet[bits >> 18 & 63];
    to[1] = alphabet[bits >> 12 & 63];
    to[2] = take > 1 ? alphabet[bits >> 6 & 63] : '=';
    to[3] = take > 2 ? alphabet[bits & 63] : '=';
    from += take;
    size -= take;
    to += 4;
  }
}

/* The last group may be padded; the bits that padding cuts off are zero. */
static bool check_last (const char *group) {
  int second = digit_of(group[1]);
  if (digit_of(group[0]) < 0 || second < 0) return false;
  if (group[3] != '=')
    return digit_of(group[2]) >= 0 && digit_of(group[3]) >= 0;
  if (group[2] == '=') return (second & 15) == 0;
  return digit_of(group[2]) >= 0 && (digit_of(group[2]) & 3) == 0;
}

bool strand_base64_check (const char *text, size_t length) {
  size_t i;
  if (length % 4 != 0) return false;
  if (length == 0) return true;
  for (i = 0; i < length - 4; i++)
    if (digit_of(text[i]) < 0) return false;
  return check_last(text + length - 4);
}

size_t strand_base64_decode (const char *text, size_t length, uint8_t *out) {
  uint8_t *to = out;
  size_t i;
  assert(length % 4 == 0);
  for (i = 0; i < length; i += 4) {
    uint32_t bits = (uint32_t)digit_of(text[i]) << 18
                    | (uint32_t)digit_of(text[i + 1]) << 12;
    *to++ = (uint8_t)(bits >> 16);
    if (text[i + 2] == '=') break;
    bits |= (uint32_t)digit_of(text[i + 2]) << 6;
    *to++ = (uint8_t)(bits >> 8);
    if (text[i + 3] == '=') break;
    bits |= (uint32_t)digit_of(text[i + 3]);
    *to++ = (uint8_t)bits;
  }
  return (size_t)(to - out);
}

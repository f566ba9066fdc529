/*
** utf8.c - see utf8.h
*/
#include "codec/utf8.h"

size_t strand_utf8_cut (const char *text, size_t length, size_t max) {
  size_t end = max;
  if (length <= max) return length;
  while (end > 0 && max - end < 3 && ((unsigned char)text[end] & 0xC0) == 0x80)
    end--;
  return end;
}

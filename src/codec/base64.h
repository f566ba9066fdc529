/*
** base64.h - bytes to and from the text that a commit can carry
**
** Standard alphabet, always padded, nothing else in between. Decoding
** refuses every text that encoding would not have written: what was not
** written by a consumer's encoder is not taken for a payload.
**
** Thread: any (no state).
*/
#ifndef STRAND_BASE64_H
#define STRAND_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters that 'size' bytes become. */
static inline size_t strand_base64_length (size_t size) {
  return (size / 3 + (size % 3 != 0)) * 4;
}

/* Where the bytes must be for strand_base64_encode: at the end of the text
** that they will fill. */
static inline uint8_t *strand_base64_place (char *text, size_t size) {
  return (uint8_t *)text + (strand_base64_length(size) - size);
}

/* Turns the 'size' bytes at their place into strand_base64_length(size)
** characters, in place: no buffer is needed. No terminator. */
void strand_base64_encode (char *text, size_t size);

/* Whether the whole text is well formed. */
bool strand_base64_check (const char *text, size_t length);

/* Any groups of four characters of a text that passed the check: 'out' has
** room for 3 bytes for each group. Returns the bytes written. */
size_t strand_base64_decode (const char *text, size_t length, uint8_t *out);

#endif

/*
** symbols.h - functions that only some versions of librdkafka have
**
** Thread: any.
*/
#ifndef STRAND_SYMBOLS_H
#define STRAND_SYMBOLS_H

#include <stdbool.h>

/* Copied into the function pointer that 'function' points to: ISO C has no cast
** from void *. False, and NULL: the librdkafka that is loaded has none of that
** name. */
bool strand_symbol (void *function, const char *name);

#endif

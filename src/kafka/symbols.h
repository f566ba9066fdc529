/*
** symbols.h - functions that only some versions of librdkafka have
**
** Thread: any.
*/
#ifndef STRAND_SYMBOLS_H
#define STRAND_SYMBOLS_H

/* NULL: the librdkafka that is loaded has none of that name. To be copied
** into a function pointer: ISO C has no cast from void *. */
void *strand_symbol (const char *name);

#endif

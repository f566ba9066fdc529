/*
** utf8.h - a text that is too long
**
** Thread: any.
*/
#ifndef STRAND_UTF8_H
#define STRAND_UTF8_H

#include <stddef.h>

/* 'length', or less: at most 'max' bytes that do not end within a UTF-8
** sequence. */
size_t strand_utf8_cut (const char *text, size_t length, size_t max);

#endif

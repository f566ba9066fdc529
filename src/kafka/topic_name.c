/*
** topic_name.c - see topic_name.h
*/
#include "kafka/topic_name.h"

#define LENGTH_MAX 249

/* A table, for each record that is sent is asked about. */
#define FOUR(c) [c] = true, [c + 1] = true, [c + 2] = true, [c + 3] = true
static const bool is_name_char[256] = {
  FOUR('a'),    FOUR('e'),    FOUR('i'),    FOUR('m'),    FOUR('q'),
  FOUR('u'),    ['y'] = true, ['z'] = true, FOUR('A'),    FOUR('E'),
  FOUR('I'),    FOUR('M'),    FOUR('Q'),    FOUR('U'),    ['Y'] = true,
  ['Z'] = true, FOUR('0'),    FOUR('4'),    ['8'] = true, ['9'] = true,
  ['.'] = true, ['_'] = true, ['-'] = true,
};

static bool is_dots (const char *name, size_t length) {
  return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
}

bool strand_is_topic_name (const char *name, size_t length) {
  if (length == 0 || length > LENGTH_MAX) return false;
  for (size_t i = 0; i < length; i++)
    if (!is_name_char[(unsigned char)name[i]]) return false;
  return !is_dots(name, length);
}

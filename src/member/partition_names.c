/*
** partition_names.c - see partition_names.h
*/
#include "member/partition_names.h"

#include <stdio.h>

void strand_partition_names_add (strand_partition_names *n,
                                 const strand_partition *p) {
  const char *comma = n->count == 0 ? "" : ", ";
  size_t room = sizeof(n->text) - STRAND_NAMES_MORE - n->length;
  char name[320];
  int length;
  if (n->named < n->count++ || n->named == STRAND_NAMES_MOST) return;
  length = snprintf(name, sizeof(name), "%s%s/%d", comma,
                    strand_partition_topic(p), (int)strand_partition_index(p));
  if ((size_t)length < room) {
    memcpy(n->text + n->length, name, (size_t)length + 1);
    n->length += (size_t)length;
    n->named++;
  }
}

const char *strand_partition_names_end (strand_partition_names *n) {
  if (n->count > n->named) {
    snprintf(n->text + n->length, STRAND_NAMES_MORE, " and %zu more",
             n->count - n->named);
  }
  return n->text;
}

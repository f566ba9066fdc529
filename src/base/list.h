/*
** list.h - intrusive lists: a link inside what is listed, no allocation
**
** The head is a link that points at itself when the list is empty. A link
** that is in no list points at itself too, so that removing twice is fine.
**
** Thread: any (the list belongs to the thread that owns what is listed).
*/
#ifndef STRAND_LIST_H
#define STRAND_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct strand_link {
  struct strand_link *next;
  struct strand_link *prev;
} strand_link;

#define strand_list_entry(link, type, field)                                  \
  ((type *)(void *)((char *)(link)-offsetof(type, field)))

static inline void strand_list_init (strand_link *head) {
  head->next = head->prev = head;
}

static inline bool strand_list_empty (const strand_link *head) {
  return head->next == head;
}

static inline void strand_list_push (strand_link *head, strand_link *link) {
  link->prev = head->prev;
  link->next = head;
  head->prev->next = link;
  head->prev = link;
}

static inline void strand_list_push_front (strand_link *head,
                                           strand_link *link) {
  strand_list_push(head->next, link);
}

static inline void strand_list_remove (strand_link *link) {
  link->prev->next = link->next;
  link->next->prev = link->prev;
  link->next = link->prev = link;
}

#endif

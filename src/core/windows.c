/*
** windows.c - at most once: which records of a partition may start
**
** A record starts only after the group has acknowledged a commit that covers
** it. So records wait outside their shards, and a commit asks for the next
** window of them; its answer lets them in. The next window is asked for while
** one runs.
**
**      41   42   43 | 44   45   46 | 47   48   49 |
**       in shards   |   asked for  |   outside    |
**                   ^              ^              ^
**                covered         asked         position
**
** A window lasts for about a tenth of a second of work, so that a crash loses
** little where handlers are slow, and commits are few where they are fast.
**
** A commit of a partition that goes is the other way round: it goes back to
** the lowest record that has not started, with those above it that have as
** done in its metadata.
**
** Invariants (strand_windows_check):
**   (1) A record whose offset is below 'covered' is in its shard (but for want
**       of memory), any other in none.
**   (2) 'inside' is how many records that have not ended are below 'asked',
**       'outside' how many are not.
**   (3) inside <= 2 * STRAND_WINDOW_RECORDS: that many a crash loses at most.
**       size is from STRAND_WINDOW_LEAST to STRAND_WINDOW_RECORDS.
**   (4) While 'asked' is above 'covered', the commit that asks is out, or is
**       to be sent again: 'asked' stays, as it may have been taken.
*/
#include <assert.h>

#include "core/engine.h"
#include "core/runs.h"
#include "core/state.h"

/* A full window that lasted less is followed by a larger one, one that lasted
** longer by a smaller one. While a commit is out no window can be asked for: so
** that time is none of its handlers', however far the brokers are. */
#define SHORT_US 50000
#define LONG_US 200000

/*
** Into the shards
*/

static bool is_held (const strand_partition *p, int64_t offset) {
  for (size_t i = 0; i < p->orphan_count; i++) {
    if (p->orphan_offsets[i] == offset) return true;
  }
  return false;
}

void strand_windows_enter (strand_partition *p, strand_shard *s,
                           strand_record *r) {
  strand_record *before = s->tail;
  if (!strand_shard_keyed(s) && p->orphan_count > 0 && is_held(p, r->offset)) {
    r->shard = s; /* until its earlier handler returned: release_record */
    return;
  }
  strand_shard_append(s, r);
  if (s->failing) strand_shard_wait(s, before, r);
  else if (s->state == SHARD_EMPTY) strand_shard_ready(s, false);
  if (p->closed || s->state == SHARD_LINGERING)
    strand_throttle_record_entered(s);
}

static strand_record *after (const strand_partition *p,
                             const strand_record *r) {
  if (r->link.next == &p->records) return NULL;
  return strand_list_entry(r->link.next, strand_record, link);
}

void strand_windows_enter_rest (strand_partition *p) {
  strand_windows *w = &p->windows;
  while (w->next != NULL && w->next->offset < w->covered) {
    strand_record *r = w->next;
    strand_shard *s = strand_shard_get(p, r);
    if (s == NULL) return;
    w->next = after(p, r);
    strand_windows_enter(p, s, r);
  }
}

/*
** Outside
*/

void strand_windows_begin (strand_partition *p, int64_t committed) {
  p->windows.covered = p->windows.asked = committed;
  p->windows.size = STRAND_WINDOW_LEAST;
}

void strand_windows_add (strand_partition *p, strand_record *r) {
  strand_windows *w = &p->windows;
  assert(r->offset >= w->asked);
  if (w->next == NULL) w->next = r;
  w->outside++;
  p->engine->outside++;
}

void strand_windows_end (strand_partition *p) {
  p->engine->outside -= p->windows.outside;
  p->windows.outside = 0;
  p->windows.next = NULL;
}

/*
** The next window
*/

/* What is covered and waits to start; 0 where all of it waits behind what has
** started. */
static size_t startable (const strand_partition *p) {
  size_t started = p->in_flight + p->waiting.dead_letters + p->waiting.sending;
  if (p->engine->config.ordering == STRAND_BY_KEY && p->ready_count == 0)
    return 0;
  return p->windows.inside > started ? p->windows.inside - started : 0;
}

/* The last one is half used, and there are as many records as are left of it:
** so a commit is not made for each record where there are many. */
static bool wants (const strand_partition *p) {
  const strand_windows *w = &p->windows;
  return p->state == PARTITION_RUNNING && !p->paused && w->outside > 0
         && w->asked == w->covered && w->inside <= STRAND_WINDOW_RECORDS
         && w->outside >= startable(p) && w->size >= 2 * startable(p);
}

/* 'taken' records were asked for. */
static void fit_size (strand_partition *p, size_t taken, int64_t now_us) {
  strand_windows *w = &p->windows;
  int64_t out_us = p->engine->commits.out_us;
  int64_t lasted = now_us - w->asked_us - (out_us - w->asked_out_us);
  if (lasted > LONG_US) w->size /= 2;
  else if (lasted < SHORT_US && taken == w->size) w->size *= 2;
  if (w->size < STRAND_WINDOW_LEAST) w->size = STRAND_WINDOW_LEAST;
  if (w->size > STRAND_WINDOW_RECORDS) w->size = STRAND_WINDOW_RECORDS;
  w->asked_us = now_us;
  w->asked_out_us = out_us;
}

static void ask (strand_partition *p, int64_t now_us) {
  strand_windows *w = &p->windows;
  strand_record *r = w->next;
  size_t n = 0;
  while (r != NULL && r->offset < w->asked) r = after(p, r);
  for (; r != NULL && n < w->size; n++) {
    w->asked = r->offset + 1;
    w->inside++;
    w->outside--;
    p->engine->outside--;
    r = after(p, r);
  }
  fit_size(p, n, now_us);
}

bool strand_windows_due (const strand_engine *e) {
  if (e->outside == 0) return false;
  for (strand_link *l = e->partitions.next; l != &e->partitions; l = l->next) {
    if (wants(strand_list_entry(l, strand_partition, link))) return true;
  }
  return false;
}

bool strand_engine_awaits_commit (const strand_engine *e) {
  if (e->config.delivery != STRAND_AT_MOST_ONCE) return false;
  for (strand_link *l = e->partitions.next; l != &e->partitions; l = l->next) {
    const strand_partition *p = strand_list_entry(l, strand_partition, link);
    const strand_windows *w = &p->windows;
    if (p->state == PARTITION_RUNNING && !p->paused
        && (w->outside > 0 || w->asked > w->covered))
      return true;
  }
  return false;
}

/*
** Commits
*/

static bool goes_back (const strand_partition *p) {
  return p->state == PARTITION_REVOKING;
}

static strand_cover cover_of (const strand_partition *p) {
  return goes_back(p) ? (strand_cover){ .below = -1, .flight = true }
                      : (strand_cover){ .below = p->windows.asked };
}

bool strand_windows_dirty (const strand_partition *p) {
  const strand_windows *w = &p->windows;
  if (goes_back(p) && w->back == w->returned + 1) return false;
  return w->asked > w->covered || p->committed.uncertain || wants(p)
         || strand_offsets_committable_as(p->offsets, cover_of(p))
              != p->committed.offset;
}

/* What has started does not fit in the metadata that is taken: so the commit
** goes back less far, and what is below it is lost; or not at all. */
static strand_err write_higher (const strand_partition *p, size_t limit,
                                char *text, size_t *length, int64_t *offset) {
  int64_t low = *offset, high = p->committed.offset;
  strand_err err = STRAND_EFULL;
  if (low >= high) return err;
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    err = strand_offsets_payload_as(
      p->offsets, (strand_cover){ .below = middle, .flight = true }, limit,
      text, length, offset);
    if (err == STRAND_ENOMEM) return err;
    if (err == STRAND_OK) high = middle;
    else low = middle;
  }
  return strand_offsets_payload_as(
    p->offsets, (strand_cover){ .below = high, .flight = true }, limit, text,
    length, offset);
}

strand_err strand_windows_write (strand_partition *p, size_t limit, char *text,
                                 size_t *length, strand_commit_item *item) {
  strand_err err;
  if (wants(p)) ask(p, p->engine->commits.made_us);
  item->back = goes_back(p);
  item->version = p->windows.returned + 1;
  item->whole = true;
  err = strand_offsets_payload_as(p->offsets, cover_of(p), limit, text, length,
                                  &item->offset);
  if (err == STRAND_EFULL && item->back) {
    err = write_higher(p, limit, text, length, &item->offset);
  }
  item->covered = item->offset;
  return err;
}

void strand_windows_take (strand_partition *p,
                          const strand_commit_item *item) {
  if (item->back) {
    p->windows.back = item->version;
    return;
  }
  p->windows.covered = p->windows.asked;
  strand_windows_enter_rest(p);
}

/*
** What an end loses
*/

void strand_engine_losses (const strand_engine *e, const strand_partition *p,
                           strand_losses *out) {
  bool reported;
  *out = (strand_losses){ .first = -1 };
  if (e->config.delivery != STRAND_AT_MOST_ONCE || p->offsets == NULL) return;
  reported = goes_back(p) && !strand_windows_dirty(p);
  for (strand_link *l = p->records.next; l != &p->records; l = l->next) {
    const strand_record *r = strand_list_entry(l, strand_record, link);
    bool cut = strand_offsets_kind(p->offsets, r->offset) == KIND_FLIGHT;
    if (r->offset >= p->windows.asked) break;
    if (!cut && reported && r->offset >= p->committed.offset) continue;
    if (out->first < 0) out->first = r->offset;
    if (r->flags & STRAND_RECORD_SENDING) out->sending++;
    else if (cut) out->cut_off++;
    else out->unstarted++;
  }
}

void strand_engine_seek_losses (const strand_engine *e,
                                const strand_partition *p, int64_t to,
                                strand_losses *out) {
  *out = (strand_losses){ .first = -1 };
  if (e->config.delivery != STRAND_AT_MOST_ONCE || p->offsets == NULL) return;
  for (strand_link *l = p->records.next; l != &p->records; l = l->next) {
    const strand_record *r = strand_list_entry(l, strand_record, link);
    if (r->offset >= p->windows.asked || r->offset >= to) break;
    if (strand_offsets_kind(p->offsets, r->offset) != KIND_FLIGHT) continue;
    if (out->first < 0) out->first = r->offset;
    if (r->flags & STRAND_RECORD_SENDING) out->sending++;
    else out->cut_off++;
  }
}

#ifndef NDEBUG

void strand_windows_check (const strand_partition *p) {
  const strand_windows *w = &p->windows;
  size_t inside = 0, outside = 0;
  bool behind = false;
  for (strand_link *l = p->records.next; l != &p->records; l = l->next) {
    const strand_record *r = strand_list_entry(l, strand_record, link);
    if (r == w->next) behind = true;
    assert((r->shard == NULL) == behind);               /* (1) */
    assert(r->offset < w->covered || r->shard == NULL); /* (1) */
    if (r->offset < w->asked) inside++;
    else outside++;
  }
  assert(inside == w->inside && outside == w->outside); /* (2) */
  assert(w->inside <= 2 * STRAND_WINDOW_RECORDS);       /* (3) */
  assert(w->size >= STRAND_WINDOW_LEAST || p->offsets == NULL);
  assert(w->size <= STRAND_WINDOW_RECORDS);
  assert(w->covered <= w->asked); /* (4) */
}

#endif

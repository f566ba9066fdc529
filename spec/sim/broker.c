/*
** broker.c - exactly once: what brokers do with transactions; see exactly.h
**
** A transaction is ONGOING while outputs or offsets are in it. Its end is
** decided first (PREPARED), and then written to all that it touches; in
** between nothing of it is visible, and a new transaction waits. Offsets in a
** transaction are not stable until then.
*/
#include <stdlib.h>
#include <string.h>

#include "exactly.h"

#define LATE_MAX 8

typedef struct offset_and_metadata {
  bool there;
  int64_t offset;
  char metadata[X_METADATA];
} offset_and_metadata;

typedef enum phase { EMPTY, ONGOING, PREPARED } phase;

typedef struct transactional_id {
  uint32_t epoch; /* of the producer that may write */
  phase phase;
  bool commits;    /* what was decided last */
  uint64_t number; /* of the transaction */
  size_t first;    /* written in it */
  offset_and_metadata pending[X_PARTS];
} transactional_id;

/* In the topics of the outputs, in their order. */
typedef struct written {
  int id;
  uint64_t number;
  int index; /* the record's */
  int64_t offset;
  int which;
  bool visible;
} written;

typedef struct late_request {
  int id;
  uint32_t epoch;
  bool ends;
  bool commits;
  uint64_t generation;
  offset_and_metadata items[X_PARTS];
} late_request;

static struct {
  transactional_id ids[X_MEMBERS];
  offset_and_metadata committed[X_PARTS];
  late_request late[LATE_MAX];
  int late_count;
  written *log;
  size_t count;
  size_t capacity;
} b;

void broker_open (void) {
  written *log = b.log;
  size_t capacity = b.capacity;
  memset(&b, 0, sizeof(b));
  b.log = log;
  b.capacity = capacity;
}

void broker_close (void) {
  free(b.log);
  b.log = NULL;
  b.count = b.capacity = 0;
}

/*
** What is covered
*/

static bool is_done (const strand_payload *payload, int64_t offset) {
  if (offset > payload->highest) return false;
  for (size_t i = 0; i < payload->run_count; i++) {
    if (payload->runs[i].first <= offset && offset <= payload->runs[i].last)
      return false;
  }
  return true;
}

static void decode (int64_t committed, const char *metadata,
                    strand_payload *payload) {
  const char *problem;
  CHECK(strand_payload_decode(committed, metadata, strlen(metadata), payload,
                              &problem)
          == STRAND_OK,
        "metadata");
}

bool broker_covers (int64_t committed, const char *metadata, int64_t offset) {
  strand_payload payload;
  bool done;
  if (offset < committed) return true;
  if (metadata[0] == '\0') return false;
  decode(committed, metadata, &payload);
  done = is_done(&payload, offset);
  strand_payload_free(&payload);
  return done;
}

/*
** Checks
*/

static int wanted (made what, int which) {
  if (which == X_OUTPUTS) return what == MADE_DEAD_LETTER;
  if (what == MADE_ONE) return which == 0;
  return what == MADE_TWO;
}

/* X2 */
static void check_end (int id, int index, int offset) {
  const x_entry *e = &x.parts[index].log[offset];
  CHECK(e->made[id] != MADE_NOTHING, "X2: %d/%d is covered, and has not ended",
        index, offset);
  for (int i = 0; i <= X_OUTPUTS; i++) {
    CHECK(e->visible[i] == wanted((made)e->made[id], i),
          "X2: %d/%d is covered, and its output %d visible %d times", index,
          offset, i, e->visible[i]);
  }
}

/* X2, X5 */
static void check_commit (int id, int index) {
  const offset_and_metadata *c = &b.committed[index];
  x_part *p = &x.parts[index];
  strand_payload payload;
  bool some = c->metadata[0] != '\0';
  if (some) decode(c->offset, c->metadata, &payload);
  for (int i = 0; i < p->count; i++) {
    x_entry *e = &p->log[i];
    bool covered = i < c->offset || (some && is_done(&payload, i));
    CHECK(covered || !e->covered, "X5: %d/%d was covered, and is not", index,
          i);
    if (!e->exists || !covered || e->covered) continue;
    check_end(id, index, i);
    e->covered = true;
  }
  if (some) strand_payload_free(&payload);
}

/* X3. Dead letters have no order, nor what was refused. */
static void check_order (void) {
  int64_t last[X_PARTS][X_KEYS];
  bool by_partition = x.config.ordering == STRAND_BY_PARTITION;
  if (x.config.ordering == STRAND_UNORDERED) return;
  memset(last, -1, sizeof(last));
  for (size_t i = 0; i < b.count; i++) {
    const written *at = &b.log[i];
    const x_entry *e = &x.parts[at->index].log[at->offset];
    int key = by_partition ? 0 : e->key;
    int64_t place = at->offset * X_OUTPUTS + at->which;
    if (!at->visible || at->which == X_OUTPUTS || e->refused) continue;
    CHECK(place > last[at->index][key], "X3: output of %d/%lld", at->index,
          (long long)at->offset);
    last[at->index][key] = place;
  }
}

void broker_check (void) {
  check_order();
}

/* X4 */
static void check_visible (const written *at) {
  CHECK(x.parts[at->index].log[at->offset].covered,
        "X4: %d/%lld is visible, and not covered", at->index,
        (long long)at->offset);
}

/*
** Ends
*/

static void show (written *at) {
  uint8_t *visible = &x.parts[at->index].log[at->offset].visible[at->which];
  at->visible = true;
  ++*visible;
  CHECK(*visible == 1, "X1: output %d of %d/%lld", at->which, at->index,
        (long long)at->offset);
  x_count(at->which == X_OUTPUTS ? EXACTLY_DEAD_LETTERS : EXACTLY_OUTPUTS);
}

static void visit (const transactional_id *t, int id,
                   void (*each)(written *)) {
  for (size_t i = t->first; i < b.count; i++) {
    if (b.log[i].id == id && b.log[i].number == t->number) each(&b.log[i]);
  }
}

static void check_written (written *at) {
  check_visible(at);
}

static void write_commit (int id) {
  transactional_id *t = &b.ids[id];
  visit(t, id, show);
  for (int i = 0; i < X_PARTS; i++) {
    if (!t->pending[i].there) continue;
    b.committed[i] = t->pending[i];
    check_commit(id, i);
  }
  visit(t, id, check_written);
  if (sim_chance(x.w, 10)) check_order();
  x_count(EXACTLY_COMMITTED);
}

/* The markers: what was decided is so now. */
static void write_end (int id) {
  transactional_id *t = &b.ids[id];
  sim_note(x.w, t->commits ? "committed" : "aborted", id, -1,
           (int64_t)t->number, t->epoch);
  if (t->commits) write_commit(id);
  else x_count(EXACTLY_ABORTED);
  t->phase = EMPTY;
  for (int i = 0; i < X_PARTS; i++) t->pending[i].there = false;
}

static void decide (int id, bool commits) {
  transactional_id *t = &b.ids[id];
  t->phase = PREPARED;
  t->commits = commits;
  if (!x_happens(20)) write_end(id);
}

static void begin (int id) {
  transactional_id *t = &b.ids[id];
  if (t->phase == ONGOING) return;
  t->phase = ONGOING;
  t->number++;
  t->first = b.count;
}

/*
** Requests
*/

reply broker_init (int id, uint32_t *epoch) {
  transactional_id *t = &b.ids[id];
  if (t->phase == PREPARED) return REPLY_BUSY;
  t->epoch++;
  if (t->phase == ONGOING) {
    decide(id, false);
    if (t->phase == PREPARED)
      return REPLY_BUSY; /* again, with another epoch */
  }
  t->commits = false;
  *epoch = t->epoch;
  return REPLY_OK;
}

static reply admit (int id, uint32_t epoch) {
  const transactional_id *t = &b.ids[id];
  if (t->epoch != epoch) return REPLY_FENCED;
  return t->phase == PREPARED ? REPLY_BUSY : REPLY_OK;
}

reply broker_write (int id, uint32_t epoch, int index, int64_t offset,
                    int which) {
  reply r = admit(id, epoch);
  if (r != REPLY_OK) return r;
  begin(id);
  if (b.count == b.capacity) {
    b.capacity = b.capacity == 0 ? 1024 : b.capacity * 2;
    b.log = realloc(b.log, b.capacity * sizeof(*b.log));
  }
  b.log[b.count++] = (written){ id,   b.ids[id].number, index, offset, which,
                                false };
  return REPLY_OK;
}

static int part_of (const strand_commit_item *item) {
  return (int)(intptr_t)strand_partition_opaque(item->partition) % X_PARTS;
}

static void copy_items (offset_and_metadata items[X_PARTS],
                        const strand_commit *commit) {
  for (size_t i = 0; i < commit->count; i++) {
    offset_and_metadata *to = &items[part_of(&commit->items[i])];
    to->there = true;
    to->offset = commit->items[i].offset;
    snprintf(to->metadata, sizeof(to->metadata), "%s",
             commit->items[i].metadata);
  }
}

static bool fits (const offset_and_metadata items[X_PARTS]) {
  for (int i = 0; i < X_PARTS; i++) {
    if (items[i].there && strlen(items[i].metadata) > x.takes) return false;
  }
  return true;
}

/* The broker asks for the generation, and not for who has a partition. */
static reply take_offsets (int id, uint32_t epoch, uint64_t generation,
                           const offset_and_metadata items[X_PARTS]) {
  reply r = admit(id, epoch);
  if (r != REPLY_OK) return r;
  if (generation != x.generation) return REPLY_GENERATION;
  if (!fits(items)) return REPLY_TOO_LARGE;
  begin(id);
  for (int i = 0; i < X_PARTS; i++) {
    if (items[i].there) b.ids[id].pending[i] = items[i];
  }
  return REPLY_OK;
}

reply broker_offsets (int id, uint32_t epoch, uint64_t generation,
                      const strand_commit *commit) {
  offset_and_metadata items[X_PARTS] = { 0 };
  copy_items(items, commit);
  return take_offsets(id, epoch, generation, items);
}

/* Asked again it says the same. */
reply broker_end (int id, uint32_t epoch, bool commits) {
  transactional_id *t = &b.ids[id];
  if (t->epoch != epoch) return REPLY_FENCED;
  if (t->phase == ONGOING) decide(id, commits);
  else
    CHECK(t->commits == commits || (!commits && t->phase == EMPTY),
          "an end that is another than was decided");
  return REPLY_OK;
}

reply broker_read (int index, int64_t *offset, const char **metadata) {
  for (int i = 0; i < X_MEMBERS; i++) {
    if (b.ids[i].pending[index].there) return REPLY_UNSTABLE;
  }
  *offset = b.committed[index].there ? b.committed[index].offset : -1;
  *metadata = b.committed[index].metadata;
  return REPLY_OK;
}

/*
** What is late
*/

static late_request *add_late (int id, uint32_t epoch) {
  late_request *l;
  if (b.late_count == LATE_MAX) return NULL;
  x_count(EXACTLY_LATE);
  l = &b.late[b.late_count++];
  memset(l, 0, sizeof(*l));
  l->id = id;
  l->epoch = epoch;
  return l;
}

void broker_offsets_late (int id, uint32_t epoch, uint64_t generation,
                          const strand_commit *commit) {
  late_request *l = add_late(id, epoch);
  if (l == NULL) return;
  l->generation = generation;
  copy_items(l->items, commit);
}

void broker_end_late (int id, uint32_t epoch, bool commits) {
  late_request *l = add_late(id, epoch);
  if (l == NULL) return;
  l->ends = true;
  l->commits = commits;
}

static void take_late (int i) {
  late_request l = b.late[i];
  b.late[i] = b.late[--b.late_count];
  sim_note(x.w, "late", l.id, -1, l.ends, l.epoch);
  if (l.ends) broker_end(l.id, l.epoch, l.commits);
  else take_offsets(l.id, l.epoch, l.generation, l.items);
}

void broker_hurry (int id) {
  for (int i = b.late_count - 1; i >= 0; i--) {
    if (b.late[i].id == id) take_late(i);
  }
}

/* The transaction's time is over. */
static void expire (int id) {
  transactional_id *t = &b.ids[id];
  if (t->phase != ONGOING) return;
  x_count(EXACTLY_EXPIRED);
  t->epoch++;
  decide(id, false);
}

/* Another process, with the same id. */
static void stranger (int id) {
  uint32_t epoch;
  x_count(EXACTLY_STRANGERS);
  broker_init(id, &epoch);
}

void broker_turn (void) {
  int id = sim_pick(x.w, X_MEMBERS);
  if (b.ids[id].phase == PREPARED) write_end(id);
  if (b.late_count > 0 && (!x.faults || sim_chance(x.w, 20)))
    take_late(sim_pick(x.w, b.late_count));
  if (x_happens(1)) expire(id);
  if (x_happens(1) && sim_chance(x.w, 20)) stranger(id);
}

/*
** reader.c - records out of librdkafka, a partition's queue at a time
**
** A queue is read with a timeout of 0 (above 0 the call waits its full
** timeout unless the array is filled), and only while its partition is
** within its share and has not enough to start already: what is left unread
** stays in librdkafka, which stops fetching at its own limit, and our own
** memory stays in the processor's caches. Messages are destroyed as soon as
** their bytes are copied.
**
** From 2.2 to 2.13.1 the call that reads many messages takes the end of a
** partition for a record: a partition that is paused there, as what stays in a
** cooperative rebalance is, goes on one offset behind it. That is out of range
** for the broker, and librdkafka resets the position by auto.offset.reset,
** also when it has been sought since. So there messages are read one by one.
*/
#include "member/reader.h"

#include <assert.h>
#include <dlfcn.h>

#include "base/clock.h"
#include "kafka/conf.h"
#include "kafka/wire.h"
#include "member/packed_headers.h"

#define READ_MOST 256   /* messages of one call */
#define READ_FEW 32     /* where only this partition has nothing to start */
#define TURN_MOST 1024  /* of one turn of the owner */
#define ENOUGH_LEAST 64 /* of one partition */

void strand_reader_init (strand_reader *reader, const strand_owner *owner,
                         const strand_assignment *assignment,
                         const strand_membership *membership,
                         strand_positions *positions,
                         const strand_health *health, strand_outage *outage,
                         strand_snapshot *snapshot) {
  *reader = (strand_reader){ .owner = owner,
                             .assignment = assignment,
                             .membership = membership,
                             .positions = positions,
                             .health = health,
                             .outage = outage,
                             .snapshot = snapshot };
}

void strand_reader_limit (strand_reader *reader, size_t max_ready) {
  reader->max_ready = max_ready;
}

void strand_reader_wake (strand_reader *reader) {
  reader->ready = true;
}

typedef int32_t leader_epoch_of (const rd_kafka_message_t *message);

/* Since librdkafka 2.1. */
static leader_epoch_of *leader_epoch (void) {
  static _Atomic(leader_epoch_of *) found;
  /* Each is written by the owners that come first, all the same value. */
  static atomic_bool searched;
  if (!atomic_load(&searched)) {
    void *symbol = dlsym(RTLD_DEFAULT, "rd_kafka_message_leader_epoch");
    leader_epoch_of *function;
    memcpy(&function, &symbol, sizeof(function));
    atomic_store(&found, function);
    atomic_store(&searched, true);
  }
  return atomic_load(&found);
}

static void set_timestamp (strand_record *r, const rd_kafka_message_t *msg) {
  rd_kafka_timestamp_type_t type;
  r->timestamp_ms = rd_kafka_message_timestamp(msg, &type);
  r->timestamp_type = STRAND_TIMESTAMP_NONE;
  if (type == RD_KAFKA_TIMESTAMP_CREATE_TIME) {
    r->timestamp_type = STRAND_TIMESTAMP_CREATE;
  }
  else if (type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME) {
    r->timestamp_type = STRAND_TIMESTAMP_APPEND;
  }
}

/* Behind all else. */
static void set_epoch (strand_record *r, int32_t epoch) {
  char *end = r->bytes + strand_record_length(r);
  r->flags |= STRAND_RECORD_EPOCH;
  memcpy(end, &epoch, STRAND_EPOCH_LENGTH);
}

static strand_record *copy_out (strand_reader *reader,
                                strand_assigned *assigned,
                                const rd_kafka_message_t *msg) {
  rd_kafka_headers_t *headers = NULL;
  size_t key = msg->key != NULL ? msg->key_len : 0;
  size_t value = msg->payload != NULL ? msg->len : 0, packed = 0;
  leader_epoch_of *epoch_of = leader_epoch();
  int32_t epoch = epoch_of != NULL ? epoch_of(msg) : -1;
  strand_record *r;
  if (!strand_wire_no_headers(msg->key, key, msg->payload, value)
      && rd_kafka_message_headers(msg, &headers) == 0) {
    packed = strand_packed_headers(headers, NULL);
  }
  r = strand_engine_room(reader->owner->engine, assigned->partition,
                         key + value + packed
                           + (epoch < 0 ? 0 : STRAND_EPOCH_LENGTH));
  if (r == NULL) return NULL;
  r->offset = msg->offset;
  r->key_length = (uint32_t)key;
  r->value_length = (uint32_t)value;
  r->headers_length = (uint32_t)packed;
  if (msg->key != NULL) r->flags |= STRAND_RECORD_KEY;
  if (msg->payload != NULL) r->flags |= STRAND_RECORD_VALUE;
  if (key > 0) memcpy(r->bytes, msg->key, key);
  if (value > 0) memcpy(r->bytes + key, msg->payload, value);
  if (packed > 0) strand_packed_headers(headers, r->bytes + key + value);
  if (epoch >= 0) set_epoch(r, epoch);
  set_timestamp(r, msg);
  return r;
}

/* There was no memory for the record: it is read again. */
static void read_again (strand_reader *reader, strand_assigned *assigned,
                        int64_t offset, int64_t now_us) {
  int64_t position = strand_partition_position(assigned->partition);
  strand_position_place(reader->positions, assigned,
                        position >= 0 ? position : offset, now_us);
}

/* False: the rest of what was read is not wanted. */
static bool take_record (strand_reader *reader, strand_assigned *assigned,
                         const rd_kafka_message_t *msg, int64_t now_us) {
  int64_t position = strand_partition_position(assigned->partition);
  strand_added added = STRAND_ADDED_ENOMEM;
  strand_record *r;
  if (strand_position_is_unseen(assigned)
      && !strand_position_accept(reader->positions, assigned, msg->offset,
                                 now_us))
    return false;
  r = copy_out(reader, assigned, msg);
  if (r != NULL) {
    added = strand_engine_admit(reader->owner->engine, assigned->partition, r,
                                now_us);
  }
  switch (added) {
    case STRAND_ADDED_EARLIER:
      strand_position_below(reader->positions, assigned, msg->offset);
      return false;
    case STRAND_ADDED_ENOMEM:
      read_again(reader, assigned, msg->offset, now_us);
      return false;
    default: break;
  }
  if (position >= 0 && msg->offset > position) {
    strand_starts_gap(assigned, position, msg->offset);
  }
  return true;
}

static bool take_end (strand_reader *reader, strand_assigned *assigned,
                      int64_t offset, int64_t now_us) {
  int64_t position = strand_partition_position(assigned->partition);
  if (strand_position_is_unseen(assigned)
      && !strand_position_accept(reader->positions, assigned, offset, now_us))
    return false;
  if (offset < position) {
    strand_position_below(reader->positions, assigned, offset);
    return false;
  }
  if (strand_engine_reach(reader->owner->engine, assigned->partition, offset)
      != STRAND_OK) {
    return true; /* said again at the next end */
  }
  if (position >= 0 && offset > position) {
    strand_starts_gap(assigned, position, offset);
  }
  assigned->end = offset;
  strand_engine_drained(reader->owner->engine, assigned->partition, true);
  return true;
}

static bool take (strand_reader *reader, strand_assigned *assigned,
                  const rd_kafka_message_t *msg, int64_t now_us) {
  if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR
      || msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    strand_health_read(reader->health, assigned);
    if (strand_position_claims(assigned)
        && !strand_position_accept_length(reader->positions, assigned, msg,
                                          now_us))
      return false;
  }
  if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    return take_record(reader, assigned, msg, now_us);
  }
  if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    return take_end(reader, assigned, msg->offset, now_us);
  }
  strand_health_error(reader->health, msg->err, rd_kafka_message_errstr(msg),
                      strand_partition_topic(assigned->partition),
                      strand_partition_index(assigned->partition), now_us);
  if (msg->err != RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) return true;
  strand_position_stuck(reader->positions, assigned, now_us);
  return false;
}

void strand_reader_hear (strand_reader *reader, rd_kafka_resp_err_t err,
                         const char *text) {
  const strand_partition *p = reader->reading != NULL
                                ? reader->reading->partition
                                : NULL;
  if (p == NULL) return;                             /* it is an event, too */
  if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) { /* or its topic, gone? */
    strand_outage_verify(reader->outage, strand_clock_us());
    return;
  }
  strand_health_error(reader->health, err, text, strand_partition_topic(p),
                      strand_partition_index(p), strand_clock_us());
}

/* What may start is twice what is handed over. */
static bool all_have_enough (const strand_reader *reader) {
  return strand_engine_startable(reader->owner->engine, NULL)
         >= 2 * reader->max_ready;
}

static bool reads_ends_well (void) {
  return strand_conf_version_at_least(2, 13, 2)
         || !strand_conf_version_at_least(2, 2, 0);
}

static ssize_t consume (const strand_reader *reader, rd_kafka_queue_t *queue,
                        rd_kafka_message_t **msgs, size_t most) {
  size_t got = 0;
  if (!reader->membership->cooperative || reads_ends_well())
    return rd_kafka_consume_batch_queue(queue, 0, msgs, most);
  while (got < most && (msgs[got] = rd_kafka_consume_queue(queue, 0)) != NULL)
    got++;
  return (ssize_t)got;
}

/* One record of it at a time, whatever is full or paused: it goes elsewhere
** when something has come. */
static bool is_awaited (const strand_assigned *assigned) {
  return !assigned->leaving
         && (strand_position_is_astray(assigned)
             || (assigned->seeking && strand_position_is_unbegun(assigned)));
}

static size_t read_one (strand_reader *reader, strand_assigned *assigned,
                        int64_t now_us) {
  rd_kafka_message_t *msgs[READ_MOST];
  size_t most = is_awaited(assigned)
                  ? 1
                  : strand_engine_read_limit(
                    reader->owner->engine, assigned->partition,
                    all_have_enough(reader) ? READ_FEW : READ_MOST);
  ssize_t got;
  bool wanted = true;
  reader->reading = assigned;
  got = consume(reader, assigned->queue, msgs, most);
  reader->reading = NULL;
  assigned->more = got == (ssize_t)most;
  if (got <= 0) {
    strand_engine_drained(reader->owner->engine, assigned->partition, true);
    return 0;
  }
  strand_engine_drained(reader->owner->engine, assigned->partition, false);
  for (ssize_t i = 0; i < got; i++) {
    wanted = wanted && take(reader, assigned, msgs[i], now_us);
    rd_kafka_message_destroy(msgs[i]);
  }
  strand_snapshot_change(reader->snapshot);
  return (size_t)got;
}

/* Of many partitions each has little: more would only wait, in memory that
** is far away by the time it is its turn. */
static bool has_enough (const strand_reader *reader,
                        const strand_assigned *assigned) {
  size_t enough = 2 * reader->max_ready / reader->assignment->count;
  size_t startable = strand_engine_startable(reader->owner->engine,
                                             assigned->partition);
  if (enough < ENOUGH_LEAST) enough = ENOUGH_LEAST;
  if (startable < enough && (startable == 0 || !all_have_enough(reader))) {
    return false;
  }
  return !strand_engine_short(reader->owner->engine, assigned->partition);
}

static bool is_readable (const strand_reader *reader,
                         const strand_assigned *assigned) {
  return assigned->more && assigned->partition != NULL
         && strand_position_is_readable(assigned)
         && (is_awaited(assigned)
             || (!has_enough(reader, assigned)
                 && strand_engine_may_read(reader->owner->engine,
                                           assigned->partition)));
}

/* Partitions take turns at being the first. A queue that may not be read now
** is remembered: librdkafka tells of it only when it was empty before. */
void strand_reader_read (strand_reader *reader, int64_t now_us) {
  size_t total = 0, count = reader->assignment->count;
  bool ready = reader->ready;
  reader->ready = false;
  if (reader->owner->phase != STRAND_SERVING) return;
  for (size_t i = 0; i < count; i++) {
    strand_assigned *assigned =
      reader->assignment->partitions[(reader->next + i) % count];
    if (ready) assigned->more = true;
    if (total < TURN_MOST && is_readable(reader, assigned)) {
      total += read_one(reader, assigned, now_us);
    }
  }
  reader->next++;
}

bool strand_reader_busy (const strand_reader *reader) {
  if (reader->owner->phase != STRAND_SERVING) return false;
  for (size_t i = 0; i < reader->assignment->count; i++) {
    if (is_readable(reader, reader->assignment->partitions[i])) return true;
  }
  return false;
}

void strand_reader_check (const strand_reader *reader) {
  (void)reader;
  assert(reader->reading == NULL); /* (1) */
}

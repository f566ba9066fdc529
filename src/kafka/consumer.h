/*
** consumer.h - a parallel consumer: members, workers, and what a program may
** ask of them
**
**        lua thread                owners (one a member)      workers
**   open   |                          |                          |
**   start  |-- starts --------------->|------------------------->|
**          |<- handlers loaded -------------------------------- -|
**          |                          |-- batches (mailbox) ---->|
**          |                          |<- outcome slots ---------|
**   step   |<- events, logs, tokens --|                          |
**   close  |-- request -------------->| finishes, commits, leaves|
**
** Nothing here waits for an owner, except strand_consumer_start for the
** handlers to be loaded and strand_consumer_discard: requests are tickets or
** flags, answers wake fd(), and what is shown comes from a snapshot that each
** owner publishes at most four times a second.
**
** Thread: lua (whoever opened it), all functions.
*/
#ifndef STRAND_CONSUMER_H
#define STRAND_CONSUMER_H

#include "core/engine.h"
#include "kafka/conf.h"
#include "kafka/event.h"
#include "kafka/worker.h"

typedef struct strand_consumer strand_consumer;

typedef struct strand_route {
  const char *topic;          /* a name, "^pattern", or NULL for every topic */
  strand_route_limits limits; /* its policy: for what the handler leaves
                                 to it */
  int64_t deadline_us;        /* of one call of the handler; 0: none */
  bool own_retry;     /* the policy is the route's but for 'exhausted': */
  bool own_exhausted; /* configure() leaves alone what is the route's own */
  bool own_deadline;
} strand_route;

/* What configure() may change; all of the consumer, not of a member. */
typedef struct strand_limits {
  unsigned workers;     /* 1 to 256 */
  size_t max_in_flight; /* handlers that have started */
  size_t max_ready;     /* records handed over and not started */
  size_t max_buffered_records;
  size_t max_buffered_bytes;
  size_t max_waiting_records;
  size_t max_waiting_bytes;
  int64_t commit_interval_us;
  int64_t revoke_grace_us;
  int64_t slow_after_us; /* in the handler, before it is an event; 0: never */
  int64_t deadline_us;   /* in the handler; 0: none */
  strand_rate rate;
  strand_policy policy;
} strand_limits;

typedef enum strand_letter_reason {
  STRAND_REASON_TEXT,
  STRAND_REASON_CLASS, /* what kind of end it was, nothing of its text */
  STRAND_REASON_NONE
} strand_letter_reason;

/* Where dead letters go, and how. */
typedef struct strand_letters_config {
  const char *topic;   /* NULL: there are none */
  bool same_partition; /* the number of the source's; else by the key */
  strand_letter_reason reason;
  size_t max_reason;            /* bytes of the header */
  bool allow_value_drop;        /* of one that is too large with it */
  const strand_property *kafka; /* of the producer: all of them */
  size_t kafka_count;
  const char *partitioner; /* librdkafka's name; NULL: murmur2_random */
} strand_letters_config;

/* Borrowed during strand_consumer_open, and copied; but 'handler' is taken
** (released also on failure). */
typedef struct strand_consumer_config {
  const strand_property *kafka;
  size_t kafka_count;
  const char *const *topics;
  size_t topic_count;
  unsigned members;
  bool has_oauth;
  bool has_log;
  bool has_events; /* else failures are warnings in the log */
  strand_ordering ordering;
  const char *ordering_header; /* NULL: the key */
  bool null_key_unordered;
  size_t max_metadata;
  bool unreadable_fail;
  bool park_alone; /* parked_holds = "record" */
  strand_letters_config letters;
  strand_limits limits;
  const strand_route *routes; /* the first that matches a topic is taken */
  size_t route_count;
  strand_handler handler;
} strand_consumer_config;

/* NULL and a failure; code "OPTION" for a property librdkafka refuses. Makes
** the clients, but connects to nothing. */
strand_consumer *strand_consumer_open (const strand_consumer_config *config,
                                       strand_failure *failure);

/* Once. False and a failure: "HANDLER" when a worker could not load its
** handlers (the group was not joined). */
bool strand_consumer_start (strand_consumer *c, strand_failure *failure);

/* "new", "running", "closing", "closed". */
const char *strand_consumer_state (const strand_consumer *c);

/* 1: every member has joined once; 0: not yet; -1 and a failure: it never
** will. */
int strand_consumer_joined (strand_consumer *c, strand_failure *failure);

/* Readable, level-triggered, while something waits to be taken: an event, a
** log line, a token request, an answer to a ticket, the first join, an
** ending, or the end of a close. -1: its end was told. */
int strand_consumer_fd (strand_consumer *c);

bool strand_consumer_next_event (strand_consumer *c, strand_event *event);
/* Only with has_log. */
bool strand_consumer_next_log (strand_consumer *c, strand_log_line *line);

/* Something that was taken is in the caller's hands, and not given on: fd is
** readable as if it still waited. */
void strand_consumer_hold (strand_consumer *c, bool held);
/* The same for what the caller may keep for long: fd becomes readable. */
void strand_consumer_keep (strand_consumer *c, bool kept);

/* A token is asked for: true until one is set, or failed. */
bool strand_consumer_oauth_needed (strand_consumer *c);
/* 'expires_ms' since 1970. For all members. */
bool strand_consumer_oauth_set (strand_consumer *c, const char *token,
                                int64_t expires_ms, const char *principal,
                                strand_failure *failure);
void strand_consumer_oauth_fail (strand_consumer *c, const char *message);

typedef enum strand_close_mode {
  STRAND_CLOSE_FINISH, /* what is in flight ends */
  STRAND_CLOSE_DRAIN,  /* all that was fetched, each due retry once */
  STRAND_CLOSE_NOW
} strand_close_mode;

/* What asks the consumer to end, until that was told: true, its mode, and its
** reason (code "STOPPED" for a handler's stop_consumer). */
bool strand_consumer_ending (strand_consumer *c, strand_close_mode *mode,
                             strand_failure *reason);
/* Its end has been begun. */
void strand_consumer_ending_told (strand_consumer *c);

/* Again with NOW while it is closing: hurries. On a consumer that was never
** started it closes at once. */
void strand_consumer_close_begin (strand_consumer *c, strand_close_mode mode,
                                  double timeout);

typedef struct strand_place {
  char *topic;
  int32_t partition;
  int64_t offset;
  const char *state; /* unfinished records: as strand_record_state */
} strand_place;

typedef struct strand_report {
  uint64_t done;
  uint64_t failed; /* attempts */
  uint64_t skipped;
  uint64_t dead_lettered;
  uint64_t parked;          /* now, or at the end */
  uint64_t lost;            /* partitions' records cut off without a commit */
  double seconds;           /* since start */
  bool detached;            /* something ends in the background */
  strand_place *unfinished; /* polled and not done, lowest first, at most
                                STRAND_REPORT_UNFINISHED_MAX */
  size_t unfinished_count;
  uint64_t unfinished_total;
  strand_place *committed; /* the last acknowledged offset of each partition
                                that was ever committed */
  size_t committed_count;
  strand_failure failure; /* of the last commit, say; code "" for none */
} strand_report;

#define STRAND_REPORT_UNFINISHED_MAX 1000

/* False while the close goes on: until all members left, or timeout + 1 s. */
bool strand_consumer_close_wait (strand_consumer *c);
/* So far, or final. The caller frees it by strand_report_clear. False when
** memory runs out. */
bool strand_consumer_report (strand_consumer *c, strand_report *report);
void strand_report_clear (strand_report *report);

/* A request that the owners answer. */
typedef struct strand_ticket strand_ticket;

strand_ticket *strand_consumer_commit (strand_consumer *c,
                                       strand_failure *failure);

typedef enum strand_seek_kind {
  STRAND_SEEK_OFFSET,
  STRAND_SEEK_TIME, /* 'value' is milliseconds since 1970 */
  STRAND_SEEK_EARLIEST,
  STRAND_SEEK_LATEST
} strand_seek_kind;

/* Fails at once with "NOT_ASSIGNED" when no member has the partition. */
strand_ticket *strand_consumer_seek (strand_consumer *c, const char *topic,
                                     int32_t partition, strand_seek_kind kind,
                                     int64_t value, strand_failure *failure);
/* A copy of a parked record. Times are seconds since 1970. */
typedef struct strand_parked {
  struct strand_parked *next;
  strand_record *record; /* of no partition; its attempt is the one that
                              parked it */
  char topic[250];
  int32_t partition;
  double first_failure;
  double last_failure;
  double since;
  size_t reason_length;
  char reason[STRAND_REASON_MAX];
} strand_parked;

/* A page of them: one record, or as many as fit. */
#define STRAND_PARKED_PAGE_RECORDS 256
#define STRAND_PARKED_PAGE_BYTES (1024u * 1024u)

/* Asks a member for its parked records, by topic ("" is before all),
** partition and offset: the first page of those from there on. */
strand_ticket *strand_consumer_parked (strand_consumer *c, unsigned member,
                                       const char *topic, int32_t partition,
                                       int64_t offset,
                                       strand_failure *failure);
/* Of such a ticket that is done; owned by it. NULL: there are no more. */
const strand_parked *strand_ticket_parked (const strand_ticket *ticket);

/* "NOT_ASSIGNED", "NOT_PARKED", "NO_DEAD_LETTER_TOPIC". Answered when the
** owner knows; it is carried out when it is the record's turn. */
strand_ticket *strand_consumer_resolve (strand_consumer *c, const char *topic,
                                        int32_t partition, int64_t offset,
                                        strand_resolution resolution,
                                        strand_failure *failure);

/* 1: done; 0: goes on; -1 and a failure. */
int strand_ticket_done (strand_ticket *ticket, strand_failure *failure);
/* Nobody asks for it any more. */
void strand_ticket_drop (strand_ticket *ticket);

/* 'topic' NULL: every topic; 'partition' -1: every one of the topic. A rule,
** which also applies to later assignments; resume takes away the rules that
** it covers. False and a failure when memory runs out. */
bool strand_consumer_pause (strand_consumer *c, const char *topic,
                            int32_t partition, bool paused,
                            strand_failure *failure);

/* Policy and deadline: for each route that has none of its own. Workers that
** are missing are started, with 'workers' 0 they are left alone. False and a
** failure: all is as it was. */
bool strand_consumer_configure (strand_consumer *c,
                                const strand_limits *limits,
                                strand_failure *failure);
/* Codes of DESIGN 7: "" when all is well. */
void strand_consumer_health (strand_consumer *c, strand_failure *problem);

typedef struct strand_partition_view {
  strand_partition_stats stats; /* its strings are owned by the view */
  int64_t end;                  /* the partition's end; -1: not known */
  char topic[250];
  unsigned member;
} strand_partition_view;

typedef struct strand_blocker {
  char topic[250];
  int32_t partition;
  int64_t offset;
  bool has_key;
  char key[STRAND_EVENT_KEY_MAX];
  size_t key_length;
  double age;        /* seconds since it was polled */
  unsigned attempts; /* that have failed */
  const char *state;
  char reason[STRAND_REASON_MAX];
  size_t reason_length;
} strand_blocker;

typedef struct strand_stats {
  strand_engine_stats engine; /* sums */
  unsigned members;
  unsigned workers;      /* threads that serve */
  unsigned busy;         /* of them, in a handler */
  unsigned lost;         /* past their deadline: spares serve for them */
  size_t prefetch_bytes; /* librdkafka's own limit on top */
  uint64_t commits;      /* acknowledged */
  uint64_t commits_failed;
  uint64_t rebalances;
  uint64_t events_dropped;
  uint64_t logs_dropped;
  double idle; /* seconds since a record ended */
  strand_partition_view *partitions;
  size_t partition_count;
  strand_blocker *blockers; /* that hold commits back, oldest first */
  size_t blocker_count;
} strand_stats;

/* A copy of what the owners published last. The caller frees it by
** strand_stats_clear. False when memory runs out. At most 'blockers' of
** those. */
bool strand_consumer_stats (strand_consumer *c, size_t blockers,
                            strand_stats *stats);
void strand_stats_clear (strand_stats *stats);

/* Gives up the consumer: closes it with NOW first where that is still to be
** done, waits at most 'timeout' seconds, and lets what has not ended go on in
** the background: for a second, if 'timeout' is less than two.
** Calls no handler's teardown on this thread. */
void strand_consumer_discard (strand_consumer *c, double timeout);

#endif

/*
** member.h - one group member: its owner thread and what that owns
**
** The owner's loop, each part in its file:
**
**   inbox (member.c)     what the lua thread asked for
**   answers (position.c, seek.c, starts.c) what the helper found: payloads,
**                        watermarks, seeks, starts of logs
**   group (group.c)      rebalances, errors, tokens
**   harvest (handover.c) outcomes back into the engine
**   read (reader.c)      records of partitions that are within their share
**   hand over (handover.c)  batches to the workers
**   letters (letters.c)  dead letters out, and their acknowledgements in
**   commit (committer.c) when one is due
**   view (view.c)        the snapshot that others may look at
**
** and then it sleeps until librdkafka, a worker, the helper, the lua thread
** or a timer has something, at most min(1 s, max.poll.interval / 4): an
** owner that does not poll is expelled from its group.
**
** A member's life:
**
**   SERVING -- close --> ENDING -- nothing in flight, or late --> COMMITTING
**     -- answered, or late --> LEAVING -- left --> DESTROYING -- gone --> OVER
**
**   ENDING      nothing new starts (drain: until nothing is ready)
**   COMMITTING  the last commit; not after a fatal error
**   LEAVING     rd_kafka_consumer_close_queue is served until closed
**   DESTROYING  the helper destroys the client
**   OVER        only leases of handlers that do not return may be out
**
** Thread: owner, but for the functions that say otherwise.
*/
#ifndef STRAND_MEMBER_H
#define STRAND_MEMBER_H

#include "kafka/helper.h"
#include "kafka/shared.h"
#include "kafka/troubles.h"
#include "kafka/waker.h"

typedef struct strand_member strand_member;
typedef struct strand_letters strand_letters;

typedef enum strand_phase {
  STRAND_SERVING,
  STRAND_ENDING,
  STRAND_COMMITTING,
  STRAND_LEAVING,
  STRAND_DESTROYING,
  STRAND_OVER
} strand_phase;

/* An assignment's partition as this side sees it: the engine's tag. Freed
** when it is revoked and no lease of it is out. */
struct strand_tag {
  strand_partition *partition; /* NULL when revoked */
  rd_kafka_queue_t *queue;     /* NULL when revoked */
  unsigned route;
  uint32_t leases;
  uint32_t epoch;
  bool leaving;   /* nothing starts any more: revoked, or closing */
  bool contested; /* another member did not give it up: not restored */
  bool restored;
  bool more;        /* its queue may hold something now */
  bool checking;    /* its position is in doubt: not read */
  bool asked;       /* ...and the helper has that question, or seeks */
  bool again;       /* a rebalance came meanwhile: seek once more */
  bool seeking;     /* the user's seek is under way */
  bool sought;      /* the doubt was settled by going there */
  bool first_seen;  /* a record or the end came since it was placed */
  bool stuck;       /* no offset to go on from; seek() helps */
  bool no_leader;   /* it does not answer, or there is none */
  bool no_route;    /* no handler takes it: never read */
  int64_t target;   /* 'checking': where it goes on; or STRAND_NOWHERE */
  int64_t seen;     /* and what came in place of what was expected */
  int64_t below;    /* what came below the position: a reset; or -1 */
  int64_t low;      /* the log's start, when it was last looked at */
  int64_t end;      /* the partition's end, when it was last reached */
  int64_t claimed;  /* what metadata says is done, up to here, while the
                          log is not known to be so long; or -1 */
  int64_t gap_from; /* what was expected at the gap to look at; -1 */
  int64_t gap_to;
  int64_t gap_us;   /* when gaps may be looked at again */
  bool gap_asked;   /* the helper has the question about it */
  int64_t retry_us; /* when to ask for the committed offset again */
  int64_t backoff_us;
  strand_link letters; /* of its records; letters.c */
  char apart[64];      /* from what the owner writes for each lease */
  atomic_bool stop;    /* read by workers */
};

#define STRAND_NOWHERE RD_KAFKA_OFFSET_INVALID

/* What a position's question to the helper is for. */
typedef enum strand_why {
  STRAND_WHY_DOUBT = 1, /* what came was not expected */
  STRAND_WHY_PLACE,     /* it goes there */
  STRAND_WHY_TARGET,    /* the user's: where is it to go? */
  STRAND_WHY_SEEK       /* the user's: it goes there */
} strand_why;

/* What waits for a commit of this member. */
typedef struct strand_waiter {
  struct strand_waiter *next;
  strand_ticket *ticket;
  bool planned; /* in the commit that is out */
} strand_waiter;

typedef struct strand_seek_request {
  struct strand_seek_request *next;
  strand_ticket *ticket;
  char *topic;
  int32_t partition;
  strand_seek_kind kind;
  int64_t value;
} strand_seek_request;

typedef struct strand_parked_request {
  struct strand_parked_request *next;
  strand_ticket *ticket;
  bool resolves; /* else it asks for a page */
  strand_resolution resolution;
  char topic[250];
  int32_t partition;
  int64_t offset;
} strand_parked_request;

typedef struct strand_release {
  struct strand_release *next;
  strand_held held; /* owns its strings */
} strand_release;

/* What the lua thread and other members ask; under the consumer's lock. */
typedef struct strand_inbox {
  strand_waiter *commits;
  strand_seek_request *seeks;
  strand_release *releases;
  strand_parked_request *parked;
  bool rules;
  bool yields; /* another member gave up what this one has */
  bool limits;
  bool close;
} strand_inbox;

/* Published by the owner, swapped under the consumer's lock. */
typedef struct strand_view {
  strand_engine_stats engine;
  strand_partition_view *partitions;
  size_t partition_count;
  strand_blocker *blockers;
  size_t blocker_count;
  strand_place *unfinished;
  size_t unfinished_count;
  uint64_t unfinished_total;
  uint64_t unfinished_parked;
  bool stopped; /* 'unfinished' is final */
  int64_t published_us;
} strand_view;

#define STRAND_VIEW_BLOCKERS 32
#define STRAND_VIEW_EVERY_US 250000
#define STRAND_VIEW_PART 10          /* of the owner's time, one in so many */
#define STRAND_VIEW_LEAST_US 5000000 /* but at least one in 5 s */

/* A record that runs longer than it should (watchdog.c). */
typedef struct strand_overdue strand_overdue;

/* What is wrong with a topic (topics.c). */
typedef enum strand_plight {
  STRAND_TOPIC_MISSING,
  STRAND_TOPIC_FOUND,
  STRAND_TOPIC_UNASSIGNED,
  STRAND_TOPIC_NO_ROUTE
} strand_plight;

typedef struct strand_topic {
  struct strand_topic *next;
  strand_trouble trouble;
  strand_plight plight;
  int32_t partitions; /* unassigned: how many there are */
  int32_t owned;      /* and are somebody's */
  char name[];
} strand_topic;

struct strand_member {
  strand_opaque opaque;      /* first: log.h */
  strand_consumer *consumer; /* counted while the owner runs */
  unsigned index;
  rd_kafka_t *client; /* NULL when destroyed */
  rd_kafka_queue_t *queue;
  rd_kafka_queue_t *commit_queue;
  strand_helper *helper;
  strand_waker waker;
  strand_inbox inbox;        /* consumer->lock */
  strand_view view;          /* consumer->lock */
  size_t blockers_wanted;    /* consumer->lock; only grows */
  size_t partitions;         /* consumer->lock: counted in the consumer's */
  _Atomic int64_t turned_us; /* when the loop last turned, for health */
  strand_failure problem;    /* consumer->lock: for health; code "": none */
  atomic_bool ending;        /* the helper need not wait for an answer */

  strand_engine *engine;
  strand_letters *letters; /* NULL: no topic for dead letters */
  strand_phase phase;
  strand_route_limits *routes; /* as the engine has them */
  bool joined;
  bool cooperative;
  atomic_bool joining; /* no commit now; set in joining.c */
  bool fatal;
  bool cannot_leave;       /* librdkafka refuses: a fatal error */
  strand_call *destroying; /* for the helper, when the client has left */
  bool queues_ready;       /* librdkafka wrote to the waker */
  bool displaced;          /* 'below' of a tag is set */
  bool more_events;        /* left by the last turn */
  bool halted;             /* what was not claimed came back */
  strand_batch *batches;   /* out, newest first */
  strand_batch *spare;
  unsigned spare_count;
  size_t max_ready;
  size_t batch_most;     /* records of the largest batch of a route */
  strand_bundle *bundle; /* for the next one; or NULL */
  int64_t look_us;       /* next look at the outcomes */
  int64_t look_wait_us;
  int64_t slow_after_us;   /* as in strand_limits */
  strand_overdue *overdue; /* records that run too long */
  int64_t overdue_us;      /* when one of those out is next looked at */

  rd_kafka_event_t *rebalance; /* unanswered */
  int64_t grace_us;            /* until when it waits for handlers */
  int64_t answer_us;           /* until when for its commit */
  bool rebalance_committing;
  int rebalance_tries;

  strand_commit *commit; /* unanswered */
  bool must_rejoin;      /* the last was refused until the next join */
  strand_waiter *waiters;
  strand_seek_request *seeks; /* not begun, in order */
  strand_tag **tags;          /* live, and gone with leases out */
  size_t tag_count;
  size_t tag_capacity;
  strand_places places; /* to the tags that are live */
  size_t next_read;     /* round robin */

  strand_troubles troubles;
  strand_signs signs;
  const strand_tag *reading;     /* while its queue is read: see open_client */
  strand_topic *topics;          /* with which something is wrong */
  strand_failure topics_problem; /* consumer->lock; code "": none */
  int64_t topics_us;             /* when to ask for the missing again */
  bool asking_topics;
  strand_trouble blind; /* the group may not be asked */
  uint32_t assignments; /* so far, and revocations */
  size_t group_size;    /* as last heard of */
  int64_t assigned_us;
  int64_t owners_us;      /* when to ask who has what */
  int64_t owners_wait_us; /* from an assignment to the next try */
  int64_t turn_us;        /* when to subscribe again; 0: not known */
  bool asking_owners;
  int64_t asked_owners_us;
  bool asking_reach;
  bool asking_starts;
  int64_t starts_us; /* when the helper may be asked for starts */
  int64_t old_us;    /* when old records are looked at again */

  int64_t limit_us; /* close: end of the phase */
  int64_t deadline_us;
  strand_close_mode close_mode;
  bool last_commit; /* was made: this one may leave */
  int64_t next_view_us;
  size_t blockers_most;   /* of the last view */
  bool changed;           /* since the last view */
  bool unfinished_told;   /* the report has them */
  strand_failure failure; /* of the last commit; code "": none */
};

/* Thread: lua. Makes the client; connects to nothing. */
strand_member *strand_member_new (strand_consumer *c, unsigned index,
                                  const strand_property *props, size_t count,
                                  strand_failure *failure);
/* Thread: lua. Of a member that never ran. */
void strand_member_free (strand_member *m);
/* Thread: lua. A member that never ran lets its client go, in a thread by
** itself. */
void strand_member_dismiss (strand_member *m);
/* Thread: whoever is last. Closes its descriptors. */
void strand_member_give_back (strand_member *m);
/* Thread: lua. Starts owner and helper. False and a failure. */
bool strand_member_start (strand_member *m, strand_failure *failure);
/* Thread: any. The owner looks at its inbox and at the outcomes. */
void strand_member_wake (strand_member *m);
/* Thread: owner. The handler of a held shard returned: whoever has its
** partition now goes on with it. */
void strand_member_release (strand_consumer *c, const strand_held *held);
/* Its assignment has changed, and with it every member's share of the
** consumer's budgets. */
void strand_member_shares (strand_member *m);

/* group.c */
void strand_group_serve (strand_member *m, int64_t now_us);
/* Goes on with a rebalance that waits for handlers or for its commit. */
void strand_group_advance (strand_member *m, int64_t now_us);
int64_t strand_group_due (const strand_member *m);
/* The partition's epoch ends: leases that are out are held. */
void strand_group_revoke (strand_member *m, strand_tag *tag);
/* 'member' has given it up: who was given it meanwhile hears of it. Its
** handlers' shards are held already. */
void strand_group_yield (strand_consumer *c, const char *topic, int32_t index,
                         unsigned member);
/* Goes on with what was given up. */
void strand_group_claim (strand_member *m);
/* Frees a tag that is revoked and has no lease out, or never came to be. */
void strand_group_drop (strand_member *m, strand_tag *tag);
/* A new epoch of the same partition begins, at 'offset'. NULL: memory ran
** out, and the consumer ends. */
strand_tag *strand_group_restart (strand_member *m, strand_tag *tag,
                                  int64_t offset);
/* Nothing new of the partition starts; what runs ends with its record. */
void strand_group_leave (strand_member *m, strand_tag *tag);
void strand_group_stop_handlers (strand_member *m);
/* It is not a member of the group any more, or cannot become one. */
void strand_group_left (strand_member *m);

void strand_group_want_token (strand_member *m);

/* joining.c */
/* Thread: lua. Its client will be made with 'conf'. */
void strand_joining_watch (strand_member *m, rd_kafka_conf_t *conf);

/* troubles.c */
/* An event, and a line to the log. */
void strand_trouble_tell (strand_member *m, const char *type, const char *code,
                          const char *reason, const char *topic,
                          int32_t index);
void strand_trouble_error (strand_member *m, rd_kafka_resp_err_t err,
                           const char *text, const char *topic,
                           int32_t partition, int64_t now_us);
/* librdkafka's error_cb: what it puts on a partition's queue, and a read
** does not return. */
void strand_trouble_heard (rd_kafka_t *client, int err, const char *text,
                           void *member);
/* librdkafka's throttle_cb, inside the owner's polls. */
void strand_trouble_throttled (rd_kafka_t *client, const char *broker,
                               int32_t id, int wait_ms, void *member);
/* Signs of life, each of one thing. */
void strand_trouble_reached (strand_member *m, int64_t now_us);
void strand_trouble_joined (strand_member *m, int64_t now_us);
/* A record of it, or its end. */
void strand_trouble_read (strand_member *m, strand_tag *tag);
void strand_trouble_committed (strand_member *m, int64_t now_us);
/* Nothing is wrong with a partition that is not ours. */
void strand_trouble_revoked (strand_member *m, strand_tag *tag);
/* The next assignment should come soon, and did not yet. */
void strand_trouble_rejoins (strand_member *m, int64_t now_us);
void strand_trouble_commit_failed (strand_member *m, rd_kafka_resp_err_t err,
                                   int64_t now_us);
int64_t strand_trouble_tick (strand_member *m, int64_t now_us);

/* topics.c */
void strand_topics_init (strand_member *m);
void strand_topics_subscribe (strand_member *m);
/* Nothing that is subscribed to exists: then librdkafka joins no group. */
bool strand_topics_all_missing (const strand_member *m);
/* librdkafka says that the topic does not exist. */
void strand_topics_missing (strand_member *m, const char *topic,
                            int64_t now_us);
/* It was assigned, and no route takes it. */
void strand_topics_no_route (strand_member *m, const char *topic,
                             int64_t now_us);
void strand_topics_assigned (strand_member *m, int64_t now_us);
void strand_topics_revoked (strand_member *m);
/* Answers of the helper. */
void strand_topics_listed (strand_member *m, const strand_call *call,
                           int64_t now_us);
void strand_topics_owners (strand_member *m, const strand_call *call,
                           int64_t now_us);
/* When it wants to be called again. */
int64_t strand_topics_tick (strand_member *m, int64_t now_us);
void strand_topics_free (strand_member *m);

/* known.c */
/* Is it to be told now? Also without memory to remember it. 'refused':
** credentials or rights, which last until a sign of life. */
bool strand_known_hear (strand_member *m, rd_kafka_resp_err_t err,
                        const char *text, const char *topic, int32_t partition,
                        bool refused, int64_t now_us);
/* Tells again what lasts, and forgets what is over. */
void strand_known_tick (strand_member *m, int64_t now_us);
/* What was refused works: of the topic; NULL: of the group. */
void strand_known_works (strand_member *m, const char *topic,
                         int32_t partition);
/* A broker that was asked at 'asked_us' lets us see the topic, whoever in the
** group reads it. */
void strand_known_seen (strand_member *m, const char *topic, int64_t asked_us);
/* The partition is not ours any more. */
void strand_known_gone (strand_member *m, const char *topic,
                        int32_t partition);
/* A refusal, or NULL. */
const strand_known *strand_known_refusal (const strand_member *m);
void strand_known_free (strand_member *m);

/* outage.c: the group, its coordinator, and the leaders of partitions */
void strand_outage_doubt (strand_member *m, int64_t now_us);
void strand_outage_reach (strand_member *m, const strand_call *call,
                          int64_t now_us);
void strand_outage_leaders (strand_member *m, const strand_call *call,
                            int64_t now_us);
int64_t strand_outage_tick (strand_member *m, int64_t now_us);
/* Up to STRAND_PARTITIONS_NAMED_MAX of them. Returns 'text'. */
const char *strand_outage_partitions (const strand_member *m, char *text,
                                      size_t size);

/* signs.c */
/* Thread: lua. Its client will be made with 'conf'. */
void strand_signs_watch (strand_member *m, rd_kafka_conf_t *conf);
/* Is an error's text about the connection to the group's coordinator? */
bool strand_signs_is_coordinator (const char *text);
/* Thread: any. It came up. */
void strand_signs_note (strand_signs *signs, uint64_t broker);
/* The broker that an error's text begins with. */
uint64_t strand_signs_broker (const char *text);
/* Does an error say that there is no token to send? */
bool strand_signs_is_token (const char *text);

/* position.c */
void strand_position_restore (strand_member *m);
void strand_position_answers (strand_member *m, int64_t now_us);
/* The first of what was read is at 'offset', or the end is there. False: it
** is in doubt; drop what was read. */
bool strand_position_expected (strand_member *m, strand_tag *tag,
                               int64_t offset, int64_t now_us);
/* Is the log as long as the commit's metadata says? If not, it is not the
** log of that commit, and what it says is done is not: false, the message is
** to be dropped, and the leader is asked. */
bool strand_position_has_claimed (strand_member *m, strand_tag *tag,
                                  const rd_kafka_message_t *msg,
                                  int64_t now_us);
/* A record, or the end, is at 'offset', below the position: read from there,
** by strand_position_settle, which may free the tag. */
void strand_position_below (strand_member *m, strand_tag *tag, int64_t offset);
void strand_position_settle (strand_member *m, int64_t now_us);
/* librdkafka has no offset to go on from. */
void strand_position_stuck (strand_member *m, strand_tag *tag, int64_t now_us);
/* Goes on at 'offset'; until the helper was there, nothing is read. */
void strand_position_place (strand_member *m, strand_tag *tag, int64_t offset,
                            int64_t now_us);
/* Where it is read from now, also when nothing was read yet. */
int64_t strand_position_home (const strand_tag *tag);
/* A seek did not work: to 'target', after a back-off. */
void strand_position_back (strand_tag *tag, int64_t now_us);
/* False: memory ran out. */
bool strand_position_ask (strand_member *m, const strand_tag *tag,
                          strand_call_kind kind, int64_t offset,
                          strand_why why, void *arg);
/* The event. */
void strand_position_jumped (strand_member *m, const strand_tag *tag,
                             const char *type, int64_t from, int64_t to);
/* After a cooperative rebalance: what stays goes on where it was. */
void strand_position_keep (strand_member *m);
/* Reads on from where it is: the next thing read is new, also the end. */
void strand_position_again (strand_member *m, strand_tag *tag);
int64_t strand_position_tick (strand_member *m, int64_t now_us);

/* starts.c */
int64_t strand_starts_tick (strand_member *m, int64_t now_us);
void strand_starts_answer (strand_member *m, const strand_call *call,
                           int64_t now_us);

/* seek.c */
/* Takes the list, which has the last that was asked for first. */
void strand_seek_take (strand_member *m, strand_seek_request *seeks);
/* Begins those whose turn it is, and drops those nobody waits for. */
void strand_seek_serve (strand_member *m);
/* 'tag' is NULL when the partition is gone. */
void strand_seek_answer (strand_member *m, strand_tag *tag,
                         const strand_call *call, int64_t now_us);

/* reader.c */
void strand_reader_read (strand_member *m, int64_t now_us);
/* Something may be read at once. */
bool strand_reader_busy (const strand_member *m);

/* handover.c */
void strand_handover_harvest (strand_member *m, int64_t now_us);
void strand_handover_post (strand_member *m, int64_t now_us);
/* All that no worker has claimed comes back into the engine. */
void strand_handover_recall (strand_member *m);
bool strand_handover_out (const strand_member *m);
/* If the retry function failed for the lease's first record, which is about
** to end: told once, however often that is tried for want of memory. */
void strand_handover_policy (strand_member *m, const strand_lease *lease,
                             strand_verdict *verdict);
/* Batches that were kept. */
void strand_handover_free (strand_member *m);

/* watchdog.c */
/* How long a call of the handler may take; 0: as it likes. */
int64_t strand_watchdog_deadline (const strand_member *m, unsigned route);
/* The slot's record runs: is it late? */
void strand_watchdog_look (strand_member *m, strand_batch *batch,
                           strand_slot *slot, int64_t now_us);
/* The record of the slot that ran last has ended. */
void strand_watchdog_forget (strand_member *m, const strand_slot *slot);
/* When to look again at those that are out; after all were looked at. */
int64_t strand_watchdog_due (const strand_member *m, int64_t now_us);

/* committer.c */
void strand_committer_serve (strand_member *m, int64_t now_us);
/* Plans and sends one now, unless one is out. False: nothing to send. */
bool strand_committer_send (strand_member *m, int64_t now_us);
/* After one that sent nothing: there is something, but no memory for it. */
bool strand_committer_starved (const strand_member *m);
/* Some of what is done is in no commit, and does not fit in one. */
bool strand_committer_untold (const strand_member *m, strand_failure *failure);
/* There is something to send, when librdkafka has joined. */
bool strand_committer_waits (const strand_member *m);
void strand_committer_wait (strand_member *m, strand_waiter *waiter);
int64_t strand_committer_due (const strand_member *m, int64_t now_us);
void strand_committer_end (strand_member *m);

/* parked.c */
void strand_parked_serve (strand_member *m, strand_parked_request *requests,
                          int64_t now_us);
void strand_parked_free (strand_parked *page);

/* view.c */
void strand_view_publish (strand_member *m, int64_t now_us);
void strand_view_clear (strand_view *view);
void strand_view_unfinished (strand_member *m);

/* Events of a member. 'tag' may be NULL. */
strand_event strand_member_event (const strand_member *m, const char *type,
                                  const strand_tag *tag);
void strand_member_emit (strand_member *m, strand_event *event);
strand_tag *strand_member_tag (const strand_member *m, const char *topic,
                               int32_t partition);

#endif

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
** Nothing here waits for an owner, except strand_consumer_discard: requests are
** tickets or flags, answers wake fd(), and what is shown comes from a snapshot
** that each owner publishes at most four times a second.
**
** Thread: lua (whoever opened it), all functions.
*/
#ifndef STRAND_CONSUMER_H
#define STRAND_CONSUMER_H

#include "shared/settings.h"
#include "shared/stats.h"
#include "shared/ticket.h"

typedef struct strand_consumer strand_consumer;

/* NULL and a failure; code "OPTION" for a property librdkafka refuses. Makes
** the clients, but connects to nothing. */
strand_consumer *strand_consumer_open (const strand_consumer_config *config,
                                       strand_failure *failure);

/* Once. False and a failure. The fd is readable when all workers have loaded
** their handlers. Done: 1; 0: some still load; -1 and a failure: "HANDLER" when
** a worker could not load its handlers (the group was not joined). */
bool strand_consumer_start_begin (strand_consumer *c, strand_failure *failure);
int strand_consumer_start_done (strand_consumer *c, strand_failure *failure);

/* "new", "running", "closing", "closed". */
const char *strand_consumer_state (const strand_consumer *c);

/* 1: every member has joined once; 0: not yet; -1 and a failure: it never
** will. What is not 0 is told with it: fd() is not readable for it again. */
int strand_consumer_take_joined (strand_consumer *c, strand_failure *failure);

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
/* The same for what the caller may keep for long: fd becomes readable. 'full':
** the caller takes no events and lines for now, and it is not for those. */
void strand_consumer_keep (strand_consumer *c, bool kept, bool full);

/* A token is asked for: true until one is set, or failed. */
bool strand_consumer_oauth_needed (strand_consumer *c);
/* One is being fetched: fd is not readable for the request. */
void strand_consumer_oauth_answering (strand_consumer *c, bool on);
/* 'expires_ms' since 1970. For all members. */
bool strand_consumer_oauth_set (strand_consumer *c, const char *token,
                                int64_t expires_ms, const char *principal,
                                strand_failure *failure);
void strand_consumer_oauth_fail (strand_consumer *c, const char *message);

/* What asks the consumer to end, until that was told: true, its mode, and its
** reason (code "STOPPED" for a handler's stop_consumer). */
bool strand_consumer_ending (strand_consumer *c, strand_close_mode *mode,
                             strand_failure *reason);
/* Its end has been begun. */
void strand_consumer_ending_reported (strand_consumer *c);

/* Again with NOW while it is closing: hurries. On a consumer that was never
** started it closes at once. */
void strand_consumer_close_begin (strand_consumer *c, strand_close_mode mode,
                                  double timeout);

/* Carries the close on. False while it does: until all members left, or
** timeout + 1 s; then what is left is detached. */
bool strand_consumer_close_step (strand_consumer *c);
/* So far, or final. The caller frees it by strand_report_clear. False when
** memory runs out. */
bool strand_consumer_report (strand_consumer *c, strand_report *report);

/* Requests that the owners answer: for strand_ticket_done (ticket.h). NULL and
** a failure. */
strand_ticket *strand_consumer_commit (strand_consumer *c,
                                       strand_failure *failure);

/* Fails at once with "NOT_ASSIGNED" when no member has the partition. */
strand_ticket *strand_consumer_seek (strand_consumer *c, const char *topic,
                                     int32_t partition, strand_seek_kind kind,
                                     int64_t value, strand_failure *failure);
/* Asks a member for its parked records, by topic ("" is before all),
** partition and offset: the first page of those from there on. */
strand_ticket *strand_consumer_parked (strand_consumer *c, unsigned member,
                                       const char *topic, int32_t partition,
                                       int64_t offset,
                                       strand_failure *failure);

/* "NOT_ASSIGNED", "NOT_PARKED", "NO_DEAD_LETTER_TOPIC". Answered when the
** owner knows; it is carried out when it is the record's turn. */
strand_ticket *strand_consumer_resolve (strand_consumer *c, const char *topic,
                                        int32_t partition, int64_t offset,
                                        strand_resolution resolution,
                                        strand_failure *failure);

/* Nobody asks for it any more. */
void strand_consumer_drop (strand_ticket *ticket);

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

/* A copy of what the owners published last. The caller frees it by
** strand_stats_clear. False when memory runs out. At most 'blockers' of
** those. */
bool strand_consumer_stats (strand_consumer *c, size_t blockers,
                            strand_stats *stats);

/* Gives up the consumer: closes it with NOW first where that is still to be
** done, waits at most 'timeout' seconds, and lets what has not ended go on in
** the background: for a second, if 'timeout' is 0.
** Calls no handler's teardown on this thread. */
void strand_consumer_discard (strand_consumer *c, double timeout);
/* Its two parts: between them its report can be read. */
void strand_consumer_end (strand_consumer *c, double timeout);
void strand_consumer_give_up (strand_consumer *c);

#endif

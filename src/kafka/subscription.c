/*
** subscription.c - see subscription.h
*/
#include "kafka/subscription.h"

#include <regex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ONE_BY_ONE 8 /* topics; more are asked for as all at once */
#define METADATA_MS 2000
#define GROUP_MS 2000

typedef struct patterns {
  regex_t *list;
  size_t count;
} patterns;

struct strand_subscription {
  const rd_kafka_topic_partition_list_t *topics;
  patterns subscribed;
  patterns excluded; /* topic.blacklist; from patterns and names */
  char *group;
  int64_t session_us;
  bool watched;
};

/*
** What is subscribed
*/

static bool add_pattern (patterns *p, const char *text) {
  regex_t *grown = realloc(p->list, (p->count + 1) * sizeof(regex_t));
  if (grown == NULL) return false;
  p->list = grown;
  if (regcomp(&grown[p->count], text, REG_EXTENDED | REG_NOSUB) != 0) {
    return false;
  }
  p->count++;
  return true;
}

static bool some_matches (const patterns *p, const char *name) {
  for (size_t i = 0; i < p->count; i++) {
    if (regexec(&p->list[i], name, 0, NULL, 0) == 0) return true;
  }
  return false;
}

static void free_patterns (patterns *p) {
  for (size_t i = 0; i < p->count; i++) regfree(&p->list[i]);
  free(p->list);
}

/* Owned by the caller; NULL: there is none, or no memory. */
static char *setting (const rd_kafka_conf_t *conf, const char *name) {
  size_t size = 0;
  char *value;
  if (rd_kafka_conf_get(conf, name, NULL, &size) != RD_KAFKA_CONF_OK) {
    return NULL;
  }
  value = malloc(size + 1);
  if (value == NULL) return NULL;
  value[0] = '\0';
  rd_kafka_conf_get(conf, name, value, &size);
  return value;
}

/* As librdkafka reads it: a comma that is meant stands twice. */
static char *next_of_list (char **rest) {
  char *from = *rest, *to = *rest, *start = *rest;
  if (*from == '\0') return NULL;
  while (*from != '\0' && (*from != ',' || from[1] == ',')) {
    if (*from == ',') from++;
    *to++ = *from++;
  }
  *rest = *from == ',' ? from + 1 : from;
  *to = '\0';
  return start;
}

static bool read_excluded (strand_subscription *s,
                           const rd_kafka_conf_t *conf) {
  char *value = setting(conf, "topic.blacklist");
  char *rest = value, *text;
  bool ok = true;
  while (ok && rest != NULL && (text = next_of_list(&rest)) != NULL) {
    ok = add_pattern(&s->excluded, text);
  }
  free(value);
  return ok;
}

static bool coordinator_assigns (const rd_kafka_conf_t *conf) {
  char *value = setting(conf, "group.protocol");
  bool does = value != NULL && strcasecmp(value, "consumer") == 0;
  free(value);
  return does;
}

static int64_t session_of (const rd_kafka_conf_t *conf) {
  char *value = setting(conf, "session.timeout.ms");
  int64_t ms = value != NULL ? atoll(value) : 0;
  free(value);
  return ms * 1000;
}

strand_subscription *
strand_subscription_new (const rd_kafka_topic_partition_list_t *topics,
                         const rd_kafka_conf_t *conf) {
  strand_subscription *s = calloc(1, sizeof(*s));
  bool ok;
  if (s == NULL) return NULL;
  s->topics = topics;
  s->watched = !coordinator_assigns(conf);
  s->group = setting(conf, "group.id");
  s->session_us = session_of(conf);
  ok = s->group != NULL && read_excluded(s, conf);
  for (int i = 0; ok && i < topics->cnt; i++) {
    const char *name = topics->elems[i].topic;
    if (name[0] == '^') ok = add_pattern(&s->subscribed, name);
  }
  if (ok) return s;
  strand_subscription_free(s);
  return NULL;
}

void strand_subscription_free (strand_subscription *s) {
  if (s == NULL) return;
  free_patterns(&s->subscribed);
  free_patterns(&s->excluded);
  free(s->group);
  free(s);
}

bool strand_subscription_is_watched (const strand_subscription *s) {
  return s->watched;
}

int64_t strand_subscription_session_us (const strand_subscription *s) {
  return s->session_us;
}

static bool has_topic (const rd_kafka_topic_partition_list_t *list,
                       const char *name) {
  for (int i = 0; i < list->cnt; i++) {
    if (strcmp(list->elems[i].topic, name) == 0) return true;
  }
  return false;
}

static bool is_subscribed (const strand_subscription *s, const char *name) {
  if (some_matches(&s->excluded, name)) return false;
  return has_topic(s->topics, name) || some_matches(&s->subscribed, name);
}

bool strand_subscription_finds (const strand_subscription *s,
                                const char *pattern, const char *topic) {
  size_t n = 0;
  if (some_matches(&s->excluded, topic)) return false;
  for (int i = 0; i < s->topics->cnt; i++) {
    const char *name = s->topics->elems[i].topic;
    if (name[0] != '^') continue;
    if (strcmp(name, pattern) == 0) {
      return regexec(&s->subscribed.list[n], topic, 0, NULL, 0) == 0;
    }
    n++;
  }
  return false;
}

/*
** What exists
*/

strand_owners *strand_owners_new (void) {
  strand_owners *owners = calloc(1, sizeof(*owners));
  if (owners == NULL) return NULL;
  owners->topics = rd_kafka_topic_partition_list_new(8);
  return owners;
}

void strand_owners_free (strand_owners *owners) {
  if (owners == NULL) return;
  rd_kafka_topic_partition_list_destroy(owners->topics);
  free(owners);
}

static int32_t count_of (const rd_kafka_topic_partition_list_t *list,
                         const char *topic, int32_t below) {
  int32_t count = 0;
  for (int i = 0; i < list->cnt; i++) {
    const rd_kafka_topic_partition_t *p = &list->elems[i];
    if (p->partition < below && strcmp(p->topic, topic) == 0) count++;
  }
  return count;
}

/* Who has its first partition looks at a topic, and who has none of it. */
static bool is_for_others (const rd_kafka_topic_partition_list_t *mine,
                           const char *name) {
  return has_topic(mine, name) && count_of(mine, name, 1) == 0;
}

static void add_found (strand_owners *owners, const char *name,
                       int32_t partitions,
                       const rd_kafka_topic_partition_list_t *mine) {
  rd_kafka_topic_partition_t *t;
  if (partitions <= 0) return;
  t = rd_kafka_topic_partition_list_add(owners->topics, name, partitions);
  t->offset = is_for_others(mine, name) ? partitions
                                        : count_of(mine, name, partitions);
}

static rd_kafka_resp_err_t
find_all (const strand_subscription *s, rd_kafka_t *client,
          const rd_kafka_topic_partition_list_t *mine, strand_owners *owners) {
  const struct rd_kafka_metadata *all;
  rd_kafka_resp_err_t err = rd_kafka_metadata(client, 1, NULL, &all,
                                              METADATA_MS);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  for (int i = 0; i < all->topic_cnt; i++) {
    const struct rd_kafka_metadata_topic *t = &all->topics[i];
    if (t->err != RD_KAFKA_RESP_ERR_NO_ERROR || !is_subscribed(s, t->topic))
      continue;
    add_found(owners, t->topic, t->partition_cnt, mine);
  }
  rd_kafka_metadata_destroy(all);
  return err;
}

static rd_kafka_resp_err_t
find_one (rd_kafka_t *client, const char *name,
          const rd_kafka_topic_partition_list_t *mine, strand_owners *owners) {
  const struct rd_kafka_metadata *one;
  rd_kafka_topic_t *topic = rd_kafka_topic_new(client, name, NULL);
  rd_kafka_resp_err_t err;
  if (topic == NULL) return rd_kafka_last_error();
  err = rd_kafka_metadata(client, 0, topic, &one, METADATA_MS);
  rd_kafka_topic_destroy(topic);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  if (one->topic_cnt == 1
      && one->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    add_found(owners, name, one->topics[0].partition_cnt, mine);
  }
  rd_kafka_metadata_destroy(one);
  return err;
}

static rd_kafka_resp_err_t find (const strand_subscription *s,
                                 rd_kafka_t *client,
                                 const rd_kafka_topic_partition_list_t *mine,
                                 const atomic_bool *stop,
                                 strand_owners *owners) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (s->subscribed.count > 0 || s->topics->cnt > ONE_BY_ONE) {
    return find_all(s, client, mine, owners);
  }
  for (int i = 0; err == 0 && i < s->topics->cnt; i++) {
    const char *name = s->topics->elems[i].topic;
    if (atomic_load(stop)) return RD_KAFKA_RESP_ERR__DESTROY;
    if (is_for_others(mine, name)) add_found(owners, name, 1, mine);
    else err = find_one(client, name, mine, owners);
  }
  return err;
}

static bool all_have_owners (const strand_owners *owners) {
  for (int i = 0; i < owners->topics->cnt; i++) {
    const rd_kafka_topic_partition_t *t = &owners->topics->elems[i];
    if (t->offset < t->partition) return false;
  }
  return true;
}

/*
** Who has it
**
** By rd_kafka_list_groups: rd_kafka_DescribeConsumerGroups ends the process
** (2.0.2: an assert) when a coordinator goes away while it is asked for.
*/

/* What a member was assigned, as the protocol has it: a version, and topics
** with their partitions. */
typedef struct bytes {
  const unsigned char *at;
  size_t left;
} bytes;

static bool take (bytes *b, size_t size, uint32_t *value) {
  if (b->left < size) return false;
  *value = 0;
  for (size_t i = 0; i < size; i++) *value = *value << 8 | b->at[i];
  b->at += size;
  b->left -= size;
  return true;
}

static bool take_topic (bytes *b, char name[250]) {
  uint32_t length;
  if (!take(b, 2, &length) || length >= 250 || length > b->left) return false;
  memcpy(name, b->at, length);
  name[length] = '\0';
  b->at += length;
  b->left -= length;
  return true;
}

static bool take_partitions (bytes *b, const char *name,
                             rd_kafka_topic_partition_list_t *list) {
  uint32_t count, partition;
  if (!take(b, 4, &count) || count > b->left / 4) return false;
  while (count-- > 0 && take(b, 4, &partition)) {
    rd_kafka_topic_partition_list_add(list, name, (int32_t)partition);
  }
  return true;
}

/* Empty for one that has nothing, or is not understood. */
static rd_kafka_topic_partition_list_t *
assignment_of (const struct rd_kafka_group_member_info *member) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
  bytes b = { member->member_assignment,
              (size_t)member->member_assignment_size };
  uint32_t version, topics;
  char name[250];
  if (!take(&b, 2, &version) || !take(&b, 4, &topics)) return list;
  while (topics-- > 0 && take_topic(&b, name)
         && take_partitions(&b, name, list))
    continue;
  return list;
}

typedef struct share {
  const char *id;
  rd_kafka_topic_partition_list_t *list;
} share;

static void free_shares (share *shares, size_t count) {
  for (size_t i = 0; i < count; i++) {
    rd_kafka_topic_partition_list_destroy(shares[i].list);
  }
  free(shares);
}

static share *shares_of (const struct rd_kafka_group_info *group) {
  share *shares = calloc((size_t)group->member_cnt + 1, sizeof(*shares));
  for (int i = 0; shares != NULL && i < group->member_cnt; i++) {
    shares[i].id = group->members[i].member_id;
    shares[i].list = assignment_of(&group->members[i]);
  }
  return shares;
}

static void count_owned (const share *shares, size_t count,
                         rd_kafka_topic_partition_t *t) {
  t->offset = 0;
  for (size_t i = 0; i < count; i++) {
    t->offset += count_of(shares[i].list, t->topic, t->partition);
  }
}

/* False: this client is none of the group's members any more. */
static bool find_turn (const share *shares, size_t count, const char *id,
                       size_t *turn) {
  size_t me = 0;
  while (me < count && strcmp(shares[me].id, id) != 0) me++;
  if (me == count) return false;
  *turn = 0;
  for (size_t i = 0; i < count; i++) {
    int before = shares[i].list->cnt - shares[me].list->cnt;
    if (before == 0) before = strcmp(shares[i].id, id);
    if (before < 0) ++*turn;
  }
  return true;
}

static rd_kafka_resp_err_t read_group (rd_kafka_t *client,
                                       const struct rd_kafka_group_info *group,
                                       strand_owners *owners) {
  char *id;
  share *shares;
  size_t count = (size_t)group->member_cnt;
  if (group->err != RD_KAFKA_RESP_ERR_NO_ERROR) return group->err;
  if (strcmp(group->state, "Stable") != 0
      || strcmp(group->protocol_type, "consumer") != 0)
    return 0;
  shares = shares_of(group);
  if (shares == NULL) return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
  id = rd_kafka_memberid(client);
  owners->members = count;
  owners->settled = id != NULL && find_turn(shares, count, id, &owners->turn);
  if (id != NULL) rd_kafka_mem_free(client, id);
  for (int i = 0; owners->settled && i < owners->topics->cnt; i++) {
    rd_kafka_topic_partition_t *t = &owners->topics->elems[i];
    if (t->offset < t->partition) count_owned(shares, count, t);
  }
  free_shares(shares, count);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* All brokers are asked for it, and its coordinator has it. */
static rd_kafka_resp_err_t ask_group (const strand_subscription *s,
                                      rd_kafka_t *client,
                                      strand_owners *owners) {
  const struct rd_kafka_group_list *groups = NULL;
  rd_kafka_resp_err_t err = rd_kafka_list_groups(client, s->group, &groups,
                                                 GROUP_MS);
  if (err == RD_KAFKA_RESP_ERR__PARTIAL) err = RD_KAFKA_RESP_ERR_NO_ERROR;
  for (int i = 0; err == 0 && groups != NULL && i < groups->group_cnt; i++) {
    if (strcmp(groups->groups[i].group, s->group) != 0) continue;
    err = read_group(client, &groups->groups[i], owners);
    break;
  }
  if (groups != NULL) rd_kafka_group_list_destroy(groups);
  return err;
}

rd_kafka_resp_err_t strand_subscription_ask (const strand_subscription *s,
                                             rd_kafka_t *client,
                                             const atomic_bool *stop,
                                             strand_owners *owners) {
  rd_kafka_topic_partition_list_t *mine = NULL;
  rd_kafka_resp_err_t err = rd_kafka_assignment(client, &mine);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  err = find(s, client, mine, stop, owners);
  rd_kafka_topic_partition_list_destroy(mine);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  owners->settled = all_have_owners(owners);
  if (owners->settled) return err;
  if (atomic_load(stop)) return RD_KAFKA_RESP_ERR__DESTROY;
  return ask_group(s, client, owners);
}

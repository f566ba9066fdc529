/*
** dead_letter_format.c - see dead_letter_format.h
*/
#include "member/dead_letter_format.h"

static const char *const ours[] = {
  "strand.topic",     "strand.partition",     "strand.offset",
  "strand.timestamp", "strand.group",         "strand.attempts",
  "strand.reason",    "strand.first_failure", "strand.last_failure"
};

#define OURS (sizeof(ours) / sizeof(ours[0]))
#define VALUE_DROPPED "strand.value_dropped"

static const char *const causes[] = { [STRAND_CAUSE_FAILED] = "failed",
                                      [STRAND_CAUSE_EXHAUSTED] = "exhausted",
                                      [STRAND_CAUSE_DEADLINE] = "deadline",
                                      [STRAND_CAUSE_ASKED] = "asked" };

/*
** UTF-8
*/

/* How long the character is that begins with 'c'; 0 for none. '*low' and
** '*high' bound its second byte. */
static size_t character (unsigned char c, unsigned char *low,
                         unsigned char *high) {
  *low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
  *high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf) return 2;
  if (c >= 0xe0 && c <= 0xef) return 3;
  return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

/* How many bytes of the character at 'at' are there, and whether that is all
** of it; 0 when the text ends before it does. */
static size_t measure (const unsigned char *at, size_t left, bool *whole) {
  unsigned char low, high;
  size_t length = character(at[0], &low, &high), i = 1;
  for (; i < length && i < left; i++) {
    if (at[i] < low || at[i] > high) break;
    low = 0x80;
    high = 0xbf;
  }
  *whole = i == length;
  return i < length && i == left ? 0 : i;
}

size_t strand_dead_letter_text (char *to, size_t most, const char *from,
                                size_t length) {
  static const char replacement[] = "\xef\xbf\xbd";
  const unsigned char *at = (const unsigned char *)from;
  size_t written = 0, read = 0;
  while (read < length) {
    bool whole;
    size_t n = measure(at + read, length - read, &whole);
    size_t size = whole ? n : sizeof(replacement) - 1;
    if (n == 0) break; /* cut, not broken */
    if (!whole) n = 1;
    if (written + size > most) break;
    memcpy(to + written, whole ? from + read : replacement, size);
    written += size;
    read += n;
  }
  return written;
}

/*
** Headers
*/

static bool is_name (const strand_header *h, const char *name) {
  return h->name_length == strlen(name)
         && memcmp(h->name, name, h->name_length) == 0;
}

static bool is_ours (const strand_header *h, strand_dead_letter_cut cut) {
  for (size_t i = 0; i < OURS; i++) {
    if (is_name(h, ours[i])) return true;
  }
  return cut == STRAND_CUT_VALUE && is_name(h, VALUE_DROPPED);
}

static void copy_headers (rd_kafka_headers_t *to, const strand_record *r,
                          strand_dead_letter_cut cut) {
  const char *packed = strand_record_headers(r);
  uint32_t at = 0;
  strand_header h;
  while (strand_header_next(packed, r->headers_length, &at, &h)) {
    if (is_ours(&h, cut)) continue;
    rd_kafka_header_add(to, h.name, (ssize_t)h.name_length, h.value,
                        (ssize_t)h.value_length);
  }
}

static void add (rd_kafka_headers_t *to, const char *name, const char *value,
                 size_t length) {
  rd_kafka_header_add(to, name, -1, value, (ssize_t)length);
}

static void add_number (rd_kafka_headers_t *to, const char *name,
                        int64_t number) {
  char text[32];
  int length = snprintf(text, sizeof(text), "%lld", (long long)number);
  add(to, name, text, (size_t)length);
}

static void add_time (rd_kafka_headers_t *to, const char *name, int64_t ms) {
  char text[32];
  int64_t whole = ms < 0 ? -ms : ms;
  int length = snprintf(text, sizeof(text), "%s%lld.%03d", ms < 0 ? "-" : "",
                        (long long)(whole / 1000), (int)(whole % 1000));
  add(to, name, text, (size_t)length);
}

/* A moment of the engine's clock. */
static void add_moment (rd_kafka_headers_t *to, const char *name,
                        int64_t at_us, const strand_time *time) {
  int64_t wall_ms = (int64_t)(strand_time_wall(time) * 1000);
  add_time(to, name, wall_ms - (strand_time_us(time) - at_us) / 1000);
}

static const char excuse[] = "no dead letter could be sent: ";

/* The last reason; not that no dead letter could be sent, but what was said
** before that. */
static const char *reason_of (const strand_past *past, size_t *length) {
  static const size_t least = sizeof(excuse) - 1;
  const char *end;
  *length = past->length;
  if (past->length <= least || memcmp(past->text, excuse, least) != 0) {
    return past->text;
  }
  end = memchr(past->text, ';', past->length - 1);
  if (end == NULL) return past->text;
  *length -= (size_t)(end + 2 - past->text);
  return end + 2;
}

size_t strand_dead_letter_excuse (char *to, const strand_record *r,
                                  const char *problem) {
  size_t length;
  const char *reason = reason_of(r->in.past, &length);
  size_t at = (size_t)snprintf(to, STRAND_REASON_MAX, "%s%s; ", excuse,
                               problem);
  if (length > STRAND_REASON_MAX - at) length = STRAND_REASON_MAX - at;
  memcpy(to + at, reason, length);
  return at + length;
}

static void add_reason (rd_kafka_headers_t *to,
                        const strand_dead_letters_config *c,
                        const strand_past *past, strand_dead_letter_cut cut) {
  char text[3 * STRAND_REASON_MAX];
  size_t most = c->max_reason < sizeof(text) ? c->max_reason : sizeof(text);
  size_t length, read;
  const char *reason = reason_of(past, &read);
  if (c->reason == STRAND_REASON_NONE) return;
  if (c->reason == STRAND_REASON_CLASS) {
    add(to, "strand.reason", causes[past->cause], strlen(causes[past->cause]));
    return;
  }
  if (cut != STRAND_CUT_NOTHING) read = 0;
  length = strand_dead_letter_text(text, most, reason, read);
  add(to, "strand.reason", text, length);
}

rd_kafka_headers_t *
strand_dead_letter_headers (const strand_dead_letters_config *c,
                            const char *group, const strand_record *r,
                            strand_dead_letter_cut cut,
                            const strand_time *time) {
  const strand_partition *p = strand_record_partition(r);
  const strand_past *past = r->in.past;
  const char *topic = strand_partition_topic(p);
  rd_kafka_headers_t *to = rd_kafka_headers_new(OURS + 8);
  copy_headers(to, r, cut);
  add(to, "strand.topic", topic, strlen(topic));
  add_number(to, "strand.partition", strand_partition_index(p));
  add_number(to, "strand.offset", r->offset);
  if (r->timestamp_type != STRAND_TIMESTAMP_NONE) {
    add_time(to, "strand.timestamp", r->timestamp_ms);
  }
  add(to, "strand.group", group, strlen(group));
  add_number(to, "strand.attempts", r->attempt - 1);
  add_reason(to, c, past, cut);
  add_moment(to, "strand.first_failure", past->first_us, time);
  add_moment(to, "strand.last_failure", past->last_us, time);
  if (cut == STRAND_CUT_VALUE) add_number(to, VALUE_DROPPED, r->value_length);
  return to;
}

bool strand_dead_letter_returns (const strand_dead_letters_config *c,
                                 const char *group, const strand_record *r) {
  const char *packed = strand_record_headers(r);
  bool same = false;
  uint32_t at = 0;
  strand_header h;
  if (strcmp(strand_partition_topic(strand_record_partition(r)), c->topic)
      != 0)
    return false;
  while (strand_header_next(packed, r->headers_length, &at, &h)) {
    if (!is_name(&h, "strand.group")) continue;
    same = h.value != NULL && h.value_length == strlen(group)
           && memcmp(h.value, group, h.value_length) == 0;
  }
  return same;
}

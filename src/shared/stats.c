/*
** stats.c - what a consumer says of itself: giving it back
*/
#include "shared/stats.h"

#include <stdlib.h>

static void clear_places (strand_place *places, size_t count) {
  for (size_t i = 0; i < count; i++) free(places[i].topic);
  free(places);
}

void strand_report_clear (strand_report *report) {
  clear_places(report->unfinished, report->unfinished_count);
  clear_places(report->committed, report->committed_count);
  *report = (strand_report){ 0 };
}

void strand_stats_clear (strand_stats *stats) {
  free(stats->partitions);
  free(stats->blockers);
  *stats = (strand_stats){ 0 };
}

void strand_parked_free (strand_parked *page) {
  while (page != NULL) {
    strand_parked *next = page->next;
    free(page->record);
    free(page);
    page = next;
  }
}

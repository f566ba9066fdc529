/*
** output_record.h - what a handler has produced, as a record for a client; and
** what ends its own record when that is refused
**
** Thread: owner, or the transactor, who has the output.
*/
#ifndef STRAND_OUTPUT_RECORD_H
#define STRAND_OUTPUT_RECORD_H

#include "core/engine.h"
#include "producer/outgoing.h"
#include "shared/staged.h"

/* Points into the output; without its headers. */
strand_outgoing strand_output_record (strand_output *output);
/* For strand_outgoing_produce. NULL: it has none. */
rd_kafka_headers_t *strand_output_record_headers (strand_output *output);
/* Thread: owner. One of the record's outputs was refused, for ever: the engine
** is told why. As strand_engine_output_refused. */
strand_err strand_output_record_refused (strand_engine *e, strand_staged *s,
                                         int64_t now_us);

#endif

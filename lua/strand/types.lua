---@meta strand
-- types.lua: what users of strand may write and read, for the Lua language
-- server. It is never loaded. Times are seconds, except inside 'kafka'.
--
-- Misuse (a wrong type, an unknown option, a closed object) raises, at the
-- line that called. What the world does is returned: nil, message, code.
-- code is a short stable name, librdkafka's without its underscore where
-- there is one ("ALL_BROKERS_DOWN", "UNKNOWN_TOPIC_OR_PART"), or one of:
--
--   ADAPTER             an event loop's adapter raised, or does not do what it was asked for
--   ABORTED             a record's transaction was aborted before it was acknowledged
--   CANNOT_WAIT         the method would wait for an event loop, and cannot yield here
--   CLOSED              the object is closed
--   CLUSTER             exactly_once: producer.kafka reaches another cluster than the consumer
--   COMMITTED           abort() came too late: the commit() before it has ended well
--   COMMITTING          commit() has not ended, and may yet: call it again
--   FENCED              another process uses the transactional_id, or the transaction was open too long
--   FORKED              the object belongs to another process: fork before opening
--   HANDLER             a handler does not load, or its setup failed
--   NO_DEAD_LETTER_TOPIC, NOT_ASSIGNED, NOT_PARKED   what resolve() cannot do
--   NO_ROUTE            no handler takes this topic
--   TOPIC_UNASSIGNED    a subscribed topic exists, and nobody in the group has it
--   NOT_STARTED         step before start
--   NO_METADATA         the number of a topic's partitions is not known yet
--   QUEUE_FULL          the producer holds as much as it may
--   STOPPED_BY_HANDLER  a handler returned strand.stop()
--   TIMED_OUT           no answer in time; what was asked for may still happen

-- luacheck: ignore 212 241 431 (functions without bodies)

---@class strand
---@field _VERSION string                "0.1.0"
---@field librdkafka_version string      of the library that is loaded: "2.0.2"
---@field metadata strand.metadata
---@field loop strand.loop
local strand = {}

---Opens a consumer. Checks the options and librdkafka's properties, and
---raises what is wrong with them; joins nothing yet.
---@param options strand.ConsumerOptions
---@return strand.Consumer? consumer
---@return string? message
---@return string? code
function strand.consumer(options) end

---@param options strand.ProducerOptions
---@return strand.Producer? producer
---@return string? message
---@return string? code
function strand.producer(options) end

---@param options strand.AdminOptions
---@return strand.Admin? admin
---@return string? message
---@return string? code
function strand.admin(options) end

---A Kafka cluster inside the process, for demos and tests. Its limits are
---printed to stderr when the first one is opened.
---@param options? strand.MockOptions
---@return strand.Mock? mock
---@return string? message
---@return string? code
function strand.mock(options) end

---Runs several consumers in one loop, until each has ended. A signal, or
---one that fails, ends them all; stop() ends its own.
---Raises when another run() is active in this process.
---@param ... strand.Consumer|strand.RunOptions   options are the last
---@return strand.Report[]? reports     in the order of the arguments
---@return string? message              of the first that failed
---@return string? code
---@return strand.Report[]? reports
function strand.run(...) end

-- Handlers and outcomes -------------------------------------------------------

---What a handler may return or throw in place of nothing.
---@class strand.Outcome

---The record is tried again. Without seconds the retry policy says when, and a
---retry function whether. A policy that is a table never exhausts by it.
---@param seconds? number    0 to 316,224,000, ten years
---@param reason? string     for events and reports
---@return strand.Outcome
function strand.retry(seconds, reason) end

---The record is over, and counted as skipped.
---@param reason? string
---@return strand.Outcome
function strand.skip(reason) end

---The record goes to the dead letter topic, and is over when that is
---acknowledged. Without the option dead_letter it is parked.
---@param reason? string
---@return strand.Outcome
function strand.dead_letter(reason) end

---The record is not done, and set aside until consumer:resolve.
---@param reason? string
---@return strand.Outcome
function strand.park(reason) end

---The consumer finishes what is in flight, commits and ends: run() returns
---nil, reason, "STOPPED_BY_HANDLER", report, and without a reason names the
---record. This record is not done.
---@param reason? string
---@return strand.Outcome
function strand.stop(reason) end

---A record is valid until its handler returns; using it later raises.
---Bytes are Lua strings; an absent key or value is nil, an empty one "".
---@class strand.Record
---@field id string                 "topic/partition/offset"
---@field topic string
---@field partition integer
---@field offset integer
---@field key string?
---@field value string?
---@field timestamp number?         seconds since 1970, exact to the millisecond
---@field timestamp_type "create"|"append"|nil
---@field headers { [1]: string, [2]: string? }[]   name and value, in order
---@field attempt integer           1 for the first, at most 65535; 1 again after a restart or a rebalance
---@field leader_epoch integer?
local record = {}

---The value of the last header of this name.
---@param name string
---@return string? value
function record:header(name) end

---A plain table to keep, with the fields of the record.
---@return table
function record:copy() end

---@class strand.Context
---@field worker integer            its thread's number, from 1; a spare goes on counting
---@field args any                  the option handler_args, a copy of this worker's
local context = {}

---strand.retry, so that a handler without upvalues needs no require.
---@param seconds? number
---@param reason? string
---@return strand.Outcome
function context:retry(seconds, reason) end

---strand.skip, likewise.
---@param reason? string
---@return strand.Outcome
function context:skip(reason) end

---@param reason? string
---@return strand.Outcome
function context:dead_letter(reason) end

---@param reason? string
---@return strand.Outcome
function context:park(reason) end

---strand.stop, likewise.
---@param reason? string
---@return strand.Outcome
function context:stop(reason) end

---Sends a record when this one is done: when the handler has returned well. Of
---an attempt that ends otherwise nothing is sent. This one's offset is
---committed when the brokers have acknowledged all it produced. Needs the
---option `producer`. Raises for what is no record, or too large. Never waits.
---@param record strand.Sending     without timeout
function context:produce(record) end

---Ends the consumer as stop() would, after this record.
function context:stop_consumer() end

---Seconds until the deadline of this call, 0 once it has passed; nil without one.
---@return number? seconds
function context:remaining() end

---With workers = 0 or loop: other handlers go on for so long. Only in the coroutine that
---the handler began in.
---@param seconds number     0 to 86400
function context:sleep(seconds) end

---With workers = 0 or loop: the record ends when `done` is called, with what a handler
---may return, from anywhere in this state. Once; later it gives nil, message, code.
---@return fun(result: any, reason: any): true?, string?, string? done
function context:defer() end

---Returns: the record is done. false, nil with a reason, or an error: it is
---tried again until the retry policy is exhausted. An outcome, returned or
---thrown: that.
---@alias strand.Handler fun(record: strand.Record, context: strand.Context): any, any

---What a handler with option `batch` gets: an array of records, and marks for
---single ones. Records without a mark end as the call does. Valid until the
---handler returns. Raises for an `i` that is no record's number.
---@class strand.Batch
---@field [integer] strand.Record in offset order for each key
---@field done fun(self: strand.Batch, i: integer)
---@field fail fun(self: strand.Batch, i: integer, reason?: any)
---@field retry fun(self: strand.Batch, i: integer, seconds?: number, reason?: any) as strand.retry
---@field skip fun(self: strand.Batch, i: integer, reason?: any)
---@field dead_letter fun(self: strand.Batch, i: integer, reason?: any)
---@field park fun(self: strand.Batch, i: integer, reason?: any)
---@field produce fun(self: strand.Batch, i: integer, record: strand.Sending) as context:produce, when record i is done

---@alias strand.BatchHandler fun(batch: strand.Batch, context: strand.Context): any, any

---What a handler's module may be in place of a function.
---@class strand.HandlerModule
---@field handle? strand.Handler            without option `batch`
---@field handle_batch? strand.BatchHandler with it
---@field setup? fun(args: any)     once in each worker; an error is code "HANDLER"
---@field teardown? fun()

---A module's name, or a function without upvalues.
---@alias strand.AnyHandler string|strand.Handler|strand.BatchHandler

---What a route leaves out is the consumer's.
---@class strand.Route
---@field handler? strand.AnyHandler     required, or
---@field [1]? strand.AnyHandler         the same, without a name
---@field retry? strand.RetryPolicy|strand.RetryFunction
---@field exhausted? strand.Exhausted
---@field deadline? number|false            seconds
---@field batch? strand.BatchOptions
---@field rate? strand.Rate|false           on top of the consumer's
---of several members each gets a part, one at least
---@field max_in_flight? integer            calls of this handler at once, 1 to 100000

---What becomes of a record that is not tried again.
---@alias strand.Exhausted "dead_letter"|"park"|"skip"|"stop"

---A token bucket: each record that starts takes a token.
---@class strand.Rate
---@field records_per_second number 0.000001 to 1e9
---@field burst? number             what the bucket holds, from 1; records_per_second, at least 1

---@class strand.BatchOptions
---@field size integer              records, at most, 1 to 10000
---@field linger? number            seconds that the oldest waits for others; 0
---@field by? "mixed"|"key"|"partition"     "mixed": at most one record of each key

---@class strand.DeadLetterOptions
---@field topic string
---@field partition? "key"|"same"           "key"; "same": the number of the source's
---@field reason? "text"|"class"|"none"     what the header strand.reason says; "text"
---@field max_reason? integer               bytes of it, 0 to 16384; 1024
---@field allow_value_drop? boolean         one that is too large goes without its value; false: it is parked

---What sends dead letters, and what handlers produce: properties over those of
---the consumer's connection. {} will do.
---@class strand.ConsumerProducerOptions
---@field kafka? table<string, string|number|boolean>
---@field partitioner? strand.PartitionerName       "murmur2_random"

---@class strand.RetryPolicy
---@field attempts? integer         1 to 65535; 10
---@field delay? number             seconds before the second attempt, 0 to 86400; 1
---@field factor? number            1 to 1000; 2
---@field max_delay? number         seconds; 60
---@field jitter? number            0 to 1; 0.5: delay x (1 - jitter x random)

---Runs in the worker; must have no upvalues. Gives the seconds to wait, or nil:
---the record is exhausted. Anything else, or an error, is the event
---policy_failed, and the default policy applies.
---@alias strand.RetryFunction fun(attempt: integer, reason: string, record: strand.Record): number?

-- Consumer --------------------------------------------------------------------

---@class strand.ConsumerOptions
---librdkafka's properties; "bootstrap.servers" and "group.id" are required
---@field kafka table<string, string|number|boolean>
---names, or POSIX patterns that start with ^
---@field topics string[]
---a module's name, a function without upvalues, or topic or ^pattern -> handler
---@field handler strand.AnyHandler|table<string, strand.AnyHandler|strand.Route>
---@field handler_args? any         a plain value; copied into each worker
---@field members? integer          1 to 64; 1
---@field oauth_token? fun(): string?, number|string, string?   token, expires, principal; or nil, message
---@field ordering? "key"|"partition"|"unordered"               "key"
---@field ordering_key? { header: string }
---@field null_key? "partition"|"unordered"                     "partition"
---@field delivery? "at_least_once"|"at_most_once"|"exactly_once"   "at_least_once"
---@field transactional_id? string          exactly_once: of one process at a time, the same when it starts again
---@field transaction_interval? number      exactly_once: seconds between transactions; 0.5
---@field transaction_records? integer      exactly_once: what one holds at most; 10000
---@field transaction_timeout? number       exactly_once: seconds until the brokers abort one, 1 to 86400; 10
---@field workers? integer          threads, 1 to 256; 16. 0: handlers run in the caller's state
---@field loop? "cqueues"|"luv"     an event loop in each worker, whose coroutines handlers are; none
---@field max_in_flight? integer    handlers that run at once; workers, 256 with workers = 0, 256 x workers with loop
---@field max_ready? integer        handed over and not started; 64 x workers, or max_in_flight / 4, at least 64
---@field max_slice? number         workers = 0, loop: seconds that handlers go on which do not wait; 0.002, nginx 0.001
---@field max_buffered_records? integer     read and not done; 100000
---@field max_buffered_bytes? integer       64 MiB
---@field max_waiting_records? integer      waiting for a retry or parked, and behind these; 100000
---@field max_waiting_bytes? integer        64 MiB
---@field batch? strand.BatchOptions        needs a handler with handle_batch
---@field rate? strand.Rate|false           records that start; none
---@field deadline? number|false            seconds in the handler; none
---@field slow_after? number|false          seconds in the handler until that is an event; 10
---@field worker_memory? integer            bytes of each worker's Lua state, from 1 MiB; none (not under LuaJIT)
---@field max_metadata? integer     characters, 0 to 32767; 4096
---@field commit_interval? number   seconds; 5
---@field revoke_grace? number      seconds; 5, at most a quarter of max.poll.interval.ms
---@field start_timeout? number     seconds; none: start does not wait for the group
---@field unreadable_metadata? "replay"|"fail"                  "replay"; "fail" under at_most_once
---@field retry? strand.RetryPolicy|strand.RetryFunction
---@field exhausted? strand.Exhausted       "dead_letter" with dead_letter, else "park" ("skip" under at_most_once)
---@field dead_letter? strand.DeadLetterOptions
---@field producer? strand.ConsumerProducerOptions  for context:produce
---@field max_staged_bytes? integer         what handlers produced and no broker has acknowledged; 64 MiB
---@field parked_holds? "shard"|"record"    what a parked record holds back; "shard": those behind it
---an error in it goes to the log; without it failures are warnings there, one a second of those alike
---@field on_event? fun(event: strand.Event)
---syslog's levels; stderr, warnings up; false: none
---@field log? fun(level: integer, facility: string, message: string)|false

---Use it with a colon. A method of a closed consumer raises, but step, close,
---report, stats and health; in another process each returns
---nil, message, "FORKED".
---@class strand.Consumer
local consumer = {}

---@class strand.RunOptions
---@field every? number             seconds between two calls of tick; 1
---@field tick? fun(consumer: strand.Consumer)
---@field close? strand.CloseOptions what the first signal does

---@class strand.CloseOptions
---@field mode? "finish"|"drain"|"now"   "finish"
---@field timeout? number                30 s

---Starts, serves events, logs and ticks, and returns when the consumer has
---ended: by stop(), close(), SIGINT or SIGTERM, a handler's stop, or a fatal
---error. The first signal finishes what is in flight, the second does not
---wait. An error in tick passes through, and the consumer goes on.
---@param options? strand.RunOptions
---@return strand.Report? report
---@return string? message
---@return string? code
---@return strand.Report? report    also when it failed
function consumer:run(options) end

---Loads the handlers and joins the group; threads go on by themselves. Waits
---for the join only with start_timeout. A start that fails closes the object.
---@return true? ok
---@return string? message
---@return string? code             "HANDLER", "NO_THREAD", "TIMED_OUT", ...
function consumer:start() end

---Asks for a close in mode "finish"; run() returns when it has ended. From
---tick, on_event, log.
---@return true
function consumer:stop() end

---@param options? strand.CloseOptions
---@return strand.Report? report    the same for each later call
---@return string? message
---@return string? code             "TIMED_OUT": something was left behind
---@return strand.Report? report    also when it failed
function consumer:close(options) end

---Waits until something is there to serve, and serves it. step(0) never
---waits; without a timeout it waits for as long as it takes.
---@param timeout? number           seconds
---@return integer? served          callbacks called
---@return string? message
---@return string? code             "CLOSED", "NOT_STARTED"
function consumer:step(timeout) end

---Readable when step has work; the same until the consumer has closed, by close
---or within step, which closes it: take it out of a loop before its number is
---given to something else.
---@return integer fd
function consumer:fd() end

---Commits now, and waits for the answer.
---@param timeout? number           30 s
---@return true? ok
---@return string? message
---@return string? code
function consumer:commit(timeout) end

---Stops starting records of a topic, one of its partitions, or all; what is
---in flight ends. Applies to later assignments too.
---@param what? { topic: string, partition?: integer }
---@return true? ok
---@return string? message
---@return string? code
function consumer:pause(what) end

---@param what? { topic: string, partition?: integer }
---@return true? ok
---@return string? message
---@return string? code
function consumer:resume(what) end

---Goes on elsewhere; what was done of that partition is forgotten, with an
---event "sought". Either offset or time. An error means that nothing has
---moved: OFFSET_OUT_OF_RANGE, say, or TIMED_OUT. But what outlasts `timeout`
---may still happen.
---@param to strand.Seek
---@return true? ok
---@return string? message
---@return string? code
function consumer:seek(to) end

---@return strand.Assigned[] list
function consumer:assignment() end

---The parked records, by topic, partition and offset of each member: copies, asked for page by
---page, so that what is parked or resolved meanwhile disturbs no other. What fails after the
---first page raises.
---@return (fun(): strand.Parked?)? iterator
---@return string? message
---@return string? code             "NOT_RUNNING", "TIMED_OUT", ...
function consumer:parked() end

---What is to become of a parked record: "retry" with all its attempts, "discard" it (done, and
---counted as skipped), or send it as a "dead_letter". Waits until the member that has it has
---taken that; it is carried out in its turn. A rebalance before that leaves it not done.
---@param record strand.Parked|{ topic: string, partition: integer, offset: integer }|string   or its id
---@param what "retry"|"discard"|"dead_letter"
---@param timeout? number           30 s
---@return true? ok
---@return string? message
---@return string? code             "NOT_PARKED", "NOT_ASSIGNED", "NO_DEAD_LETTER_TOPIC", ...
function consumer:resolve(record, what, timeout) end

---The records that hold the commit back, the longest first.
---@param n? integer                at most so many, 1 to 100000; 100
---@return strand.Blocker[] list
function consumer:blockers(n) end

---@return true? well
---@return string? reason
---@return strand.HealthCode? code
function consumer:health() end

---@return strand.Stats stats       of the last quarter of a second at the oldest
function consumer:stats() end

---Changes limits while the consumer runs: workers, max_in_flight, max_ready,
---max_buffered_records, max_buffered_bytes, max_waiting_records,
---max_waiting_bytes, commit_interval, revoke_grace, retry, exhausted, rate,
---deadline, slow_after (false: none). Others raise. A route's own stay.
---What fails ("NO_THREAD", "NO_MEMORY") has changed nothing.
---@param options table
---@return true? ok
---@return string? message
---@return string? code
function consumer:configure(options) end

---@return strand.Report report     so far; after close the last one
function consumer:report() end

---@class strand.Seek
---@field topic string
---@field partition integer
---@field offset? integer|"earliest"|"latest"
---@field time? number              the first record of this time or later
---@field timeout? number           30 s

---@class strand.Report
---@field done integer              records whose handler has returned
---@field failed integer            attempts that failed
---@field skipped integer           records; not in done, as the next
---@field dead_lettered integer     acknowledged
---@field parked integer            now, or at the end: these are in unfinished
---@field lost integer              attempts cut off because their partition was lost; at_most_once: see records_lost
---@field outputs_sent integer      what handlers produced, handed over to the producer
---@field outputs_acknowledged integer  of them, by a broker
---@field outputs_failed integer    of them, refused for ever
---@field unfinished strand.Place[]     at the end: records that were read and are not done, at most 1,000
---@field unfinished_total integer  all of them; 0 before the end
---@field committed strand.Place[]  the last offset of each partition that a broker acknowledged
---@field seconds number            from the start to the end
---@field detached boolean          something could not end in time, and goes on by itself

---@class strand.Place
---@field topic string
---@field partition integer
---@field offset integer
---@field state? "running"|"sending"|"waiting"|"parked"|"behind"|"buffered"    of an unfinished record

---@class strand.Assigned
---@field topic string
---@field partition integer
---@field epoch integer             raised with each assignment
---@field member integer            from 0
---@field state "restoring"|"running"|"revoking"|"no_route"   no_route: no handler takes it
---@field paused boolean
---@field blocked "metadata"|"waiting"|nil     the limit for which it is left unread
---@field position integer?         the next record to be read
---@field committed integer?        nil: nothing yet
---@field end_offset integer?       where the partition ends, as last heard of; open transactions count
---@field lag integer?              end_offset - committed
---@field true_lag integer?         records that are not done, up to end_offset
---@field highest_done integer?
---@field open integer              records that were read and are not done
---@field parked integer
---@field oldest_age number?        seconds since the lowest open record was read

---@class strand.Blocker
---@field id string                 "topic/partition/offset", as admin:read takes it
---@field topic string
---@field partition integer
---@field offset integer
---@field key string?
---@field age number                seconds since it was read
---@field attempts integer          calls that have ended, or have passed their deadline
---@field reason string?            of the last failure
---sending: what it produced is not acknowledged; waiting: for its retry, or its dead letter
---@field state "running"|"sending"|"waiting"|"parked"|"behind"|"buffered"

---A copy of a parked record.
---@class strand.Parked
---@field id string                 "topic/partition/offset"
---@field topic string
---@field partition integer
---@field offset integer
---@field key string?
---@field value string?
---@field timestamp number?
---@field timestamp_type "create"|"append"|nil
---@field headers { [1]: string, [2]: string? }[]
---@field leader_epoch integer?
---@field attempt integer           of the call that was the last
---@field attempts integer          the same: how often it was tried
---@field reason string?
---@field first_failure number      seconds since 1970, as the next two
---@field last_failure number
---@field since number              when it was parked

---@class strand.Stats
---@field done integer              records; each that has ended is in done, skipped or dead_lettered
---@field failed integer            attempts
---@field skipped integer
---@field dead_lettered integer     acknowledged
---@field parked integer            now
---@field letters integer           dead letters under way, now
---@field sending integer           records that were handled, and whose outputs are not all acknowledged, now
---@field outputs_sent integer      what handlers produced, handed over to the producer
---@field outputs_acknowledged integer  of them, by a broker
---@field outputs_failed integer    of them, refused for ever
---@field staged_bytes integer      of outputs that are not acknowledged: what max_staged_bytes bounds
---@field in_flight integer         handlers that run; max_in_flight bounds those of no lost worker
---@field ready integer             records handed over and not started: what max_ready bounds
---@field retries integer           records in back-off
---@field shards integer            keys, or what else keeps an order, with records
---@field stale integer             records whose handlers run on after a revoke
---@field stale_dropped integer     outcomes that came after a revoke
---@field buffered_records integer
---@field buffered_bytes integer   of the chunks that hold them; each partition keeps an open one
---@field waiting_records integer
---@field waiting_bytes integer
---@field members integer
---@field workers integer           threads, spares too
---@field longest_slice number      seconds; workers = 0: a handler went on; in a loop: work waited for its turn
---@field workers_lost integer      of them, in a handler past its deadline
---@field idle number               seconds since a record ended
---@field commits integer           acknowledged
---@field commits_failed integer
---@field rebalances integer
---@field prefetch_bytes integer    what librdkafka may hold on top
---@field events_dropped integer    the ring holds 1,024
---@field logs_dropped integer
---@field partitions strand.PartitionStats[]

---@class strand.PartitionStats: strand.Assigned
---@field done integer
---@field failed integer
---@field skipped integer
---@field dead_lettered integer
---@field letters integer
---@field sending integer
---@field leased integer            records handed over to the workers, running or not
---@field buffered_records integer
---@field buffered_bytes integer
---@field waiting_records integer
---@field waiting_bytes integer
---@field metadata_bound integer    characters that the commit's metadata needs at most
---@field metadata_limit integer    characters that it may have: max_metadata, or what the broker is known to take
---@field metadata_share number?    the bound, over that

---Each has type and time; the other fields where they apply.
---@class strand.Event
---@field type strand.EventType
---@field time number               seconds since 1970
---@field member? integer           from 0
---@field topic? string
---@field partition? integer
---@field epoch? integer            of the assignment
---@field offset? integer
---@field to? integer               sought, truncated, reset: where it goes on; records_deleted: the log's start
---@field attempt? integer
---@field delay? number             seconds until the next attempt
---@field seconds? number           that the record is in its handler
---@field partitions? integer       partitions_changed: how many there are now
---@field limit? integer            batch_limit: the topic's max.message.bytes
---@field key? string               its first 256 bytes
---@field reason? string
---@field code? string
---@field fatal? boolean            error, of a producer: it is at its end

---@alias strand.EventType
---| "assigned"              # a partition is this consumer's
---| "revoked"               # it is taken away: what runs gets its grace, then a commit
---| "lost"                  # it was taken away, and cannot be committed any more
---| "records_lost"          # at_most_once: records, the first at `offset`, that will not be handled to their end
---| "restored"              # what was done above the committed offset is known
---| "restoring"             # the committed offset is not stable for 2 s: somebody's transaction is open
---| "sought"                # seek has moved it
---| "commit_failed"
---| "record_failed"         # an attempt failed; it is tried again after `delay`, when there is one
---| "dead_lettered"         # a record's dead letter is acknowledged
---| "parked"                # a record waits for resolve
---| "partition_blocked"     # a limit is reached, for 1 s: it is left unread
---| "partition_unblocked"
---| "metadata_unreadable"   # a commit's metadata is broken or foreign
---| "metadata_unwritable"   # what is done does not fit: a commit tells a part of it; reason: what to set
---| "metadata_writable"     # a commit has told all of it again
---| "topic_missing"
---| "partitions_changed"    # of a producer: a topic has `partitions` now
---| "batch_limit"           # batches above `limit` (a producer's alone) do not fit; reason: the batch.size to set
---| "topic_unassigned"      # it exists, and nobody in the group has it: it is subscribed to again
---| "member_idle"           # no partition is left for a member; reason: how many members and partitions there are
---| "truncated"             # records before the position are gone
---| "records_deleted"       # records that are not done are gone from the log: only this process has them
---| "reset"                 # the topic was made anew, or its log cut: it is read again
---| "unreachable"           # no broker for 10 s
---| "auth_failed"
---| "join_failed"           # brokers answer, and the group cannot be joined for 10 s
---| "leader_missing"        # others answer, and no leader of a partition does for 10 s
---| "replicas_missing"      # records are not acknowledged for 10 s, and copies are not in sync
---| "renewed"               # a client was replaced, after an error that made it useless: a producer's or a member's
---| "throttled"             # a broker answers later: a quota
---| "policy_failed"         # the retry function failed; once an attempt
---| "slow_record"           # it is in its handler for longer than `slow_after`
---| "loop_blocked"          # with workers = 0: records wait for `seconds`, and nothing is served
---| "worker_lost"           # no state could be opened, or a handler goes on after the deadline, or its loop stands
---| "worker_replaced"       # it was broken, and is a new one
---| "error"

---@alias strand.HealthCode
---| "AUTH"                  # credentials or rights are refused
---| "TLS"                   # no TLS connection: a certificate, or a port that is none for TLS
---| "TOKEN"                 # oauth_token gave none
---| "UNREACHABLE"           # no broker answers
---| "CANNOT_JOIN"           # brokers answer, and no assignment comes
---| "NO_LEADER"             # of a partition
---| "COMMIT_FAILS"
---| "CANNOT_TRANSACT"       # exactly once: no transaction can be made
---| "METADATA_UNWRITABLE"   # exactly or at most once: nothing of a partition can be committed
---| "NOT_ASSIGNED"          # still joining
---| "TOPIC_UNASSIGNED"      # a subscribed topic exists, and nobody in the group has it
---| "TOPIC_MISSING"         # a subscribed topic does not exist, or nothing matches a pattern
---| "NO_ROUTE"              # no handler takes a topic
---| "STUCK_OWNER"
---| "NOTHING_FINISHES"
---| "CLOSED"

-- Producer --------------------------------------------------------------------

---@class strand.ProducerOptions
---librdkafka's properties; "bootstrap.servers" is required
---@field kafka table<string, string|number|boolean>
---@field topics? string[]          whose number of partitions is asked for at once
---@field partition_key? fun(record: strand.Sending): string?    what to hash in place of the key
---where a key goes; "murmur2_random", as Java does it
---@field partitioner? strand.Partitioner
---@field on_delivery? fun(report: strand.DeliveryReport)  from poll, flush, send_wait and close
---@field oauth_token? fun(): string?, number|string, string?   as the consumer's
---unreachable, auth_failed, leader_missing, replicas_missing, topic_missing, partitions_changed,
---batch_limit, renewed, error
---@field on_event? fun(event: strand.Event)
---@field log? fun(level: integer, facility: string, message: string)|false
---@field max_queued_records? integer   100000
---@field transactional_id? string      stable, and of one process at a time: records go in transactions
---@field transaction_timeout? number   seconds until the brokers abort an open one, 1 to 86400; 60
---@field max_queued_bytes? integer     64 MiB

---@alias strand.PartitionerName
---| "murmur2_random"
---| "murmur2"
---| "consistent"
---| "consistent_random"
---| "fnv1a"
---| "fnv1a_random"
---| "random"

---The function gives 0 to partitions - 1.
---@alias strand.Partitioner
---| strand.PartitionerName
---| fun(key: string?, partitions: integer, topic: string): integer

---@class strand.Sending
---@field topic string
---@field key? string
---@field value? string
---@field headers? table<string, string>|{ [1]: string, [2]: string? }[]
---@field timestamp? number         seconds since 1970, 0.001 or more; now
---@field partition? integer        without asking the partitioner
---@field partition_key? string     what to hash in place of the key
---@field timeout? number           seconds; not acknowledged by then, it has failed: TIMED_OUT; 30 s of send_wait

---What became of a record.
---@class strand.DeliveryReport
---@field topic string
---@field partition integer?        nil: none was chosen yet
---@field offset integer?
---@field timestamp number?         seconds since 1970; 1.234 of strand.mock
---@field key string?
---@field latency number?           seconds from send to the brokers' answer
---@field error string?             nil: acknowledged
---@field code string?
---@field certain boolean?          of one that failed: true: certainly not written; false: it may be

---A record that is waited for, by send_async.
---@class strand.Delivery
local delivery = {}

---Serves the producer's callbacks meanwhile; nothing lingers. May be called
---again, and after the producer was closed.
---@param timeout? number           30 s
---@return strand.DeliveryReport? report
---@return string? message
---@return string? code             "TIMED_OUT": of this wait, not of the record
function delivery:wait(timeout) end

---Does not wait, and calls no callback.
---@return strand.DeliveryReport? report   nil: not yet
function delivery:done() end

---@class strand.ProducerReport
---@field sent integer
---@field delivered integer
---@field failed integer
---@field purged integer            given up by close, or by an abort before they were sent
---@field seconds number           from its opening to its end
---what became of a transaction that was open; unknown: its commit may have happened
---@field transaction? "aborted"|"unknown"
---@field detached boolean          something could not end in time, and goes on by itself

---@class strand.ProducerStats
---@field sent integer
---@field delivered integer
---@field failed integer
---@field purged integer
---@field outstanding integer       neither acknowledged nor failed yet
---@field undelivered_reports integer   waiting for poll
---@field overdue integer           timed out, and not heard of since: still in the queue
---@field late integer              timed out, and heard of since
---@field events_dropped integer
---@field log_dropped integer
---@field max_queued_records integer
---@field max_queued_bytes integer

---@class strand.Producer
local producer = {}

---Queues a record; never waits. partition_key and partitioner are called
---here, and their errors pass through. With a transactional_id it raises
---outside of a transaction.
---@param record strand.Sending
---@return true? queued
---@return string? message
---@return string? code             "QUEUE_FULL", "NO_METADATA", ...
---@return strand.TransactionFlags? flags   the transaction has failed
function producer:send(record) end

---Queues a record, as send does; its report is the handle's.
---@param record strand.Sending
---@return strand.Delivery? delivery
---@return string? message
---@return string? code
---@return strand.TransactionFlags? flags   the transaction has failed
function producer:send_async(record) end

---Queues records in their order, up to the first for which send would fail.
---All are checked before that: an error queues none.
---@param records strand.Sending[]
---@return integer sent             so many of the first
---@return string? message          why no more
---@return string? code
---@return strand.TransactionFlags? flags   the transaction has failed
function producer:send_batch(records) end

---Sends a record and waits for the brokers' answer, and for room in the queue.
---@param record strand.Sending
---@return strand.DeliveryReport? report
---@return string? message
---@return string? code             "TIMED_OUT": it may still arrive; "QUEUE_FULL": it was not sent;
---"CLOSED" by a callback: not sent, where nothing else is returned
---@return (strand.DeliveryReport|strand.TransactionFlags)? more   a sent record's report; else flags
function producer:send_wait(record) end

---Waits until everything is acknowledged or has failed.
---@param timeout? number           30 s
---@return true? ok
---@return string? message
---@return string? code             "TIMED_OUT"; "CLOSED" by a callback
---@return integer? remaining
function producer:flush(timeout) end

---Serves delivery reports, events and logs.
---@param timeout? number           seconds to wait for one; 0
---@return integer served
function producer:poll(timeout) end

---Readable when poll has work. Closed by close: take it out of a loop before.
---@return integer fd
function producer:fd() end

---Other bounds of the queue, from now on.
---@param options { max_queued_records?: integer, max_queued_bytes?: integer }
---@return true? ok
---@return string? message
---@return string? code
function producer:configure(options) end

---@return strand.ProducerStats
function producer:stats() end

---What helps after an error of a transaction: one of the first three at most.
---@class strand.TransactionFlags
---@field retriable boolean         the same method again: it goes on from where it was
---@field abortable boolean         abort(), then begin the transaction anew
---@field fatal boolean             nothing: close the producer
---@field certain boolean           nothing of it is or will be committed; false: it may be

---Begins a transaction. The first one gets a producer's id, and fences who
---had it with this transactional_id. Raises while one is open.
---@param timeout? number           30 s
---@return true? ok
---@return string? message
---@return string? code             "TIMED_OUT", "FENCED", ...
---@return strand.TransactionFlags? flags
function producer:begin(timeout) end

---Flushes and commits. Raises when no transaction is open.
---@param timeout? number           30 s
---@return true? ok
---@return string? message
---@return string? code             "TIMED_OUT", "FENCED", or a failed record's
---@return strand.TransactionFlags? flags
function producer:commit(timeout) end

---Aborts, gives up what is queued, and makes the producer usable again, with a
---new client where the old one is not.
---@param timeout? number           30 s
---@return true? ok
---@return string? message
---@return string? code             "TIMED_OUT", "COMMITTING", "COMMITTED", "FENCED", ...
---@return strand.TransactionFlags? flags
function producer:abort(timeout) end

---Raises in this version: a consumer commits by itself what is done.
---@param consumer strand.Consumer
function producer:send_offsets(consumer) end

---Aborts an open transaction, or flushes; gives up what is left, serves the
---last reports.
---@param options? { timeout?: number }     30 s
---@return strand.ProducerReport report     the same for each later call
function producer:close(options) end

-- Admin -----------------------------------------------------------------------

---@class strand.AdminOptions
---@field kafka table<string, string|number|boolean>
---@field oauth_token? fun(): string?, number|string, string?   as the consumer's; without a
---token a call says so at once: nil, message, "OAUTH"
---@field log? fun(level: integer, facility: string, message: string)|false   from its methods

---Each call waits for the brokers; timeout is 30 s unless given.
---@class strand.Admin
local admin = {}

---What the brokers said of each topic, once they did.
---@alias strand.TopicAnswers table<string, true|{ message: string, code: string }>

---All of them, or nil and the first that failed; the others were made all the same.
---@param topics table<string, integer|{ partitions: integer, replication?: integer, config?: table }>
---@param timeout? number
---@return true? ok
---@return string? message
---@return string? code
---@return strand.TopicAnswers? answers
function admin:create_topics(topics, timeout) end

---@param topics string[]
---@param timeout? number
---@return true? ok
---@return string? message
---@return string? code
---@return strand.TopicAnswers? answers
function admin:delete_topics(topics, timeout) end

---How many partitions there are to be. Keys move to other partitions: their
---old records are then read beside their new ones, and not before them.
---@param topics table<string, integer>     more than there are
---@param timeout? number
---@return true? ok
---@return string? message
---@return string? code             "INVALID_PARTITIONS", "UNKNOWN_TOPIC_OR_PART", ...
---@return strand.TopicAnswers? answers
function admin:create_partitions(topics, timeout) end

---@class strand.DescribeOptions
---@field topics? string[]          nil: all; {}: none
---@field brokers? integer[]        numbers of those whose settings are wanted; none
---@field configs? boolean          the settings of the topics too; false

---@alias strand.SettingSource
---| "DYNAMIC_TOPIC_CONFIG"          # set for the topic
---| "DYNAMIC_BROKER_CONFIG"         # set for the broker
---| "DYNAMIC_DEFAULT_BROKER_CONFIG" # set for all brokers
---| "STATIC_BROKER_CONFIG"          # in the broker's own file
---| "DEFAULT_CONFIG"
---| "UNKNOWN_CONFIG"

---@class strand.Setting
---@field value string?             nil: there is none, or it is sensitive
---@field source strand.SettingSource
---@field default boolean
---@field read_only boolean         alter_config cannot change it
---@field sensitive boolean         its value is never given

---@class strand.ClusterBroker
---@field id integer
---@field host string
---@field port integer
---@field config? table<string, strand.Setting>

---@class strand.TopicPartition
---@field partition integer
---@field leader integer?           nil: none
---@field replicas integer[]        numbers of brokers
---@field isr integer[]             those of them that are in sync
---@field message? string           what is wrong with it
---@field code? string

---@class strand.TopicDescription
---@field topic string
---@field partitions strand.TopicPartition[]    in order; partition 0 is the first
---@field config? table<string, strand.Setting>
---@field message? string           why it cannot be described
---@field code? string

---@class strand.ClusterDescription
---@field cluster_id string
---@field controller integer?
---@field brokers strand.ClusterBroker[]
---@field topics table<string, strand.TopicDescription>

---What the brokers know of themselves and of topics. No topic begins to exist
---because it is asked for.
---@param what? strand.DescribeOptions
---@param timeout? number
---@return strand.ClusterDescription? known
---@return string? message          of the first topic that cannot be described
---@return string? code             "UNKNOWN_TOPIC_OR_PART", "UNKNOWN_BROKER", ...
---@return strand.ClusterDescription? known     also when a topic failed
function admin:describe(what, timeout) end

---@class strand.AlterConfigOptions
---@field topic? string             whose settings change, or
---@field broker? integer           the number of the broker
---@field set? table<string, string|number|boolean>
---@field unset? string[]           settings that get their default again

---All others stay as they are; a wrong one changes nothing. With librdkafka
---below 2.2 they are read and written all at once: what somebody else changes
---meanwhile is lost, and a broker with a secret among its own is refused.
---@param what strand.AlterConfigOptions
---@param timeout? number
---@return true? ok
---@return string? message
---@return string? code             "INVALID_CONFIG", "UNSUPPORTED_FEATURE", ...
function admin:alter_config(what, timeout) end

---@class strand.GroupMember
---@field id string
---@field client_id string
---@field instance_id? string       of a static member
---@field host string               "/10.0.0.7"
---@field assignment { topic: string, partition: integer }[]

---@class strand.Group
---@field group string
---@field state "Empty"|"PreparingRebalance"|"CompletingRebalance"|"Stable"|"Dead"|"Unknown"
---@field simple boolean            it has offsets, and nobody ever joined it
---@field assignor? string          with names, as the two below
---@field coordinator? strand.ClusterBroker
---@field members? strand.GroupMember[]
---@field message? string           why it cannot be described
---@field code? string

---The groups of consumers; with names each with its members.
---@param names? string[]
---@param timeout? number
---@return strand.Group[]? groups   by name
---@return string? message          of the first that failed, or of a broker that does not say which it has
---@return string? code
---@return strand.Group[]? groups   also when some failed
function admin:groups(names, timeout) end

---@class strand.PartitionLag
---@field topic string
---@field partition integer
---@field committed integer?        nil: nothing
---@field start_offset integer?     the log's first
---@field end_offset integer?       behind its last record
---@field lag integer?              from the committed offset, or the start, to the end
---@field true_lag integer?         what is left of it: neither deleted nor, by the commit's metadata, done
---@field message? string
---@field code? string

---@class strand.GroupLag
---@field group string
---@field total integer
---@field true_total integer
---@field partitions strand.PartitionLag[]      all of each topic, in order

---How far a group is behind, by offsets.
---@param group string
---@param topics? string[]          nil: those it has committed, or its members have
---@param timeout? number
---@return strand.GroupLag? lag
---@return string? message          of the first partition that failed
---@return string? code             "GROUP_ID_NOT_FOUND": no commit and no member, and no names
---@return strand.GroupLag? lag     also when some failed: the others
function admin:lag(group, topics, timeout) end

---What a group has committed, with its metadata.
---@param group string
---@param topics? string[]          nil: all
---@param timeout? number
---@return { topic: string, partition: integer, offset: integer, metadata: string? }[]? list
---@return string? message
---@return string? code
function admin:group_offsets(group, topics, timeout) end

---@class strand.Place
---@field topic string
---@field partition integer
---@field offset integer

---@class strand.PlaceAnswer: strand.Place
---@field offset integer?           nil: it failed
---@field at_end? true              of a time: no record is as new, so it is the end
---@field before? integer           what the group had committed
---@field message? string
---@field code? string

---@class strand.Where
---@field topics string[]
---@field partition? integer        one of the only topic's; all
---@field offset? "earliest"|"latest"|integer   either this
---@field time? number              or this: the first record of this time or later, or the end

---The offsets of logs' starts and ends, or of a time. The end is a reader's:
---with `isolation.level` read_committed (the default) before the first open
---transaction.
---@param where strand.Where        offset: "earliest" or "latest"
---@param timeout? number
---@return strand.PlaceAnswer[]? list
---@return string? message          of the first partition that failed
---@return string? code
---@return strand.PlaceAnswer[]? list   also when some failed
function admin:list_offsets(where, timeout) end

---Where a group goes on. It must have no members: the error says who they
---are. The metadata of its commits is dropped, so records above the offset are
---handled again, also those that were done. Places are what list_offsets and
---group_offsets give; one that is not in its log is refused, and then nothing
---is written.
---@param group string
---@param where strand.Where|strand.Place[]
---@param timeout? number
---@return strand.PlaceAnswer[]? list   before: the former offset, if there was one
---@return string? message          of the first that failed
---@return string? code             "NON_EMPTY_GROUP", "OFFSET_OUT_OF_RANGE", ...
---@return strand.PlaceAnswer[]? list   also when some failed
function admin:reset_offsets(group, where, timeout) end

---Nobody may be subscribed to the topics. An empty list: there was nothing.
---@param group string
---@param topics string[]
---@param timeout? number
---@return strand.PlaceAnswer[]? list   without offsets; before: what it had committed
---@return string? message          of the first that failed
---@return string? code             "GROUP_SUBSCRIBED_TO_TOPIC", ...
---@return strand.PlaceAnswer[]? list   also when some failed
function admin:delete_group_offsets(group, topics, timeout) end

---@class strand.ReadOptions
---@field topic string
---@field partition integer
---@field offset? integer|"earliest"|"latest"   either this: that record, or the next that is there
---@field time? number              or this: the first record of this time or later
---@field records? integer          at most, 1 to 100000; 1
---@field max_bytes? integer        ends with the record that reaches so many; 64 MiB

---Records, as record:copy() gives them, without the attempt. In no group, and
---nothing is committed. Ends at the log's end and does not wait for more.
---@param what strand.ReadOptions|string    or a record's id
---@param timeout? number
---@return table[]? records
---@return string ended_or_message  why no more: "records", "bytes", "end", "timeout"
---@return string? code             "OFFSET_OUT_OF_RANGE", "TIMED_OUT": not even one came in time
function admin:read(what, timeout) end

---The records before each offset, for good. One that is beyond its log's end is
---refused, and then nothing is deleted.
---@param places strand.Place[]
---@param timeout? number
---@return strand.PlaceAnswer[]? list   where each log begins now
---@return string? message          of the first that failed
---@return string? code
---@return strand.PlaceAnswer[]? list   also when some failed
function admin:delete_records(places, timeout) end

---@return true
function admin:close() end

-- The test kit ------------------------------------------------------------------

---For unit tests of handlers: no broker, no thread. A handler runs in the
---caller's state, and what it returns or raises is read by a worker's own code.
---@class strand.testing
strand.testing = {}

---@class strand.TestRecord
---@field id? string                  ignored: what record:copy() and admin:read give may be passed on
---@field topic? string               default "topic"
---@field partition? integer          default 0
---@field offset? integer             default 0
---@field key? string
---@field value? string
---@field headers? table<string, string>|{ [1]: string, [2]: string? }[]
---@field timestamp? number           seconds since 1970
---@field timestamp_type? "create"|"append"
---@field attempt? integer            default 1
---@field leader_epoch? integer

---A record as a handler gets it, valid for as long as it is kept.
---@param fields? strand.TestRecord
---@return strand.Record
function strand.testing.record(fields) end

---@class strand.TestContext
---@field args? any                   what handler_args would be
---@field worker? integer             default 1
---@field remaining? number           seconds; what context:remaining() says

---A context as a handler gets it.
---@param fields? strand.TestContext
---@return strand.Context
function strand.testing.context(fields) end

---What became of a record.
---@class strand.TestResult
---@field kind "done"|"failed"|"exhausted"|"retry"|"skip"|"dead_letter"|"park"|"stop"
---@field reason? string              with the traceback of an error
---@field delay? number               seconds that retry() asked for
---@field stop_consumer boolean       the handler called context:stop_consumer()
---@field produced strand.Sending[]   what would be sent: in order; empty unless kind is "done"

---Calls the handler once, as a worker would. A module's setup(context.args) is
---called before, once for each module and args; an error of it is raised. The
---handler's own records are over when it has returned, those of the test are not.
---@param handler string|function|strand.HandlerModule   a string is given to require
---@param subject strand.Record|strand.Record[]          a list is a batch
---@param context? strand.Context
---@return strand.TestResult|strand.TestResult[]         of a batch a list
function strand.testing.run(handler, subject, context) end

---Options of a consumer, of which only `handler` is required, and those of the run.
---@class strand.ConsumeOptions: strand.ConsumerOptions
---@field kafka? table<string, string|number|boolean>   reaches nobody; "group.id" is in dead letters
---@field topics? string[]            default: the topics of the records and routes
---@field workers? integer            0; with more, so many handlers run at once, and cannot sleep or defer
---@field max_time? number            seconds: how far the time goes on; a week
---@field max_attempts? integer       of one record, after which the run ends; 1000
---@field start_time? number          seconds since 1970; now

---@class strand.ConsumeRecord
---@field id? string                  ignored, as attempt is: a copy of a record may be given
---@field attempt? integer
---@field topic? string               default: the only one that is subscribed to
---@field partition? integer          default 0
---@field offset? integer             default: the next of its partition
---@field key? string
---@field value? string
---@field headers? table<string, string>|{ [1]: string, [2]: string? }[]
---@field timestamp? number           seconds since 1970
---@field timestamp_type? "create"|"append"
---@field leader_epoch? integer

---A call of a handler. Times are seconds since the run began.
---@class strand.ConsumeCall
---@field records integer[]           numbers of the records; of a batch all
---@field attempt integer             of a batch the highest
---@field began number
---@field ended? number               nil: it has not, or its done() was not called

---What became of a record.
---@class strand.ConsumeResult
---@field id string
---@field topic string
---@field partition integer
---@field offset integer
---@field key? string
---@field state "done"|"skipped"|"dead_lettered"|"parked"|"waiting"|"running"|"behind"|"buffered"|"unread"|"lost"
---@field attempts integer
---@field calls strand.ConsumeCall[]
---@field failures { attempt: integer, at: number, reason: string?, delay: number? }[]
---@field reason? string              the last one, with the traceback of an error
---@field delay? number               waiting: seconds that it waits before the next attempt
---@field retry_at? number            waiting: when that would be
---@field produced strand.Sending[]
---@field dead_letter? strand.Sending

---@class strand.ConsumeReport: strand.Report
---@field records strand.ConsumeResult[]   in the order they were given
---@field order integer[]             numbers of records, as their handlers began
---@field calls strand.ConsumeCall[]  the same
---@field most_at_once integer        calls that ran at once
---@field produced strand.Sending[]   in order
---@field dead_letters strand.Sending[]
---@field ended "finished"|"blocked"|"stopped"|"max_time"|"max_attempts"
---@field code? string                stopped: "STOPPED_BY_HANDLER", "STOPPED"
---@field message? string             stopped: why
---@field blocked strand.ConsumeResult[]      whose handlers do not end, or that cannot start
---@field unfinished strand.ConsumeResult[]
---@field repeats strand.ConsumeResult[]      that a crash before the last commit would repeat
---@field committed { topic: string, partition: integer, offset: integer, metadata: string }[]

---Runs the records through a consumer's engine, in the caller's thread, without
---a group and a broker. The time is the run's own: retries, sleeps, deadlines
---and rates take none.
---@param options strand.ConsumeOptions
---@param records strand.ConsumeRecord[]
---@return strand.ConsumeReport? report
---@return string? message
---@return string? code               "HANDLER": it does not load
function strand.testing.consume(options, records) end

-- Mock ------------------------------------------------------------------------

---@class strand.MockOptions
---@field brokers? integer          1 to 16; 3
---@field topics? table<string, integer>    name -> partitions
---@field log? fun(level: integer, facility: string, message: string)|false   from its methods

---Brokers are numbered from 1.
---@class strand.Mock
---@field bootstrap_servers string
local mock = {}

---@param name string
---@param partitions integer        1 to 10000
---@return true? ok
---@return string? message
---@return string? code
function mock:create_topic(name, partitions) end

---@param broker? integer           nil: all
function mock:down(broker) end

---@param broker? integer           nil: all
function mock:up(broker) end

---@param broker integer?           nil: all
---@param seconds number
function mock:rtt(broker, seconds) end

---The next requests of this kind fail.
---@param request string            Kafka's name: "OffsetCommit"
---@param code string               "COORDINATOR_LOAD_IN_PROGRESS"
---@param count? integer            1
---@return true? ok
---@return string? message
---@return string? code
function mock:fail(request, code, count) end

---@param topic string
---@param partition integer
---@param broker? integer           nil: none
function mock:leader(topic, partition, broker) end

---@param group string
---@param broker integer
function mock:coordinator(group, broker) end

---@return true
function mock:close() end

-- Event loops -----------------------------------------------------------------

---What an event loop serves.
---@alias strand.Served strand.Consumer|strand.Producer|strand.Admin

---Puts it into the loop, and starts a consumer. Methods that wait yield from then on; where they
---cannot, they return nil, a message and CANNOT_WAIT. Raises for one that is served already, or
---closed.
---@class strand.Loop
---@field start fun(object: strand.Served): true?, string?, string?

---@class strand.CqueuesLoop
---@field start fun(object: strand.Served, controller?: any): true?, string?, string?   the one that runs, unless given

---@class strand.LuvLoop
---@field start fun(object: strand.Served, luv?: table): true?, string?, string?        require "luv", unless given

---A small event loop for programs that have none.
---@class strand.PlainLoop: strand.Loop
---@field spawn fun(f: fun()): thread
---@field sleep fun(seconds: number)
---@field run fun()                                  until every coroutine has ended
---@field step fun(timeout?: number): integer        one turn -> coroutines resumed
---@field new fun(): strand.PlainLoop

---nginx with its Lua module (OpenResty); see docs/openresty.md.
---@class strand.RestyLoop
---@field start fun(object: strand.Served, options?: strand.RestyOptions): true?, string?, string?   code: "LIMIT", ...
---@field exit fun()                                 in exit_worker_by_lua: closes what is open, within 2.6 s
---@field stats fun(): strand.RestyStats             of all workers, with lua_shared_dict strand; else of this one
---@field health fun(): true?, string?, string?      the same; codes of consumer:health(), "STUCK_WORKER", "NOT_STARTED"

---@class strand.RestyOptions
---@field only_worker? integer      from 0: the one that starts it; others get "OTHER_WORKER"
---@field quit_timeout? number      seconds, when the worker is told to quit; 30
---@field socket_dir? string        where its socket's folder is made; TMPDIR, or /tmp

---All workers of an nginx in one answer, of numbers, names and booleans alone.
---@class strand.RestyStats
---@field workers strand.RestyWorker[]               by pid
---@field consumers table<string, strand.RestyConsumer>   by group.id: the sums
---@field producers table<string, strand.ProducerStats>   by client.id, "rdkafka" without one: the sums
---@field shared boolean            false: no lua_shared_dict strand, workers is the one that answers

---@class strand.RestyWorker
---@field pid integer
---@field id integer                ngx.worker.id()
---@field age number                seconds since its snapshot; 0: it answers
---@field consumers table<string, strand.RestyConsumer>
---@field producers table<string, strand.ProducerStats>
---@field left_out integer?         names that its snapshot, of 16 KiB at most, has no room for

---The numbers of strand.Stats, and of its partitions; highest, not sum, are longest_slice and
---oldest_age, lowest is idle.
---@class strand.RestyConsumer: strand.Stats
---@field partitions integer        how many
---@field lag integer?
---@field true_lag integer?
---@field oldest_age number?
---@field ok boolean?               as of health(); false: it failed, or was not started; nil: its worker quits
---@field reason string?
---@field code string?

---What strand asks of an event loop; see docs/event-loops.md.
---@class strand.Adapter
---@field spawn fun(body: fun()): any
---@field wait_readable fun(fd: integer)
---@field sleep fun(seconds?: number, waiter?: table)
---@field wake fun(waiter: table)
---@field now fun(): number
---@field alive? fun(handle?: any): boolean
---@field cancel? fun(handle: any)
---@field on_exit? fun(f: fun())
---@field marker? any

---@class strand.loop
---@field cqueues strand.CqueuesLoop
---@field luv strand.LuvLoop
---@field plain strand.PlainLoop
---@field resty strand.RestyLoop
local loop = {}

---For a loop that strand does not know. Raises what is wrong with the adapter.
---@param adapter strand.Adapter
---@return strand.Loop
function loop.adapter(adapter) end

-- Metadata of commits ---------------------------------------------------------

---The Confluent Parallel Consumer's format.
---@class strand.metadata
local metadata = {}

---@param committed_offset integer
---@param text string               the metadata of a commit
---@return { highest: integer, incomplete: { [1]: integer, [2]: integer }[], codec: string }? decoded
---@return string? message
---@return string? code             "BAD_FORMAT", "TOO_LARGE"
function metadata.decode(committed_offset, text) end

---@param committed_offset integer
---@param highest integer           the highest offset that was done; committed_offset - 1: none
---@param incomplete { [1]: integer, [2]: integer }[]   ranges, both ends included
---@param limit? integer            characters; 4096
---@return string? text
---@return string codec_or_message
---@return string? code             "TOO_LARGE"
function metadata.encode(committed_offset, highest, incomplete, limit) end

return strand

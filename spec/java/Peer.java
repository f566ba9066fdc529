/*
** Peer.java - the Java parallel consumer, and a plain one, to stand beside
** strand: for the benchmarks, and as the other member in spec/interop.
**
**   make build/java/complete
**   java -Xms1g -Xmx3g -cp 'build/java/lib/*:build/java/classes' Peer COMMAND NAME=VALUE...
**
** All commands:
**   broker=HOST:PORT  topic=NAME  group=NAME      required
**   mode=parallel|plain    plain: a loop over KafkaConsumer.poll   (parallel)
**   commit_ms=N            time between commits                    (5000)
**   limit_s=N              gives up with exit status 1             (600)
**   kafka.NAME=VALUE       a property of the KafkaConsumer
** mode=parallel alone:
**   order=KEY|PARTITION|UNORDERED                                  (KEY)
**   concurrency=N          handlers at once                        (16)
**   batch=N                records a call                          (1)
**   buffer=N               records read and not done, at most; 0: as it likes (0)
**   commit=ASYNCHRONOUS|SYNC                                       (ASYNCHRONOUS)
**
** bench   records=N  sleep_ms=N (0)
**   Handles N records of the topic, which must be there already, from its
**   start; each call of the handler sleeps. Prints, a line each:
**     records N                    as asked
**     seconds S                    from the first record to the last
**     records_per_second R         of the second half, record N/2 to N
**     cpu_seconds_per_record S     this process, of the second half
**     most_in_flight N             records inside handlers at once
**
** latency records=N  warmup=N (0)  sleep_ms=N (0)
**   A value starts with the time when it was sent: 8 bytes, little endian,
**   nanoseconds of CLOCK_REALTIME. Prints when it has handled warmup + N:
**     records N,  p50_us US,  p99_us US,  max_us US
**   Prints "ready" when it is assigned, before all that: send then, to a topic
**   that is new, or with kafka.auto.offset.reset=latest.
**
** half    log=FILE  records=N  codec=NAME
**   Handles the topic until N records are done, then closes with its last
**   commit. Records whose value begins with "fail " fail, and would come
**   again only after an hour; with KEY and PARTITION those behind them wait.
**   codec: one of OffsetEncoding (BitSet, RunLengthV2Compressed, ...), forced.
** rest    log=FILE  records=N  idle_s=N (1)
**   Handles what is left, all of it: until N records are done and after them
**   nothing has come for so long. Then it closes.
** Both append to FILE the lines that spec/support/audit.lua reads:
**   start|done|failed  process  topic  partition  offset  key  attempt
** and print "done N".
**
** place   keys=FILE  records=N
**   The topic has N records already, of one key each, whose value is the line
**   of FILE that the key stands on, from 0: hex, "-" for an empty key, "null"
**   for none. Sends the same keys with a plain KafkaProducer, reads the topic
**   back, and prints "done N", then a line for each key: where its record is,
**   and where Java put it. No group.
*/
import io.confluent.parallelconsumer.PCRetriableException;
import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import io.confluent.parallelconsumer.offsets.OffsetEncoding;
import io.confluent.parallelconsumer.offsets.OffsetMapCodecManager;
import io.confluent.parallelconsumer.offsets.OffsetSimultaneousEncoder;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;

public final class Peer {
  private static final Duration POLL = Duration.ofMillis(100);

  /** What is done with records; called by many threads, or by one. */
  private interface Handler {
    void handle(List<ConsumerRecord<String, byte[]>> records) throws InterruptedException;

    /** A partition is this consumer's. */
    default void assigned() {}

    /** What has come so far is all. Called every POLL by one thread. */
    boolean finished();

    void print();
  }

  // ---- arguments -------------------------------------------------------------

  private final Map<String, String> arguments = new HashMap<>();

  private String text(String name, String otherwise) {
    String value = arguments.remove(name);
    if (value != null) return value;
    if (otherwise == null) throw new IllegalArgumentException(name + "= is missing");
    return otherwise;
  }

  private int number(String name, Integer otherwise) {
    return Integer.parseInt(text(name, otherwise == null ? null : otherwise.toString()));
  }

  private void parse(String[] given) {
    for (String argument : Arrays.asList(given).subList(1, given.length)) {
      String[] parts = argument.split("=", 2);
      if (parts.length < 2) throw new IllegalArgumentException("not NAME=VALUE: " + argument);
      arguments.put(parts[0], parts[1]);
    }
  }

  private void takeProperties(Properties properties) {
    arguments.keySet().stream().filter(name -> name.startsWith("kafka."))
        .collect(Collectors.toList())
        .forEach(name -> properties.put(name.substring(6), arguments.remove(name)));
  }

  // ---- consumers -------------------------------------------------------------

  private KafkaConsumer<String, byte[]> consumer() {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", text("broker", null));
    properties.put("group.id", text("group", null));
    properties.put("enable.auto.commit", "false");
    properties.put("auto.offset.reset", "earliest");
    properties.put("key.deserializer", StringDeserializer.class.getName());
    properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
    // A key is bytes; this keeps each of them.
    properties.put("key.deserializer.encoding", "ISO-8859-1");
    takeProperties(properties);
    return new KafkaConsumer<>(properties);
  }

  private ParallelConsumerOptions<String, byte[]> options(KafkaConsumer<String, byte[]> consumer) {
    CommitMode commit =
        CommitMode.valueOf("PERIODIC_CONSUMER_" + text("commit", "ASYNCHRONOUS"));
    return ParallelConsumerOptions.<String, byte[]>builder()
        .consumer(consumer)
        .ordering(ProcessingOrder.valueOf(text("order", "KEY")))
        .maxConcurrency(number("concurrency", 16))
        .batchSize(number("batch", 1))
        .messageBufferSize(number("buffer", 0))
        .commitMode(commit)
        .commitInterval(Duration.ofMillis(number("commit_ms", 5000)))
        .retryDelayProvider(record -> Duration.ofHours(1))
        .build();
  }

  private static ConsumerRebalanceListener listener(Handler handler) {
    return new ConsumerRebalanceListener() {
      @Override
      public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}

      @Override
      public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        handler.assigned();
      }
    };
  }

  private static void waitFor(Handler handler, Instant limit) throws InterruptedException {
    while (!handler.finished()) {
      if (Instant.now().isAfter(limit)) throw new IllegalStateException("limit_s is over");
      Thread.sleep(POLL.toMillis());
    }
  }

  private void parallel(Handler handler, KafkaConsumer<String, byte[]> consumer,
      List<String> topics, Instant limit) throws InterruptedException {
    ParallelConsumerOptions<String, byte[]> options = options(consumer);
    refuseUnknown();
    ParallelStreamProcessor<String, byte[]> processor =
        ParallelStreamProcessor.createEosStreamProcessor(options);
    processor.subscribe(topics, listener(handler));
    processor.poll(context -> {
      try {
        handler.handle(context.stream().map(record -> record.getConsumerRecord())
            .collect(Collectors.toList()));
      } catch (InterruptedException interrupted) {
        throw new IllegalStateException(interrupted);
      }
    });
    waitFor(handler, limit);
    processor.closeDontDrainFirst(Duration.ofSeconds(30));
  }

  private void plain(Handler handler, KafkaConsumer<String, byte[]> consumer,
      List<String> topics, Instant limit) throws InterruptedException {
    long interval = TimeUnit.MILLISECONDS.toNanos(number("commit_ms", 5000));
    long committed = System.nanoTime();
    refuseUnknown();
    consumer.subscribe(topics, listener(handler));
    while (!handler.finished()) {
      if (Instant.now().isAfter(limit)) throw new IllegalStateException("limit_s is over");
      ConsumerRecords<String, byte[]> records = consumer.poll(POLL);
      for (ConsumerRecord<String, byte[]> record : records) handler.handle(List.of(record));
      if (System.nanoTime() - committed < interval) continue;
      committed = System.nanoTime();
      consumer.commitAsync();
    }
    consumer.commitSync();
    consumer.close();
  }

  private void refuseUnknown() {
    if (arguments.isEmpty()) return;
    throw new IllegalArgumentException("unknown: " + String.join(" ", arguments.keySet()));
  }

  // ---- bench -----------------------------------------------------------------

  private static long cpuNanos() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory
        .getOperatingSystemMXBean()).getProcessCpuTime();
  }

  private static final class Bench implements Handler {
    private final long records;
    private final int sleep;
    private final AtomicLong begun = new AtomicLong();
    private final AtomicLong ended = new AtomicLong();
    private final AtomicInteger inside = new AtomicInteger();
    private final AtomicInteger most = new AtomicInteger();
    private final CountDownLatch complete = new CountDownLatch(1);
    private volatile long first, half, last, halfCpu, lastCpu;

    Bench(Peer peer) {
      records = peer.number("records", null);
      sleep = peer.number("sleep_ms", 0);
    }

    @Override
    public void handle(List<ConsumerRecord<String, byte[]>> list) throws InterruptedException {
      int size = list.size();
      if (begun.getAndAdd(size) == 0) first = System.nanoTime();
      int now = inside.addAndGet(size);
      if (now > most.get()) most.accumulateAndGet(now, Math::max);
      if (sleep > 0) Thread.sleep(sleep);
      inside.addAndGet(-size);
      count(size);
    }

    private void count(int size) {
      long after = ended.addAndGet(size);
      if (after >= records / 2 && after - size < records / 2) {
        half = System.nanoTime();
        halfCpu = cpuNanos();
      }
      if (after >= records && after - size < records) {
        last = System.nanoTime();
        lastCpu = cpuNanos();
        complete.countDown();
      }
    }

    @Override
    public boolean finished() {
      return complete.getCount() == 0;
    }

    @Override
    public void print() {
      double counted = records - records / 2;
      System.out.printf("records %d%n", records);
      System.out.printf("seconds %.3f%n", (last - first) / 1e9);
      System.out.printf("records_per_second %.0f%n", counted / ((last - half) / 1e9));
      System.out.printf("cpu_seconds_per_record %.9f%n", (lastCpu - halfCpu) / 1e9 / counted);
      System.out.printf("most_in_flight %d%n", most.get());
    }
  }

  // ---- latency ---------------------------------------------------------------

  private static final class Latency implements Handler {
    private final int warmup;
    private final int sleep;
    private final long[] nanos;
    private final AtomicInteger next = new AtomicInteger();
    private final AtomicInteger ended = new AtomicInteger();

    Latency(Peer peer) {
      warmup = peer.number("warmup", 0);
      sleep = peer.number("sleep_ms", 0);
      nanos = new long[peer.number("records", null)];
    }

    @Override
    public void assigned() {
      System.out.println("ready");
    }

    @Override
    public void handle(List<ConsumerRecord<String, byte[]>> list) throws InterruptedException {
      Instant now = Instant.now();
      for (ConsumerRecord<String, byte[]> record : list) note(now, record.value());
      if (sleep > 0) Thread.sleep(sleep);
    }

    private void note(Instant now, byte[] value) {
      long sent = ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN).getLong();
      int index = next.getAndIncrement() - warmup;
      if (index < 0 || index >= nanos.length) return;
      nanos[index] = now.getEpochSecond() * 1_000_000_000L + now.getNano() - sent;
      ended.incrementAndGet();
    }

    @Override
    public boolean finished() {
      return ended.get() == nanos.length;
    }

    private double micros(double share) {
      return nanos[(int) Math.min(nanos.length - 1, share * nanos.length)] / 1e3;
    }

    @Override
    public void print() {
      Arrays.sort(nanos);
      System.out.printf("records %d%n", nanos.length);
      System.out.printf("p50_us %.1f%n", micros(0.50));
      System.out.printf("p99_us %.1f%n", micros(0.99));
      System.out.printf("max_us %.1f%n", micros(1));
    }
  }

  // ---- half, rest --------------------------------------------------------------

  private static final class Recorder implements Handler {
    private static final byte[] FAIL = "fail ".getBytes(StandardCharsets.US_ASCII);

    private final OutputStream log;
    private final long process = ProcessHandle.current().pid();
    private final boolean obeys;      // "fail " means failing
    private final int records;        // so many done are all
    private final long idle;          // and then nanoseconds without a record
    private final AtomicInteger done = new AtomicInteger();
    private volatile long latest;

    Recorder(Peer peer, boolean half) throws IOException {
      log = new FileOutputStream(peer.text("log", null), true);
      obeys = half;
      records = peer.number("records", null);
      idle = half ? 0 : TimeUnit.SECONDS.toNanos(peer.number("idle_s", 1));
      if (half) force(peer.text("codec", ""));
    }

    private static void force(String codec) {
      if (codec.isEmpty()) return;
      OffsetMapCodecManager.forcedCodec = Optional.of(OffsetEncoding.valueOf(codec));
      OffsetSimultaneousEncoder.compressionForced = codec.endsWith("Compressed");
    }

    private void write(String what, ConsumerRecord<String, byte[]> record) {
      String line = String.format("%s\t%d\t%s\t%d\t%d\t%s\t1\n", what, process, record.topic(),
          record.partition(), record.offset(), record.key() == null ? "" : record.key());
      try {
        log.write(line.getBytes(StandardCharsets.ISO_8859_1));  // one write(2)
      } catch (IOException failed) {
        throw new IllegalStateException(failed);
      }
    }

    private boolean fails(byte[] value) {
      return obeys && value != null && value.length >= FAIL.length
          && Arrays.equals(value, 0, FAIL.length, FAIL, 0, FAIL.length);
    }

    @Override
    public void handle(List<ConsumerRecord<String, byte[]>> list) {
      for (ConsumerRecord<String, byte[]> record : list) {
        latest = System.nanoTime();
        write("start", record);
        if (fails(record.value())) {
          write("failed", record);
          throw new PCRetriableException("asked to fail");
        }
        write("done", record);
        done.incrementAndGet();
      }
    }

    @Override
    public boolean finished() {
      return done.get() >= records && System.nanoTime() - latest >= idle;
    }

    @Override
    public void print() {
      System.out.println("done " + done.get());
    }
  }

  // ---- place -------------------------------------------------------------------

  private static List<byte[]> keysOf(String file) throws IOException {
    List<byte[]> keys = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(file), StandardCharsets.US_ASCII)) {
      if (line.equals("null")) keys.add(null);
      else keys.add(line.equals("-") ? new byte[0] : HexFormat.of().parseHex(line));
    }
    return keys;
  }

  private static int[] sendAll(String broker, String topic, List<byte[]> keys)
      throws InterruptedException, ExecutionException {
    int[] partitions = new int[keys.size()];
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    Properties properties = new Properties();
    properties.put("bootstrap.servers", broker);
    properties.put("key.serializer", ByteArraySerializer.class.getName());
    properties.put("value.serializer", ByteArraySerializer.class.getName());
    try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties)) {
      for (byte[] key : keys) {
        sent.add(producer.send(new ProducerRecord<>(topic, key, new byte[0])));
      }
      for (int i = 0; i < partitions.length; i++) partitions[i] = sent.get(i).get().partition();
    }
    return partitions;
  }

  /** By the number that is a record's value; what has none is Java's. */
  private static int[] readAll(KafkaConsumer<String, byte[]> consumer, String topic,
      int records, Instant limit) {
    int[] partitions = new int[records];
    List<TopicPartition> all = consumer.partitionsFor(topic).stream()
        .map(info -> new TopicPartition(topic, info.partition())).collect(Collectors.toList());
    consumer.assign(all);
    consumer.seekToBeginning(all);
    for (int left = records; left > 0; ) {
      if (Instant.now().isAfter(limit)) throw new IllegalStateException("limit_s is over: " + left + " left");
      for (ConsumerRecord<String, byte[]> record : consumer.poll(POLL)) {
        if (record.value().length == 0) continue;
        int number = Integer.parseInt(new String(record.value(), StandardCharsets.US_ASCII));
        partitions[number] = record.partition();
        left--;
      }
    }
    return partitions;
  }

  private void place(Instant limit) throws IOException, InterruptedException, ExecutionException {
    String topic = text("topic", null);
    String broker = text("broker", null);
    List<byte[]> keys = keysOf(text("keys", null));
    int records = number("records", null);
    refuseUnknown();
    arguments.put("broker", broker);
    arguments.put("group", "place");
    int[] here;
    try (KafkaConsumer<String, byte[]> consumer = consumer()) {
      here = readAll(consumer, topic, records, limit);
    }
    int[] java = sendAll(broker, topic, keys);
    System.out.println("done " + records);
    for (int i = 0; i < records; i++) System.out.println(here[i] + " " + java[i]);
  }

  // ---- main --------------------------------------------------------------------

  private Handler handler(String command) throws IOException {
    switch (command) {
      case "bench": return new Bench(this);
      case "latency": return new Latency(this);
      case "half": return new Recorder(this, true);
      case "rest": return new Recorder(this, false);
      default: throw new IllegalArgumentException("unknown: " + command);
    }
  }

  private void run(String command)
      throws IOException, InterruptedException, ExecutionException {
    Instant limit = Instant.now().plusSeconds(number("limit_s", 600));
    if (command.equals("place")) {
      place(limit);
      return;
    }
    Handler handler = handler(command);
    boolean plain = text("mode", "parallel").equals("plain");
    List<String> topics = List.of(text("topic", null));
    KafkaConsumer<String, byte[]> consumer = consumer();
    if (plain) plain(handler, consumer, topics, limit);
    else parallel(handler, consumer, topics, limit);
    handler.print();
  }

  public static void main(String[] given) {
    System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
    int status = 0;
    try {
      Peer peer = new Peer();
      if (given.length == 0) throw new IllegalArgumentException("a command is missing");
      peer.parse(given);
      peer.run(given[0]);
    } catch (Exception failed) {
      failed.printStackTrace();
      status = 1;
    }
    System.exit(status);  // not every thread of theirs is a daemon
  }
}

/*
** Producing.java - the Java parallel consumer where each record makes one:
** pollAndProduce, to stand beside strand's context:produce.
**
**   java -Xms1g -Xmx3g -cp 'build/java/lib/*:build/java/classes' Producing NAME=VALUE...
**
**   broker=HOST:PORT  topic=NAME  out=NAME  group=NAME  records=N   required
**   concurrency=N       handlers at once             (100)
**   transactional=ID    exactly once, committed eagerly every 0.5 s
**
** Handles N records of the topic, which must be there already, from its start,
** and sends each on with its key; the topic may have more. The producer does
** not linger. Prints, a line each:
**   records N                    as asked
**   seconds S                    from the first record to the last
**   records_per_second R         of the second half, record N/2 to N
**   cpu_seconds_per_record S     this process, of the second half
** A record counts when it is acknowledged.
*/
import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ParallelConsumerOptionsBuilder;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Producing {
  private static final long LIMIT_SECONDS = 600;

  private final Map<String, String> arguments = new HashMap<>();
  private final long records;
  private final AtomicLong done = new AtomicLong();
  private final CountDownLatch complete = new CountDownLatch(1);
  private final AtomicLong first = new AtomicLong();
  private volatile long half, last, halfCpu, lastCpu;

  private Producing(String[] given) {
    for (String argument : given) {
      String[] parts = argument.split("=", 2);
      if (parts.length < 2) throw new IllegalArgumentException("not NAME=VALUE: " + argument);
      arguments.put(parts[0], parts[1]);
    }
    records = Long.parseLong(text("records"));
  }

  private String text(String name) {
    String value = arguments.get(name);
    if (value == null) throw new IllegalArgumentException(name + "= is missing");
    return value;
  }

  private KafkaConsumer<byte[], byte[]> consumer() {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", text("broker"));
    properties.put("group.id", text("group"));
    properties.put("enable.auto.commit", "false");
    properties.put("auto.offset.reset", "earliest");
    properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
    return new KafkaConsumer<>(properties);
  }

  private KafkaProducer<byte[], byte[]> producer() {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", text("broker"));
    properties.put("linger.ms", "0");
    properties.put("key.serializer", ByteArraySerializer.class.getName());
    properties.put("value.serializer", ByteArraySerializer.class.getName());
    if (arguments.containsKey("transactional"))
      properties.put("transactional.id", text("transactional"));
    return new KafkaProducer<>(properties);
  }

  private ParallelConsumerOptions<byte[], byte[]> options() {
    ParallelConsumerOptionsBuilder<byte[], byte[]> builder =
        ParallelConsumerOptions.<byte[], byte[]>builder()
            .consumer(consumer())
            .producer(producer())
            .ordering(ProcessingOrder.KEY)
            .maxConcurrency(Integer.parseInt(arguments.getOrDefault("concurrency", "100")));
    if (arguments.containsKey("transactional")) {
      return builder.commitMode(CommitMode.PERIODIC_TRANSACTIONAL_PRODUCER)
          .allowEagerProcessingDuringTransactionCommit(true)
          .commitInterval(Duration.ofMillis(500)).build();
    }
    return builder.commitMode(CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS).build();
  }

  private static long cpuNanos() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory
        .getOperatingSystemMXBean()).getProcessCpuTime();
  }

  /** Called by the threads of the handlers. */
  private void count() {
    long number = done.incrementAndGet();
    if (number == records / 2) {
      half = System.nanoTime();
      halfCpu = cpuNanos();
    }
    if (number == records) {
      last = System.nanoTime();
      lastCpu = cpuNanos();
      complete.countDown();
    }
  }

  private void run() throws InterruptedException {
    String out = text("out");
    ParallelStreamProcessor<byte[], byte[]> processor =
        ParallelStreamProcessor.createEosStreamProcessor(options());
    processor.subscribe(List.of(text("topic")));
    processor.pollAndProduce(
        context -> {
          first.compareAndSet(0, System.nanoTime());
          return new ProducerRecord<>(out, context.key(), context.value());
        },
        result -> count());
    if (!complete.await(LIMIT_SECONDS, TimeUnit.SECONDS))
      throw new IllegalStateException(done + " of " + records + " after the limit");
    print();
    processor.closeDontDrainFirst(Duration.ofSeconds(30));
  }

  private void print() {
    double counted = records - records / 2;
    System.out.printf("records %d%n", records);
    System.out.printf("seconds %.3f%n", (last - first.get()) / 1e9);
    System.out.printf("records_per_second %.0f%n", counted / ((last - half) / 1e9));
    System.out.printf("cpu_seconds_per_record %.9f%n", (lastCpu - halfCpu) / 1e9 / counted);
  }

  public static void main(String[] given) {
    System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
    int status = 0;
    try {
      new Producing(given).run();
    } catch (Exception failed) {
      failed.printStackTrace();
      status = 1;
    }
    System.exit(status);
  }
}

/*
** Reader.java - what a reader of committed records sees, all of it
**
**   java -cp 'build/kafka/VERSION/lib/*' spec/java/Reader.java BROKERS SECONDS [--whole] TOPIC...
**
** Kafka's own consumer, so that strand and librdkafka do not judge themselves.
** Reads each partition from its beginning to the end that it has for a reader
** of everything: a transaction that is still open must end within SECONDS.
** Prints a line for each record, by partition in the order of offsets:
**   TOPIC PARTITION OFFSET KEY VALUE       64 characters of it; "-": no key
** and at last, for each topic, how many records are there for each reader:
**   total TOPIC COMMITTED WRITTEN
** With --whole a record's line is all of it, bytes in hexadecimal ("null"; "-": none):
**   TOPIC PARTITION OFFSET MILLISECONDS KEY VALUE HEADER=VALUE...
*/
import java.io.BufferedOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class Reader {
  private static final Duration POLL = Duration.ofMillis(100);
  private static final int SHOWN = 64;

  private final String brokers;
  private final long deadline;
  private final boolean whole;
  private final List<TopicPartition> partitions = new ArrayList<>();

  private Reader(String brokers, int seconds, boolean whole) {
    this.brokers = brokers;
    this.whole = whole;
    deadline = System.nanoTime() + seconds * 1_000_000_000L;
  }

  private KafkaConsumer<byte[], byte[]> open(String isolation) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    properties.put("isolation.level", isolation);
    properties.put("enable.auto.commit", "false");
    properties.put("auto.offset.reset", "none");
    properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
    return new KafkaConsumer<>(properties);
  }

  /** Where each partition ends, for a reader of everything. */
  private Map<TopicPartition, Long> find(List<String> topics) {
    try (KafkaConsumer<byte[], byte[]> consumer = open("read_uncommitted")) {
      for (String topic : topics) {
        consumer.partitionsFor(topic)
            .forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
      }
      return consumer.endOffsets(partitions);
    }
  }

  private void read(String isolation, Map<TopicPartition, Long> ends,
      Consumer<ConsumerRecord<byte[], byte[]>> take) {
    try (KafkaConsumer<byte[], byte[]> consumer = open(isolation)) {
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
        if (System.nanoTime() > deadline) {
          partitions.stream().filter(p -> consumer.position(p) < ends.get(p)).forEach(p ->
              System.err.println(p + " at " + consumer.position(p) + " of " + ends.get(p)));
          throw new IllegalStateException(isolation + ": not read to the end");
        }
        consumer.poll(POLL).forEach(take);
      }
    }
  }

  private static String text(byte[] bytes) {
    if (bytes == null) return "-";
    int length = Math.min(bytes.length, SHOWN);
    return new String(bytes, 0, length, StandardCharsets.ISO_8859_1);
  }

  private static String hex(byte[] bytes) {
    if (bytes == null) return "null";
    return bytes.length == 0 ? "-" : HexFormat.of().formatHex(bytes);
  }

  private String line(ConsumerRecord<byte[], byte[]> record) {
    String place = record.topic() + " " + record.partition() + " " + record.offset() + " ";
    if (!whole) return place + text(record.key()) + " " + text(record.value());
    StringBuilder line = new StringBuilder(place).append(record.timestamp()).append(' ')
        .append(hex(record.key())).append(' ').append(hex(record.value()));
    for (Header header : record.headers()) {
      line.append(' ').append(hex(header.key().getBytes(StandardCharsets.UTF_8))).append('=')
          .append(hex(header.value()));
    }
    return line.toString();
  }

  private void run(List<String> topics, PrintStream out) {
    Map<TopicPartition, Long> ends = find(topics);
    Map<String, long[]> totals = new TreeMap<>();
    topics.forEach(topic -> totals.put(topic, new long[2]));
    read("read_committed", ends, record -> {
      totals.get(record.topic())[0]++;
      out.println(line(record));
    });
    read("read_uncommitted", ends, record -> totals.get(record.topic())[1]++);
    totals.forEach((topic, n) -> out.println("total " + topic + " " + n[0] + " " + n[1]));
    out.flush();
  }

  public static void main(String[] given) {
    PrintStream out = new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false);
    boolean whole = given[2].equals("--whole");
    Reader reader = new Reader(given[0], Integer.parseInt(given[1]), whole);
    reader.run(Arrays.asList(given).subList(whole ? 3 : 2, given.length), out);
  }
}

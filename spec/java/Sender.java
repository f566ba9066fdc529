/*
** Sender.java: the Java producer, as fast as it goes
**
**   java Sender BROKERS TOPIC RECORDS BYTES
**
** Idempotent, with strand's linger and batch size. A tenth of the records goes
** before, as of raw_send.c, and what is printed is what that prints, by
** thirds: "records_per_second" and "cpu_seconds_per_record" of the last one,
** "first_per_second" of the first. What the virtual machine learns meanwhile
** shows in the difference.
*/
import java.io.FileInputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Sender {
  private static final int KEYS = 10000;
  private static final int VALUES = 1000;

  private final String topic;
  private final KafkaProducer<byte[], byte[]> producer;
  private final byte[][] keys = new byte[KEYS][];
  private final byte[][] values;
  private final AtomicLong failed = new AtomicLong();

  private Sender(String brokers, String topic, int bytes) throws IOException {
    this.topic = topic;
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    properties.put("enable.idempotence", "true");
    properties.put("acks", "all");
    properties.put("linger.ms", "5");
    properties.put("batch.size", "1000000");
    properties.put("buffer.memory", "67108864");
    properties.put("key.serializer", ByteArraySerializer.class.getName());
    properties.put("value.serializer", ByteArraySerializer.class.getName());
    producer = new KafkaProducer<>(properties);
    for (int i = 0; i < KEYS; i++) {
      keys[i] = ("key-" + (i + 1)).getBytes(StandardCharsets.US_ASCII);
    }
    values = new byte[VALUES][bytes];
    try (FileInputStream urandom = new FileInputStream("/dev/urandom")) {
      for (byte[] value : values) {
        if (urandom.readNBytes(value, 0, bytes) != bytes) throw new IOException("urandom");
      }
    }
  }

  private void send(int count) {
    for (int i = 0; i < count; i++) {
      producer.send(new ProducerRecord<>(topic, keys[i % KEYS], values[i % VALUES]),
          (metadata, problem) -> {
            if (problem != null) failed.incrementAndGet();
          });
    }
    producer.flush();
    if (failed.get() > 0) throw new IllegalStateException(failed + " records failed");
  }

  private static long cpuNanos() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory
        .getOperatingSystemMXBean()).getProcessCpuTime();
  }

  public static void main(String[] given) throws IOException {
    System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
    int third = Integer.parseInt(given[2]) / 3;
    Sender sender = new Sender(given[0], given[1], Integer.parseInt(given[3]));
    sender.send(third / 3);
    double first = 0;
    double last = 0;
    double cpu = 0;
    for (int i = 0; i < 3; i++) {
      long start = System.nanoTime();
      long used = cpuNanos();
      sender.send(third);
      last = third / ((System.nanoTime() - start) / 1e9);
      cpu = (cpuNanos() - used) / 1e9 / third;
      if (i == 0) first = last;
    }
    sender.producer.close();
    System.out.printf("records %d%n", 3L * third);
    System.out.printf("first_per_second %.0f%n", first);
    System.out.printf("records_per_second %.0f%n", last);
    System.out.printf("cpu_seconds_per_record %.9f%n", cpu);
  }
}

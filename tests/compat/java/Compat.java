import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The common scenario with the Java 4.x producer, consumer and admin client. See ../README.md for the steps.
 *
 * <p>usage: java Compat BOOTSTRAP PREFIX [PARTITIONS]
 */
public final class Compat {
  private static String bootstrap;
  private static String prefix;
  private static int partitions;
  private static Admin admin;

  public static void main(String[] args) throws Exception {
    bootstrap = args[0];
    prefix = args[1];
    partitions = args.length > 2 ? Integer.parseInt(args[2]) : 0;
    admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "client.id", "compat-java"));

    for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
      step("codec " + codec, () -> codec(codec));
    }
    step("headers", Compat::headers);
    step("nulls", Compat::nulls);
    step("large", Compat::large);
    step("seek by time", Compat::seekByTime);
    step("idempotent", Compat::idempotent);
    step("commit", Compat::commit);
    step("group", Compat::group);
    step("static member", Compat::staticMember);
    step("admin", Compat::adminTopics);
    step("auto-create", Compat::autoCreate);
    System.exit(0);
  }

  // The steps, in the order of the table.

  private static String codec(String codec) throws Exception {
    String topic = createTopic("codec-" + codec, 2);
    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
    Set<String> sent = new TreeSet<>();
    for (int i = 0; i < 200; i++) {
      String value = codec + "-" + i + "-" + "abcdefgh".repeat(12);
      sent.add(value);
      records.add(new ProducerRecord<>(topic, bytes("" + i), bytes(value)));
    }
    produce(records, Map.of("compression.type", codec));
    Set<String> got = new TreeSet<>();
    for (var record : readAll(topic, 200)) got.add(text(record.value()));
    check(got.equals(sent), "values differ");
    return "200 records";
  }

  private static String headers() throws Exception {
    String topic = createTopic("headers", 1);
    var record = new ProducerRecord<>(topic, bytes("k"), bytes("v"));
    record.headers().add("a", bytes("one")).add("b", new byte[] {0, -1}).add("empty", new byte[0]);
    record.headers().add("null", null).add("a", bytes("two"));
    produce(List.of(record), Map.of());
    Header[] got = readAll(topic, 1).get(0).headers().toArray();
    check(Arrays.equals(got, record.headers().toArray()), Arrays.toString(got));
    return "5 headers: repeated, binary, empty, null";
  }

  private static String nulls() throws Exception {
    String topic = createTopic("nulls", 1);
    produce(
        List.of(
            new ProducerRecord<>(topic, null, bytes("no key")),
            new ProducerRecord<>(topic, bytes("tombstone"), null),
            new ProducerRecord<>(topic, new byte[0], new byte[0])),
        Map.of());
    var got = readAll(topic, 3);
    check(got.get(0).key() == null && got.get(1).value() == null, "null lost");
    check(got.get(2).key().length == 0 && got.get(2).value().length == 0, "empty is not null");
    return "null key, null value, empty ones";
  }

  private static String large() throws Exception {
    String topic = createTopic("large", 1);
    byte[] value = new byte[900_000];
    new Random(1).nextBytes(value);
    produce(List.of(new ProducerRecord<>(topic, value), new ProducerRecord<>(topic, bytes("small"))), Map.of());
    check(Arrays.equals(readAll(topic, 2).get(0).value(), value), "value differs");
    return value.length + " bytes";
  }

  private static String seekByTime() throws Exception {
    String topic = createTopic("seek", 1);
    long base = System.currentTimeMillis() - 1_000_000;
    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
    for (int i = 0; i < 10; i++) records.add(new ProducerRecord<>(topic, 0, base + i * 1000L, null, bytes("" + i)));
    produce(records, Map.of());
    var partition = new TopicPartition(topic, 0);
    try (var consumer = consumer(topic + "-reader", Map.of())) {
      OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, base + 4500)).get(partition);
      check(found.offset() == 5 && found.timestamp() == base + 5000, "found " + found);
      var past = consumer.offsetsForTimes(Map.of(partition, System.currentTimeMillis() + 3_600_000)).get(partition);
      check(past == null, "past the end: " + past);
      check(consumer.endOffsets(List.of(partition)).get(partition) == 10, "end offset");
      consumer.assign(List.of(partition));
      consumer.seek(partition, found.offset());
      var first = consumer.poll(Duration.ofSeconds(10)).iterator().next();
      check(text(first.value()).equals("5"), "read " + text(first.value()));
    }
    return "offset 5 of 10, read from there; none past the end";
  }

  private static String idempotent() throws Exception {
    String topic = createTopic("idempotent", 1);
    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
    for (int i = 0; i < 500; i++) records.add(new ProducerRecord<>(topic, bytes("" + i)));
    produce(records, Map.of("enable.idempotence", "true", "batch.size", "200", "linger.ms", "0"));
    var got = readAll(topic, 500);
    for (int i = 0; i < 500; i++) check(text(got.get(i).value()).equals("" + i), "order differs at " + i);
    return "500 records in order";
  }

  private static String commit() throws Exception {
    String topic = createTopic("commit", 1);
    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
    for (int i = 0; i < 10; i++) records.add(new ProducerRecord<>(topic, bytes("" + i)));
    produce(records, Map.of());
    String group = topic + "-group";
    var partition = new TopicPartition(topic, 0);
    try (var consumer = consumer(group, Map.of())) {
      consumer.subscribe(List.of(topic));
      List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
      await("10 records", () -> seen.size() == 10, new Member(consumer, seen));
      consumer.commitSync(Map.of(partition, new OffsetAndMetadata(4, Optional.of(0), "note to self")));
      OffsetAndMetadata committed = consumer.committed(Set.of(partition)).get(partition);
      check(committed.offset() == 4 && committed.metadata().equals("note to self"), "committed " + committed);
      check(committed.leaderEpoch().equals(Optional.of(0)), "leader epoch " + committed.leaderEpoch());
    }
    try (var consumer = consumer(group, Map.of())) {
      consumer.subscribe(List.of(topic));
      List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
      await("6 records", () -> seen.size() == 6, new Member(consumer, seen));
      check(seen.get(0).offset() == 4, "resumed at " + seen.get(0).offset());
    }
    return "offset 4 with metadata and epoch, resumed there";
  }

  private static String group() throws Exception {
    for (String strategy : List.of("RangeAssignor", "CooperativeStickyAssignor")) rebalance(strategy);
    return "4 → 2+2 → 4 partitions, 40 records; range and cooperative-sticky";
  }

  private static void rebalance(String strategy) throws Exception {
    String topic = createTopic("group-" + strategy, 4);
    var config = Map.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + strategy);
    List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
    try (var first = consumer(topic + "-group", config)) {
      first.subscribe(List.of(topic));
      var firstMember = new Member(first, seen);
      await("4 partitions", () -> first.assignment().size() == 4, firstMember);
      try (var second = consumer(topic + "-group", config)) {
        second.subscribe(List.of(topic));
        var secondMember = new Member(second, seen);
        await(
            "2 and 2",
            () -> first.assignment().size() == 2 && second.assignment().size() == 2,
            firstMember,
            secondMember);
        send20(topic, 0);
        await("20 records", () -> distinct(seen) == 20, firstMember, secondMember);
        second.commitSync();
      }
      await("4 partitions again", () -> first.assignment().size() == 4, firstMember);
      send20(topic, 20);
      await("40 records", () -> distinct(seen) == 40, firstMember);
    }
  }

  private static String staticMember() throws Exception {
    String topic = createTopic("static", 4);
    String group = topic + "-group";
    List<String> revoked = new ArrayList<>();
    List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
    try (var one = staticConsumer(group, topic, "one", revoked)) {
      var first = new Member(one, seen);
      String before;
      try (var two = staticConsumer(group, topic, "two", revoked)) {
        await(
            "2 and 2",
            () -> one.assignment().size() == 2 && two.assignment().size() == 2,
            first,
            new Member(two, seen));
        before = owned(two);
      } // a static member does not leave when it closes
      revoked.clear();
      try (var two = staticConsumer(group, topic, "two", revoked)) {
        await("the member back", () -> !two.assignment().isEmpty(), first, new Member(two, seen));
        check(owned(two).equals(before), before + " became " + owned(two));
        for (int i = 0; i < 7; i++) one.poll(Duration.ofMillis(100));
        check(revoked.isEmpty(), "rebalanced: " + revoked);
      }
      return "closed and back: partitions " + before + " kept, other member untouched";
    }
  }

  private static String adminTopics() throws Exception {
    String topic = createTopic("admin", 3);
    var described = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
    check(described.partitions().size() == 3, "partitions " + described.partitions().size());
    check(!described.topicId().equals(Uuid.ZERO_UUID), "no topic id");
    check(get(admin.listTopics().names()).contains(topic), "not listed");
    check(!get(admin.describeCluster().clusterId()).isEmpty(), "no cluster id");
    try {
      createTopic("admin", 3);
      check(false, "created twice");
    } catch (ExecutionException error) {
      check(error.getCause() instanceof TopicExistsException, error.toString());
    }
    get(admin.deleteTopics(List.of(topic)).all());
    long deadline = System.nanoTime() + 20_000_000_000L;
    while (get(admin.listTopics().names()).contains(topic)) {
      check(System.nanoTime() < deadline, "still listed");
      Thread.sleep(20);
    }
    return "created with 3 partitions, described, refused twice, deleted";
  }

  private static String autoCreate() throws Exception {
    String topic = prefix + "-auto";
    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
    for (int i = 0; i < 40; i++) records.add(new ProducerRecord<>(topic, bytes("" + i), bytes("" + i)));
    produce(records, Map.of());
    Set<Integer> used = new HashSet<>();
    for (var record : readAll(topic, 40)) used.add(record.partition());
    int count = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size();
    check(partitions == 0 || count == partitions, count + " partitions, expected " + partitions);
    return count + " partitions, " + used.size() + " used";
  }

  // What the steps are made of.

  private record Member(Consumer<byte[], byte[]> consumer, List<ConsumerRecord<byte[], byte[]>> seen) {
    void poll() {
      consumer.poll(Duration.ofMillis(50)).forEach(seen::add);
    }
  }

  private static void await(String what, BooleanSupplier condition, Member... members) {
    long deadline = System.nanoTime() + 20_000_000_000L;
    while (!condition.getAsBoolean()) {
      check(System.nanoTime() < deadline, "waited 20 s for " + what);
      for (Member member : members) member.poll();
    }
  }

  private static Consumer<byte[], byte[]> consumer(String group, Map<String, String> more) {
    Map<String, Object> config = new HashMap<>();
    config.put("bootstrap.servers", bootstrap);
    config.put("group.id", group);
    config.put("auto.offset.reset", "earliest");
    config.put("enable.auto.commit", "false");
    config.put("heartbeat.interval.ms", "300");
    config.put("session.timeout.ms", "10000");
    config.put("fetch.max.wait.ms", "100");
    config.putAll(more);
    return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  private static Consumer<byte[], byte[]> staticConsumer(
      String group, String topic, String instance, List<String> revoked) {
    var consumer = consumer(group, Map.of("group.instance.id", instance));
    consumer.subscribe(
        List.of(topic),
        new ConsumerRebalanceListener() {
          @Override
          public void onPartitionsRevoked(Collection<TopicPartition> lost) {
            revoked.add(instance);
          }

          @Override
          public void onPartitionsAssigned(Collection<TopicPartition> gained) {}
        });
    return consumer;
  }

  private static String owned(Consumer<?, ?> consumer) {
    Set<Integer> owned = new TreeSet<>();
    for (TopicPartition partition : consumer.assignment()) owned.add(partition.partition());
    return owned.toString();
  }

  private static String createTopic(String name, int count) throws Exception {
    String topic = prefix + "-" + name;
    get(admin.createTopics(List.of(new NewTopic(topic, count, (short) 1))).all());
    return topic;
  }

  private static void produce(List<ProducerRecord<byte[], byte[]>> records, Map<String, String> more)
      throws Exception {
    Map<String, Object> config = new HashMap<>();
    config.put("bootstrap.servers", bootstrap);
    config.put("client.id", "compat-java");
    config.put("linger.ms", "20");
    config.putAll(more);
    try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (var record : records) sent.add(producer.send(record));
      for (Future<RecordMetadata> one : sent) one.get(20, TimeUnit.SECONDS);
    }
  }

  private static void send20(String topic, int from) throws Exception {
    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
    for (int i = from; i < from + 20; i++) records.add(new ProducerRecord<>(topic, bytes("" + i), bytes("" + i)));
    produce(records, Map.of());
  }

  private static long distinct(List<ConsumerRecord<byte[], byte[]>> seen) {
    return seen.stream().map(record -> text(record.value())).distinct().count();
  }

  /** From the beginning of all partitions, without a group. */
  private static List<ConsumerRecord<byte[], byte[]>> readAll(String topic, int count) {
    List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
    try (var consumer = consumer(topic + "-reader", Map.of())) {
      List<TopicPartition> all = new ArrayList<>();
      consumer.partitionsFor(topic).forEach(info -> all.add(new TopicPartition(topic, info.partition())));
      consumer.assign(all);
      consumer.seekToBeginning(all);
      await(count + " records", () -> seen.size() >= count, new Member(consumer, seen));
    }
    check(seen.size() == count, seen.size() + " records, expected " + count);
    return seen;
  }

  private static <T> T get(Future<T> future) throws Exception {
    return future.get(20, TimeUnit.SECONDS);
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  private static void check(boolean condition, String message) {
    if (!condition) throw new IllegalStateException(message);
  }

  private static void step(String name, Callable<String> body) {
    long started = System.nanoTime();
    boolean ok = true;
    String detail;
    try {
      detail = body.call();
    } catch (Throwable error) {
      ok = false;
      detail = error.toString();
    }
    long ms = (System.nanoTime() - started) / 1_000_000;
    String quoted = detail.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ");
    System.out.printf("{\"step\":\"%s\",\"ok\":%s,\"detail\":\"%s\",\"ms\":%d}%n", name, ok, quoted, ms);
  }
}

/*
 * klat: latency at a fixed rate. One connection produces one record per request on schedule, whether or not the answers
 * have come (open loop); a second one follows with a long-polling Fetch.
 *
 * Prints the time from send to acknowledgement, from send to the consumer, and how late the sends were. Checks error
 * codes, correlation ids and that every record reached the consumer, in order. Needs a topic nobody else writes to.
 */
#include "wire.h"

#include <pthread.h>

static int port = 9092, rate = 1000, count = 5000, record_bytes = 100, ack_only = 0;
static const char *topic = "bench-latency";

static int producer;
static double *sent_at, *ack_latency, *consume_latency, *lateness;
static long acked, consumed;
static uint64_t base_offset;

static void *read_acks(void *unused) {
  (void)unused;
  uint8_t answer[65536];
  for (; acked < count; acked++) {
    read_frame(producer, answer, sizeof answer);
    ack_latency[acked] = now() - sent_at[acked];
    if (get32(answer) != (uint32_t)acked) die("answers out of order");
    int error = produce_error(answer);
    if (error) {
      fprintf(stderr, "produce %ld: error %d\n", acked, error);
      exit(2);
    }
  }
  return 0;
}

static void *consume(void *unused) {
  (void)unused;
  int fd = dial(port), partition = 0;
  long room = 64L << 20;
  uint8_t request[1024], *answer = malloc(room);
  for (uint32_t correlation = 0; consumed < count; correlation++) {
    uint64_t offset = base_offset + consumed;
    int end = make_fetch(request, correlation, topic, 1, &partition, &offset, 500, 1, 1 << 20);
    send_fully(fd, request, end);
    read_frame(fd, answer, room);
    double at = now();
    uint8_t *p = answer + 4 + 4 + 2 + 4 + 4;
    p += 2 + get16(p) + 4;
    if (get16(p + 4)) {
      fprintf(stderr, "fetch: error %d\n", get16(p + 4));
      exit(2);
    }
    p += 4 + 2 + 8 + 8 + 8;
    int aborted = (int32_t)get32(p);
    p += 4 + (aborted > 0 ? 16L * aborted : 0);
    uint8_t *stop = p + 4 + (int32_t)get32(p);
    for (p += 4; p + 61 <= stop; p += get32(p + 8) + 12L) {
      if (get64(p) != base_offset + consumed) die("a gap in the offsets read");
      for (int n = get32(p + 23) + 1; n > 0 && consumed < count; n--, consumed++) {
        consume_latency[consumed] = at - sent_at[consumed];
      }
    }
  }
  return 0;
}

static void usage(void) {
  puts("usage: klat [options]\n"
       "  -P, --port N           server on 127.0.0.1 (9092)\n"
       "  -t, --topic NAME       partition 0 of it; nobody else may write there (bench-latency)\n"
       "  -R, --rate N           records per second, one per request (1000)\n"
       "  -n, --count N          how many (5000)\n"
       "  -r, --record-bytes N   value size (100)\n"
       "      --ack-only         no consumer: acknowledgements alone");
}

static void parse_options(int argc, char **argv) {
  static const struct option options[] = {
      {"port", 1, 0, 'P'},  {"topic", 1, 0, 't'},        {"rate", 1, 0, 'R'}, {"count", 1, 0, 'n'},
      {"record-bytes", 1, 0, 'r'}, {"ack-only", 0, 0, 'a'}, {"help", 0, 0, 'h'}, {0, 0, 0, 0}};
  for (int k; (k = getopt_long(argc, argv, "P:t:R:n:r:h", options, 0)) != -1;) {
    switch (k) {
      case 'P': port = atoi(optarg); break;
      case 't': topic = optarg; break;
      case 'R': rate = atoi(optarg); break;
      case 'n': count = atoi(optarg); break;
      case 'r': record_bytes = atoi(optarg); break;
      case 'a': ack_only = 1; break;
      case 'h': usage(); exit(0);
      default: usage(); exit(2);
    }
  }
}

/* Sends number i at started + i / rate: sleeps most of the gap and spins the last 30 µs. */
static void produce_on_schedule(uint8_t *request, int length) {
  double started = now();
  for (int i = 0; i < count; i++) {
    double due = started + (double)i / rate, at;
    while ((at = now()) < due) {
      if (due - at > 30e-6) sleep_seconds(due - at);
    }
    lateness[i] = at - due;
    put32(request + 8, i);
    sent_at[i] = now();
    send_fully(producer, request, length);
  }
}

int main(int argc, char **argv) {
  parse_options(argc, argv);
  await_topic(port, topic, 1);
  base_offset = list_offsets(port, topic, 1, -1, 0);
  sent_at = malloc(sizeof(double) * (count + 1));
  ack_latency = malloc(sizeof(double) * (count + 1));
  consume_latency = malloc(sizeof(double) * (count + 1));
  lateness = malloc(sizeof(double) * (count + 1));
  uint8_t *request;
  int records, length = make_produce(&request, topic, 0, 1, 1, record_bytes, &records);

  pthread_t consumer_thread, ack_thread;
  if (!ack_only) pthread_create(&consumer_thread, 0, consume, 0);
  producer = dial(port);
  sleep_seconds(0.2); /* the consumer waits in its first long poll */
  pthread_create(&ack_thread, 0, read_acks, 0);
  produce_on_schedule(request, length);
  pthread_join(ack_thread, 0);
  for (double end = now() + 10; !ack_only && consumed < count && now() < end;) sleep_seconds(0.01);

  uint64_t stored = list_offsets(port, topic, 1, -1, 0) - base_offset;
  qsort(ack_latency, acked, sizeof(double), by_value);
  qsort(consume_latency, consumed, sizeof(double), by_value);
  qsort(lateness, count, sizeof(double), by_value);
  printf("{\"count\":%d,\"stored\":%lu,\"consumed\":%ld,\"ackP50us\":%.0f,\"ackP99us\":%.0f,\"ackP999us\":%.0f,"
         "\"ackMaxus\":%.0f,\"e2eP50us\":%.0f,\"e2eP99us\":%.0f,\"e2eP999us\":%.0f,\"e2eMaxus\":%.0f,"
         "\"lateP99us\":%.0f,\"clientCpu\":%.3f}\n",
         count, stored, consumed, micros(ack_latency, acked, .5), micros(ack_latency, acked, .99),
         micros(ack_latency, acked, .999), micros(ack_latency, acked, 1), micros(consume_latency, consumed, .5),
         micros(consume_latency, consumed, .99), micros(consume_latency, consumed, .999),
         micros(consume_latency, consumed, 1), micros(lateness, count, .99), own_cpu());
  fflush(stdout);
  int complete = stored == (uint64_t)count && (ack_only || consumed == count);
  if (!complete) fprintf(stderr, "%d sent, %lu stored, %ld consumed\n", count, stored, consumed);
  _exit(complete ? 0 : 3);
}

/*
 * kblast: Kafka Produce load. Pre-encoded batches, pipelined, one thread per connection.
 *
 * Checks every correlation id and error code, and with --check that the high watermarks grew by exactly the records
 * that were acknowledged. One JSON line comes out; exit code 0 only when all of that holds.
 */
#include "wire.h"

#include <pthread.h>

static int port = 9092, connections = 1, partitions = 1, batch_bytes = 16384, record_bytes = 100, in_flight = 5,
           acks = 1, check_arrival = 0, once = 0;
static double seconds = 10, rate = 0;
static long megabytes = 256;
static const char *topic = "bench";

typedef struct {
  int id;
  pthread_t thread;
  long requests, bytes, records, errors, latencies;
  int first_error;
  double started, ended, *latency;
} Connection;

#define LATENCIES_MAX 4000000

/* The requests this connection sends in turn: one per partition it owns. */
typedef struct {
  int count;
  uint8_t **bytes;
  int *length, *records;
} Requests;

static Requests encode_requests(int id) {
  Requests r = {0, malloc(sizeof(void *) * partitions), malloc(sizeof(int) * partitions),
                malloc(sizeof(int) * partitions)};
  for (int p = 0; p < partitions; p++) {
    /* More connections than partitions: they share. */
    int mine = partitions >= connections ? p % connections == id : p == id % partitions;
    if (!mine) continue;
    r.length[r.count] = make_produce(&r.bytes[r.count], topic, p, acks, batch_bytes, record_bytes, &r.records[r.count]);
    r.count++;
  }
  return r;
}

static void *run(void *argument) {
  Connection *c = argument;
  Requests requests = encode_requests(c->id);
  int fd = dial(port);
  long byte_budget = megabytes * 1048576L / connections, sent = 0, answered = 0;
  double *sent_at = malloc(sizeof(double) * in_flight);
  c->latency = malloc(sizeof(double) * LATENCIES_MAX);
  uint8_t answer[65536];
  c->started = now();
  double end = c->started + seconds;
  for (;;) {
    int more = once ? sent < requests.count : c->bytes < byte_budget && now() < end;
    if (!more && sent == answered) break;
    int may_send = more && sent - answered < in_flight;
    if (may_send && rate > 0) {
      double due = c->started + sent / (rate / connections), at = now();
      if (at < due) {
        /* Not yet: meanwhile read what is on its way, or sleep until it is due. */
        may_send = 0;
        if (sent == answered) {
          sleep_seconds(due - at);
          continue;
        }
      }
    }
    if (may_send) {
      int i = sent % requests.count;
      put32(requests.bytes[i] + 8, sent);
      sent_at[sent % in_flight] = now();
      send_fully(fd, requests.bytes[i], requests.length[i]);
      sent++;
      c->bytes += requests.length[i];
      c->records += requests.records[i];
    } else {
      read_frame(fd, answer, sizeof answer);
      if (get32(answer) != (uint32_t)answered) {
        fprintf(stderr, "answer %u in place of %ld\n", get32(answer), answered);
        exit(1);
      }
      int error = produce_error(answer);
      if (error) {
        c->errors++;
        c->first_error = error;
      }
      if (c->latencies < LATENCIES_MAX) c->latency[c->latencies++] = now() - sent_at[answered % in_flight];
      answered++;
    }
  }
  c->ended = now();
  c->requests = answered;
  close(fd);
  return 0;
}

static void usage(void) {
  puts("usage: kblast [options]\n"
       "  -P, --port N           server on 127.0.0.1 (9092)\n"
       "  -t, --topic NAME       created by asking where the server allows it (bench)\n"
       "  -p, --partitions N     0…N−1 in turn, dealt out to the connections (1)\n"
       "  -c, --connections N    one thread each (1)\n"
       "  -f, --in-flight N      unanswered requests per connection (5)\n"
       "  -b, --batch-bytes N    a request holds one batch of at most this (16384)\n"
       "  -r, --record-bytes N   value size (100)\n"
       "  -a, --acks N           1 or -1 (1)\n"
       "  -s, --seconds N        end after this long … (10)\n"
       "  -m, --megabytes N      … or after this much (256)\n"
       "  -R, --rate N           requests per second of all connections; 0 = as fast as it goes (0)\n"
       "      --once             send every partition exactly one request instead\n"
       "      --check            afterwards: did the high watermarks grow by the records sent?");
}

static void parse_options(int argc, char **argv) {
  static const struct option options[] = {
      {"port", 1, 0, 'P'},       {"topic", 1, 0, 't'},        {"partitions", 1, 0, 'p'},   {"connections", 1, 0, 'c'},
      {"in-flight", 1, 0, 'f'},  {"batch-bytes", 1, 0, 'b'},  {"record-bytes", 1, 0, 'r'}, {"acks", 1, 0, 'a'},
      {"seconds", 1, 0, 's'},    {"megabytes", 1, 0, 'm'},    {"rate", 1, 0, 'R'},         {"once", 0, 0, 'o'},
      {"check", 0, 0, 'k'},      {"help", 0, 0, 'h'},         {0, 0, 0, 0}};
  for (int k; (k = getopt_long(argc, argv, "P:t:p:c:f:b:r:a:s:m:R:h", options, 0)) != -1;) {
    switch (k) {
      case 'P': port = atoi(optarg); break;
      case 't': topic = optarg; break;
      case 'p': partitions = atoi(optarg); break;
      case 'c': connections = atoi(optarg); break;
      case 'f': in_flight = atoi(optarg); break;
      case 'b': batch_bytes = atoi(optarg); break;
      case 'r': record_bytes = atoi(optarg); break;
      case 'a': acks = atoi(optarg); break;
      case 's': seconds = atof(optarg); break;
      case 'm': megabytes = atol(optarg); break;
      case 'R': rate = atof(optarg); break;
      case 'o': once = 1; break;
      case 'k': check_arrival = 1; break;
      case 'h': usage(); exit(0);
      default: usage(); exit(2);
    }
  }
  if (acks == 0) die("acks 0 is answered with nothing, so nothing could be checked");
}

int main(int argc, char **argv) {
  parse_options(argc, argv);
  await_topic(port, topic, partitions);
  uint64_t before = check_arrival ? list_offsets(port, topic, partitions, -1, 0) : 0;

  Connection *all = calloc(connections, sizeof(Connection));
  for (int i = 0; i < connections; i++) {
    all[i].id = i;
    pthread_create(&all[i].thread, 0, run, &all[i]);
  }
  long requests = 0, bytes = 0, records = 0, errors = 0, latencies = 0;
  int first_error = 0;
  double started = 1e18, ended = 0;
  for (int i = 0; i < connections; i++) {
    Connection *c = &all[i];
    pthread_join(c->thread, 0);
    requests += c->requests;
    bytes += c->bytes;
    records += c->records;
    errors += c->errors;
    latencies += c->latencies;
    if (c->errors) first_error = c->first_error;
    if (c->started < started) started = c->started;
    if (c->ended > ended) ended = c->ended;
  }
  double *latency = malloc(sizeof(double) * (latencies + 1));
  for (long i = 0, k = 0; i < connections; i++) {
    memcpy(latency + k, all[i].latency, all[i].latencies * sizeof(double));
    k += all[i].latencies;
  }
  qsort(latency, latencies, sizeof(double), by_value);

  long stored = check_arrival ? (long)(list_offsets(port, topic, partitions, -1, 0) - before) : -1;
  int missing = check_arrival && stored != records;
  double d = ended - started;
  printf("{\"seconds\":%.4f,\"requests\":%ld,\"bytes\":%ld,\"records\":%ld,\"stored\":%ld,\"errors\":%ld,"
         "\"firstError\":%d,\"mbPerSecond\":%.1f,\"recordsPerSecond\":%.0f,\"requestsPerSecond\":%.0f,"
         "\"p50us\":%.0f,\"p99us\":%.0f,\"p999us\":%.0f,\"maxus\":%.0f,\"clientCpu\":%.3f}\n",
         d, requests, bytes, records, stored, errors, first_error, bytes / d / 1e6, records / d, requests / d,
         micros(latency, latencies, .5), micros(latency, latencies, .99), micros(latency, latencies, .999),
         micros(latency, latencies, 1), own_cpu());
  if (missing) fprintf(stderr, "%ld records were acknowledged, the high watermarks grew by %ld\n", records, stored);
  return errors ? 2 : missing ? 3 : 0;
}

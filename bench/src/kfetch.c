/*
 * kfetch: Kafka Fetch load. Reads partitions from a start to the high watermark seen at the beginning, again and again,
 * and throws the data away.
 *
 * Checks that offsets are continuous and that every pass reaches the end; with --check-crc every batch's checksum too.
 * One JSON line comes out; exit code 0 only when all of that holds.
 */
#include "wire.h"

#include <pthread.h>

static int port = 9092, connections = 1, partitions = 1, partition_bytes = 1048576, check_crc = 0;
static double seconds = 60;
static long loops = 1, megabytes = 0, from_end = 0;
static const char *topic = "bench";
static uint64_t *begin_offsets, *end_offsets;

typedef struct {
  int id;
  pthread_t thread;
  long requests, bytes, records, passes;
  double started, ended;
} Connection;

/* Walks the batches of one partition from *offset on; a batch that was cut off at the end is left for the next fetch. */
static void walk(Connection *c, int partition, const uint8_t *b, const uint8_t *end, uint64_t *offset) {
  int first = 1;
  while (b + 61 <= end) {
    long length = get32(b + 8) + 12L;
    if (b + length > end) break;
    uint64_t base = get64(b), next = base + get32(b + 23) + 1;
    /* The first batch may begin before the wanted offset: it is the one that holds it. */
    int sound = first ? base <= *offset && next > *offset : base == *offset;
    if (!sound) {
      fprintf(stderr, "partition %d: batch %lu…%lu where %lu is next\n", partition, base, next, *offset);
      exit(1);
    }
    if (check_crc && crc32c(b + 21, length - 21) != get32(b + 17)) {
      fprintf(stderr, "partition %d, offset %lu: checksum differs\n", partition, base);
      exit(1);
    }
    c->records += next - *offset;
    *offset = next;
    first = 0;
    b += length;
  }
}

/* One pass over the partitions of this connection. */
static void pass(Connection *c, int fd, int count, const int *mine, uint8_t *request, uint8_t *answer, long room) {
  uint64_t *offset = malloc(sizeof(uint64_t) * partitions), *wanted = malloc(sizeof(uint64_t) * count);
  int *open = malloc(sizeof(int) * count);
  for (int i = 0; i < count; i++) offset[mine[i]] = begin_offsets[mine[i]];
  for (;;) {
    int left = 0;
    for (int i = 0; i < count; i++) {
      if (offset[mine[i]] >= end_offsets[mine[i]]) continue;
      open[left] = mine[i];
      wanted[left++] = offset[mine[i]];
    }
    if (left == 0) break;
    int end = make_fetch(request, c->requests, topic, left, open, wanted, 1000, 1, partition_bytes);
    send_fully(fd, request, end);
    c->bytes += read_frame(fd, answer, room);
    if (get32(answer) != (uint32_t)c->requests) die("answers out of order");
    c->requests++;
    uint8_t *p = answer + 4 + 4 + 2 + 4; /* correlation id, throttle, error, session */
    if (get32(p) != 1) die("not one topic in the answer");
    p += 4;
    p += 2 + get16(p);
    int n = get32(p), progress = 0;
    p += 4;
    for (int i = 0; i < n; i++) {
      int partition = get32(p), error = get16(p + 4);
      if (error) {
        fprintf(stderr, "partition %d: error %d\n", partition, error);
        exit(1);
      }
      p += 4 + 2 + 8 + 8 + 8;
      int aborted = (int32_t)get32(p);
      p += 4 + (aborted > 0 ? 16L * aborted : 0);
      int32_t size = get32(p);
      p += 4;
      if (size > 0) {
        uint64_t before = offset[partition];
        walk(c, partition, p, p + size, &offset[partition]);
        progress |= offset[partition] > before;
        p += size;
      }
    }
    if (!progress) die("an answer without a whole batch although more is stored");
  }
  c->passes++;
  free(offset);
  free(wanted);
  free(open);
}

static void *run(void *argument) {
  Connection *c = argument;
  int *mine = malloc(sizeof(int) * partitions), count = 0;
  for (int p = 0; p < partitions; p++) {
    if (partitions >= connections ? p % connections == c->id : p == c->id % partitions) mine[count++] = p;
  }
  long room = 64L << 20;
  uint8_t *answer = malloc(room), *request = malloc(1024 + 24L * partitions);
  int fd = dial(port);
  c->started = now();
  double end = c->started + seconds;
  long byte_goal = megabytes * 1048576L / connections;
  for (;;) {
    pass(c, fd, count, mine, request, answer, room);
    if (now() >= end) break;
    if (megabytes > 0 ? c->bytes >= byte_goal : c->passes >= loops) break;
    if (c->records == 0) die("nothing is stored");
  }
  c->ended = now();
  close(fd);
  return 0;
}

static void usage(void) {
  puts("usage: kfetch [options]\n"
       "  -P, --port N             server on 127.0.0.1 (9092)\n"
       "  -t, --topic NAME         (bench)\n"
       "  -p, --partitions N       0…N−1, dealt out to the connections (1)\n"
       "  -c, --connections N      one thread each (1)\n"
       "  -x, --partition-bytes N  max_bytes per partition of a request (1048576)\n"
       "  -l, --loops N            passes over the data (1)\n"
       "  -m, --megabytes N        instead: passes until this much was read\n"
       "  -e, --from-end N         each pass reads only the newest N records of each partition; 0 = all (0)\n"
       "  -s, --seconds N          no new pass after this long (60)\n"
       "      --check-crc          check every batch's CRC-32C (costs client CPU)");
}

static void parse_options(int argc, char **argv) {
  static const struct option options[] = {
      {"port", 1, 0, 'P'},  {"topic", 1, 0, 't'},     {"partitions", 1, 0, 'p'}, {"connections", 1, 0, 'c'},
      {"loops", 1, 0, 'l'}, {"megabytes", 1, 0, 'm'}, {"from-end", 1, 0, 'e'},   {"partition-bytes", 1, 0, 'x'},
      {"seconds", 1, 0, 's'}, {"check-crc", 0, 0, 'k'}, {"help", 0, 0, 'h'},     {0, 0, 0, 0}};
  for (int k; (k = getopt_long(argc, argv, "P:t:p:c:x:l:m:e:s:h", options, 0)) != -1;) {
    switch (k) {
      case 'P': port = atoi(optarg); break;
      case 't': topic = optarg; break;
      case 'p': partitions = atoi(optarg); break;
      case 'c': connections = atoi(optarg); break;
      case 'x': partition_bytes = atoi(optarg); break;
      case 'l': loops = atol(optarg); break;
      case 'm': megabytes = atol(optarg); break;
      case 'e': from_end = atol(optarg); break;
      case 's': seconds = atof(optarg); break;
      case 'k': check_crc = 1; break;
      case 'h': usage(); exit(0);
      default: usage(); exit(2);
    }
  }
}

int main(int argc, char **argv) {
  parse_options(argc, argv);
  await_topic(port, topic, partitions);
  begin_offsets = calloc(partitions, sizeof(uint64_t));
  end_offsets = calloc(partitions, sizeof(uint64_t));
  list_offsets(port, topic, partitions, -2, begin_offsets);
  list_offsets(port, topic, partitions, -1, end_offsets);
  if (from_end > 0) {
    for (int p = 0; p < partitions; p++) {
      if (end_offsets[p] - begin_offsets[p] > (uint64_t)from_end) begin_offsets[p] = end_offsets[p] - from_end;
    }
  }
  Connection *all = calloc(connections, sizeof(Connection));
  for (int i = 0; i < connections; i++) {
    all[i].id = i;
    pthread_create(&all[i].thread, 0, run, &all[i]);
  }
  long requests = 0, bytes = 0, records = 0, passes = 0;
  double started = 1e18, ended = 0;
  for (int i = 0; i < connections; i++) {
    Connection *c = &all[i];
    pthread_join(c->thread, 0);
    requests += c->requests;
    bytes += c->bytes;
    records += c->records;
    passes += c->passes;
    if (c->started < started) started = c->started;
    if (c->ended > ended) ended = c->ended;
  }
  double d = ended - started;
  printf("{\"seconds\":%.4f,\"requests\":%ld,\"bytes\":%ld,\"records\":%ld,\"passes\":%ld,\"mbPerSecond\":%.1f,"
         "\"clientCpu\":%.3f}\n",
         d, requests, bytes, records, passes, bytes / d / 1e6, own_cpu());
  return 0;
}

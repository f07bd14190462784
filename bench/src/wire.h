/*
 * What all load generators share: big-endian fields, CRC-32C, sockets, the few Kafka requests around a load
 * (Metadata v4 to create or await the topic, ListOffsets v1 to see what arrived), options and percentiles.
 *
 * Plain C with SSE 4.2 for the checksum: a generator in JavaScript would take a core of its own on two cores.
 * Every program includes this once; functions are static so that each stays one file and one gcc command.
 */
#ifndef HADRON_BENCH_WIRE_H
#define HADRON_BENCH_WIRE_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nmmintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* ---- time ---- */

static UNUSED double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static UNUSED void sleep_seconds(double seconds) {
  struct timespec t = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
  nanosleep(&t, 0);
}

/* CPU seconds of this program (the client's share of the machine). */
static UNUSED double own_cpu(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_utime.tv_usec / 1e6 + u.ru_stime.tv_sec + u.ru_stime.tv_usec / 1e6;
}

static UNUSED void die(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

/* ---- fields ---- */

static UNUSED void put16(uint8_t *p, int v) {
  p[0] = v >> 8;
  p[1] = v;
}
static UNUSED void put32(uint8_t *p, uint32_t v) {
  p[0] = v >> 24;
  p[1] = v >> 16;
  p[2] = v >> 8;
  p[3] = v;
}
static UNUSED void put64(uint8_t *p, uint64_t v) {
  put32(p, v >> 32);
  put32(p + 4, v);
}
static UNUSED int get16(const uint8_t *p) { return (int16_t)(p[0] << 8 | p[1]); }
static UNUSED uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}
static UNUSED uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) << 32 | get32(p + 4); }

/* Zigzag varint; returns its size. */
static UNUSED int put_varint(uint8_t *p, int64_t v) {
  uint64_t z = (v << 1) ^ (v >> 63);
  int n = 0;
  while (z >= 0x80) {
    p[n++] = z | 0x80;
    z >>= 7;
  }
  p[n++] = z;
  return n;
}

static UNUSED uint32_t crc32c(const uint8_t *p, size_t n) {
  uint64_t c = 0xffffffff;
  while (n >= 8) {
    uint64_t v;
    memcpy(&v, p, 8);
    c = _mm_crc32_u64(c, v);
    p += 8;
    n -= 8;
  }
  while (n--) c = _mm_crc32_u8((uint32_t)c, *p++);
  return ~(uint32_t)c;
}

/* ---- sockets ---- */

static UNUSED int dial(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(port)};
  s.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(fd, (void *)&s, sizeof s)) {
    perror("connect");
    exit(1);
  }
  return fd;
}

static UNUSED void read_fully(int fd, uint8_t *b, long n) {
  while (n > 0) {
    long k = recv(fd, b, n, 0);
    if (k <= 0) {
      perror("recv: connection lost");
      exit(1);
    }
    b += k;
    n -= k;
  }
}

static UNUSED void send_fully(int fd, const uint8_t *b, long n) {
  while (n > 0) {
    long k = send(fd, b, n, MSG_NOSIGNAL);
    if (k <= 0) {
      perror("send: connection lost");
      exit(1);
    }
    b += k;
    n -= k;
  }
}

/* One response frame into b; returns its length, b starts with the correlation id. */
static UNUSED long read_frame(int fd, uint8_t *b, long room) {
  uint8_t head[4];
  read_fully(fd, head, 4);
  long length = get32(head);
  if (length < 4 || length > room) {
    fprintf(stderr, "response of %ld bytes, room for %ld\n", length, room);
    exit(1);
  }
  read_fully(fd, b, length);
  return length;
}

/* ---- requests ---- */

/* Length (filled in by finish_request), header v1 with client id "bench"; returns the offset of the body. */
static UNUSED int start_request(uint8_t *r, int key, int version, uint32_t correlation) {
  put16(r + 4, key);
  put16(r + 6, version);
  put32(r + 8, correlation);
  put16(r + 12, 5);
  memcpy(r + 14, "bench", 5);
  return 19;
}
static UNUSED void finish_request(uint8_t *r, int end) { put32(r, end - 4); }

static UNUSED int put_string(uint8_t *p, const char *s) {
  int n = strlen(s);
  put16(p, n);
  memcpy(p + 2, s, n);
  return 2 + n;
}

/* Metadata v4 with auto-creation; returns how many partitions 0…n−1 have a leader (0 while it is being made). */
static UNUSED int metadata(int fd, const char *topic) {
  static uint8_t request[1024], answer[16 << 20];
  int o = start_request(request, 3, 4, 1);
  put32(request + o, 1);
  o += 4;
  o += put_string(request + o, topic);
  request[o++] = 1; /* create what does not exist */
  finish_request(request, o);
  send_fully(fd, request, o);
  read_frame(fd, answer, sizeof answer);
  uint8_t *p = answer + 4 + 4; /* correlation id, throttle */
  int brokers = get32(p);
  p += 4;
  for (int i = 0; i < brokers; i++) {
    p += 4;
    p += 2 + get16(p); /* host */
    p += 4;
    p += 2 + (get16(p) > 0 ? get16(p) : 0); /* rack */
  }
  p += 2 + (get16(p) > 0 ? get16(p) : 0); /* cluster id */
  p += 4;                                 /* controller */
  if (get32(p) != 1) die("Metadata: not one topic");
  p += 4;
  int error = get16(p);
  p += 2;
  p += 2 + get16(p) + 1; /* name, internal */
  int partitions = get32(p), ready = 0;
  p += 4;
  for (int i = 0; i < partitions; i++) {
    if (get16(p) == 0 && (int32_t)get32(p + 6) >= 0) ready++;
    p += 10;
    p += 4 + 4 * (int32_t)get32(p);
    p += 4 + 4 * (int32_t)get32(p);
  }
  return error ? 0 : ready;
}

/*
 * ListOffsets v1 of partitions 0…n−1 (−1 latest, −2 earliest) into `offsets`, their sum into `sum`; returns the first
 * error code.
 */
static UNUSED int try_list_offsets(int fd, const char *topic, int partitions, int64_t time, uint64_t *offsets,
                                   uint64_t *sum) {
  long room = 1024 + 32L * partitions;
  uint8_t *b = malloc(room);
  int o = start_request(b, 2, 1, 1), first_error = 0;
  put32(b + o, -1);
  put32(b + o + 4, 1);
  o += 8;
  o += put_string(b + o, topic);
  put32(b + o, partitions);
  o += 4;
  for (int i = 0; i < partitions; i++, o += 12) {
    put32(b + o, i);
    put64(b + o + 4, time);
  }
  finish_request(b, o);
  send_fully(fd, b, o);
  read_frame(fd, b, room);
  uint8_t *p = b + 4 + 4;
  p += 2 + get16(p);
  int n = get32(p);
  p += 4;
  *sum = 0;
  for (int i = 0; i < n; i++, p += 22) {
    if (get16(p + 4) && !first_error) first_error = get16(p + 4);
    uint64_t offset = get64(p + 14);
    if (offsets && (int)get32(p) < partitions) offsets[get32(p)] = offset;
    *sum += offset;
  }
  free(b);
  return first_error;
}

static UNUSED uint64_t list_offsets(int port, const char *topic, int partitions, int64_t time, uint64_t *offsets) {
  int fd = dial(port);
  uint64_t sum;
  int error = try_list_offsets(fd, topic, partitions, time, offsets, &sum);
  close(fd);
  if (error) {
    fprintf(stderr, "ListOffsets of %s: error %d\n", topic, error);
    exit(1);
  }
  return sum;
}

/*
 * Creates the topic by asking for it where the server allows that, and waits until `partitions` have a leader. In Kafka
 * the metadata runs a moment ahead of the leader itself, so each partition is also asked for its end offset.
 */
static UNUSED void await_topic(int port, const char *topic, int partitions) {
  int fd = dial(port), ready = 0, error = 0;
  uint64_t sum;
  for (double end = now() + 60; now() < end; sleep_seconds(0.02)) {
    ready = metadata(fd, topic);
    if (ready < partitions) continue;
    error = try_list_offsets(fd, topic, partitions, -1, 0, &sum);
    if (!error) {
      close(fd);
      return;
    }
  }
  fprintf(stderr, "topic %s: %d of %d partitions have a leader, error %d\n", topic, ready, partitions, error);
  exit(1);
}

/* ---- record batch v2 ---- */

/* Header of an uncompressed batch whose records end at `end`; the checksum comes last. */
static UNUSED void seal_batch(uint8_t *b, int end, int records) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  uint64_t ms = (uint64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
  put64(b, 0);               /* base offset */
  put32(b + 8, end - 12);    /* length behind this field */
  put32(b + 12, -1);         /* leader epoch */
  b[16] = 2;                 /* magic */
  put16(b + 21, 0);          /* attributes: no codec, CreateTime */
  put32(b + 23, records - 1); /* last offset delta */
  put64(b + 27, ms);
  put64(b + 35, ms);
  put64(b + 43, -1); /* producer id */
  put16(b + 51, -1);
  put32(b + 53, -1);
  put32(b + 57, records);
  put32(b + 17, crc32c(b + 21, end - 21));
}

/* One record without key and headers at b; returns its size. */
static UNUSED int put_record(uint8_t *b, int offset_delta, int value_bytes) {
  uint8_t scratch[16];
  int body = 1 + 1 + put_varint(scratch, offset_delta) + 1 + put_varint(scratch, value_bytes) + value_bytes + 1;
  int o = put_varint(b, body);
  b[o++] = 0; /* attributes */
  b[o++] = 0; /* timestamp delta */
  o += put_varint(b + o, offset_delta);
  b[o++] = 1; /* key: null */
  o += put_varint(b + o, value_bytes);
  for (int i = 0; i < value_bytes; i++) b[o + i] = rand() & 0x7f;
  o += value_bytes;
  b[o++] = 0; /* no headers */
  return o;
}

/* Fills at most batch_bytes (at least one record); returns the batch's size. */
static UNUSED int make_batch(uint8_t *b, int batch_bytes, int record_bytes, int *records) {
  int o = 61, n = 0;
  while (n == 0 || o + record_bytes + 12 <= batch_bytes) o += put_record(b + o, n++, record_bytes);
  seal_batch(b, o, n);
  *records = n;
  return o;
}

/* Produce v7 of one batch to one partition; *request is malloced. Patch the correlation id at offset 8. */
static UNUSED int make_produce(uint8_t **request, const char *topic, int partition, int acks, int batch_bytes,
                               int record_bytes, int *records) {
  uint8_t *r = malloc((size_t)batch_bytes + record_bytes + strlen(topic) + 512);
  int o = start_request(r, 0, 7, 0);
  put16(r + o, -1); /* no transactional id */
  put16(r + o + 2, acks);
  put32(r + o + 4, 30000);
  put32(r + o + 8, 1);
  o += 12;
  o += put_string(r + o, topic);
  put32(r + o, 1);
  put32(r + o + 4, partition);
  int batch = make_batch(r + o + 12, batch_bytes, record_bytes, records);
  put32(r + o + 8, batch);
  o += 12 + batch;
  finish_request(r, o);
  *request = r;
  return o;
}

/* Error code of a Produce v7 answer (behind the correlation id) with one partition. */
static UNUSED int produce_error(const uint8_t *answer) {
  const uint8_t *p = answer + 4 + 4;
  p += 2 + get16(p) + 4 + 4;
  return get16(p);
}

/* Fetch v7 of one or several partitions of one topic; no session. Returns the end of the request. */
static UNUSED int make_fetch(uint8_t *r, uint32_t correlation, const char *topic, int count, const int *partitions,
                             const uint64_t *offsets, int max_wait_ms, int min_bytes, int partition_bytes) {
  int o = start_request(r, 1, 7, correlation);
  put32(r + o, -1);
  put32(r + o + 4, max_wait_ms);
  put32(r + o + 8, min_bytes);
  put32(r + o + 12, 50 << 20);
  r[o + 16] = 0;         /* read uncommitted */
  put32(r + o + 17, 0);  /* session id */
  put32(r + o + 21, -1); /* session epoch: none */
  put32(r + o + 25, 1);
  o += 29;
  o += put_string(r + o, topic);
  put32(r + o, count);
  o += 4;
  for (int i = 0; i < count; i++, o += 24) {
    put32(r + o, partitions[i]);
    put64(r + o + 4, offsets[i]);
    put64(r + o + 12, -1);
    put32(r + o + 20, partition_bytes);
  }
  put32(r + o, 0); /* no forgotten topics */
  o += 4;
  finish_request(r, o);
  return o;
}

/* ---- percentiles ---- */

static UNUSED int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Of sorted seconds, in microseconds; 0 when empty. */
static UNUSED double micros(const double *sorted, long n, double quantile) {
  if (n == 0) return 0;
  long i = (long)(n * quantile);
  return sorted[i < n ? i : n - 1] * 1e6;
}

#endif

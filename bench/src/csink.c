/*
 * csink: the floor. What a produce must cost at least on this machine: one epoll thread that accepts kblast's requests,
 * checks the batch checksum, writes the batch and answers. No sync, no index, no topics, no readers, no error handling.
 *
 * Modes: 0 only answers, 1 also writes, 2 also checks the CRC (the floor of the tables). Metadata v4 and ListOffsets v1
 * are answered too, from a record count per partition, so that kblast's checks work here as everywhere.
 */
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#define BUFFER_BYTES (4 << 20)
#define PARTITIONS 64
#define ANSWERS_BYTES 16384

static int port = 9092, mode = 2;
static const char *dir = ".";

typedef struct {
  int fd;
  uint8_t *buffer;
  long begin, end; /* unread part of the buffer */
} Client;

static int files[PARTITIONS];
static long positions[PARTITIONS];
static uint64_t record_counts[PARTITIONS];

/* Each handler reads the request body at p and writes the response body at r; returns its size. */

static int on_produce(uint8_t *p, uint8_t *r) {
  p += 2 + 2 + 4 + 4; /* transactional id (null), acks, timeout, one topic */
  int name = get16(p);
  uint8_t *topic = p;
  p += 2 + name + 4;
  uint32_t partition = get32(p), size = get32(p + 4), slot = partition % PARTITIONS;
  uint8_t *batch = p + 8;
  if (mode >= 2 && crc32c(batch + 21, size - 21) != get32(batch + 17)) die("checksum differs");
  uint64_t base = record_counts[slot];
  if (mode >= 1) {
    put64(batch, base); /* offset and epoch lie outside the checksum */
    put32(batch + 12, 0);
    if (pwrite(files[slot], batch, size, positions[slot]) != size) die("pwrite");
    positions[slot] += size;
  }
  record_counts[slot] += get32(batch + 57);
  int q = 0;
  put32(r, 1);
  memcpy(r + 4, topic, 2 + name);
  q = 4 + 2 + name;
  put32(r + q, 1);
  put32(r + q + 4, partition);
  put16(r + q + 8, 0);
  put64(r + q + 10, base);
  put64(r + q + 18, -1); /* log append time */
  put64(r + q + 26, 0);  /* log start */
  put32(r + q + 34, 0);  /* throttle */
  return q + 38;
}

static int on_metadata(uint8_t *p, uint8_t *r) {
  int name = get16(p + 4), q = 0;
  put32(r, 0);
  put32(r + 4, 1);
  put32(r + 8, 1);
  q = 12 + put_string(r + 12, "127.0.0.1");
  put32(r + q, port);
  put16(r + q + 4, -1); /* rack */
  put16(r + q + 6, -1); /* cluster id */
  put32(r + q + 8, 1);  /* controller */
  put32(r + q + 12, 1);
  put16(r + q + 16, 0);
  q += 18;
  memcpy(r + q, p + 4, 2 + name);
  q += 2 + name;
  r[q++] = 0;
  put32(r + q, PARTITIONS);
  q += 4;
  for (int i = 0; i < PARTITIONS; i++, q += 18) {
    put16(r + q, 0);
    put32(r + q + 2, i);
    put32(r + q + 6, 1); /* leader */
    put32(r + q + 10, 0);
    put32(r + q + 14, 0);
  }
  return q;
}

static int on_list_offsets(uint8_t *p, uint8_t *r) {
  p += 8;
  int name = get16(p), q = 0;
  put32(r, 1);
  memcpy(r + 4, p, 2 + name);
  q = 6 + name;
  p += 2 + name;
  int n = get32(p);
  put32(r + q, n);
  q += 4;
  p += 4;
  for (int i = 0; i < n && i < PARTITIONS; i++, p += 12, q += 22) {
    put32(r + q, get32(p));
    put16(r + q + 4, 0);
    put64(r + q + 6, -1);
    put64(r + q + 14, record_counts[get32(p) % PARTITIONS]);
  }
  return q;
}

/* One whole request at f; its response frame at r; returns the frame's size. */
static int answer(uint8_t *f, uint8_t *r) {
  int key = get16(f), client_id = get16(f + 8);
  uint8_t *body = f + 10 + (client_id > 0 ? client_id : 0);
  put32(r + 4, get32(f + 4));
  int size = 0;
  if (key == 0) size = on_produce(body, r + 8);
  else if (key == 3) size = on_metadata(body, r + 8);
  else if (key == 2) size = on_list_offsets(body, r + 8);
  else die("csink serves Produce v7, Metadata v4 and ListOffsets v1 alone");
  put32(r, size + 4);
  return size + 8;
}

/* Answers all whole requests in the buffer, then makes room. */
static void serve(Client *c) {
  uint8_t out[ANSWERS_BYTES];
  int n = 0;
  while (c->end - c->begin >= 4) {
    long length = get32(c->buffer + c->begin);
    if (c->end - c->begin - 4 < length) break;
    if (n > ANSWERS_BYTES - 4096) {
      send_fully(c->fd, out, n);
      n = 0;
    }
    n += answer(c->buffer + c->begin + 4, out + n);
    c->begin += 4 + length;
  }
  if (n) send_fully(c->fd, out, n);
  if (c->begin == c->end) {
    c->begin = c->end = 0;
  } else if (BUFFER_BYTES - c->begin < (1 << 20) + 65536 || BUFFER_BYTES - c->end < (1 << 20)) {
    memmove(c->buffer, c->buffer + c->begin, c->end - c->begin);
    c->end -= c->begin;
    c->begin = 0;
  }
}

static void usage(void) {
  puts("usage: csink --port N --mode 0|1|2 --dir DIR\n"
       "  -P, --port N   listen on 127.0.0.1 (9092)\n"
       "  -M, --mode N   0 answer only, 1 write, 2 check the CRC and write (2)\n"
       "  -d, --dir DIR  one file per partition, emptied at the start (.)\n"
       "Prints READY when it listens.");
}

static void parse_options(int argc, char **argv) {
  static const struct option options[] = {
      {"port", 1, 0, 'P'}, {"mode", 1, 0, 'M'}, {"dir", 1, 0, 'd'}, {"help", 0, 0, 'h'}, {0, 0, 0, 0}};
  for (int k; (k = getopt_long(argc, argv, "P:M:d:h", options, 0)) != -1;) {
    switch (k) {
      case 'P': port = atoi(optarg); break;
      case 'M': mode = atoi(optarg); break;
      case 'd': dir = optarg; break;
      case 'h': usage(); exit(0);
      default: usage(); exit(2);
    }
  }
}

int main(int argc, char **argv) {
  parse_options(argc, argv);
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(port)};
  s.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (void *)&s, sizeof s) || listen(listener, 1024)) {
    perror("listen");
    return 1;
  }
  for (int i = 0; i < PARTITIONS; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/c%d.log", dir, i);
    files[i] = mode ? open(path, O_CREAT | O_TRUNC | O_RDWR, 0644) : -1;
    if (mode && files[i] < 0) die("cannot open the files");
  }
  int events_fd = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = 0}, ready[64];
  epoll_ctl(events_fd, EPOLL_CTL_ADD, listener, &e);
  puts("READY");
  fflush(stdout);
  for (;;) {
    int n = epoll_wait(events_fd, ready, 64, -1);
    for (int i = 0; i < n; i++) {
      Client *c = ready[i].data.ptr;
      if (!c) {
        c = calloc(1, sizeof(Client));
        c->fd = accept(listener, 0, 0);
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->buffer = malloc(BUFFER_BYTES);
        e.events = EPOLLIN;
        e.data.ptr = c;
        epoll_ctl(events_fd, EPOLL_CTL_ADD, c->fd, &e);
        continue;
      }
      long m = recv(c->fd, c->buffer + c->end, BUFFER_BYTES - c->end, MSG_DONTWAIT);
      if (m < 0 && errno == EAGAIN) continue;
      if (m <= 0) {
        close(c->fd);
        free(c->buffer);
        free(c);
        continue;
      }
      c->end += m;
      serve(c);
    }
  }
}

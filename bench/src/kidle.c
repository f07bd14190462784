/*
 * kidle: many connections, each with one long-polling Fetch on an empty topic, held for a while. One thread, epoll.
 *
 * Prints {"event":"ready"} when every poll is on its way, so that the server's memory and CPU can be read from then on,
 * and a JSON line at the end. An answer before max_wait or later than half a second after it is counted as such: a
 * server that answers early spins its clients, so that ends with code 3; late ones are only reported.
 */
#include "wire.h"

#include <errno.h>
#include <sys/epoll.h>

static int port = 9092, connections = 5000, max_wait_ms = 60000;
static double seconds = 10;
static const char *topic = "bench-idle";

typedef struct {
  int fd;
  uint32_t polls;
  double polled_at;
  uint8_t answer[512];
  int have;
} Poller;

static uint8_t request[1024];
static long answers, early, late;

static void poll_again(Poller *p) {
  int partition = 0;
  uint64_t offset = 0;
  int end = make_fetch(request, p->polls++, topic, 1, &partition, &offset, max_wait_ms, 1, 1 << 20);
  p->have = 0;
  p->polled_at = now();
  send_fully(p->fd, request, end);
}

/* An empty answer is under 100 bytes; reads what is there and polls again when it is whole. */
static void on_readable(Poller *p) {
  long k = recv(p->fd, p->answer + p->have, sizeof p->answer - p->have, MSG_DONTWAIT);
  if (k < 0 && errno == EAGAIN) return;
  if (k <= 0) die("the server closed an idle connection");
  p->have += k;
  if (p->have < 4 || p->have < 4 + (int)get32(p->answer)) return;
  double waited = (now() - p->polled_at) * 1000;
  if (get32(p->answer + 4) != p->polls - 1) die("answers out of order");
  answers++;
  /* 2 ms of slack: servers count in whole milliseconds. */
  if (waited < max_wait_ms - 2) early++;
  if (waited > max_wait_ms + 500) late++;
  poll_again(p);
}

static void serve_readable(int events_fd, int timeout_ms) {
  struct epoll_event ready[256];
  int n = epoll_wait(events_fd, ready, 256, timeout_ms);
  for (int i = 0; i < n; i++) on_readable(ready[i].data.ptr);
}

static void usage(void) {
  puts("usage: kidle [options]\n"
       "  -P, --port N          server on 127.0.0.1 (9092)\n"
       "  -t, --topic NAME      partition 0 of it, empty (bench-idle)\n"
       "  -c, --connections N   (5000)\n"
       "  -w, --max-wait-ms N   of each Fetch (60000)\n"
       "  -s, --seconds N       hold them this long after ready (10)");
}

static void parse_options(int argc, char **argv) {
  static const struct option options[] = {{"port", 1, 0, 'P'},        {"topic", 1, 0, 't'},
                                          {"connections", 1, 0, 'c'}, {"max-wait-ms", 1, 0, 'w'},
                                          {"seconds", 1, 0, 's'},     {"help", 0, 0, 'h'},
                                          {0, 0, 0, 0}};
  for (int k; (k = getopt_long(argc, argv, "P:t:c:w:s:h", options, 0)) != -1;) {
    switch (k) {
      case 'P': port = atoi(optarg); break;
      case 't': topic = optarg; break;
      case 'c': connections = atoi(optarg); break;
      case 'w': max_wait_ms = atoi(optarg); break;
      case 's': seconds = atof(optarg); break;
      case 'h': usage(); exit(0);
      default: usage(); exit(2);
    }
  }
}

int main(int argc, char **argv) {
  parse_options(argc, argv);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < (rlim_t)connections + 32) die("the limit of open files (ulimit -Hn) is too low");

  await_topic(port, topic, 1);
  int events_fd = epoll_create1(0);
  Poller *all = calloc(connections, sizeof(Poller));
  double started = now();
  for (int i = 0; i < connections; i++) {
    all[i].fd = dial(port);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[i]};
    epoll_ctl(events_fd, EPOLL_CTL_ADD, all[i].fd, &e);
    poll_again(&all[i]);
    /* A server with a short listen queue takes its time: answers that come meanwhile are read in time. */
    serve_readable(events_fd, 0);
  }
  for (double until = now() + 0.5; now() < until;) serve_readable(events_fd, 10); /* the last polls reach the server */
  printf("{\"event\":\"ready\",\"connectSeconds\":%.2f}\n", now() - started);
  fflush(stdout);

  /* Polls answered while the connections were made do not count. */
  answers = early = late = 0;
  double begin = now(), end = begin + seconds;
  for (double at; (at = now()) < end;) serve_readable(events_fd, (int)((end - at) * 1000) + 1);
  printf("{\"connections\":%d,\"maxWaitMs\":%d,\"seconds\":%.3f,\"answers\":%ld,\"early\":%ld,\"late\":%ld,"
         "\"clientCpu\":%.3f}\n",
         connections, max_wait_ms, now() - begin, answers, early, late, own_cpu());
  return early ? 3 : 0;
}

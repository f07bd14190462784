/** The names of all metrics of a server, and where each number comes from. Everything is read when somebody asks. */
import { type Histogram, LATENCY_BOUNDS_SECONDS, MetricsRegistry, type Sample } from '@hadron/base';
import type { Broker } from '@hadron/broker';
import { apiByKey, kafkaErrorName } from '@hadron/kafka-protocol';
import type { Shard } from '@hadron/log';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ApiDoor } from './api/index.ts';
import type { KafkaDoor } from './kafka/door.ts';
import type { Push } from './push/index.ts';
import type { RpcDoor } from './rpc/index.ts';

export function serverMetrics(
  broker: Broker,
  door: KafkaDoor,
  api: ApiDoor,
  rpc: RpcDoor,
  push: Push,
): MetricsRegistry {
  const m = new MetricsRegistry();
  const shard = (): Shard => broker.core.shard;
  const counter = (name: string, help: string, read: () => number): void =>
    m.add({ name, help, type: 'counter', labelNames: [], collect: () => [{ labels: [], value: read() }] });

  m.add({
    name: 'hadron_kafka_requests_total',
    help: 'Requests received, by API.',
    type: 'counter',
    labelNames: ['api'],
    *collect() {
      for (const [key, c] of door.metrics.requests.entries())
        if (c.value > 0) yield { labels: [apiByKey(key)?.name ?? String(key)], value: c.value };
    },
  });
  m.add({
    name: 'hadron_kafka_request_seconds',
    help: 'From the last byte of a request to its answer, long polls and waits for the disk included, by API.',
    type: 'histogram',
    labelNames: ['api'],
    *collect() {
      for (const [key, histogram] of door.metrics.latency.entries())
        if (histogram.count > 0) yield { labels: [apiByKey(key)?.name ?? String(key)], histogram };
    },
  });
  m.add({
    name: 'hadron_kafka_errors_total',
    help: 'Errors answered, by API and Kafka error.',
    type: 'counter',
    labelNames: ['api', 'error'],
    *collect() {
      for (const [key, c] of door.metrics.errors) {
        const [api, code] = key.split(':').map(Number) as [number, number];
        yield { labels: [apiByKey(api)?.name ?? String(api), kafkaErrorName(code)], value: c.value };
      }
    },
  });
  counter(
    'hadron_kafka_received_bytes_total',
    'Bytes received from Kafka clients.',
    () => door.metrics.receivedBytes.value,
  );
  counter('hadron_kafka_sent_bytes_total', 'Bytes sent to Kafka clients.', () => door.metrics.sentBytes.value);
  m.gauge('hadron_kafka_connections', 'Kafka connections open.', () => door.connections.size);
  counter('hadron_kafka_connections_total', 'Kafka connections accepted.', () => door.metrics.connectionsTotal.value);
  counter(
    'hadron_kafka_connections_refused_total',
    'Connections refused because of max.connections.',
    () => door.metrics.connectionsRefused.value,
  );
  m.gauge('hadron_kafka_waiting_fetches', 'Fetches that wait for data.', () => broker.core.fetcher.waitingCount);

  apiMetrics(m, api);
  rpcMetrics(m, rpc);
  pushMetrics(m, push);

  counter('hadron_log_appends_total', 'Batches appended.', () => shard().stats.appends);
  counter('hadron_log_appended_bytes_total', 'Bytes appended.', () => shard().stats.appendedBytes);
  counter(
    'hadron_log_direct_bytes_total',
    'Of these, bytes written straight to segments.',
    () => shard().stats.directBytes,
  );
  counter('hadron_log_syncs_total', 'Group commits synced.', () => shard().stats.syncs);
  counter(
    'hadron_log_synced_frames_total',
    'Append sets made durable; divided by the syncs, the size of a group commit.',
    () => shard().stats.syncedFrames,
  );
  const syncSeconds = m.histogram(
    'hadron_log_sync_seconds',
    'Duration of a group commit’s sync.',
    LATENCY_BOUNDS_SECONDS,
  );
  observeSyncs(broker, syncSeconds);
  counter('hadron_log_checkpoints_total', 'Checkpoints.', () => shard().stats.checkpoints);
  counter('hadron_log_tail_reads_total', 'Reads served from the tail cache.', () => shard().stats.tailReads);
  counter('hadron_log_file_reads_total', 'Reads that went to segment files.', () => shard().stats.fileReads);
  m.gauge('hadron_log_tail_cache_bytes', 'Memory of the tail cache.', () => shard().tail.bytes);
  m.gauge(
    'hadron_log_commit_outstanding_bytes',
    'Commit log that no checkpoint covers.',
    () => shard().commit.outstandingBytes,
  );
  m.gauge('hadron_log_open_segments', 'Segment files open.', () => shard().files.openCount);
  counter('hadron_storage_recoveries_total', 'Recoveries after a failed write or sync.', () => broker.recoveries);
  m.gauge('hadron_storage_refusing', '1 while producing is refused.', () => (broker.trouble === undefined ? 0 : 1));

  const events = () => broker.core.events.stats;
  counter(
    'hadron_events_published_total',
    'Events published one by one or in calls, not as record batches.',
    () => events().publishedEvents,
  );
  counter('hadron_events_refused_total', 'Events refused: invalid, or too large.', () => events().refusedEvents);
  counter(
    'hadron_events_duplicate_total',
    'Events found in a deduplication window and answered with their first position.',
    () => events().duplicateEvents,
  );
  m.gauge('hadron_event_tails', 'Readers that follow a stream without a group, by any door.', () => events().tails);
  m.gauge('hadron_topics', 'Topics.', () => broker.core.topics.count);
  m.add({
    name: 'hadron_topic_bytes',
    help: 'Bytes stored, by topic.',
    type: 'gauge',
    labelNames: ['topic'],
    *collect() {
      for (const t of broker.core.topics.all())
        yield { labels: [t.name], value: t.partitions.reduce((n, p) => n + p.log.sizeBytes, 0) };
    },
  });
  m.gauge('hadron_groups', 'Consumer groups.', () => broker.core.groups.coordinator.listGroups().length);
  m.add({
    name: 'hadron_group_lag_records',
    help: 'Records behind the committed offset, by group and topic.',
    type: 'gauge',
    labelNames: ['group', 'topic'],
    collect: () => groupLag(broker),
  });

  const delay = monitorEventLoopDelay({ resolution: 20 });
  m.gauge('hadron_event_loop_delay_max_seconds', 'Largest delay of the event loop since the last scrape.', () => {
    const seconds = delay.max / 1e9;
    delay.reset();
    return seconds;
  });
  // It wakes the process fifty times a second: only while somebody scrapes.
  let watching: NodeJS.Timeout | undefined;
  m.gauge(
    'hadron_event_loop_watched',
    '1 while the event-loop delay is measured: it is from a scrape on, for two minutes.',
    () => {
      delay.enable();
      clearTimeout(watching);
      watching = setTimeout(() => delay.disable(), 120_000);
      watching.unref();
      return 1;
    },
  );
  m.gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
  counter('process_cpu_seconds_total', 'CPU time used.', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  return m;
}

function apiMetrics(m: MetricsRegistry, api: ApiDoor): void {
  const routes = (): readonly string[] => api.router.routes.map(({ method, pattern }) => `${method} ${pattern}`);
  m.add({
    name: 'hadron_http_requests_total',
    help: 'Requests to the API that were answered, by route and status; those that no route got have the route "none".',
    type: 'counter',
    labelNames: ['route', 'status'],
    *collect() {
      for (const [i, route] of routes().entries())
        for (const [status, c] of api.metrics.answers[i] ?? [])
          yield { labels: [route, String(status)], value: c.value };
      for (const [status, c] of api.metrics.refused) yield { labels: ['none', String(status)], value: c.value };
    },
  });
  m.add({
    name: 'hadron_http_request_seconds',
    help: 'From the head of a request to the end of its answer, waits included, by route. Tails count when they end.',
    type: 'histogram',
    labelNames: ['route'],
    *collect() {
      for (const [i, route] of routes().entries()) {
        const histogram = api.metrics.latency[i];
        if (histogram !== undefined && histogram.count > 0) yield { labels: [route], histogram };
      }
    },
  });
  m.gauge('hadron_http_connections', 'Connections to the HTTP port, of every kind.', () => api.connectionCount());
  m.gauge('hadron_http_body_bytes', 'Memory of requests to the API that are not whole yet.', () => api.bodyBytes);
  m.gauge('hadron_http_tails', 'Readers of events that follow a stream: SSE and NDJSON.', () => api.tails.count);
  const counter = (name: string, help: string, read: () => number): void =>
    m.add({ name, help, type: 'counter', labelNames: [], collect: () => [{ labels: [], value: read() }] });
  counter('hadron_http_tails_total', 'Such readers that came.', () => api.tails.opened.value);
  counter(
    'hadron_http_tails_lagged_total',
    'Such readers that were closed, with a hint to come back, because they did not keep up.',
    () => api.tails.lagged.value,
  );
  counter('hadron_http_tail_events_total', 'Events given to such readers.', () => api.tails.sentEvents.value);
  m.gauge('hadron_websockets', 'WebSockets open.', () => api.metrics.socketsOpen);
  counter('hadron_websockets_total', 'WebSockets opened.', () => api.metrics.sockets.value);
}

function rpcMetrics(m: MetricsRegistry, rpc: RpcDoor): void {
  m.add({
    name: 'hadron_rpc_calls_total',
    help: 'Calls of gRPC, Connect and gRPC-Web that are over, by method and gRPC status; of methods that do not exist, "unknown".',
    type: 'counter',
    labelNames: ['method', 'status'],
    *collect() {
      for (const { method, status, count } of rpc.calls()) yield { labels: [method, status], value: count };
    },
  });
  m.gauge('hadron_rpc_calls_open', 'Calls under way: sessions, streams of publishes, tails.', () => rpc.openCalls);
}

function pushMetrics(m: MetricsRegistry, push: Push): void {
  m.add({
    name: 'hadron_push_requests_total',
    help: 'Requests to sinks that are over, by Subscription and outcome: delivered; failed, to be tried again; rejected, a dead letter at once. Begins anew when the Subscription changes.',
    type: 'counter',
    labelNames: ['subscription', 'outcome'],
    *collect() {
      for (const { name, counts } of push.counts())
        for (const [outcome, value] of Object.entries(counts)) yield { labels: [name, outcome], value };
    },
  });
  m.add({
    name: 'hadron_push_ready',
    help: '1 where events of a Subscription flow, else 0; its condition Ready says why.',
    type: 'gauge',
    labelNames: ['subscription'],
    *collect() {
      for (const { name, ready } of push.counts()) yield { labels: [name], value: ready ? 1 : 0 };
    },
  });
}

function observeSyncs(broker: Broker, histogram: Histogram): void {
  const hook = (): void => {
    broker.core.shard.stats.onSync = (ms) => histogram.observe(ms / 1000);
  };
  hook();
  broker.onRecovered = hook;
}

function* groupLag(broker: Broker): Iterable<Sample> {
  const { groups, topics } = broker.core;
  const ids = groups.coordinator.listGroups().map((g) => g.groupId);
  for (const groupId of ids) {
    for (const t of groups.committed(groupId)) {
      const topic = topics.get(t.name);
      let lag = 0;
      for (const p of t.partitions) {
        const partition = topic?.partitions[p.partition];
        if (partition !== undefined && p.offset >= 0)
          lag += Math.max(0, partition.highWatermark - Math.max(p.offset, partition.logStartOffset));
      }
      yield { labels: [groupId, t.name], value: lag };
    }
  }
}

/**
 * Kind Stream (hadron.md §7.1, §7.4): a Kafka topic and everything said about it. A Stream and the topic of its name are one
 * thing; fields that Kafka knows are topic configs there (broker/src/resources/stream-config.ts).
 *
 * `hadron.rs/v1beta1` is the original's form. `hadron.rs/v1` has the same fields and more, all optional.
 */
import { z } from 'zod';
import { API_V1, API_V1BETA1, metadataOf, statusFields, topicName } from './metadata.ts';

const seconds = (min: number) => z.int().min(min);
/** Everybody forwards events of 64 KiB (cloudevents.md §2.3). A Kafka client may set less; that is no field then. */
export const MAX_EVENT_BYTES_MIN = 65_536;
const KUBERNETES_ONLY = 'For Kubernetes: kept, and without effect on a server of its own.';
/** Kept and shown, for clusters; status says that they do nothing on a server of its own. */
export const STREAM_FIELDS_KEPT = ['debug', 'image', 'pvcVolumeSize', 'pvcStorageClass', 'pvcAccessModes'] as const;

const partitions = z
  .int()
  .min(1)
  .max(0xffff_ffff)
  .describe(
    'How many partitions. May grow at any time; fewer lose the data of those removed, and need the annotation hadron.rs/allow-destructive-update.',
  );
const debug = z.boolean().optional().describe(`Debug logging. ${KUBERNETES_ONLY}`);
const image = z.string().optional().describe(`Container image with tag. ${KUBERNETES_ONLY}`);
const pvcVolumeSize = z.string().describe(`Size of each partition's volume. ${KUBERNETES_ONLY}`);
const pvcStorageClass = z.string().nullable().optional().describe(`Storage class of the volumes. ${KUBERNETES_ONLY}`);
const pvcAccessModes = z
  .array(z.string())
  .nullable()
  .optional()
  .describe(`Access modes of the volumes. ${KUBERNETES_ONLY}`);
const retentionSeconds = seconds(0)
  .nullable()
  .optional()
  .describe('Strategy time: how long a record is kept, in seconds. Default 604800, seven days.');

const specV1beta1 = z.strictObject({
  partitions,
  debug,
  retentionPolicy: z
    .strictObject({
      strategy: z.enum(['retain', 'time']).describe('retain keeps everything; time deletes what is older.'),
      retentionSeconds,
    })
    .optional()
    .describe('What happens to old records.'),
  image,
  pvcVolumeSize,
  pvcStorageClass,
  pvcAccessModes,
});

const specV1 = z.strictObject({
  partitions,
  retentionPolicy: z
    .strictObject({
      strategy: z
        .enum(['retain', 'time', 'size'])
        .describe(
          'retain keeps everything; time deletes what is older; size deletes the oldest beyond retentionBytes.',
        ),
      retentionSeconds,
      retentionBytes: z
        .int()
        .min(0)
        .optional()
        .describe('Strategies size and time: bytes kept of each partition. Default: no limit.'),
    })
    .optional()
    .describe("What happens to old records. Default: the server's settings log.retention.ms and log.retention.bytes."),
  durability: z
    .enum(['fsync', 'os'])
    .optional()
    .describe(
      'When a record is acknowledged: on stable storage (fsync), or in the page cache (os). Default: server setting hadron.durability.',
    ),
  compaction: z
    .strictObject({
      strategy: z
        .enum(['compact', 'compact-delete'])
        .describe('compact keeps the newest record of each key; compact-delete applies retentionPolicy as well.'),
      tombstoneSeconds: seconds(0)
        .optional()
        .describe('How long a deleted key stays readable as such, in seconds. Default 86400, one day.'),
    })
    .optional()
    .describe('Keeps the newest record of each key. Default: no compaction.'),
  deduplication: z
    .strictObject({
      windowSeconds: seconds(1).describe(
        'For so long an event with the same source and id is answered with the position of the first.',
      ),
      entries: z
        .int()
        .min(1)
        .max(20_000_000)
        .optional()
        .describe('Events remembered at most, over all partitions. Default: 100000.'),
    })
    .optional()
    .describe('An event published again within the window is not stored again. Default: off.'),
  maxEventBytes: z
    .int()
    .min(MAX_EVENT_BYTES_MIN)
    .max(0x7fff_ffff)
    .optional()
    .describe('The largest record batch, and so the largest event, in bytes after compression. Default 1048588.'),
  events: z
    .enum(['off', 'lenient', 'required'])
    .optional()
    .describe(
      'Records without CloudEvents headers: off never interprets records as events, lenient presents them as events, required refuses them. Default lenient.',
    ),
  topicName: topicName(
    'Name of the Kafka topic, where it is not legal as a name in Kubernetes. Default: metadata.name. Cannot change.',
  ).optional(),
  topicConfig: z
    .record(z.string().max(249), z.union([z.string().max(65_536), z.number(), z.boolean()]))
    .optional()
    .describe('Kafka topic configs by name, for what has no field here. See docs/settings.md.'),
  debug,
  image,
  pvcVolumeSize: pvcVolumeSize.optional(),
  pvcStorageClass,
  pvcAccessModes,
});

const metadata = metadataOf(
  topicName(
    'Name of the Stream and of its Kafka topic, unique in the namespace. Names that begin with "__" are internal.',
  ),
);
const status = z
  .looseObject({
    ...statusFields,
    topicId: z.string().optional().describe('Id of the Kafka topic; a Stream that is created again has another.'),
    topicName: z.string().optional().describe('Name of the Kafka topic.'),
    originalPorts: z
      .looseObject({})
      .optional()
      .describe('Ports for clients of the original Hadron: of the stream, and of each partition.'),
  })
  .optional()
  .describe('How it is. Written by the server; ignored in a document.');
const kind = z.literal('Stream');

export const streamV1 = z
  .strictObject({
    apiVersion: z.literal(API_V1),
    kind,
    metadata,
    spec: specV1.describe('What is wanted.'),
    status,
  })
  .meta({ description: 'An append-only log of events in partitions, and the Kafka topic of its name.' });

export const streamV1beta1 = z
  .strictObject({
    apiVersion: z.literal(API_V1BETA1),
    kind,
    metadata,
    spec: specV1beta1.describe('What is wanted.'),
    status,
  })
  .meta({ description: 'An append-only log of events in partitions: the original form.' });

export type StreamSpec = z.infer<typeof specV1>;

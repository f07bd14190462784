/** The table of kinds: what a new kind adds itself to. Everything else here works on its rows. */
import type { z } from 'zod';
import { API_V1, API_V1BETA1 } from './metadata.ts';
import { streamV1, streamV1beta1 } from './stream.ts';
import { subscriptionV1 } from './subscription.ts';

/** A column of `hadron get`, and later of kubectl. */
export interface Column {
  readonly name: string;
  /** Members from the resource down, with dots. */
  readonly path: string;
  /** Only in wide tables. */
  readonly wide?: boolean;
}

export interface Kind {
  readonly kind: KindName;
  /** In URLs of Kubernetes and for `hadron get`. */
  readonly plural: string;
  readonly shortNames: readonly string[];
  /** Newest first. */
  readonly versions: readonly { readonly apiVersion: string; readonly schema: z.ZodType }[];
  readonly columns: readonly Column[];
}

export type KindName = 'Stream' | 'Subscription';

export const KINDS: readonly Kind[] = [
  {
    kind: 'Stream',
    plural: 'streams',
    shortNames: ['stream'],
    versions: [
      { apiVersion: API_V1, schema: streamV1 },
      { apiVersion: API_V1BETA1, schema: streamV1beta1 },
    ],
    columns: [
      { name: 'partitions', path: 'spec.partitions' },
      { name: 'retention', path: 'spec.retentionPolicy.strategy' },
      { name: 'seconds', path: 'spec.retentionPolicy.retentionSeconds', wide: true },
      { name: 'bytes', path: 'spec.retentionPolicy.retentionBytes', wide: true },
      { name: 'compaction', path: 'spec.compaction.strategy' },
      { name: 'durability', path: 'spec.durability', wide: true },
      { name: 'topic', path: 'status.topicName', wide: true },
      { name: 'topic id', path: 'status.topicId', wide: true },
      { name: 'port', path: 'status.originalPorts.stream', wide: true },
      { name: 'partition ports', path: 'status.originalPorts.partitions', wide: true },
    ],
  },
  {
    kind: 'Subscription',
    plural: 'subscriptions',
    shortNames: ['subscription', 'sub', 'subs'],
    versions: [{ apiVersion: API_V1, schema: subscriptionV1 }],
    columns: [
      { name: 'stream', path: 'spec.stream' },
      { name: 'sink', path: 'spec.sink' },
      { name: 'mode', path: 'spec.mode', wide: true },
      { name: 'concurrency', path: 'spec.concurrency', wide: true },
      { name: 'group', path: 'spec.group', wide: true },
    ],
  },
];

/** By kind, plural or short name, in any case. */
export function kindNamed(name: string): Kind | undefined {
  const wanted = name.toLowerCase();
  return KINDS.find((k) => k.kind.toLowerCase() === wanted || k.plural === wanted || k.shortNames.includes(wanted));
}

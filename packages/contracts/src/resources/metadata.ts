/**
 * What every resource has around its spec: apiVersion, kind, metadata, status, as in Kubernetes. Written once, as schemas
 * that carry their own documentation: types, validation, `explain` and JSON Schema all come from them.
 */
import { z } from 'zod';

/** The group and the versions of all our kinds. One set of kinds: v1 is v1beta1 with optional additions (hadron.md §16.7). */
export const API_V1 = 'hadron.rs/v1';
export const API_V1BETA1 = 'hadron.rs/v1beta1';

/** On a document: says that its author accepts that data is lost, e.g. that of removed partitions. Its presence is enough. */
export const ALLOW_DESTRUCTIVE_UPDATE = 'hadron.rs/allow-destructive-update';

const DNS_LABEL = '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?';
const LABEL_PART = '[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?';
/** Of labels and annotations: `name` or `prefix/name`. */
export const LABEL_KEY: RegExp = new RegExp(`^(${DNS_LABEL}(\\.${DNS_LABEL}){0,30}/)?${LABEL_PART}$`);
/** Of labels; may be empty. */
export const LABEL_VALUE: RegExp = new RegExp(`^(${LABEL_PART})?$`);
const TOPIC_NAME = /^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$/;
const OBJECT_NAME = new RegExp(`^(?=.{1,253}$)${DNS_LABEL}(\\.${DNS_LABEL})*$`);

const labelKey = z.string().max(317).regex(LABEL_KEY).meta({
  'x-allowed': 'letters, digits, "-", "_" and ".", at most 63, with an optional DNS name and "/" before',
});

/** A name as Kafka takes it. */
export const topicName = (description: string): z.ZodString =>
  z
    .string()
    .regex(TOPIC_NAME)
    .meta({ description, 'x-allowed': '1 to 249 letters, digits, ".", "_" and "-", and not "." or ".."' });

/** A name as Kubernetes takes it. */
export const objectName = (description: string): z.ZodString =>
  z.string().regex(OBJECT_NAME).meta({
    description,
    'x-allowed': 'lower-case letters, digits, "-" and ".", at most 253, with a letter or digit at both ends',
  });

/** What a document may say under `metadata`. What only the server writes is taken and ignored, so that `get` goes back in. */
export const metadataOf = (name: z.ZodString) =>
  z
    .strictObject({
      name,
      namespace: z
        .string()
        .optional()
        .describe("The server's namespace. One server is one namespace; absent: that of the server."),
      labels: z
        .record(
          labelKey,
          z
            .string()
            .regex(LABEL_VALUE)
            .nullable()
            .meta({ 'x-allowed': 'at most 63 letters, digits, "-", "_" and ".", or empty; null removes the label' }),
        )
        .optional()
        .describe('Names to select by (-l). Merged with those there are; null removes one.'),
      annotations: z
        .record(labelKey, z.string().max(65_536).nullable())
        .optional()
        .describe('Notes of people and tools. Merged with those there are; null removes one.'),
      resourceVersion: z
        .string()
        .max(32)
        .optional()
        .describe('Changes with every change. In a document: refuse it unless the resource is still at this version.'),
      uid: z
        .string()
        .max(64)
        .optional()
        .describe('Identity of this incarnation. In a document: refuse it unless it is still this one.'),
      generation: z.int().optional().describe('Grows with every change of spec. Written by the server.'),
      creationTimestamp: z.string().max(64).optional().describe('When it was created. Written by the server.'),
    })
    .describe('Name, labels and identity.');

const condition = z.strictObject({
  type: z.string().describe('What it is about, e.g. Ready.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it holds.'),
  reason: z.string().describe('Why, in one word for programs.'),
  message: z.string().describe('Why, in a sentence for people.'),
  observedGeneration: z.int().describe('The generation of spec that this was said of.'),
  lastTransitionTime: z.string().describe('When status last changed.'),
});

/** Fields of every kind's status. */
export const statusFields = {
  observedGeneration: z.int().optional().describe('The generation of spec that the status was said of.'),
  conditions: z.array(condition).optional().describe('How it is, one entry per aspect.'),
};

export type Condition = z.infer<typeof condition>;

/** Metadata of a resource as the server tells it. */
export interface Metadata {
  readonly name: string;
  readonly namespace: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly resourceVersion: string;
  readonly generation: number;
  readonly uid: string;
  /** RFC 3339. Absent where the resource is older than this field. */
  readonly creationTimestamp?: string;
}

export interface Status {
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
  readonly [field: string]: unknown;
}

/** A resource as the server tells it. */
export interface Resource<Spec = Readonly<Record<string, unknown>>> {
  readonly apiVersion: typeof API_V1;
  readonly kind: string;
  readonly metadata: Metadata;
  readonly spec: Spec;
  readonly status: Status;
}

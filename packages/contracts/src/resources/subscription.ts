/**
 * Kind Subscription (cloudevents.md §7.1, delivery.md): the events of a Stream, pushed to a sink. What to send and where is
 * here; the words of `delivery` are those of a group (delivery.ts), because a Subscription is one.
 */
import { MAX_TEXT } from '@hadron/cesql';
import { z } from 'zod';
import { DEFAULT_POLICY, DEFAULT_WINDOW, type DeliveryPolicy, type GroupSettings, type Start } from '../delivery.ts';
import { MAX_VALUE } from '../filters/filter.ts';
import type { Filter } from '../filters/types.ts';
import { API_V1, metadataOf, objectName, statusFields, topicName } from './metadata.ts';

const attributes = (description: string) =>
  z
    .record(
      z
        .string()
        .regex(/^[a-z0-9]{1,20}$/)
        .meta({ 'x-allowed': 'an attribute: lower-case letters and digits' }),
      z.string().min(1).max(MAX_VALUE),
    )
    .refine((map) => Object.keys(map).length > 0, 'names no attribute')
    .optional()
    .describe(description);

/** One dialect of cloudevents.md §7.3; exactly one member. */
const filter: z.ZodType<Filter> = z
  .strictObject({
    exact: attributes('Every attribute equals its value.'),
    prefix: attributes('Every attribute begins with its value.'),
    suffix: attributes('Every attribute ends with its value.'),
    get all() {
      return z.array(filter).min(1).optional().describe('All of these are true.');
    },
    get any() {
      return z.array(filter).min(1).optional().describe('At least one of these is true.');
    },
    get not() {
      return filter.optional().describe('This is false.');
    },
    sql: z.string().min(1).max(MAX_TEXT).optional().describe('A CESQL expression is true.'),
  })
  .refine((f) => Object.keys(f).length === 1, 'a filter has exactly one dialect')
  .meta({
    id: 'Filter',
    description: 'A filter of the CloudEvents Subscriptions API: an object with one member, the dialect.',
    'x-allowed': 'exactly one of exact, prefix, suffix, all, any, not, sql',
  }) as unknown as z.ZodType<Filter>;

const milliseconds = z.int().min(0).max(31_536_000_000);

const start = z
  .strictObject({
    from: z.enum(['beginning', 'latest', 'offset', 'time']).describe('Where.'),
    offset: z.int().min(0).optional().describe('For offset: the same on every partition, inclusive.'),
    timeMs: z.int().min(0).optional().describe('For time: milliseconds since 1970.'),
  })
  .refine((s) => (s.from === 'offset') === (s.offset !== undefined), 'offset belongs to from: offset')
  .refine((s) => (s.from === 'time') === (s.timeMs !== undefined), 'timeMs belongs to from: time')
  .optional()
  .describe('Where a new Subscription begins. Default: beginning.');

const policy = z
  .strictObject({
    timeoutMs: milliseconds
      .min(1)
      .optional()
      .describe(`A delivery without an answer for so long has failed. Default ${DEFAULT_POLICY.timeoutMs}.`),
    maxProcessingMs: milliseconds
      .min(1)
      .optional()
      .describe(`An attempt lives so long at most. Default ${DEFAULT_POLICY.maxProcessingMs}.`),
    backoffMs: z
      .array(milliseconds)
      .min(1)
      .max(100)
      .optional()
      .describe(
        `Wait before the next attempt: first, second, …; the last repeats. Default ${DEFAULT_POLICY.backoffMs.join(', ')}.`,
      ),
    maxDeliveries: z
      .int()
      .min(0)
      .max(1_000_000)
      .optional()
      .describe(
        `After so many attempts the event is a dead letter; 0 = never. Default ${DEFAULT_POLICY.maxDeliveries}.`,
      ),
    deadLetterStream: topicName(
      'Where dead letters go. Default: the name of the stream with ".dead" behind.',
    ).optional(),
  })
  .optional()
  .describe('What happens to a delivery that does not end well.');

const delivery = z
  .strictObject({
    ordering: z
      .enum(['partition', 'key', 'none'])
      .optional()
      .describe('What is delivered one after another: the events of a partition, of a key, or nothing. Default key.'),
    window: z
      .int()
      .min(1)
      .max(1_000)
      .optional()
      .describe('Events of one lane that may be out. Default 1; for partition 32.'),
    start,
    policy,
    rateLimit: z
      .strictObject({
        count: z.int().min(1).max(100_000).describe('So many …'),
        perMs: milliseconds.min(1).describe('… in so many milliseconds.'),
        by: z.enum(['group', 'key']).describe('In all, or of each key.'),
      })
      .optional()
      .describe('At most so many deliveries. Default: no limit.'),
    holdRetention: z.boolean().optional().describe('Retention keeps what is not delivered yet. Default false.'),
  })
  .refine((d) => d.rateLimit?.by !== 'key' || (d.ordering ?? 'key') === 'key', 'a rate limit by key needs ordering key')
  .optional()
  .describe('Order, retries and pace, in the words of groups.');

const secret = (description: string) =>
  z
    .string()
    .min(1)
    .max(65_536)
    .optional()
    .describe(`${description} Write-only: never shown; absent keeps the one there is.`);

const credential = z
  .strictObject({
    type: z.enum(['PLAIN', 'ACCESSTOKEN', 'REFRESHTOKEN']).describe('How we prove who we are.'),
    identifier: z.string().max(1_024).optional().describe('PLAIN: the user.'),
    secret: secret('PLAIN: the password.'),
    accessToken: secret('ACCESSTOKEN and REFRESHTOKEN: the token.'),
    accessTokenExpiresUtc: z.string().max(64).optional().describe('When the access token ends, RFC 3339.'),
    accessTokenType: z.string().max(64).optional().describe('Default Bearer.'),
    refreshToken: secret('REFRESHTOKEN: what a new access token is fetched with.'),
    refreshTokenEndpoint: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe('REFRESHTOKEN: where.'),
  })
  .optional()
  .describe('Credential for the sink.');

/** Under `spec.credential`: never told, by anybody. */
export const SECRET_FIELDS = ['secret', 'accessToken', 'refreshToken'] as const;

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Written by us, or by HTTP itself. */
const HEADER_TAKEN = /^(ce-.*|content-.*|host|connection|transfer-encoding|te|upgrade|trailer|webhook-.*|expect)$/i;

const spec = z.strictObject({
  stream: topicName('The Stream whose events are delivered.'),
  group: z
    .string()
    .min(1)
    .max(249)
    // oxlint-disable-next-line no-control-regex
    .regex(/^[^\u0000-\u001f\u007f]*$/)
    .meta({ 'x-allowed': 'text without control characters' })
    .optional()
    .describe('Name of the group that keeps the progress. Default: the name of the Subscription.'),
  source: z.string().min(1).max(1_024).optional().describe('Only events of exactly this source.'),
  types: z.array(z.string().min(1).max(1_024)).max(250).optional().describe('Only events of one of these types.'),
  filters: z.array(filter).max(100).optional().describe('All must be true.'),
  sink: z
    .url({ protocol: /^https?$/ })
    .max(8_192)
    .refine((url) => !/^[^/]*\/\/[^/?#]*@/.test(url), 'holds a user or password, which would be shown; use credential')
    .meta({ description: 'Where events are delivered.', 'x-allowed': 'an http or https URL' }),
  protocol: z.enum(['HTTP']).default('HTTP').describe('How events are delivered.'),
  protocolSettings: z
    .strictObject({
      method: z.enum(['POST', 'PUT', 'PATCH']).default('POST').describe('The method of each request.'),
      headers: z
        .record(
          z
            .string()
            .max(256)
            .regex(HEADER_NAME)
            .refine((name) => !HEADER_TAKEN.test(name), 'is written by Hadron')
            .meta({ 'x-allowed': 'a header name that neither Hadron nor HTTP writes itself' }),
          // biome-ignore format: one rule
          z.string().max(8_192).regex(/^[\t\x20-\x7e\x80-\xff]*$/).meta({ 'x-allowed': 'text without line breaks' }),
        )
        .optional()
        .describe('Headers of each request. Shown to whoever may read this; secrets belong into credential.'),
    })
    .optional()
    .describe('Of protocol HTTP.'),
  mode: z
    .enum(['binary', 'structured'])
    .default('binary')
    .describe('Attributes as headers and data as body, or everything as JSON.'),
  concurrency: z.int().min(1).max(1_000).default(10).describe('Requests under way at most.'),
  delivery,
  credential,
  suspended: z.boolean().default(false).describe('Delivers nothing while true.'),
});

export const subscriptionV1 = z
  .strictObject({
    apiVersion: z.literal(API_V1),
    kind: z.literal('Subscription'),
    metadata: metadataOf(objectName('Name of the Subscription, unique in the namespace.')),
    spec: spec.describe('What is wanted.'),
    status: z.looseObject(statusFields).optional().describe('How it is. Written by the server; ignored in a document.'),
  })
  .meta({ description: 'Delivers the events of a Stream to a web hook.' });

export type SubscriptionSpec = z.output<typeof spec>;

/**
 * The settings of the group that a Subscription is: all of them, for what a document does not say has its default, also
 * where it said something else before.
 */
export function groupSettingsOf({
  stream,
  source,
  types = [],
  filters = [],
  delivery = {},
}: SubscriptionSpec): GroupSettings {
  const { ordering = 'key', window, start, policy, rateLimit, holdRetention = false } = delivery;
  const implied: Filter[] = [];
  if (source !== undefined) implied.push({ exact: { source } });
  if (types.length > 0) implied.push({ any: types.map((type) => ({ exact: { type } })) });
  return {
    durable: true,
    start: (start ?? { from: 'beginning' }) as Start,
    ordering,
    window: window ?? DEFAULT_WINDOW[ordering],
    filters: [...implied, ...filters],
    policy: {
      ...DEFAULT_POLICY,
      ...(policy as Partial<DeliveryPolicy>),
      // Named, so that a document which names no other one any more comes back to it.
      deadLetterStream: policy?.deadLetterStream ?? `${stream}.dead`,
    },
    rateLimit,
    holdRetention,
  };
}

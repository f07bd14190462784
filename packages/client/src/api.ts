/** What both entries, Node's and the browser's, offer beside `connect`. */
export { HadronError, type ErrorCode, type ErrorKind } from '@hadron/base/errors';
export type {
  CloudEvent,
  DeadLetter,
  DeliveryPolicy,
  Filter,
  GroupRequest,
  GroupSettings,
  GroupStatus,
  InFlight,
  Ordering,
  Start,
  Transport,
} from '@hadron/contracts';
export { Admin, type DeadLetterSelection } from './admin.ts';
export { Client, type ConnectOptions } from './client.ts';
export type { Duration } from './duration.ts';
export { type Retry, Terminal } from './errors.ts';
export { ignore } from './handle.ts';
export { defineEvents, type Events, type InputOf, type OutputOf, type StandardSchema } from './schema.ts';
export { Stream } from './stream.ts';
export type {
  ConsumeOptions,
  EventMap,
  EventToPublish,
  GroupOptions,
  Handler,
  Handlers,
  ManualMessage,
  ManualMessageOf,
  Message,
  MessageOf,
  PolicyOptions,
  Published,
  PublishManyOptions,
  PublishOptions,
  RunOptions,
  TailedMessage,
  TailOptions,
} from './types.ts';

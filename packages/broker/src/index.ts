export { type Action, allowAll, ANONYMOUS, type Authorize, type Identity, type Target } from './authorize.ts';
export { Broker } from './broker.ts';
export { BrokerCore, type BrokerOptions } from './broker-core.ts';
export * from './config/index.ts';
export type * from './delivery/service.ts';
export { advanceCursor } from './event-streams/cursor.ts';
export type * from './event-streams/service.ts';
export * from './groups/index.ts';
export type { GroupCaller } from './groups-shell.ts';
export type {
  ActiveSubscription,
  ApplyResult,
  ConditionReport,
  Resources,
  WatchEvent,
  WatchListener,
} from './resources/index.ts';
export { STORED_KIND as STORED_SUBSCRIPTION } from './resources/stream-users.ts';
export { Registry, type Resource, type ResourceEvent } from './state/registry.ts';
export {
  Fetcher,
  type FetchedPartition,
  type FetchHandle,
  type FetchItem,
  type FetchLimits,
} from './streams/fetcher.ts';
export {
  type BrokerSabotage,
  newProduceOutcome,
  NO_OFFSET,
  type OffsetAt,
  Partition,
  type ProduceOutcome,
  whenAnswerable,
} from './streams/partition.ts';
export { ProducerStates, type ProducerVerdict } from './streams/producer-state.ts';
export { recordFormat } from './streams/record-format.ts';
export { checkTopicName, type NewTopic, Topic, Topics } from './streams/topics.ts';

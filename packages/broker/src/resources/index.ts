export {
  type ApplyResult,
  Resources,
  type ResourcesOptions,
  type WatchEvent,
  type WatchListener,
} from './resources.ts';
export type { ActiveSubscription, ConditionReport, SubscriptionKind } from './subscriptions.ts';

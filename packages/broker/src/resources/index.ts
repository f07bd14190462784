export { type ApplyResult, Resources, type WatchEvent, type WatchListener } from './resources.ts';
export type { ActiveSubscription, ConditionReport } from './subscriptions.ts';

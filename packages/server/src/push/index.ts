export { type AddressPolicy, anyAddress, publicOnly, systemResolve } from './address-policy.ts';
export { type PushOptions, PushService } from './push-service.ts';
export type { PushCounts, PushReason, PushStatus } from './push-worker.ts';

export { type AddressPolicy, anyAddress, publicOnly, systemResolve } from './address-policy.ts';
export { CONSENT_PATH, consentRoutes } from './consent-route.ts';
export { type PushOptions, PushService, type SubscriptionSource } from './push-service.ts';
export type { PushCounts, PushReason } from './push-worker.ts';

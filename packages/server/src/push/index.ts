/** Subscriptions, delivered: README.md is the map. Light to import; the work is loaded when there is some. */
export { consentRoutes } from './consent-route.ts';
export { Push } from './push.ts';

/** Types and small data only: what is heavy has a subpath of its own (events, filters, resources, protobuf). */
export * from './delivery.ts';
export type * from './events/event.ts';
export type * from './filters/types.ts';
export type * from './transport.ts';
export { parseGroupRequest, parseGroupRequestText, parseStart } from './group-request.ts';

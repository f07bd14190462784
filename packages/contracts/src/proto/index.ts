export { parseProtoBatch, parseProtoEvent, writeProtoBatch, writeProtoEvent } from './events.ts';
export * from './streams.ts';
export { ProtoReader, ProtoWriter, tag } from './wire.ts';

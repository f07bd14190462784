export * from './streams.ts';
export { ProtoReader, ProtoWriter, tag } from './wire.ts';

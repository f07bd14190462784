/**
 * The Kafka wire protocol without sockets: generated codecs for every served API and version, headers, error codes, and
 * record batches with their compression. README.md is the map.
 */
export * from './apis.ts';
export * from './errors.ts';
export * from './generated/index.ts';
export * from './protocol-error.ts';
export * from './records/index.ts';
export * from './wire/headers.ts';
export * from './wire/limits.ts';
export * from './wire/reader.ts';
export * from './wire/tags.ts';
export * from './wire/uuid.ts';
export { type RecordSlices, Writer, type WriterOptions } from './wire/writer.ts';

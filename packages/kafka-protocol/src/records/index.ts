/** Record batches and their compression, without the rest of the protocol: all that the broker may import. */
export * from '../compression/codecs.ts';
export { ProtocolError, type ProtocolErrorReason } from '../protocol-error.ts';
export * from './batch-header.ts';
export * from './batch-problem.ts';
export * from './encode-batch.ts';
export { partitionOfKey } from './partitioner.ts';
export * from './record-cursor.ts';
export * from './validate-batch.ts';
export { varintBytes, varlongBytes, writeVarint, writeVarlong } from './varint.ts';

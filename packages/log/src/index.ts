export * from './format.ts';
export * from './fs.ts';
export { EntryKind } from './frame.ts';
export { type Durability, type EpochStart, type Fence, Log, type LogId, type LogOptions, type Segment } from './log.ts';
export { findByTime, read, ReadResult, readFile, type ReadOptions, readTail } from './reader.ts';
export { type Damage, type Recovered, readSnapshot } from './recovery.ts';
export { RECOVERY_CASES, type RecoveryCaseName } from './recovery-cases.ts';
export * from './shard.ts';
export { type Piece, SlabPool } from './slab.ts';

export * from './format.ts';
export * from './fs.ts';
export { EntryKind } from './frame.ts';
export { type Durability, type EpochStart, type Fence, Log, type LogId, type LogOptions, type Segment } from './log.ts';
export { findByTime, largestKnownTimestamp, read, ReadResult, readFile, type ReadOptions, readTail } from './reader.ts';
export { type Damage, type Recovered, readSnapshot } from './recovery.ts';
export { RECOVERY_CASES, type RecoveryCaseName } from './recovery-cases.ts';
export * from './shard.ts';
export { type Piece, SlabPool } from './slab.ts';
export { type Folder, type FolderOptions, type Manifest, openFolder, readManifest } from './folder.ts';
export * from './inspect.ts';
export { type MemoryDiskFaults, MemoryFileSystem } from './memory-fs.ts';
export { nodeFileSystem } from './node-fs.ts';
export {
  type DeletedRecords,
  deleteRecordsBefore,
  Retention,
  type RetentionOptions,
  type RetentionSettings,
} from './retention.ts';
export {
  Compaction,
  type CompactionOptions,
  type CompactionPass,
  type CompactionPlan,
  type CompactionSettings,
  type CompactionStats,
  planCompaction,
  type UnitCompactor,
} from './compaction.ts';
export { OffsetMap } from './offset-map.ts';
export { Scrub, type ScrubOptions } from './scrub.ts';

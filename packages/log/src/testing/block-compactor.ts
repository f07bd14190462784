/** Compaction of {@link blockFormat}: one block is one record, an empty value a tombstone, an empty key nobody's. */
import { readI64, readU32 } from '@hadron/base';
import type { UnitCompactor } from '../compaction.ts';
import { block, keyOf, valueOf } from './blocks.ts';

export const blockCompactor: UnitCompactor = {
  *note(b, at, _length, map, force) {
    yield;
    const key = keyOf(b, at);
    return key === '' || map.put(Buffer.from(key), readI64(b, at + 8), force);
  },
  *rewrite(b, at, length, pass) {
    yield;
    const key = keyOf(b, at);
    if (key === '' || readI64(b, at + 8) < pass.map.get(Buffer.from(key))) return undefined;
    if (valueOf(b, at) === '') {
      const horizonMs = readI64(b, at + 24) + pass.deleteRetentionMs;
      if (pass.nowMs >= horizonMs) return undefined;
      pass.horizonMs = Math.min(pass.horizonMs, horizonMs);
    }
    return b.subarray(at, at + length);
  },
  emptied: (b, at) => block('', '', readI64(b, at + 24), readU32(b, at + 20), readI64(b, at + 8)),
};

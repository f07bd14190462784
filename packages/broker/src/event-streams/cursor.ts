/**
 * A place in a stream, over all of its partitions, as an opaque text: base64url of
 *
 *     check u16   of the topic id and of the partition, if the place is of one partition only
 *     offset …    7 bits a byte, low first, for each partition in order: 8 bytes at most
 *
 * so 10 bytes at most for a partition. The check refuses a cursor of another stream, of an earlier life of this one, or
 * of another selection. Partitions that were added later are missing at the end: they begin at their start.
 */
import { HadronError } from '@hadron/base';

const CHECK_BYTES = 2;
const OFFSET_BYTES_MAX = 8;
/** Longer ones are refused before they are decoded. */
const PARTITIONS_MAX = 100_000;

export function encodeCursor(topicId: string, partition: number | undefined, offsets: readonly number[]): string {
  const b = Buffer.allocUnsafe(CHECK_BYTES + offsets.length * OFFSET_BYTES_MAX);
  let at = b.writeUInt16LE(checkOf(topicId, partition), 0);
  for (const offset of offsets) {
    let rest = offset;
    while (rest > 0x7f) {
      b[at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    b[at++] = rest;
  }
  return b.toString('base64url', 0, at);
}

/** @throws HadronError REQUEST_INVALID: not a cursor, or not of this stream and selection */
export function decodeCursor(topicId: string, partition: number | undefined, text: string): number[] {
  const bytesMax = CHECK_BYTES + PARTITIONS_MAX * OFFSET_BYTES_MAX;
  if (text.length > bytesMax * 2 || !/^[\w-]+$/.test(text)) throw noCursor();
  const b = Buffer.from(text, 'base64url');
  if (b.length <= CHECK_BYTES) throw noCursor();
  if (b.readUInt16LE(0) !== checkOf(topicId, partition)) {
    throw new HadronError(
      'REQUEST_INVALID',
      'the cursor is of another stream, of one that was deleted since, or of another selection of partitions; begin with from=beginning, latest or a time',
      { field: 'cursor' },
    );
  }
  const offsets: number[] = [];
  for (let at = CHECK_BYTES; at < b.length; ) {
    let offset = 0;
    for (let scale = 1, n = 1; ; scale *= 0x80, n++) {
      const byte = b[at++];
      if (byte === undefined || n > OFFSET_BYTES_MAX) throw noCursor();
      offset += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    if (!Number.isSafeInteger(offset)) throw noCursor();
    offsets.push(offset);
  }
  return offsets;
}

const noCursor = (): HadronError =>
  new HadronError('REQUEST_INVALID', 'that is not a cursor; take one from a page or an event id as it is', {
    field: 'cursor',
  });

/** 16 bits of FNV-1a: it finds mistakes, it keeps nobody out. */
function checkOf(topicId: string, partition: number | undefined): number {
  const text = partition === undefined ? topicId : `${topicId}/${partition}`;
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h ^ (h >>> 16)) & 0xffff;
}

/** The cursor behind `record`, read from `cursor` on: for doors that name a place behind each record of a page. */
export function advanceCursor(
  topicId: string,
  partition: number | undefined,
  cursor: string,
  record: { readonly partition: number; readonly offset: number },
): string {
  const offsets = decodeCursor(topicId, partition, cursor);
  const at = partition === undefined ? record.partition : 0;
  while (offsets.length < at) offsets.push(0);
  offsets[at] = Math.max(offsets[at] ?? 0, record.offset + 1);
  return encodeCursor(topicId, partition, offsets);
}

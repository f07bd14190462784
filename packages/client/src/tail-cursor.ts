/**
 * Cursors inside a batch of a tail. The server sends one cursor behind a batch of records; behind each record in it lies
 * the same cursor, but with every partition that has records still to come set back to the first of those.
 *
 * The form of a cursor is that of packages/broker/src/event-streams/cursor.ts: two bytes, then one offset per partition,
 * or only one if one partition was asked for.
 */
import type { CloudEvent, TailedEvent } from '@hadron/contracts';

const CHECK_BYTES = 2;

interface TailedRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly event: CloudEvent;
}

/** The events of a batch, each with the cursor behind it; a cursor inside the batch is made when it is asked for. */
export function withCursors(
  records: readonly TailedRecord[],
  behind: string,
  partition: number | undefined,
): TailedEvent[] {
  return records.map((record, i) =>
    i === records.length - 1
      ? { ...record, cursor: behind }
      : {
          ...record,
          get cursor() {
            return cursorBefore(records.slice(i + 1), behind, partition);
          },
        },
  );
}

/** A cursor from which exactly `pending` come, and then what comes behind them. */
function cursorBefore(
  pending: readonly { readonly partition: number; readonly offset: number }[],
  behind: string,
  partition: number | undefined,
): string {
  const bytes = Buffer.from(behind, 'base64url');
  const offsets = offsetsOf(bytes);
  for (const record of pending.toReversed()) offsets[partition === undefined ? record.partition : 0] = record.offset;
  const out = Buffer.alloc(CHECK_BYTES + offsets.length * 8);
  bytes.copy(out, 0, 0, CHECK_BYTES);
  let at = CHECK_BYTES;
  for (const offset of offsets) {
    let rest = offset;
    for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) out[at++] = (rest % 0x80) | 0x80;
    out[at++] = rest;
  }
  return out.toString('base64url', 0, at);
}

function offsetsOf(bytes: Buffer): number[] {
  const offsets: number[] = [];
  for (let at = CHECK_BYTES; at < bytes.length; ) {
    let offset = 0;
    for (let scale = 1; at < bytes.length; scale *= 0x80) {
      const byte = bytes[at++] as number;
      offset += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    offsets.push(offset);
  }
  return offsets;
}

/**
 * Delivery tokens (delivery.md D16): which hand-out of which event an answer is about. 27 bytes as 36 characters of base64url.
 *
 *     u32 boot │ u32 group │ u24 partition │ i64 id │ u64 hand-out
 *
 * `boot` counts starts of the server and `hand-out` within one (group, partition) and start, so tokens are in the order of
 * hand-outs: that is how those from before a seek are known. Opaque to clients; made by us or refused.
 */
import { isSafeI64, readI64, readU32, writeI32, writeI64 } from '@hadron/base';

const TOKEN_BYTES = 27;
const TOKEN_CHARS = 36;

export interface Token {
  boot: number;
  group: number;
  partition: number;
  id: number;
  handout: number;
}

const scratch = Buffer.alloc(TOKEN_BYTES);

export function encodeToken(boot: number, group: number, partition: number, id: number, handout: number): string {
  writeI32(scratch, 0, boot);
  writeI32(scratch, 4, group);
  scratch.writeUIntBE(partition, 8, 3);
  writeI64(scratch, 11, id);
  writeI64(scratch, 19, handout);
  return scratch.toString('base64url');
}

/** @returns whether `text` is a token; if so it is in `into` */
export function decodeToken(text: string, into: Token): boolean {
  if (text.length !== TOKEN_CHARS || scratch.write(text, 0, TOKEN_BYTES, 'base64url') !== TOKEN_BYTES) return false;
  if (!isSafeI64(scratch, 11) || !isSafeI64(scratch, 19)) return false;
  into.boot = readU32(scratch, 0);
  into.group = readU32(scratch, 4);
  into.partition = scratch.readUIntBE(8, 3);
  into.id = readI64(scratch, 11);
  into.handout = readI64(scratch, 19);
  return into.handout > 0;
}

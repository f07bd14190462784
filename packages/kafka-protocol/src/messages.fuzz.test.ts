/**
 * Damaged bytes: every decoder answers with a value or a ProtocolError, quickly, whatever it is given.
 *
 * HADRON_FUZZ sets the number of inputs in total. A failure prints the seed and the bytes.
 */
import { describe, expect, test } from 'vitest';
import { CODECS, type MessageCodec } from './generated/codecs.ts';
import { ProtocolError } from './protocol-error.ts';
import { SCHEMAS } from './schemas/index.ts';
import { Dice, randomMessage } from './schemas/random-message.ts';
import { decodeRequestHeader } from './wire/headers.ts';
import { Reader } from './wire/reader.ts';
import { Writer } from './wire/writer.ts';

const INPUTS = Number(process.env['HADRON_FUZZ'] ?? 20_000);

/** Flips bits, overwrites lengths with extremes, cuts, repeats: what a broken or hostile peer sends. */
function damage(good: Buffer, dice: Dice): Buffer {
  const bytes = Buffer.from(good);
  if (bytes.length === 0) return dice.bytes(dice.below(8));
  switch (dice.below(5)) {
    case 0:
      return bytes.subarray(0, dice.below(bytes.length));
    case 1:
      for (let n = 1 + dice.below(3); n > 0; n--) (bytes[dice.below(bytes.length)] as number) ^= 1 << dice.below(8);
      return bytes;
    case 2: {
      const extreme = Buffer.from(
        dice.pick(['ffffffff', '7fffffff', '80000000', 'ffffffff0f', 'fffffffffffffffffff1', '00', '000f4240']),
        'hex',
      );
      extreme.copy(bytes, dice.below(bytes.length));
      return bytes;
    }
    case 3: {
      const at = dice.below(bytes.length);
      return Buffer.concat([bytes.subarray(0, at), dice.bytes(1 + dice.below(12)), bytes.subarray(at)]);
    }
    default:
      return dice.bytes(dice.below(64));
  }
}

describe('damaged messages', () => {
  const inputsPerApi = Math.ceil(INPUTS / (SCHEMAS.length * 2));
  test.each(SCHEMAS.map((api) => ({ name: api.name, api })))('$name', ({ api }) => {
    const codec = CODECS.get(api.key) as MessageCodec;
    for (const [struct, encode, decode] of [
      [api.request, codec.encodeRequest, codec.decodeRequest],
      [api.response, codec.encodeResponse, codec.decodeResponse],
    ] as const) {
      for (let seed = 0; seed < inputsPerApi; seed++) {
        const dice = new Dice(seed * 16 + api.key);
        const version = api.served.min + dice.below(api.served.max - api.served.min + 1);
        const w = new Writer();
        encode(w, randomMessage(api, struct, version, dice), version);
        const bytes = damage(w.takeBuffer(), dice);
        try {
          decode(new Reader(bytes), version);
        } catch (error) {
          if (error instanceof ProtocolError) continue;
          throw new Error(`${struct.name} v${version}, seed ${seed}: ${bytes.toString('hex')}`, { cause: error });
        }
      }
    }
  });

  test('request headers', () => {
    for (let seed = 0; seed < inputsPerApi; seed++) {
      const bytes = new Dice(seed).bytes(seed % 40);
      try {
        decodeRequestHeader(new Reader(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }
  });
});

describe('claims are checked before anything is allocated (R17)', () => {
  const claims = {
    'an array longer than its bytes': ['length', '00000000' + '7530' + '0000' + '000f4240'],
    'an array of more than 1,000,000': ['limit', '00000000' + '7530' + '0000' + '7fffffff'],
    'a negative array': ['length', '00000000' + '7530' + '0000' + 'fffffffe'],
  } as const;
  test.each(Object.entries(claims))('%s', (_, [reason, hex]) => {
    // Produce v3: transactional id "", acks, time-out, topics
    const bytes = Buffer.from(hex, 'hex');
    const decode = (): unknown =>
      (CODECS.get(0) as MessageCodec).decodeRequest(new Reader(Buffer.concat([Buffer.alloc(2), bytes.subarray(2)])), 3);
    expect(decode).toThrow(ProtocolError);
    expect(decode).toThrow(reason);
  });

  test('more than 10,000 tagged fields', () => {
    const w = new Writer();
    w.uvarint(10_001);
    w.raw(Buffer.alloc(30_000));
    const r = new Reader(w.takeBuffer());
    expect(() => r.unknownTags()).toThrow('limit');
  });
});

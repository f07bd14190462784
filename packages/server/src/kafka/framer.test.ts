import { describe, expect, test } from 'vitest';
import { type Frame, FrameError, Framer } from './framer.ts';

const frame: Frame = { bytes: Buffer.alloc(0), at: 0, end: 0 };
const yes = (): boolean => true;

function framed(bodies: readonly Buffer[]): Buffer {
  return Buffer.concat(
    bodies.flatMap((b) => {
      const length = Buffer.alloc(4);
      length.writeInt32BE(b.length);
      return [length, b];
    }),
  );
}

/** A small seeded generator. */
function* numbers(seed: number): Generator<number, never> {
  for (let x = seed; ; ) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    yield x;
  }
}

describe('R1.1 frames out of any cutting of the stream', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('seed %i', (seed) => {
    const dice = numbers(seed);
    const below = (n: number): number => dice.next().value % n;
    const bodies = Array.from({ length: 60 }, () => Buffer.alloc(1 + below(below(3) === 0 ? 60_000 : 40), below(256)));
    const stream = framed(bodies);
    const framer = new Framer(100_000);
    const shared = Buffer.alloc(100_000);
    const got: Buffer[] = [];
    for (let at = 0; at < stream.length; ) {
      const n = Math.min(stream.length - at, 1 + below(below(2) === 0 ? 10 : 30_000));
      // The buffer is overwritten after each push, as the door's is.
      stream.copy(shared, 0, at, at + n);
      at += n;
      let refuse = below(4) === 0;
      framer.push(shared.subarray(0, n));
      const grow = (): boolean => {
        const no = refuse;
        refuse = false;
        return !no;
      };
      const take = (): void => {
        while (framer.next(frame, 1, grow)) got.push(Buffer.from(frame.bytes.subarray(frame.at, frame.end)));
      };
      take();
      framer.detach();
      shared.fill(0xee, 0, n);
      take(); // memory has been found
      framer.detach();
      if (below(5) === 0) framer.shrink();
    }
    expect(got.length).toBe(bodies.length);
    expect(got.every((b, i) => b.equals(bodies[i] as Buffer))).toBe(true);
    expect(framer.isPartial).toBe(false);
    framer.shrink();
    expect(framer.heldBytes).toBe(0);
  });
});

test('G17 memory grows with bytes received, not announced', () => {
  const framer = new Framer(1 << 30);
  const head = Buffer.alloc(4);
  head.writeInt32BE(500_000_000);
  framer.push(head);
  expect(framer.next(frame, 1, yes)).toBe(false);
  for (let received = 0; received < 1_000_000; received += 50_000) {
    expect(framer.heldBytes).toBeLessThanOrEqual(Math.max(2 * received, 16_384));
    framer.push(Buffer.alloc(50_000));
    framer.next(frame, 1, yes);
    framer.detach();
  }
});

test.each([-1, 0, 9, 1001, -2147483648, 2147483647])(
  'R17 a length of %i is refused at once, also in pieces',
  (length) => {
    const head = Buffer.alloc(4);
    head.writeInt32BE(length);
    const whole = new Framer(1000);
    whole.push(head);
    expect(() => whole.next(frame, 10, yes)).toThrow(FrameError);
    const cut = new Framer(1000);
    expect(() => {
      for (const b of head) {
        cut.push(Buffer.from([b]));
        cut.next(frame, 10, yes);
      }
    }).toThrow(FrameError);
  },
);

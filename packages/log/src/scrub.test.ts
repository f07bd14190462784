import { describe, expect, it } from 'vitest';
import type { Log } from './log.ts';
import { Scrub } from './scrub.ts';
import type { Shard } from './shard.ts';
import { BlocksWorld, DIRECTORY } from './testing/blocks-world.ts';
import { block } from './testing/blocks.ts';

const REST = 3_600_000;

class Scrubbed extends BlocksWorld {
  shard!: Shard;
  log!: Log;
  readonly told: object[] = [];

  async begin(): Promise<void> {
    this.logger = { debug() {}, info() {}, warn() {}, error: (fields) => void this.told.push(fields) };
    this.shard = await this.open();
    this.log = await this.create(this.shard, { name: 'a-0', options: { segmentBytes: 1000, segmentMs: 1e12 } });
    for (let i = 0; i < 60; i++) await this.append(this.shard, this.log, block(`k${i}`, 'v'.repeat(60)));
    await this.run(this.shard.checkpoint());
  }
}

describe('the scrub (G11)', () => {
  it('finds a flipped bit that nobody has read, and names it', async () => {
    const w = new Scrubbed();
    await w.begin();
    const scrub = new Scrub({ shard: w.shard, bytesPerSecond: 1e6 });
    scrub.start();
    await w.sleep(REST + 10_000);
    expect(scrub.stats).toMatchObject({ rounds: 1, findings: 0 });
    expect(scrub.stats.bytes).toBe(w.log.sizeBytes);
    w.sim.disk.corrupt(`${DIRECTORY}/segments/${w.segmentFiles()[2]}`, 500, 1);
    await w.sleep(REST + 10_000);
    expect(w.told).toMatchObject([
      { log: 'a-0', from: expect.any(Number) as number, what: expect.any(String) as string },
    ]);
    scrub.stop();
    const { bytes } = scrub.stats;
    await w.sleep(10 * REST);
    expect(scrub.stats.bytes).toBe(bytes);
  });

  it('keeps to its pace, and is off by default', async () => {
    const w = new Scrubbed();
    await w.begin();
    const off = new Scrub({ shard: w.shard, bytesPerSecond: 0 });
    off.start();
    const scrub = new Scrub({ shard: w.shard, bytesPerSecond: 100 });
    scrub.start();
    await w.sleep(REST + 20_000);
    expect(scrub.stats.bytes).toBeGreaterThan(1000);
    expect(scrub.stats.bytes).toBeLessThan(4000);
    expect(off.stats.bytes).toBe(0);
  });

  it('does not mind what goes away meanwhile, and ends with the shard', async () => {
    const w = new Scrubbed();
    await w.begin();
    const scrub = new Scrub({ shard: w.shard, bytesPerSecond: 100 });
    scrub.start();
    await w.sleep(REST + 5_000);
    w.shard.appendSet([{ kind: 'trim', log: w.log, position: 40 }], { control: true });
    await w.sleep(20_000);
    w.shard.appendSet([{ kind: 'remove', log: w.log }], { control: true });
    await w.sleep(REST);
    expect(w.told).toEqual([]);
    await w.run(w.shard.close());
    await w.sleep(REST * 3);
    expect(w.told).toEqual([]);
  });
});

/**
 * What the produce path costs, without sockets and without a real disk's noise: `node --conditions=hadron-source
 * --expose-gc packages/log/src/shard.bench.ts [folder]`. Figures of one machine mean something only against each other.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@hadron/base';
import { nodeFileSystem } from './node-fs.ts';
import { type CommitWaiter, Shard } from './shard.ts';
import { makeUnit, recordsFormat } from './testing/records.ts';
import { createLog } from './testing/world.ts';

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'hadron-bench-'));
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const open = (name: string): Promise<Shard> =>
  Shard.open({
    fs: nodeFileSystem,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    directory: join(folder, name, 'shards/0'),
    formats: [recordsFormat],
    settings: { minFreeBytes: 0 },
  });
const memory = (): number => {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 1e6;
};

async function appends(bytes: number, count: number, perTick: number, durability: 'fsync' | 'os'): Promise<void> {
  const shard = await open(`${bytes}-${durability}`);
  const log = createLog(shard, { name: 'a', durability });
  await shard.barrier();
  const unit = makeUnit({ id: 1, bytes });
  let answered = 0;
  const waiter: CommitWaiter = {
    committed: () => {
      answered++;
    },
    failed: (error) => {
      throw error;
    },
  };
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  for (let done = 0; done < count; ) {
    if (shard.congested) await new Promise<void>((resolve) => shard.onRelief(resolve));
    for (let i = 0; i < perTick && done < count; i++, done++) {
      shard.when(shard.append(log, unit, 0, unit.length, 1, -1), durability, waiter);
    }
    await tick();
  }
  while (answered < count) await tick();
  const seconds = (performance.now() - startMs) / 1000;
  const used = process.cpuUsage(cpu);
  const cpuSeconds = (used.user + used.system) / 1e6;
  console.log(
    `${bytes} B ${durability}: ${Math.round(count / seconds)} appends/s, ${((count * bytes) / 1e6 / seconds).toFixed(0)} MB/s, ` +
      `${((cpuSeconds / count) * 1e6).toFixed(2)} µs CPU each`,
  );
  await shard.close();
}

async function idleLogs(count: number): Promise<void> {
  const before = memory();
  const shard = await open('idle');
  const unit = makeUnit({ id: 1, bytes: 100 });
  for (let i = 0; i < count; i++) {
    shard.append(createLog(shard, { name: `log-${i}` }), unit, 0, unit.length, 1, -1);
    if (i % 500 === 0) await shard.barrier();
  }
  await shard.barrier();
  console.log(`${count} logs appended once: ${(memory() - before).toFixed(0)} MB`);
  await shard.checkpoint();
  await shard.checkpoint();
  console.log(`after two checkpoints: ${(memory() - before).toFixed(0)} MB`);
  await shard.close();
}

try {
  for (const durability of ['fsync', 'os'] as const) {
    await appends(100, 400_000, 64, durability);
    await appends(16_384, 20_000, 16, durability);
    await appends(262_144, 2000, 4, durability);
  }
  await idleLogs(10_000);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

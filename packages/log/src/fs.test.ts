import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fsContract, fsMisuseContract } from '@hadron/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryFileSystem } from './memory-fs.ts';
import { nodeFileSystem } from './node-fs.ts';

describe('the real adapter keeps the file-system contract', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'hadron-fs-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  for (const c of [...fsContract, ...fsMisuseContract]) {
    it(c.name, () => c.run({ fs: nodeFileSystem, root, settle: (promise) => promise }));
  }

  it.runIf(process.platform === 'linux')(
    'gives every descriptor back, also of files closed under a running call',
    async () => {
      const descriptors = (): number => readdirSync('/proc/self/fd').length;
      const before = descriptors();
      for (let i = 0; i < 50; i++) {
        const file = nodeFileSystem.openSync(join(root, 'a'), 'create');
        const synced = new Promise<void>((resolve) => file.datasync(() => resolve()));
        file.closeSync();
        await synced;
        await new Promise<void>((resolve) => nodeFileSystem.syncDir(root, () => resolve()));
      }
      expect(descriptors()).toBeLessThanOrEqual(before + 2);
    },
  );
});

describe('the adapter in memory keeps the file-system contract', () => {
  for (const c of [...fsContract, ...fsMisuseContract]) {
    it(c.name, () => {
      const fs = new MemoryFileSystem((fn) => void setImmediate(fn));
      fs.mkdirSync('/root');
      return c.run({ fs, root: '/root', settle: (promise) => promise });
    });
  }

  it('is full and broken when a test wants it to be, and well again afterwards', async () => {
    const fs = new MemoryFileSystem((fn) => void setImmediate(fn));
    const file = fs.openSync('/a', 'create');
    fs.faults.capacityBytes = 10;
    expect(file.writeSync(Buffer.from('0123456789abcdef'), 0)).toBe(10);
    expect(() => file.writeSync(Buffer.from('x'), 10)).toThrow('ENOSPC');
    expect(file.writeSync(Buffer.from('y'), 0)).toBe(1);
    const space = await new Promise((resolve) => fs.space('/', (_, free, total) => resolve([free, total])));
    expect(space).toEqual([0, 10]);
    fs.faults.capacityBytes = undefined;
    fs.faults.fail = 'EIO';
    expect((await new Promise<{ code: string } | undefined>((resolve) => file.datasync(resolve)))?.code).toBe('EIO');
    fs.faults.fail = undefined;
    expect(await new Promise((resolve) => file.datasync(resolve))).toBeUndefined();
  });
});

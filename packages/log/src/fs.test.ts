import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fsContract, fsMisuseContract } from '@hadron/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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

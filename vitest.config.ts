import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['hadron-source', 'node', 'import', 'default'] },
  ssr: { resolve: { conditions: ['hadron-source', 'node', 'import', 'default'] } },
  test: {
    include: [
      'packages/*/src/**/*.test.ts',
      'examples/**/*.test.ts',
      'tests/unit/**/*.test.ts',
      'tests/e2e/**/*.test.ts',
      'tests/lifecycle/**/*.test.ts',
    ],
    pool: 'threads',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});

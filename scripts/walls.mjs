/**
 * The walls between packages, as checks: which package may depend on which, and that the rules of .oxlintrc.json notice an
 * import that crosses one.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ROOT } from './sources.mjs';

/** Which packages a package may import: the table of ARCHITECTURE.md. The lint rules in .oxlintrc.json hold the same walls per file. */
const MAY_IMPORT = {
  base: [],
  log: ['base'],
  'kafka-protocol': ['base'],
  cesql: ['base'],
  contracts: ['base', 'cesql'],
  broker: ['base', 'log', 'kafka-protocol', 'contracts'],
  server: ['base', 'log', 'kafka-protocol', 'contracts', 'broker'],
  client: ['base', 'log', 'kafka-protocol', 'contracts', 'broker', 'server'],
  cli: ['base', 'log', 'kafka-protocol', 'contracts', 'broker', 'server', 'client'],
  testkit: ['base', 'log', 'kafka-protocol', 'broker', 'server'],
};

/** tsconfig references, declared dependencies and the table of walls agree, for every package. */
export function references() {
  const problems = [];
  const json = (file) => JSON.parse(fs.readFileSync(path.join(ROOT, file), 'utf8'));
  const names = fs.readdirSync(path.join(ROOT, 'packages')).sort();
  const same = (what, actual, wanted) => {
    const [a, b] = [[...actual].sort().join(', '), [...wanted].sort().join(', ')];
    if (a !== b) problems.push(`${what}: [${a}], expected [${b}]`);
  };
  same(
    'tsconfig.json references',
    json('tsconfig.json').references.map((r) => path.basename(r.path)),
    names,
  );
  for (const name of names) {
    const manifest = json(`packages/${name}/package.json`);
    const declared = Object.keys(manifest.dependencies ?? {})
      .filter((d) => d.startsWith('@hadron/'))
      .map((d) => d.slice(8));
    const references = (json(`packages/${name}/tsconfig.json`).references ?? []).map((r) => path.basename(r.path));
    same(`packages/${name}/tsconfig.json references`, references, declared);
    const allowed = MAY_IMPORT[name];
    if (allowed === undefined) problems.push(`packages/${name}: not in the table of walls (scripts/check.mjs)`);
    for (const dependency of declared) {
      if (!allowed?.includes(dependency)) problems.push(`packages/${name} may not depend on ${dependency}`);
    }
  }
  return { ok: problems.length === 0, output: problems.join('\n') };
}

/** Imports that cross a wall, by the folder they would stand in. Written into files of their own, each must be refused. */
const FORBIDDEN = [
  ['base/src', '@hadron/log'],
  ['log/src', '@hadron/broker', 'node:fs', 'node:net'],
  ['kafka-protocol/src', '@hadron/log', 'node:net'],
  ['cesql/src', '@hadron/base', '@hadron/contracts', 'node:fs'],
  ['contracts/src/events', '@hadron/base', '@hadron/broker', 'node:zlib'],
  ['contracts/src/filters', '@hadron/base', 'node:fs'],
  ['contracts/src/proto', '@hadron/kafka-protocol', 'node:buffer'],
  ['broker/src', '@hadron/server', '@hadron/kafka-protocol', 'node:fs', 'node:timers'],
  [
    'broker/src/delivery',
    '@hadron/log',
    '@hadron/kafka-protocol',
    '../streams/topics.ts',
    '../ports/shard-event-log.ts',
  ],
  ['broker/src/delivery/core', '../../state/registry.ts', '../../groups/index.ts', '../../broker-core.ts'],
  ['broker/src/event-streams', '@hadron/log', '../streams/partition.ts', '../state/state-log.ts', '../config/index.ts'],
  ['server/src', '@hadron/client', '@hadron/testkit'],
  ['server/src/api', '@hadron/client', '@hadron/log'],
  ['server/src/rpc', '@hadron/kafka-protocol'],
  ['server/src/push', '@hadron/log', '@hadron/testkit'],
  ['client/src', '@hadron/base', '@hadron/server', 'node:fs'],
  ['client/src/http', '@hadron/broker', '@hadron/contracts/protobuf', 'node:http'],
  ['client/src/binary', '@hadron/broker', '@hadron/log', '@hadron/kafka-protocol'],
  ['client/src/sqlite', '@hadron/broker', '@hadron/server'],
  ['client/src/testing', '@hadron/testkit'],
  ['cli/src', '@hadron/testkit'],
];

/** Runs the linter on a folder of files that each cross one wall, under the paths and the rules of this one. */
export function lintHolds() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hadron-walls-'));
  try {
    fs.copyFileSync(path.join(ROOT, '.oxlintrc.json'), path.join(folder, '.oxlintrc.json'));
    const crossings = new Map();
    for (const [place, ...imports] of FORBIDDEN) {
      for (const [i, what] of imports.entries()) {
        const file = `packages/${place}/crossing-${i}.ts`;
        fs.mkdirSync(path.join(folder, path.dirname(file)), { recursive: true });
        fs.writeFileSync(path.join(folder, file), `import { it } from '${what}';\nexport const used = it;\n`);
        crossings.set(file, `packages/${place} may import ${what}: no rule of .oxlintrc.json forbids it`);
      }
    }
    const oxlint = path.join(ROOT, 'node_modules/oxlint/bin/oxlint');
    const { stdout } = spawnSync(process.execPath, [oxlint, '--format=json'], { cwd: folder, encoding: 'utf8' });
    for (const { code, filename } of JSON.parse(stdout).diagnostics) {
      if (code === 'eslint(no-restricted-imports)') crossings.delete(filename);
    }
    return { ok: crossings.size === 0, output: [...crossings.values()].join('\n') };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

import { execFileSync } from 'node:child_process';
import { HadronError } from '@hadron/base';
import { describe, expect, test } from 'vitest';
import { completion } from './commands/completion.ts';
import { start } from './commands/start.ts';
import { CommandFailure, describeFailure, exitCodeOf, printFailure } from './failure.ts';
import { fakeIo } from './fake-io.ts';
import { colours } from './io.ts';
import { kafkaFailure } from './kafka-client.ts';
import { buildProgram, run } from './program.ts';

describe('the tree of commands', () => {
  test('every command explains itself, with two examples where it does something', () => {
    const walk = (command: ReturnType<typeof buildProgram>, path: string) => {
      expect(command.description(), path).not.toBe('');
      if (command.commands.length === 0) {
        let help = '';
        command.configureOutput({ writeOut: (text) => (help += text) });
        command.outputHelp();
        const examples = help.split('\n').filter((line) => line.startsWith('  $ ') && line.includes(path));
        expect(examples.length, path).toBeGreaterThanOrEqual(2);
      }
      for (const sub of command.commands) walk(sub, `${path} ${sub.name()}`);
    };
    walk(buildProgram(fakeIo()), 'hadron');
  });

  test('E25: what talks to a server takes --bootstrap and --output', () => {
    const kafka = buildProgram(fakeIo()).commands.find((command) => command.name() === 'kafka');
    const leaves =
      kafka?.commands.flatMap((command) => (command.commands.length > 0 ? command.commands : [command])) ?? [];
    expect(leaves.map((command) => command.name())).toEqual([
      'list',
      'describe',
      'create',
      'delete',
      'produce',
      'consume',
    ]);
    for (const command of leaves) {
      const options = command.options.map((option) => option.long);
      expect(options, command.name()).toEqual(expect.arrayContaining(['--bootstrap', '--output']));
    }
  });

  test('a misspelt command is a usage error with a suggestion', async () => {
    const io = fakeIo();
    expect(await run(['kafak'], io)).toBe(1);
    expect(io.err()).toContain('Did you mean kafka?');
  });

  test.each(['bash', 'zsh', 'fish'])('completion %s knows the commands', async (shell) => {
    const io = fakeIo();
    expect(await run(['completion', shell], io)).toBe(0);
    for (const word of ['topics', 'produce', 'bootstrap', 'completion', 'sub', 'redrive', 'start-beginning', 'dry-run'])
      expect(io.out()).toContain(word);
  });

  test('the bash completion walks the tree: verbs of where one is, options of the verb', () => {
    const script = fakeIo();
    completion(script, buildProgram(script), 'bash');
    const completed = (...words: string[]): string[] => {
      const ask = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hadron; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const out = execFileSync('bash', ['-c', `${script.out()}\n${ask}`, 'bash', ...words], { encoding: 'utf8' });
      return out.trim().split('\n');
    };
    expect(completed('hadron', 'st')).toEqual(['start', 'stream']);
    expect(completed('hadron', 'stream', '')).toEqual(
      expect.arrayContaining(['pub', 'sub', 'tail', 'export', 'import']),
    );
    expect(completed('hadron', '--url', 'http://x', 'group', 'se')).toEqual(['set', 'seek']);
    expect(completed('hadron', 'sub', 'orders', '-g', 'mail', '--start-')).toEqual([
      '--start-beginning',
      '--start-latest',
      '--start-offset',
      '--start-time',
    ]);
  });

  test('--url and --token: of the verb, else further left, else the environment, else the default', async () => {
    const seen = async (args: readonly string[], env: Record<string, string> = {}): Promise<unknown> => {
      const program = buildProgram(fakeIo({ env }));
      const verb = program.commands.find((c) => c.name() === 'stream')?.commands.find((c) => c.name() === 'tail');
      let got: unknown;
      verb?.action((_stream: string, { url, token }: { url?: string; token?: string }) => {
        got = [url, token];
      });
      await program.parseAsync(args, { from: 'user' });
      return got;
    };
    const env = { HADRON_URL: 'http://env:1', HADRON_TOKEN: 'env' };
    expect(await seen(['stream', 'tail', 's'])).toEqual(['http://127.0.0.1:7000', undefined]);
    expect(await seen(['stream', 'tail', 's'], env)).toEqual(['http://env:1', 'env']);
    expect(await seen(['stream', 'tail', 's'], { HADRON_URL: '', HADRON_TOKEN: '' })).toEqual([
      'http://127.0.0.1:7000',
      undefined,
    ]);
    expect(await seen(['--url', 'http://root:1', 'stream', 'tail', 's'], env)).toEqual(['http://root:1', 'env']);
    expect(
      await seen(['--url', 'http://root:1', 'stream', '--token', 't', 'tail', 's', '--url', 'http://own:1'], env),
    ).toEqual(['http://own:1', 't']);
  });
});

describe('hadron config', () => {
  test('shows value and source, as table and as JSON', async () => {
    const io = fakeIo({ env: { HADRON_SET_NUM_PARTITIONS: '4' } });
    expect(await run(['config', '--kafka-port', '9', '--changed'], io)).toBe(0);
    expect(io.out().split('\n')).toEqual([
      'SETTING         VALUE  FROM',
      'kafka-port      9      flag --kafka-port',
      'num.partitions  4      environment HADRON_SET_NUM_PARTITIONS',
      '',
    ]);
    const json = fakeIo();
    expect(await run(['config', 'log.segment.bytes', '--output', 'json'], json)).toBe(0);
    expect(JSON.parse(json.out())).toMatchObject([
      { key: 'log.segment.bytes', value: '1073741824', source: 'default' },
    ]);
  });

  test('an unknown key and a bad value are one line and exit code 1', async () => {
    const unknown = fakeIo();
    expect(await run(['config', '--set', 'num.partition=4'], unknown)).toBe(1);
    expect(unknown.err()).toBe(
      'hadron: SETTING_UNKNOWN: there is no setting num.partition (flag --set); did you mean num.partitions?\n',
    );
    const bad = fakeIo();
    expect(await run(['config', '--durability', 'x', '--output', 'json'], bad)).toBe(1);
    expect(JSON.parse(bad.err())).toMatchObject({ error: { code: 'SETTING_INVALID' } });
  });
});

describe('failures', () => {
  test('one line with code; the stack only with HADRON_DEBUG', () => {
    const error = new HadronError('PORT_IN_USE', 'Kafka port 9092 is taken:\n choose another with --kafka-port');
    const io = fakeIo();
    printFailure(io, error, 'table');
    expect(io.err()).toBe('hadron: PORT_IN_USE: Kafka port 9092 is taken: choose another with --kafka-port\n');
    const debug = fakeIo({ env: { HADRON_DEBUG: '1' } });
    printFailure(debug, error, 'table');
    expect(debug.err()).toContain('program.test.ts');
  });

  test('the exit code says what a script does next', () => {
    const of = (code: string): number => exitCodeOf(new CommandFailure(code, 'x'));
    expect(['REQUEST_INVALID', 'GROUP_SETTINGS_DIFFER', 'PORT_IN_USE', 'UNKNOWN_TOPIC_OR_PARTITION'].map(of)).toEqual([
      1, 1, 1, 1,
    ]);
    expect(['TOPIC_NOT_FOUND', 'GROUP_NOT_FOUND', 'RESOURCE_NOT_FOUND'].map(of)).toEqual([3, 3, 3]);
    expect(['CONNECTION_FAILED', 'TIMED_OUT', 'STORAGE_FULL', 'LIMIT_EXCEEDED'].map(of)).toEqual([4, 4, 4, 4]);
    expect([
      of('INTERRUPTED'),
      exitCodeOf(new Error('boom')),
      exitCodeOf(new HadronError('EVENT_INVALID', 'x')),
    ]).toEqual([130, 1, 1]);
  });

  test('no server is one line with what to do, at once, and the place of a failure with -v', async () => {
    for (const verb of [
      ['group', 'ls'],
      ['tail', 's'],
      ['sub', 's', '-g', 'g'],
      ['pub', 's', '1', '--type', 't'],
      ['dlq', 'ls', 's'],
      ['stream', 'export', 's'],
    ]) {
      const io = fakeIo();
      expect(await run([...verb, '--url', 'http://127.0.0.1:1'], io), verb.join(' ')).toBe(4);
      expect(io.err()).toMatch(
        /^hadron: CONNECTION_FAILED: no Hadron answers at http:\/\/127\.0\.0\.1:1.*; start one with "hadron start", or name another with --url or HADRON_URL\n$/,
      );
    }
    const verbose = fakeIo();
    await run(['-v', 'group', 'ls', '--url', 'http://127.0.0.1:1'], verbose);
    expect(verbose.err()).toContain('\n    at ');
  });

  test('FORCE_COLOR colours what is no terminal', () => {
    const io = fakeIo({ env: { FORCE_COLOR: '1' } });
    expect(colours(io, 'stdout').red('x')).not.toBe('x');
    expect(colours(fakeIo({ env: { FORCE_COLOR: '0' } }), 'stdout').red('x')).toBe('x');
    expect(colours(fakeIo({ env: { FORCE_COLOR: '1', NO_COLOR: '1' } }), 'stdout').red('x')).toBe('x');
  });

  test('colours only on a terminal, never with NO_COLOR', () => {
    const error = new CommandFailure('X', 'y');
    const [plain, terminal, refused] = [
      fakeIo(),
      fakeIo({ isTTY: true }),
      fakeIo({ isTTY: true, env: { NO_COLOR: '1' } }),
    ];
    for (const io of [plain, terminal, refused]) printFailure(io, error, 'table');
    expect([plain, terminal, refused].map((io) => io.err().includes('\u001b['))).toEqual([false, true, false]);
  });

  test('what is no known failure is called a bug', () => {
    expect(describeFailure(new Error('boom'))).toEqual({
      code: 'INTERNAL',
      message: 'boom (this is a bug; set HADRON_DEBUG=1 to see where)',
    });
  });

  test('errors of the Kafka client become the protocol error inside them', () => {
    const refused = {
      errors: [{ cause: { apiId: 'INVALID_CONFIG', serverErrorMessage: 'segment.bytes is too small.' } }],
    };
    expect(kafkaFailure(refused, 'x:1')).toMatchObject({
      code: 'INVALID_CONFIG',
      message: 'segment.bytes is too small',
    });
    const network = { code: 'PLT_KFK_MULTIPLE', errors: [{ code: 'PLT_KFK_NETWORK' }] };
    expect(kafkaFailure(network, 'x:1')).toMatchObject({ code: 'CONNECTION_FAILED' });
    const bug = new Error('bug');
    expect(kafkaFailure(bug, 'x:1')).toBe(bug);
  });

  test('no server at the address is one line with what to do', async () => {
    const io = fakeIo();
    expect(await run(['kafka', 'topics', 'list', '--bootstrap', '127.0.0.1:1'], io)).toBe(4);
    expect(io.err()).toMatch(
      /^hadron: CONNECTION_FAILED: no server answers at 127\.0\.0\.1:1: start one with `npm start`/,
    );
  });
});

describe('hadron start', () => {
  const running = (closed: () => void) => ({
    kafkaAddresses: [{ host: '127.0.0.1', port: 9192 }],
    httpAddress: { host: '127.0.0.1', port: 7001 },
    close: () => {
      closed();
      return Promise.resolve();
    },
  });

  test('A1, A3: a banner with a command that works; SIGTERM closes and ends', async () => {
    const io = fakeIo();
    let closed = 0;
    const done = start(io, { output: 'table', kafkaPort: '9192' }, () => Promise.resolve(running(() => (closed += 1))));
    await expect.poll(() => io.out()).toContain('Ctrl-C stops it');
    expect(io.out()).toContain('127.0.0.1:9192');
    expect(io.out()).toContain('http://127.0.0.1:7001 (port 7000 was taken)');
    expect(io.out()).toContain('/nowhere/.hadron/data');
    expect(io.out()).toContain('fsync');
    expect(io.out()).toContain(`hadron pub hello '{"to":"world"}' --type greeting --url http://127.0.0.1:7001`);
    expect(io.out()).toContain('hadron kafka consume hello --from-beginning --bootstrap 127.0.0.1:9192');
    process.emit('SIGTERM', 'SIGTERM');
    await done;
    expect(closed).toBe(1);
    expect(io.err()).toContain('Stopped.');
  });

  test('--output json prints one ready line; beyond loopback a warning', async () => {
    const io = fakeIo();
    const done = start(io, { output: 'json', durability: 'os' }, () => Promise.resolve(running(() => {})));
    await expect.poll(() => io.out()).toContain('\n');
    expect(JSON.parse(io.out())).toMatchObject({
      event: 'ready',
      kafkaAddresses: [{ host: '127.0.0.1', port: 9192 }],
      durability: 'os',
    });
    process.emit('SIGINT', 'SIGINT');
    await done;
    const open = fakeIo();
    const second = start(open, { output: 'table', listen: ['0.0.0.0'] }, () => Promise.resolve(running(() => {})));
    await expect.poll(() => open.err()).toContain('no authentication');
    process.emit('SIGINT', 'SIGINT');
    await second;
  });

  test('a failure to start is the failure of the command', async () => {
    const failed = start(fakeIo(), { output: 'table' }, () =>
      Promise.reject(new HadronError('DATA_FOLDER_IN_USE', 'pid 1')),
    );
    await expect(failed).rejects.toMatchObject({ code: 'DATA_FOLDER_IN_USE' });
  });
});

import { HadronError } from '@hadron/base';
import { describe, expect, test } from 'vitest';
import { formatHostPort, isLoopback, loadSettings, parseHostPort, type SettingFlags } from './index.ts';

interface Given {
  flags?: SettingFlags;
  env?: Record<string, string>;
  file?: string;
}

const load = ({ flags = {}, env = {}, file }: Given = {}) =>
  loadSettings({
    flags: file === undefined ? flags : { ...flags, config: 'hadron.yaml' },
    env,
    cwd: '/home/me',
    readText: () => file ?? '',
  });

async function failure(given: Given): Promise<string> {
  try {
    await load(given);
  } catch (error) {
    if (error instanceof HadronError) return error.message;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('settings', () => {
  test('defaults', async () => {
    const { settings, entries } = await load();
    expect(settings).toMatchObject({
      dataDir: '/home/me/.hadron/data',
      kafkaPort: 9092,
      httpPort: 7000,
      httpPortIsDefault: true,
      listen: ['127.0.0.1', '::1'],
      listenIsDefault: true,
      durability: 'fsync',
      logLevel: 'info',
    });
    expect(settings.advertise).toBeUndefined();
    expect(entries.every((entry) => entry.source === 'default')).toBe(true);
  });

  test('flag > environment > file > default, each with its place', async () => {
    const file = 'kafka-port: 1\nhttp-port: 1\ndata: /from/file\nset:\n  num.partitions: 2\n  group.max.size: 9\n';
    const env = { HADRON_KAFKA_PORT: '2', HADRON_HTTP_PORT: '2', HADRON_SET_NUM_PARTITIONS: '3' };
    const flags = { kafkaPort: '3', set: ['num.partitions=4'] };
    const { settings, entries } = await load({ flags, env, file });
    const place = (key: string) => entries.find((entry) => entry.key === key)?.place;
    expect([settings.kafkaPort, place('kafka-port')]).toEqual([3, 'flag --kafka-port']);
    expect([settings.httpPort, place('http-port')]).toEqual([2, 'environment HADRON_HTTP_PORT']);
    expect([settings.dataDir, place('data')]).toEqual(['/from/file', 'hadron.yaml:3']);
    expect([settings.broker.values['num.partitions'], place('num.partitions')]).toEqual([4, 'flag --set']);
    expect([settings.broker.values['group.max.size'], place('group.max.size')]).toEqual([9, 'hadron.yaml:6']);
    expect([settings.httpPortIsDefault, place('listen')]).toEqual([false, 'default']);
  });

  test('broker settings may stand beside the server settings, values keep their spelling, lists are joined', async () => {
    const file = 'log.cleanup.policy: [compact, delete]\nlog.retention.ms: 1e3\n';
    expect(await failure({ file })).toContain('log.retention.ms = "1e3" (hadron.yaml:2) is not allowed');
    const { settings } = await load({ file: 'log.cleanup.policy: [compact, delete]\nlisten: [0.0.0.0]\n' });
    expect(settings.broker.explicit['log.cleanup.policy']).toBe('compact,delete');
    expect([settings.listen, settings.listenIsDefault]).toEqual([['0.0.0.0'], false]);
    expect((await load({ file: '# nothing\n' })).settings.kafkaPort).toBe(9092);
  });

  test('--durability is the short name of hadron.durability; the stronger source counts', async () => {
    const place = ({ entries }: Awaited<ReturnType<typeof load>>, key: string) =>
      entries.find((entry) => entry.key === key)?.place;
    const flag = await load({ flags: { durability: 'os' }, file: 'hadron.durability: fsync\n' });
    expect(flag.settings.durability).toBe('os');
    expect(place(flag, 'hadron.durability')).toBe('flag --durability');
    const set = await load({ flags: { set: ['hadron.durability=os'] }, env: { HADRON_DURABILITY: 'fsync' } });
    expect(set.settings.durability).toBe('os');
    expect(place(set, 'durability')).toBe('flag --set');
  });

  test('origins and the port for metrics alone', async () => {
    expect((await load()).settings).toMatchObject({ corsOrigins: [] });
    expect((await load()).settings.metricsPort).toBeUndefined();
    const env = { HADRON_METRICS_PORT: '7002' };
    const { settings } = await load({ flags: { corsOrigins: 'https://a.example/, http://localhost:3000' }, env });
    expect(settings).toMatchObject({ metricsPort: 7002, corsOrigins: ['https://a.example', 'http://localhost:3000'] });
    expect(await failure({ flags: { corsOrigins: 'a.example' } })).toContain('expected origins such as https://');
  });

  test.each<[string, Given, string]>([
    [
      'a bad flag',
      { flags: { kafkaPort: '99999' } },
      'SETTING_INVALID: kafka-port = "99999" (flag --kafka-port) is not allowed: expected a whole number from 0 to 65535',
    ],
    [
      'a bad variable',
      { env: { HADRON_DURABILITY: 'never' } },
      'SETTING_INVALID: durability = "never" (environment HADRON_DURABILITY) is not allowed: expected one of fsync, os',
    ],
    [
      'an unknown variable',
      { env: { HADRON_KAFKAPORT: '1' } },
      'SETTING_UNKNOWN: there is no setting HADRON_KAFKAPORT (environment); did you mean HADRON_KAFKA_PORT?',
    ],
    [
      'an unknown setting',
      { flags: { set: ['num.partition=4'] } },
      'SETTING_UNKNOWN: there is no setting num.partition (flag --set); did you mean num.partitions?',
    ],
    [
      'a bad setting',
      { flags: { set: ['num.partitions=x'] } },
      'SETTING_INVALID: num.partitions = "x" (flag --set) is not allowed: expected a whole number from 1 to 10000',
    ],
    [
      'no value',
      { flags: { set: ['num.partitions'] } },
      'SETTING_INVALID: --set num.partitions is not allowed: expected NAME=VALUE, for example num.partitions=4',
    ],
    [
      'an unknown name in the file',
      { file: '\nkafkaport: 1\n' },
      'SETTING_UNKNOWN: there is no setting kafkaport (hadron.yaml:2); did you mean kafka-port?',
    ],
    ['a file that is a list', { file: '- a\n' }, 'SETTING_INVALID: hadron.yaml:1: expected lines of NAME: VALUE'],
    [
      'a nested value',
      { file: 'data:\n  x: 1\n' },
      'SETTING_INVALID: hadron.yaml:1: data: expected a value or a list of values',
    ],
    [
      'advertise',
      { flags: { advertise: 'host' } },
      'SETTING_INVALID: advertise = "host" (flag --advertise) is not allowed: expected HOST:PORT, for example broker.example.com:9092 or [::1]:9092',
    ],
  ])('%s is one line with key, value, place and what is allowed', async (_, given, message) => {
    expect(await failure(given)).toBe(message);
  });

  test('a broken or missing file says where', async () => {
    expect(await failure({ file: 'a: [1\n' })).toMatch(/^SETTING_INVALID: hadron.yaml:\d: /);
    const missing = loadSettings({
      flags: { config: 'nowhere.yaml' },
      env: {},
      cwd: '/home/me',
      readText: () => {
        throw Object.assign(new Error('ENOENT: …'), { code: 'ENOENT' });
      },
    });
    await expect(missing).rejects.toThrow(
      'config = "/home/me/nowhere.yaml" (flag --config) cannot be read: there is no such file',
    );
  });

  test('variables of others that begin with HADRON_ are left alone', async () => {
    await load({
      env: { HADRON_DEBUG: '1', HADRON_SERVICE_HOST: 'x', HADRON_PORT_9092_TCP: 'y', HADRON_TEST_KEEP: '1' },
    });
  });
});

test('addresses', () => {
  expect(parseHostPort('a.example:9092')).toEqual({ host: 'a.example', port: 9092 });
  expect(parseHostPort('[::1]:9092')).toEqual({ host: '::1', port: 9092 });
  for (const bad of ['a', 'a:0', 'a:70000', '::1:9092', ':9092', 'a b:1'])
    expect(parseHostPort(bad), bad).toBeUndefined();
  expect(formatHostPort({ host: '::1', port: 1 })).toBe('[::1]:1');
  expect(['127.0.0.1', '::1', 'localhost'].every(isLoopback)).toBe(true);
  expect(['0.0.0.0', '::', '10.0.0.1'].some(isLoopback)).toBe(false);
});

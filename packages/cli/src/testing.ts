/** For tests: a real server on a folder of its own, and the command line in front of it. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { silentLogger } from '@hadron/base';
import { loadSettings, type RunningServer, startServer } from '@hadron/server';
import { fakeIo, type FakeIo } from './fake-io.ts';
import { run } from './program.ts';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface TestServer {
  readonly url: string;
  readonly kafka: string;
  /** Files given to commands lie here. */
  readonly folder: string;
  /** For a command that is to be watched, stopped, or broken. */
  io(options?: Parameters<typeof fakeIo>[0]): FakeIo;
  hadron(args: readonly string[], input?: string): Promise<Ran>;
  /** stdout of a command that must succeed. */
  out(args: readonly string[], input?: string): Promise<string>;
  /** The same as JSON, `--output json` added. */
  json<T = unknown>(args: readonly string[], input?: string): Promise<T>;
  /** Stops the server and starts it again at the same address. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export async function openServer(): Promise<TestServer> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hadron-cli-'));
  const start = async (httpPort: string): Promise<RunningServer> => {
    const flags = { data: path.join(folder, 'data'), kafkaPort: '0', httpPort, listen: ['127.0.0.1'] };
    const { settings } = await loadSettings({ flags, env: {}, cwd: folder, readText: () => '' });
    return startServer(settings, { logger: silentLogger });
  };
  let server = await start('0');
  const url = `http://127.0.0.1:${server.httpAddress.port}`;
  const io: TestServer['io'] = (options) => ({
    ...fakeIo({ ...options, env: { HADRON_URL: url, ...options?.env } }),
    cwd: folder,
  });
  const hadron: TestServer['hadron'] = async (args, input = '') => {
    const world = io({ input });
    const code = await run(args, world);
    return { code, out: world.out(), err: world.err() };
  };
  const out: TestServer['out'] = async (args, input) => {
    const ran = await hadron(args, input);
    if (ran.code !== 0) throw new Error(`hadron ${args.join(' ')} ended with ${ran.code}: ${ran.err}`);
    return ran.out;
  };
  return {
    url,
    kafka: `127.0.0.1:${server.kafkaAddresses[0]?.port ?? 0}`,
    folder,
    io,
    hadron,
    out,
    json: async <T>(args: readonly string[], input?: string) =>
      JSON.parse(await out([...args, '--output', 'json'], input)) as T,
    async restart() {
      const { port } = server.httpAddress;
      await server.close();
      server = await start(String(port));
    },
    async close() {
      await server.close();
      fs.rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The objects of NDJSON. */
export const objectsOf = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

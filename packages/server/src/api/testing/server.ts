/** For tests: a whole server on a folder of its own. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { silentLogger } from '@hadron/base';
import { onTestFinished } from 'vitest';
import { startServer } from '../../server.ts';
import { loadSettings } from '../../settings/index.ts';

export interface TestServer {
  readonly port: number;
  readonly kafkaPort: number;
  /** `http://127.0.0.1:PORT/v1`. */
  readonly url: string;
  readonly bugs: readonly string[];
  /** Sends JSON, gives JSON. */
  call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, never> }>;
  /** An event in binary mode. */
  publish(stream: string, attributes: Readonly<Record<string, string>>, data?: string): Promise<Response>;
  stop(): Promise<void>;
  /** Stops it and removes its folder. */
  remove(): Promise<void>;
}

/** One that ends with the test. */
export async function openServer(set: readonly string[] = []): Promise<TestServer> {
  const server = await startTestServer(set);
  onTestFinished(() => server.remove());
  return server;
}

export async function startTestServer(set: readonly string[]): Promise<TestServer> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hadron-api-'));
  const flags = { data: dir, kafkaPort: '0', httpPort: '0', listen: ['127.0.0.1'], set };
  const { settings } = await loadSettings({ flags, env: {}, cwd: dir, readText: () => '' });
  const bugs: string[] = [];
  const logger = {
    ...silentLogger,
    error: (fields: object, message: string) =>
      bugs.push(`${message} ${String((fields as { err?: Error }).err?.stack)}`),
  };
  const server = await startServer(settings, { logger, version: 'test' });
  let stopped: Promise<void> | undefined;
  const stop = () => (stopped ??= server.close());
  const { port } = server.httpAddress;
  const url = `http://127.0.0.1:${port}/v1`;
  return {
    port,
    kafkaPort: server.kafkaAddresses[0]?.port ?? 0,
    url,
    bugs,
    stop,
    async remove() {
      await stop();
      fs.rmSync(dir, { recursive: true, force: true });
    },
    async call(method, at, body) {
      const init = body === undefined ? {} : { body: JSON.stringify(body) };
      const response = await fetch(`${url}${at}`, { method, ...init });
      return { status: response.status, body: (await response.json()) as Record<string, never> };
    },
    publish(stream, attributes, data) {
      const headers: Record<string, string> = { 'ce-specversion': '1.0', 'ce-source': '/test', 'ce-type': 'test' };
      for (const [name, value] of Object.entries(attributes))
        headers[name === 'datacontenttype' ? 'content-type' : `ce-${name}`] = value;
      const init = data === undefined ? {} : { body: new TextEncoder().encode(data) };
      return fetch(`${url}/streams/${stream}/events`, { method: 'POST', headers, ...init });
    },
  };
}

import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { type HadronError, MetricsRegistry, silentLogger } from '@hadron/base';
import { afterEach, expect, test } from 'vitest';
import { type Health, type HttpServerOptions, type RunningHttpServer, startHttpServer } from './index.ts';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function start(options: Partial<HttpServerOptions> = {}): Promise<RunningHttpServer> {
  const server = await startHttpServer({
    listen: ['127.0.0.1'],
    listenIsDefault: false,
    port: 0,
    portIsDefault: false,
    metrics: new MetricsRegistry(),
    health: () => ({ healthy: true, ready: true, reasons: [] }),
    logger: silentLogger,
    ...options,
  });
  closers.push(() => server.close());
  return server;
}

/** A port of 127.0.0.1 that somebody else listens on. */
async function takenPort(): Promise<number> {
  const other = http.createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  closers.push(() => new Promise((resolve) => other.close(() => resolve())));
  return (other.address() as AddressInfo).port;
}

const get = (server: RunningHttpServer, path: string, init?: RequestInit) =>
  fetch(`http://127.0.0.1:${server.addresses[0]?.port}${path}`, init);

test('/metrics shows what owners count, by their own names', async () => {
  const metrics = new MetricsRegistry();
  const appends = metrics.counter('hadron_appends_total', 'Appends');
  const syncs = metrics.histogram('hadron_sync_seconds', 'Sync time', [0.001, 0.01]);
  metrics.counters('hadron_requests_total', 'Requests', ['api', 'error'])('Produce', 'NONE').value = 3;
  const server = await start({ metrics });
  appends.value = 5;
  syncs.observe(0.0005);
  syncs.observe(0.5);
  const response = await get(server, '/metrics');
  expect(response.headers.get('content-type')).toContain('text/plain');
  const lines = (await response.text()).split('\n');
  expect(lines).toContain('# TYPE hadron_appends_total counter');
  expect(lines).toContain('hadron_appends_total 5');
  expect(lines).toContain('hadron_requests_total{api="Produce",error="NONE"} 3');
  expect(lines).toContain('hadron_sync_seconds_bucket{le="0.001"} 1');
  expect(lines).toContain('hadron_sync_seconds_bucket{le="+Inf"} 2');
  expect(lines).toContain('hadron_sync_seconds_count 2');
  // Numbers are read anew, and metrics added later appear.
  appends.value = 6;
  metrics.gauge('hadron_late', 'Late', () => 1);
  const again = await (await get(server, '/metrics')).text();
  expect(again).toContain('hadron_appends_total 6');
  expect(again).toContain('hadron_late 1');
});

test('health and readiness answer 200 or 503 with reasons', async () => {
  let health: Health = { healthy: true, ready: false, reasons: ['recovering'] };
  const server = await start({ health: () => health });
  expect((await get(server, '/healthz')).status).toBe(200);
  const waiting = await get(server, '/readyz');
  expect([waiting.status, await waiting.json()]).toEqual([503, { status: 'not ready', reasons: ['recovering'] }]);
  health = { healthy: true, ready: true, reasons: [] };
  const ready = await get(server, '/readyz?verbose');
  expect([ready.status, await ready.json()]).toEqual([200, { status: 'ok', reasons: [] }]);
  health = { healthy: false, ready: true, reasons: ['storage failed'] };
  expect((await get(server, '/healthz')).status).toBe(503);
});

test('everything else is a small JSON error', async () => {
  const server = await start();
  const missing = await get(server, '/');
  expect([missing.status, missing.headers.get('content-type')]).toEqual([404, 'application/json; charset=utf-8']);
  expect(await missing.json()).toMatchObject({ error: 'nothing at /' });
  expect((await get(server, '/metrics', { method: 'POST' })).status).toBe(405);
  expect((await get(server, '/healthz', { method: 'HEAD' })).status).toBe(200);
});

test('A2: a taken default port gives the next free one, a taken port that was asked for an error', async () => {
  const port = await takenPort();
  const server = await start({ port, portIsDefault: true });
  expect(server.addresses[0]?.port).toBeGreaterThan(port);
  await expect(start({ port })).rejects.toMatchObject({ code: 'PORT_IN_USE' } satisfies Partial<HadronError>);
});

test('an address this machine does not have is an error, unless nobody asked for it', async () => {
  const listen = ['127.0.0.1', '192.0.2.1'];
  await expect(start({ listen })).rejects.toMatchObject({ code: 'SETTING_INVALID' });
  expect((await start({ listen, listenIsDefault: true })).addresses).toHaveLength(1);
});

test('both wildcards side by side', async () => {
  const server = await start({ listen: ['0.0.0.0', '::'], listenIsDefault: true });
  expect(new Set(server.addresses.map(({ port }) => port)).size).toBe(1);
});

test('another port for the pages of operations alone', async () => {
  const door = { request: () => undefined, upgrade: () => undefined, malformed: () => '', stop: () => undefined };
  const server = await start({ metricsPort: 0, door });
  const port = server.metricsAddresses[0]?.port;
  expect(port).not.toBe(server.addresses[0]?.port);
  expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200);
  expect((await fetch(`http://127.0.0.1:${port}/v1`)).status).toBe(404);
  expect((await get(server, '/healthz')).status).toBe(200);
  await expect(start({ metricsPort: port ?? 0 })).rejects.toMatchObject({
    message: expect.stringContaining('--metrics-port'),
  });
});

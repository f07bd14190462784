import { expect, test } from 'vitest';
import { ApiDoor } from './api/index.ts';
import { Tails } from './api/tail.ts';
import { allowAll } from '@hadron/broker';
import { silentLogger, systemClock, systemRandom } from '@hadron/base';
import { prometheusPage } from './http/prometheus.ts';
import { SimServer } from './kafka/testing/sim-server.ts';
import { serverMetrics } from './metrics.ts';
import { Push } from './push/index.ts';
import { RpcDoor } from './rpc/index.ts';

test('/metrics of a whole server can be scraped again and again', async () => {
  const server = await SimServer.start();
  const api = new ApiDoor({
    routes: [],
    sockets: [],
    tails: new Tails(systemClock),
    authorize: allowAll,
    clock: systemClock,
    logger: silentLogger,
    loopbackOnly: true,
    origins: [],
  });
  const rpc = new RpcDoor({ routes: [], clock: systemClock, logger: silentLogger });
  const push = new Push({
    broker: server.broker,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    settings: { broker: server.settings },
  });
  const page = prometheusPage(serverMetrics(server.broker, server.door, api, rpc, push));
  for (let scrape = 0; scrape < 3; scrape++) {
    const { body } = await page();
    for (const name of ['hadron_log_syncs_total', 'process_cpu_seconds_total', 'process_resident_memory_bytes']) {
      expect(body.split('\n').filter((line) => line.startsWith(`# TYPE ${name} `))).toHaveLength(1);
    }
  }
});

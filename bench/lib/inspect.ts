/** Looks into a server that was started with `--inspect`: what its memory is after everything unused was collected. */
import { readFileSync } from 'node:fs';
import type { RunningServer } from '../../tests/compat/launch.ts';
import { sleep } from '../../tests/compat/lib/shell.ts';
import { rssMb } from './servers.ts';

export const inspectable = ['--inspect=127.0.0.1:0'];

export interface Memory {
  /** Resident. */
  readonly rss: number;
  /** Objects and buffers that are in use. */
  readonly live: number;
}

interface Evaluated {
  readonly result: { readonly value: unknown };
}

/** In MB (10^6 bytes), after full collections. */
export async function settledMemory(server: RunningServer): Promise<Memory> {
  const [url] = /ws:\/\/\S+/.exec(readFileSync(server.logFile, 'utf8')) ?? [];
  if (url === undefined) throw new Error('the server was not started with --inspect');
  const socket = new WebSocket(url);
  await new Promise((done, failed) => {
    socket.onopen = done;
    socket.onerror = () => failed(new Error(`${url} does not answer`));
  });
  const answers = new Map<number, (result: Evaluated) => void>();
  socket.onmessage = ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id: number; result: Evaluated };
    answers.get(id)?.(result);
  };
  const ask = (method: string, params: object = {}): Promise<Evaluated> => {
    const { promise, resolve } = Promise.withResolvers<Evaluated>();
    const id = answers.size;
    answers.set(id, resolve);
    socket.send(JSON.stringify({ id, method, params }));
    return promise;
  };
  try {
    for (let i = 0; i < 3; i++) {
      await ask('HeapProfiler.collectGarbage');
      await sleep(200);
    }
    const usage = 'JSON.stringify(process.memoryUsage())';
    const { result } = await ask('Runtime.evaluate', { expression: usage });
    const { heapUsed, external } = JSON.parse(String(result.value)) as { heapUsed: number; external: number };
    return { rss: rssMb(server.pid), live: (heapUsed + external) / 1e6 };
  } finally {
    socket.close();
  }
}

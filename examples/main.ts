/**
 * Runs an example on the server of `npm start`, or on the one that HADRON_URL names.
 *
 *   npm run example first       the consumer that the README begins with
 *   npm run example flights     events in, a consumer with a bug, dead letters, the fix, a redrive
 *   npm run example orders      a service with a database, killed again and again: everything happens once
 *   npm run example kafka       the same stream for an unmodified Kafka client
 */

const EXAMPLES = ['first', 'flights', 'orders', 'kafka'];
const url = process.env['HADRON_URL'] ?? 'http://127.0.0.1:7000';
const [name = ''] = process.argv.slice(2);

const fail = (message: string): void => {
  console.error(message);
  process.exitCode = 1;
};

if (!EXAMPLES.includes(name)) fail(`usage: npm run example ${EXAMPLES.join('|')}`);
else if (!(await isHadron())) fail(`No Hadron at ${url}: run \`npm start\` in another terminal, or set HADRON_URL`);
else await import(`./${name}/main.ts`);

async function isHadron(): Promise<boolean> {
  try {
    const info = (await (await fetch(`${url}/v1`)).json()) as { name?: unknown };
    return info.name === 'hadron';
  } catch {
    return false;
  }
}

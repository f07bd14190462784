/**
 * `npm run crash`: real servers killed with -9 at random moments, real clients that go on, nothing acknowledged lost.
 *
 *   npm run crash -- --rounds 20              20 kills (the default), a fresh data folder every 20
 *                    --seconds 5              a server lives at most this long once every client has got on
 *                    --seed X                 what the clients do and when the kills come (not how fast the machine is)
 *                    --sabotage               the self-check: the judgement must notice every kind of harm
 *
 * A round: wait until every producer has an answer and every group a record, let them work for a random while, kill -9
 * (sometimes again while the next server is still recovering), start again at once on the same folder and port, and look
 * whether committed offsets went back. At the end of a folder everything is read back and judged (check.ts).
 * Half of the starts have a tiny commit log and segments, so that checkpoints, rolls and recycling surround the kills.
 */
import { parseArgs } from 'node:util';
import { Campaign } from './campaign.ts';
import { sabotage } from './sabotage.ts';

const ROUNDS_PER_FOLDER = 20;
const PROBLEMS_SHOWN = 10;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '5' },
    seed: { type: 'string', default: new Date().toISOString().slice(0, 10) },
    sabotage: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const secondsMax = Number(values.seconds);
if (!Number.isInteger(rounds) || rounds < 1 || !(secondsMax > 0)) {
  process.stderr.write('usage: npm run crash -- [--rounds N] [--seconds S] [--seed X] [--sabotage]\n');
  process.exit(2);
}
const say = (line: string): void => void process.stdout.write(`${line}\n`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

// kafkajs now and then sets a timer for a moment that is past. Node tells of it; nothing follows from it.
process.removeAllListeners('warning');
process.on('warning', (warning) => {
  if (warning.name !== 'TimeoutNegativeWarning') process.stderr.write(`${warning.name}: ${warning.message}\n`);
});

const startedAt = performance.now();
let passed = 0;
let failed = 0;
if (values.sabotage) {
  for (const { name, noticed } of await sabotage(values.seed, say)) {
    if (noticed === undefined) failed += 1;
    else passed += 1;
    say(
      `${noticed === undefined ? 'NOT NOTICED' : 'noticed    '}  ${name}${noticed === undefined ? '' : `: ${noticed}`}`,
    );
  }
} else {
  say(`kill -9, ${rounds} rounds, seed ${values.seed}`);
  for (let done = 0, folder = 1; done < rounds; folder++) {
    const now = Math.min(ROUNDS_PER_FOLDER, rounds - done);
    const seed = `${values.seed}/${folder}`;
    const { verdicts } = await new Campaign({ seed, rounds: now, secondsMax, say }).run();
    done += now;
    say('');
    for (const { name, problems, note } of verdicts) {
      if (problems.length === 0) passed += 1;
      else failed += 1;
      if (problems.length === 0 && name.startsWith('round ')) continue;
      say(`${problems.length === 0 ? 'ok    ' : 'FAILED'}  ${name}${note === '' ? '' : ` (${note})`}`);
      for (const problem of problems.slice(0, PROBLEMS_SHOWN)) say(`          ${problem}`);
      if (problems.length > PROBLEMS_SHOWN) say(`          and ${problems.length - PROBLEMS_SHOWN} more`);
    }
    say('');
  }
}
say(`${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
say(`${passed} passed, ${failed} failed`);
// Clients that were cut off may still hold timers.
process.exit(failed === 0 ? 0 : 1);

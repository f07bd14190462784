/**
 * Proof that the judgement can fail. One short honest run, whose true read-back passes; then the same read-back and ledger
 * with one thing wrong at a time, each of which must be noticed. Then harm to a real folder between kill and start.
 */
import { rmSync, statSync } from 'node:fs';
import { Campaign, type CampaignResult, commitFiles, GROUPS } from './campaign.ts';
import { judge, type ReadBack, type ReadPartition, type ReadRecord, wentBack } from './check.ts';
import type { Ledger } from './ledger.ts';

export interface Trial {
  readonly name: string;
  /** What the judgement said; undefined when it noticed nothing. */
  readonly noticed: string | undefined;
}

type Records = ReadRecord[];

interface Harm {
  /** Which verdict has to notice it (others may too). */
  readonly verdict: string;
  /** Takes the records of one partition that only idempotent producers write to; gives them back with something wrong. */
  readonly harm: (records: Records) => Records;
}

const READ_BACK_HARM: Readonly<Record<string, Harm>> = {
  'an acknowledged record is missing': {
    verdict: 'nothing acknowledged is lost',
    harm: (r) => renumber(r.toSpliced(r.length >> 1, 1)),
  },
  'the last acknowledged record is missing': {
    verdict: 'nothing acknowledged is lost',
    harm: (r) => r.slice(0, -1),
  },
  'a record is there twice': {
    verdict: 'nothing is there twice under idempotence',
    harm: (r) => renumber(r.toSpliced(3, 0, r[3]!)),
  },
  'two records of one key changed places': {
    verdict: 'order is kept per key and partition',
    harm: (r) => {
      const i = r.findIndex((record) => r.some((other) => other.key === record.key && other.counter > record.counter));
      const j = r.findIndex((other) => other.key === r[i]!.key && other.counter > r[i]!.counter);
      const swapped = r.with(i, { ...r[j]!, offset: r[i]!.offset });
      return swapped.with(j, { ...r[i]!, offset: r[j]!.offset });
    },
  },
  'a byte changed': {
    verdict: 'every byte is the one that was sent',
    harm: (r) => r.with(2, { ...r[2]!, intact: false }),
  },
  'a record nobody sent': {
    verdict: 'every byte is the one that was sent',
    harm: (r) => [...r, { ...r.at(-1)!, offset: r.length, key: '', counter: -1, intact: false }],
  },
  'an offset is skipped': {
    verdict: 'offsets are dense',
    harm: (r) => r.map((record, i) => (i < 5 ? record : { ...record, offset: record.offset + 1 })),
  },
  'a record is elsewhere than its answer said': {
    verdict: 'records are where their answers said',
    harm: (r) => renumber([...r.slice(1), r[0]!]),
  },
};

export async function sabotage(seed: string, say: (line: string) => void): Promise<Trial[]> {
  const honest = await new Campaign({ seed: `${seed}/honest`, rounds: 1, secondsMax: 1, say }).run();
  const wrong = honest.verdicts.flatMap(({ problems }) => problems);
  if (wrong.length > 0) return [{ name: `the honest run failed: ${wrong[0]}`, noticed: undefined }];
  const trials = Object.entries(READ_BACK_HARM).map(([name, { verdict, harm }]): Trial => {
    return { name, noticed: firstProblem(honest.ledger, harmed(honest.read, harm), verdict) };
  });
  trials.push(shownOtherwise(honest), neverShown(honest), committedWentBack(honest.ledger));

  const real = await new Campaign({
    seed: `${seed}/harm`,
    rounds: 1,
    secondsMax: 1,
    say,
    harm: (dataDir) => {
      for (const file of commitFiles(dataDir)) if (statSync(file).size > 64) rmSync(file);
    },
  }).run();
  const noticed = real.verdicts.flatMap(({ problems }) => problems)[0];
  trials.push({ name: 'the commit log was deleted between kill and start', noticed });
  return trials;
}

function firstProblem(ledger: Ledger, read: ReadBack, verdict: string): string | undefined {
  const said = judge(ledger, read, GROUPS).filter(({ name }) => name === verdict);
  return said.flatMap(({ name, problems }) => problems.map((p) => `${name}: ${p}`))[0];
}

/** The same with `harm` done to the longest partition of topic `events`. */
function harmed(read: ReadBack, harm: (records: Records) => Records): ReadBack {
  const [at, partition] = longest(read);
  const records = harm([...partition.records]);
  return new Map([...read, [at, { ...partition, records, end: records.length }]]);
}

function longest(read: ReadBack): [string, ReadPartition] {
  const events = [...read].filter(([, { topic }]) => topic === 'events');
  return events.sort(([, a], [, b]) => b.records.length - a.records.length)[0]!;
}

/** Offsets follow the place, as a log that lost or repeated something would number them. */
const renumber = (records: Records): Records => records.map((record, offset) => ({ ...record, offset }));

function shownOtherwise({ ledger, read }: CampaignResult): Trial {
  const shown = ledger.shown.get('kafkajs-group')!.get(longest(read)[0])!;
  const crc = shown.get(1)!;
  shown.set(1, crc ^ 1);
  const noticed = firstProblem(ledger, read, 'what a reader was shown is still there');
  shown.set(1, crc);
  return { name: 'a reader was shown what is not there now', noticed };
}

function neverShown({ ledger, read }: CampaignResult): Trial {
  const shown = ledger.shown.get('kafkajs-group')!.get(longest(read)[0])!;
  const crc = shown.get(1)!;
  shown.delete(1);
  const noticed = firstProblem(ledger, read, 'every group was given everything');
  shown.set(1, crc);
  return { name: 'a group was never given a record', noticed };
}

function committedWentBack(ledger: Ledger): Trial {
  const floors = ledger.floors('kafkajs-group');
  const now = new Map([...floors].map(([at, offset]) => [at, offset - 1]));
  return { name: 'a committed offset went back', noticed: wentBack('kafkajs-group', floors, now)[0] };
}

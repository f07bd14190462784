/** The verbs of `hadron group`. */
import { HadronError } from '@hadron/base';
import type { GroupStatus, InFlight, Start } from '@hadron/contracts';
import { confirm } from '../../ask.ts';
import { CommandFailure } from '../../failure.ts';
import { colours, counted, type Io, printable, printJson, printTable, say } from '../../io.ts';
import { bootstrapOf, committedOffsets, type StartOffset } from '../../kafka-offsets.ts';
import { type ServerOptions, type StartOptions, startOf } from '../../options.ts';
import { type Server, withServer } from '../../server.ts';
import { durationText, type SettingsOptions, settingsOf, settingsRows } from './settings.ts';

export type GroupOptions = ServerOptions;

/** For what the client does not ask for. */
const pathOf = (stream: string, group: string): string =>
  `/v1/streams/${encodeURIComponent(stream)}/groups/${encodeURIComponent(group)}`;

export async function list(io: Io, stream: string | undefined, options: GroupOptions): Promise<void> {
  const groups = [...(await withServer(options, ({ client }) => client.admin.groups(stream)))];
  groups.sort((a, b) => compare(a.stream, b.stream) || compare(a.group, b.group));
  if (options.output === 'json') return printJson(io, groups);
  if (groups.length === 0) return say(io, stream === undefined ? 'No groups yet.' : `No groups of ${stream} yet.`);
  await printTable(
    io,
    ['stream', 'group', 'state', 'members', 'lag', 'out', 'delayed', 'acked', 'dead'],
    groups.map((group) => [
      group.stream,
      printable(group.group, true),
      stateOf(group),
      String(group.sessions),
      ...(['lag', 'out', 'delayed'] as const).map((name) => String(sum(group, name))),
      String(group.counts.acked),
      String(group.counts.dead),
    ]),
  );
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const sum = ({ partitions }: GroupStatus, name: 'lag' | 'out' | 'delayed'): number =>
  partitions.reduce((total, partition) => total + partition[name], 0);

function stateOf({ paused, sessions, blockedLanes, settings }: GroupStatus): string {
  if (paused) return 'paused';
  if (blockedLanes.length > 0) return 'blocked';
  if (sessions > 0) return 'active';
  return settings.durable ? 'idle' : 'in memory';
}

export interface DescribeOptions extends GroupOptions {
  readonly deliveries?: number;
}

export async function describe(io: Io, stream: string, name: string, options: DescribeOptions): Promise<void> {
  const [status, deliveries] = await withServer(options, async ({ client: { admin } }) => [
    await admin.group(stream, name),
    options.deliveries === undefined ? undefined : await admin.deliveries(stream, name, options.deliveries),
  ]);
  if (options.output === 'json') return printJson(io, deliveries === undefined ? status : { ...status, deliveries });
  await printStatus(io, status);
  if (deliveries === undefined) return;
  io.stdout.write('\n');
  if (deliveries.length === 0) return say(io, 'Nothing is out, and nothing waits to come again.');
  await printTable(
    io,
    ['position', 'state', 'attempt', 'age', 'due', 'lane', 'session', 'reason'],
    deliveries.map(deliveryRow),
  );
}

function deliveryRow({ partition, offset, state, attempt, ageMs, dueMs, lane, session, reason }: InFlight): string[] {
  const due = dueMs === undefined ? '-' : `in ${seconds(Math.max(0, dueMs - Date.now()))}`;
  return [
    `${partition}/${offset}`,
    state,
    String(attempt),
    seconds(ageMs),
    due,
    ...[lane, session, reason].map((text) => (text === undefined ? '-' : printable(text, true))),
  ];
}

const seconds = (ms: number): string =>
  ms < 1_000 ? `${Math.round(ms)}ms` : durationText(Math.round(ms / 1_000) * 1_000);

async function printStatus(io: Io, status: GroupStatus): Promise<void> {
  const { bold, dim, yellow } = colours(io, 'stdout');
  const { counts, partitions } = status;
  const line = (name: string, value: string): string => `  ${dim(name.padEnd(15))} ${value}\n`;
  const state = stateOf(status);
  const shown = state === 'paused' || state === 'blocked' ? yellow(state) : state;
  io.stdout.write(`${bold(`${status.stream} / ${printable(status.group, true)}`)}\n`);
  io.stdout.write(line('state', `${shown}, ${counted(status.sessions, 'member')}`));
  for (const [name, value] of settingsRows(status.stream, status.settings)) io.stdout.write(line(name, value));
  const since = Object.entries(counts).flatMap(([name, n]) => (n === 0 ? [] : [`${n} ${name}`]));
  io.stdout.write(line('since start', since.length === 0 ? 'nothing yet' : since.join(', ')));
  if (status.blockedLanes.length > 0)
    io.stdout.write(line('blocked by', yellow(status.blockedLanes.map((lane) => printable(lane, true)).join(', '))));
  io.stdout.write('\n');
  const columns = ['floor', 'position', 'endOffset', 'lag', 'unsettled', 'out', 'delayed'] as const;
  await printTable(
    io,
    ['partition', 'settled to', 'read to', 'end', 'lag', 'unsettled', 'out', 'delayed'],
    partitions.map((p) => [String(p.partition), ...columns.map((name) => String(p[name]))]),
  );
}

export interface CreateOptions extends GroupOptions, SettingsOptions, StartOptions {
  readonly filter?: readonly string[];
  readonly ordering?: 'partition' | 'key' | 'none';
  readonly durable: boolean;
  readonly fromKafka?: string;
  readonly bootstrap?: string;
}

export async function create(io: Io, stream: string, name: string, options: CreateOptions): Promise<void> {
  const start = startOf(options);
  const { ordering, durable } = options;
  const settings = { ...(await settingsOf(options)), ordering, durable: durable ? undefined : false, start };
  const status = await withServer(options, async (server) => {
    const startOffsets =
      options.fromKafka === undefined ? undefined : await kafkaOffsets(server, stream, name, options);
    return (await server.request('PUT', pathOf(stream, name), { ...settings, startOffsets })) as GroupStatus;
  });
  if (options.output === 'json') return printJson(io, status);
  const from = options.fromKafka === undefined ? '' : `, from where the Kafka group ${options.fromKafka} is`;
  say(io, `Group ${name} of ${stream}${from}:`);
  await printStatus(io, status);
}

async function kafkaOffsets(
  server: Server,
  stream: string,
  name: string,
  options: CreateOptions,
): Promise<readonly StartOffset[]> {
  const { fromKafka = '' } = options;
  const { admin } = server.client;
  const exists = await admin.group(stream, name).then(
    () => true,
    (error: unknown) => {
      if (error instanceof HadronError && error.code === 'GROUP_NOT_FOUND') return false;
      throw error;
    },
  );
  if (exists) {
    throw new CommandFailure(
      'GROUP_SETTINGS_DIFFER',
      `group ${name} of ${stream} exists already; delete it first, or move it with "hadron group seek"`,
    );
  }
  const { partitions } = await admin.stream(stream);
  const offsets = await committedOffsets(
    options.bootstrap ?? (await bootstrapOf(server)),
    fromKafka,
    stream,
    partitions,
  );
  if (offsets.length > 0) return offsets;
  throw new CommandFailure(
    'GROUP_NOT_FOUND',
    `the Kafka group ${fromKafka} has committed nothing on ${stream}; look at its name, and at --bootstrap`,
  );
}

export async function set(
  io: Io,
  stream: string,
  name: string,
  options: GroupOptions & SettingsOptions,
): Promise<void> {
  const settings = await settingsOf(options);
  // Absent is "as it is"; null takes the limit away.
  const body = options.rate === false ? { ...settings, rateLimit: null } : settings;
  const asked = JSON.parse(JSON.stringify(body)) as Record<string, unknown>;
  if (Object.keys(asked).length === 1 && Object.keys(asked['policy'] as object).length === 0) {
    throw new CommandFailure('REQUEST_INVALID', 'nothing to change: name a setting, such as --timeout 1m');
  }
  await change(io, options, `Changed ${name} of ${stream}:`, async ({ request }) => {
    return (await request('PATCH', pathOf(stream, name), asked)) as GroupStatus;
  });
}

export interface SeekOptions extends GroupOptions {
  readonly beginning?: boolean;
  readonly latest?: boolean;
  readonly offset?: number;
  readonly time?: number;
  readonly partition?: number;
  readonly yes?: boolean;
}

export async function seek(io: Io, stream: string, name: string, options: SeekOptions): Promise<void> {
  const { partition } = options;
  const to = seekTo(options);
  const where =
    to.from === 'offset' ? `offset ${to.offset}` : to.from === 'time' ? new Date(to.timeMs).toISOString() : to.from;
  const which = partition === undefined ? '' : ` on partition ${partition}`;
  await confirm(
    io,
    `Move group ${name} of ${stream} to ${where}${which}: events before it are skipped, those behind it come again`,
    options,
  );
  await change(io, options, `Moved ${name} of ${stream} to ${where}${which}:`, ({ client }) =>
    client.admin.seek(stream, name, to, partition),
  );
}

function seekTo({ beginning, latest, offset, time }: SeekOptions): Start {
  if (beginning === true) return { from: 'beginning' };
  if (latest === true) return { from: 'latest' };
  if (offset !== undefined) return { from: 'offset', offset };
  if (time !== undefined) return { from: 'time', timeMs: time };
  throw new CommandFailure('REQUEST_INVALID', 'where to? Give --beginning, --latest, --offset N or --time T');
}

export async function pause(
  io: Io,
  stream: string,
  name: string,
  paused: boolean,
  options: GroupOptions,
): Promise<void> {
  const status = await withServer(options, ({ client: { admin } }) =>
    paused ? admin.pause(stream, name) : admin.resume(stream, name),
  );
  if (options.output === 'json') printJson(io, status);
  else say(io, `${paused ? 'Paused' : 'Resumed'} ${name} of ${stream}, lag ${sum(status, 'lag')}.`);
}

export interface RemoveOptions extends GroupOptions {
  readonly yes?: boolean;
}

export async function purge(io: Io, stream: string, name: string, options: RemoveOptions): Promise<void> {
  const { lag, status } = await withServer(options, async ({ client: { admin } }) => {
    const before = sum(await admin.group(stream, name), 'lag');
    await confirm(io, `Skip ${counted(before, 'event')} that ${name} of ${stream} has not settled`, options);
    return { lag: before, status: await admin.purge(stream, name) };
  });
  if (options.output === 'json') printJson(io, status);
  else say(io, `Skipped ${counted(lag, 'event')} of ${stream} for ${name}.`);
}

export async function remove(io: Io, stream: string, name: string, options: RemoveOptions): Promise<void> {
  await withServer(options, async ({ client: { admin } }) => {
    const { sessions } = await admin.group(stream, name);
    const members = sessions === 0 ? '' : `, which has ${counted(sessions, 'member')} now`;
    await confirm(io, `Delete group ${name} of ${stream}${members}, and its progress`, options);
    await admin.removeGroup(stream, name);
  });
  if (options.output === 'json') printJson(io, { stream, group: name, deleted: true });
  else say(io, `Deleted group ${name} of ${stream}.`);
}

async function change(
  io: Io,
  options: GroupOptions,
  title: string,
  work: (server: Server) => Promise<GroupStatus>,
): Promise<void> {
  const status = await withServer(options, work);
  if (options.output === 'json') return printJson(io, status);
  say(io, title);
  await printStatus(io, status);
}

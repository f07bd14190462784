/** `hadron kafka topics …` */
import type { Admin } from '@platformatic/kafka';
import { counted, type Io, printJson, printTable, say } from '../io.ts';
import { clientSettings, findKafkaError, unknownTopic, withClient } from '../kafka-client.ts';
import { type ClientOptions, pairs } from '../options.ts';

interface CreateOptions extends ClientOptions {
  readonly partitions?: number;
  readonly config?: readonly string[];
}

const EARLIEST = -2n;
const LATEST = -1n;
const TOPIC = 2; // resource type of DescribeConfigs

async function withAdmin<R>({ bootstrap }: ClientOptions, work: (admin: Admin) => Promise<R>): Promise<R> {
  const { Admin } = await import('@platformatic/kafka');
  return withClient(new Admin(clientSettings(bootstrap)), bootstrap, work);
}

export async function list(io: Io, options: ClientOptions): Promise<void> {
  const topics = await withAdmin(options, async (admin) => {
    const names = (await admin.listTopics()).sort();
    if (names.length === 0) return [];
    const metadata = await admin.metadata({ topics: names });
    return names.map((name) => ({ name, partitions: metadata.topics.get(name)?.partitionsCount ?? 0 }));
  });
  if (options.output === 'json') printJson(io, topics);
  else if (topics.length === 0) say(io, 'No topics yet.');
  else {
    await printTable(
      io,
      ['topic', 'partitions'],
      topics.map(({ name, partitions }) => [name, String(partitions)]),
    );
  }
}

export async function describe(io: Io, name: string, options: ClientOptions): Promise<void> {
  const topic = await withAdmin(options, async (admin) => {
    const names = await admin.listTopics({ includeInternals: true });
    if (!names.includes(name)) throw unknownTopic(name);
    const found = (await admin.metadata({ topics: [name] })).topics.get(name);
    const partitions = found?.partitions ?? [];
    const offsets = async (timestamp: bigint) => {
      const wanted = partitions.map((_, partitionIndex) => ({ partitionIndex, timestamp }));
      const [answer] = await admin.listOffsets({ topics: [{ name, partitions: wanted }] });
      return new Map(answer?.partitions.map(({ partitionIndex, offset }) => [partitionIndex, Number(offset)]));
    };
    const [starts, ends] = [await offsets(EARLIEST), await offsets(LATEST)];
    return {
      name,
      id: found?.id,
      partitions: partitions.map(({ leader, leaderEpoch }, partition) => ({
        partition,
        leader,
        leaderEpoch,
        startOffset: starts.get(partition),
        endOffset: ends.get(partition),
      })),
      configs: await configsOf(admin, name),
    };
  });
  if (options.output === 'json') {
    printJson(io, topic);
    return;
  }
  io.stdout.write(`${topic.name}  ${topic.id ?? ''}\n\n`);
  const rows = topic.partitions.map((p) =>
    [p.partition, p.leader, p.leaderEpoch, p.startOffset, p.endOffset].map((v) => String(v ?? '?')),
  );
  await printTable(io, ['partition', 'leader', 'epoch', 'start', 'end'], rows);
  if (topic.configs === undefined) return;
  io.stdout.write('\n');
  await printTable(
    io,
    ['config', 'value', 'from'],
    topic.configs.map(({ name: config, value, source }) => [config, value ?? '', source]),
  );
}

const SOURCES: Readonly<Record<number, string>> = { 1: 'topic', 2: 'broker', 3: 'broker', 4: 'broker', 5: 'default' };

/** The topic's configs, or undefined when the server does not answer DescribeConfigs. */
async function configsOf(admin: Admin, name: string) {
  try {
    const [answer] = await admin.describeConfigs({
      resources: [{ resourceType: TOPIC, resourceName: name, configurationKeys: [] }],
    });
    return answer?.configs
      .map(({ name: config, value, configSource }) => ({
        name: config,
        value,
        source: SOURCES[configSource] ?? 'unknown',
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    if (findKafkaError(error, ({ code }) => code === 'PLT_KFK_UNSUPPORTED_API') !== undefined) return undefined;
    throw error;
  }
}

export async function create(io: Io, name: string, options: CreateOptions): Promise<void> {
  const configs = pairs('--config', options.config).map(([key, value]) => ({ name: key, value }));
  const created = await withAdmin(options, async (admin) => {
    const [topic] = await admin.createTopics({
      topics: [{ topic: name, partitions: options.partitions ?? -1 }],
      configs,
    });
    return topic;
  });
  const topic = { name, id: created?.id, partitions: created?.partitions };
  if (options.output === 'json') printJson(io, topic);
  else say(io, `Created topic ${name} with ${counted(topic.partitions ?? 0, 'partition')}.`);
}

export async function remove(io: Io, names: readonly string[], options: ClientOptions): Promise<void> {
  await withAdmin(options, (admin) => admin.deleteTopics({ topics: [...names] }));
  if (options.output === 'json') printJson(io, { deleted: names });
  else say(io, `Deleted ${names.join(', ')}.`);
}

/**
 * Kafka's own command-line tools (4.3.1) against the server: each one once.
 * A tool that needs an API the server does not advertise is n/a, so the list grows with the rings by itself.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, clientArguments, NotApplicable, step } from '../lib/client.ts';
import { run } from '../lib/shell.ts';
import { kafkaJars } from '../launch.ts';
import { WireConnection } from '../lib/wire.ts';

const { bootstrap, host, port, prefix } = clientArguments();
const jars = await kafkaJars();
if ('missing' in jars) throw new Error(jars.missing);
const classPath = jars.jars;
const scratch = mkdtempSync(join(tmpdir(), 'kafka-tools-'));
const log4j = join(scratch, 'log4j2.properties');
writeFileSync(log4j, 'rootLogger.level=error\n');

const wire = await WireConnection.open(host, port);
const advertised = await wire.apiVersions();

/** Ends the step as n/a unless the server advertises these APIs. */
function needs(...keys: [name: string, key: number][]): void {
  const missing = keys.filter(([, key]) => !advertised.has(key)).map(([name, key]) => `${name} (${key})`);
  if (missing.length > 0) throw new NotApplicable(`needs ${missing.join(', ')}, not advertised`);
}

async function tool(className: string, args: string[], input?: string): Promise<string> {
  const result = await run(
    // Small and quick to start: these programs live for a second.
    // biome-ignore format: one command
    ['java', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx128m', `-Dlog4j2.configurationFile=${log4j}`,
      '-cp', classPath, className, '--bootstrap-server', bootstrap, ...args],
    { timeoutMs: 30_000, ...(input === undefined ? {} : { input }) },
  );
  check(
    result.code === 0,
    `${className} ended with ${result.code}: ${`${result.stdout}${result.stderr}`.trim().slice(-300)}`,
  );
  return result.stdout;
}

const tools = 'org.apache.kafka.tools';
const topics = (...args: string[]): Promise<string> => tool(`${tools}.TopicCommand`, args);
const topic = `${prefix}-tools`;
const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

await step('kafka-topics', async () => {
  await topics('--create', '--topic', `${prefix}-short`, '--partitions', '3', '--config', 'retention.ms=3600000');
  await topics('--create', '--topic', topic, '--partitions', '2');
  check(lines(await topics('--list')).includes(topic), 'not listed');
  needsNothingButDelete();
  await topics('--delete', '--topic', `${prefix}-short`);
  check(!lines(await topics('--list')).includes(`${prefix}-short`), 'still listed');
  return 'create with config, list, delete';
});

function needsNothingButDelete(): void {
  needs(['DeleteTopics', 20]);
}

await step('console', async () => {
  const sent = Array.from({ length: 100 }, (_, index) => `k${index}\tv${index}`);
  const producer = ['--topic', topic, '--reader-property', 'parse.key=true'];
  await tool(`${tools}.ConsoleProducer`, producer, `${sent.join('\n')}\n`);
  const got = lines(
    // biome-ignore format: one command
    await tool(`${tools}.consumer.ConsoleConsumer`, ['--topic', topic, '--from-beginning', '--max-messages', '100',
      '--timeout-ms', '15000', '--formatter-property', 'print.key=true']),
  );
  check(got.sort().join() === sent.sort().join(), `${got.length} lines back`);
  return '100 records with keys through ConsoleProducer and ConsoleConsumer';
});

await step('get-offsets', async () => {
  const got = lines(await tool(`${tools}.GetOffsetShell`, ['--topic', topic, '--time', 'latest']));
  const sum = got.reduce((total, line) => total + Number(line.split(':')[2]), 0);
  check(got.length === 2 && sum === 100, got.join());
  return got.map((line) => line.split(':').slice(1).join(':')).join(' ');
});

await step('verifiable', async () => {
  const args = ['--topic', topic, '--max-messages', '500', '--acks', '-1'];
  const sent = lines(await tool(`${tools}.VerifiableProducer`, args)).map((line) => JSON.parse(line) as Json);
  const acked = sent.filter((event) => event['name'] === 'producer_send_success').length;
  check(acked === 500, `${acked} acknowledged`);
  // biome-ignore format: one command
  const got = lines(await tool(`${tools}.VerifiableConsumer`, ['--topic', topic, '--group-id', `${topic}-verifiable`,
    '--max-messages', '600', '--reset-policy', 'earliest', '--session-timeout', '10000']));
  const read = got
    .map((line) => JSON.parse(line) as Json)
    .filter((event) => event['name'] === 'records_consumed')
    .reduce((total, event) => total + Number(event['count']), 0);
  check(read === 600, `${read} consumed, expected 600`);
  return '500 acknowledged, 600 consumed by a group';
});
type Json = Record<string, unknown>;

await step('describe topics', async () => {
  needs(['DescribeConfigs', 32]);
  const text = await topics('--describe', '--topic', topic);
  check(/PartitionCount:\s*2/.test(text) && /Leader:\s*\d/.test(text), text.trim());
  return 'kafka-topics --describe';
});

await step('configs', async () => {
  needs(['DescribeConfigs', 32], ['IncrementalAlterConfigs', 44]);
  const entity = ['--entity-type', 'topics', '--entity-name', topic];
  await tool('kafka.admin.ConfigCommand', [...entity, '--alter', '--add-config', 'retention.ms=7200000']);
  const text = await tool('kafka.admin.ConfigCommand', [...entity, '--describe']);
  check(text.includes('retention.ms=7200000'), text.trim());
  return 'kafka-configs --alter, --describe';
});

await step('consumer groups', async () => {
  needs(['ListGroups', 16], ['DescribeGroups', 15]);
  const group = `${topic}-verifiable`;
  const command = `${tools}.consumer.group.ConsumerGroupCommand`;
  check(lines(await tool(command, ['--list'])).includes(group), 'not listed');
  const text = await tool(command, ['--describe', '--group', group]);
  check(text.includes(topic), text.trim());
  return 'kafka-consumer-groups --list, --describe';
});

await step('more partitions', async () => {
  needs(['CreatePartitions', 37]);
  await topics('--alter', '--topic', topic, '--partitions', '5');
  await wire.awaitTopic(topic, 5);
  return 'kafka-topics --alter --partitions 5';
});

await step('delete records', async () => {
  needs(['DeleteRecords', 21]);
  const file = join(scratch, 'offsets.json');
  writeFileSync(file, JSON.stringify({ partitions: [{ topic, partition: 0, offset: 5 }], version: 1 }));
  await tool(`${tools}.DeleteRecordsCommand`, ['--offset-json-file', file]);
  const [earliest] = await wire.offsets(topic, 1, -2);
  check(earliest === 5, `log start ${earliest}`);
  return 'kafka-delete-records up to 5';
});

await step('log dirs', async () => {
  needs(['DescribeLogDirs', 35], ['DescribeCluster', 60]);
  const text = await tool(`${tools}.LogDirsCommand`, ['--describe', '--topic-list', topic]);
  check(text.includes(`"${topic}-0"`), text.trim().slice(-200));
  return 'kafka-log-dirs --describe';
});

wire.close();
rmSync(scratch, { recursive: true });

/**
 * Writes the reference pages docs/settings.md, docs/metrics.md and docs/errors.md, what events keep on their way
 * (docs/cloudevents-table.md), and the recovery cases in packages/log/README.md, from the tables of the code.
 *
 *   node --conditions=hadron-source docs/generate.ts           writes them
 *   node --conditions=hadron-source docs/generate.ts --check   exit code 1 when one of them is not current
 *
 * Needs Node 22.19 or newer; node_modules/.bin/node is one.
 */
import fs from 'node:fs';
import path from 'node:path';
import { ERRORS, type ErrorCode } from '@hadron/base';
import { BROKER_SETTINGS, type Broker, type Setting, TOPIC_CONFIGS, type TopicConfig } from '@hadron/broker';
import { KINDS, schemaFile } from '@hadron/contracts/resources';
import { kafkaErrorName } from '@hadron/kafka-protocol';
import { RECOVERY_CASES } from '@hadron/log';
import { SERVER_SETTINGS } from '@hadron/server';
import { DIFFERENCES, inOutTable } from '../packages/contracts/src/events/testing/in-out-table.ts';
import type { ApiDoor } from '../packages/server/src/api/index.ts';
import { HTTP_STATUS } from '../packages/server/src/api/problem.ts';
import type { KafkaDoor } from '../packages/server/src/kafka/door.ts';
import { KAFKA_CODE } from '../packages/server/src/kafka/error-codes.ts';
import { serverMetrics } from '../packages/server/src/metrics.ts';
import type { Push } from '../packages/server/src/push/index.ts';
import type { RpcDoor } from '../packages/server/src/rpc/index.ts';
import { GRPC_STATUS, STATUS_NAMES } from '../packages/server/src/rpc/status.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const NOTE = '<!-- Made by docs/generate.ts from the tables of the code. Do not edit: change the table and run it. -->';
const NEVER = '9223372036854775807';

// ------------------------------------------------------------------------------------------------------------ markdown

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const code = (text: string): string => (text === '' ? '(empty)' : `\`${text}\``);

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

/** `604800000` is `604800000` (7 days). */
function withUnit(key: string, text: string): string {
  if (text === NEVER) return 'never';
  const n = Number(text);
  const units: readonly (readonly [number, string])[] = /(^|\.)bytes(\.max)?$|\.size$|\.cache\.bytes$/.test(key)
    ? [
        [1_073_741_824, 'GiB'],
        [1_048_576, 'MiB'],
        [1024, 'KiB'],
      ]
    : key.endsWith('.ms')
      ? [
          [86_400_000, 'days'],
          [3_600_000, 'hours'],
          [60_000, 'minutes'],
          [1000, 's'],
        ]
      : [];
  const unit = n > 0 ? units.find(([size]) => n >= size && n % size === 0) : undefined;
  if (unit === undefined) return code(text);
  const many = n / unit[0];
  return `${code(text)} (${many} ${many === 1 ? unit[1].replace(/(day|hour|minute)s$/, '$1') : unit[1]})`;
}

const short = (allowed: string): string =>
  allowed
    .replace(/^a whole number from (-?\d+) to (\d+)$/, (_, low: string, high: string) =>
      high === NEVER || high === '2147483647' ? `${low} or more` : `${low} to ${high}`,
    )
    .replace(/^a number from /, '');

const what = (setting: Setting): string => setting.doc.trim();

// ------------------------------------------------------------------------------------------------------------ settings

function settings(): string {
  const synonyms = new Set(Object.values<TopicConfig>(TOPIC_CONFIGS).flatMap((c) => c.from.map((s) => s.key)));
  const all = [...BROKER_SETTINGS];
  const own = all.filter(([key]) => key === 'hadron.durability' || !synonyms.has(key));
  const row = ([key, s]: [string, Setting]): string[] => [
    code(key),
    withUnit(key, s.fallback),
    short(s.allowed),
    what(s),
  ];
  const server = Object.entries<Setting>(SERVER_SETTINGS).map(([key, s]) => [
    code(`--${key}`),
    code(`HADRON_${key.toUpperCase().replaceAll('-', '_')}`),
    code(s.fallback),
    s.allowed,
    what(s),
  ]);
  const from = (c: TopicConfig): string =>
    c.from.length === 0
      ? '–'
      : c.from
          .map(({ key, unit }) => code(key) + (unit === 1 ? '' : unit === 60_000 ? ' (minutes)' : ' (hours)'))
          .join(', ');
  const topics = Object.entries<TopicConfig>(TOPIC_CONFIGS);
  const live = topics.filter(([, c]) => c.noEffect === undefined);
  const dead = topics.filter(([, c]) => c.noEffect !== undefined);
  const deadOwn = own.filter(([, s]) => s.noEffect !== undefined);
  const isStorage = (key: string): boolean => key.startsWith('storage.');
  const isHadron = (key: string): boolean => key.startsWith('hadron.');
  const isPush = (key: string): boolean => key.startsWith('push.');
  const group = (pick: (key: string) => boolean): string[][] =>
    own.filter(([key, s]) => s.noEffect === undefined && pick(key)).map(row);
  const head = ['setting', 'default', 'allowed', 'what it does'];
  return `${NOTE}

# Settings

A setting is written in one of four places. The first that has it counts: **flag**, then **environment**, then **YAML
file**, then the default. \`hadron config\` prints every value and where it came from; \`hadron config NAME\` explains one.
An unknown name or a value that is not allowed ends the start with one line that names the key, the value, the place and
what is allowed. Nothing can be changed while the server runs.

\`\`\`sh
hadron start --kafka-port 9192 --set num.partitions=4            # flags; --set for broker settings
HADRON_KAFKA_PORT=9192 HADRON_SET_NUM_PARTITIONS=4 hadron start  # dots and dashes become underscores
hadron start --config hadron.yaml                                # or HADRON_CONFIG=hadron.yaml
\`\`\`

\`\`\`yaml
# hadron.yaml: server settings by the name of their flag, broker settings beside them or under "set:"
kafka-port: 9192
listen: [127.0.0.1, "::1"]
set:
  num.partitions: 4
  log.retention.hours: 48
\`\`\`

## Server

${table(['flag', 'environment', 'default', 'allowed', 'what it does'], server)}

\`--durability\` is the short name of the broker setting \`hadron.durability\`. Where both are written, the stronger place
counts; in the same place, \`--durability\`. A \`--http-port\` that nobody asked for moves to the next free port.

## Broker

Said with \`--set NAME=VALUE\`, \`HADRON_SET_…\`, or in the file. Names are Kafka's where Kafka has the setting.

${table(
  head,
  group((key) => !isStorage(key) && !isHadron(key) && !isPush(key)),
)}

Hadron's own:

${table(head, group(isHadron))}

Deliveries of [Subscriptions](subscriptions.md):

${table(head, group(isPush))}

The log engine:

${table(head, group(isStorage))}

Produce is refused below the smaller of \`storage.min.free.bytes\` and 1 % of the disk. From how many bytes on appends go
straight to their segment depends on the durability as well: \`directGroupBytes\` in \`packages/log/src/shard.ts\` has the
rule and the measurement behind it.

Three pairs must be in order: \`group.min.session.timeout.ms\` ≤ \`group.max.session.timeout.ms\`;
\`storage.commit.log.bytes\` ≤ \`storage.commit.log.max.bytes\`; \`storage.commit.file.bytes\` ≤ \`storage.commit.log.bytes\`.

## Topics

Given when a topic is created (\`hadron kafka topics create NAME --config KEY=VALUE\`, or any client's CreateTopics). What a
topic does not say comes from the broker setting in the last column, the first that is written; then from the default.
There is no way yet to change a topic's configs later (AlterConfigs belongs to a later part).

${table(
  ['topic config', 'default', 'allowed', 'what it does', 'broker setting'],
  live.map(([key, c]) => [code(key), withUnit(key, c.fallback), short(c.allowed), what(c), from(c)]),
)}

\`min.compaction.lag.ms\` must not be above \`max.compaction.lag.ms\`.

## Accepted, without effect

Clients and tools send them, so they are accepted, checked and shown. They change nothing here.

${table(
  ['name', 'default', 'why it has no effect', 'broker setting'],
  [
    ...dead.map(([key, c]) => [code(key), withUnit(key, c.fallback), c.noEffect as string, from(c)]),
    ...deadOwn.map(([key, s]) => ['–', withUnit(key, s.fallback), s.noEffect as string, code(key)]),
  ],
)}
`;
}

// ------------------------------------------------------------------------------------------------------------- metrics

function metrics(): string {
  // Names and help are said when the registry is made; numbers are read later, which never happens here.
  const broker = { core: { shard: { stats: {} } } } as unknown as Broker;
  const rows = [...serverMetrics(broker, {} as KafkaDoor, {} as ApiDoor, {} as RpcDoor, {} as Push)].map((m) => [
    code(m.name),
    m.type,
    m.labelNames.map(code).join(', ') || '–',
    m.help,
  ]);
  return `${NOTE}

# Metrics

\`GET /metrics\` on the HTTP port (7000, or the one that the start prints) answers in the text format of Prometheus.
Numbers are read when somebody asks; between two scrapes they cost an addition here and there. Counters begin at 0 with
the process; those named \`hadron_log_…_total\` begin anew after a recovery (\`hadron_storage_recoveries_total\` counts
them).

${table(['metric', 'type', 'labels', 'what it says'], rows)}

Useful quotients:

- size of a group commit: \`rate(hadron_log_synced_frames_total[1m]) / rate(hadron_log_syncs_total[1m])\`
- share of bytes that went straight to segments: \`rate(hadron_log_direct_bytes_total[5m]) / rate(hadron_log_appended_bytes_total[5m])\`
- slow syncs: \`histogram_quantile(0.99, rate(hadron_log_sync_seconds_bucket[5m]))\`

## Health

| path | 200 | 503 |
|---|---|---|
| \`/healthz\` | the process answers; that is all it says today | – |
| \`/readyz\` | it takes and gives records | it is stopping, the disk refuses writes, or a recovery is under way |

Both answer \`{"status": …, "reasons": […]}\`. Ranges of offsets that recovery found damaged are a reason in the text, not a
503: everything else is served.
`;
}

// -------------------------------------------------------------------------------------------------------------- errors

/** The remarks behind the lines of the table, and the headings between them. */
function errorRemarks(): Map<string, { section: string; remark: string }> {
  const remarks = new Map<string, { section: string; remark: string }>();
  let section = '';
  for (const line of fs.readFileSync(path.join(ROOT, 'packages/base/src/errors.ts'), 'utf8').split('\n')) {
    const heading = /^ {2}\/\/ (.+)$/.exec(line);
    const entry = /^ {2}([A-Z_]+): e\(.*?\),(?: \/\/ (.+))?$/.exec(line);
    if (heading !== null) section = heading[1] as string;
    if (entry !== null) remarks.set(entry[1] as string, { section, remark: entry[2] ?? '' });
  }
  return remarks;
}

function errors(): string {
  const remarks = errorRemarks();
  const sections = new Map<string, string[][]>();
  for (const [name, info] of Object.entries(ERRORS)) {
    const { section, remark } = remarks.get(name) ?? { section: 'others', remark: '' };
    const kafka = KAFKA_CODE[name as ErrorCode];
    const rows = sections.get(section) ?? [];
    sections.set(section, rows);
    const http = String(HTTP_STATUS[name as ErrorCode]);
    const grpc = STATUS_NAMES[GRPC_STATUS[name as ErrorCode]] as string;
    rows.push([
      code(name),
      info.kind,
      info.retry,
      info.effect,
      http,
      grpc,
      `${kafkaErrorName(kafka)} (${kafka})`,
      remark,
    ]);
  }
  const head = ['code', 'kind', 'retry', 'effect', 'HTTP', 'gRPC', 'on the Kafka wire', ''];
  const tables = [...sections].map(
    ([section, rows]) => `## ${section.charAt(0).toUpperCase()}${section.slice(1)}\n\n${table(head, rows)}`,
  );
  return `${NOTE}

# Errors

Every expected failure is a \`HadronError\` with a code of this table (\`packages/base/src/errors.ts\`). Its message begins with
the code and says what to do. Codes are stable; messages are not.

- **retry**: \`no\` – it would fail again; \`after-backoff\` – after a pause; \`after-refresh\` – after looking up fresh state.
- **effect**: \`none\` – nothing happened; \`unknown\` – it may have happened.
- **HTTP**: the status of the API (\`packages/server/src/api/problem.ts\`). REQUEST_INVALID also stands for what only HTTP knows, with its own
  status: 404, 405, 406, 408, 413, 415, 426, 431.
- **gRPC**: the status of a call (\`packages/server/src/rpc/status.ts\`); the code travels beside it as \`hadron-code\`.
- **on the Kafka wire**: what a Kafka client sees (\`packages/server/src/kafka/error-codes.ts\`). Answers of the group APIs and
  InitProducerId say COORDINATOR_NOT_AVAILABLE instead of KAFKA_STORAGE_ERROR, so that clients look for the coordinator again.

The \`hadron\` command prints a failure as one line, \`hadron: CODE: what happened and what to do\`, and ends with exit code 1.
Misuse of a function throws \`TypeError\`; a broken invariant throws \`InvariantError\`, which is a bug in Hadron.

${tables.join('\n\n')}

Errors of the protocol that no code stands for, because only the Kafka door meets them: UNSUPPORTED_VERSION,
INVALID_REQUIRED_ACKS, INVALID_REPLICA_ASSIGNMENT, FETCH_SESSION_ID_NOT_FOUND.
`;
}

// ------------------------------------------------------------------------------------------------------ recovery cases

const LOG_README = 'packages/log/README.md';
const CASES_BEGIN = '<!-- recovery cases: made by docs/generate.ts -->\n';
const CASES_END = '<!-- end of recovery cases -->\n';

/** The map of the log package with its table of recovery cases made anew. */
function logReadme(): string {
  const page = fs.readFileSync(path.join(ROOT, LOG_README), 'utf8');
  const from = page.indexOf(CASES_BEGIN);
  const to = page.indexOf(CASES_END);
  if (from < 0 || to < from) throw new Error(`${LOG_README} has lost the marks around its recovery cases`);
  const rows = Object.entries(RECOVERY_CASES).map(([name, c]) => [code(name), c.sign, c.decision, c.rule]);
  const cases = table(['case', 'what is found', 'decision', 'rule'], rows);
  return `${page.slice(0, from)}${CASES_BEGIN}\n${cases}\n\n${page.slice(to)}`;
}

// -------------------------------------------------------------------------------------------------------- CloudEvents

function cloudEventsTable(): string {
  const { out, rows } = inOutTable();
  const cells = rows.map((row) => [row.in, ...row.cells.map((found) => found.join(', ') || 'equal')]);
  return `${NOTE}

# CloudEvents: what an event keeps

An event can come in by every form of the left column and leave by every form of the first line. Each cell was found by
sending awkward events through (\`packages/contracts/src/events/testing/in-out-table.ts\`) and comparing the event as its
message meant it with the event as it left: **equal**, or the differences that are permitted there, by name.

${table(['in ↓ out →', ...out], cells)}

${table(
  ['difference', 'what it is'],
  Object.entries(DIFFERENCES).map(([name, what]) => [name, what]),
)}

Every form but Kafka adds the position: \`hadronpartition\` (Integer) and \`hadronoffset\` (String, because it has 64 bits).
Both are dropped from what is published.

**Kafka** out is the stored record. A record that a Kafka client produced is given back byte for byte. An event that came by
another form is a record in binary mode: \`ce_\` headers, \`content-type\`, the data as value; its key is \`partitionkey\`, else
\`subject\`; types that names do not tell stand in the header \`hadron-types\`.

What a form means when it comes in:

- **HTTP binary**: an empty body is no data. Header values carry no types.
- **structured, batch, WebSocket** (the JSON format): \`data\` without \`datacontenttype\` is JSON, and is \`application/json\` from
  then on. \`null\` for an attribute is absent. The text of JSON data stays as it is, large numbers and spaces included.
- **gRPC protobuf**: \`proto_data\` is the bytes of the message with \`application/protobuf\`, its type URL is \`dataschema\`; it
  leaves as \`proto_data\` again.
- **plain record** (no CloudEvents headers, or ones that are no event): id is \`{partition}-{offset}\`, source
  \`/streams/{stream}/{topic id}\`, type a setting of the stream, time the record's timestamp, \`partitionkey\` its key where
  that is text, data its value.

In JSON, data is a member \`data\` if its content type is JSON and it is exactly one JSON text, or if it is \`text/*\` or
\`+xml\` in UTF-8; else it is \`data_base64\`. The bytes are the same either way.
`;
}

// ------------------------------------------------------------------------------------------------------------- writing

const pages: readonly (readonly [string, string])[] = [
  ['docs/settings.md', settings()],
  ['docs/metrics.md', metrics()],
  ['docs/errors.md', errors()],
  ['docs/cloudevents-table.md', cloudEventsTable()],
  [LOG_README, logReadme()],
  ...KINDS.map((kind): [string, string] => [
    `docs/schemas/${kind.kind.toLowerCase()}.json`,
    `${JSON.stringify(schemaFile(kind), null, 2)}\n`,
  ]),
];
const check = process.argv.includes('--check');
for (const [name, content] of pages) {
  const file = path.join(ROOT, name);
  if (!check) {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
  } else if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== content) {
    process.stderr.write(`${name} is not current: run "node --conditions=hadron-source docs/generate.ts"\n`);
    process.exitCode = 1;
  }
}

/** `hadron stream …`, and `pub`, `sub`, `tail` by themselves. Each one's work is in a file of this folder, loaded when it runs. */
import { type Command, Option } from 'commander';
import type { Io } from '../../io.ts';
import {
  collect,
  duration,
  examples,
  filterOptions,
  serverAddress,
  serverOptions,
  startOptions,
  wholeNumber,
} from '../../options.ts';
import type { GetOptions } from '../resources/get.ts';
import { FORMATS as RESOURCE_FORMATS } from '../resources/output.ts';
import type { PubOptions } from './publish.ts';
import { FORMATS } from './show.ts';
import type { SubOptions } from './subscribe.ts';
import type { TailOptions } from './tail.ts';
import type { ExportOptions, ImportOptions } from './transfer.ts';

export function streamCommands(program: Command, io: Io): void {
  const stream = serverAddress(program.command('stream'))
    .summary('publish, subscribe, tail, export, import')
    .description('Publish events to streams and read them. "hadron get streams" lists them, "hadron apply" makes them.')
    .enablePositionalOptions();
  serverAddress(stream.command('ls'))
    .summary('list streams')
    .description('List the streams; "hadron get streams" can select and watch them.')
    .addOption(new Option('-o, --output <format>', 'how they are printed').choices(RESOURCE_FORMATS).default('table'))
    .addHelpText('after', examples('hadron stream ls', 'hadron stream ls -o name'))
    .action(async (options: GetOptions) => (await import('../resources/get.ts')).get(io, 'streams', [], options));
  pub(stream, io, 'hadron stream pub');
  sub(stream, io, 'hadron stream sub');
  tail(stream, io, 'hadron stream tail');
  transfer(stream, io);
  pub(program, io, 'hadron pub');
  sub(program, io, 'hadron sub');
  tail(program, io, 'hadron tail');
}

const streamOption = (): Option => new Option('--stream <name>', 'the stream, where no argument names it').hideHelp();
const formatOption = (): Option =>
  new Option('--format <format>', 'pretty for people; json indented; ndjson a line each; data alone').choices(FORMATS);

function pub(parent: Command, io: Io, path: string): void {
  serverOptions(parent.command('pub'))
    .summary('publish events')
    .description(
      'Publish an event, or one for each line of --file or standard input. Done means durable. Prints stream, partition/offset and id of each.',
    )
    .argument('[stream]')
    .argument('[data]', 'JSON, or any text; without it lines are read, a JSON value each')
    .option('--type <type>', 'what happened, such as order.placed; needed unless --events')
    .option('--subject <subject>', 'what it is about: events of one subject keep their order')
    .option('--id <id>', 'unique within the source (default: a random UUID)')
    .option('--source <source>', 'who tells it (default: hadron-cli)')
    .option('-o, --option <name=value>', 'another attribute; repeat for more', collect)
    .option('--delay <time>', 'groups get it no sooner than in this time: 250ms, 10s, 5m, 2h, 7d', duration)
    .option('--binary', 'data is base64')
    .option('--file <file>', 'read lines from a file; - is standard input')
    .option('--events', 'each line is a whole CloudEvent in JSON')
    .option('--atomic', 'all lines or none, visible together')
    .option('--partition <n>', 'the partition (default: by partitionkey, else subject, else in turn)', wholeNumber(0))
    .option('-q, --quiet', 'print only how many')
    .addOption(streamOption())
    .addHelpText(
      'after',
      examples(
        `${path} orders '{"id":"7","total":12.5}' --type order.placed --subject 7`,
        `jq -c '.[]' orders.json | ${path} orders --type order.imported -o region=eu`,
        `${path} orders --events --file events.ndjson --quiet`,
      ),
    )
    .action(async (stream: string | undefined, data: string | undefined, options: PubOptions) => {
      const args = [stream, data].filter((given) => given !== undefined);
      await (await import('./publish.ts')).publish(io, args, options);
    });
}

function sub(parent: Command, io: Io, path: string): void {
  const command = serverOptions(parent.command('sub'))
    .summary('consume events as a group')
    .description(
      'Join a group, print each event and acknowledge it; Ctrl-C ends it. A group that is missing is made: in memory and from now on, unless -d and --start-… say otherwise.',
    )
    .argument('[stream]')
    .requiredOption('-g, --group <group>', 'the group: each event goes to one of its members')
    .option('-d, --durable', 'a new group keeps its progress when its last member leaves')
    .option('-b, --batch-size <n>', 'events that may be out at once (default: 1)', wholeNumber(0))
    .option('--concurrency <n>', 'the same', wholeNumber(1));
  filterOptions(startOptions(command))
    .addOption(
      new Option('--ordering <ordering>', 'what comes one after another in a new group').choices([
        'partition',
        'key',
        'none',
      ]),
    )
    .addOption(formatOption())
    .option('-n, --count <n>', 'end after this many events', wholeNumber(1))
    .option('--dry-run', 'show what would come, of each key the first, and give it all back; ends by itself')
    .addOption(streamOption())
    .addHelpText(
      'after',
      examples(
        `${path} orders -g mail -d --start-beginning`,
        `${path} orders -g look --start-time 15m --filter type=order.placed -n 10`,
        `${path} orders -g mail --dry-run --format ndjson | jq .type`,
      ),
    )
    .action(async (stream: string | undefined, options: SubOptions) =>
      (await import('./subscribe.ts')).subscribe(io, stream, options),
    );
}

function tail(parent: Command, io: Io, path: string): void {
  serverOptions(parent.command('tail'))
    .summary('read events without a group')
    .description('Print events as they come; nothing is acknowledged. Ctrl-C ends it.')
    .argument('[stream]')
    .option(
      '--from <place>',
      'beginning, latest, an offset (of --partition), a time, or 15m for that long ago (default: latest; with --no-follow beginning)',
    )
    .option('--partition <n>', 'this partition only', wholeNumber(0))
    .option('-f, --follow', 'go on with what comes (default)')
    .option('--no-follow', 'end where the stream ends now')
    .option('-n, --count <n>', 'end after this many events', wholeNumber(1))
    .addOption(formatOption())
    .addOption(streamOption())
    .addHelpText(
      'after',
      examples(
        `${path} orders`,
        `${path} orders --from 15m --no-follow --format ndjson | jq -r .subject | sort | uniq -c`,
        `${path} orders --partition 0 --from 1000 -n 1 --format data`,
      ),
    )
    .action(async (stream: string | undefined, options: TailOptions) =>
      (await import('./tail.ts')).tail(io, stream, options),
    );
}

function transfer(stream: Command, io: Io): void {
  serverOptions(stream.command('export'))
    .summary('write a stream to a file')
    .description('Write the events of a stream, up to its end now, as NDJSON: one CloudEvent a line.')
    .argument('<stream>')
    .option('--file <file>', 'where to; - is standard output (default: -)')
    .option('--force', 'write over a file that exists')
    .option('--from <place>', 'beginning, an offset (of --partition), a time, or 15m for that long ago')
    .option('--partition <n>', 'this partition only', wholeNumber(0))
    .addHelpText(
      'after',
      examples(
        'hadron stream export orders --file orders.ndjson',
        'hadron stream export orders --from 24h | gzip > day.ndjson.gz',
      ),
    )
    .action(async (name: string, options: ExportOptions) =>
      (await import('./transfer.ts')).exportStream(io, name, options),
    );

  serverOptions(stream.command('import'))
    .summary('publish a file of events')
    .description('Publish the CloudEvents of an NDJSON file, in order, with the identity and time that they have.')
    .argument('<stream>')
    .option('--file <file>', 'where from; - is standard input (default: -)')
    .option('--partition <n>', 'all to this partition (default: by partitionkey, else subject)', wholeNumber(0))
    .addHelpText(
      'after',
      examples(
        'hadron stream import orders --file orders.ndjson',
        'hadron stream export orders --url http://old:7000 | hadron stream import orders --url http://new:7000',
      ),
    )
    .action(async (name: string, options: ImportOptions) =>
      (await import('./transfer.ts')).importStream(io, name, options),
    );
}

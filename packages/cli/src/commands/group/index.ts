/** `hadron group …`: the groups of streams. The work is in the other files of this folder, loaded when it runs. */
import { type Command, Option } from 'commander';
import type { Io } from '../../io.ts';
import { duration, examples, filterOptions, moment, serverOptions, startOptions, wholeNumber } from '../../options.ts';
import type { CreateOptions, DescribeOptions, GroupOptions, RemoveOptions, SeekOptions } from './group.ts';
import { rate, type SettingsOptions } from './settings.ts';

type Work = typeof import('./group.ts');

export function groupCommands(program: Command, io: Io): void {
  const group = program
    .command('group')
    .summary('list, make, move, pause groups')
    .description('The groups that consume streams: where they are, what they are set to.');
  const work = (): Promise<Work> => import('./group.ts');
  const verb = (name: string, summary: string, description: string): Command =>
    serverOptions(group.command(name)).summary(summary).description(description);
  const named = (name: string, summary: string, description: string): Command =>
    verb(name, summary, description).argument('<stream>').argument('<group>');

  verb('ls', 'list groups', 'List the groups of a stream, or of all streams, with their lag.')
    .argument('[stream]')
    .addHelpText('after', examples('hadron group ls', 'hadron group ls orders --output json'))
    .action(async (stream: string | undefined, options: GroupOptions) => (await work()).list(io, stream, options));

  named('describe', 'show a group', 'Show settings, counts and the place of a group on each partition.')
    .option('--deliveries <n>', 'also so many events that are out or wait to come again', wholeNumber(1))
    .addHelpText(
      'after',
      examples('hadron group describe orders mail', 'hadron group describe orders mail --deliveries 20'),
    )
    .action(async (stream: string, name: string, options: DescribeOptions) =>
      (await work()).describe(io, stream, name, options),
    );

  settings(
    startOptions(
      named('create', 'make a group', 'Make a group. One that exists with the same settings is left as it is.'),
    ),
  )
    .addOption(
      new Option('--ordering <ordering>', 'what comes one after another (default: key)').choices([
        'partition',
        'key',
        'none',
      ]),
    )
    .option('--no-durable', 'in memory, gone with its last member')
    .option('--from-kafka <group>', 'begin where this Kafka consumer group committed on the topic')
    .option('--bootstrap <host:port>', 'where to ask for it (default: the Kafka address of the server)')
    .addHelpText(
      'after',
      examples(
        'hadron group create orders mail --max-deliveries 5 --backoff 1s,10s,1m',
        'hadron group create orders billing --from-kafka billing-service',
        'hadron group create orders audit --start-latest --sql "type LIKE \'order.%\'"',
      ),
    )
    .action(async (stream: string, name: string, options: CreateOptions) =>
      (await work()).create(io, stream, name, options),
    );

  settings(
    named('set', 'change settings', 'Change settings of a group. A changed filter holds for events not yet read.'),
  )
    .addHelpText(
      'after',
      examples('hadron group set orders mail --timeout 2m', 'hadron group set orders mail --rate 50/1s --no-filter'),
    )
    .option('--no-filter', 'every event again')
    .option('--no-rate', 'as fast as it can again')
    .action(async (stream: string, name: string, options: GroupOptions & SettingsOptions) =>
      (await work()).set(io, stream, name, options),
    );

  const to = (flags: string, text: string): Option =>
    new Option(flags, text).conflicts(
      ['beginning', 'latest', 'offset', 'time'].filter((other) => !flags.startsWith(`--${other}`)),
    );
  named(
    'seek',
    'move a group',
    'Move a group: everything before the place counts as settled, everything behind comes again. What is out is taken back.',
  )
    .addOption(to('--beginning', 'to the oldest event'))
    .addOption(to('--latest', 'behind the last event'))
    .addOption(to('--offset <n>', 'to this offset').argParser(wholeNumber(0)))
    .addOption(to('--time <time>', 'to the first event of this time, or of so long ago (15m)').argParser(moment))
    .option('--partition <n>', 'this partition only', wholeNumber(0))
    .option('-y, --yes', 'do not ask')
    .addHelpText(
      'after',
      examples(
        'hadron group seek orders mail --time 2026-11-20T08:00:00Z',
        'hadron group seek orders mail --partition 3 --offset 1200 --yes',
      ),
    )
    .action(async (stream: string, name: string, options: SeekOptions) =>
      (await work()).seek(io, stream, name, options),
    );

  named('pause', 'hand nothing out', 'Hand nothing out until it is resumed. What is out may still be answered.')
    .addHelpText('after', examples('hadron group pause orders mail', 'hadron group pause orders mail --output json'))
    .action(async (stream: string, name: string, options: GroupOptions) =>
      (await work()).pause(io, stream, name, true, options),
    );
  named('resume', 'go on after a pause', 'Go on handing out after a pause.')
    .addHelpText('after', examples('hadron group resume orders mail', 'hadron group resume orders mail --output json'))
    .action(async (stream: string, name: string, options: GroupOptions) =>
      (await work()).pause(io, stream, name, false, options),
    );

  named('purge', 'skip everything', 'Settle everything up to the end of the stream: nothing of it comes any more.')
    .option('-y, --yes', 'do not ask')
    .addHelpText('after', examples('hadron group purge orders mail', 'hadron group purge orders mail --yes'))
    .action(async (stream: string, name: string, options: RemoveOptions) =>
      (await work()).purge(io, stream, name, options),
    );
  named(
    'delete',
    'remove a group',
    'Remove a group and its progress. Its members are sent away; events and dead letters stay.',
  )
    .option('-y, --yes', 'do not ask')
    .addHelpText('after', examples('hadron group delete orders mail', 'hadron group delete orders mail --yes'))
    .action(async (stream: string, name: string, options: RemoveOptions) =>
      (await work()).remove(io, stream, name, options),
    );
}

/** Those that can be changed later. */
function settings(command: Command): Command {
  return filterOptions(command)
    .option('--window <n>', 'events of one lane that may be out (default: 1; ordering partition: 32)', wholeNumber(1))
    .option('--timeout <time>', 'a delivery without an answer for so long has failed (default: 30s)', duration)
    .option('--max-processing <time>', 'an attempt may be extended to this age (default: 10m)', duration)
    .option('--backoff <times>', 'waits before redelivery, the last repeats (default: 200ms,1s,5s,30s,2m)', (text) =>
      text.split(',').map(duration),
    )
    .option('--max-deliveries <n>', 'then it is a dead letter; 0 = never (default: 10)', wholeNumber(0))
    .option('--dead-letter-stream <name>', 'where dead letters go (default: STREAM.dead)')
    .option('--rate <limit>', 'at most so many: 50/1s for the group, 5/1s/key for each key', rate)
    .option('--hold-retention', 'retention keeps what this group has not settled')
    .option('--no-hold-retention', 'retention does not wait for this group (default)');
}

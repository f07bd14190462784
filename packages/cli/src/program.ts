/** The tree of commands. Each command's work is in commands/ and is loaded when it runs, so that `hadron --help` is quick. */
import { Command, CommanderError } from 'commander';
import { dlqCommands } from './commands/dlq/index.ts';
import { groupCommands } from './commands/group/index.ts';
import { resourceCommands } from './commands/resources/index.ts';
import { streamCommands } from './commands/stream/index.ts';
import { ExitCode, exitCodeOf, printFailure } from './failure.ts';
import { type Io, type OutputFormat, processIo } from './io.ts';
import {
  clientOptions,
  collect,
  examples,
  outputOption,
  resolveServer,
  serverAddress,
  sharedLast,
  settingOptions,
  wholeNumber,
} from './options.ts';
import { version } from './version.ts';

export function buildProgram(io: Io): Command {
  const program = serverAddress(new Command('hadron'))
    .description('Hadron: event streams on one durable log; groups, dead letters, and the Apache Kafka protocol')
    .version(version())
    .option('-v, --verbose', 'where a failure comes from')
    // Options before the verb are ours, behind it the verb's: -o means different things.
    .enablePositionalOptions()
    .hook('preAction', (_program, command) => resolveServer(command, io))
    .showSuggestionAfterError()
    .exitOverride()
    .configureHelp(sharedLast)
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
    })
    .addHelpText(
      'after',
      examples(
        'hadron start',
        `hadron pub orders '{"id":"7"}' --type order.placed`,
        'hadron sub orders -g mail -d --start-beginning',
        'hadron group ls',
        'hadron kafka consume orders --from-beginning --exit',
      ),
    );

  program.commandsGroup('The server:');
  outputOption(
    settingOptions(program.command('start').summary('start a server').description('Start a server in the foreground.')),
  )
    .addHelpText(
      'after',
      examples(
        'hadron start',
        'hadron start --data /var/lib/hadron --set num.partitions=4',
        'hadron start --config hadron.yaml',
      ),
    )
    .action(async (options) => (await import('./commands/start.ts')).start(io, options));

  outputOption(settingOptions(program.command('config [names...]').summary('show the effective settings')))
    .description('Show the settings a server would start with, and where each value comes from.')
    .option('--changed', 'only what is not a default')
    .addHelpText(
      'after',
      examples(
        'hadron config',
        'hadron config num.partitions',
        'hadron config --config hadron.yaml --changed --output json',
      ),
    )
    .action(async (names, options) => (await import('./commands/config.ts')).config(io, names, options));

  program.commandsGroup('Events:');
  streamCommands(program, io);
  groupCommands(program, io);
  dlqCommands(program, io);
  program.commandsGroup('Resources:');
  resourceCommands(program, io);
  program.commandsGroup('More:').helpCommand('help [command]', 'display help for command');
  kafkaCommands(
    program
      .command('kafka')
      .summary('topics, produce, consume')
      .description('Talk to a server over the Kafka protocol.'),
    io,
  );
  logCommands(
    program
      .command('log')
      .summary('look into a data folder')
      .description('Look at the data folder of a stopped server (read-only on a running one).'),
    io,
  );

  program
    .command('completion')
    .summary('print a completion script')
    .description('Print a script that completes hadron commands in your shell.')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText(
      'after',
      examples(
        'hadron completion bash >> ~/.bashrc',
        'hadron completion fish > ~/.config/fish/completions/hadron.fish',
      ),
    )
    .action(async (shell) => (await import('./commands/completion.ts')).completion(io, program, shell));
  return program;
}

function kafkaCommands(kafka: Command, io: Io): void {
  const topics = kafka.command('topics').description('Topics: list, describe, create, delete.');
  clientOptions(topics.command('list').description('List the topics.'), io)
    .addHelpText('after', examples('hadron kafka topics list', 'hadron kafka topics list --output json'))
    .action(async (options) => (await import('./commands/topics.ts')).list(io, options));
  clientOptions(
    topics.command('describe').description('Show partitions, offsets and settings of a topic.').argument('<name>'),
    io,
  )
    .addHelpText(
      'after',
      examples('hadron kafka topics describe orders', 'hadron kafka topics describe orders --output json'),
    )
    .action(async (name, options) => (await import('./commands/topics.ts')).describe(io, name, options));
  clientOptions(topics.command('create').description('Create a topic.').argument('<name>'), io)
    .option('--partitions <n>', 'how many partitions (default: the server setting num.partitions)', wholeNumber(1))
    .option('--config <name=value>', 'a topic config; repeat for more', collect)
    .addHelpText(
      'after',
      examples(
        'hadron kafka topics create orders --partitions 12',
        'hadron kafka topics create users --config cleanup.policy=compact',
      ),
    )
    .action(async (name, options) => (await import('./commands/topics.ts')).create(io, name, options));
  clientOptions(topics.command('delete').description('Delete topics and all their records.').argument('<names...>'), io)
    .addHelpText('after', examples('hadron kafka topics delete orders', 'hadron kafka topics delete orders users'))
    .action(async (names, options) => (await import('./commands/topics.ts')).remove(io, names, options));

  clientOptions(
    kafka.command('produce').summary('write records to a topic').argument('<topic>').argument('[values...]'),
    io,
  )
    .description('Write records to a topic: the values given, else each line of --file or standard input.')
    .option('--key <key>', 'the key of every record')
    .option('--key-separator <text>', 'split each value into key and value at the first of these')
    .option('--header <name=value>', 'a header of every record; repeat for more', collect)
    .option('--partition <n>', 'the partition (default: by key, else in turn)', wholeNumber(0))
    .option('--file <file>', 'read values from a file, one per line')
    .option('--compression <codec>', 'none, gzip, snappy, lz4 or zstd', 'none')
    .addHelpText(
      'after',
      examples(
        'hadron kafka produce hello world',
        'hadron kafka produce users --key-separator : < users.txt',
        'seq 1000 | hadron kafka produce numbers',
      ),
    )
    .action(async (topic, values, options) =>
      (await import('./commands/produce.ts')).produce(io, topic, values, options),
    );

  clientOptions(kafka.command('consume').summary('read records of a topic').argument('<topic>'), io)
    .description('Read records of a topic as they come; Ctrl-C ends it.')
    .option('--from-beginning', 'begin with the oldest record (default: the next one written)')
    .option('--group <id>', 'join a consumer group and commit what was read')
    .option('--max <n>', 'stop after this many records', wholeNumber(1))
    .option('--exit', 'stop at the end of the topic as it is now')
    .addHelpText(
      'after',
      examples(
        'hadron kafka consume hello --from-beginning --exit',
        'hadron kafka consume orders --group billing --output json',
      ),
    )
    .action(async (topic, options) => (await import('./commands/consume.ts')).consume(io, topic, options));
}

function logCommands(log: Command, io: Io): void {
  const data = (command: Command) => outputOption(command.option('--data <dir>', 'the data folder', '.hadron/data'));
  data(log.command('ls').description('List the logs in a data folder.'))
    .option('--files', 'their segments and the files of the commit log too')
    .addHelpText('after', examples('hadron log ls --files', 'hadron log ls --data /var/lib/hadron --output json'))
    .action(async (options) => (await import('./commands/log.ts')).ls(io, options));
  data(
    log
      .command('dump')
      .description('Print the record batches of one log.')
      .argument('<log>', 'a name or id that `hadron log ls` shows, e.g. orders-0'),
  )
    .option('--from <offset>', 'begin at this offset', wholeNumber(0))
    .option('--max <n>', 'stop after this many batches', wholeNumber(1))
    .option('--records', 'the records in the batches too')
    .addHelpText(
      'after',
      examples('hadron log dump orders-0 --records', 'hadron log dump orders-0 --from 1000 --max 10 --output json'),
    )
    .action(async (name, options) => (await import('./commands/log.ts')).dump(io, name, options));
  data(log.command('verify').description('Read everything back and check every checksum.'))
    .addHelpText('after', examples('hadron log verify', 'hadron log verify --data /var/lib/hadron'))
    .action(async (options) => (await import('./commands/log.ts')).verify(io, options));
}

/** Runs one command line. @returns the exit code: failure.ts has them all */
export async function run(argv: readonly string[], io: Io = processIo): Promise<number> {
  const isJson = (arg: string, i: number): boolean =>
    arg === '--output=json' || arg === '-ojson' || (/^(--output|-o)$/.test(arg) && argv[i + 1] === 'json');
  const output: OutputFormat = argv.some(isJson) ? 'json' : 'table';
  const program = buildProgram(io);
  try {
    if (argv.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (error) {
    // commander has printed its own message and says which code it means.
    if (error instanceof CommanderError || error instanceof ExitCode) return error.exitCode;
    printFailure(io, error, output, program.opts()['verbose'] === true);
    return exitCodeOf(error);
  }
}

/** The verbs for resources, in the tree of commands. Each one's work is in a file of this folder, loaded when it runs. */
import { type Command, Option } from 'commander';
import type { Io } from '../../io.ts';
import { collect, examples, type ServerAddress, serverAddress } from '../../options.ts';
import type { ApplyOptions, DiffOptions } from './apply.ts';
import type { GetOptions } from './get.ts';
import type { Format } from './output.ts';
import type { DeleteOptions } from './remove.ts';

const outputs = (choices: readonly Format[]): Option =>
  new Option('-o, --output <format>', 'how results are printed').choices(choices).default('table');

const files = (command: Command): Command =>
  serverAddress(command)
    .requiredOption('-f, --filename <file>', 'a file, a folder, or - for standard input; repeat for more', collect)
    .option('-R, --recursive', 'the folders in a folder too')
    .addOption(outputs(['table', 'json', 'name']));

export function resourceCommands(program: Command, io: Io): void {
  files(program.command('apply').summary('create and change resources from files'))
    .description(
      'Make resources as files say. What a file does not say takes its default; labels and annotations are merged. Each document is applied whole or not at all.',
    )
    .option('--dry-run', 'say what would happen and change nothing')
    .addHelpText(
      'after',
      examples(
        'hadron apply -f orders.yaml',
        'hadron apply -f deploy/ --dry-run',
        'cat orders.yaml | hadron apply -f -',
      ),
    )
    .action(async (options: ApplyOptions) => (await import('./apply.ts')).apply(io, options));

  files(program.command('diff').summary('what applying files would change'))
    .description('Show what "hadron apply" of the same files would change.')
    .option('--exit-code', 'end with 1 when something differs')
    .addHelpText('after', examples('hadron diff -f orders.yaml', 'hadron diff -f deploy/ --exit-code'))
    .action(async (options: DiffOptions) => (await import('./apply.ts')).diff(io, options));

  serverAddress(program.command('get'))
    .summary('list resources')
    .description('List resources of a kind, or show some by name.')
    .argument('<kind>', 'streams, subscriptions')
    .argument('[names...]')
    .option('-l, --selector <selector>', "by labels, e.g. 'app=shop,tier in (web, db),!legacy'")
    .option('-w, --watch', 'then every change as it comes; Ctrl-C ends it')
    .addOption(outputs(['table', 'wide', 'yaml', 'json', 'name']))
    .addHelpText(
      'after',
      examples(
        'hadron get streams',
        'hadron get stream orders -o yaml',
        'hadron get streams -l app=shop -o wide --watch',
      ),
    )
    .action(async (kind: string, names: string[], options: GetOptions) =>
      (await import('./get.ts')).get(io, kind, names, options),
    );

  serverAddress(program.command('describe'))
    .summary('show a resource')
    .description('Show everything about one resource: what is wanted and how it is.')
    .argument('<kind>', 'stream, subscription')
    .argument('<name>')
    .addOption(outputs(['table', 'yaml', 'json']))
    .addHelpText('after', examples('hadron describe stream orders', 'hadron describe subscription mail -o yaml'))
    .action(async (kind: string, name: string, options: ServerAddress & { output: 'table' | 'yaml' | 'json' }) =>
      (await import('./get.ts')).describe(io, kind, name, options),
    );

  serverAddress(program.command('delete'))
    .summary('delete resources')
    .description('Delete resources by name. A Stream goes with all its records; one that others use is not deleted.')
    .argument('<kind>', 'stream, subscription')
    .argument('<names...>')
    .option('--cascade', 'a Stream with the Subscriptions that deliver it')
    .option('-y, --yes', 'do not ask')
    .option('--ignore-not-found', 'what is not there is no failure')
    .addOption(outputs(['table', 'json', 'name']))
    .addHelpText('after', examples('hadron delete stream orders', 'hadron delete stream orders --cascade --yes'))
    .action(async (kind: string, names: string[], options: DeleteOptions) =>
      (await import('./remove.ts')).remove(io, kind, names, options),
    );

  program
    .command('explain')
    .summary('what a kind and its fields mean')
    .description('Explain a kind or a field of it: meaning, type, what is allowed. Needs no server.')
    .argument('<field>', 'stream, stream.spec.retentionPolicy, subscription.spec.filters …')
    .option('--api-version <version>', 'default: the newest')
    .addOption(outputs(['table', 'json']))
    .addHelpText('after', examples('hadron explain stream', 'hadron explain stream.spec.retentionPolicy'))
    .action(async (field: string, options: { apiVersion?: string; output: 'table' | 'json' }) =>
      (await import('./explain.ts')).explain(io, field, options),
    );
}

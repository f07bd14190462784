/** `hadron dlq …`: what groups gave up on: looked at, given again, dropped. The work is in dlq.ts, loaded when it runs. */
import type { Command } from 'commander';
import type { Io } from '../../io.ts';
import { examples, filterOptions, type ServerOptions, serverOptions, wholeNumber } from '../../options.ts';
import type { BulkOptions, ListOptions } from './dlq.ts';

export function dlqCommands(program: Command, io: Io): void {
  const dlq = program
    .command('dlq')
    .summary('dead letters: list, redrive, drop')
    .description('The dead letters of a stream: events that a group gave up on. STREAM is the one that was consumed.');
  const selection = (command: Command): Command =>
    filterOptions(
      command
        .option('--group <group>', 'only of this group')
        .option('--code <code>', 'only with this code, MAX_DELIVERIES or HANDLER_TERMINAL'),
    );

  selection(serverOptions(dlq.command('ls')).summary('list dead letters').argument('<stream>'))
    .description('List dead letters, oldest first.')
    .option('--limit <n>', 'at most so many', wholeNumber(1), 100)
    .addHelpText(
      'after',
      examples('hadron dlq ls orders', 'hadron dlq ls orders --group mail --filter type=order.placed --output json'),
    )
    .action(async (stream: string, options: ListOptions) => (await import('./dlq.ts')).list(io, stream, options));

  serverOptions(dlq.command('show'))
    .summary('show one with its event')
    .description('Show a dead letter: why, when, and the event.')
    .argument('<stream>')
    .argument('<position>', 'PARTITION/OFFSET, as "ls" prints it')
    .addHelpText(
      'after',
      examples('hadron dlq show orders 0/12', 'hadron dlq show orders 0/12 --output json | jq .event.data'),
    )
    .action(async (stream: string, position: string, options: ServerOptions) =>
      (await import('./dlq.ts')).show(io, stream, position, options),
    );

  const bulk = (command: Command): Command =>
    selection(command)
      .argument('<stream>')
      .argument('[position]', 'only this one: PARTITION/OFFSET, as "ls" prints it')
      .option('--dry-run', 'say how many and change nothing')
      .option('-y, --yes', 'do not ask');
  bulk(serverOptions(dlq.command('redrive')).summary('give them again'))
    .description('Give dead letters again to the group that gave up on them, with their attempts counted anew.')
    .option('--to <stream>', 'copy them to this stream instead')
    .addHelpText(
      'after',
      examples(
        'hadron dlq redrive orders --group mail --dry-run',
        'hadron dlq redrive orders 0/12',
        'hadron dlq redrive orders --sql "subject = \'7\'" --to orders.repaired --yes',
      ),
    )
    .action(async (stream: string, position: string | undefined, options: BulkOptions) =>
      (await import('./dlq.ts')).settle(io, 'redrive', stream, position, options),
    );
  bulk(serverOptions(dlq.command('drop')).summary('forget them'))
    .description('Forget dead letters. They stay in the dead-letter stream as events until retention removes them.')
    .addHelpText(
      'after',
      examples('hadron dlq drop orders 0/12', 'hadron dlq drop orders --code HANDLER_TERMINAL --yes'),
    )
    .action(async (stream: string, position: string | undefined, options: BulkOptions) =>
      (await import('./dlq.ts')).settle(io, 'drop', stream, position, options),
    );
}

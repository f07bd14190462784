/** The entry of the bundle: `hadron …`. */
import { isReaderGone } from './io.ts';
import { run } from './program.ts';

const argv = process.argv.slice(2);
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (!isReaderGone(error)) throw error;
    // `hadron … | head` closes our output early: no failure, nothing left to do. A server goes on without its listener.
    // A command that listens itself comes to its end in good order: a group is left, not lost.
    if (argv[0] !== 'start' && stream.listenerCount('error') === 1) process.exit(0);
  });
}
// Whatever a client library still holds open does not keep the command.
process.exit(await run(argv));

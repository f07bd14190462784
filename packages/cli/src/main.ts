/** The entry of the bundle: `hadron …`. */
import { run } from './program.ts';

const argv = process.argv.slice(2);
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    // `hadron … | head` closes our output early: no failure, nothing left to do. A server goes on without its listener.
    if (argv[0] !== 'start') process.exit(0);
  });
}
// Whatever a client library still holds open does not keep the command.
process.exit(await run(argv));

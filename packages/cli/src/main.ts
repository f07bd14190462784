/** The entry of the bundle: `hadron …`. */
import { run } from './program.ts';

// `hadron … | head` closes our output early; that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const code = await run(process.argv.slice(2));
// A running server keeps the process; everything else ends when its last handle is closed, or here.
if (code !== 0) process.exitCode = code;

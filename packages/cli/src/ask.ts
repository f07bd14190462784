/** Asks before something that cannot be taken back. */
import { CommandFailure } from './failure.ts';
import type { Io } from './io.ts';

/**
 * @param what said as a question on a terminal: "Delete stream/orders"; elsewhere --yes is needed
 * @throws CommandFailure INTERRUPTED when the answer is no; REQUEST_INVALID when there is nobody to ask
 */
export async function confirm(io: Io, what: string, options: { readonly yes?: boolean | undefined }): Promise<void> {
  if (options.yes === true) return;
  const isTerminal = (io.stdin as { isTTY?: boolean }).isTTY === true && io.stderr.isTTY === true;
  if (!isTerminal) throw new CommandFailure('REQUEST_INVALID', `${what}; say --yes to mean it`);
  const { confirm: ask, isCancel } = await import('@clack/prompts');
  const answer = await ask({ message: `${what}?`, initialValue: false, input: io.stdin, output: io.stderr });
  if (isCancel(answer) || !answer) throw new CommandFailure('INTERRUPTED', 'nothing was changed');
}

/** `hadron completion`: scripts made from the tree of commands, so that they never lag behind it. */
import type { Command } from 'commander';
import { CommandFailure } from '../failure.ts';
import type { Io } from '../io.ts';

interface Node {
  /** "hadron kafka topics" */
  readonly path: string;
  readonly words: { readonly text: string; readonly help: string }[];
}

function nodes(command: Command, path = 'hadron'): Node[] {
  const subcommands = command.commands.map((sub) => ({ text: sub.name(), help: sub.summary() || sub.description() }));
  const offered = command.options.filter((option) => !option.hidden);
  const options = offered.map((option) => ({ text: option.long ?? option.flags, help: option.description }));
  return [
    { path, words: [...subcommands, ...options, { text: '--help', help: 'show help' }] },
    ...command.commands.flatMap((sub) => nodes(sub, `${path} ${sub.name()}`)),
  ];
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

export function completion(io: Io, program: Command, shell: string): void {
  const tree = nodes(program);
  if (shell === 'bash') io.stdout.write(bash(tree));
  else if (shell === 'zsh') io.stdout.write(`autoload -U +X bashcompinit && bashcompinit\n${bash(tree)}`);
  else if (shell === 'fish') io.stdout.write(fish(tree));
  else throw new CommandFailure('REQUEST_INVALID', `no completion for ${shell}: choose bash, zsh or fish`);
}

function bash(tree: readonly Node[]): string {
  const paths = tree.map(({ path }) => quoted(path)).join('|');
  const cases = tree.map(
    ({ path, words }) => `    ${quoted(path)}) words=${quoted(words.map(({ text }) => text).join(' '))} ;;`,
  );
  return `# hadron completion
_hadron() {
  local path=hadron word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in ${paths}) path="$path $word" ;; esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _hadron hadron
`;
}

function fish(tree: readonly Node[]): string {
  const lines = ['# hadron completion', 'complete -c hadron -f'];
  for (const { path, words } of tree) {
    const [, ...seen] = path.split(' ');
    const deeper = words.filter(({ text }) => !text.startsWith('-')).map(({ text }) => text);
    const conditions = [
      ...seen.map((word) => `__fish_seen_subcommand_from ${word}`),
      ...(deeper.length > 0 ? [`not __fish_seen_subcommand_from ${deeper.join(' ')}`] : []),
    ];
    const when = conditions.length > 0 ? ` -n ${quoted(conditions.join('; and '))}` : '';
    for (const { text, help } of words) {
      const what = text.startsWith('--') ? `-l ${text.slice(2)}` : `-a ${text}`;
      lines.push(`complete -c hadron${when} ${what} -d ${quoted(help)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

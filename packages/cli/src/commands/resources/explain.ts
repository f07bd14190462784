/** `hadron explain`: what a field means. Needs no server. */
import { explain as look } from '@hadron/contracts/resources';
import { colours, type Io, printJson } from '../../io.ts';

export function explain(io: Io, path: string, options: { apiVersion?: string; output: 'table' | 'json' }): void {
  const found = look(path, options.apiVersion);
  if (options.output === 'json') {
    printJson(io, found);
    return;
  }
  const { bold, dim } = colours(io, 'stdout');
  const lines = [`${dim('KIND:')}     ${found.kind}  ${found.apiVersion}`];
  if (found.path !== '')
    lines.push(`${dim('FIELD:')}    ${bold(found.path)}  <${found.type}>${found.required ? '  required' : ''}`);
  lines.push('', `  ${found.description}`);
  if (found.fields.length === 0) lines.push(`  Allowed: ${found.allowed}.`);
  if (found.default !== undefined) lines.push(`  Default: ${JSON.stringify(found.default)}.`);
  if (found.fields.length > 0) lines.push('', dim('FIELDS:'));
  for (const { name, type, required, description } of found.fields)
    lines.push(`  ${bold(name)}  <${type}>${required ? '  required' : ''}`, `      ${description}`);
  io.stdout.write(`${lines.join('\n')}\n`);
}

/**
 * Label selectors as Kubernetes writes them: `app=shop`, `app==shop`, `app!=shop`, `tier in (web, db)`, `tier notin (web)`,
 * `app` (has the label), `!app`; with commas between them, all must hold. A missing label is not equal to anything, so `!=`
 * and `notin` hold for it.
 */
import { HadronError } from '@hadron/base/errors';
import { LABEL_KEY, LABEL_VALUE } from './metadata.ts';

export type Labels = Readonly<Record<string, string>>;
export type Selector = (labels: Labels) => boolean;

const LENGTH_MAX = 4_096;
const TOKEN = /\s*(?:([A-Za-z0-9][-A-Za-z0-9_./]*)|(==|!=|=|!|,|\(|\)))/y;

/** @throws HadronError REQUEST_INVALID, saying where and what was expected */
export function parseSelector(text: string): Selector {
  if (text.length > LENGTH_MAX) throw wrong(text, `has more than ${LENGTH_MAX} characters`);
  const tokens = tokensOf(text);
  let at = 0;
  const next = (): Token | undefined => tokens[at++];
  const here = (): string => (tokens[at] === undefined ? 'the end' : JSON.stringify(tokens[at]?.text));
  const isSymbol = (symbol: string): boolean => {
    if (tokens[at]?.text !== symbol) return false;
    at++;
    return true;
  };
  const key = (): string => {
    const found = here();
    const token = next();
    if (token?.word !== true || !LABEL_KEY.test(token.text)) throw wrong(text, `expected a label instead of ${found}`);
    return token.text;
  };
  const isLabelValue = (token: Token | undefined): token is Token =>
    token?.word === true && LABEL_VALUE.test(token.text);
  /** An empty value is written as nothing. */
  const value = (): string => {
    if (tokens[at] === undefined || tokens[at]?.text === ',' || tokens[at]?.text === ')') return '';
    const found = here();
    const token = next();
    if (!isLabelValue(token)) throw wrong(text, `expected a value instead of ${found}`);
    return token.text;
  };
  const set = (): ReadonlySet<string> => {
    if (!isSymbol('(')) throw wrong(text, `expected "(" instead of ${here()}`);
    const values = new Set([value()]);
    while (isSymbol(',')) values.add(value());
    if (!isSymbol(')')) throw wrong(text, `expected "," or ")" instead of ${here()}`);
    return values;
  };
  const requirement = (): Selector => {
    if (isSymbol('!')) {
      const name = key();
      return (labels) => !Object.hasOwn(labels, name);
    }
    const name = key();
    const of = (labels: Labels): string | undefined => (Object.hasOwn(labels, name) ? labels[name] : undefined);
    if (isSymbol('=') || isSymbol('==')) {
      const wanted = value();
      return (labels) => of(labels) === wanted;
    }
    if (isSymbol('!=')) {
      const unwanted = value();
      return (labels) => of(labels) !== unwanted;
    }
    if (isSymbol('in')) {
      const wanted = set();
      return (labels) => wanted.has(of(labels) ?? '\0');
    }
    if (isSymbol('notin')) {
      const unwanted = set();
      return (labels) => !unwanted.has(of(labels) ?? '\0');
    }
    return (labels) => Object.hasOwn(labels, name);
  };

  if (tokens.length === 0) return () => true;
  const all = [requirement()];
  while (isSymbol(',')) all.push(requirement());
  if (at < tokens.length) throw wrong(text, `expected "," instead of ${here()}`);
  return (labels) => all.every((holds) => holds(labels));
}

interface Token {
  readonly text: string;
  readonly word: boolean;
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  const trimmed = text.trimEnd();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < trimmed.length) {
    const at = TOKEN.lastIndex;
    const found = TOKEN.exec(trimmed);
    if (found === null)
      throw wrong(text, `${JSON.stringify(trimmed.slice(at, at + 10).trim())} is nothing that belongs there`);
    tokens.push({ text: found[1] ?? (found[2] as string), word: found[1] !== undefined });
  }
  return tokens;
}

function wrong(text: string, why: string): HadronError {
  return new HadronError(
    'REQUEST_INVALID',
    `label selector ${JSON.stringify(text.slice(0, 100))}: ${why}; for example: app=shop,tier in (web, db),!legacy`,
    { field: 'labelSelector' },
  );
}

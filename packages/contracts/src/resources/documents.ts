/**
 * From the text of a file to documents. YAML 1.2 (and so JSON), several documents, Kubernetes Lists opened. Bounded before
 * anything grows: bytes, documents, depth, and what aliases blow up to. Never throws.
 */
import { type Document, isMap, isNode, isScalar, isSeq, Lexer, LineCounter, parseAllDocuments, visit } from 'yaml';
import { type FieldError, stepsOf } from './validate.ts';

const CHARACTERS_MAX = 1024 * 1024;
/** Read together, however short they are: each has a result. */
export const DOCUMENTS_MAX = 10_000;
/** Anchors and aliases in the input, and what one document's aliases may stand for. */
const ALIASES_MAX = 1_000;
const DEPTH_MAX = 64;
const COLUMN_MAX = 200;
/** The lexer's mark before a scalar. */
const SCALAR_FOLLOWS = '\x1f';

export interface SourceDocument {
  /** From 1, over everything that was read. */
  readonly document: number;
  readonly value: unknown;
  /** Where a field (`spec.filters[0]`) stands in the text, from 1; for one that is missing, where its parent does. */
  lineOf(path: string): number | undefined;
}

export type ReadDocuments =
  | { readonly ok: true; readonly documents: readonly SourceDocument[] }
  | { readonly ok: false; readonly errors: readonly FieldError[] };

/** @param first number of the first document: where several files are one input */
export function readDocuments(text: string, first = 1): ReadDocuments {
  const refuse = (message: string, document = first, line?: number): ReadDocuments => ({
    ok: false,
    errors: [{ document, path: '', message, ...(line === undefined ? {} : { line }) }],
  });
  if (text.length > CHARACTERS_MAX) return refuse(`is larger than ${CHARACTERS_MAX / 1024 / 1024} MiB; split it`);
  const lines = new LineCounter();
  const out: SourceDocument[] = [];
  try {
    const tooMuch = excess(text);
    if (tooMuch !== undefined) return refuse(`has ${tooMuch}, which is not read here`);
    const parsed = parseAllDocuments(text, {
      uniqueKeys: false, // see duplicateKey
      lineCounter: lines,
      prettyErrors: false,
      logLevel: 'silent',
      stringKeys: true,
      resolveKnownTags: false,
      version: '1.2',
    });
    if (!Array.isArray(parsed)) return { ok: true, documents: [] };
    if (parsed.length > DOCUMENTS_MAX) return refuse(`has more than ${DOCUMENTS_MAX} documents; split it`);
    for (const doc of parsed) {
      const problem = doc.errors[0] ?? doc.warnings[0];
      if (problem !== undefined) {
        const { line, col } = lines.linePos(problem.pos[0]);
        return refuse(`is not YAML: ${problem.message} (line ${line}, column ${col})`, first + out.length, line);
      }
      const twice = duplicateKey(doc);
      if (twice !== undefined) {
        const { line } = lines.linePos(twice.offset);
        return refuse(
          `has the field ${JSON.stringify(twice.key.slice(0, 100))} twice (line ${line})`,
          first + out.length,
          line,
        );
      }
      let value: unknown;
      try {
        value = doc.toJS({ maxAliasCount: ALIASES_MAX });
      } catch {
        return refuse('its aliases stand for too much', first + out.length);
      }
      if (value === null || value === undefined) continue; // between two "---", or only comments
      const lineAt = (path: readonly (string | number)[]): number | undefined => {
        let offset = isNode(doc.contents) ? doc.contents.range?.[0] : undefined;
        let node: unknown = doc.contents;
        for (const step of path) {
          const pair = isMap(node) ? node.items.find((p) => isNode(p.key) && p.key.toJSON() === step) : undefined;
          if (pair !== undefined && isNode(pair.key)) offset = pair.key.range?.[0] ?? offset;
          const inner: unknown =
            pair === undefined ? (isSeq(node) ? node.get(Number(step), true) : undefined) : pair.value;
          if (!isNode(inner)) break;
          if (pair === undefined) offset = inner.range?.[0] ?? offset;
          node = inner;
        }
        return offset === undefined ? undefined : lines.linePos(offset).line;
      };
      const list = itemsOf(value);
      if (list === undefined)
        out.push({ document: first + out.length, value, lineOf: (path) => lineAt(stepsOf(path)) });
      else {
        const above = Array.isArray(value) ? [] : ['items'];
        for (const [i, item] of list.entries())
          out.push({
            document: first + out.length,
            value: item,
            lineOf: (path) => lineAt([...above, i, ...stepsOf(path)]),
          });
      }
      if (out.length > DOCUMENTS_MAX) return refuse(`has more than ${DOCUMENTS_MAX} documents; split it`);
    }
  } catch (error) {
    // What the parser could not take at all.
    return refuse(`is not YAML: ${error instanceof Error ? error.message : String(error)}`, first + out.length);
  }
  return { ok: true, documents: out };
}

/** Several documents in one value: a JSON array, or `kind: List`. */
export function itemsOf(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value;
  const list = value as { kind?: unknown; items?: unknown } | null;
  if (typeof list !== 'object' || list === null || !Array.isArray(list.items)) return undefined;
  return typeof list.kind === 'string' && list.kind.endsWith('List') ? list.items : undefined;
}

/**
 * The parser recurses into what is nested, is quadratic in aliases, and has no limits of its own. Its lexer has neither
 * fault, so that one looks first. @returns what is too much
 */
function excess(text: string): string | undefined {
  let flow = 0;
  let column = 0;
  let aliases = 0;
  let isText = false;
  for (const token of new Lexer().lex(text)) {
    const line = token.lastIndexOf('\n');
    if (!isText) {
      if (token === '[' || token === '{') flow++;
      else if (token === ']' || token === '}') flow = Math.max(0, flow - 1);
      else if (token === '-' && column > COLUMN_MAX) return 'lists in lists';
      else if (token === '?') return 'keys that are not text';
      else if (token.startsWith('&') || token.startsWith('*')) aliases++;
      else if (column === 0 && token.length > COLUMN_MAX && /^ +$/.test(token))
        return `more than ${COLUMN_MAX} spaces of indentation`;
      if (flow > DEPTH_MAX) return `more than ${DEPTH_MAX} levels of brackets`;
      if (aliases > ALIASES_MAX) return `more than ${ALIASES_MAX} anchors and aliases`;
    }
    isText = token === SCALAR_FOLLOWS;
    column = line < 0 ? column + (isText ? 0 : token.length) : token.length - line - 1;
  }
  return undefined;
}

/** Two of one key in one map. The parser's own check compares every key with every other. */
function duplicateKey(doc: Document.Parsed): { readonly key: string; readonly offset: number } | undefined {
  let found: { key: string; offset: number } | undefined;
  visit(doc, {
    Map(_, map) {
      const seen = new Set<string>();
      for (const { key } of map.items) {
        const name = String(isScalar(key) ? key.value : key);
        if (seen.has(name)) {
          found = { key: name, offset: (isNode(key) ? key.range?.[0] : undefined) ?? 0 };
          return visit.BREAK;
        }
        seen.add(name);
      }
      return undefined;
    },
  });
  return found;
}

export type { ErrorKind, EvaluationError } from './errors.ts';
export { compile, type Evaluation, evaluate, type Lookup } from './evaluate.ts';
export { attributesOf, type Expression, MAX_PARTS, MAX_TEXT, print, type Value } from './expression.ts';
export { parse } from './parser.ts';

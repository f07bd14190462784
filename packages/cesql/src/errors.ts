/** What can go wrong while an expression is evaluated. Parsing has errors of its own: HadronError FILTER_INVALID. */
export type ErrorKind = 'math' | 'cast' | 'missingAttribute' | 'missingFunction' | 'functionEvaluation' | 'generic';

export interface EvaluationError {
  readonly kind: ErrorKind;
  readonly message: string;
}

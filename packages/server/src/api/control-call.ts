/** What the handlers of control routes get, whatever carries it: parameters, a body in JSON, an answer. */
import { RequestRefused } from './problem.ts';
import type { Params } from './router.ts';

export abstract class ControlCall {
  /** A parameter of the route's pattern. @throws TypeError when it has none of that name */
  readonly param: Params;
  /** What follows the path, with its question mark; empty without a query. */
  private readonly search: string;
  private parsed: URLSearchParams | undefined;

  constructor(param: Params, search: string) {
    this.param = param;
    this.search = search;
  }

  /** Aborted when who asked goes away before its answer has left. */
  abstract get signal(): AbortSignal;

  /** The body as JSON; an empty one is `{}`. @throws RequestRefused */
  abstract json(): Promise<unknown>;

  abstract send(status: number, contentType: string, body: string): void;

  sendJson(status: number, value: unknown): void {
    this.send(status, 'application/json', JSON.stringify(value));
  }

  /** A parameter of the query, the first of its name; undefined when absent. */
  query(name: string): string | undefined {
    if (this.search === '') return undefined;
    this.parsed ??= new URLSearchParams(this.search);
    return this.parsed.get(name) ?? undefined;
  }

  /** @throws RequestRefused when it is not a whole number between the two */
  number(name: string, min: number, max: number): number | undefined {
    const text = this.query(name);
    if (text === undefined) return undefined;
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new RequestRefused(400, `?${name}= must be a whole number from ${min} to ${max}`, { field: name });
  }

  /** `?name=true`, or the name alone. @throws RequestRefused when it is something else */
  flag(name: string): boolean {
    const text = this.query(name);
    if (text === undefined || text === 'false') return false;
    if (text === '' || text === 'true') return true;
    throw new RequestRefused(400, `?${name}= must be true or false`, { field: name });
  }
}

/** Which handler a request belongs to: a table of routes, looked up by method and path, segment by segment. */
import type { Action, Target } from '@hadron/broker';
import type { Call } from './call.ts';
import type { ControlCall } from './control-call.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

interface Place {
  readonly method: Method;
  /** Literal segments and parameters: `/v1/streams/{stream}/events`. */
  readonly pattern: string;
}

/** Parameters of a pattern by name. @throws TypeError when the pattern has none of that name */
export type Params = (name: string) => string;

/** What must be allowed: asked of `authorize` before the handler is called. */
export interface Guarded {
  readonly action: Action;
  readonly target: (param: Params) => Target;
}

export interface Route extends Place, Guarded {
  /**
   * Pages of other sites and other names of this server may come here too (guard.ts), because nobody can call it who was
   * not given a secret that stands in the path. Default false.
   */
  readonly unguarded?: true;
  /**
   * Answers, now or later. What it throws or rejects with is answered as a problem: a HadronError as it is, everything
   * else as INTERNAL. HEAD comes here as GET.
   */
  readonly handle: (call: Call) => void | Promise<void>;
}

/** A route whose answer is one piece of JSON, to whoever asks and however. */
export interface ControlRoute extends Place, Guarded {
  readonly handle: (call: ControlCall) => void | Promise<void>;
}

/** A route of the table, for one path. */
export interface Match<R> {
  readonly route: R;
  /** Position in the table. */
  readonly index: number;
  readonly param: Params;
}

interface Node<R> {
  readonly literals: Map<string, Node<R>>;
  parameter: Node<R> | undefined;
  readonly routes: Map<string, { readonly route: R; readonly index: number; readonly names: readonly string[] }>;
}

function newNode<R>(): Node<R> {
  return { literals: new Map(), parameter: undefined, routes: new Map() };
}

export class Router<R extends Place> {
  readonly routes: readonly R[];
  private readonly root = newNode<R>();

  /** @throws TypeError when two routes are the same */
  constructor(routes: readonly R[]) {
    this.routes = routes;
    routes.forEach((route, index) => {
      const names: string[] = [];
      let node = this.root;
      for (const segment of route.pattern.slice(1).split('/')) {
        const name = /^\{(\w+)\}$/.exec(segment)?.[1];
        if (name !== undefined) {
          names.push(name);
          node = node.parameter ??= newNode();
          continue;
        }
        let next = node.literals.get(segment);
        if (next === undefined) node.literals.set(segment, (next = newNode()));
        node = next;
      }
      if (node.routes.has(route.method)) throw new TypeError(`two routes for ${route.method} ${route.pattern}`);
      node.routes.set(route.method, { route, index, names });
    });
  }

  /**
   * A literal segment goes before a parameter; a parameter is never empty.
   * @param path without query
   * @returns the methods that the path has when it has not this one; undefined when there is nothing at that path
   */
  find(method: string, path: string): Match<R> | readonly string[] | undefined {
    const values: string[] = [];
    let node = this.root;
    for (let from = 1; from <= path.length; ) {
      let to = path.indexOf('/', from);
      if (to < 0) to = path.length;
      const segment = path.slice(from, to);
      from = to + 1;
      const literal = node.literals.get(segment);
      if (literal !== undefined) {
        node = literal;
        continue;
      }
      const value = decoded(segment);
      if (node.parameter === undefined || value === undefined || value === '') return undefined;
      node = node.parameter;
      values.push(value);
    }
    const found = node.routes.get(method === 'HEAD' ? 'GET' : method);
    if (found === undefined) return node.routes.size === 0 ? undefined : methodsOf(node.routes.keys());
    const { route, index, names } = found;
    return {
      route,
      index,
      param(name) {
        const value = values[names.indexOf(name)];
        if (value === undefined) throw new TypeError(`${route.pattern} has no parameter ${name}`);
        return value;
      },
    };
  }
}

function methodsOf(methods: Iterable<string>): readonly string[] {
  return [...methods].flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).concat('OPTIONS');
}

function decoded(segment: string): string | undefined {
  if (!segment.includes('%')) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

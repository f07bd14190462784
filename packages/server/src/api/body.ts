/** Bodies of requests: collected within limits, per body and over all of them. */
import { HadronError } from '@hadron/base';
import type { HttpRequest } from '../http/index.ts';
import { PORT_TIMES } from '../http/shared-port.ts';
import { RequestRefused } from './problem.ts';

/** Memory for bodies that are not whole yet, over all connections. */
export class BodyBudget {
  usedBytes = 0;
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }
}

const EMPTY = Buffer.alloc(0);
/** Of a whole body, however it trickles. Connections of HTTP/1.1 are looked at by Node; streams of HTTP/2 are here. */
const WHOLE_MS = PORT_TIMES.request;

/** Calls back once: with the whole body, or with why there is none. Not at all when the client goes away. */
export function readBody(
  request: HttpRequest,
  bytesMax: number,
  budget: BodyBudget,
  done: (error: HadronError | undefined, body: Buffer) => void,
): void {
  const tooLarge = (): HadronError =>
    new RequestRefused(413, `the body is larger than ${bytesMax} bytes; send it in parts`);
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    return done(
      new RequestRefused(415, `content-encoding ${encoding} is not understood; send the body as it is`),
      EMPTY,
    );
  }
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return done(tooLarge(), EMPTY);
  let first: Buffer | undefined;
  let more: Buffer[] | undefined;
  let bytes = 0;
  const over = (error: HadronError | undefined): void => {
    budget.usedBytes -= bytes;
    request.off('data', data);
    request.off('end', end);
    request.off('close', closed);
    clearTimeout(timer);
    if (error !== undefined) done(error, EMPTY);
    else done(undefined, more === undefined ? (first ?? EMPTY) : Buffer.concat(more, bytes));
  };
  const data = (chunk: Buffer): void => {
    if (bytes + chunk.length > bytesMax) return over(tooLarge());
    if (budget.usedBytes + chunk.length > budget.maxBytes) {
      return over(new HadronError('LIMIT_EXCEEDED', 'the server holds too many unfinished requests; try again'));
    }
    bytes += chunk.length;
    budget.usedBytes += chunk.length;
    if (first === undefined) first = chunk;
    else (more ??= [first]).push(chunk);
  };
  const end = (): void => over(undefined);
  const closed = (): void => {
    budget.usedBytes -= bytes;
    clearTimeout(timer);
  };
  const late = (): void => over(new RequestRefused(408, 'the body did not arrive; send the request again'));
  const timer = request.httpVersionMajor === 1 ? undefined : setTimeout(late, WHOLE_MS);
  request.on('data', data);
  request.on('end', end);
  request.on('close', closed);
}

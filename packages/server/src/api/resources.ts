/** Resources over HTTP: kinds and their schemas, apply, get, list, watch, delete. */
import { HadronError } from '@hadron/base';
import { type ApplyResult, ANONYMOUS, type Resources, type WatchEvent } from '@hadron/broker';
import type { FieldError, SourceDocument } from '@hadron/contracts/resources';
import type { Call } from './call.ts';
import { RequestRefused } from './problem.ts';
import type { Route } from './router.ts';

const BODY_BYTES_MAX = 4 * 1024 * 1024;
/** What may wait for a watcher that does not read. */
const WATCH_BYTES_MAX = 4 * 1024 * 1024;

const JSON_TYPE = /^application\/(json|[\w.+-]+\+json)\s*(;|$)/i;
const isKindTarget = { kind: 'Kind', name: undefined };

/** Schemas are loaded when somebody first asks for resources, here as in the broker. */
const contracts = () => import('@hadron/contracts/resources');

/** @param resources of the broker's present life */
export function resourceRoutes(resources: () => Promise<Resources>): readonly Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/kinds',
      action: 'read',
      target: () => isKindTarget,
      async handle(call) {
        const { KINDS } = await contracts();
        const kinds = KINDS.map(({ kind, plural, shortNames, columns, versions }) => ({
          kind,
          plural,
          shortNames,
          apiVersions: versions.map((v) => v.apiVersion),
          columns,
        }));
        call.sendJson(200, { kinds });
      },
    },
    {
      method: 'GET',
      pattern: '/v1/kinds/{kind}',
      action: 'read',
      target: () => isKindTarget,
      async handle(call) {
        const { kindNamed, KINDS, schemaFile } = await contracts();
        const kind = kindNamed(call.param('kind'));
        if (kind === undefined) {
          const known = KINDS.map((k) => k.kind).join(', ');
          throw new HadronError('RESOURCE_NOT_FOUND', `there is no such kind; there are ${known}`, { field: 'kind' });
        }
        call.send(200, 'application/schema+json', JSON.stringify(schemaFile(kind)));
      },
    },
    {
      method: 'POST',
      pattern: '/v1/apply',
      action: 'change',
      // Each document is asked about by its own name.
      target: () => ({ kind: 'Resource', name: undefined }),
      async handle(call) {
        const dryRun = call.flag('dryRun');
        const body = await new Promise<Buffer>((resolve) => call.body(BODY_BYTES_MAX, resolve));
        const read = await documentsOf(body.toString('utf8'), call.header('content-type') ?? '');
        if (!read.ok) {
          call.sendJson(200, { results: read.errors.map(unreadable) });
          return;
        }
        if (read.documents.length === 0)
          throw new RequestRefused(
            400,
            'the body has no document; send YAML or JSON with apiVersion, kind, metadata, spec',
          );
        const service = await resources();
        const values = read.documents.map((d) => d.value);
        const results = await service.apply(ANONYMOUS, values, { dryRun });
        call.sendJson(200, { results: results.map((result) => withLines(result, read.documents)) });
      },
    },
    {
      method: 'GET',
      pattern: '/v1/resources/{kind}',
      action: 'read',
      target: (param) => ({ kind: param('kind'), name: undefined }),
      async handle(call) {
        const { parseSelector } = await contracts();
        const service = await resources();
        const selector = parseSelector(call.query('labelSelector') ?? '');
        const kind = call.param('kind');
        if (!call.flag('watch')) {
          call.sendJson(200, await service.list(ANONYMOUS, kind, selector));
          return;
        }
        const resourceVersion = call.query('resourceVersion');
        watch(call, (listener) => service.watch(ANONYMOUS, kind, { resourceVersion, selector }, listener));
      },
    },
    {
      method: 'GET',
      pattern: '/v1/resources/{kind}/{name}',
      action: 'read',
      target: (param) => ({ kind: param('kind'), name: param('name') }),
      async handle(call) {
        const service = await resources();
        call.sendJson(200, await service.get(ANONYMOUS, call.param('kind'), call.param('name')));
      },
    },
    {
      method: 'DELETE',
      pattern: '/v1/resources/{kind}/{name}',
      action: 'delete',
      target: (param) => ({ kind: param('kind'), name: param('name') }),
      async handle(call) {
        const options = { cascade: call.flag('cascade'), dryRun: call.flag('dryRun') };
        const service = await resources();
        const deleted = await service.delete(ANONYMOUS, call.param('kind'), call.param('name'), options);
        call.sendJson(200, { deleted });
      },
    },
  ];
}

type Read =
  | { readonly ok: true; readonly documents: readonly Pick<SourceDocument, 'value' | 'lineOf'>[] }
  | { readonly ok: false; readonly errors: readonly FieldError[] };

/** YAML unless it says that it is JSON. @throws RequestRefused */
async function documentsOf(text: string, contentType: string): Promise<Read> {
  const { DOCUMENTS_MAX, itemsOf, readDocuments } = await contracts();
  if (!JSON_TYPE.test(contentType)) return readDocuments(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RequestRefused(400, 'the body is not JSON; YAML is sent as application/yaml');
  }
  const values = itemsOf(value) ?? [value];
  if (values.length > DOCUMENTS_MAX)
    throw new RequestRefused(413, `the body has more than ${DOCUMENTS_MAX} documents; split it`);
  return { ok: true, documents: values.map((v) => ({ value: v, lineOf: () => undefined })) };
}

const unreadable = (error: FieldError): ApplyResult => ({
  document: error.document,
  kind: '',
  name: '',
  result: 'refused',
  code: 'RESOURCE_INVALID',
  changes: [],
  errors: [error],
  warnings: [],
});

function withLines(result: ApplyResult, documents: readonly Pick<SourceDocument, 'lineOf'>[]): ApplyResult {
  const source = documents[result.document - 1];
  const errors = result.errors.map((error) => {
    const line = source?.lineOf(error.path);
    return line === undefined ? error : { ...error, line };
  });
  return { ...result, errors };
}

/** Changes as lines of JSON, until the client goes or the server ends. */
function watch(
  call: Call,
  begin: (listener: { event(event: WatchEvent): void; ended(error: HadronError): void }) => () => void,
): void {
  const { response } = call;
  const line = (value: unknown): void => {
    if (response.writableEnded || response.destroyed) return;
    response.write(`${JSON.stringify(value)}\n`);
    // Who does not read comes back and watches from the last version he has seen.
    if (response.writableLength > WATCH_BYTES_MAX) response.destroy();
  };
  // Nothing is told before the head has left: the first event comes later, or this throws.
  const stop = begin({
    event: line,
    ended(error) {
      line({ type: 'ERROR', code: error.code, message: error.detail });
      response.end();
    },
  });
  response.once('close', stop);
  response.writeHead(200, ['content-type', 'application/x-ndjson', 'cache-control', 'no-store']);
  response.flushHeaders();
  if (call.headOnly) response.end();
}

/** The tables over all APIs: names and ranges, codecs by key, and the index of the generated folder. */
import type { Api } from '../src/schemas/notation.ts';
import { BANNER, kebab } from './emit-api.ts';

export function emitApis(apis: readonly Api[]): string {
  const rows = apis.map(
    (a) =>
      `  { key: ${a.key}, name: '${a.name}', advertisedMin: ${a.advertised.min}, advertisedMax: ${a.advertised.max}, ` +
      `servedMin: ${a.served.min}, servedMax: ${a.served.max}, flexibleMin: ${a.flexible} },`,
  );
  return `${BANNER}
import type { ApiInfo } from '../apis.ts';

/** The served APIs, in the order of their keys. */
export const API_TABLE: readonly ApiInfo[] = [
${rows.join('\n')}
];

/** API keys by name. */
export const ApiKey = {
${apis.map((a) => `  ${a.name}: ${a.key},`).join('\n')}
} as const;

export type ApiName = keyof typeof ApiKey;
`;
}

export function emitCodecs(apis: readonly Api[]): string {
  const imports = apis.map((a) => {
    const names = ['Request', 'Response'].flatMap((k) => [`decode${a.name}${k}`, `encode${a.name}${k}`]);
    return `import {\n${names.map((n) => `  ${n},`).join('\n')}\n} from './${kebab(a.name)}.ts';`;
  });
  const rows = apis.map(
    (a) =>
      `  [${a.key}, { decodeRequest: decode${a.name}Request, encodeRequest: encode${a.name}Request as Encode, ` +
      `decodeResponse: decode${a.name}Response, encodeResponse: encode${a.name}Response as Encode }],`,
  );
  return `${BANNER}
import type { Reader } from '../wire/reader.ts';
import type { Writer } from '../wire/writer.ts';
${imports.join('\n')}

type Decode = (r: Reader, version: number) => unknown;
type Encode = (w: Writer, message: unknown, version: number) => void;

/** The four functions of an API without their types: for proxies, recorders and tests that handle any message. */
export interface MessageCodec {
  readonly decodeRequest: Decode;
  readonly encodeRequest: Encode;
  readonly decodeResponse: Decode;
  readonly encodeResponse: Encode;
}

/** Codecs by API key. */
export const CODECS: ReadonlyMap<number, MessageCodec> = new Map<number, MessageCodec>([
${rows.join('\n')}
]);
`;
}

export function emitIndex(apis: readonly Api[]): string {
  const names = ['apis', 'codecs', ...apis.map((a) => kebab(a.name))];
  return `${BANNER}\n${names.map((n) => `export * from './${n}.ts';`).join('\n')}\n`;
}

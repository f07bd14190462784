/** Which APIs there are, in which versions, and which headers go with them (R1, R6). */
import { API_TABLE, ApiKey } from './generated/apis.ts';

export interface ApiInfo {
  readonly key: number;
  readonly name: string;
  /** What an ApiVersions response announces. */
  readonly advertisedMin: number;
  readonly advertisedMax: number;
  /** What can be decoded and encoded; narrower than announced only for Produce. */
  readonly servedMin: number;
  readonly servedMax: number;
  /** First version with compact strings and tagged fields. */
  readonly flexibleMin: number;
}

const BY_KEY: readonly (ApiInfo | undefined)[] = (() => {
  const byKey: (ApiInfo | undefined)[] = [];
  for (const api of API_TABLE) {
    while (byKey.length < api.key) byKey.push(undefined);
    byKey.push(api);
  }
  return byKey;
})();

/** The API with this key, if this package knows it. */
export function apiByKey(key: number): ApiInfo | undefined {
  return key >= 0 && key < BY_KEY.length ? BY_KEY[key] : undefined;
}

/** Whether a request of this API and version can be decoded. Anything else closes the connection (R3), but see R2. */
export function isServed(key: number, version: number): boolean {
  const api = apiByKey(key);
  return api !== undefined && version >= api.servedMin && version <= api.servedMax;
}

/** 2 for flexible versions, else 1. */
export function requestHeaderVersion(key: number, version: number): 1 | 2 {
  const api = apiByKey(key);
  return api !== undefined && version >= api.flexibleMin ? 2 : 1;
}

/** 1 for flexible versions, else 0; always 0 for ApiVersions, whose reader does not know yet what we speak. */
export function responseHeaderVersion(key: number, version: number): 0 | 1 {
  const api = apiByKey(key);
  return api !== undefined && key !== ApiKey.ApiVersions && version >= api.flexibleMin ? 1 : 0;
}

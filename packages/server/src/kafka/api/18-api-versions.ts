/** ApiVersions (18), v0–4 (R2). The response header is v0 in every version. v3 flexible, client software · v4 min version 0. */
import {
  ApiKey,
  API_TABLE,
  type ApiVersionsResponse,
  apiByKey,
  decodeApiVersionsRequest,
  encodeApiVersionsResponse,
  KafkaError,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';

const SOFTWARE_FROM = 3;
const SOFTWARE = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/;

const entries = API_TABLE.map((a) => ({
  apiKey: a.key,
  minVersion: a.advertisedMin,
  maxVersion: a.advertisedMax,
})).sort((a, b) => a.apiKey - b.apiKey);

const response = (errorCode: number, apiKeys: ApiVersionsResponse['apiKeys']): ApiVersionsResponse => ({
  errorCode,
  apiKeys,
  throttleTimeMs: 0,
  supportedFeatures: [],
  finalizedFeaturesEpoch: -1,
  finalizedFeatures: [],
  zkMigrationReady: false,
});

export function apiVersions(_door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeApiVersionsRequest(reader, version);
  let errorCode = 0;
  if (version >= SOFTWARE_FROM) {
    if (SOFTWARE.test(m.clientSoftwareName) && SOFTWARE.test(m.clientSoftwareVersion)) {
      request.connection.clientSoftware = `${m.clientSoftwareName} ${m.clientSoftwareVersion}`;
    } else errorCode = KafkaError.INVALID_REQUEST;
  }
  const r = response(errorCode, errorCode === 0 ? entries : []);
  request.reply((w) => encodeApiVersionsResponse(w, r, version));
}

/** A version we do not know: a v0 body with our own range, so that the client can ask again (R2.1). The body is not parsed. */
export function apiVersionsUnsupported(request: KafkaRequest): void {
  const own = apiByKey(ApiKey.ApiVersions);
  const r = response(KafkaError.UNSUPPORTED_VERSION, [
    { apiKey: ApiKey.ApiVersions, minVersion: own?.advertisedMin ?? 0, maxVersion: own?.advertisedMax ?? 0 },
  ]);
  request.reply((w) => encodeApiVersionsResponse(w, r, 0));
}

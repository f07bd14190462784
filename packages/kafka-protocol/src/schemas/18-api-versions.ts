/** The first request on every connection: which APIs, in which versions? Answered even in versions we do not know (R2). */
export const apiVersions = `
api 18 ApiVersions · serves 0-4 · flexible 3+

request
  clientSoftwareName     string  3+  ignorable  // letters, digits, '.' and '-'; checked by the server (R2.2)
  clientSoftwareVersion  string  3+  ignorable

// v4 may announce features whose minimum is 0. The header of this response is v0 in every version.
response
  errorCode  int16
  apiKeys    []ApiKey
    apiKey      int16
    minVersion  int16
    maxVersion  int16
  throttleTimeMs          int32               1+                    ignorable
  supportedFeatures       []SupportedFeature  3+  tag 0             ignorable
    name        string
    minVersion  int16
    maxVersion  int16
  finalizedFeaturesEpoch  int64               3+  tag 1  = -1       ignorable
  finalizedFeatures       []FinalizedFeature  3+  tag 2             ignorable
    name             string
    maxVersionLevel  int16
    minVersionLevel  int16
  zkMigrationReady        bool                3+  tag 3             ignorable
`;

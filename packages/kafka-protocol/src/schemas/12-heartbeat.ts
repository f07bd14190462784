/** A member is alive; the answer tells it when a rebalance began. */
export const heartbeat = `
api 12 Heartbeat · serves 0-4 · flexible 4+

request
  groupId          string
  generationId     int32
  memberId         string
  groupInstanceId  string?  3+  = null

response
  throttleTimeMs  int32  1+  ignorable
  errorCode       int16
`;

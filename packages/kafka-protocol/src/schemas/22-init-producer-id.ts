/** A producer id and epoch, for idempotent and transactional producers (R13, R14). */
export const initProducerId = `
api 22 InitProducerId · serves 0-5 · flexible 2+

request
  transactionalId       string?
  transactionTimeoutMs  int32
  producerId            int64  3+  = -1
  producerEpoch         int16  3+  = -1

response
  throttleTimeMs  int32  ignorable
  errorCode       int16
  producerId      int64  = -1
  producerEpoch   int16
`;

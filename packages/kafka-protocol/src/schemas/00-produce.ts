/**
 * Append record batches. Advertised from 0 because librdkafka before 2.11.1 probes for v0 before it compresses (R6);
 * v0-v2 carry message formats that are gone and are refused.
 *
 * v7 allows zstd, v8 reports single records, v10 leader hints (KIP-951), v11 TRANSACTION_ABORTABLE,
 * v12 adds partitions to the transaction implicitly (KIP-890).
 */
export const produce = `
api 0 Produce · serves 3-12 · advertises 0-12 · flexible 9+

request
  transactionalId  string?  = null
  acks             int16           // 0: no answer at all; 1: the leader; -1: all in-sync replicas
  timeoutMs        int32
  topicData  []Topic
    name           string
    partitionData  []Partition
      index    int32
      records  records?                // one record batch (R5), a slice of the frame

response
  responses  []Topic
    name                string
    partitionResponses  []Partition
      index            int32
      errorCode        int16
      baseOffset       int64
      logAppendTimeMs  int64          = -1    ignorable  // -1 under CreateTime
      logStartOffset   int64  5+      = -1    ignorable
      recordErrors     []RecordError  8+      ignorable
        batchIndex              int32
        batchIndexErrorMessage  string?  = null
      errorMessage     string?  8+    = null  ignorable
      currentLeader    Leader   10+   tag 0
        leaderId     int32  = -1
        leaderEpoch  int32  = -1
  throttleTimeMs  int32  ignorable
  nodeEndpoints   []NodeEndpoint  10+  tag 0
    nodeId  int32
    host    string
    port    int32
    rack    string?  = null
`;

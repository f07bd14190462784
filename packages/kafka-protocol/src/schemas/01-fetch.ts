/**
 * Read record batches, with a long poll (R7). v7 sessions (R8), v11 rack, v12 epoch checks, v13 topic ids instead of
 * names (R9), v15 moves the replica's identity into a tagged field, v16 node endpoints (KIP-951).
 */
export const fetch = `
api 1 Fetch · serves 4-16 · flexible 12+

request
  clusterId     string?  12+  tag 0  = null  ignorable
  replicaId     int32    0-14        = -1               // -1: a consumer
  replicaState  ReplicaState  15+  tag 1
    replicaId     int32  = -1
    replicaEpoch  int64  = -1
  maxWaitMs       int32
  minBytes        int32
  maxBytes        int32      = 2147483647  ignorable
  isolationLevel  int8                     ignorable  // 0 read_uncommitted, 1 read_committed
  sessionId       int32  7+                ignorable
  sessionEpoch    int32  7+  = -1          ignorable
  topics  []Topic
    topic       string  0-12  ignorable
    topicId     uuid    13+   ignorable
    partitions  []Partition
      partition           int32
      currentLeaderEpoch  int32  9+   = -1  ignorable
      fetchOffset         int64
      lastFetchedEpoch    int32  12+  = -1
      logStartOffset      int64  5+   = -1  ignorable  // of a follower
      partitionMaxBytes   int32
  forgottenTopicsData  []ForgottenTopic  7+
    topic       string  0-12  ignorable
    topicId     uuid    13+   ignorable
    partitions  []int32
  rackId  string  11+  ignorable

response
  throttleTimeMs  int32      ignorable
  errorCode       int16  7+  ignorable
  sessionId       int32  7+             // 0: no session
  responses  []Topic
    topic       string  0-12  ignorable
    topicId     uuid    13+   ignorable
    partitions  []Partition
      partitionIndex    int32
      errorCode         int16
      highWatermark     int64
      lastStableOffset  int64      = -1  ignorable
      logStartOffset    int64  5+  = -1  ignorable
      divergingEpoch  EpochEndOffset  12+  tag 0
        epoch      int32  = -1
        endOffset  int64  = -1
      currentLeader   Leader          12+  tag 1
        leaderId     int32  = -1
        leaderEpoch  int32  = -1
      snapshotId      SnapshotId      12+  tag 2
        endOffset  int64  = -1
        epoch      int32  = -1
      abortedTransactions  []AbortedTransaction?  ignorable  // null for read_uncommitted
        producerId   int64
        firstOffset  int64
      preferredReadReplica  int32     11+  = -1
      records               records?          // decoding gives one Buffer; encoding takes slices, which are not copied
  nodeEndpoints  []NodeEndpoint  16+  tag 0
    nodeId  int32
    host    string
    port    int32
    rack    string?  = null
`;

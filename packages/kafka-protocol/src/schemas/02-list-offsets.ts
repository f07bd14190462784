/** First, last or by-time offset of a partition; the special timestamps are R19. */
export const listOffsets = `
api 2 ListOffsets · serves 1-9 · flexible 6+

request
  replicaId       int32                          // -1: a client
  isolationLevel  int8   2+                      // 0 read_uncommitted, 1 read_committed
  topics  []Topic
    name        string
    partitions  []Partition
      partitionIndex      int32
      currentLeaderEpoch  int32  4+  = -1  ignorable
      timestamp           int64                  // -1 latest, -2 earliest, -3 maximum timestamp (v7), -4 local (v8)

response
  throttleTimeMs  int32  2+  ignorable
  topics  []Topic
    name        string
    partitions  []Partition
      partitionIndex  int32
      errorCode       int16
      timestamp       int64      = -1
      offset          int64      = -1
      leaderEpoch     int32  4+  = -1
`;

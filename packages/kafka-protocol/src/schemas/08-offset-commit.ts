/** Store consumed positions. The metadata string and the leader epoch come back unchanged in OffsetFetch (R12). */
export const offsetCommit = `
api 8 OffsetCommit · serves 2-9 · flexible 8+

request
  groupId                    string
  generationIdOrMemberEpoch  int32             = -1    ignorable
  memberId                   string                    ignorable
  groupInstanceId            string?  7+       = null
  retentionTimeMs            int64    2-4      = -1    ignorable
  topics  []Topic
    name        string
    partitions  []Partition
      partitionIndex        int32
      committedOffset       int64
      committedLeaderEpoch  int32  6+  = -1  ignorable
      committedMetadata     string?

response
  throttleTimeMs  int32  3+  ignorable
  topics  []Topic
    name        string
    partitions  []Partition
      partitionIndex  int32
      errorCode       int16
`;

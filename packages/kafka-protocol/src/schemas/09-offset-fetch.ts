/** Read committed positions: of one group up to v7, of several from v8. topics = null asks for all, from v2. */
export const offsetFetch = `
api 9 OffsetFetch · serves 1-9 · flexible 6+

request
  groupId  string     0-7
  topics   []Topic?2+ 0-7
    name              string
    partitionIndexes  []int32
  groups   []Group    8+
    groupId      string
    memberId     string?  9+  = null  ignorable
    memberEpoch  int32    9+  = -1    ignorable
    topics       []GroupTopic?
      name              string
      partitionIndexes  []int32
  requireStable  bool  7+               // answer UNSTABLE_OFFSET_COMMIT while a transaction holds offsets

response
  throttleTimeMs  int32  3+  ignorable
  topics  []Topic  0-7
    name        string
    partitions  []Partition
      partitionIndex        int32
      committedOffset       int64
      committedLeaderEpoch  int32  5-7  = -1  ignorable
      metadata              string?
      errorCode             int16
  errorCode  int16  2-7  ignorable
  groups  []Group  8+
    groupId  string
    topics  []GroupTopic
      name        string
      partitions  []GroupPartition
        partitionIndex        int32
        committedOffset       int64
        committedLeaderEpoch  int32  = -1  ignorable
        metadata              string?
        errorCode             int16
    errorCode  int16
`;

/** Brokers, topics, partitions and their leaders. Ids from v10 (R9), leader epochs from v7 (R10), topic creation (R11). */
export const metadata = `
api 3 Metadata · serves 0-13 · flexible 9+

// topics: null asks for all topics, from v1; [] asks for none, but for all in v0.
request
  topics  []Topic?1+
    topicId  uuid        10+  ignorable
    name     string?10+              // null when asked for by id
  allowAutoTopicCreation              bool  4+    = true
  includeClusterAuthorizedOperations  bool  8-10         // from v11 DescribeCluster tells
  includeTopicAuthorizedOperations    bool  8+

response
  throttleTimeMs  int32  3+  ignorable
  brokers  []Broker
    nodeId  int32
    host    string
    port    int32
    rack    string?  1+  = null  ignorable
  clusterId     string?  2+  = null  ignorable  // never null from us (R11)
  controllerId  int32    1+  = -1    ignorable
  topics  []Topic
    errorCode   int16
    name        string?12+                     // null for an unknown topic asked for by id
    topicId     uuid  10+  ignorable
    isInternal  bool  1+   ignorable
    partitions  []Partition
      errorCode        int16
      partitionIndex   int32
      leaderId         int32
      leaderEpoch      int32    7+  = -1  ignorable
      replicaNodes     []int32
      isrNodes         []int32
      offlineReplicas  []int32  5+        ignorable
    topicAuthorizedOperations  int32  8+  = -2147483648  // bit field; the default says "not asked for"
  clusterAuthorizedOperations  int32  8-10  = -2147483648
  errorCode                    int16  13+   ignorable
`;

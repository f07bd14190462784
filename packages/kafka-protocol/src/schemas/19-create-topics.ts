/** One result per topic; from v5 with the effective configuration, from v7 with the topic id. */
export const createTopics = `
api 19 CreateTopics · serves 2-7 · flexible 5+

request
  topics  []Topic
    name               string
    numPartitions      int32           // -1: the default, from v4
    replicationFactor  int16           // -1: the default, from v4
    assignments  []Assignment
      partitionIndex  int32
      brokerIds       []int32
    configs  []Config
      name   string
      value  string?
  timeoutMs     int32  = 60000
  validateOnly  bool

response
  throttleTimeMs  int32  ignorable
  topics  []Topic
    name                  string
    topicId               uuid       7+              ignorable
    errorCode             int16
    errorMessage          string?                    ignorable
    topicConfigErrorCode  int16      5+  tag 0       ignorable
    numPartitions         int32      5+  = -1        ignorable
    replicationFactor     int16      5+  = -1        ignorable
    configs               []Config?  5+              ignorable
      name          string
      value         string?
      readOnly      bool
      configSource  int8  = -1  ignorable
      isSensitive   bool
`;

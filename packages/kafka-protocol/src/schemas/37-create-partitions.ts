/** More partitions for topics that exist. One result per topic. */
export const createPartitions = `
api 37 CreatePartitions · serves 0-3 · flexible 2+

request
  topics  []Topic
    name   string
    count  int32                  // how many there are to be
    assignments  []Assignment?    // null: the broker decides
      brokerIds  []int32
  timeoutMs     int32
  validateOnly  bool

response
  throttleTimeMs  int32
  results  []Result
    name          string
    errorCode     int16
    errorMessage  string?  = null
`;

/** Trim a partition: its log start offset becomes the given one (-1: the high watermark). */
export const deleteRecords = `
api 21 DeleteRecords · serves 0-2 · flexible 2+

request
  topics  []Topic
    name        string
    partitions  []Partition
      partitionIndex  int32
      offset          int64
  timeoutMs  int32

response
  throttleTimeMs  int32
  topics  []Topic
    name        string
    partitions  []Partition
      partitionIndex  int32
      lowWatermark    int64
      errorCode       int16
`;

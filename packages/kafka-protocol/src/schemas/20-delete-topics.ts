/** By name; from v6 also by id. */
export const deleteTopics = `
api 20 DeleteTopics · serves 1-6 · flexible 4+

request
  topics  []Topic  6+
    name     string?  = null
    topicId  uuid
  topicNames  []string  0-5  ignorable
  timeoutMs   int32

response
  throttleTimeMs  int32  ignorable
  responses  []Topic
    name          string?6+
    topicId       uuid     6+            ignorable
    errorCode     int16
    errorMessage  string?  5+  = null    ignorable
`;

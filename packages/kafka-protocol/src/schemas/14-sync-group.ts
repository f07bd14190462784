/** The leader hands in the assignment, every member fetches its own. */
export const syncGroup = `
api 14 SyncGroup · serves 0-5 · flexible 4+

request
  groupId          string
  generationId     int32
  memberId         string
  groupInstanceId  string?  3+  = null
  protocolType     string?  5+  = null  ignorable
  protocolName     string?  5+  = null  ignorable
  assignments  []Assignment
    memberId    string
    assignment  bytes

response
  throttleTimeMs  int32    1+          ignorable
  errorCode       int16
  protocolType    string?  5+  = null  ignorable
  protocolName    string?  5+  = null  ignorable
  assignment      bytes
`;

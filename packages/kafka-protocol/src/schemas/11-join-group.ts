/**
 * Enter a rebalance. v0 has no rebalance timeout, v4 sends a new member away once to fetch its id, v5 static members,
 * v7 protocol type in the response, v9 skipAssignment. v0 and v1 stay (R6).
 */
export const joinGroup = `
api 11 JoinGroup · serves 0-9 · flexible 6+

request
  groupId             string
  sessionTimeoutMs    int32
  rebalanceTimeoutMs  int32    1+  = -1    ignorable
  memberId            string                          // empty for a new member
  groupInstanceId     string?  5+  = null
  protocolType        string
  protocols  []Protocol
    name      string
    metadata  bytes                                   // opaque to the broker (R12)
  reason              string?  8+  = null  ignorable

response
  throttleTimeMs  int32  2+  ignorable
  errorCode       int16
  generationId    int32                 = -1
  protocolType    string?     7+        = null  ignorable
  protocolName    string?7+
  leader          string
  skipAssignment  bool        9+
  memberId        string
  members  []Member
    memberId         string
    groupInstanceId  string?  5+  = null  ignorable
    metadata         bytes
`;

/** One member leaves (v0-v2), or several are removed, also by instance id (v3). */
export const leaveGroup = `
api 13 LeaveGroup · serves 0-5 · flexible 4+

request
  groupId   string
  memberId  string  0-2
  members  []Member  3+
    memberId         string
    groupInstanceId  string?      = null
    reason           string?  5+  = null  ignorable

response
  throttleTimeMs  int32  1+  ignorable
  errorCode       int16
  members  []Member  3+
    memberId         string
    groupInstanceId  string?
    errorCode        int16
`;

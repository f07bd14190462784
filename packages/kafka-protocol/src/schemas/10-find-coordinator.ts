/** Which broker coordinates a group (type 0), a transactional id (1) or a share partition (2, v6)? Several keys from v4. */
export const findCoordinator = `
api 10 FindCoordinator · serves 0-6 · flexible 3+

request
  key              string    0-3
  keyType          int8      1+
  coordinatorKeys  []string  4+

response
  throttleTimeMs  int32    1+   ignorable
  errorCode       int16    0-3
  errorMessage    string?  1-3  ignorable
  nodeId          int32    0-3
  host            string   0-3
  port            int32    0-3
  coordinators  []Coordinator  4+
    key           string
    nodeId        int32
    host          string
    port          int32
    errorCode     int16
    errorMessage  string?  ignorable
`;

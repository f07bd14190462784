/**
 * The generated services and messages, for who wants reflection, JSON or other clients than ours. Loads the protobuf
 * runtime: import it where it is needed, not at start. The hot messages are coded by hand in streams.ts.
 */
export * from './generated/grpc/health/v1/health_pb.ts';
export * from './generated/hadron/v1/streams_pb.ts';
export * from './generated/io/cloudevents/v1/cloudevents_pb.ts';
export * as original from './generated/stream/stream_pb.ts';

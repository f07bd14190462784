/** The Kafka door alone, for a broker in the same process (`@hadron/server/kafka`): without HTTP, settings and logging. */
export { KafkaDoor, kafkaLimits } from './door.ts';

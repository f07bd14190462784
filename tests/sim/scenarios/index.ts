import type { Scenario } from '../runner.ts';
import { brokerScenario } from './broker.ts';
import { deliveryScenario } from './delivery.ts';
import { logScenario } from './log.ts';

/** All scenarios, in the order in which they run. */
export const SCENARIOS: readonly Scenario[] = [logScenario, brokerScenario, deliveryScenario];

/** The steps of `migration`: the tasks of both pages. */
import { BULLMQ, REDIS_STREAMS } from '../../../examples/coming-from/tasks.ts';

export const stepOf = (page: 'bullmq' | 'redis', task: string): string => `${page}: ${task}`;

export const migrationSteps: readonly string[] = [
  ...Object.keys(BULLMQ).map((task) => stepOf('bullmq', task)),
  ...Object.keys(REDIS_STREAMS).map((task) => stepOf('redis', task)),
];

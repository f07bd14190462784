export { attributesOfFilters, checkFilter, checkFilters, compileFilter, compileFilters } from './filter.ts';
export { type CompiledTriggers, compileTriggers } from './trigger.ts';
export * from './types.ts';

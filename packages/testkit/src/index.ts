export * from './seeds.ts';
export * from './sim.ts';
export * from './sim-disk.ts';
export * from './sim-faults.ts';
export * from './sim-random.ts';
export * from './sim-scheduler.ts';
export * from './trace.ts';

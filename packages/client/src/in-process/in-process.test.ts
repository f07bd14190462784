import { openWorld } from '../test-world.ts';
import { transportContract } from '../transport-contract.ts';
import { inProcessTransport } from './index.ts';

transportContract(
  'in process',
  async () => {
    const world = await openWorld();
    return { ...world, connect: () => inProcessTransport(world.services) };
  },
  { timestamps: true, bytes: true },
);

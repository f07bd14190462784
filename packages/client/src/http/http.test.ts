import { openWorld } from '../test-world.ts';
import { transportContract } from '../transport-contract.ts';
import { httpTransport } from './index.ts';

transportContract(
  'HTTP and WebSocket',
  async () => {
    const world = await openWorld();
    const url = await world.listen();
    return { ...world, connect: () => httpTransport({ url }) };
  },
  { timestamps: false, bytes: false },
);

import { openWorld } from '../test-world.ts';
import { transportContract } from '../transport-contract.ts';
import { binaryTransport } from './index.ts';

transportContract(
  'binary (HTTP/2)',
  async () => {
    const world = await openWorld();
    const url = await world.listen();
    return { ...world, connect: () => binaryTransport({ url }) };
  },
  { timestamps: true, bytes: true },
);

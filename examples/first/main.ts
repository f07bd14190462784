import { connect, ignore } from '@hadron/client';
import { events } from './events.ts';

const orders = connect({ source: '/mail' }).stream('orders', events); // http://127.0.0.1:7000

await orders.run(
  { group: 'mail', concurrency: 20 },
  {
    'order.placed': async (m) => {
      console.log(`order ${m.data.id}: ${m.data.total.toFixed(2)} (attempt ${m.attempt})`);
    },
    'order.paid': ignore, // leaving a type out does not compile
  },
);

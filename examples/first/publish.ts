import { connect } from '@hadron/client';
import { events } from './events.ts';

await using shop = connect({ source: '/shop' });
const orders = shop.stream('orders', events);

const { partition, offset } = await orders.publish(
  'order.placed',
  { id: '8', total: 30 },
  { subject: '8' }, // events of one subject are handled one after another
);
console.log(`durable, at ${partition}/${offset}`);

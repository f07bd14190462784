/** `npm run example flights`: the story, on the server of `npm start`. */
import { connect } from '@hadron/client';
import { flights } from './story.ts';

await using client = connect({ source: '/examples/flights', url: process.env['HADRON_URL'] });
await flights(client, console.log);
console.log('The same stream for Kafka clients: npm run example kafka');

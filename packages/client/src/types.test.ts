/** What the compiler knows: checked by `tsc`, not at run time. */
import { describe, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import {
  type Client,
  defineEvents,
  ignore,
  type ManualMessage,
  type Message,
  type Published,
  type StandardSchema,
} from './index.ts';

const events = defineEvents({
  'order.placed': z.object({ id: z.string(), total: z.number() }),
  'order.paid': z.object({ at: z.coerce.date(), currency: z.string().default('EUR') }),
  'order.gone': z.undefined(),
});

/** Never called: only its types count. */
const never = (use: (client: Client) => unknown): void => {
  expectTypeOf(use).toBeFunction();
};

describe('types', () => {
  test('publish knows the types and their data', () => {
    never(async (client) => {
      const orders = client.stream('orders', events);
      expectTypeOf(
        await orders.publish('order.placed', { id: '7', total: 12 }, { subject: '7' }),
      ).toEqualTypeOf<Published>();
      await orders.publish('order.paid', { at: new Date() });
      await orders.publish('order.gone');
      // @ts-expect-error no such type
      await orders.publish('order.lost', {});
      // @ts-expect-error total is a number
      await orders.publish('order.placed', { id: '7', total: '12' });
      // @ts-expect-error data is needed
      await orders.publish('order.placed');
      await orders.publishMany([
        { type: 'order.placed', data: { id: '7', total: 1 }, subject: '7' },
        { type: 'order.gone' },
      ]);
      // @ts-expect-error the data of another type
      await orders.publishMany([{ type: 'order.placed', data: { at: new Date() } }]);
    });
  });

  test('a stream without schemas takes a type or an interface', () => {
    interface Orders {
      readonly 'order.placed': { readonly id: string };
    }
    never(async (client) => {
      const orders = client.stream<Orders>('orders');
      await orders.publish('order.placed', { id: '7' });
      // @ts-expect-error no such type
      await orders.publish('order.palced', { id: '7' });
      // @ts-expect-error order.placed is left out
      await orders.run({ group: 'mail' }, {});
      await client.stream('anything').run({ group: 'all' }, (m) => expectTypeOf(m.data).toBeUnknown());
    });
  });

  test('handlers get the data as the schema gives it', () => {
    never((client) =>
      client.stream('orders', events).run(
        { group: 'g' },
        {
          'order.placed': (m) => {
            expectTypeOf(m.data).toEqualTypeOf<{ id: string; total: number }>();
            expectTypeOf(m.type).toEqualTypeOf<'order.placed'>();
            expectTypeOf(m.signal).toEqualTypeOf<AbortSignal>();
          },
          'order.paid': (m) => expectTypeOf(m.data).toEqualTypeOf<{ at: Date; currency: string }>(),
          'order.gone': ignore,
          '*': (m) => expectTypeOf(m).toEqualTypeOf<Message>(),
        },
      ),
    );
  });

  test('leaving a type out, or handling one that there is not, does not compile', () => {
    never((client) => {
      const orders = client.stream('orders', events);
      // @ts-expect-error order.gone has no handler
      void orders.run({ group: 'g' }, { 'order.placed': ignore, 'order.paid': ignore });
      void orders.run(
        { group: 'g' },
        {
          'order.placed': ignore,
          'order.paid': ignore,
          'order.gone': ignore,
          // @ts-expect-error there is no order.lost
          'order.lost': ignore,
        },
      );
      // @ts-expect-error a group is needed
      void orders.run({}, ignore);
    });
  });

  test('one function for all types tells them apart', () => {
    never((client) =>
      client.stream('orders', events).run({ group: 'g' }, (m) => {
        if (m.type === 'order.placed') expectTypeOf(m.data).toEqualTypeOf<{ id: string; total: number }>();
        else if (m.type === 'order.paid') expectTypeOf(m.data.currency).toEqualTypeOf<string>();
      }),
    );
  });

  test('consume and tail as well', () => {
    never(async (client) => {
      const orders = client.stream('orders', events);
      for await (const m of orders.consume({ group: 'g' })) {
        if (m.type === 'order.placed')
          expectTypeOf(m).toEqualTypeOf<ManualMessage<'order.placed', { id: string; total: number }>>();
      }
      for await (const m of orders.tail()) if (m.type === 'order.paid') expectTypeOf(m.data.at).toEqualTypeOf<Date>();
    });
  });

  test('a stream typed by hand, and one without types', () => {
    never(async (client) => {
      const typed = client.stream<{ ping: undefined; say: string }>('s');
      await typed.publish('ping');
      await typed.publish('say', 'hello');
      // @ts-expect-error a string
      await typed.publish('say', 1);
      const any = client.stream('s');
      await any.publish('whatever', { you: 'like' });
      await any.run({ group: 'g' }, (m) => expectTypeOf(m.data).toEqualTypeOf<unknown>());
      await any.run({ group: 'g' }, { some: ignore });
    });
  });

  test('any Standard Schema will do', () => {
    const own: StandardSchema<string, number> = {
      '~standard': { version: 1, vendor: 'own', validate: (v) => ({ value: Number(v) }) },
    };
    never(async (client) => {
      const stream = client.stream('s', defineEvents({ n: own }));
      await stream.publish('n', '7');
      await stream.run({ group: 'g' }, { n: (m) => expectTypeOf(m.data).toEqualTypeOf<number>() });
    });
  });
});

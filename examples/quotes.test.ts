/** What the pages quote is what runs. */
import { expect, test } from 'vitest';
import { PAGES, readPage } from './quotes.ts';

test.each(PAGES)('%s quotes files as they are (npm run quotes writes it anew)', (page) => {
  const { text, current, quotes } = readPage(page);
  expect(quotes).toBeGreaterThan(0);
  expect(current).toBe(text);
});

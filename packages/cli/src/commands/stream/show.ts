/** How events are printed, by `sub`, `tail`, `dlq show`. */
import type { CloudEvent, EventPosition } from '@hadron/contracts';
import { writeJsonLine } from '@hadron/contracts/events';
import { type Colours, printable } from '../../io.ts';

export const FORMATS = ['pretty', 'json', 'ndjson', 'data'] as const;
export type Format = (typeof FORMATS)[number];

export interface ShownEvent extends EventPosition {
  readonly event: CloudEvent;
  /** Of a delivery; 1 for the first. */
  readonly attempt?: number | undefined;
}

/** One event, with its line end. */
export function formatEvent(shown: ShownEvent, format: Format, colours: Colours): string | Uint8Array {
  switch (format) {
    case 'ndjson':
      return `${writeJsonLine(shown.event, shown)}\n`;
    case 'json':
      return `${indented(writeJsonLine(shown.event, shown))}\n`;
    case 'data':
      return Buffer.concat([shown.event.data ?? new Uint8Array(0), Buffer.from('\n')]);
    case 'pretty':
      return pretty(shown, colours);
  }
}

/** `JSON.rawJSON`, which TypeScript does not know yet: numbers stay as they were written, however long. */
const { rawJSON } = JSON as unknown as { rawJSON: (text: string) => unknown };

export function indented(json: string): string {
  const keep = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
    typeof value === 'number' && context?.source !== undefined ? rawJSON(context.source) : value;
  return JSON.stringify(JSON.parse(json, keep), undefined, 2);
}

/** A line of JSON that is longer is broken into several. */
const ONE_LINE_CHARACTERS = 100;
const BYTES_SHOWN = 32;
/** Named in the first line, or of no interest to people. */
const NOT_LISTED = new Set(['subject', 'time', 'datacontenttype', 'hadronpartition', 'hadronoffset']);

/**
 * order.placed  0/17  7  2026-11-20T08:00:00Z
 *   id 1  source /shop
 *   {"id":"7","total":12.5}
 */
function pretty({ event, partition, offset, attempt }: ShownEvent, { bold, cyan, dim, yellow }: Colours): string {
  const { attributes } = event;
  const text = (name: string): string | undefined => {
    const value = attributes.get(name);
    return value === undefined ? undefined : printable(value, true);
  };
  const head = [
    bold(printable(event.type, true)),
    dim(`${partition}/${offset}`),
    cyan(text('subject') ?? ''),
    dim(text('time') ?? ''),
    attempt !== undefined && attempt > 1 ? yellow(`attempt ${attempt}`) : '',
  ];
  const rest = [...attributes.keys()].filter((name) => !NOT_LISTED.has(name)).map((name) => `${name} ${text(name)}`);
  const second = [`id ${printable(event.id, true)}`, `source ${printable(event.source, true)}`, ...rest].join('  ');
  const lines = [head.filter((part) => part !== '').join('  '), `  ${dim(second)}`];
  const data = dataText(event);
  if (data !== undefined) lines.push(data.replaceAll(/^/gm, '  '));
  return `${lines.join('\n')}\n`;
}

function dataText({ data, attributes }: CloudEvent): string | undefined {
  if (data === undefined) return undefined;
  const contentType = attributes.get('datacontenttype');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch {
    return bytesText(data, contentType);
  }
  if (contentType !== undefined && /[/+]json *(;|$)/i.test(contentType)) {
    try {
      const broken = indented(text);
      return printable(text.length > ONE_LINE_CHARACTERS ? broken : text.trim());
    } catch {
      // said to be JSON and is not: shown as the text that it is
    }
  }
  return printable(text);
}

function bytesText(data: Uint8Array, contentType: string | undefined): string {
  const hex = Buffer.from(data.subarray(0, BYTES_SHOWN)).toString('hex');
  const more = data.length > BYTES_SHOWN ? '…' : '';
  return `(${data.length} bytes${contentType === undefined ? '' : ` of ${printable(contentType, true)}`}: ${hex}${more})`;
}

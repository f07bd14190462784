/** What the person in front of the demo sees: story lines above, progress bars below that stay in place. */
import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** Coloured when stdout is a terminal and NO_COLOR is not set. */
export const paint = (style: Style, text: string): string => styleText(style, text, { stream: process.stdout });
export const number = (n: number): string => n.toLocaleString('en-US');

const BAR_WIDTH = 32;
const PARTS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const FRAME_MS = 80;
const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';

export interface Bar {
  readonly title: string;
  readonly total: number;
  readonly style: Style;
  done: number;
}

export class Screen {
  private readonly live = process.stdout.isTTY === true;
  private bars: readonly Bar[] = [];
  private drawn = 0;
  private timer: NodeJS.Timeout | undefined;
  /** Tenths already told, where lines cannot be drawn over. */
  private readonly told = new Map<Bar, number>();

  say(line = ''): void {
    this.erase();
    process.stdout.write(`${line}\n`);
    this.draw();
  }

  showBars(bars: readonly Bar[]): void {
    this.bars = bars;
    if (this.live) process.stdout.write(HIDE_CURSOR);
    this.draw();
    this.timer = setInterval(() => {
      this.erase();
      this.draw();
    }, FRAME_MS);
  }

  /** The bars stay where they are, as they are. */
  leaveBars(): void {
    clearInterval(this.timer);
    this.erase();
    this.draw();
    this.bars = [];
    this.drawn = 0;
    if (this.live) process.stdout.write(SHOW_CURSOR);
  }

  private erase(): void {
    if (this.drawn > 0) process.stdout.write(`\u001b[${this.drawn}A\u001b[0J`);
    this.drawn = 0;
  }

  private draw(): void {
    if (!this.live) {
      this.tell();
      return;
    }
    for (const bar of this.bars) process.stdout.write(`${drawBar(bar)}\n`);
    this.drawn = this.bars.length;
  }

  /** Without a terminal: one line for every quarter. */
  private tell(): void {
    for (const bar of this.bars) {
      const quarter = Math.floor((bar.done / bar.total) * 4);
      if (quarter <= (this.told.get(bar) ?? 0)) continue;
      this.told.set(bar, quarter);
      process.stdout.write(`     ${bar.title} ${quarter * 25} %  ${number(bar.done)} of ${number(bar.total)}\n`);
    }
  }
}

function drawBar({ title, total, style, done }: Bar): string {
  const eighths = Math.floor((Math.min(done, total) / total) * BAR_WIDTH * 8);
  const filled = '█'.repeat(eighths >> 3) + PARTS[eighths & 7]!;
  const percent = `${Math.floor((done / total) * 100)} %`.padStart(5);
  const count = `${number(done).padStart(7)} of ${number(total)}`;
  return `     ${title}  ${paint(style, filled)}${paint('dim', '░'.repeat(BAR_WIDTH - filled.length))} ${percent}  ${paint('dim', count)}`;
}

/** Columns as wide as their widest cell; numbers to the right. Cells may be coloured by `style` after the padding. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const width = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const isNumber = head.map((_, i) => rows.every((row) => /^[\d,.]+( \w+)?$/.test(row[i]!)));
  const line = (cells: readonly string[]): string => {
    const padded = cells.map((cell, i) => (isNumber[i] ? cell.padStart(width[i]!) : cell.padEnd(width[i]!)));
    return `     ${padded.join('   ').trimEnd()}`;
  };
  return [paint('dim', line(head)), ...rows.map(line)];
}

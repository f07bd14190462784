/** The part of cli-progress that progress.ts uses; the package brings no types. */
declare module 'cli-progress' {
  export class SingleBar {
    constructor(options: {
      format: string;
      stream: NodeJS.WritableStream;
      hideCursor: boolean;
      clearOnComplete: boolean;
      fps: number;
    });
    start(total: number, startValue: number, payload?: Readonly<Record<string, string>>): void;
    setTotal(total: number): void;
    update(current: number, payload?: Readonly<Record<string, string>>): void;
    stop(): void;
  }
  const cliProgress: { SingleBar: typeof SingleBar };
  export default cliProgress;
}

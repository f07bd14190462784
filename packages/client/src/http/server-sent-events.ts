/** Reads `text/event-stream`, as far as Hadron's tails use it: `id` and `data`. */

/** An event may be as large as an event may be; more is no stream of ours. */
const EVENT_CHARACTERS_MAX = 64 * 1024 * 1024;

export interface ServerSentEvent {
  /** The last one given. */
  readonly id: string;
  /** Empty: only the id was told. */
  readonly data: string;
}

/** @throws TypeError an event larger than any of ours */
export async function* serverSentEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let text = '';
  let id = '';
  let data: string[] = [];
  let told = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      if (text.length > EVENT_CHARACTERS_MAX) throw new TypeError('an event of a tail is too large');
      let from = 0;
      for (let to = text.indexOf('\n', from); to >= 0; to = text.indexOf('\n', from)) {
        const line = text.charCodeAt(to - 1) === 13 && to > from ? text.slice(from, to - 1) : text.slice(from, to);
        from = to + 1;
        if (line !== '') {
          const colon = line.indexOf(':');
          const name = colon < 0 ? line : line.slice(0, colon);
          const value = colon < 0 ? '' : line.slice(line.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1);
          if (name === 'data') data.push(value);
          else if (name === 'id') {
            id = value;
            told = true;
          }
        } else if (told || data.length > 0) {
          yield { id, data: data.join('\n') };
          data = [];
          told = false;
        }
      }
      text = text.slice(from);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

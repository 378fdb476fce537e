/** One ledger entry of a run, as the server sends it. */
export interface RunEvent {
  /** Its place in the run: what `Last-Event-ID` names. */
  readonly id: string;
  /** Such as `execution.completed`. */
  readonly type: string;
  /** The entry in canonical JSON, as it was sent: to verify it, hash these bytes. */
  readonly data: string;
}

/** No entry is longer. */
const LINE_CHARACTERS_MAX = 4 * 1024 * 1024;

/**
 * Read a stream of server-sent events (HTML Living Standard §9.2.6), as far as the server uses it.
 * @param body untrusted
 * @throws RangeError for a line without end
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<RunEvent> {
  let rest = "";
  let event: RunEvent = { id: "", type: "message", data: "" };
  const decoder = new TextDecoder();
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LINE_CHARACTERS_MAX) throw new RangeError("a line of the stream has no end");
    for (const line of lines) {
      if (line !== "") {
        event = withField(event, line);
        continue;
      }
      // A block without data is none, such as the line that keeps the connection alive.
      if (event.data !== "") yield event;
      event = { ...event, type: "message", data: "" };
    }
  }
}

function withField(event: RunEvent, line: string): RunEvent {
  const [, name = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
  if (name === "id" || name === "data") return { ...event, [name]: value };
  return name === "event" ? { ...event, type: value } : event;
}

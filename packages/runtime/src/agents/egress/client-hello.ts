import { SovereignError } from "@sovereign/core";

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;
const RECORD_HEADER = 5;
/** With keys for post-quantum exchange a hello has some two thousand bytes. */
export const HELLO_BYTES_MAX = 16 * 1024;

/** What a client says of itself before anything is encrypted. */
export interface ClientHello {
  /** The host that it wants, in lower case; null where it names none. */
  readonly serverName: string | null;
}

/**
 * Read the first message of a TLS connection.
 *
 * @param bytes untrusted: what came so far
 * @returns null while it is not whole
 * @throws ERR_EGRESS_NAME for what is no such message, or hides the name that counts
 * @see RFC 8446 §4.1.2, RFC 6066 §3
 */
export function readClientHello(bytes: Buffer): ClientHello | null {
  const message = handshakeOf(bytes);
  if (message === null) return null;
  const hello = new Cursor(message);
  hello.skip(2 + 32);
  hello.vector(1);
  hello.vector(2);
  hello.vector(1);
  const extensions = new Cursor(hello.vector(2));
  let serverName: string | null = null;
  const seen = new Set<number>();
  while (!extensions.done) {
    const type = extensions.number(2);
    const content = extensions.vector(2);
    if (seen.has(type)) throw refused("an extension twice");
    seen.add(type);
    if (type === ENCRYPTED_CLIENT_HELLO) throw refused("a second, hidden hello");
    if (type === SERVER_NAME) serverName = serverNameOf(content);
  }
  return { serverName };
}

/** The records' content, put together up to the end of the first message; null while more is needed. */
function handshakeOf(bytes: Buffer): Buffer | null {
  const parts: Buffer[] = [];
  let size = 0;
  for (let at = 0; at + RECORD_HEADER <= bytes.length; ) {
    if (bytes[at] !== HANDSHAKE || bytes[at + 1] !== 3) throw refused("no TLS");
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > HELLO_BYTES_MAX) throw refused("a record of a wrong length");
    const end = at + RECORD_HEADER + length;
    if (end > bytes.length) return tooLong(bytes);
    parts.push(bytes.subarray(at + RECORD_HEADER, end));
    size += length;
    at = end;
    const message = messageOf(Buffer.concat(parts, size));
    if (message !== null) return message;
  }
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE) throw refused("no TLS");
  return tooLong(bytes);
}

function messageOf(content: Buffer): Buffer | null {
  if (content.length < 4) return null;
  if (content[0] !== CLIENT_HELLO) throw refused("another message than a hello");
  const wanted = 4 + content.readUIntBE(1, 3);
  if (wanted > HELLO_BYTES_MAX) throw refused("a hello that is too long");
  return content.length < wanted ? null : content.subarray(4, wanted);
}

function tooLong(bytes: Buffer): null {
  if (bytes.length > HELLO_BYTES_MAX) throw refused("a hello that is too long");
  return null;
}

function serverNameOf(content: Buffer): string {
  const names = new Cursor(new Cursor(content).vector(2));
  const type = names.number(1);
  const name = names.vector(2).toString("latin1").toLowerCase();
  if (type !== 0 || !names.done) throw refused("one name of a host");
  return name;
}

class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  skip(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw refused("a hello that ends too early");
    const found = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return found;
  }

  number(bytes: 1 | 2): number {
    return this.skip(bytes).readUIntBE(0, bytes);
  }

  /** Bytes behind their length. */
  vector(lengthBytes: 1 | 2): Buffer {
    return this.skip(this.number(lengthBytes));
  }
}

function refused(found: string): SovereignError {
  return new SovereignError(
    "ERR_EGRESS_NAME",
    `Expected a TLS connection that names its host in the open, found ${found}.`,
  );
}

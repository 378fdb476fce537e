import type { Socket } from "node:net";

/** One use of a connection: how far it came stands here when it is over. */
export interface Wire {
  readonly signal: AbortSignal;
  readonly address: string;
  sent: number;
  received: number;
}

/** Keep a wire's counts as its socket has them when it closes. */
export function countBytes(socket: Socket, wire: Wire): void {
  const count = (): void => {
    wire.sent = Math.max(wire.sent, socket.bytesWritten);
    wire.received = Math.max(wire.received, socket.bytesRead);
  };
  socket.on("data", count).on("close", count);
}

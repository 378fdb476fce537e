import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HalfRequests, type HalfRequestLimits } from "../../src/sandbox/half-requests.ts";

const ROOM: HalfRequestLimits = { connections: 100, bytes: 1e9, ms: 60_000 };
let folder: string;
let server: Server;
let half: HalfRequests;
const taken: Socket[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sovereign-half-"));
});
afterEach(async () => {
  for (const one of taken.splice(0)) one.destroy();
  server.close();
  await once(server, "close");
  rmSync(folder, { recursive: true, force: true });
});

async function listen(limits: Partial<HalfRequestLimits>): Promise<void> {
  half = new HalfRequests({ ...ROOM, ...limits });
  server = createServer((socket) => {
    taken.push(socket);
    half.add(socket);
  });
  server.listen(join(folder, "s"));
  await once(server, "listening");
}

async function client(): Promise<Socket> {
  const before = taken.length;
  const socket = connect(join(folder, "s"));
  socket.on("error", () => undefined);
  socket.resume();
  taken.push(socket);
  await once(socket, "connect");
  await expect.poll(() => taken.length).toBe(before + 2);
  return socket;
}

const isCut = async (socket: Socket): Promise<void> => {
  await expect.poll(() => socket.closed, { timeout: 5000 }).toBe(true);
};

describe("requests that are not whole", () => {
  it("are cut after a time, unless they became whole", async () => {
    await listen({ ms: 200 });
    const whole = await client();
    const [, served] = taken;
    if (served !== undefined) half.done(served);
    await isCut(await client());
    expect(whole.closed).toBe(false);
  });

  it("do not keep a newcomer out, however many there are", async () => {
    await listen({ connections: 3 });
    const first = await client();
    const others = [await client(), await client(), await client()];
    await isCut(first);
    expect(others.map(({ closed }) => closed)).toEqual([false, false, false]);
  });

  it("do not fill the memory: who said most is cut", async () => {
    await listen({ bytes: 100_000 });
    const small = await client();
    small.write(Buffer.alloc(1000));
    const large = await client();
    large.write(Buffer.alloc(200_000));
    await isCut(large);
    expect(small.closed).toBe(false);
  });
});

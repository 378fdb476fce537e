import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject, JsonValue } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../src/system/index.ts";
import { identify } from "../../src/process/index.ts";
import { Frames, readFrame } from "../../src/scram/frames.ts";
import { watchCalls } from "../../src/sentinel/call-files.ts";
import { type Link, listenForLinks } from "../../src/sentinel/control-connections.ts";
import { MergedStops } from "../../src/sentinel/merged-stops.ts";
import { type ClientMessage, SENTINEL_SOCKET } from "../../src/scram/protocol.ts";

const ENVELOPE = {
  payload: "e30=",
  payloadType: "application/vnd.in-toto+json",
  signatures: [{ keyid: "", sig: "AAAA" }],
};
const ORDER: JsonObject = { envelope: ENVELOPE, t: "order" };
const MESSAGES = 4000;
const CALLS = 400;
const before = process.cwd();

let folder: string;
let links: Map<string, Link>;
let heard: ClientMessage[];
let needed: Set<string>;
let answer: (message: ClientMessage) => Promise<JsonValue>;
let close: () => void;
const sockets: Socket[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-flood-"));
  process.chdir(folder);
  links = new Map();
  heard = [];
  needed = new Set();
  answer = () => Promise.resolve({});
  const server = await listenForLinks(links, {
    onMessage: (link, message) => {
      heard.push(message);
      if (message.t === "hello") link.process = message.process;
      return answer(message);
    },
    onGarbage: () => undefined,
    onClose: () => undefined,
    needed: () => needed,
  });
  close = () => {
    server.close();
  };
});

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  close();
  process.chdir(before);
  rmSync(folder, { recursive: true, force: true });
});

/** Again where the kernel's queue of newcomers is full. */
async function join_(): Promise<Socket> {
  for (;;) {
    const socket = connect(join(folder, SENTINEL_SOCKET));
    sockets.push(socket);
    try {
      await once(socket, "connect");
      socket.on("error", () => undefined);
      return socket;
    } catch {
      await sleep(5);
    }
  }
}

/** One that says who it is, as every control does. */
async function control(): Promise<{ socket: Socket; frames: Frames; replies: JsonValue[] }> {
  const socket = await join_();
  const replies: JsonValue[] = [];
  const frames = new Frames(socket, (_, content) => replies.push(readFrame(content)));
  const { pid, started } = identify(process.pid) ?? { pid: 0, started: "" };
  frames.sendJson({ t: "hello", id: 0, process: { pid, started } });
  await vi.waitUntil(() => replies.length > 0, { timeout: 10_000 });
  return { socket, frames, replies };
}

function frame(value: JsonObject): Buffer {
  const content = Buffer.from(JSON.stringify(value));
  const header = Buffer.alloc(5);
  header.writeUInt32BE(content.length);
  return Buffer.concat([header, content]);
}

describe("an order over the local socket", () => {
  it("is taken before thousands of other messages that were there first", async () => {
    const flooders = await Promise.all(Array.from({ length: 20 }, join_));
    const ping = Buffer.concat(
      Array.from({ length: MESSAGES / 20 }, (_, id) => frame({ id, t: "ping" })),
    );
    const one = await join_();
    // A newcomer whom the event loop has not let in yet is another matter.
    await vi.waitUntil(() => links.size === flooders.length + 1, { timeout: 10_000 });
    for (const flooder of flooders) flooder.write(ping);
    one.write(frame({ ...ORDER, id: 7 }));
    await vi.waitUntil(() => heard.some(({ t }) => t === "order"), { timeout: 10_000 });
    const at = heard.findIndex(({ t }) => t === "order");
    await vi.waitUntil(() => heard.length === MESSAGES + 1, { timeout: 20_000 });
    expect(at).toBeLessThan(MESSAGES / 2);
  });

  it("is taken although one connection sends orders without end", async () => {
    const [flooder, one] = [await join_(), await join_()];
    answer = async () => {
      await sleep(1);
      return {};
    };
    const many = Array.from({ length: 60 }, (_, id) => frame({ ...ORDER, id }));
    flooder.write(Buffer.concat(many));
    one.write(frame({ ...ORDER, id: 1000 }));
    await vi.waitUntil(() => heard.some(({ id }) => id === 1000), { timeout: 10_000 });
    expect(heard.findIndex(({ id }) => id === 1000)).toBeLessThan(60);
  });
});

describe("the sentinel's memory", () => {
  it("holds no more connections than it has room for, and lets newcomers in", async () => {
    const first = await control();
    needed.add("link-0");
    for (let count = 0; count < 1500; count += 100) {
      await Promise.all(Array.from({ length: 100 }, join_));
    }
    await vi.waitUntil(() => links.size <= 256, { timeout: 10_000 });
    expect(links.has("link-0")).toBe(true);
    const last = await control();
    last.socket.write(frame({ ...ORDER, id: 9 }));
    await vi.waitUntil(() => heard.some(({ t }) => t === "order"), { timeout: 10_000 });
    first.frames.sendJson({ t: "ping", id: 1 });
    await vi.waitUntil(() => first.replies.length > 1, { timeout: 10_000 });
  });

  it("takes the places of who has most, not of another program that has one", async () => {
    const stranger = await control();
    const link = links.get("link-0");
    if (link === undefined) throw new Error("no link");
    // Another process than the one whose hundreds follow.
    link.process = identify(process.ppid);
    const { pid, started } = identify(process.pid) ?? { pid: 0, started: "" };
    const hello = frame({ id: 0, process: { pid, started }, t: "hello" });
    for (let count = 0; count < 400; count += 50) {
      const some = await Promise.all(Array.from({ length: 50 }, join_));
      for (const socket of some) socket.write(hello);
      await sleep(20);
    }
    expect(links.size).toBeLessThanOrEqual(256);
    expect(stranger.socket.destroyed).toBe(false);
    expect(links.has("link-0")).toBe(true);
  });

  it("cuts off who announces more than a message may have", async () => {
    const socket = await join_();
    const header = Buffer.alloc(5);
    header.writeUInt32BE(4 * 1024 * 1024);
    socket.write(header);
    await once(socket, "close");
  });

  it("cuts off who asks and does not read", async () => {
    const socket = await join_();
    socket.pause();
    answer = () => Promise.resolve({ long: "x".repeat(200_000) });
    const asked = Buffer.concat(Array.from({ length: 60 }, (_, id) => frame({ id, t: "ping" })));
    socket.write(asked);
    await vi.waitUntil(() => links.size === 0, { timeout: 10_000 });
  });

  it("reads no further of who does not wait for answers", async () => {
    const socket = await join_();
    const held = Promise.withResolvers<JsonValue>();
    answer = () => held.promise;
    const asked = Buffer.concat(Array.from({ length: 20 }, (_, id) => frame({ id, t: "ping" })));
    for (let count = 0; count < 400; count++) socket.write(asked);
    await sleep(300);
    // What came in one read is taken; nothing else is read.
    expect(heard.length).toBeLessThan(5000);
    held.resolve({});
    await vi.waitUntil(() => heard.length === 8000, { timeout: 30_000 });
  }, 60_000);
});

describe("a flood of calls", () => {
  it("keeps nobody waiting, and the call that came last is heard first", async () => {
    for (let id = 0; id < CALLS; id++) {
      writeFileSync(join(folder, `call.${id}`), "garbage", { mode: 0o600 });
      writeFileSync(join(folder, `call.${id}.ready`), "");
    }
    let longest = 0;
    let last = performance.now();
    const beat = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const kinds: string[] = [];
    const end = watchCalls(folder, (signal) => {
      kinds.push(signal.kind);
      return Promise.resolve({ event: { scram_state: "COMPLETE" } });
    });
    try {
      await sleep(1);
      writeFileSync(join(folder, "call.9999"), JSON.stringify(ENVELOPE), { mode: 0o600 });
      writeFileSync(join(folder, "call.9999.ready"), "");
      await vi.waitUntil(() => kinds.includes("order"), { timeout: 20_000 });
      expect(kinds.indexOf("order")).toBeLessThan(CALLS / 2);
      await vi.waitUntil(
        () => readdirSync(folder).filter((name) => name.endsWith(".answer")).length === CALLS + 1,
        { timeout: 30_000 },
      );
      expect(kinds).toHaveLength(CALLS + 1);
      // A sentinel that is busy for so long would count as wedged.
      expect(longest).toBeLessThan(1000);
    } finally {
      clearInterval(beat);
      end();
    }
  }, 60_000);

  it("is one stop, and one in a while where everything is stopped already", async () => {
    let stopped = false;
    let carriedOut = 0;
    const merged = new MergedStops<number>(systemClock, () => stopped);
    const work = async (): Promise<number> => {
      carriedOut += 1;
      await sleep(5);
      return carriedOut;
    };
    expect(await Promise.all(Array.from({ length: 1000 }, () => merged.run(work)))).toEqual(
      Array.from({ length: 1000 }, () => 1),
    );
    stopped = true;
    for (let count = 0; count < 100; count++) await merged.run(work);
    expect(carriedOut).toBe(20);
    stopped = false;
    await merged.run(work);
    expect(carriedOut).toBe(21);
  });
});

describe("whoever says half of something, or nothing", () => {
  it("is cut off after a few seconds, and nobody who said who they are", async () => {
    close();
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    try {
      const server = await listenForLinks(links, {
        onMessage: (link, message) => {
          if (message.t === "hello") link.process = message.process;
          return Promise.resolve({});
        },
        onGarbage: () => undefined,
        onClose: () => undefined,
        needed: () => needed,
      });
      close = () => {
        server.close();
      };
      const [silent, half, working] = [await join_(), await join_(), await join_()];
      half.write(frame(ORDER).subarray(0, 12));
      const one = await control();
      await vi.waitUntil(() => links.size === 4, { timeout: 10_000 });
      // Under the third one something lives.
      needed.add([...links.keys()][2] ?? "");
      vi.advanceTimersByTime(4000);
      await sleep(20);
      expect(links.size).toBe(4);
      vi.advanceTimersByTime(4000);
      await vi.waitUntil(() => links.size === 2, { timeout: 10_000 });
      await vi.waitUntil(() => silent.closed && half.closed, { timeout: 10_000 });
      expect(working.closed).toBe(false);
      one.frames.sendJson({ t: "ping", id: 9 });
      await vi.waitUntil(() => one.replies.length === 2, { timeout: 10_000 });
    } finally {
      vi.useRealTimers();
    }
  });
});
